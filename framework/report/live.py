"""What the live books say of a portfolio in a range of dates: its valuations, what was booked between them, figures.

A period runs from the last valuation before it to the last one in it: what was booked between the two is its own, so
equity at the start + money in - money out + profit = equity at the end, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

import numpy as np

from framework.books.exact import exact
from framework.books.keys import is_dividend, reversal_key
from framework.books.lots import Closed, Lots
from framework.books.open import Identity
from framework.books.rows import TradeRow
from framework.books.state import Valuation
from framework.model.money import notional_decimal

_ZERO = Decimal(0)
#: Stands for the valuation before the first.
NOTHING = Valuation(datetime.min.replace(tzinfo=UTC), _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO)
#: Kinds by which money leaves without being a loss.
_PAID_OUT = {"withdrawal", "transfer"}
#: Kinds by which money, or what it bought, comes and goes without being profit.
FLOWS = {"deposit", "withdrawal", "transfer", "adopt"}
#: Kinds of what companies do.
ACTIONS = {"split", "dividend", "rename"}


class Moved(NamedTuple):
    """Money that came (negative: went), or what adopted shares had cost; in the portfolio's currency."""

    at: datetime
    kind: str
    amount: Decimal
    reference: str


@dataclass(frozen=True)
class Held:
    """A position at the end of the period.

    The price is in the ticker's currency, the value in the portfolio's; both are ``None`` where there is no bar to
    value it at, or no rate.
    """

    ticker: str
    quantity: Decimal
    price: Decimal | None
    value: Decimal | None


class Booked(NamedTuple):
    """A trade row with its id and its booking time."""

    id: int
    at: datetime
    row: TradeRow


class Ordered(NamedTuple):
    """An order of the journal, and the bar that it was decided on; ``quantity`` is ``None`` if it was never sized.

    ``reason`` says why ``unfilled`` shares of it ended without a fill; ``ended_at`` is ``None`` while it is open.
    """

    order_id: str
    ticker: str
    side: str
    quantity: Decimal | None
    filled: Decimal
    unfilled: Decimal
    reason: str | None
    ended_at: datetime | None
    bar_timestamp: datetime
    due_at: datetime
    decision_price: Decimal | None


class PriceSource(NamedTuple):
    """Whose bars, of which interval, a portfolio is valued at."""

    source: str
    interval: str


