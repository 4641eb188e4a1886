"""Bundled commission and slippage models."""

from typing import Annotated

from framework import CommissionModel, Ge, Lt, Number, SlippageModel, hookimpl, larger


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


class Bps(SlippageModel):
    """The same number of basis points against the trader on every fill."""

    uses_quantity = False
    bps: Annotated[float, Ge(0), Lt(10_000)]

    def slippage_bps(self, side: int, quantity: Number, price: Number, volume: Number) -> Number | float:
        """The constant."""
        return self.bps


@hookimpl
def register_commission_models() -> dict[str, type[CommissionModel]]:
    """``percent``, ``per_share``, ``per_order``."""
    return {"percent": Percent, "per_order": PerOrder, "per_share": PerShare}


@hookimpl
def register_slippage_models() -> dict[str, type[SlippageModel]]:
    """``bps``."""
    return {"bps": Bps}
