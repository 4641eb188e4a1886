"""The books of a live portfolio in the shape that all reports are made from, so that they look like a backtest's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

from framework.books.lots import is_into
from framework.books.rows import CASH_SUFFIX, TradeRow
from framework.books.state import Valuation
from framework.model.panel import Floats, Times
from framework.model.result import Ints
from framework.model.timeline import stamp
from framework.report.account import Account, Accounts, Curve, Movements
from framework.report.actions import DIVIDEND, RENAME, SPLIT, Actions
from framework.report.fills import Changes, Fills, Lapsed
from framework.report.live import (
    ACTIONS,
    FLOWS,
    NOTHING,
    Booked,
    LiveReport,
    Ordered,
    flow_amount,
    is_action,
    money_in,
    ticker_currencies,
)
from framework.report.live_prices import Market
from framework.report.lots import LotTable, table

#: Under which profit is listed that no ticker brought: interest, fees of the account, adjustments.
NO_TICKER = "no ticker"

_NEVER = np.datetime64("NaT", "us")


@dataclass(frozen=True, eq=False)
class LiveRows:
    """The valuations of a report that become rows of its curve, ``V`` of them.

    Attributes:
        report: whose.
        index: of each row among ``report.valuations``: a valuation at an older bar than a later one is left out.
        stamps: shape ``(V,)``: labels of the bars that they saw, rising.
        known: shape ``(V,)``: when each was booked.
    """

    report: LiveReport
    index: tuple[int, ...]
    stamps: Times
    known: Times

    @classmethod
    def of(cls, report: LiveReport) -> LiveRows:
        """Those of a report."""
        kept: list[int] = []
        labels = [bar_label(valuation) for valuation in report.valuations]
        for number, label in enumerate(labels):
            while kept and labels[kept[-1]] >= label:
                kept.pop()
            kept.append(number)
        known = np.array([stamp(report.valuations[number].timestamp) for number in kept], dtype="datetime64[us]")
        return cls(report, tuple(kept), np.array([labels[number] for number in kept], dtype="datetime64[us]"), known)

    @cached_property
    def valuations(self) -> list[Valuation]:
        """Shape ``(V,)``."""
        return [self.report.valuations[number] for number in self.index]

    @cached_property
    def days(self) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
        """Shape ``(V,)``: the date of each."""
        return self.report.days[list(self.index)]

    def row(self, at: Sequence[datetime]) -> Ints:
        """The first row that holds what was booked at each time; V: none does."""
        times = np.array([stamp(each) for each in at], dtype="datetime64[us]")
        return np.searchsorted(self.known, times).astype(np.int64)


def bar_label(valuation: Valuation) -> np.datetime64:
    """Of the newest bar that a valuation saw."""
    return stamp(valuation.bar_timestamp or valuation.timestamp)


def live_accounts(rows: LiveRows, market: Market) -> Accounts:
    """The account of a live portfolio, alone.

    Args:
        rows: of the curve.
        market: prices at these rows; where there is a valuation before the period, with one row more before them, at
            that.
    """
    report = rows.report
    fills = _fills(rows, market)
    held, before = held_at_rows(rows, market.tickers)
    curve = _curve(rows, market, held)
    ends = curve.ends + (len(market.closes) - len(rows.index))
    account = Account(
        name=report.portfolio.portfolio_id,
        strategies=(),
        currency=report.portfolio.base_currency,
        portfolios=(report.portfolio.portfolio_id,),
        names=market.tickers,
        curve=curve,
        benchmark=None,
        benchmark_name="",
        tickers=market.tickers,
        closes=(market.adjusted * market.rates)[ends],
        fills=fills,
        lapsed=_lapsed(rows, market.tickers),
        actions=_actions(report),
        movements=_movements(rows),
        contributions=_contributions(rows, market, before),
        lots=_lots(report, market.tickers),
        changes=_changes(rows, market, held, before),
        trimmed_fills=0,
        trimmed_notional=0.0,
        stale_closes=0,
        cells=0,
        simulation_seconds=0.0,
        currencies=_currencies(report, market.tickers),
    )
    return Accounts(account, (account,), (curve,))


def _currencies(report: LiveReport, tickers: Sequence[str]) -> tuple[str, ...]:
    known = ticker_currencies(report.booked)
    return tuple(known.get(ticker, report.portfolio.base_currency) for ticker in tickers)


def _curve(rows: LiveRows, market: Market, held: Floats) -> Curve:
    report = rows.report
    equity = _floats([each.equity for each in rows.valuations])
    cash = _floats([report.cash_at[number] for number in rows.index])
    put_in = _floats([money_in(report.before), *(money_in(each) for each in rows.valuations)])
    net = np.round(equity - cash, 6)
    first = min([rows.valuations[0].timestamp, *(each.row.exec_timestamp for each in report.inside[:1])])
    begun = first if report.before is NOTHING else report.before.timestamp
    return Curve(
        opening=float(report.before.equity),
        timestamps=rows.stamps,
        session=rows.days,
        equity=equity,
        cash=cash,
        gross=net + 2 * _short(market, held),
        net=net,
        flows=np.round(np.diff(put_in), 6) + 0.0,
        begun=stamp(begun),
        moments=rows.known,
    )


def held_at_rows(rows: LiveRows, tickers: Sequence[str]) -> tuple[Floats, Floats]:
    """Shares of each ticker at each row, shape ``(V, N)``, and before the first, shape ``(N,)``."""
    column = {ticker: number for number, ticker in enumerate(tickers)}
    booked = [each for each in rows.report.booked if each.row.quantity_change]
    changes = np.zeros((len(rows.index) + 1, len(tickers)))
    places = rows.row([each.at for each in booked]) + 1
    for place, each in zip(places.tolist(), booked, strict=True):
        # Row 0: what was booked before the period.
        where = 0 if each.at <= rows.report.before.timestamp else place
        changes[where, column[each.row.ticker]] += float(each.row.quantity_change)
    held: Floats = np.asarray(np.round(np.cumsum(changes, axis=0), 9) + 0.0, dtype=np.float64)
    return held[1:], held[0]


def _short(market: Market, held: Floats) -> Floats:
    """What is owed in shares at each row, shape ``(V,)``, ≥ 0."""
    if not (held < 0).any():
        return np.zeros(len(held))
    worth = np.maximum(-held, 0.0) * _last(market.closes * market.rates, len(held))
    owed: Floats = np.round(np.nansum(worth, axis=1), 6)
    return owed


def _last(values: Floats, count: int) -> Floats:
    """Without the row before the period."""
    return values[len(values) - count :]


def _changes(rows: LiveRows, market: Market, held: Floats, before: Floats) -> Changes:
    """Positions at each row at which they differ from the row before; splits and adopted shares are among them."""
    where, ticker = np.nonzero(np.diff(held, axis=0, prepend=before[None, :]))
    closes, rates = _last(market.closes, len(held)), _last(market.rates, len(held))
    return Changes(rows.stamps[where], ticker, held[where, ticker], closes[where, ticker], rates[where, ticker])


def _fills(rows: LiveRows, market: Market) -> Fills:
    report, column = rows.report, {ticker: number for number, ticker in enumerate(market.tickers)}
    found = report.fills
    trades = [each.row for each in found]
    where = rows.row([each.at for each in found])
    decided = {order.order_id: stamp(order.bar_timestamp) for order in report.orders}
    ticker = np.array([column[row.ticker] for row in trades], dtype=np.int64)
    count = len(found)
    return Fills(
        id=np.array([each.id for each in found], dtype=np.int64),
        portfolio=np.zeros(count, dtype=np.int64),
        sequence=np.arange(1, count + 1),
        ticker=ticker,
        executed=_times([row.exec_timestamp for row in trades]),
        bar=rows.stamps[where],
        decided=np.array([decided.get(row.order_id or "", _NEVER) for row in trades], dtype="datetime64[us]"),
        quantity=_floats([row.quantity_change for row in trades]),
        arrival_price=_prices(trades, "arrival_price"),
        decision_price=_prices(trades, "decision_price"),
        price=_prices(trades, "exec_price"),
        notional=_floats([row.notional for row in trades]),
        fees=_floats([row.fees for row in trades]),
        fx_rate=_floats([row.fx_rate for row in trades]),
        notional_local=_floats([row.notional_local for row in trades]),
        execution_id=np.array([row.execution_id for row in trades], dtype=object),
        order_id=np.array([row.order_id or "" for row in trades], dtype=object),
    )


def ended_in(rows: LiveRows, orders: Sequence[Ordered]) -> Times:
    """Labels of the bars that orders ended in, shape ``(M,)``; of one that is open, or ended later, the last row's."""
    until = rows.report.end.timestamp
    # One that was never sent ended where it was decided, after the valuation there.
    at_once = np.array([order.ended_at == order.due_at for order in orders], dtype=np.bool_)
    later = rows.stamps[rows.row([min(order.ended_at or until, until) for order in orders])]
    return np.where(at_once, _times([order.bar_timestamp for order in orders]), later)