@dataclass(frozen=True, eq=False)
class LiveReport:
    """A portfolio in a period; money in its currency.

    Attributes:
        portfolio: whose books.
        days: shape ``(V,)``, ``datetime64[D]``: date of each valuation.
        valuations: in order of time, one at least.
        cash_at: the cash that each of them saw.
        before: the last valuation before the period; all zero: there is none.
        booked: rows of ``trade_execution_logs`` up to the end, in booking order, those before the period included.
        orders: decided up to the end, that had not ended before the period.
        positions: at the end, in order of ticker.
        prices: that they are valued at; ``None``: there is no bar.
        notes: what a reader should know.
    """

    portfolio: Identity
    days: np.ndarray[tuple[int], np.dtype[np.datetime64]]
    valuations: tuple[Valuation, ...]
    cash_at: tuple[Decimal, ...]
    before: Valuation
    booked: tuple[Booked, ...]
    orders: tuple[Ordered, ...]
    positions: tuple[Held, ...]
    prices: PriceSource | None
    notes: tuple[str, ...]

    @property
    def end(self) -> Valuation:
        """The last valuation of the period."""
        return self.valuations[-1]

    @property
    def cash(self) -> Decimal:
        """At the end."""
        return self.cash_at[-1]

    @cached_property
    def inside(self) -> tuple[Booked, ...]:
        """What was booked in the period."""
        return tuple(each for each in self.booked if each.at > self.before.timestamp)

    @cached_property
    def rows(self) -> tuple[TradeRow, ...]:
        """The rows of ``trade_execution_logs`` that were booked in the period."""
        return tuple(each.row for each in self.inside)

    @cached_property
    def lots(self) -> tuple[Lots, tuple[Closed, ...]]:
        """The lots at the end, and those that were closed in the period, by FIFO from the first row on."""
        closed: list[Closed] = []
        lots, begun = Lots(), False
        for number, at, row in self.booked:
            if not begun and at > self.before.timestamp:
                lots.on_close, begun = closed.append, True
            lots.apply(number, row)
        return lots, tuple(closed)

    @cached_property
    def fills(self) -> tuple[Booked, ...]:
        """The rows that are trades: fills of orders. One that was corrected in the period is none, nor its reversal."""
        return _standing(each for each in self.inside if each.row.kind == "trade")

    @cached_property
    def actions(self) -> tuple[Booked, ...]:
        """The rows of splits, dividends and renames; of those that were corrected as ``fills``."""
        return _standing(each for each in self.inside if is_action(each.row))

    @cached_property
    def trades(self) -> tuple[TradeRow, ...]:
        """The rows of ``fills``."""
        return tuple(each.row for each in self.fills)

    @property
    def money_out(self) -> Decimal:
        """Withdrawals and transfers out."""
        with exact():
            return -sum((min(row.cash_change, _ZERO) for row in self.rows if row.kind in _PAID_OUT), _ZERO)

    @property
    def money_in(self) -> Decimal:
        """Deposits, transfers in, and what was adopted."""
        with exact():
            return money_in(self.end) - money_in(self.before) + self.money_out

    @cached_property
    def flows(self) -> tuple[Moved, ...]:
        """Every movement of money in the period, in booking order; together they are money in − money out."""
        rows = (row for row in self.rows if row.kind in FLOWS)
        return tuple(Moved(row.exec_timestamp, row.kind, flow_amount(row), row.execution_id) for row in rows)

    def moved(self, kind: str) -> Decimal:
        """Net of the movements of one kind."""
        with exact():
            return sum((flow.amount for flow in self.flows if flow.kind == kind), _ZERO)

    def gained(self, part: str) -> Decimal:
        """How much ``notional`` (the profit), ``realised``, ``unrealised``, ``income`` or ``costs`` grew."""
        with exact():
            grown: Decimal = getattr(self.end, part) - getattr(self.before, part)
            return grown

    @property
    def fees(self) -> Decimal:
        """Of the trades."""
        with exact():
            return sum((row.fees for row in self.trades), _ZERO)

    @property
    def dividends(self) -> Decimal:
        """Received less owed."""
        with exact():
            return sum((each.row.cash_change for each in self.actions), _ZERO)

    @property
    def slippage(self) -> Decimal:
        """What the trades cost beyond the market at the moment when each could first trade."""
        with exact():
            return sum((_slipped(row) for row in self.trades), _ZERO)


def is_action(row: TradeRow) -> bool:
    """Whether it is a split, a dividend or a rename; a dividend that a short one owed is booked as an adjustment."""
    return row.kind in ACTIONS or (row.kind == "adjustment" and is_dividend(row.execution_id))


def _standing(rows: Iterable[Booked]) -> tuple[Booked, ...]:
    """Those that no other of them takes back, and that take none back."""
    by_key = {each.row.execution_id: each for each in rows}
    undone = {key for key in by_key if reversal_key(key) in by_key}
    gone = undone | {reversal_key(key) for key in undone}
    return tuple(each for key, each in by_key.items() if key not in gone)


def ticker_currencies(booked: Sequence[Booked]) -> dict[str, str]:
    """What the prices of each ticker that was ever booked are in.

    Rows of splits and renames do not tell: they are in the portfolio's currency whatever the ticker's is.
    """
    found: dict[str, str] = {}
    for _, _, row in booked:
        if row.kind == "rename":
            found.setdefault(row.ticker, found.get(row.for_ticker or "", row.currency))
        elif row.kind != "split":
            found[row.ticker] = row.currency
    return found


def money_in(valuation: Valuation) -> Decimal:
    """All that has come in up to then, less what went out."""
    return valuation.equity - valuation.notional


def flow_amount(row: TradeRow) -> Decimal:
    """What a movement adds to the money in: cash, or the cost of the shares that were adopted."""
    with exact():
        shares = row.quantity_change
        return notional_decimal(shares, (row.arrival_price or _ZERO) * row.fx_rate) if shares else row.cash_change


def _slipped(row: TradeRow) -> Decimal:
    if row.arrival_price is None:
        return _ZERO
    return notional_decimal(row.sign * row.quantity, (row.exec_price - row.arrival_price) * row.fx_rate)
