"""The report of a live portfolio, and the backtest that it is compared with: same time, config and money."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from framework.config.explain import nearest
from framework.data.adjust import adjust
from framework.data.flow_dates import DatedFlow
from framework.db.queries import fetch_all, fetch_one
from framework.engine.agenda import Interruptions
from framework.engine.simulator import simulate
from framework.errors import UsageError
from framework.model.panel import Floats, Times, forward_fill
from framework.model.result import Ints
from framework.model.timeline import stamp
from framework.report import metrics
from framework.report.account import Account, Accounts, Curve
from framework.report.assemble import account_of
from framework.report.attribution import Attribution, Side, attribute
from framework.report.basis import Basis
from framework.report.live import FLOWS, NOTHING, LiveReport, flow_amount
from framework.report.live_account import LiveRows, bar_label, ended_in, held_at_rows, live_accounts
from framework.report.live_basis import live_basis
from framework.report.live_prices import Market, read_market
from framework.report.live_reading import read_live_report
from framework.runs import panel_of

if TYPE_CHECKING:
    from framework.config.model import Portfolio
    from framework.data.panels import LoadedPanel
    from framework.db.pool import Pool
    from framework.plan import Plan

#: Longest time from the moment that an allocation is due to its booking.
_ALLOCATING = timedelta(minutes=10)
#: Stands before all bars.
_BEGINNING = np.datetime64("1900-01-01", "us")


@dataclass(frozen=True, eq=False)
class LiveOutcome:
    """A report from live books, ready to be shown and written.

    Attributes:
        report: the books' own figures.
        made: the account that all reports are made from; compared with a backtest, that is its benchmark.
        basis: what a reader must know.
        comparison: with a backtest; ``None``: none was asked for.
    """

    report: LiveReport
    made: Accounts
    basis: Basis
    comparison: Attribution | None = None


def report_live(
    pool: Pool, portfolio_id: str, start: date | None, until: date | None, plan: Plan | None = None
) -> LiveOutcome:
    """Report a portfolio from its books.

    Args:
        pool: of the database.
        portfolio_id: of an open portfolio.
        start, until: first and last date, both included; ``None``: as far as the books go.
        plan: of the config whose backtest it is compared with; ``None``: with none.

    Raises:
        UsageError: no such portfolio, in the books or in the config, or the range is empty.
        DataError: it was never valued in that range, or the bars of the backtest are not in the database.
    """
    report = read_live_report(pool, portfolio_id, start, until)
    rows = LiveRows.of(report)
    begun = [] if report.before is NOTHING else [report.before]
    bars = np.concatenate([_stamps([bar_label(each) for each in begun]), rows.stamps])
    known = np.concatenate([_stamps([stamp(each.timestamp) for each in begun]), rows.known])
    market = read_market(pool, report, bars, known)
    made = live_accounts(rows, market)
    if plan is None:
        return LiveOutcome(report, made, live_basis(report))
    backtest = Backtest(pool, plan, rows)
    account = replace(made.total, benchmark=backtest.curve(made.total.curve), benchmark_name="its backtest")
    basis = live_basis(report, backtest.notes(), plan.loaded.resolved)
    made = replace(made, total=account, portfolios=(account,))
    return LiveOutcome(report, made, basis, backtest.compared(account, market))


def _stamps(values: list[np.datetime64]) -> Times:
    return np.array(values, dtype="datetime64[us]")


class Backtest:
    """The backtest of a live portfolio's whole life, with the money that came and went in its books.

    It begins with the first bar that the books know of, also where the report begins later: the past of a portfolio is
    part of its present.

    Args:
        pool: of the database with books and bars; nothing is loaded from the source.
        plan: of the config.
        rows: of the report.

    Raises:
        UsageError: the config has no such portfolio, or it is in another currency there.
        DataError: its bars are not in the database.
    """

    def __init__(self, pool: Pool, plan: Plan, rows: LiveRows) -> None:
        self._rows, self._report = rows, rows.report
        portfolio = _portfolio(plan, self._report)
        with pool.connection() as connection:
            asked = {"portfolio_id": portfolio.id}
            self._decisions = fetch_all(connection, "decisions_made", asked)
            first = fetch_one(connection, "valuation_dates", asked)
        assert first is not None, "it was valued"
        bar = min([first[3], *(row[1] for row in self._decisions[:1])])
        start = bar.date()
        self._data = panel_of(plan, pool, portfolio, start, self._report.days[-1].item())
        name = portfolio.strategy.name
        job = plan.job(portfolio, self._data, plan.strategy(portfolio), name, portfolio.schedule, plan.risk(portfolio))
        opening, flows = self._money(start, first[2])
        terms = replace(job.terms, opening_cash=opening)
        # Books may begin in the middle of a session.
        known = int(np.searchsorted(self._data.panel.timestamps, stamp(bar), side="right")) - 1
        begun = replace(job, terms=terms, first=max(job.first, known), interruptions=Interruptions(flows))
        self._result = simulate(begun)
        self._account = account_of(self._result)
        self._is_known = sum(row[2] == plan.config_hash for row in self._decisions)

    def _money(self, start: date, valued: datetime) -> tuple[float, tuple[DatedFlow, ...]]:
        """What there was at the first valuation, and what moved later, each before the decision that saw it first."""
        due = [row[0] for row in self._decisions]
        opening, flows = Decimal(0), []
        for each in self._report.booked:
            if each.row.kind not in FLOWS:
                continue
            amount = flow_amount(each.row)
            if each.at <= valued:
                opening += amount
                continue
            # An allocation is due when decisions are, and is booked before they are made.
            row = bisect_left(due, each.at - (_ALLOCATING if each.row.kind == "transfer" else timedelta(0)))
            session = self._decisions[row][1].date() if row < len(due) else self._report.days[-1].item()
            flows.append(DatedFlow(each.at, max(session, start), float(amount), each.row.execution_id))
        return float(opening), tuple(flows)

    def notes(self) -> tuple[str, ...]:
        """What a reader of the comparison should know."""
        found = [f"Backtest: {note}" for note in (*self._data.notes, *self._result.remarks())]
        others = len(self._decisions) - self._is_known
        if others:
            found.append(
                f"{others:,} of {len(self._decisions):,} decisions in the books were made with another config than the "
                "one that is compared with"
            )
        if any(each.row.kind == "adopt" for each in self._report.booked):
            found.append("Backtest: what was adopted counts as money, not as shares")
        return tuple(dict.fromkeys(found))

    def curve(self, onto: Curve) -> Curve:
        """What one unit of money became in the backtest, at the report's rows; its opening is that at their start."""
        own = self._account.curve
        index = metrics.return_index(metrics.period_returns(own.equity, own.opening, own.flows))
        at = self._at(np.concatenate(([1.0], index)))
        nothing = np.zeros(len(onto))
        return replace(
            onto, opening=float(at[0]), equity=at[1:], cash=nothing, gross=nothing, net=nothing, flows=nothing
        )

    def compared(self, live: Account, market: Market) -> Attribution:
        """Where the difference of profit comes from."""
        own, names = self._account, tuple(dict.fromkeys((*self._account.names, *live.names)))
        scale = _Scale(self._data, names)
        begin, end = self._first(), self._rows.stamps[-1]
        worth_start, worth_end = scale.worth(begin, market, 0), scale.worth(end, market, -1)
        earned = self._at(np.concatenate(([0.0], own.curve.equity - own.curve.opening - np.cumsum(own.curve.flows))))
        return attribute(
            names,
            _live_side(self._rows, live, market, scale, begin),
            _backtest_side(own, scale, begin, end, float(earned[-1] - earned[0])),
            worth_start,
            worth_end,
        )

    def _first(self) -> np.datetime64:
        """Label of the bar that the period begins after."""
        return _BEGINNING if self._report.before is NOTHING else bar_label(self._report.before)

    def _at(self, values: Floats) -> Floats:
        """Of values before the first bar and at each bar: that before the period, and those at the report's rows."""
        times = self._account.curve.timestamps
        return values[np.searchsorted(times, np.concatenate(([self._first()], self._rows.stamps)), side="right")]


