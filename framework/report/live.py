"""What the live books say of a portfolio in a range of dates: its valuations, what was booked between them, figures.

A period runs from the last valuation before it to the last one in it: what was booked between the two is its own, so
equity at the start + money in - money out + profit = equity at the end, exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

import numpy as np

from framework.books.exact import exact
from framework.books.open import Identity, portfolios
from framework.books.returns import ReturnIndex
from framework.books.rows import COLUMNS, TradeRow
from framework.books.state import Valuation
from framework.config.explain import nearest
from framework.db.pool import Pool
from framework.db.queries import fetch_all, fetch_one
from framework.db.types import Connection
from framework.errors import DataError, UsageError
from framework.model.money import notional_decimal
from framework.model.panel import Floats
from framework.report import metrics
from framework.report.money_weighted import YEAR, money_weighted_return

_ZERO = Decimal(0)
_NOTHING = Valuation(datetime.min.replace(tzinfo=UTC), _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO)
#: Kinds by which money leaves without being a loss.
_PAID_OUT = {"withdrawal", "transfer"}
#: Kinds by which money, or what it bought, comes and goes without being profit.
_FLOWS = {"deposit", "withdrawal", "transfer", "adopt"}


class Moved(NamedTuple):
    """Money that came (negative: went), or what adopted shares had cost; in the portfolio's currency."""

    at: datetime
    kind: str
    amount: Decimal
    reference: str


@dataclass(frozen=True)
class Held:
    """A position at the end of the period; price and value are ``None`` where there is no bar to value it at."""

    ticker: str
    quantity: Decimal
    price: Decimal | None
    value: Decimal | None


@dataclass(frozen=True, eq=False)
class LiveReport:
    """A portfolio in a period; money in its currency.

    Attributes:
        portfolio: whose books.
        days: shape ``(V,)``, ``datetime64[D]``: date of each valuation.
        valuations: in order of time, one at least.
        before: the last valuation before the period; all zero: there is none.
        rows: of ``trade_execution_logs`` that were booked in the period.
        cash: at the end.
        positions: at the end, in order of ticker.
        notes: what a reader should know.
    """

    portfolio: Identity
    days: np.ndarray[tuple[int], np.dtype[np.datetime64]]
    valuations: tuple[Valuation, ...]
    before: Valuation
    rows: tuple[TradeRow, ...]
    cash: Decimal
    positions: tuple[Held, ...]
    notes: tuple[str, ...]

    @property
    def end(self) -> Valuation:
        """The last valuation of the period."""
        return self.valuations[-1]

    @cached_property
    def trades(self) -> tuple[TradeRow, ...]:
        """The rows that are trades: fills of orders."""
        return tuple(row for row in self.rows if row.kind == "trade")

    @property
    def money_out(self) -> Decimal:
        """Withdrawals and transfers out."""
        with exact():
            return -sum((min(row.cash_change, _ZERO) for row in self.rows if row.kind in _PAID_OUT), _ZERO)

    @property
    def money_in(self) -> Decimal:
        """Deposits, transfers in, and what was adopted."""
        with exact():
            return _money_in(self.end) - _money_in(self.before) + self.money_out

    @cached_property
    def flows(self) -> tuple[Moved, ...]:
        """Every movement of money in the period, in booking order; together they are money in − money out."""
        rows = (row for row in self.rows if row.kind in _FLOWS)
        return tuple(Moved(row.exec_timestamp, row.kind, _amount(row), row.execution_id) for row in rows)

    def moved(self, kind: str) -> Decimal:
        """Net of the movements of one kind."""
        with exact():
            return sum((flow.amount for flow in self.flows if flow.kind == kind), _ZERO)

    @cached_property
    def money_weighted_return(self) -> float | None:
        """Internal rate of return a year, of the equity before the period and all ``flows``, by whole days."""
        end, dated = self.days[-1], [(_day(flow.at), float(flow.amount)) for flow in self.flows]
        if self.before is not _NOTHING:
            begun = _day(self.before.bar_timestamp or self.before.timestamp)
            dated = [(begun, float(self.before.equity)), *((max(day, begun), amount) for day, amount in dated)]
        days = np.array([min(day, end) for day, _ in dated], dtype="datetime64[D]")
        amounts = np.array([amount for _, amount in dated], dtype=np.float64)
        return money_weighted_return(amounts, (end - days) / YEAR, float(self.end.equity))

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
    def slippage(self) -> Decimal:
        """What the trades cost beyond the market at the moment when each could first trade."""
        with exact():
            return sum((_slipped(row) for row in self.trades), _ZERO)

    @cached_property
    def index(self) -> Floats:
        """Shape ``(V,)``: what one unit of money became, by the last valuation of each date; NaN at the others."""
        return self._returns[0]

    @cached_property
    def drawdown(self) -> Floats:
        """Shape ``(V,)``: of the index, at most 0; NaN where the index is."""
        return self._returns[1]

    @cached_property
    def _returns(self) -> tuple[Floats, Floats]:
        """By the last valuation of each date; one before which money moved ends a part of its date."""
        money = [_money_in(valuation) for valuation in self.valuations]
        found = ReturnIndex(float(self.before.equity), float(_money_in(self.before)))
        index, drawdown, peak = np.full(len(money), np.nan), np.full(len(money), np.nan), 1.0
        is_last = np.append(self.days[1:] != self.days[:-1], True)
        for row, valuation in enumerate(self.valuations):
            if is_last[row] or money[row + 1] != money[row]:
                found.add(float(valuation.equity), float(money[row]))
            if is_last[row]:
                peak = max(peak, found.value)
                index[row], drawdown[row] = found.value, found.value / peak - 1.0
        return index, drawdown

    @property
    def turnover(self) -> float | None:
        """Notional traded a year ÷ mean equity."""
        sessions = np.unique(self.days)
        traded = float(sum((row.notional for row in self.trades), _ZERO))
        equity = np.array([float(valuation.equity) for valuation in self.valuations])
        return metrics.turnover(traded, equity, len(sessions), metrics.sessions_per_year(sessions))


