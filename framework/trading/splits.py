"""What a split makes of shares, orders and prices: one arithmetic for simulator and books (trading-rules 3 and 8)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from framework.errors import DataError
from framework.model.bars import CorporateAction
from framework.model.money import MIN_PRICE, price_decimal

#: The reason of orders of which a split leaves less than a lot.
NOTHING_LEFT = "nothing left of it after a split"

#: A ratio such as 1 for 3 is written with so many decimals that it is that ratio.
_LARGEST_OLD, _CLOSE = 10**6, Fraction(1, 10**9)
_LOWEST = Decimal(repr(MIN_PRICE))


def ratio_of(split: CorporateAction) -> Fraction:
    """New shares for old ones, in whole numbers.

    Raises:
        DataError: it is no such ratio.
    """
    value = Fraction(split.value)
    ratio = value.limit_denominator(_LARGEST_OLD)
    if value <= 0 or abs(ratio - value) > _CLOSE * value:
        raise DataError(
            f"the split of {split.ticker} on {split.ex_date} has the ratio {split.value}, which is no ratio of whole "
            f"numbers up to {_LARGEST_OLD}; correct this row of corporate_actions, or set is_ignored of it"
        )
    return ratio


def split_price(price: Decimal, ratio: Fraction) -> Decimal:
    """A price of old shares as one of new shares, to 1e-6 and never below what orders may have.

    Exact only in a context that is wide enough.
    """
    return max(_LOWEST, price_decimal(price * ratio.denominator / ratio.numerator))


def split_order(lots: float, ratio: Fraction) -> float:
    """The rest of an order (signed lots) as one of new shares, cut to whole lots."""
    new = abs(Fraction(lots)) * ratio
    whole = float(new.numerator // new.denominator)
    return whole if lots > 0.0 else -whole
