"""What the commands of market data do: from a config, or from the name of a source, to bars in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from framework.data.backfill import Backfill, backfill
from framework.data.currencies import Currencies
from framework.data.source import DataSource
from framework.data.verify import Asked, Verified, verify
from framework.db.database import Database, open_database
from framework.db.market import CoveredBars, list_coverage
from framework.engine.backtest import run_threads
from framework.plugin_manager import PluginManager
from framework.runs import Announce, Plan, Progress

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


def fill(order: Order, progress: Progress, announce: Announce) -> Backfill:
    """Bring what is lacking into the database, on a thread, so that Ctrl-C reaches the caller.

    Raises:
        EngineError: see :mod:`framework.errors`.
    """
    with _open(order.database_url, announce) as database:

        def work(checkpoint: Callable[[], None]) -> Backfill:
            def told(done: int, total: int) -> None:
                progress("tickers", done, total)
                checkpoint()

            what = order.source, order.tickers, order.interval, order.calendar
            found = backfill(database.pool, *what, order.start, order.end, told)
            if order.currencies is None:
                return found
            rates = order.currencies.ensure(database.pool, order.start, found.end)
            return replace(found, loaded=found.loaded.merged(rates))

        return run_threads({"backfill": work})[0]


def coverage(database_url: str, source: str | None, tickers: Sequence[str], announce: Announce) -> list[CoveredBars]:
    """What has been loaded: of all sources or one, of all tickers or some."""
    with _open(database_url, announce) as database:
        return run_threads({"coverage": lambda checkpoint: list_coverage(database.pool, source, tickers)})[0]


def asked_of_config(loaded: LoadedConfig) -> Asked:
    """The tickers of a config, its calendar and policies; not the pairs that it converts with, which keep other hours.

    Raises:
        EngineError: see :mod:`framework.errors`.
    """
    config = loaded.config
    plan = Plan(loaded, PluginManager.load(loaded.plugin_dirs(), config.plugins))
    return Asked(
        plan.source.key(), plan.tickers, config.interval, config.calendar, config.quality, plan.source.currency
    )


def verified(database_url: str, asked: Asked, progress: Progress, announce: Announce) -> Verified:
    """Check stored bars, on a thread, so that Ctrl-C reaches the caller.

    Raises:
        EngineError: see :mod:`framework.errors`.
    """
    with _open(database_url, announce) as database:

        def work(checkpoint: Callable[[], None]) -> Verified:
            def told(done: float, total: int) -> None:
                progress("series", done, total)
                checkpoint()

            return verify(database.pool, asked, told)

        return run_threads({"verify": work})[0]


@contextmanager
def _open(url: str, announce: Announce) -> Iterator[Database]:
    database = open_database(url, Path.cwd(), 1, 2)
    try:
        announce(f"Database: {database.describe()}")
        yield database
    finally:
        database.close()