def _lapsed(rows: LiveRows, tickers: Sequence[str]) -> Lapsed:
    report = rows.report
    column = {ticker: number for number, ticker in enumerate(tickers)}
    until = report.end.timestamp
    ended = [
        order
        for order in report.orders
        if order.reason is not None and order.ended_at is not None and order.ended_at <= until
    ]
    quantity = [
        np.nan if order.quantity is None else float(order.unfilled) * (1 if order.side == "BUY" else -1)
        for order in ended
    ]
    found = Lapsed(
        timestamp=ended_in(rows, ended),
        decided=_times([order.bar_timestamp for order in ended]),
        portfolio=np.zeros(len(ended), dtype=np.int64),
        ticker=np.array([column[order.ticker] for order in ended], dtype=np.int64),
        quantity=np.array(quantity, dtype=np.float64),
        reason=tuple(order.reason or "" for order in ended),
    )
    return found.take(np.argsort(found.timestamp, kind="stable"))


def _actions(report: LiveReport) -> Actions:
    found = list(_with_held(report))
    rows = [row for row, _ in found]
    held, change = _floats([shares for _, shares in found]), _floats([row.quantity_change for row in rows])
    kind = np.array([row.kind if row.kind in ACTIONS else DIVIDEND for row in rows], dtype=object)
    paid = _floats([row.sign * row.notional_local for row in rows])
    value = np.full(len(rows), np.nan)
    np.divide(np.where(kind == SPLIT, held + change, paid), held, out=value, where=(held != 0) & (kind != RENAME))
    return Actions(
        at=_times([row.exec_timestamp for row in rows]),
        portfolio=np.zeros(len(rows), dtype=np.int64),
        ticker=np.array([_whose(row) for row in rows], dtype=object),
        kind=kind,
        value=np.round(value, 9),
        held=held,
        change=change,
        cash=_floats([row.cash_change for row in rows]),
    )


