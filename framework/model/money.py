"""Rounding of money, prices and quantities: each rule once, for floats (simulation) and for Decimals (books).

The simulator counts money in whole micros (1e-6 of the currency) and positions in whole lots, both as float64: integers
below 2**53 add up exactly, so no sum drifts, whatever its order. A lot is one share, or 1e-9 of a share.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal
from typing import TypeVar, overload

import numpy as np

from framework.model.panel import Floats

Number = TypeVar("Number", float, Floats)

#: Micros per unit of currency.
MICRO = 1e6
#: Lots per share.
WHOLE, FRACTIONAL = 1.0, 1e9
#: A quantity this close below the next lot counts as that lot: float noise must not cost a share.
LOT_SLACK = 1e-9

#: Smallest price traded at: below it, rounding to micros moves a price by more than 1e-4 of itself.
MIN_PRICE = 0.005

_MICRO_STEP, _NANO_STEP = Decimal("1e-6"), Decimal("1e-9")
#: Room for every product of whole micros and a rate.
_WIDE = Context(prec=60)


@overload
def cut(lots: float) -> float: ...
@overload
def cut(lots: Floats) -> Floats: ...
def cut(lots: float | Floats) -> float | Floats:
    """Cut a number of lots to whole lots, towards zero (trading-rules 2)."""
    if isinstance(lots, float):
        return float(int(lots + LOT_SLACK)) if lots >= 0.0 else -float(int(LOT_SLACK - lots))
    return np.trunc(lots + np.copysign(LOT_SLACK, lots))


@overload
def to_micro(value: float) -> float: ...
@overload
def to_micro(value: Floats) -> Floats: ...
def to_micro(value: float | Floats) -> float | Floats:
    """Money or a price in whole micros, half to even."""
    if isinstance(value, float):
        return float(round(value * MICRO))
    return np.rint(value * MICRO)


def converted(micros: float, rate: float) -> float:
    """Whole micros of one currency in whole micros of another, half to even: exactly what the books make of it."""
    return float(round(_WIDE.multiply(Decimal(int(micros)), rate_decimal(rate))))


def rate_decimal(rate: float) -> Decimal:
    """An exchange rate as the books keep it: the shortest decimal that is this float."""
    return Decimal(repr(float(rate)))


def price_decimal(price: Decimal) -> Decimal:
    """A fill price to 1e-6, half to even."""
    return price.quantize(_MICRO_STEP, ROUND_HALF_EVEN)


def notional_decimal(quantity: Decimal, price: Decimal) -> Decimal:
    """quantity × price to 1e-6, half to even."""
    return (quantity * price).quantize(_MICRO_STEP, ROUND_HALF_EVEN)


def quantity_decimal(shares: Decimal) -> Decimal:
    """A fractional quantity down to 1e-9."""
    return shares.quantize(_NANO_STEP, ROUND_DOWN)


def nano_shares(lots: float, lots_per_share: float) -> int:
    """The shares that a number of lots is, in 1e-9 of one: a split may leave a part of a lot."""
    per_lot = FRACTIONAL / lots_per_share
    return int(lots) * int(per_lot) if lots.is_integer() else round(lots * per_lot)


def shares_decimal(lots: float, lots_per_share: float) -> Decimal:
    """The shares that a number of lots is, to 1e-9."""
    if lots.is_integer():
        return Decimal(int(lots)) / int(lots_per_share)
    return Decimal(nano_shares(lots, lots_per_share)) / int(FRACTIONAL)


def half_even(number: int, divisor: int) -> int:
    """number / divisor (> 0) to a whole number, half to even."""
    whole, rest = divmod(number, divisor)
    return whole + (2 * rest > divisor or (2 * rest == divisor and whole % 2 == 1))


def exact_decimal(lots_or_micro: float, per_unit: float) -> Decimal:
    """The Decimal that a count of lots (per share) or micros (per unit of currency) is; the count is rounded."""
    return Decimal(round(lots_or_micro)) / int(per_unit)
