"""Checked bars on their way into the database, with splits, dividends and coverage: one transaction at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from framework.data.findings import Seen, joined
from framework.data.quality import LeftOut, QualityReport
from framework.data.source import DataSource
from framework.db.bars import write_bars
from framework.db.market import (
    Coverage,
    read_coverage,
    write_corporate_actions,
    write_coverage,
    write_instruments,
)
from framework.db.pool import Pool
from framework.db.quarantine import keep
from framework.db.types import Connection
from framework.model.bars import Bars, CorporateAction
from framework.model.quality import SUSPECT
from framework.model.quotes import Instrument

#: A session that a source does not have so long after it does not come any more.
SETTLED_AFTER = timedelta(days=7)
_LONGEST_CLOSURE = timedelta(days=12)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
        source: key of the source.
        tickers: those that were read from the source; the others were in the database already.
        inserted: bars that are new in the database.
        unchanged: bars that were there already, with the same values.
        corrected: bars whose values differed from the stored ones, which they replace; the table
            ``market_data_corrections`` keeps what they were.
        removed: stored bars that a changed file no longer has; kept there too.
        corrections: the first few bars that differed, stored against offered, in words.
        taken_back: splits and dividends that the source has stated and states no longer, or otherwise, in words.
        empty: tickers and dates of which the source gave no bar, in words.
        suspect: what looked suspect among the bars of this load, by code.
        quality: what was refused or mended of the tickers asked for, whenever they were loaded.
        seconds: in all.
    """

    source: str
    tickers: tuple[str, ...] = ()
    inserted: int = 0
    unchanged: int = 0
    corrected: int = 0
    removed: int = 0
    corrections: tuple[str, ...] = ()
    taken_back: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    suspect: Mapping[str, Seen] = field(default_factory=dict)
    quality: QualityReport = field(default_factory=QualityReport)
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """Bars that the source gave and that are in the database now."""
        return self.inserted + self.unchanged + self.corrected

    def merged(self, other: LoadReport) -> LoadReport:
        """Both reports as one."""
        return LoadReport(
            self.source,
            self.tickers + other.tickers,
            self.inserted + other.inserted,
            self.unchanged + other.unchanged,
            self.corrected + other.corrected,
            self.removed + other.removed,
            (self.corrections + other.corrections)[:3],
            self.taken_back + other.taken_back,
            self.empty + other.empty,
            joined(self.suspect, other.suspect),
            self.quality.merged(other.quality),
            self.seconds + other.seconds,
        )

    def notes(self) -> list[str]:
        """A sentence for each thing that a reader of the results should know; none where all was well."""
        found = [*self.quality.lines(), *self.changes()]
        if self.empty:
            shown, more = "; ".join(self.empty[:3]), " …" if len(self.empty) > 3 else ""
            found.append(f"the source has no bar of {shown}{more}; where that is wrong, ask --again")
        return found

    def suspicions(self) -> list[str]:
        """A sentence on each kind of suspect bar that this load brought, or that is missing in it."""
        return [
            f"{seen.count:,} × {code} of {', '.join(seen.tickers[:3])}{' …' if len(seen.tickers) > 3 else ''}: "
            f"{SUSPECT[code].means}; first: {', '.join(seen.first)}"
            for code, seen in self.suspect.items()
        ]

    def changes(self) -> list[str]:
        """A sentence each on stored bars that were corrected, and that were removed."""
        first = f"; first: {'; '.join(self.corrections)}" if self.corrections else ""
        counted = {
            f"stored bars differed from what the source has now and were corrected{first}": self.corrected,
            "stored bars are no longer in the changed file and were removed": self.removed,
        }
        found = [f"{count} {text}" for text, count in counted.items() if count]
        if self.taken_back:
            shown = "; ".join(self.taken_back[:3])
            found.append(f"{len(self.taken_back)} splits or dividends are stated no longer, or otherwise: {shown}")
        return found


@dataclass(frozen=True)
class Job:
    """What a source was asked for.

    Attributes:
        tickers: whose bars.
        start, end: exchange dates, both included.
        due: those whose splits and dividends were asked for, and what they are.
        is_for_bars: or for this only.
        is_running: the session is not over: its bars are stored, and asked for again when it is.
    """

    tickers: tuple[str, ...]
    start: date
    end: date
    due: frozenset[str] = frozenset()
    is_for_bars: bool = True
    is_running: bool = False

    def of(self, tickers: tuple[str, ...]) -> Job:
        """The same for some of the tickers."""
        return replace(self, tickers=tickers, due=self.due.intersection(tickers))