def _with_held(report: LiveReport) -> Iterator[tuple[TradeRow, Decimal]]:
    """Each action that met a position or brought money, and the shares before it, in order of time.

    It takes effect before what filled at its moment, also where it was booked later.
    """

    def place(each: Booked) -> tuple[datetime, bool, bool, int]:
        return each.row.exec_timestamp, not is_action(each.row), each.row.kind != SPLIT, each.id

    wanted = {each.id for each in report.actions}
    held: dict[str, Decimal] = defaultdict(Decimal)
    for each in sorted(report.booked, key=place):
        row, shares = each.row, held[_whose(each.row)]
        if each.id in wanted and (row.quantity_change or row.cash_change):
            yield row, shares
        held[row.ticker] = held[row.ticker] + row.quantity_change


def _whose(row: TradeRow) -> str:
    """The ticker that a row is of; empty: it is money that names none."""
    return row.for_ticker or "" if row.ticker.endswith(CASH_SUFFIX) else row.ticker


def _movements(rows: LiveRows) -> Movements:
    report = rows.report
    booked = [each for each in report.inside if each.row.kind in FLOWS]
    return Movements(
        at=_times([each.row.exec_timestamp for each in booked]),
        portfolio=(report.portfolio.portfolio_id,) * len(booked),
        kind=tuple(each.row.kind for each in booked),
        amount=_floats([flow_amount(each.row) for each in booked]),
        reference=tuple(each.row.execution_id for each in booked),
        row=rows.row([each.at for each in booked]),
    )


def _contributions(rows: LiveRows, market: Market, before: Floats) -> dict[str, float]:
    """Profit by ticker: what its rows brought in cash, and how much more what is held is worth."""
    report = rows.report
    made: dict[str, float] = defaultdict(float)
    if report.before is not NOTHING:
        worth = np.nan_to_num(before * market.closes[0] * market.rates[0])
        for ticker, value in zip(market.tickers, worth.tolist(), strict=True):
            made[ticker] -= value
    for row in report.rows:
        if row.kind == "rename":
            if is_into(row):  # what the old name has brought so far goes with the shares
                made[row.ticker] += made.pop(row.for_ticker or "", 0.0)
        elif not row.ticker.endswith(CASH_SUFFIX):
            made[row.ticker] += float(row.cash_change) - (float(flow_amount(row)) if row.kind in FLOWS else 0.0)
        elif row.for_ticker is not None and row.kind not in FLOWS:
            made[row.for_ticker] += float(row.cash_change)
    for held in report.positions:
        made[held.ticker] += float(held.value or 0)
    rest = float(report.gained("notional")) - sum(made.values())
    if abs(rest) >= 0.005:
        made[NO_TICKER] = rest
    return {name: round(value, 6) for name, value in made.items()}


def _lots(report: LiveReport, tickers: Sequence[str]) -> LotTable:
    lots, closed = report.lots
    column = {ticker: number for number, ticker in enumerate(tickers)}
    worth = np.full(len(tickers), np.nan)
    for held in report.positions:
        if held.value is not None:
            worth[column[held.ticker]] = float(held.value / held.quantity)
    ids = np.array([each.id for each in report.booked], dtype=np.int64)
    when = _times([each.row.exec_timestamp for each in report.booked])
    return table(0, closed, lots, ids, when, column, worth)


def _prices(trades: Sequence[TradeRow], name: str) -> Floats:
    found: list[Any] = [getattr(row, name) for row in trades]
    return np.array([np.nan if value is None else float(value) for value in found], dtype=np.float64)


def _floats(values: Sequence[Decimal]) -> Floats:
    return np.array([float(value) for value in values], dtype=np.float64)


def _times(values: Sequence[datetime]) -> Times:
    return np.array([stamp(value) for value in values], dtype="datetime64[us]")
