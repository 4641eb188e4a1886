"""Bringing bars from a source into the database: only what is lacking, checked, some tickers per transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from framework.data.calendars import STEPS
from framework.data.quality import LeftOut, QualityReport, check, check_spacing, merged
from framework.data.source import DataSource
from framework.db.bars import Conflict, write_bars
from framework.db.market import Coverage, read_coverage, write_corporate_actions, write_coverage
from framework.db.pool import Pool
from framework.db.quarantine import keep, read_held
from framework.db.queries import execute, fetch_one
from framework.db.retry import retry
from framework.db.types import Connection
from framework.errors import DataError, SourceError
from framework.model.bars import Bars, CorporateAction

#: A transaction holds whole tickers, and no more than about so many bars: a second's work.
BARS_PER_TRANSACTION = 100_000

#: A session that a source does not have so long after it does not come any more.
_SETTLED_AFTER = timedelta(days=7)

#: Called after each transaction with (tickers done, tickers to do). What it raises ends the load there.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
        source: key of the source.
        tickers: those that were read from the source; the others were in the database already.
        inserted: bars that are new in the database.
        unchanged: bars that were there already, with the same values.
        corrected: bars of a changed file whose values differed from the stored ones, which they replace.
        removed: stored bars that a changed file no longer has.
        conflicting: bars that differ from the stored ones, which stay (sources that are no files).
        conflicts: the first few bars that differed, stored against offered, in words.
        quality: what was refused or mended of the tickers asked for, whenever they were loaded.
        seconds: in all.
    """

    source: str
    tickers: tuple[str, ...] = ()
    inserted: int = 0
    unchanged: int = 0
    corrected: int = 0
    removed: int = 0
    conflicting: int = 0
    conflicts: tuple[str, ...] = ()
    quality: QualityReport = field(default_factory=QualityReport)
    seconds: float = 0.0

    def merged(self, other: LoadReport) -> LoadReport:
        """Both reports as one."""
        return LoadReport(
            self.source,
            self.tickers + other.tickers,
            self.inserted + other.inserted,
            self.unchanged + other.unchanged,
            self.corrected + other.corrected,
            self.removed + other.removed,
            self.conflicting + other.conflicting,
            (self.conflicts + other.conflicts)[:3],
            self.quality.merged(other.quality),
            self.seconds + other.seconds,
        )

    def notes(self) -> list[str]:
        """A sentence for each thing that a reader of the results should know; none where all was well."""
        first = f"; first: {'; '.join(self.conflicts)}" if self.conflicts else ""
        counted = {
            f"stored bars differed from the changed file and were replaced{first}": self.corrected,
            "stored bars are no longer in the changed file and were removed": self.removed,
            f"bars differ from the stored ones, which were kept{first}": self.conflicting,
        }
        return [*self.quality.lines(), *(f"{count} {text}" for text, count in counted.items() if count)]