def read_live_report(pool: Pool, portfolio_id: str, start: date | None = None, until: date | None = None) -> LiveReport:
    """Read a portfolio's report from its books, all of one moment.

    Args:
        pool: of the books.
        portfolio_id: of an open portfolio.
        start, until: first and last date, both included; ``None``: as far as the books go.

    Raises:
        UsageError: no such portfolio, or the range is empty.
        DataError: it was never valued in that range; says when it was.
    """
    if start is not None and until is not None and start > until:
        raise UsageError(f"the range is empty: its start {start} is after its end {until}")
    known = {each.portfolio_id: each for each in portfolios(pool)}
    if portfolio_id not in known:
        there = f"there are: {', '.join(known)}" if known else "none is open"
        raise UsageError(
            f"there is no portfolio {portfolio_id!r} in the books{nearest(portfolio_id, list(known))} ({there})"
        )
    with pool.transaction(read_only=True, isolation="repeatable read") as connection:
        return _read(connection, known[portfolio_id], start, until)


def _read(connection: Connection, portfolio: Identity, start: date | None, until: date | None) -> LiveReport:
    asked = {"portfolio_id": portfolio.portfolio_id, "start": start, "until": until}
    found = fetch_all(connection, "valuations_dated", asked)
    inside = [row for row in found if row[9]]
    if not inside:
        raise _not_valued(connection, portfolio.portfolio_id, start, until)
    before = _NOTHING if found[0][9] else Valuation(*found[0][:8])
    valuations = tuple(Valuation(*row[:8]) for row in inside)
    end = valuations[-1]
    after = None if before is _NOTHING else before.timestamp
    state = fetch_all(connection, "state_at", {"portfolio_id": portfolio.portfolio_id, "until": end.timestamp})
    quantities = {row[0]: row[1] for row in state if row[0] is not None}
    cash = next((row[1] for row in state if row[0] is None), _ZERO)
    closes = _closes(connection, quantities, end)
    positions, notes = _valued(quantities, closes, end.equity - cash)
    later = _rows(connection, portfolio.portfolio_id, end.timestamp, None) if until is None else ()
    if later:
        notes.append(f"{len(later)} bookings after the last valuation are not in these figures")
    return LiveReport(
        portfolio=portfolio,
        days=np.array([row[8] for row in inside], dtype="datetime64[D]"),
        valuations=valuations,
        before=before,
        rows=_rows(connection, portfolio.portfolio_id, after, end.timestamp),
        cash=cash,
        positions=positions,
        notes=tuple(notes),
    )