class _Scale:
    """Shares and prices adjusted for the splits and dividends up to the end: those of any two days can be compared.

    Attributes:
        names: of all tickers that either side traded.
    """

    def __init__(self, data: LoadedPanel, names: Sequence[str]) -> None:
        self.names = tuple(names)
        traded = data.trade
        self._times, self._tickers = traded.timestamps, traded.tickers
        self._opens = data.timeline.opens
        self._close = forward_fill(adjust(traded, data.actions, "all", data.timeline.session).close)
        self._rates = np.ones(self._close.shape) if data.rates is None else data.rates.at_close
        with np.errstate(divide="ignore", invalid="ignore"):
            self._factor = self._close / forward_fill(traded.close)

    def codes(self, tickers: Sequence[str]) -> Ints:
        """Where each of some tickers stands among the names."""
        place = {name: number for number, name in enumerate(self.names)}
        return np.array([place[ticker] for ticker in tickers], dtype=np.int64)

    def bars(self, executed: Times) -> Times:
        """Labels of the bars in which something traded, which may be booked long after."""
        return self._times[np.maximum(np.searchsorted(self._opens, executed, side="right") - 1, 0)]

    def factor(self, labels: Times) -> Floats:
        """An adjusted price ÷ the price as traded, at each bar, shape ``(K, N)``; 1 where none is known."""
        found = np.ones((len(labels), len(self.names)))
        rows = np.searchsorted(self._times, labels, side="right") - 1
        columns = self.codes(self._tickers)
        found[:, columns] = np.where((rows >= 0)[:, None], self._factor[np.maximum(rows, 0)], 1.0)
        return np.where(np.isfinite(found), found, 1.0)

    def of_each(self, labels: Times, tickers: Ints) -> Floats:
        """The factor of one ticker at each bar, shape ``(K,)``."""
        return self.factor(labels)[np.arange(len(labels)), tickers]

    def worth(self, at: np.datetime64, market: Market, row_of_market: int) -> Floats:
        """Of an adjusted share of each name at a bar, in the portfolio's currency; NaN: unknown."""
        row = int(np.searchsorted(self._times, at, side="right")) - 1
        known = dict(zip(market.tickers, (market.closes * market.rates)[row_of_market], strict=True))
        if row >= 0:
            known |= zip(self._tickers, self._close[row] * self._rates[row], strict=True)
        return np.array([known.get(name, np.nan) for name in self.names], dtype=np.float64)


