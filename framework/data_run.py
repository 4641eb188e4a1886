"""What the commands of market data do: from a config, or from the name of a source, to bars in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from framework.data.backfill import Backfill, BackfillPlan, Step, backfill, plan_backfill
from framework.data.currencies import Currencies
from framework.data.fx import CALENDAR as FX_CALENDAR
from framework.data.rest import RestSource
from framework.data.source import DataSource
from framework.db.database import Database, open_database
from framework.db.market import CoveredBars, list_coverage
from framework.engine.backtest import run_threads
from framework.plan import Plan
from framework.plugin_manager import PluginManager
from framework.runs import Announce

if TYPE_CHECKING:
    from framework.config.load import LoadedConfig


@dataclass(frozen=True, eq=False)
class Order:
    """What market data is asked for.

    Attributes:
        source: whose.
        tickers: which.
        interval: of the bars.
        calendar: whose sessions say which bars are final.
        start, end: exchange dates, both included; ``end`` None: as late as there is anything final.
        database_url: where it goes.
        currencies: what else a config converts, if there is one.
    """

    source: DataSource
    tickers: tuple[str, ...]
    interval: str
    calendar: str
    start: date
    end: date | None
    database_url: str
    currencies: Currencies | None = None


def order_of_config(loaded: LoadedConfig, start: date | None, end: date | None) -> Order:
    """The tickers of a config and the currencies that it converts; by default its own dates, warm-up included.

    Raises:
        EngineError: see :mod:`framework.errors`.
    """
    config = loaded.config
    plan = Plan(loaded, PluginManager.load(loaded.plugin_dirs(), config.plugins))
    return Order(
        plan.source,
        plan.tickers,
        config.interval,
        config.calendar,
        start or plan.first_date(),
        end or config.end,
        config.database.url,
        plan.currencies,
    )


def source_named(name: str, params: Mapping[str, str]) -> DataSource:
    """A data source of what is installed or lies in ``plugins/`` of the working folder.

    Raises:
        ConfigError: a parameter is wrong.
        PluginError: there is no such source.
    """
    folder = Path("plugins")
    manager = PluginManager.load([folder] if folder.is_dir() else [], None)
    made: DataSource = manager.create("data source", name, params, "--source")
    return made


@dataclass(frozen=True)
class Estimate:
    """What a backfill would do and cost.

    Attributes:
        source: whose bars.
        plans: one for the tickers, and one for the currencies of a config that converts.
        requests_per_minute: that the source is asked at most; ``None``: it is no API.
    """

    source: str
    plans: tuple[BackfillPlan, ...]
    requests_per_minute: int | None

    @property
    def requests(self) -> int:
        """What all of it costs, before any repetition."""
        return sum(plan.requests for plan in self.plans)


def estimate(order: Order, announce: Announce, *, again: bool = False) -> Estimate:
    """What :func:`fill` would do, without asking the source.

    Raises:
        EngineError: see :mod:`framework.errors`.
    """
    with _open(order.database_url, announce) as database:

        def work(checkpoint: Callable[[], None]) -> tuple[BackfillPlan, ...]:
            return tuple(plan_backfill(database.pool, *part.what, again=again) for part in _parts(order))

        plans = run_threads({"plan": work})[0]
    pace = order.source.requests_per_minute if isinstance(order.source, RestSource) else None
    return Estimate(order.source.key(), plans, pace)


def fill(order: Order, told: Callable[[str, Step], None], announce: Announce, *, again: bool = False) -> Backfill:
    """Bring what is lacking into the database, on a thread, so that Ctrl-C reaches the caller.

    Args:
        order: what is wanted.
        told: is told how far what (``prices``, ``currencies``) is.
        announce: shows a line.
        again: ask for what is there as well, and correct what has changed.

    Raises:
        EngineError: see :mod:`framework.errors`.
    """
    with _open(order.database_url, announce) as database:

        def work(checkpoint: Callable[[], None]) -> Backfill:
            def show(stage: str, step: Step) -> None:
                told(stage, step)
                checkpoint()

            found = [
                backfill(database.pool, *part.what, partial(show, part.stage), again=again) for part in _parts(order)
            ]
            first, *others = found
            for other in others:
                unavailable = first.unavailable | other.unavailable
                first = replace(first, loaded=first.loaded.merged(other.loaded), unavailable=unavailable)
            return first

        return run_threads({"backfill": work})[0]


class _Part(NamedTuple):
    """Tickers of one calendar: what a single backfill brings."""

    stage: str
    what: tuple[DataSource, tuple[str, ...], str, str, date, date | None]


def _parts(order: Order) -> Iterator[_Part]:
    yield _Part("prices", (order.source, order.tickers, order.interval, order.calendar, order.start, order.end))
    if order.currencies is not None and order.currencies.fx_tickers:
        start = order.currencies.first_date(order.start)
        yield _Part(
            "currencies", (order.source, order.currencies.fx_tickers, order.interval, FX_CALENDAR, start, order.end)
        )


def coverage(database_url: str, source: str | None, tickers: Sequence[str], announce: Announce) -> list[CoveredBars]:
    """What has been loaded: of all sources or one, of all tickers or some."""
    with _open(database_url, announce) as database:
        return run_threads({"coverage": lambda checkpoint: list_coverage(database.pool, source, tickers)})[0]


@contextmanager
def _open(url: str, announce: Announce) -> Iterator[Database]:
    database = open_database(url, Path.cwd(), 1, 2)
    try:
        announce(f"Database: {database.describe()}")
        yield database
    finally:
        database.close()
