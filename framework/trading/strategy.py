"""The strategy interface: one base class, one of two methods."""

from __future__ import annotations

from typing import Literal

from framework.errors import PluginError
from framework.model.panel import Floats, Panel
from framework.trading.context import Context, SetupContext
from framework.trading.plugin import Plugin


class Strategy(Plugin):
    """Decides what to hold. Define ``on_bar`` (called bar by bar) or ``weights`` (called once for all bars).

    Between bars keep nothing on ``self``: what must survive a restart goes into ``ctx.state``.
    """

    kind = "strategy"

    def setup(self, ctx: SetupContext) -> None:
        """Declare indicators, once, before the first bar: ``self.fast = ctx.indicator("sma", period=20)``."""

    def on_bar(self, ctx: Context) -> None:
        """Decide on the bar that just ended, by calling ``ctx.target_weights`` or one of the order methods."""

    def weights(self, panel: Panel) -> Floats:
        """Decide for all bars at once.

        Returns:
            shape ``(T, N)``: the fraction of equity to hold in each ticker from that bar's close on; NaN: leave as
            it is. Row ``t`` may depend on rows up to ``t`` only.
        """
        raise NotImplementedError


def style(strategy: Strategy) -> Literal["on_bar", "weights"]:
    """Which of the two methods a strategy defines.

    Raises:
        PluginError: neither, or both.
    """
    cls = type(strategy)
    has_on_bar = cls.on_bar is not Strategy.on_bar
    has_weights = cls.weights is not Strategy.weights
    if has_on_bar == has_weights:
        found = "both on_bar and weights" if has_on_bar else "neither on_bar nor weights"
        raise PluginError(f"strategy {cls.__name__} defines {found}; define exactly one of the two")
    return "on_bar" if has_on_bar else "weights"
