"""Bringing bars from a source into the database: only what is lacking, checked, some tickers per transaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, partial
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from framework.data.calendars import STEPS, covering, ends
from framework.data.findings import Seen
from framework.data.quality import QualityReport, check, check_spacing, merged
from framework.data.source import DataSource
from framework.data.store import SETTLED_AFTER, Batch, Job, LoadReport
from framework.data.suspects import look_over
from framework.db.market import Coverage, coverage_of, read_corporate_actions
from framework.db.pool import Pool
from framework.db.quarantine import read_held
from framework.db.retry import retry
from framework.errors import DataError, SourceError, TickerUnavailable
from framework.model.bars import Bars, CorporateAction
from framework.model.quotes import Instrument
from framework.model.timeline import moment, stamp

#: A transaction holds whole tickers, and no more than about so many bars: a second's work.
BARS_PER_TRANSACTION = 100_000

#: With new days of minutes, so many before them are asked for again.
OVERLAP = timedelta(days=4)
#: So long before a session opens its splits and dividends are asked for.
BEFORE_OPEN = timedelta(minutes=30)
_RECENT = timedelta(days=30)
_DAY = timedelta(days=1)
_NO_TIME = timedelta(0)

#: Called after each transaction with (tickers done, tickers to do). What it raises ends the load there.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Reading:
    """How a source is asked.

    Attributes:
        source: is asked.
        interval: of the bars.
        calendar: whose sessions cut the last bar of a day, and so say when it is final; ``None``: nothing cuts it.
        now: aware. Bars that may still change are left out, and of the last days only what has come counts as loaded,
            as a source may be late.
        again: ask for what is there as well; bars that have changed are corrected.
        overlap: where new days are asked for, ask for so many of those before them again.
    """

    source: DataSource
    interval: str
    calendar: str | None
    now: datetime
    again: bool = False
    overlap: timedelta = _NO_TIME

    def lacking(self, ticker: str, start: date, end: date, known: Coverage | None) -> list[tuple[date, date]]:
        """The spans to ask for, such that what is covered stays one span; exchange dates, both ends included."""
        if self.source.whole:
            is_fresh = known is not None and known.content_hash == self.source.content_hash(ticker, self.interval)
            return [] if is_fresh and not self.again else [(date.min, date.max)]
        if known is None:
            return [(start, end)]
        if self.again:
            first, last = min(start, known.end + _DAY), max(end, known.start - _DAY)
            before = [(first, known.start - _DAY)] if first < known.start else []
            return before + ([(max(first, known.start), last)] if last >= known.start else [])
        before = [(start, known.start - _DAY)] if start < known.start else []
        after = [(max(known.start, known.end + _DAY - self._overlap_of(known)), end)] if end > known.end else []
        return before + after

    def _overlap_of(self, known: Coverage) -> timedelta:
        """Minutes may have been late when their session was read, which nothing shows: recent ones are read again."""
        is_recent = self.interval != "1d" and known.end >= self.now.date() - _RECENT
        return max(self.overlap, OVERLAP) if is_recent else self.overlap

    def are_actions_due(self, known: Coverage | None) -> bool:
        """Whether splits and dividends are to be read: of files with every change, of others before each session."""
        if self.source.whole or known is None or known.actions_read_at is None:
            return True
        return known.actions_read_at < self._actions_due

    @cached_property
    def _actions_due(self) -> datetime:
        return actions_due_at(self.calendar, self.now)

    def may_actions_come(self, end: date) -> bool:
        """Whether splits and dividends that become known today can matter to bars that end there."""
        return not self.source.whole and end >= self.now.date() - SETTLED_AFTER


def actions_due_at(calendar: str | None, now: datetime) -> datetime:
    """Splits and dividends that were read before this are not of today: half an hour before the newest open.

    Args:
        calendar: whose sessions; ``None``: midnight UTC counts.
        now: aware.
    """
    now = now.astimezone(UTC)
    if calendar is None:
        return now.replace(hour=0, minute=0, second=0, microsecond=0)
    known = covering(calendar, now.date() - _RECENT, now.date(), _DAY)
    due = known.opens - np.timedelta64(BEFORE_OPEN, "us")
    return moment(due[due <= stamp(now)][-1])


def ensure(
    pool: Pool,
    source: DataSource,
    tickers: Sequence[str],
    interval: str,
    start: date,
    end: date,
    progress: Progress | None = None,
    now: datetime | None = None,
    *,
    calendar: str | None = None,
) -> LoadReport:
    """Have the bars of ``tickers`` from ``start`` to ``end`` in the database, reading what is lacking from the source.

    Some tickers at a time are one transaction (bars, splits and dividends, coverage), so that what was committed stays
    whatever happens later, and the next call goes on from there.

    Args:
        pool: of the database.
        source: a file is read whole, and again when its content changed; others are asked for missing dates only.
        tickers: names.
        interval: of the bars.
        start, end: exchange dates, both included.
        progress: called after each transaction.
        now, calendar: see :class:`Reading`; by default it is now.

    Raises:
        SourceError: the source cannot be read, or has no such ticker.
        DataError: the bars are not of this interval, or all of a ticker's rows were refused.
    """
    reading = Reading(source, interval, calendar, now or datetime.now(UTC))
    return ensure_read(pool, reading, tickers, start, end, progress)


def ensure_read(
    pool: Pool, reading: Reading, tickers: Sequence[str], start: date, end: date, progress: Progress | None = None
) -> LoadReport:
    """As :func:`ensure`."""
    started = perf_counter()
    source, interval = reading.source, reading.interval
    source.share_limit(pool)
    report = LoadReport(source.key())
    jobs = list(_jobs(pool, reading, tickers, start, end)) if start <= end else []
    done, total = 0, sum(len(job.tickers) for job in jobs)
    for job in jobs:
        for part in _run(pool, reading, job):
            report = report.merged(part)
            done += len(part.tickers)
            if progress is not None:
                progress(done, total)
    quality = quality_of(pool, report.source, tickers, interval)
    return replace(report, quality=quality, seconds=perf_counter() - started)


def follow(
    pool: Pool, source: DataSource, tickers: Sequence[str], interval: str, calendar: str, day: date, now: datetime
) -> LoadReport:
    """Bring the bars of a session that is not over into the database, those that are final.

    They do not count as loaded: when the session is over it is asked for as a whole.

    Args:
        pool, source, tickers, interval, calendar: as for :func:`ensure`; intraday.
        day: the session's exchange date.
        now: aware.

    Raises:
        SourceError: the source cannot be read, or has no such ticker.
        DataError: the bars cannot be used.
    """
    reading = Reading(source, interval, calendar, now)
    source.share_limit(pool)
    report = LoadReport(source.key())
    for batch in source.batches(tickers):
        for part in _run(pool, reading, Job(batch, day, day, is_running=True)):
            report = report.merged(part)
    return report


def quality_of(pool: Pool, source: str, tickers: Sequence[str], interval: str) -> QualityReport:
    """What was found of these tickers by the loads that brought them: the same for every run."""
    known = coverage_of(pool, source, interval, tickers)
    return merged(
        QualityReport.of(ticker, known[ticker].findings) for ticker in dict.fromkeys(tickers) if ticker in known
    )


def _jobs(pool: Pool, reading: Reading, tickers: Sequence[str], start: date, end: date) -> Iterator[Job]:
    source = reading.source
    known = coverage_of(pool, source.key(), reading.interval, tickers)
    spans: dict[tuple[date, date], list[str]] = {}
    complete = []
    for ticker in dict.fromkeys(tickers):
        asked = reading.lacking(ticker, start, end, known.get(ticker))
        for span in asked:
            spans.setdefault(span, []).append(ticker)
        if not asked:
            complete.append(ticker)
    due = frozenset(ticker for ticker in tickers if reading.are_actions_due(known.get(ticker)))
    for (first, last), names in spans.items():
        for batch in source.batches(names):
            yield Job(batch, first, last, due.intersection(batch))
    if reading.may_actions_come(end):
        for batch in source.batches([ticker for ticker in complete if ticker in due]):
            yield Job(batch, start, end, frozenset(batch), is_for_bars=False)


def _run(pool: Pool, reading: Reading, job: Job) -> Iterator[LoadReport]:
    """Read and check one batch, and store it transaction by transaction; a report for each."""
    source, interval = reading.source, reading.interval
    offered = source.bars(job.tickers, interval, job.start, job.end) if job.is_for_bars else Bars.joined([])
    _check_tickers(source, offered, job)
    unasked = None if source.whole else _unasked(reading, offered, job)
    held = retry(partial(read_held, pool, source.key(), interval, job.tickers))
    bars, found, left_out = check(offered, unasked, source.policies, held)
    del offered
    check_spacing(bars, interval)
    if not job.is_running:  # a bad first bar of the day says nothing of those to come
        _check_usable(source, bars, found, job)
    due = [ticker for ticker in job.tickers if ticker in job.due]
    actions, instruments = source.corporate_actions(due), [_instrument(source, ticker) for ticker in due]
    suspect: dict[str, Seen] = {}
    if reading.calendar is not None and not job.is_running:
        suspect = look_over(bars, interval, reading.calendar, _splits(pool, source, job, actions))
    for tickers, part in _parts(job.tickers, bars):
        own = tuple(action for action in actions if action.ticker in tickers)
        facts = tuple(each for each in instruments if each.ticker in tickers)
        batch = Batch(source, interval, job.of(tickers), part, found, left_out, own, facts, reading.now)
        yield replace(retry(partial(batch.store_in, pool)), suspect=suspect)
        suspect = {}


def _splits(
    pool: Pool, source: DataSource, job: Job, actions: Sequence[CorporateAction]
) -> dict[str, list[CorporateAction]]:
    """By ticker, those just stated by the source and those that are stored; none of prices that are adjusted."""
    if source.price_kind() == "adjusted":
        return {}

    def read() -> tuple[CorporateAction, ...]:
        with pool.connection() as connection:
            return read_corporate_actions(connection, source.key(), job.tickers)

    found: dict[str, list[CorporateAction]] = {}
    for action in {*actions, *retry(read)}:
        if action.kind == "split":
            found.setdefault(action.ticker, []).append(action)
    return found


def is_of_ticker(error: DataError) -> bool:
    """Whether other tickers may be had all the same: one is not to be had, or its bars cannot be used."""
    return isinstance(error, TickerUnavailable) or not isinstance(error, SourceError)


def _instrument(source: DataSource, ticker: str) -> Instrument:
    found = source.instrument(ticker)
    if not re.fullmatch(r"[A-Z]{3}", found.currency):
        raise TickerUnavailable(
            f"{ticker}: data source {source.key()} says that it is in {found.currency!r}; a currency is three capital "
            "letters, and hundredths of one are not supported"
        )
    return found


def _parts(tickers: Sequence[str], bars: Bars) -> Iterator[tuple[tuple[str, ...], Bars]]:
    """Whole tickers with their bars, about :data:`BARS_PER_TRANSACTION` at a time."""
    code = {name: at for at, name in enumerate(bars.tickers)}
    counts = np.bincount(bars.code, minlength=len(code))
    groups: list[list[str]] = []
    room = 0
    for ticker in tickers:
        size = int(counts[code[ticker]]) if ticker in code else 0
        if not groups or size > room:
            groups.append([])
            room = BARS_PER_TRANSACTION
        groups[-1].append(ticker)
        room -= size
    for group in groups:
        wanted = [code[ticker] for ticker in group if ticker in code]
        yield tuple(group), bars if len(groups) == 1 else bars.take(np.isin(bars.code, wanted))


def _check_tickers(source: DataSource, bars: Bars, job: Job) -> None:
    strangers = {bars.tickers[code] for code in np.unique(bars.code)} - set(job.tickers)
    if strangers:
        raise SourceError(
            f"data source {source.key()} was asked for {', '.join(job.tickers[:5])} and gave bars of "
            f"{', '.join(sorted(strangers)[:5])}; bars() must return only what was asked for"
        )


def _unasked(reading: Reading, bars: Bars, job: Job) -> NDArray[np.bool_]:
    """Bars outside the dates of a job, and those that may still change: neither must be taken for loaded."""
    is_daily = reading.interval == "1d"
    # An exchange's date may begin or end on the UTC date beside it.
    margin = _NO_TIME if is_daily else _DAY
    first, last = (np.datetime64(day, "D") for day in (job.start - margin, job.end + margin))
    days = bars.timestamps.astype("datetime64[D]")
    unasked: NDArray[np.bool_] = (days < first) | (days > last)
    settled = np.datetime64(reading.now.replace(tzinfo=None) - reading.source.settle_of(reading.interval), "us")
    young = np.flatnonzero((bars.timestamps > settled - np.timedelta64(STEPS[reading.interval], "us")) & ~unasked)
    if not is_daily and len(young):
        times, place = np.unique(bars.timestamps[young], return_inverse=True)
        over = ends(reading.calendar, reading.interval, times) <= settled
        unasked[young] = ~over[place]
    return unasked


def _check_usable(source: DataSource, bars: Bars, found: Mapping[str, QualityReport], job: Job) -> None:
    """Every ticker of a file must have a bar; of other sources, each that came with any, asked for or not."""
    there = {bars.tickers[code] for code in np.unique(bars.code)}
    empty = [
        ticker for ticker in job.tickers if ticker not in there and (source.whole or _was_refused(found.get(ticker)))
    ]
    if empty:
        why = merged(found[ticker] for ticker in empty if ticker in found).lines()
        raise DataError(" ".join([f"source {source.key()} has no usable bar of {', '.join(empty)}.", *why]))


def _was_refused(found: QualityReport | None) -> bool:
    return found is not None and found.rows > found.counts["not asked for"]
