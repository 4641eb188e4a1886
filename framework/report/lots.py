"""FIFO lots as reports show them: what was bought when, sold when, and earned; what is held still, at which cost.

The matching is that of the books (:class:`framework.books.lots.Lots`), for backtests, too, so that both tell one truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framework.books.exact import exact
from framework.books.lots import Closed, Lots
from framework.model.panel import Floats, Times
from framework.model.result import Ints

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, eq=False)
class LotTable:
    """``L`` lots, or parts of lots, in the order in which they were closed; those held still come last; shape ``(L,)``.

    Attributes:
        portfolio, ticker: indices into the run's portfolios and tickers.
        opened: ``datetime64[us]`` UTC, when it was bought (sold short).
        closed: when it was sold (bought back); NaT: it is held.
        quantity: shares, with the sign of the position.
        cost: what it had cost, with the sign of the quantity, in the portfolio's currency, without fees.
        value: what closing it brought, or what it is worth at the last price; NaN: there is no price.
    """

    portfolio: Ints
    ticker: Ints
    opened: Times
    closed: Times
    quantity: Floats
    cost: Floats
    value: Floats

    def __len__(self) -> int:
        return len(self.ticker)

    @cached_property
    def profit(self) -> Floats:
        """Value − cost, before fees."""
        return np.round(self.value - self.cost, 6) + 0.0

    @cached_property
    def is_closed(self) -> NDArray[np.bool_]:
        """Which are closed."""
        return ~np.isnat(self.closed)

    @cached_property
    def stats(self) -> LotStats | None:
        """Of the closed ones; ``None``: there is none."""
        return _stats(self.take(self.is_closed)) if self.is_closed.any() else None

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> LotTable:
        """The lots at ``index`` (positions or a mask), in that order."""
        return LotTable(**{name: getattr(self, name)[index] for name in self.__dataclass_fields__})

    @classmethod
    def joined(cls, parts: Sequence[LotTable]) -> LotTable:
        """The lots of several portfolios: the closed ones in the order of closing, then the held ones."""
        every = cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS})
        return every.take(np.lexsort((every.portfolio, every.closed, ~every.is_closed)))


_COLUMNS = tuple(LotTable.__dataclass_fields__)


@dataclass(frozen=True)
class LotStats:
    """What closed lots came to, before fees; money in the account's currency.

    Attributes:
        count: how many.
        won: share of them that gained, a fraction.
        gains, losses: sums of the profits above and below 0.
        profit_factor: gains ÷ −losses; ``None`` where none lost.
        mean_gain, mean_loss: of one that gained, of one that lost; ``None``: there is none.
        largest_gain, largest_loss: 0 where there is none.
        mean_days: held, weighted by cost; 0 where nothing had cost anything.
    """

    count: int
    won: float
    gains: float
    losses: float
    profit_factor: float | None
    mean_gain: float | None
    mean_loss: float | None
    largest_gain: float
    largest_loss: float
    mean_days: float


def _stats(lots: LotTable) -> LotStats:
    profit = lots.profit
    up, down = profit[profit > 0], profit[profit < 0]
    gains, losses = float(up.sum()), float(down.sum())
    days, weight = (lots.closed - lots.opened) / _DAY, np.abs(lots.cost)
    return LotStats(
        count=len(lots),
        won=len(up) / len(lots),
        gains=round(gains, 6),
        losses=round(losses, 6),
        profit_factor=gains / -losses if losses < 0 else None,
        mean_gain=gains / len(up) if len(up) else None,
        mean_loss=losses / len(down) if len(down) else None,
        largest_gain=float(up.max(initial=0.0)),
        largest_loss=float(down.min(initial=0.0)),
        mean_days=float(np.average(days, weights=weight)) if weight.any() else 0.0,
    )


class Splits(NamedTuple):
    """``A`` splits of what a portfolio held, in order of time; shape ``(A,)`` each.

    ``ticker`` is its index, ``at`` when it took effect, before the fills of that moment, ``change`` the signed shares
    that it brought.
    """

    ticker: Ints
    at: Times
    change: Floats


def lots_of_fills(
    portfolio: int, ticker: Ints, executed: Times, quantity: Floats, notional: Floats, worth: Floats, splits: Splits
) -> LotTable:
    """The lots of one portfolio's ``K`` fills in booking order; columns of shape ``(K,)`` as in ``account.Fills``.

    Args:
        portfolio: its index.
        ticker, executed, quantity, notional: of each fill.
        worth: shape ``(tickers of the run,)``: the last price of each in the portfolio's currency; NaN: none is known.
        splits: of what it held.
    """
    found: list[Closed] = []
    lots = Lots(on_close=found.append)
    place = np.searchsorted(executed, splits.at)
    codes = np.insert(ticker, place, splits.ticker).tolist()
    signed = _decimals(np.insert(quantity, place, splits.change), 9)
    paid = _decimals(np.insert(np.sign(quantity) * notional, place, 0.0), 6)
    is_split = np.insert(np.zeros(len(ticker), dtype=np.bool_), place, True).tolist()
    with exact():
        for row, (code, shares, value, splits_it) in enumerate(zip(codes, signed, paid, is_split, strict=True)):
            if splits_it:
                lots.split(str(code), shares, row)
            else:
                lots.trade(str(code), shares, value, row)
    when = np.insert(executed, place, splits.at)
    return table(portfolio, found, lots, np.arange(len(codes)), when, {str(code): code for code in set(codes)}, worth)


def table(
    portfolio: int,
    closed: Sequence[Closed],
    lots: Lots,
    ids: Ints,
    when: Times,
    codes: Mapping[str, int],
    worth: Floats,
) -> LotTable:
    """Closed lots and open ones as columns.

    Args:
        portfolio: its index.
        closed: in order.
        lots: whose open ones are held.
        ids: of the trade rows, rising.
        when: time of each of these.
        codes: index of each ticker among the run's.
        worth: as in :func:`lots_of_fills`.
    """
    held = [(ticker, lot) for ticker, of_one in lots.open.items() for lot in of_one]
    ticker = np.array([codes[each.ticker] for each in closed] + [codes[name] for name, _ in held], dtype=np.int64)
    opened = np.array([each.opened for each in closed] + [lot.opened for _, lot in held], dtype=np.int64)
    quantity = _floats([each.quantity for each in closed] + [lot.quantity for _, lot in held])
    value = np.concatenate((_floats([each.value for each in closed]), np.zeros(len(held))))
    value[len(closed) :] = np.round(quantity[len(closed) :] * worth[ticker[len(closed) :]], 6)
    ends = np.full(len(ticker), np.datetime64("NaT", "us"), dtype="datetime64[us]")
    ends[: len(closed)] = when[np.searchsorted(ids, np.array([each.closed for each in closed], dtype=np.int64))]
    return LotTable(
        portfolio=np.full(len(ticker), portfolio, dtype=np.int64),
        ticker=ticker,
        opened=when[np.searchsorted(ids, opened)],
        closed=ends,
        quantity=quantity,
        cost=_floats([each.cost for each in closed] + [lot.cost for _, lot in held]),
        value=value,
    )


def _floats(values: Sequence[Decimal]) -> Floats:
    return np.array([float(value) for value in values], dtype=np.float64)


def _decimals(values: Floats, digits: int) -> list[Decimal]:
    """Each value as the books have it: to so many digits."""
    return [Decimal(f"{value:.{digits}f}") for value in values.tolist()]
