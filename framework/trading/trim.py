"""What happens to buys that the cash does not cover (trading-rules 5). One rule, for one buy or five hundred."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from framework.model.money import WHOLE, converted, cut

#: Fees in micros of buying a number of lots at a price (micros per lot); at a rate, where one is given.
FeeOf = Callable[..., float]

#: A gap of so many whole shares is closed in one go, too: shares so cheap are not worth the time.
_MANY_LOTS = 1000


def trim(
    free: float,
    lots: Sequence[float],
    prices: Sequence[float],
    fee_of: FeeOf | None,
    lots_per_share: float,
    rates: Sequence[float] | None = None,
) -> list[float]:
    """Cut buys until cash covers them and their fees.

    All are scaled by free cash / cost; then, while they do not fit, the buy with the largest notional gives a lot
    (the first of equals in ticker order). Lots of 1e-9 shares, and a thousand shares and more, are given in one go, as
    many as the gap is worth.

    Args:
        free: cash in micros.
        lots: wanted, > 0, in ticker order.
        prices: micros per lot.
        fee_of: fees of one buy; None: there are none.
        lots_per_share: 1 for whole shares.
        rates: what a unit of each price is worth in cash; None: 1.

    Returns:
        lots that fit, each ≤ what was wanted; 0 where nothing is left.
    """
    cost = _cost(lots, prices, fee_of, rates)
    if cost <= free:
        return list(lots)
    if free <= 0.0:
        return [0.0] * len(lots)
    scale = free / cost
    kept = [cut(wanted * scale) for wanted in lots]
    while (missing := _cost(kept, prices, fee_of, rates) - free) > 0.0:
        notionals = _notionals(kept, prices, rates)
        largest = notionals.index(max(notionals))
        if not notionals[largest]:
            return [0.0] * len(kept)  # what is left costs fees alone
        gap = missing / (prices[largest] if rates is None else prices[largest] * rates[largest])
        one_by_one = lots_per_share == WHOLE and gap < _MANY_LOTS
        kept[largest] = max(0.0, kept[largest] - (1.0 if one_by_one else float(int(gap) + 1)))
    return kept


def _cost(lots: Sequence[float], prices: Sequence[float], fee_of: FeeOf | None, rates: Sequence[float] | None) -> float:
    cost = 0.0
    if rates is not None:
        for notional, count, price, rate in zip(_notionals(lots, prices, rates), lots, prices, rates, strict=True):
            cost += notional + (fee_of(count, price, rate) if fee_of is not None and count > 0.0 else 0.0)
        return cost
    for count, price in zip(lots, prices, strict=True):
        if count > 0.0:
            cost += round(count * price)
            if fee_of is not None:
                cost += fee_of(count, price)
    return cost


def _notionals(lots: Sequence[float], prices: Sequence[float], rates: Sequence[float] | None) -> list[float]:
    """What each costs without fees, in micros of the cash that pays for it."""
    local = [float(round(count * price)) for count, price in zip(lots, prices, strict=True)]
    return local if rates is None else [converted(amount, rate) for amount, rate in zip(local, rates, strict=True)]
