"""What a plan runs: its data loaded, its portfolios backtested and replayed."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from framework.config.model import Portfolio
from framework.data.calendars import sessions
from framework.data.moments import moments
from framework.engine.agenda import Interruptions
from framework.engine.backtest import FILL_RULE, run_threads, versions
from framework.engine.meeting import Meeting
from framework.engine.simulator import Simulation, simulate
from framework.model.result import MasterResult, PortfolioResult, RunResult
from framework.plan import Plan

if TYPE_CHECKING:
    from framework.data.panels import LoadedPanel
    from framework.data.store import LoadReport
    from framework.db.database import Database
    from framework.db.pool import Pool
    from framework.engine.allocation_runner import AllocationRunner
    from framework.engine.clock import Clock
    from framework.engine.decider import Assignment

#: Called with (what is being done, how much is done, how much there is).
Progress = Callable[[str, float, float], None]
#: Called with a line for the user.
Announce = Callable[[str], None]
#: Gives the bars of a portfolio.
ReadPanel = Callable[[Portfolio], "LoadedPanel"]

#: Where panels are kept, in the workspace.
PANELS = Path(".engine") / "panels"
#: What a portfolio that begins with nothing is given where only its decisions, or its returns, are of use.
NOMINAL_CASH = 1e6

_log = logging.getLogger(__name__)


def ensured(plan: Plan, database: Database, progress: Progress) -> LoadReport:
    """Load what the database lacks, on a thread, so that Ctrl-C reaches the caller."""
    from framework.data.backfill import final_end
    from framework.data.load import ensure

    def work(checkpoint: Callable[[], None]) -> LoadReport:
        def told(done: int, total: int) -> None:
            progress("prices", done, total)
            checkpoint()

        source, interval, calendar = plan.source, plan.config.interval, plan.config.calendar
        span = plan.first_date(), final_end(source, interval, calendar, plan.end)
        report = ensure(database.pool, source, plan.tickers, interval, *span, told, calendar=calendar)
        return report.merged(plan.currencies.ensure(database.pool, *span, told))

    return run_threads({"load": work})[0]


def panel_of(
    plan: Plan,
    pool: Pool,
    portfolio: Portfolio,
    start: date | None = None,
    end: date | None = None,
    *,
    warmup_bars: int | None = None,
    smallest_bytes: int | None = None,
) -> LoadedPanel:
    """The bars of a portfolio, from the database or a kept file, adjusted, with its warm-up.

    Args:
        plan: whose config says which bars.
        pool: of the database.
        portfolio: of the plan.
        start, end: exchange dates; by default the plan's.
        warmup_bars: rows before ``start``; by default what the portfolio needs.
        smallest_bytes: of a panel that is kept; by default the cache's.
    """
    from framework.data.panel_cache import PanelCache

    config = plan.config
    cache = PanelCache(Path.cwd() / PANELS, int(config.cache.gigabytes * 1e9))
    if smallest_bytes is not None:
        cache = replace(cache, smallest_bytes=smallest_bytes)
    return cache.panel_for(
        pool,
        plan.source,
        portfolio.tickers,
        config.interval,
        config.calendar,
        config.adjust,
        start or plan.start,
        end or plan.end,
        plan.warmup_bars(portfolio) if warmup_bars is None else warmup_bars,
        run_tickers=plan.tickers,
        conversion=plan.currencies.of(portfolio.id),
    )


@dataclass(frozen=True, eq=False)
class _Simulated:
    result: PortfolioResult
    benchmark: PortfolioResult | None
    notes: tuple[str, ...]
    fingerprint: str
    ready_at: float
    job: Simulation


def run_config(plan: Plan, database: Database, progress: Progress, announce: Announce, keep: bool = False) -> RunResult:
    """Load what the database lacks, backtest every portfolio on a thread of its own and, in mode replay, replay it.

    ``keep`` leaves the scratch schema of a replay where it is, and says how to use it.

    Raises:
        EngineError: see :mod:`framework.errors`.
    """
    began = time.perf_counter()
    loaded = ensured(plan, database, progress)
    done, meeting = _simulated(plan, lambda portfolio: panel_of(plan, database.pool, portfolio), progress)
    master = None if meeting is None else meeting.result()
    if plan.config.mode == "replay":
        _replay(plan, database, done, master, progress, announce, keep)
    for line in loaded.suspicions():  # of what was read just now: a later run does not know of them
        announce(f"Note: {line}")
    seconds = max(each.ready_at for each in done) - began
    result = _result(plan, done, meeting, master, loaded.notes(), seconds)
    for note in result.notes:
        announce(f"Note: {note}")
    return result


def run_panels(plan: Plan, read: ReadPanel) -> RunResult:
    """Backtest every portfolio, on a thread of its own, on bars that are there already; nothing is loaded.

    Raises:
        EngineError: see :mod:`framework.errors`.
    """
    done, meeting = _simulated(plan, read, lambda stage, done, total: None)
    return _result(plan, done, meeting, None if meeting is None else meeting.result(), (), 0.0)


def _simulated(plan: Plan, read: ReadPanel, progress: Progress) -> tuple[list[_Simulated], Meeting | None]:
    meeting = _meeting(plan)
    tasks = {
        f"portfolio-{portfolio.id}": _task(plan, read, portfolio, meeting, progress)
        for portfolio in plan.config.portfolios
    }
    return run_threads(tasks), meeting


def _result(
    plan: Plan,
    done: Sequence[_Simulated],
    meeting: Meeting | None,
    master: MasterResult | None,
    loading: Iterable[str],
    load_seconds: float,
) -> RunResult:
    """What a run has come to; ``loading``: notes of the load."""
    notes = dict.fromkeys([*loading, *(note for each in done for note in each.notes)])
    notes |= dict.fromkeys(() if meeting is None else meeting.notes())
    return RunResult(
        name=plan.config.name,
        portfolios=tuple(each.result for each in done),
        benchmarks={each.result.portfolio_id: each.benchmark for each in done if each.benchmark is not None},
        prices=plan.source.price_kind(),
        fill=FILL_RULE,
        costs=plan.costs.describe(),
        config=plan.loaded.resolved,
        versions=versions(),
        fingerprint=hashlib.sha256(" ".join(each.fingerprint for each in done).encode()).hexdigest()[:32],
        notes=tuple(notes),
        load_seconds=load_seconds,
        master=master,
    )


def _meeting(plan: Plan) -> Meeting | None:
    """Where the portfolios meet for allocations; ``None``: there is no allocator."""
    allocation = plan.allocation
    if allocation is None:
        return None
    days = sessions(plan.config.calendar, plan.start, plan.end)
    dues = plan.dues(plan.start, plan.end)
    master = plan.config.master
    return Meeting(
        allocation.name, allocation.allocator, allocation.terms, dues, days, master.cash, plan.flows(master.flows)
    )


def _task(
    plan: Plan, read: ReadPanel, portfolio: Portfolio, meeting: Meeting | None, progress: Progress
) -> Callable[[Callable[[], None]], _Simulated]:
    """What the portfolio's thread does."""

    mine = meeting if plan.allocation is not None and portfolio.id in plan.allocation.terms.portfolios else None

    def work(checkpoint: Callable[[], None]) -> _Simulated:
        try:
            return simulated(checkpoint)
        except BaseException:
            if mine is not None:
                mine.leave()
            raise

    def simulated(checkpoint: Callable[[], None]) -> _Simulated:
        began = time.perf_counter()
        data = read(portfolio)
        ready_at = time.perf_counter()

        def told(done: int, total: int) -> None:
            progress(f"portfolio {portfolio.id}", done, total)
            checkpoint()

        name, risk = portfolio.strategy.name, plan.risk(portfolio)
        job = plan.job(portfolio, data, plan.strategy(portfolio), name, portfolio.schedule, risk)
        job = replace(job, interruptions=Interruptions(plan.flows(portfolio.flows), mine))
        result = simulate(job, told)
        benchmark = _benchmark(plan, portfolio, data)
        _log.debug(
            "portfolio %s: panel read in %.3f s, %d bars simulated in %.3f s",
            portfolio.id,
            ready_at - began,
            result.bars,
            result.simulation_seconds,
        )
        notes = (*data.notes, *result.remarks())
        return _Simulated(result, benchmark, notes, data.fingerprint(), ready_at, job)

    return work


