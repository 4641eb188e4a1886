"""The backfill service: brings what is lacking of some tickers into the database, and goes on where it was ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np

from framework.data.calendars import covering
from framework.data.load import LoadReport, Progress, ensure
from framework.data.source import DataSource
from framework.db.pool import Pool
from framework.errors import DataError, TickerUnavailable

#: No exchange closes for longer.
_BACK = timedelta(days=30)


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
        progress: called after each transaction with (tickers done, tickers to do).
        now: aware; default: the time.

    Raises:
        SourceError: the source cannot be read.
        DataError: no session of these dates is over yet, or the bars cannot be used.
    """
    last = final_end(source, interval, calendar, end or date.max, now)
    if last < start:
        raise DataError(f"nothing from {start} on is final yet: the last session whose bars are is {last}")
    report, unavailable, done = LoadReport(source.key()), dict[str, str](), 0
    batches = source.batches(tuple(dict.fromkeys(tickers)))
    for batch in batches:
        try:
            report = report.merged(ensure(pool, source, batch, interval, start, last))
        except TickerUnavailable:
            for ticker in batch:  # which one it is, and the others without it
                try:
                    report = report.merged(ensure(pool, source, [ticker], interval, start, last))
                except TickerUnavailable as error:
                    unavailable[ticker] = str(error)
        done += len(batch)
        if progress is not None:
            progress(done, sum(map(len, batches)))
    return Backfill(start, last, report, unavailable)


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
