"""Bundled commission and slippage models."""

from itertools import pairwise
from typing import Annotated, Any

import numpy as np

from framework import CommissionModel, ConfigError, Ge, Gt, Le, Lt, Number, SlippageModel, hookimpl, larger

#: The most that a price is made worse: a sale must bring something.
_MOST_BPS = 9_999.0


class Percent(CommissionModel):
    """A fraction of the notional, at least ``minimum`` per order."""

    rate: Annotated[float, Ge(0)]
    minimum: Annotated[float, Ge(0)] = 0.0

    def fees(self, quantity: Number, price: Number, notional: Number) -> Number:
        """rate × notional."""
        fees = notional * self.rate
        return larger(fees, self.minimum) if self.minimum else fees


class PerShare(CommissionModel):
    """An amount per share, at least ``minimum`` per order."""

    amount: Annotated[float, Ge(0)]
    minimum: Annotated[float, Ge(0)] = 0.0

    def fees(self, quantity: Number, price: Number, notional: Number) -> Number:
        """amount × shares."""
        fees = quantity * self.amount
        return larger(fees, self.minimum) if self.minimum else fees


class PerOrder(CommissionModel):
    """The same amount for every order."""

    amount: Annotated[float, Ge(0)]

    def fees(self, quantity: Number, price: Number, notional: Number) -> Number | float:
        """The amount, whatever is traded."""
        return self.amount


class Tiered(CommissionModel):
    """A fraction of the notional that changes with its size: each tier's rate is for what lies above its start.

    ``tiers: [[0, 0.001], [10000, 0.0005]]`` takes 0.1 % of the first 10,000 of an order and 0.05 % of the rest.
    """

    tiers: tuple[tuple[Annotated[float, Ge(0)], Annotated[float, Ge(0)]], ...]
    minimum: Annotated[float, Ge(0)] = 0.0

    def check(self) -> None:
        """Tiers start at 0 and rise."""
        starts = [start for start, _ in self.tiers]
        if not starts or starts[0] != 0 or any(other <= one for one, other in pairwise(starts)):
            raise ConfigError(
                f"commission model tiered: 'tiers' start at {starts}; allowed: rising, the first at 0, such as "
                "[[0, 0.001], [10000, 0.0005]]"
            )

    def fees(self, quantity: Number, price: Number, notional: Number) -> Number:
        """Σ of each tier's rate × the part of the notional that lies in it."""
        fees, before = notional * 0.0, 0.0
        for start, rate in self.tiers:
            fees = fees + larger(notional - start, 0.0) * (rate - before)
            before = rate
        fees = larger(fees, 0.0)  # differences of rates may round below
        return larger(fees, self.minimum) if self.minimum else fees


class Bps(SlippageModel):
    """The same number of basis points against the trader on every fill."""

    uses_quantity = False
    bps: Annotated[float, Ge(0), Lt(10_000)]

    def slippage_bps(self, side: int, quantity: Number, price: Number, volume: Number) -> Number | float:
        """The constant."""
        return self.bps


class HalfSpread(SlippageModel):
    """An amount per share against the trader on every fill: half of what lies between bid and ask."""

    amount: Annotated[float, Ge(0)]

    def slippage_bps(self, side: int, quantity: Number, price: Number, volume: Number) -> Number | float:
        """amount ÷ price, at most 9,999 basis points, so that a sale brings something."""
        return -larger(-(1e4 * self.amount / price), -_MOST_BPS)


class VolumeShare(SlippageModel):
    """A price that moves with the square of an order's part of the bar's volume.

    A fill trades ``impact × (quantity ÷ volume)²`` worse. The part counts up to ``most``, and as that where the volume
    is unknown or 0; ``bps`` comes on top.
    """

    impact: Annotated[float, Ge(0)] = 0.1
    most: Annotated[float, Gt(0), Le(1)] = 0.1
    bps: Annotated[float, Ge(0), Lt(5_000)] = 0.0

    def check(self) -> None:
        """A sale must bring something."""
        worst = 1e4 * self.impact * self.most**2 + self.bps
        if worst > _MOST_BPS:
            raise ConfigError(
                f"slippage model volume_share: impact {self.impact} and most {self.most} move a price by up to "
                f"{worst:,.0f} basis points; allowed: {_MOST_BPS:,.0f}"
            )

    def slippage_bps(self, side: int, quantity: Number, price: Number, volume: Number) -> Number | float:
        """impact × part², in basis points."""
        is_known = volume > 0.0  # not NaN, too
        there = np.where(is_known, volume, 1.0)
        part: Any = np.where(is_known, np.minimum(quantity, self.most * there) / there, self.most)
        moved: Number = 1e4 * self.impact * part * part + self.bps
        return moved


@hookimpl
def register_commission_models() -> dict[str, type[CommissionModel]]:
    """``percent``, ``per_share``, ``per_order``, ``tiered``."""
    return {"percent": Percent, "per_order": PerOrder, "per_share": PerShare, "tiered": Tiered}


@hookimpl
def register_slippage_models() -> dict[str, type[SlippageModel]]:
    """``bps``, ``half_spread``, ``volume_share``."""
    return {"bps": Bps, "half_spread": HalfSpread, "volume_share": VolumeShare}