def _benchmark(plan: Plan, portfolio: Portfolio, data: LoadedPanel) -> PortfolioResult | None:
    """The benchmark's simulation, on capital that nothing is added to or taken from; ``None``: none is configured."""
    name = plan.config.report.benchmark
    if name is None:
        return None
    job = plan.job(portfolio, data, plan.benchmark(), name, "every_bar")
    if not job.terms.opening_cash:  # an allocation opens the portfolio: only the benchmark's returns are of use
        job = replace(job, terms=replace(job.terms, opening_cash=NOMINAL_CASH))
    return simulate(job)


def _replay(
    plan: Plan,
    database: Database,
    done: list[_Simulated],
    master: MasterResult | None,
    progress: Progress,
    announce: Announce,
    keep: bool,
) -> None:
    """Run every portfolio again through scratch books, a thread each, and compare with the backtest.

    Raises:
        ParityError: they differ.
    """
    from framework.db.scratch import how_to_use, scratch_schema
    from framework.engine.replay import Master, Replayed, compare, compare_allocations, replay

    size = plan.config.database.pool
    name = f"replay_{datetime.now(UTC):%Y%m%d%H%M%S}_{uuid4().hex[:6]}"
    with scratch_schema(database.url, name, size.min, size.max, keep) as scratch:
        if keep:
            announce(f"Replay: {how_to_use(name, str(plan.loaded.path))}")

        feed = plan.feed(adjusted_as_of=plan.end)

        def allocating(clock: Clock) -> AllocationRunner | None:
            return plan.allocating(scratch.pool, feed, clock, plan.start, lambda due, made, text: None)

        def work(checkpoint: Callable[[], None]) -> list[Replayed]:
            def told(portfolio_id: str, bars: int, total: int) -> None:
                progress(f"replay {portfolio_id}", bars, total)
                checkpoint()

            allocation, cash = plan.allocation, plan.config.master.cash
            account = None if allocation is None else Master(allocation.currency, cash, allocating)
            jobs, coming, events = [each.job for each in done], plan.coming(), _events(plan)
            replay(jobs, _assignments(plan), scratch, feed, coming, told, account, events)
            if master is not None:
                compare_allocations(scratch.pool, master)
            return [compare(scratch.pool, each.result) for each in done]

        for found in run_threads({"replay": work})[0]:
            announce(
                f"Replay: portfolio {found.portfolio_id} ends as the backtest does: "
                f"{found.trades} trades, equity {found.equity:,.2f}"
            )


def _events(plan: Plan) -> list[datetime]:
    """The moments of allocations, of flows, and of the closes after these, at which they are booked."""
    config = plan.config
    flows = [config.master.flows, *(portfolio.flows for portfolio in config.portfolios)]
    dated = [flow for each in flows for flow in plan.flows(each)]
    settle = plan.source.settle_of(config.interval)
    closes = (
        moments(config.calendar, config.interval, settle, "daily", flow.session, flow.session)[-1] for flow in dated
    )
    dues = [*plan.dues(plan.start, plan.end), *closes]
    return [*(due.at for due in dues), *(flow.at for flow in dated)]


def _assignments(plan: Plan) -> list[Assignment]:
    """The portfolios as a replay runs them."""
    from framework.books.open import Identity
    from framework.engine.replay import PastBroker

    return [
        plan.assignment(
            portfolio,
            Identity(portfolio.id, "replay", "simulated", portfolio.id, portfolio.currency),
            PastBroker(plan.costs),
        )
        for portfolio in plan.config.portfolios
    ]