def _live_side(rows: LiveRows, live: Account, market: Market, scale: _Scale, begin: np.datetime64) -> Side:
    fills, codes = live.fills, scale.codes(live.names)
    ticker = codes[fills.ticker]
    filled = scale.bars(fills.executed)
    factor = scale.of_each(filled, ticker)
    orders = [order for order in rows.report.orders if order.quantity is not None]
    order_bar, ended = _stamps([stamp(order.bar_timestamp) for order in orders]), ended_in(rows, orders)
    # What was refused on the bar that the period begins after belongs to the time before it.
    inside = (order_bar >= begin) & (order_bar < rows.stamps[-1]) & (ended > begin)
    order_ticker = scale.codes([order.ticker for order in orders])
    signed = np.array([float(order.quantity or 0) * (1 if order.side == "BUY" else -1) for order in orders])
    # A split changes the shares of an order that waits, so they are those of its fills, or of the bar that it ended in.
    last = dict(zip([] if fills.order_id is None else fills.order_id.tolist(), filled, strict=False))
    settled = _stamps([last.get(order.order_id, end) for order, end in zip(orders, ended, strict=True)])
    shares = signed / scale.of_each(settled, order_ticker)
    held = np.zeros(len(scale.names))
    held[codes] = held_at_rows(rows, market.tickers)[1]
    return Side(
        decided=fills.decided,
        ticker=ticker,
        quantity=fills.quantity / factor,
        notional=np.sign(fills.quantity) * fills.notional,
        fees=fills.fees,
        arrival=fills.arrival_price * fills.fx_rate * factor,
        order_bar=order_bar[inside],
        order_ticker=order_ticker[inside],
        order_quantity=shares[inside],
        held=held / scale.factor(_stamps([begin]))[0],
        profit=live.curve.profit,
    )


def _backtest_side(own: Account, scale: _Scale, begin: np.datetime64, end: np.datetime64, profit: float) -> Side:
    fills, lapsed, codes = own.fills, own.lapsed, scale.codes(own.names)
    within = (fills.bar > begin) & (fills.bar <= end)
    filled = codes[fills.ticker]
    factor = scale.of_each(fills.bar, filled)
    sized = ~np.isnan(lapsed.quantity) & (lapsed.timestamp > begin)
    ended = codes[lapsed.ticker[sized]]
    unfilled = lapsed.quantity[sized] / scale.of_each(lapsed.timestamp[sized], ended)
    bar = np.concatenate([fills.decided, lapsed.decided[sized]])
    inside = (bar >= begin) & (bar < end)
    held = np.zeros(len(scale.names))
    before = own.changes.bar <= begin
    held[codes[own.changes.ticker[before]]] = own.changes.quantity[before]  # the last of each ticker stays
    return Side(
        decided=fills.decided[within],
        ticker=filled[within],
        quantity=(fills.quantity / factor)[within],
        notional=(np.sign(fills.quantity) * fills.notional)[within],
        fees=fills.fees[within],
        arrival=(fills.arrival_price * fills.fx_rate * factor)[within],
        order_bar=bar[inside],
        order_ticker=np.concatenate([filled, ended])[inside],
        order_quantity=np.concatenate([fills.quantity / factor, unfilled])[inside],
        held=held / scale.factor(_stamps([begin]))[0],
        profit=profit,
    )


def _portfolio(plan: Plan, report: LiveReport) -> Portfolio:
    """The config's portfolio of a report."""
    who = report.portfolio
    known = {portfolio.id: portfolio for portfolio in plan.config.portfolios}
    if who.portfolio_id not in known:
        raise UsageError(
            f"{plan.loaded.path} has no portfolio {who.portfolio_id!r}{nearest(who.portfolio_id, list(known))} (it has "
            f"{', '.join(known)}); give the config that the portfolio runs with"
        )
    portfolio = known[who.portfolio_id]
    if portfolio.currency != who.base_currency:
        raise UsageError(
            f"portfolio {who.portfolio_id!r} is in {who.base_currency} in the books and in {portfolio.currency} in "
            f"{plan.loaded.path}; give the config that the portfolio runs with"
        )
    return portfolio
