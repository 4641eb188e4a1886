"""Moving-average cross, per ticker: long while the fast average is above the slow one and both exist."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from framework import ConfigError, Context, Floats, Ge, Gt, Panel, SetupContext, Strategy, hookimpl, indicators

Mask = NDArray[np.bool_]


class Cross(Strategy):
    """Parameters of both versions.

    A ticker is traded only when its own signal changes, or at every bar with ``rebalance: every_bar``.
    """

    fast: Annotated[int, Gt(0)] = 20
    slow: Annotated[int, Gt(0)] = 50
    weight: Annotated[float, Ge(0)] | None = None  # of equity per ticker; default 1/N
    rebalance: Literal["on_signal", "every_bar"] = "on_signal"

    def check(self) -> None:
        """The fast average must be the faster one."""
        if self.fast >= self.slow:
            raise ConfigError(f"sma_cross: fast was {self.fast}, slow {self.slow}; fast must be below slow")

    def share(self, tickers: tuple[str, ...]) -> float:
        """Weight of a ticker that is held."""
        return 1.0 / len(tickers) if self.weight is None else self.weight


class SmaCross(Cross):
    """Long a ticker while its fast average is above its slow one; decides for all bars at once."""

    def weights(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``."""
        up = indicators.sma(panel.close, self.fast) > indicators.sma(panel.close, self.slow)
        if self.rebalance == "every_bar":
            return np.where(up, self.share(panel.tickers), 0.0)
        changed = up.copy()
        changed[1:] ^= up[:-1]
        asked = _again(changed, np.isnan(panel.close))
        weights = np.full(up.shape, np.nan)
        weights[asked] = up[asked] * self.share(panel.tickers)
        return weights


class SmaCrossOnBar(Cross):
    """Long a ticker while its fast average is above its slow one; decides bar by bar, the same as ``sma_cross``."""

    def setup(self, ctx: SetupContext) -> None:
        """The weight of a ticker follows which average is above; it is asked for when that changes."""
        up = ctx.indicator("sma", period=self.fast) > ctx.indicator("sma", period=self.slow)
        self._target = up * self.share(ctx.tickers)
        self._crossed = up.changed

    def on_bar(self, ctx: Context) -> None:
        """Ask for the tickers that crossed, or for all."""
        target = self._target.value
        if self.rebalance == "every_bar":
            ctx.target_weights(target)
            return
        if self._crossed.any:
            ctx.target_weights(np.where(self._crossed.value, target, np.nan))
        for order in ctx.lapsed:
            if order.reason == "no bar":  # ask again, as the signal stands now
                ctx.target_weights({ctx.tickers[order.ticker]: target[order.ticker]})


def _again(changed: Mask, missing: Mask) -> Mask:
    """Where to ask: on a change of signal, and again after each bar that its ticker then lacked."""
    if not missing.any():
        return changed
    asked = changed.copy()
    for row in np.flatnonzero(missing[1:].any(axis=1)) + 1:
        asked[row] |= missing[row] & asked[row - 1]
    return asked


@hookimpl
def register_strategies() -> dict[str, type[Strategy]]:
    """``sma_cross``, and ``sma_cross_on_bar``, which decides the same."""
    return {"sma_cross": SmaCross, "sma_cross_on_bar": SmaCrossOnBar}
