"""The composition root: from a loaded config to plugins, database, data and engine, and back to a report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.config.load import LoadedConfig
from framework.config.model import Portfolio
from framework.engine.backtest import run_threads
from framework.errors import EngineError, UsageError
from framework.history import history_of, lookback_of
from framework.model.result import Ending, RunResult
from framework.plan import Plan
from framework.plugin_manager import PluginManager
from framework.runs import Announce, Progress, ensured, run_config

if TYPE_CHECKING:
    from framework.allocate_run import HandAllocation
    from framework.db.database import Database
    from framework.engine.simulator import Simulation

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


def run(
    loaded: LoadedConfig, out_dir: Path | None, progress: Progress, announce: Announce, *, keep: bool = False
) -> RunOutcome:
    """Run a config and write its report.

    Args:
        loaded: the config.
        out_dir: for the report; default ``runs/<name>-<UTC time>``.
        progress: is told how far each stage is.
        announce: is told which database is used, and what the data had to complain of.
        keep: the scratch schema of a replay stays where it is.

    Raises:
        UsageError: there is nothing to keep in this mode.
        EngineError: see :mod:`framework.errors`.
    """
    from framework.report.summary import summary
    from framework.report.write import write_run

    if keep:
        require_replay(loaded)
    manager = load_plugins(loaded)
    plan = Plan(loaded, manager)
    with open_database(loaded) as database:
        announce(f"Database: {database.describe()}")
        result = run_config(plan, database, progress, announce, keep)
    folder = out_dir or Path("runs") / f"{loaded.config.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    _log.debug("simulated; writing the report")
    report = write_run(result, folder, lambda name, done, total: progress("report", done, total))
    _log.debug("report written")
    manager.notify("backtest_finished", result=result)
    return RunOutcome(result, summary(result), report)


def require_replay(loaded: LoadedConfig) -> None:
    """Refuse to keep the scratch schema of a mode that has none.

    Raises:
        UsageError: says which mode has one.
    """
    if loaded.config.mode != "replay":
        raise UsageError(
            f"--keep keeps the scratch schema of a replay; {loaded.path} has mode {loaded.config.mode}, which "
            "makes none (leave --keep out, or add --set mode=replay)"
        )


def trade(
    loaded: LoadedConfig,
    progress: Progress,
    announce: Announce,
    started: Callable[[Callable[[], None]], None] = lambda stop: None,
) -> list[Ending]:
    """Run a config in mode paper until it is stopped or its simulated clock is over.

    Args:
        loaded: the config.
        progress: is told how far loading is.
        announce: is told a line for each thing that happens.
        started: is given the function that stops the engine, from any thread or signal handler.

    Returns:
        how each portfolio stands then.

    Raises:
        EngineError: see :mod:`framework.errors`.
    """
    from framework.live_run import LiveRun

    plan = Plan(loaded, load_plugins(loaded))
    with open_database(loaded) as database:
        announce(f"Database: {database.describe()}")
        # Whatever runs SQL is on a thread, so that Ctrl-C reaches this one at once.
        (run,) = run_threads({"start": lambda checkpoint: LiveRun(plan, database, announce, progress)})
        started(run.stop)
        run.run()
        return run_threads({"end": lambda checkpoint: run.endings()})[0]


def allocate(
    loaded: LoadedConfig, by: str, reference: str | None, dry_run: bool, progress: Progress, announce: Announce
) -> HandAllocation:
    """Allocate the capital of a config in mode paper once, now.

    Args:
        loaded: the config.
        by: who asks, for the books.
        reference: what the allocation is known by; ``None``: the session, as the schedule's.
        dry_run: only say what it would do.
        progress: is told how far loading is.
        announce: is told a line for each thing that happens.

    Raises:
        EngineError: see :mod:`framework.errors`.
    """
    from framework.allocate_run import HandRun

    plan = Plan(loaded, load_plugins(loaded))
    with open_database(loaded) as database:
        announce(f"Database: {database.describe()}")
        run = HandRun(plan, database, by, progress, announce)
        return run_threads({"allocate": lambda checkpoint: run.run(reference, dry_run)})[0]


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
            items.append(CheckItem(name, False, str(error).removeprefix(f"{name}: ")))
            raise _FailedError from error
        items.append(CheckItem(name, True, detail))
        _log.debug("check %s: %.3f s", name, time.perf_counter() - began)
        return value

    with suppress(_FailedError), ExitStack() as stack:
        plan: Plan = attempt("plugins", lambda: _checked_plan(loaded))
        database: Database = attempt("database", lambda: _described(stack.enter_context(open_database(loaded))))
        attempt("data", lambda: _checked_data(plan, database, progress))
        for portfolio in loaded.config.portfolios:
            job = attempt(f"portfolio {portfolio.id}", partial(_checked_portfolio, plan, database, portfolio))
            items.append(_checked_lookback(plan, portfolio, job))
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


def _checked_plan(loaded: LoadedConfig) -> tuple[Plan, str]:
    manager = load_plugins(loaded)
    plan = Plan(loaded, manager)
    used = sorted({portfolio.strategy.name for portfolio in loaded.config.portfolios})
    text = f"strategies {', '.join(used)}; data source {loaded.config.data_source.name}; {plan.costs.describe()}"
    if loaded.config.allocator is not None and plan.allocation is not None:
        text += f"; allocator {loaded.config.allocator.name} of {', '.join(plan.allocation.terms.portfolios)}"
    broken = "".join(f"; not loaded: {failure.provider.describe()}: {failure.reason}" for failure in manager.failures())
    return plan, text + broken


def _checked_data(plan: Plan, database: Database, progress: Progress) -> tuple[None, str]:
    report = ensured(plan, database, progress)
    read = f"{report.inserted} bars loaded" if report.tickers else "all bars are in the database"
    return None, "; ".join([f"source {report.source}: {read}", *report.notes()])


def _checked_portfolio(plan: Plan, database: Database, portfolio: Portfolio) -> tuple[Simulation, str]:
    from framework.engine.lookahead import check_lookahead

    job = history_of(plan, database.pool, portfolio)
    looked = check_lookahead(job, lambda: plan.strategy(portfolio))
    bars = len(job.panel) - job.first
    read = f"{bars} bars of {len(portfolio.tickers)} tickers and {job.first} before start"
    return job, f"{read}; {looked.describe(portfolio.strategy.name)}"


def _checked_lookback(plan: Plan, portfolio: Portfolio, job: Simulation) -> CheckItem:
    """Whether it decides on the window that paper and live see as on all history; of a backtest, a statement only."""
    name, must_agree = f"portfolio {portfolio.id} lookback", plan.config.mode != "backtest"
    try:
        found = lookback_of(plan, portfolio, job)
    except EngineError as error:
        return CheckItem(name, not must_agree, str(error))
    return CheckItem(name, not (must_agree and found.differing), found.describe())
