"""The composition root: from a loaded config to plugins, database, data and engine, and back to a report."""

from __future__ import annotations

import hashlib
import logging
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from framework.config.load import LoadedConfig
from framework.config.model import Portfolio
from framework.engine.account import Terms
from framework.engine.backtest import FILL_RULE, declared_memory, run_threads
from framework.engine.simulator import Simulation, simulate
from framework.errors import ConfigError, EngineError
from framework.model.money import FRACTIONAL, WHOLE
from framework.model.result import PortfolioResult, RunResult
from framework.plugin_manager import PluginManager
from framework.trading.costs import Costs
from framework.trading.indicator import Indicator
from framework.trading.strategy import Strategy, style

if TYPE_CHECKING:
    from framework.data.load import LoadReport
    from framework.data.panels import LoadedPanel
    from framework.data.source import DataSource
    from framework.db.database import Database

#: Called with (what is being done, how much is done, how much there is).
Progress = Callable[[str, float, float], None]
#: Called with a line for the user.
Announce = Callable[[str], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RunOutcome:
    """A finished run: its numbers (what ``summary.json`` holds) and where its report is."""

    result: RunResult
    summary: dict[str, Any]
    report: Path


@dataclass(frozen=True)
class CheckItem:
    """One line of ``engine check``."""

    name: str
    ok: bool
    detail: str


def run(loaded: LoadedConfig, out_dir: Path | None, progress: Progress, announce: Announce) -> RunOutcome:
    """Run a config and write its report.

    Args:
        loaded: the config.
        out_dir: for the report; default ``runs/<name>-<UTC time>``.
        progress: is told how far each stage is.
        announce: is told which database is used, and what the data had to complain of.

    Raises:
        EngineError: see :mod:`framework.errors`.
    """
    from framework.report.summary import summary
    from framework.report.write import write_run

    manager = load_plugins(loaded)
    plan = _Plan(loaded, manager)
    with open_database(loaded) as database:
        announce(f"Database: {database.describe()}")
        result = _run_backtest(plan, database, progress, announce)
    folder = out_dir or Path("runs") / f"{loaded.config.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    _log.debug("simulated; writing the report")
    report = write_run(result, folder, lambda name, done, total: progress("report", done, total))
    _log.debug("report written")
    manager.notify("backtest_finished", result=result)
    return RunOutcome(result, summary(result), report)


def check(loaded: LoadedConfig, progress: Progress) -> list[CheckItem]:
    """Try everything that a run needs, without running: plugins, parameters, database, data, lookahead.

    Stops at the first thing without which the rest cannot be tried.
    """
    items = [CheckItem("config", True, f"{loaded.path}: {len(loaded.config.portfolios)} portfolio(s)")]

    def attempt(name: str, work: Callable[[], tuple[Any, str]]) -> Any:
        began = time.perf_counter()
        try:
            value, detail = work()
        except EngineError as error:
            items.append(CheckItem(name, False, str(error)))
            raise _FailedError from error
        items.append(CheckItem(name, True, detail))
        _log.debug("check %s: %.3f s", name, time.perf_counter() - began)
        return value

    with suppress(_FailedError), ExitStack() as stack:
        plan: _Plan = attempt("plugins", lambda: _checked_plan(loaded))
        database: Database = attempt("database", lambda: _described(stack.enter_context(open_database(loaded))))
        attempt("data", lambda: _checked_data(plan, database, progress))
        for portfolio in loaded.config.portfolios:
            attempt(f"portfolio {portfolio.id}", partial(_checked_portfolio, plan, database, portfolio))
    return items


class _FailedError(Exception):
    """A check failed and is noted."""


def _described(database: Database) -> tuple[Database, str]:
    return database, database.describe()


def load_plugins(loaded: LoadedConfig) -> PluginManager:
    """All plugins that the config may use: installed, in the workspace's ``plugins/``, and in ``plugin_dirs``.

    Raises:
        ConfigError: a folder of ``plugin_dirs`` does not exist.
    """
    return PluginManager.load(loaded.plugin_dirs(), loaded.config.plugins)


@contextmanager
def open_database(loaded: LoadedConfig) -> Iterator[Database]:
    """The config's database, closed at the end. The workspace is the working folder."""
    from framework.db.database import open_database as connect

    section = loaded.config.database
    database = connect(section.url, Path.cwd(), section.pool.min, section.pool.max)
    try:
        yield database
    finally:
        database.close()


class _Plan:
    """The plugins of a config, made and checked: strategies, data source, costs."""

    def __init__(self, loaded: LoadedConfig, manager: PluginManager) -> None:
        from framework.data.calendars import check_calendar

        config = loaded.config
        self.loaded, self.config, self.manager = loaded, config, manager
        if config.start is None or config.end is None:
            raise ConfigError(f"{loaded.path}: a backtest needs start and end")
        self.start, self.end = config.start, config.end
        check_calendar(config.calendar)
        self.source: DataSource = self._make("data source", config.data_source, ("data_source",))
        self.source.bind(loaded.path.parent)
        self.costs: Costs = self._make("broker", config.broker, ("broker",)).costs()
        for portfolio in config.portfolios:
            style(self.strategy(portfolio))
        if config.report.benchmark is not None:
            style(self.benchmark())
        self.tickers = tuple(dict.fromkeys(ticker for portfolio in config.portfolios for ticker in portfolio.tickers))

    def _make(self, kind: str, ref: Any, keys: tuple[str | int, ...]) -> Any:
        return self.manager.create(kind, ref.name, ref.params, self.loaded.place(*keys))

    def strategy(self, portfolio: Portfolio) -> Strategy:
        """A fresh strategy object of the portfolio."""
        keys = ("portfolios", self.config.portfolios.index(portfolio), "strategy")
        made: Strategy = self._make("strategy", portfolio.strategy, keys)
        return made

    def benchmark(self) -> Strategy:
        """A fresh object of the benchmark's strategy."""
        name = self.config.report.benchmark
        assert name is not None
        where = f"{self.loaded.locate(('report', 'benchmark'))}: report.benchmark"
        made: Strategy = self.manager.create("strategy", name, {}, where)
        return made

    def indicator(self, name: str, params: dict[str, Any]) -> Indicator:
        """An indicator by name, as strategies declare it."""
        made: Indicator = self.manager.create("indicator", name, params)
        return made

    def warmup_bars(self, portfolio: Portfolio) -> int:
        """How many bars before ``start`` the portfolio's panel should have."""
        memory = declared_memory(self.strategy(portfolio), portfolio.tickers, self.config.interval, self.indicator)
        return max(portfolio.lookback, memory)

    def job(self, portfolio: Portfolio, data: LoadedPanel, strategy: Strategy, name: str, schedule: str) -> Simulation:
        """The simulation of a strategy with the portfolio's money on its data."""
        terms = Terms(
            opening_cash=portfolio.cash or 0.0,
            lots_per_share=WHOLE if portfolio.lots == "whole" else FRACTIONAL,
            cash_buffer=portfolio.cash_buffer,
            costs=self.costs,
        )
        return Simulation(
            portfolio_id=portfolio.id,
            strategy=strategy,
            strategy_name=name,
            panel=data.panel,
            timeline=data.timeline,
            first=data.first,
            raw_close=data.raw_close,
            schedule=schedule,
            terms=terms,
            make_indicator=self.indicator,
            currency=portfolio.currency,
        )

    @property
    def prices(self) -> str:
        """What is traded at: ``traded`` or ``adjusted`` prices (trading-rules 4)."""
        traded = self.config.adjust == "none" and self.source.price_kind() == "traded"
        return "traded" if traded else "adjusted"


def _ensured(plan: _Plan, database: Database, progress: Progress) -> LoadReport:
    """Load what the database lacks, on a thread, so that Ctrl-C reaches the caller."""
    from framework.data.calendars import warmup_start
    from framework.data.load import ensure

    config = plan.config

    def work(checkpoint: Callable[[], None]) -> LoadReport:
        def told(done: int, total: int) -> None:
            progress("prices", done, total)
            checkpoint()

        bars = max(plan.warmup_bars(portfolio) for portfolio in config.portfolios)
        start = warmup_start(config.calendar, config.interval, plan.start, bars)
        return ensure(database.pool, plan.source, plan.tickers, config.interval, start, plan.end, told)

    return run_threads({"load": work})[0]


def _panel(plan: _Plan, database: Database, portfolio: Portfolio) -> LoadedPanel:
    from framework.data.panels import panel_for

    config = plan.config
    return panel_for(
        database.pool,
        plan.source,
        portfolio.tickers,
        config.interval,
        config.calendar,
        config.adjust,
        plan.start,
        plan.end,
        plan.warmup_bars(portfolio),
    )


@dataclass(frozen=True, eq=False)
class _Simulated:
    result: PortfolioResult
    benchmark: PortfolioResult | None
    notes: tuple[str, ...]
    fingerprint: str
    ready_at: float
    job: Simulation


def _run_backtest(plan: _Plan, database: Database, progress: Progress, announce: Announce) -> RunResult:
    began = time.perf_counter()
    loaded = _ensured(plan, database, progress)
    for line in loaded.notes():
        announce(line)
    tasks = {
        f"portfolio-{portfolio.id}": _task(plan, database, portfolio, progress) for portfolio in plan.config.portfolios
    }
    done = run_threads(tasks)
    if plan.config.mode == "replay":
        _replay(plan, database, done, progress, announce)
    notes = dict.fromkeys([*loaded.notes(), *(note for each in done for note in each.notes)])
    return RunResult(
        name=plan.config.name,
        portfolios=tuple(each.result for each in done),
        benchmarks={each.result.portfolio_id: each.benchmark for each in done if each.benchmark is not None},
        prices=plan.prices,
        fill=FILL_RULE,
        costs=plan.costs.describe(),
        config=plan.loaded.resolved,
        versions=_versions(),
        fingerprint=hashlib.sha256(" ".join(each.fingerprint for each in done).encode()).hexdigest()[:32],
        notes=tuple(notes),
        load_seconds=max(each.ready_at for each in done) - began,
    )


def _task(
    plan: _Plan, database: Database, portfolio: Portfolio, progress: Progress
) -> Callable[[Callable[[], None]], _Simulated]:
    """What the portfolio's thread does."""

    def work(checkpoint: Callable[[], None]) -> _Simulated:
        from framework.db.bars import fingerprint

        began = time.perf_counter()
        data = _panel(plan, database, portfolio)
        ready_at = time.perf_counter()

        def told(done: int, total: int) -> None:
            progress(f"portfolio {portfolio.id}", done, total)
            checkpoint()

        job = plan.job(portfolio, data, plan.strategy(portfolio), portfolio.strategy.name, portfolio.schedule)
        result = simulate(job, told)
        benchmark = None
        if plan.config.report.benchmark is not None:
            name = plan.config.report.benchmark
            benchmark = simulate(plan.job(portfolio, data, plan.benchmark(), name, "every_bar"))
        _log.debug(
            "portfolio %s: panel read in %.3f s, %d bars simulated in %.3f s",
            portfolio.id,
            ready_at - began,
            result.bars,
            result.simulation_seconds,
        )
        return _Simulated(result, benchmark, data.notes, fingerprint(data.panel), ready_at, job)

    return work


def _replay(plan: _Plan, database: Database, done: list[_Simulated], progress: Progress, announce: Announce) -> None:
    """Run every portfolio again through scratch books, a thread each, and compare with the backtest.

    Raises:
        ParityError: they differ.
    """
    from framework.db.scratch import scratch_schema
    from framework.engine.replay import Replayed, compare, replay

    size = plan.config.database.pool
    name = f"replay_{datetime.now(UTC):%Y%m%d%H%M%S}_{uuid4().hex[:6]}"
    with scratch_schema(database.url, name, size.min, size.max) as books:

        def task(portfolio: Portfolio, simulated: _Simulated) -> Callable[[Callable[[], None]], Replayed]:
            def work(checkpoint: Callable[[], None]) -> Replayed:
                def told(bars: int, total: int) -> None:
                    progress(f"replay {portfolio.id}", bars, total)
                    checkpoint()

                lookback = plan.warmup_bars(portfolio) + 1
                replay(simulated.job, lambda: plan.strategy(portfolio), books, lookback, told)
                return compare(books, simulated.result)

            return work

        pairs = zip(plan.config.portfolios, done, strict=True)
        tasks = {f"replay-{portfolio.id}": task(portfolio, simulated) for portfolio, simulated in pairs}
        for found in run_threads(tasks):
            announce(
                f"Replay: portfolio {found.portfolio_id} ends as the backtest does: "
                f"{found.trades} trades, equity {found.equity:,.2f}"
            )


def _checked_plan(loaded: LoadedConfig) -> tuple[_Plan, str]:
    manager = load_plugins(loaded)
    plan = _Plan(loaded, manager)
    used = sorted({portfolio.strategy.name for portfolio in loaded.config.portfolios})
    text = f"strategies {', '.join(used)}; data source {loaded.config.data_source.name}; {plan.costs.describe()}"
    broken = "".join(f"; not loaded: {failure.provider.describe()}: {failure.reason}" for failure in manager.failures())
    return plan, text + broken


def _checked_data(plan: _Plan, database: Database, progress: Progress) -> tuple[None, str]:
    report = _ensured(plan, database, progress)
    read = f"{report.inserted} bars loaded" if report.tickers else "all bars are in the database"
    return None, "; ".join([f"source {report.source}: {read}", *report.notes()])


def _checked_portfolio(plan: _Plan, database: Database, portfolio: Portfolio) -> tuple[None, str]:
    from framework.engine.lookahead import check_lookahead

    data = _panel(plan, database, portfolio)
    job = plan.job(portfolio, data, plan.strategy(portfolio), portfolio.strategy.name, portfolio.schedule)
    cuts = check_lookahead(job, lambda: plan.strategy(portfolio))
    bars = len(data.panel) - data.first
    return None, (
        f"{bars} bars of {len(portfolio.tickers)} tickers and {data.first} before start; "
        f"no lookahead in {portfolio.strategy.name} (future cut off and changed at {cuts} bars)"
    )


def _versions() -> dict[str, str]:
    names = ("portfolio-engine", "numpy", "pandas", "psycopg2-binary", "exchange-calendars")
    return {**{name: metadata.version(name) for name in names}, "python": platform.python_version()}
