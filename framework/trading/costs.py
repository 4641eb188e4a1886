"""What trading costs: the interfaces of commission and slippage models.

The same formula serves arrays and single numbers, so models are written with arithmetic that works on both
(``+ - * /``, ``abs``, :func:`larger`); the simulator calls them with either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from framework.errors import PluginError
from framework.model.money import Number
from framework.trading.plugin import Plugin


def larger(a: Number, b: float) -> Number:
    """The larger of the two, element by element where ``a`` is an array."""
    if isinstance(a, float):
        return max(a, b)
    return np.maximum(a, b)


class CommissionModel(Plugin):
    """Commission of a fill, in the portfolio's currency: amounts of a model are of that currency, too."""

    kind = "commission model"

    def fees(self, quantity: Number, price: Number, notional: Number) -> Number | float:
        """Commission for fills.

        Args:
            quantity: shares, > 0; a float or shape ``(K,)``.
            price: price per share, after slippage, in the portfolio's currency.
            notional: quantity × price, likewise.

        Returns:
            fees ≥ 0 of the same shape; rounded to 1e-6 by the caller.
        """
        raise NotImplementedError(f"{type(self).__name__} must define fees(quantity, price, notional)")

    def linear(self) -> tuple[float, float, float, float] | None:
        """The same as four numbers, where fees are ``max(notional × a + quantity × b + c, d)``; None: they are not.

        Only with these can a compiled simulation go without asking for every fill.
        """
        return None


class SlippageModel(Plugin):
    """How far from the arrival price an order trades."""

    kind = "slippage model"

    #: Whether ``slippage_bps`` depends on anything but ``side``. If not, it is asked once, and the rest is NaN.
    uses_quantity: ClassVar[bool] = True

    def slippage_bps(self, side: int, quantity: Number, price: Number, volume: Number) -> Number | float:
        """Slippage of fills, in basis points of the arrival price; positive is worse for the trader.

        Args:
            side: +1 for buys, −1 for sells.
            quantity: shares, > 0; a float or shape ``(K,)``.
            price: arrival price per share.
            volume: shares traded in the bar (NaN or 0 where unknown).
        """
        raise NotImplementedError(f"{type(self).__name__} must define slippage_bps(side, quantity, price, volume)")


@dataclass(frozen=True)
class Costs:
    """What trading at one broker costs, and how much of it there is.

    Attributes:
        commission, slippage: ``None`` costs nothing.
        volume_cap: part of a bar's volume, above 0 and at most 1, that a portfolio trades of a ticker; ``None``: any.

    Raises:
        PluginError: the part is out of bounds.
    """

    commission: CommissionModel | None = None
    slippage: SlippageModel | None = None
    volume_cap: float | None = None

    def __post_init__(self) -> None:
        if self.volume_cap is not None and not 0.0 < self.volume_cap <= 1.0:
            raise PluginError(f"volume_cap was {self.volume_cap}; allowed: above 0 and at most 1, a part of the volume")

    def describe(self) -> str:
        """The costs in words, for reports: ``commission Percent (rate 0.0005), slippage Bps (bps 1.0)``."""
        cap = "" if self.volume_cap is None else f", at most {self.volume_cap:g} of a bar's volume"
        return f"commission {_words(self.commission)}, slippage {_words(self.slippage)}{cap}"


def _words(model: Plugin | None) -> str:
    if model is None:
        return "none"
    shown = ", ".join(f"{name} {value}" for name, value in model.params().items() if value)
    return f"{type(model).__name__} ({shown})" if shown else type(model).__name__


def slipped(micros: Number, side: int, bps: float) -> Number:
    """A price ``bps`` worse. Whole numbers as far as it goes: half a micro must be seen as half, to round it right."""
    return micros * (1e4 + side * bps) / 1e4


def check_fees(model: CommissionModel, fees: float) -> None:
    """Refuse what no commission can be.

    Raises:
        PluginError: they are negative, or not finite.
    """
    if not 0.0 <= fees < np.inf:
        raise PluginError(f"commission model {type(model).__name__} gave fees of {fees}; allowed: 0 or more, finite")


def checked_bps(model: SlippageModel, bps: float) -> float:
    """The basis points themselves.

    Raises:
        PluginError: no price would be left, or more than twice of it.
    """
    if not -1e4 < bps < 1e4:
        raise PluginError(
            f"slippage model {type(model).__name__} gave {bps} basis points; allowed: above -10000 and below 10000"
        )
    return bps