def _not_valued(connection: Connection, portfolio_id: str, start: date | None, until: date | None) -> DataError:
    row = fetch_one(connection, "valuation_dates", {"portfolio_id": portfolio_id})
    if row is None or row[0] is None:
        return DataError(
            f"portfolio {portfolio_id!r} was never valued, so there is nothing to report; an engine values it at every "
            "bar (engine run CONFIG)"
        )
    asked = " ".join(f"{word} {day}" for word, day in (("from", start), ("to", until)) if day is not None)
    return DataError(
        f"portfolio {portfolio_id!r} was not valued {asked}; its valuations reach from {row[0]} to {row[1]}"
    )


def _rows(
    connection: Connection, portfolio_id: str, after: datetime | None, until: datetime | None
) -> tuple[TradeRow, ...]:
    asked = {"portfolio_id": portfolio_id, "after": after, "until": until}
    return tuple(
        TradeRow(**dict(zip(COLUMNS, row, strict=True))) for row in fetch_all(connection, "trades_booked", asked)
    )


# What positions were valued at. The books keep the sum, not the prices; those are looked up among the bars.

Closes = Mapping[tuple[str, str], Mapping[str, Decimal]]


def _closes(connection: Connection, quantities: Mapping[str, Decimal], end: Valuation) -> Closes:
    """By (source, interval): the close of each ticker at the bar of a valuation."""
    found: dict[tuple[str, str], dict[str, Decimal]] = defaultdict(dict)
    asked = {"tickers": list(quantities), "until": end.bar_timestamp or end.timestamp}
    for source, interval, ticker, close in fetch_all(connection, "closes_at", asked):
        found[source, interval][ticker] = close
    return found


def _valued(quantities: Mapping[str, Decimal], closes: Closes, worth: Decimal) -> tuple[tuple[Held, ...], list[str]]:
    """The positions at the prices of the source whose values add up to what they were valued at, or come nearest."""
    candidates = [_at(quantities, prices) for prices in closes.values()] or [_at(quantities, {})]
    best = min(candidates, key=lambda held: (_unpriced(held), abs(_worth(held) - worth)))
    notes = []
    if _unpriced(best):
        missing = ", ".join(each.ticker for each in best if each.price is None)
        notes.append(f"no bar is in this database to value {missing} at")
    elif _worth(best) != worth:
        notes.append(
            f"the bars have changed since the last valuation: it took the positions for {worth:,.2f}, at the prices "
            f"shown they are {_worth(best):,.2f}"
        )
    return best, notes


def _at(quantities: Mapping[str, Decimal], prices: Mapping[str, Decimal]) -> tuple[Held, ...]:
    with exact():
        return tuple(
            Held(ticker, quantity, price, None if price is None else notional_decimal(quantity, price))
            for ticker, quantity in sorted(quantities.items())
            for price in (prices.get(ticker),)
        )


def _worth(held: Sequence[Held]) -> Decimal:
    with exact():
        return sum((each.value for each in held if each.value is not None), _ZERO)


def _unpriced(held: Sequence[Held]) -> int:
    return sum(each.price is None for each in held)


def _money_in(valuation: Valuation) -> Decimal:
    """All that has come in up to then, less what went out."""
    return valuation.equity - valuation.notional


def _amount(row: TradeRow) -> Decimal:
    """What a movement adds to the money in: cash, or the cost of the shares that were adopted."""
    with exact():
        shares = row.quantity_change
        return notional_decimal(shares, (row.arrival_price or _ZERO) * row.fx_rate) if shares else row.cash_change


def _day(at: datetime) -> np.datetime64:
    return np.datetime64(at.astimezone(UTC).date(), "D")


def _slipped(row: TradeRow) -> Decimal:
    if row.arrival_price is None:
        return _ZERO
    return notional_decimal(row.sign * row.quantity, (row.exec_price - row.arrival_price) * row.fx_rate)
