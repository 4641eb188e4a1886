"""Runs one strategy over one panel: decisions on closes, fills at the next open, a value at every close.

Order of events at a bar (trading-rules 3): splits and dividends; fills at the open of what was decided before, sells
first; valuation at the close; decisions on that close. Little happens between a decision and the next open, so where
every order can trade there, decision and fill are one step on arrays (:meth:`Account.rebalance`). All else goes order
by order.

There are two panels of the same bars: what strategies see, adjusted for splits and dividends, and what is traded at.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from framework.data.slots import Schedule
from framework.engine import kernel
from framework.engine.account import Account, Terms
from framework.engine.agenda import Agenda, Interruptions
from framework.engine.bar_step import BarStep
from framework.engine.few import FEW_ORDERS, FEW_TICKERS, CellLists, Trader, rebalance_few
from framework.engine.fills import Block
from framework.engine.meeting import Seat
from framework.engine.order_rules import MAX_WEIGHT
from framework.engine.orders import OrderBook
from framework.engine.outcome import result_of
from framework.engine.review import BacktestReview, decide_by_order
from framework.engine.schedule import decision_rows, delays, gather_missed
from framework.errors import EngineError, StrategyError
from framework.model.acting import Acting
from framework.model.money import MIN_PRICE
from framework.model.panel import Floats, Panel
from framework.model.rates import Rates
from framework.model.result import PortfolioResult
from framework.model.timeline import Timeline
from framework.trading.context import Context, Cursor, IndicatorMaker, OrderRequest, SetupContext
from framework.trading.risk import NamedRule
from framework.trading.strategy import Strategy, style

#: Called now and then with (bars done, bars in all).
Progress = Callable[[int, int], None]

#: Called with (row, weights asked for or None, orders asked for) for each row at which a strategy asks for something.
DecisionObserver = Callable[[int, Floats | None, list[OrderRequest]], None]

_PROGRESS_SECONDS = 0.1
#: Weights handled at once; bounds the memory of a dense weights array.
_CHUNK_CELLS = 1 << 18


@dataclass(frozen=True, eq=False)
class Simulation:
    """What is simulated.

    Attributes:
        portfolio_id: names it in results and messages.
        strategy: a fresh object, used for this run only.
        strategy_name: its registered name.
        panel: the bars, warm-up first, as the strategy sees them: adjusted.
        trade: the same bars as traded, for sizes, fills and values.
        timeline: the clock of the panels.
        first: row of the first bar that counts; decisions begin there.
        schedule: ``every_bar``, ``daily``, ``weekly``, ``monthly``, or slots.
        terms: cash, lots, buffer, costs.
        make_indicator: indicator from name and parameters.
        currency: of cash and equity.
        on_decision: is told what an ``on_bar`` strategy asks for, before it is sized.
        risk: the rules that review each decision, in their order; with any, all orders go through the book.
        rates: to ``currency``, of the panel's rows; None: all tickers are in it. With any, as above.
        currencies: of each ticker, where there are ``rates``.
        interruptions: flows of capital, and allocations.
        is_fast: the compiled loop is used where it can be.
        acting: splits and dividends, where ``trade`` is not adjusted for them.
    """

    portfolio_id: str
    strategy: Strategy
    strategy_name: str
    panel: Panel
    trade: Panel
    timeline: Timeline
    first: int
    schedule: Schedule
    terms: Terms
    make_indicator: IndicatorMaker
    currency: str = "USD"
    on_decision: DecisionObserver | None = None
    risk: tuple[NamedRule, ...] = ()
    rates: Rates | None = None
    currencies: tuple[str, ...] = ()
    interruptions: Interruptions = field(default_factory=Interruptions)
    is_fast: bool = False
    acting: Acting = field(default_factory=Acting)


def simulate(job: Simulation, progress: Progress | None = None) -> PortfolioResult:
    """Run the simulation.

    Raises:
        StrategyError: the strategy raised, or returned something unusable; names portfolio, strategy and bar.
    """
    began = time.perf_counter()
    account = Account(job.trade, job.terms, job.first, job.rates, job.acting)
    review = BacktestReview(job.risk, account, job.trade, job.timeline, job.portfolio_id) if job.risk else None
    late = delays(job.schedule, job.timeline)
    book = OrderBook(account, job.timeline.last_of_session(), review=review, delays=late)
    seat = Seat(account, book, review, job.trade, job.timeline, job.first)
    agenda = Agenda(job.interruptions, job.portfolio_id, job.schedule, seat, job.timeline, job.first)
    last = len(job.panel) - 1
    if last >= job.first:
        run = _run_weights if style(job.strategy) == "weights" else _run_bars
        run(job, account, book, review, agenda, progress)
    agenda.finish()
    if last >= job.first:
        book.end(last)
        account.value_to(last)
        account.catch_up()
    notes = (*(() if review is None else review.notes()), *agenda.notes())
    return result_of(job, account, notes, time.perf_counter() - began)


def _run_bars(
    job: Simulation,
    account: Account,
    book: OrderBook,
    review: BacktestReview | None,
    agenda: Agenda,
    progress: Progress | None,
) -> None:
    """The ``on_bar`` style: one call per decision row."""
    cursor = Cursor()
    ctx = Context(job.panel, job.timeline, job.trade.close, cursor, account, job.portfolio_id)
    _setup(job, cursor)
    on_bar, unfilled, told = job.strategy.on_bar, account.unfilled, 0
    step = BarStep(account, book, agenda.holds_back)
    rows = decision_rows(job.schedule, job.timeline, job.first)
    row, next_word = job.first, 0.0
    try:
        for row in rows.tolist():
            if row >= agenda.row:
                agenda.before(row)
            if book.waiting or row >= account.next_action:
                book.run_to(row)
            cursor.row = row
            if told != len(unfilled):
                ctx.lapsed, told = tuple(unfilled[told:]), len(unfilled)
            elif ctx.lapsed:
                ctx.lapsed = ()
            on_bar(ctx)
            if ctx.asked_weights is not None or ctx.asked_orders:
                if job.on_decision is not None:
                    job.on_decision(row, ctx.asked_weights, ctx.asked_orders)
                step.decide(row, ctx)
            if review is not None and not review.close(book, row):
                break
            if progress is not None and time.monotonic() >= next_word:
                progress(row - job.first, len(job.panel) - job.first)
                next_word = time.monotonic() + _PROGRESS_SECONDS
    except Exception as error:
        raise _strategy_error(job, row, error) from error
    step.close()


def _run_weights(
    job: Simulation,
    account: Account,
    book: OrderBook,
    review: BacktestReview | None,
    agenda: Agenda,
    progress: Progress | None,
) -> None:
    """The ``weights`` style: one call in all, then a loop over the bars where something changes."""
    weights = _weights(job)
    if book.knows_all:
        rows = decision_rows(job.schedule, job.timeline, job.first)
        decide_by_order(book, review, rows, weights, agenda.before, progress)
        return
    step = max(1, _CHUNK_CELLS // max(1, len(job.panel.tickers)))
    for start in range(job.first, len(job.panel), step):
        stop = min(start + step, len(job.panel))
        _run_chunk(job, account, book, agenda, weights, start, stop)
        if progress is not None:
            progress(stop - job.first, len(job.panel) - job.first)


def _run_chunk(
    job: Simulation, account: Account, book: OrderBook, agenda: Agenda, weights: Floats, start: int, stop: int
) -> None:
    """Decide and fill the rows ``start`` to ``stop``."""
    chunk = weights[start:stop]
    rows, columns = np.nonzero(chunk == chunk)  # not NaN
    if not len(rows):
        return
    rows += start
    cells = _cells(job, account, agenda, rows, columns, weights[rows, columns])
    edges = np.concatenate(([0], np.flatnonzero(np.diff(rows)) + 1, [len(rows)]))
    all_clean = bool(cells.clean.all())
    is_undisturbed = not book.waiting and agenda.row >= stop and account.limit == np.inf
    if job.is_fast and is_undisturbed and account.charges is not None:
        kernel.run_bars(account, book, cells, rows[edges[:-1]], edges, _one_bar)
        return
    if all_clean and is_undisturbed and _is_scalar(FEW_TICKERS - 1, len(job.panel.tickers)):
        _run_few(account, rows, edges, cells)
        return
    few = _is_scalar(FEW_ORDERS, len(rows) / (len(edges) - 1))
    lists = cells.as_lists() if few else None
    trade, bounds = Trader(account).trade, edges.tolist()
    for bar, low, high in zip(rows[edges[:-1]].tolist(), bounds[:-1], bounds[1:], strict=True):
        if bar >= agenda.row:
            agenda.before(bar)
        if book.waiting:
            book.run_to(bar)
        if book.waiting or not (all_clean or cells.clean[low:high].all()):
            _one_bar(account, book, bar, cells, low, high)
        elif lists is not None and high - low <= FEW_ORDERS and bar + 1 < account.plain_until:
            account.cash = trade(bar, account.spendable(bar), account.lots, account.cash, lists, low, high)
        else:
            sell = None if cells.sell is None else cells.sell[low:high]
            account.rebalance(bar, cells.lots_per_micro[low:high], cells.block, low, high, sell)
    account.fills.close(cells.block)


def _run_few(account: Account, rows: NDArray[np.int64], edges: NDArray[np.int64], cells: _Cells) -> None:
    """A chunk of a portfolio of few tickers: on plain numbers, but for the bars before splits and dividends."""
    bars, at = rows[edges[:-1]], 0
    while at < len(bars):
        account.open(int(bars[at]))
        stop = max(at, int(np.searchsorted(bars, account.plain_until - 1)))
        if stop > at:
            low, high = edges[at], edges[stop]
            rebalance_few(account, rows[low:high], edges[at : stop + 1] - low, cells.as_lists(low, high))
        if stop < len(bars):
            low, high = edges[stop], edges[stop + 1]
            sell = None if cells.sell is None else cells.sell[low:high]
            account.rebalance(int(bars[stop]), cells.lots_per_micro[low:high], cells.block, low, high, sell)
        at = stop + 1
    account.fills.close(cells.block)


def _is_scalar(most: int, count: float) -> bool:
    """Whether there are so few that plain numbers are faster than arrays."""
    return count <= most


@dataclass(frozen=True, eq=False)
class _Cells:
    """Target weights of a chunk, a value each: weights, sizes, prices, and whether the next open can fill it."""

    asked: Floats
    lots_per_micro: Floats
    block: Block
    sell: Floats | None
    clean: NDArray[np.bool_]

    def as_lists(self, low: int = 0, high: int | None = None) -> CellLists:
        """The cells from ``low`` to ``high`` as plain numbers, for :class:`Trader`."""
        chosen = slice(low, high)
        buy = self.block.price[chosen].tolist()
        sell = buy if self.sell is None else self.sell[chosen].tolist()
        return self.block.ticker[chosen].tolist(), self.lots_per_micro[chosen].tolist(), buy, sell


def _cells(
    job: Simulation,
    account: Account,
    agenda: Agenda,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    asked: Floats,
) -> _Cells:
    closes = account.closes[rows, columns]
    opens = _next_opens(job.trade.open, rows, columns)
    slippage = job.terms.costs.slippage
    with np.errstate(divide="ignore", invalid="ignore"):
        clean = (opens >= MIN_PRICE) & (closes > 0.0) & (asked >= 0.0)
        if agenda.row <= rows[-1]:
            clean &= ~agenda.holds_back[rows]
        return _Cells(
            asked,
            asked / (closes * account.unit),
            Block(columns, rows, account.prices(opens, 1)),
            None if slippage is None or slippage.uses_quantity else account.prices(opens, -1),
            clean,
        )


def _one_bar(account: Account, book: OrderBook, bar: int, cells: _Cells, low: int, high: int) -> None:
    """A bar where something waits or cannot trade at the next open: those by the book, the rest on arrays."""
    columns, asked = cells.block.ticker[low:high], cells.asked[low:high]
    if book.waiting:
        book.target_weights(bar, columns, asked)
        return
    # These first: a split at the next bar makes of them orders of new shares, when they are let trade there.
    book.target_weights(bar, columns[~cells.clean[low:high]], asked[~cells.clean[low:high]])
    clean = np.flatnonzero(cells.clean[low:high]) + low
    if len(clean):
        block = Block(cells.block.ticker[clean], cells.block.decided[clean], cells.block.price[clean])
        sell = None if cells.sell is None else cells.sell[clean]
        account.rebalance(bar, cells.lots_per_micro[clean], block, 0, len(clean), sell)
        account.fills.close(block)


def _next_opens(opens: Floats, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Floats:
    """The open after each row; NaN after the last."""
    after = np.minimum(rows + 1, len(opens) - 1)
    taken: Floats = opens[after, columns]
    if rows[-1] + 1 == len(opens):
        taken[rows == len(opens) - 1] = np.nan
    return taken


def _weights(job: Simulation) -> Floats:
    """The strategy's weights, checked, on decision rows only."""
    name, shape = job.strategy_name, job.panel.close.shape
    _setup(job, Cursor())
    try:
        weights: Floats = np.asarray(job.strategy.weights(job.panel), dtype=np.float64)
    except Exception as error:
        raise _strategy_error(job, None, error) from error
    if weights.shape != shape:
        raise StrategyError(
            f"portfolio {job.portfolio_id}: strategy {name!r} returned weights of shape {weights.shape}, "
            f"expected {shape} (bars, tickers)"
        )
    with np.errstate(invalid="ignore"):
        absurd = np.abs(weights) > MAX_WEIGHT
    if absurd.any():
        row, column = np.argwhere(absurd)[0].tolist()
        raise StrategyError(
            f"portfolio {job.portfolio_id}: strategy {name!r} returned weight {weights[row, column]} for "
            f"{job.panel.tickers[column]} at {_bar(job, row)}; a weight is a fraction of equity, finite and at most "
            f"{MAX_WEIGHT:.0f}, or NaN (leave)"
        )
    return gather_missed(weights, decision_rows(job.schedule, job.timeline, job.first))


def _setup(job: Simulation, cursor: Cursor) -> None:
    try:
        job.strategy.setup(SetupContext(job.panel, job.make_indicator, cursor))
    except Exception as error:
        raise _strategy_error(job, None, error) from error


def _strategy_error(job: Simulation, row: int | None, error: Exception) -> EngineError:
    """The error to raise for what went wrong inside a strategy; our own config errors pass as they are."""
    if isinstance(error, EngineError) and not isinstance(error, StrategyError):
        return error
    where = "" if row is None else f" at bar {_bar(job, row)}"
    said = str(error) if isinstance(error, StrategyError) else f"{type(error).__name__}: {error}"
    return StrategyError(f"portfolio {job.portfolio_id}: strategy {job.strategy_name!r} failed{where}: {said}")


def _bar(job: Simulation, row: int) -> str:
    return str(np.datetime_as_string(job.panel.timestamps[row], unit="m"))
