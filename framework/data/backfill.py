"""The backfill service: brings what is lacking of some tickers into the database, and goes on where it was ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np

from framework.data.calendars import covering
from framework.data.load import LoadReport, Progress, ensure
from framework.data.source import DataSource
from framework.db.market import read_coverage
from framework.db.pool import Pool
from framework.errors import DataError, TickerUnavailable

#: No exchange closes for longer.
_BACK = timedelta(days=30)
#: Intraday bars of a ticker come in pieces of so many days, each committed.
_PIECE = timedelta(days=90)
_DAY = timedelta(days=1)


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


def backfill(
    pool: Pool,
    source: DataSource,
    tickers: Sequence[str],
    interval: str,
    calendar: str,
    start: date,
    end: date | None = None,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> Backfill:
    """Have all final bars of ``tickers`` from ``start`` to ``end`` in the database.

    Args:
        pool: of the database.
        source: is asked for what is lacking only.
        tickers: one that the source does not have is left out, and told of.
        interval: of the bars.
        calendar: whose sessions say which bars are final.
        start, end: exchange dates, both included; without ``end``, the last session whose bars are final.
        progress: called after each step with (batches of tickers done, batches to do).
        now: aware; default: the time.

    Raises:
        SourceError: the source cannot be read.
        DataError: no session of these dates is over yet, or the bars cannot be used.
    """
    now = now or datetime.now(UTC)
    last = final_end(source, interval, calendar, end or date.max, now)
    if source.whole:
        last = min(last, now.date())
    if last < start:
        raise DataError(f"nothing from {start} on is final yet: the last session whose bars are is {last}")
    load = _Load(pool, source, interval, now)
    # Years of minutes are hours of requests: they come ticker by ticker, a quarter at a time.
    in_pieces = interval != "1d" and not source.whole
    distinct = tuple(dict.fromkeys(tickers))
    batches = tuple((ticker,) for ticker in distinct) if in_pieces else source.batches(distinct)
    for done, batch in enumerate(batches, start=1):
        for first, until in _pieces(pool, source, batch[0], interval, start, last) if in_pieces else [(start, last)]:
            load.bring(batch, first, until)
            if progress is not None:
                progress(done - 1, len(batches))
        if progress is not None:
            progress(done, len(batches))
    return Backfill(start, last, load.report, load.unavailable)


class _Load:
    """What has come in so far."""

    def __init__(self, pool: Pool, source: DataSource, interval: str, now: datetime) -> None:
        self._pool, self._source, self._interval, self._now = pool, source, interval, now
        self.report, self.unavailable = LoadReport(source.key()), dict[str, str]()

    def bring(self, tickers: Sequence[str], start: date, end: date) -> None:
        """Load what is lacking of these; one that is not to be had is noted, and does not keep the others."""
        wanted = [ticker for ticker in tickers if ticker not in self.unavailable]
        try:
            if wanted:
                loaded = ensure(self._pool, self._source, wanted, self._interval, start, end, now=self._now)
                self.report = self.report.merged(loaded)
        except TickerUnavailable as error:
            if len(wanted) == 1:
                self.unavailable[wanted[0]] = str(error)
            else:
                for ticker in wanted:  # which one it is, and the others without it
                    self.bring([ticker], start, end)


def _pieces(
    pool: Pool, source: DataSource, ticker: str, interval: str, start: date, end: date
) -> Iterator[tuple[date, date]]:
    """Spans to ask for one after the other, each touching what is loaded by then: upwards, then downwards."""
    with pool.connection() as connection:
        known = read_coverage(connection, source.key(), interval, [ticker]).get(ticker)
    low, high = (start, start - _DAY) if known is None else (known.start, known.end)
    while high < end:
        high = min(end, high + _PIECE)
        yield low, high
    while start < low:
        low = max(start, low - _PIECE)
        yield low, high


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
