"""What the commands of market data do: from a config, or from the name of a source, to bars in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from framework.data.backfill import Backfill, BackfillPlan, Step, backfill, plan_backfill
from framework.data.currencies import Currencies
from framework.data.fx import CALENDAR as FX_CALENDAR
from framework.data.ingest import BarIngestor, Watch, distinct
from framework.data.quote_bars import QUOTES, QuoteIngestor, QuoteWatch
from framework.data.rest import RestSource
from framework.data.source import DataSource
from framework.data.verify import Asked, Verified, verify
from framework.db.database import Database, open_database
from framework.db.market import CoveredBars, list_coverage
from framework.db.pool import Pool
from framework.db.queries import fetch_all, fetch_one
from framework.engine.backtest import run_threads
from framework.engine.clock import Clock, RealClock, SimulatedClock
from framework.errors import UsageError
from framework.ingest_run import Ingestor, IngestRun, StoppedError, Totals
from framework.plan import Plan
from framework.plugin_manager import PluginManager
from framework.runs import Announce, Progress

if TYPE_CHECKING:
    from framework.config.load import LoadedConfig
    from framework.config.model import ClockSection


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
        clock: a simulated one that the config lives by.
    """

    source: DataSource
    tickers: tuple[str, ...]
    interval: str
    calendar: str
    start: date
    end: date | None
    database_url: str
    currencies: Currencies | None = None
    clock: ClockSection | None = None


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
        config.clock,
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


@dataclass(frozen=True)
class QuotePolling:
    """That bars are to be made of quotes.

    Attributes:
        exchange: of all tickers of an exchange, by the source's name, instead of those named.
        every_seconds: how often the source is asked.
    """

    exchange: str | None = None
    every_seconds: float = 5.0


def ingest(
    orders: Sequence[Order],
    quotes: QuotePolling | None,
    announce: Announce,
    started: Callable[[Callable[[], None]], None],
    *,
    once: bool = False,
) -> Totals:
    """Keep the bars of some orders up to date until stopped; ``start`` of each: what lacks from then on comes first.

    Args:
        orders: of one source and one database.
        quotes: make bars of quotes instead; so it is done, too, for a source of bars made of quotes.
        announce: shows a line.
        started: is given the function that stops it, from any thread or signal handler.
        once: look once, and end.

    Raises:
        EngineError: see :mod:`framework.errors`.
    """
    first = orders[0]
    for other in orders[1:]:
        mine, others = ((each.source.key(), each.database_url, each.clock) for each in (first, other))
        if mine != others:
            raise UsageError(
                "one ingestor serves configs of one data source, one database and one clock; these have "
                f"{first.source!r} and {other.source!r}, or another database or clock: start one for each"
            )
    with _open(first.database_url, announce, 2 + 2 * len(orders)) as database:

        def make(checkpoint: Callable[[], None]) -> IngestRun:
            clock = _clock(database.pool, first)
            set_clock = partial(_set_clock, database.pool, clock) if isinstance(clock, RealClock) else lambda: None
            return IngestRun(_ingestors(database.pool, orders, quotes, clock), clock, announce, set_clock, once=once)

        # Whatever runs SQL is on a thread, so that Ctrl-C reaches this one at once.
        run = run_threads({"start": make})[0]
        started(run.stop)
        return run.run()


def _ingestors(pool: Pool, orders: Sequence[Order], quotes: QuotePolling | None, clock: Clock) -> list[Ingestor]:
    def checkpoint() -> None:
        if clock.is_over:
            raise StoppedError("stopped")

    source = orders[0].source
    parts = [part.what for order in orders for part in _parts(order)]
    watches = distinct(
        [Watch(tickers, interval, calendar, start) for _, tickers, interval, calendar, start, _ in parts]
    )
    if quotes is None and source.key().endswith(QUOTES):
        quotes = QuotePolling()
    if quotes is None:
        return [BarIngestor(pool, source, watch, checkpoint) for watch in watches]
    every = timedelta(seconds=quotes.every_seconds)
    polled = [QuoteWatch(each.tickers, quotes.exchange, each.interval, each.calendar, every) for each in watches]
    return [QuoteIngestor(pool, source, each) for each in polled]


def _clock(pool: Pool, order: Order) -> Clock:
    if order.clock is None:
        return RealClock(_database_time(pool))
    start = datetime.combine(order.clock.start, time(), UTC)
    end = datetime.combine(order.clock.end, time(), UTC) + timedelta(days=1)
    with pool.connection() as connection:
        asked = {"source": order.source.key(), "bar_interval": order.interval, "tickers": list(order.tickers)}
        newest = [row[2] for row in fetch_all(connection, "stored_range", asked)]
    # A restart goes on where the bars end.
    return SimulatedClock(max([start, *newest]), end, order.clock.seconds_per_day)


def _set_clock(pool: Pool, clock: RealClock) -> None:
    clock.adjust(_database_time(pool))


def _database_time(pool: Pool) -> datetime:
    with pool.connection() as connection:
        row = fetch_one(connection, "database_time")
    assert row is not None
    now: datetime = row[0].astimezone(UTC)
    return now


def coverage(database_url: str, source: str | None, tickers: Sequence[str], announce: Announce) -> list[CoveredBars]:
    """What has been loaded: of all sources or one, of all tickers or some."""
    with _open(database_url, announce) as database:
        return run_threads({"coverage": lambda checkpoint: list_coverage(database.pool, source, tickers)})[0]


def asked_of_config(loaded: LoadedConfig, *, is_adjustment_asked: bool = False) -> Asked:
    """The tickers of a config, its calendar and policies; not the pairs that it converts with, which keep other hours.

    Args:
        loaded: the config.
        is_adjustment_asked: have its source asked for its own adjusted closes.

    Raises:
        EngineError: see :mod:`framework.errors`.
    """
    config = loaded.config
    plan = Plan(loaded, PluginManager.load(loaded.plugin_dirs(), config.plugins))
    what = plan.source.key(), plan.tickers, config.interval, config.calendar
    by = plan.source if is_adjustment_asked else None
    return Asked(*what, config.quality, plan.source.currency, by)


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

            if asked.adjusted_by is not None:
                asked.adjusted_by.share_limit(database.pool)
            return verify(database.pool, asked, told)

        return run_threads({"verify": work})[0]


@contextmanager
def _open(url: str, announce: Announce, pool_max: int = 2) -> Iterator[Database]:
    database = open_database(url, Path.cwd(), 1, pool_max)
    try:
        announce(f"Database: {database.describe()}")
        yield database
    finally:
        database.close()