@dataclass(frozen=True)
class Batch:
    """Checked bars on their way into one transaction.

    Attributes:
        source, interval: what the bars are of.
        job: that was asked.
        bars: that were accepted.
        found: what was wrong with others, by ticker.
        left_out: bars that go into quarantine, of these and other tickers.
        actions: splits and dividends of the tickers that were due.
        instruments: currency and exchange of these.
        now: aware.
    """

    source: DataSource
    interval: str
    job: Job
    bars: Bars
    found: Mapping[str, QualityReport]
    left_out: LeftOut
    actions: tuple[CorporateAction, ...]
    instruments: tuple[Instrument, ...]
    now: datetime

    def store_in(self, pool: Pool) -> LoadReport:
        """Bars, splits and dividends, and coverage, in one transaction."""
        with pool.transaction() as connection:
            return self._store(connection)

    def _store(self, connection: Connection) -> LoadReport:
        key, tickers = self.source.key(), self.job.tickers
        known = read_coverage(connection, key, self.interval, tickers)
        # A file is the whole truth about its tickers.
        complete = tickers if self.source.whole else ()
        written = write_bars(connection, key, self.interval, self.bars, complete=complete)
        keep(connection, key, self.interval, tickers, self.left_out, self.source.whole)
        counts = written.inserted, written.identical, written.corrected, written.removed
        report = LoadReport(key, tickers, *counts, corrections=tuple(map(str, written.examples)))
        due = sorted(self.job.due)
        gone = write_corporate_actions(connection, key, due, self.actions) if due else ()
        report = replace(report, taken_back=tuple(f"{e.ticker} {e.kind} {e.value:f} of {e.ex_date}" for e in gone))
        report = replace(report, empty=tuple(self._empty()))
        write_instruments(connection, self.instruments)
        covered = [] if self.job.is_running else [self._coverage(ticker, known.get(ticker)) for ticker in tickers]
        write_coverage(connection, key, self.interval, [each for each in covered if each is not None])
        return report

    def _empty(self) -> Iterator[str]:
        """Tickers that have no bar in more days than any exchange is closed for."""
        job = self.job
        if self.source.whole or not job.is_for_bars or job.is_running or job.end - job.start < _LONGEST_CLOSURE:
            return
        there = {self.bars.tickers[code] for code in set(self.bars.code.tolist())}
        yield from (f"{ticker} from {job.start} to {job.end}" for ticker in job.tickers if ticker not in there)

    def _end_of(self, ticker: str, known: Coverage | None) -> date:
        """Until when the ticker is loaded: of the last days, only until its newest bar, as the source may be late."""
        settled = self.now.date() - SETTLED_AFTER
        if self.job.end <= settled or (known is not None and self.job.end + _DAY == known.start):
            return self.job.end
        code = self.bars.tickers.index(ticker) if ticker in self.bars.tickers else -1
        own = self.bars.timestamps[self.bars.code == code].astype("datetime64[D]")
        newest: date = own.max().item() if len(own) else settled
        return min(self.job.end, max(newest, settled))

    def _coverage(self, ticker: str, known: Coverage | None) -> Coverage | None:
        found = self.found.get(ticker, QualityReport())
        read_at = self.now if ticker in self.job.due else None
        if self.source.whole:
            own = self.bars.timestamps[self.bars.code == self.bars.tickers.index(ticker)].astype("datetime64[D]")
            content = self.source.content_hash(ticker, self.interval)
            return Coverage(ticker, own.min().item(), own.max().item(), content, found.stored(), read_at)
        start, end = self.job.start, self._end_of(ticker, known) if self.job.is_for_bars else date.min
        if end < start or (known is not None and known.start <= start and end <= known.end):
            # Nothing that counts; or another loader was here first, and has told what there is to tell.
            return known and replace(known, actions_read_at=read_at)
        # Another loader may have stated a span meanwhile that does not touch this one: then this one alone is sure.
        if known is not None and start <= known.end + _DAY and known.start <= end + _DAY:
            start, end = min(start, known.start), max(end, known.end)
            found = QualityReport.of(ticker, known.findings).merged(found)
        return Coverage(ticker, start, end, None, found.stored(), read_at)