def ensure(
    pool: Pool,
    source: DataSource,
    tickers: Sequence[str],
    interval: str,
    start: date,
    end: date,
    progress: Progress | None = None,
    now: datetime | None = None,
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
        now: aware; default: the time. Bars that may still change are left out, and of the last days only what has come
            counts as loaded, as a source may be late.

    Raises:
        SourceError: the source cannot be read, or has no such ticker.
        DataError: the bars are not of this interval, or all of a ticker's rows were refused.
    """
    started = perf_counter()
    report = LoadReport(source.key())
    jobs = list(_jobs(pool, source, tickers, interval, start, end)) if start <= end else []
    done, total = 0, sum(len(job.tickers) for job in jobs)
    for job in jobs:
        for part in _run(pool, source, interval, job, now or datetime.now(UTC)):
            report = report.merged(part)
            done += len(part.tickers)
            if progress is not None:
                progress(done, total)
    quality = _quality(pool, report.source, tickers, interval)
    return replace(report, quality=quality, seconds=perf_counter() - started)


def _quality(pool: Pool, source: str, tickers: Sequence[str], interval: str) -> QualityReport:
    """What was found of these tickers by the loads that brought them: the same for every run."""
    with pool.connection() as connection:
        known = read_coverage(connection, source, interval, tickers)
    return merged(
        QualityReport.of(ticker, known[ticker].findings) for ticker in dict.fromkeys(tickers) if ticker in known
    )


@dataclass(frozen=True)
class _Job:
    """One batch: what to ask the source for."""

    tickers: tuple[str, ...]
    start: date
    end: date


def _jobs(
    pool: Pool, source: DataSource, tickers: Sequence[str], interval: str, start: date, end: date
) -> Iterator[_Job]:
    key = source.key()
    with pool.connection() as connection:
        known = read_coverage(connection, key, interval, tickers)
    spans: dict[tuple[date, date], list[str]] = {}
    for ticker in dict.fromkeys(tickers):
        for span in _lacking(source, ticker, interval, start, end, known.get(ticker)):
            spans.setdefault(span, []).append(ticker)
    for (first, last), names in spans.items():
        for batch in source.batches(names):
            yield _Job(batch, first, last)


def _lacking(
    source: DataSource, ticker: str, interval: str, start: date, end: date, known: Coverage | None
) -> list[tuple[date, date]]:
    """The spans to ask for, such that what is covered stays one span."""
    if source.whole:
        fresh = known is not None and known.content_hash == source.content_hash(ticker, interval)
        return [] if fresh else [(date.min, date.max)]
    if known is None:
        return [(start, end)]
    day = timedelta(days=1)
    before = [(start, known.start - day)] if start < known.start else []
    after = [(known.end + day, end)] if end > known.end else []
    return before + after


def _run(pool: Pool, source: DataSource, interval: str, job: _Job, now: datetime) -> Iterator[LoadReport]:
    """Read and check one batch, and store it transaction by transaction; a report for each."""
    offered = source.bars(job.tickers, interval, job.start, job.end)
    _check_tickers(source, offered, job)
    unasked = None if source.whole else _unasked(source, interval, offered, job, now)
    bars, found, left_out = check(
        offered, unasked, source.policies, read_held(pool, source.key(), interval, job.tickers)
    )
    del offered
    check_spacing(bars, interval)
    _check_usable(source, bars, found, job)
    actions = source.corporate_actions(job.tickers)
    for tickers, part in _parts(job.tickers, bars):
        own = tuple(action for action in actions if action.ticker in tickers)
        settled = now.date() - _SETTLED_AFTER
        batch = _Batch(source, interval, replace(job, tickers=tickers), part, found, own, settled, left_out)
        yield retry(partial(batch.store_in, pool))


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


def _check_tickers(source: DataSource, bars: Bars, job: _Job) -> None:
    strangers = {bars.tickers[code] for code in np.unique(bars.code)} - set(job.tickers)
    if strangers:
        raise SourceError(
            f"data source {source.key()} was asked for {', '.join(job.tickers[:5])} and gave bars of "
            f"{', '.join(sorted(strangers)[:5])}; bars() must return only what was asked for"
        )


def _unasked(source: DataSource, interval: str, bars: Bars, job: _Job, now: datetime) -> NDArray[np.bool_]:
    """Bars outside the dates of a job, and those that may still change: neither must be taken for loaded."""
    # An exchange's date may begin or end on the UTC date beside it.
    margin = timedelta(0) if interval == "1d" else timedelta(days=1)
    first, last = (np.datetime64(day, "D") for day in (job.start - margin, job.end + margin))
    days = bars.timestamps.astype("datetime64[D]")
    unasked: NDArray[np.bool_] = (days < first) | (days > last)
    if interval != "1d":
        final = now - STEPS[interval] - source.settle_of(interval)
        unasked |= bars.timestamps > np.datetime64(final.replace(tzinfo=None), "us")
    return unasked


def _check_usable(source: DataSource, bars: Bars, found: dict[str, QualityReport], job: _Job) -> None:
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


@dataclass(frozen=True)
class _Batch:
    """Checked bars on their way into one transaction."""

    source: DataSource
    interval: str
    job: _Job
    bars: Bars
    found: dict[str, QualityReport]
    actions: tuple[CorporateAction, ...]
    #: Exchange date up to which a source that has no bar of a session will not get one any more.
    settled: date
    #: What goes into quarantine, of these and other tickers.
    left_out: LeftOut = ()

    def store_in(self, pool: Pool) -> LoadReport:
        """Bars, splits and dividends, and coverage, in one transaction."""
        with pool.transaction() as connection:
            return self._store(connection)

    def _store(self, connection: Connection) -> LoadReport:
        key, tickers = self.source.key(), self.job.tickers
        known = read_coverage(connection, key, self.interval, tickers)
        written = write_bars(connection, key, self.interval, self.bars)
        conflicts = tuple(map(_describe, written.examples))
        report = LoadReport(key, tickers, written.inserted, written.identical, conflicts=conflicts)
        if not self.source.whole:
            report = replace(report, conflicting=written.conflicting)
        elif written.inserted < len(self.bars) or known:
            report = self._corrected(connection, report, written.conflicting)
        keep(connection, key, self.interval, tickers, self.left_out, self.source.whole)
        # The source states all that it knows: an action that it no longer has is gone.
        execute(connection, "delete_corporate_actions", self._parameters())
        write_corporate_actions(connection, key, self.actions)
        covered = (self._coverage(ticker, known.get(ticker)) for ticker in tickers)
        write_coverage(connection, key, self.interval, [each for each in covered if each is not None])
        return report

    def _corrected(self, connection: Connection, report: LoadReport, differing: int) -> LoadReport:
        """A file is the whole truth about its tickers: where it changed, they are stored anew."""
        removed = self._count(connection) - len(self.bars)
        if differing or removed:
            execute(connection, "delete_bars", self._parameters())
            write_bars(connection, self.source.key(), self.interval, self.bars)
        return replace(report, corrected=differing, removed=removed)

    def _count(self, connection: Connection) -> int:
        row = fetch_one(connection, "count_bars", self._parameters())
        assert row is not None, "count(*) gives a row"
        return int(row[0])

    def _end_of(self, ticker: str) -> date:
        """Until when the ticker is loaded: of the last days, only until its newest bar, as the source may be late."""
        if self.job.end <= self.settled:
            return self.job.end
        code = self.bars.tickers.index(ticker) if ticker in self.bars.tickers else -1
        own = self.bars.timestamps[self.bars.code == code].astype("datetime64[D]")
        newest: date = own.max().item() if len(own) else self.settled
        return min(self.job.end, max(newest, self.settled))

    def _coverage(self, ticker: str, known: Coverage | None) -> Coverage | None:
        found = self.found.get(ticker, QualityReport())
        if self.source.whole:
            own = self.bars.timestamps[self.bars.code == self.bars.tickers.index(ticker)].astype("datetime64[D]")
            content = self.source.content_hash(ticker, self.interval)
            return Coverage(ticker, own.min().item(), own.max().item(), content, found.stored())
        start, end, day = self.job.start, self._end_of(ticker), timedelta(days=1)
        if end < start:
            return known
        if known is not None and known.start <= start and end <= known.end:
            return known  # another loader was here first, and has told what there is to tell
        # Another loader may have stated a span meanwhile that does not touch this one: then this one alone is sure.
        if known is not None and start <= known.end + day and known.start <= end + day:
            start, end = min(start, known.start), max(end, known.end)
            found = QualityReport.of(ticker, known.findings).merged(found)
        return Coverage(ticker, start, end, None, found.stored())

    def _parameters(self) -> dict[str, object]:
        return {"source": self.source.key(), "bar_interval": self.interval, "tickers": list(self.job.tickers)}


def _describe(conflict: Conflict) -> str:
    stored, offered = (" ".join(map(str, values)) for values in (conflict.stored, conflict.offered))
    return f"{conflict.ticker} {conflict.timestamp:%Y-%m-%d %H:%M} UTC: stored {stored}, offered {offered}"
