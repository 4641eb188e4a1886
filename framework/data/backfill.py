"""The backfill service: brings what is lacking of some tickers into the database, and goes on where it was ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from framework.data.calendars import covering
from framework.data.load import Reading, ensure_read, is_of_ticker, quality_of
from framework.data.source import DataSource
from framework.data.store import LoadReport
from framework.db.market import Coverage, coverage_of
from framework.db.pool import Pool
from framework.errors import DataError

#: No exchange closes for longer.
_BACK = timedelta(days=30)
#: Intraday bars of a ticker come in pieces of so many days, each committed.
_PIECE = timedelta(days=90)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Ask:
    """One piece of a backfill, committed by itself.

    Attributes:
        tickers: whose bars.
        start, end: exchange dates, both included; of a ticker of which a part is there, only what lacks is asked for.
        requests: what it costs, before any repetition.
        is_exact: all of these dates are asked for, whatever is there.
    """

    tickers: tuple[str, ...]
    start: date
    end: date
    requests: int
    is_exact: bool = False


@dataclass(frozen=True)
class BackfillPlan:
    """What a backfill will do.

    Attributes:
        start, end: exchange dates, both included; ``end`` is no later than the last session whose bars are final.
        asks: the pieces, in order.
    """

    start: date
    end: date
    asks: tuple[Ask, ...]

    @property
    def requests(self) -> int:
        """What it costs."""
        return sum(ask.requests for ask in self.asks)


@dataclass(frozen=True)
class Step:
    """How far a backfill is.

    Attributes:
        done, total: pieces.
        requests, planned: that were made, and that the plan costs.
        rows: bars that came in.
    """

    done: int
    total: int
    requests: int
    planned: int
    rows: int


#: Called after each piece. What it raises ends the backfill there.
Told = Callable[[Step], None]


@dataclass(frozen=True)
class Backfill:
    """What a backfill did.

    Attributes:
        start, end: exchange dates, both included; ``end`` is no later than the last session whose bars are final.
        loaded: what came into the database.
        unavailable: tickers that the source does not have, and why.
    """

    start: date
    end: date
    loaded: LoadReport
    unavailable: dict[str, str] = field(default_factory=dict)


def plan_backfill(
    pool: Pool,
    source: DataSource,
    tickers: Sequence[str],
    interval: str,
    calendar: str,
    start: date,
    end: date | None = None,
    *,
    now: datetime | None = None,
    again: bool = False,
    overlap: timedelta = timedelta(0),
) -> BackfillPlan:
    """What a backfill would do; see :func:`backfill` for the arguments.

    Raises:
        DataError: no session of these dates is over yet.
    """
    now = now or datetime.now(UTC)
    last = final_end(source, interval, calendar, end or date.max, now)
    if source.whole:
        last = min(last, now.date())
    if last < start:
        raise DataError(f"nothing from {start} on is final yet: the last session whose bars are is {last}")
    reading = Reading(source, interval, calendar, now, again, overlap)
    return BackfillPlan(start, last, tuple(_asks(pool, reading, tuple(dict.fromkeys(tickers)), start, last)))


def backfill(
    pool: Pool,
    source: DataSource,
    tickers: Sequence[str],
    interval: str,
    calendar: str,
    start: date,
    end: date | None = None,
    progress: Told | None = None,
    now: datetime | None = None,
    *,
    again: bool = False,
    overlap: timedelta = timedelta(0),
) -> Backfill:
    """Have all final bars of ``tickers`` from ``start`` to ``end`` in the database.

    Args:
        pool: of the database.
        source: is asked for what is lacking only.
        tickers: one that the source does not have is left out, and told of.
        interval: of the bars.
        calendar: whose sessions say which bars are final.
        start, end: exchange dates, both included; without ``end``, the last session whose bars are final.
        progress: told after each piece.
        now: aware; default: the time.
        again: ask for what is there as well; bars that have changed are corrected.
        overlap: with new days, ask for so many of those before them again.

    Raises:
        SourceError: the source cannot be read.
        DataError: no session of these dates is over yet, or the bars cannot be used.
    """
    now = now or datetime.now(UTC)
    what = pool, source, tickers, interval, calendar, start, end
    plan = plan_backfill(*what, now=now, again=again, overlap=overlap)
    load = _Load(pool, Reading(source, interval, calendar, now, again, overlap))
    before = source.requests_made
    for done, ask in enumerate(plan.asks, start=1):
        load.bring(ask)
        if progress is not None:
            progress(Step(done, len(plan.asks), source.requests_made - before, plan.requests, load.report.rows))
    # What was found of the tickers when they were loaded is said by every backfill, and once.
    report = replace(load.report, quality=quality_of(pool, source.key(), tickers, interval))
    return Backfill(plan.start, plan.end, report, load.unavailable)


class _Load:
    """What has come in so far."""

    def __init__(self, pool: Pool, reading: Reading) -> None:
        self._pool, self._reading = pool, reading
        self.report, self.unavailable = LoadReport(reading.source.key()), dict[str, str]()

    def bring(self, ask: Ask) -> None:
        """Load what is lacking of it; a ticker that is not to be had is noted, and does not keep the others."""
        wanted = tuple(ticker for ticker in ask.tickers if ticker not in self.unavailable)
        reading = replace(self._reading, again=True) if ask.is_exact else self._reading
        try:
            if wanted:
                loaded = ensure_read(self._pool, reading, wanted, ask.start, ask.end)
                self.report = self.report.merged(loaded)
        except DataError as error:
            if not is_of_ticker(error):
                raise
            if len(wanted) == 1:
                self.unavailable[wanted[0]] = str(error)
            else:
                for ticker in wanted:  # which one it is, and the others without it
                    self.bring(replace(ask, tickers=(ticker,)))


def _asks(pool: Pool, reading: Reading, tickers: tuple[str, ...], start: date, last: date) -> Iterator[Ask]:
    source, interval = reading.source, reading.interval
    known = coverage_of(pool, source.key(), interval, tickers)
    spans = {ticker: reading.lacking(ticker, start, last, known.get(ticker)) for ticker in tickers}
    due = {ticker for ticker in tickers if reading.are_actions_due(known.get(ticker))}
    may_come = reading.may_actions_come(last)
    wanted = [ticker for ticker in tickers if spans[ticker] or (ticker in due and may_come)]
    if interval == "1d" or source.whole:
        for batch in source.batches(wanted):
            cost = sum(source.requests_for(interval, *span) for ticker in batch for span in spans[ticker])
            yield Ask(batch, start, last, cost + source.requests_for_actions * len(due.intersection(batch)))
        return
    # Years of minutes are hours of requests: they come ticker by ticker, a quarter at a time.
    for ticker in wanted:
        pieces = [piece for span in spans[ticker] for piece in _pieces(span, known.get(ticker))] or [(last, last)]
        for number, piece in enumerate(pieces):
            cost = source.requests_for(interval, *piece) if spans[ticker] else 0
            cost += source.requests_for_actions if ticker in due and not number else 0
            yield Ask((ticker,), *piece, cost, is_exact=bool(spans[ticker]))


def _pieces(span: tuple[date, date], known: Coverage | None) -> Iterator[tuple[date, date]]:
    """A span in parts to ask for one after the other, each touching what is loaded by then."""
    low, high = span
    if known is not None and high < known.start:  # downwards, so that what is covered stays one span
        while low <= high:
            yield max(low, high - _PIECE), high
            high = max(low, high - _PIECE) - _DAY
    while low <= high:
        yield low, min(high, low + _PIECE)
        low = min(high, low + _PIECE) + _DAY


def final_end(source: DataSource, interval: str, calendar: str, end: date, now: datetime | None = None) -> date:
    """``end``, or the last session whose bars are final, where that is earlier: beyond it nothing counts as loaded.

    A source of files is what it is: its end is not looked at.
    """
    now = now or datetime.now(UTC)
    if source.whole or end < now.date() - _BACK:  # long ago: no need to build the calendar of today
        return end
    return min(end, last_final_session(calendar, source.settle_of(interval), now))


def last_final_session(calendar: str, settle: timedelta, now: datetime) -> date:
    """The exchange date of the last session that is over, so that no bar of it changes any more.

    Args:
        calendar: name of the exchange calendar.
        settle: how long after its end a bar may still change.
        now: aware.

    Raises:
        ConfigError: the calendar is unknown.
    """
    now = now.astimezone(UTC)
    today = now.date()
    known = covering(calendar, today - _BACK, today)
    over = known.closes + np.timedelta64(settle, "us") <= np.datetime64(now.replace(tzinfo=None), "us")
    found: date = known.dates[over][-1].item()
    return found
