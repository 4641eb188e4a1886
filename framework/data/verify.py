"""Checking what the database holds: each series against calendar, neighbours, splits, and what counts as loaded.

Bars are read piece by piece, so that memory does not grow with them. What is said of a bar or a session does not depend
on where the pieces are cut: there is always enough around what is judged.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from time import perf_counter

import numpy as np

from framework.data.adjustment_check import compare_adjusted
from framework.data.calendars import STEPS, Sessions, check_calendar, covering
from framework.data.findings import EXAMPLES, Finding, Seen, words_of
from framework.data.pieces import Piece, Read, dates_of, findings_of, pieces
from framework.data.quote_bars import QUOTES
from framework.data.source import DataSource
from framework.db.bars import read_panel
from framework.db.market import read_corporate_actions
from framework.db.pool import Pool
from framework.db.quarantine import Quarantined, list_quarantine, put, take_out
from framework.db.series import Series, list_series, stored_range
from framework.errors import ConfigError, DataError
from framework.model.bars import Bars
from framework.model.quality import SUSPECT, Policy, policy_of

#: Called with (series done, a fraction included; series to do). What it raises ends the check there.
Progress = Callable[[float, int], None]
#: Relative.
_ADJUSTMENT_TOLERANCE = 1e-4
#: A piece spans so many bars at most, if there were one at every moment.
_PIECE_BARS = 260_000
_EARLY = 10
_CURRENCIES = "AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|ILS|INR|JPY|KRW|MXN|NOK|NZD|PLN|SEK|SGD|THB|TRY|TWD|USD|ZAR"
_PAIR = re.compile(f"(?:{_CURRENCIES}){{2}}")


@dataclass(frozen=True)
class Asked:
    """What to verify.

    Attributes:
        source: ``None``: all.
        tickers: none: all.
        interval: ``None``: all.
        calendar: of all of them; ``None``: that of ``instruments``, else FX for pairs of currencies, else XNYS.
        policies: what is done with suspect bars, where it is not the default's.
        currency: tells what the source says a ticker is in, where that can be asked.
        adjusted_by: is asked for its own adjusted closes of daily bars, to compare with ours.
    """

    source: str | None = None
    tickers: tuple[str, ...] = ()
    interval: str | None = None
    calendar: str | None = None
    policies: Mapping[str, Policy] = field(default_factory=dict)
    currency: Callable[[str], str] | None = None
    adjusted_by: DataSource | None = None


@dataclass(frozen=True)
class Verified:
    """What a check found.

    Attributes:
        series: how many there are (source, ticker, interval).
        bars: how many were looked at.
        found: by code, in the order of :data:`framework.model.quality.SUSPECT`.
        quarantine: what is in quarantine now.
        calendars: how many series were held against each.
        unchecked: series that were not held against a calendar, and why.
        seconds: in all.
    """

    series: int
    bars: int
    found: Mapping[str, Seen]
    quarantine: tuple[Quarantined, ...]
    calendars: Mapping[str, int]
    unchecked: Mapping[str, str]
    seconds: float

    def urgent(self) -> tuple[str, ...]:
        """The codes that make results wrong until something is done."""
        return tuple(
            code for code, seen in self.found.items() if SUSPECT[code].is_urgent and seen.taken_out < seen.count
        )


def verify(pool: Pool, asked: Asked, progress: Progress | None = None) -> Verified:
    """Check stored bars. Nothing is changed, unless ``asked.policies`` says that suspect bars are taken out.

    Args:
        pool: of the database.
        asked: what to look at.
        progress: called after each piece.

    Raises:
        ConfigError: ``asked.calendar`` is unknown.
        DataError: of what was asked for nothing was ever loaded.
    """
    started = perf_counter()
    if asked.calendar is not None:
        check_calendar(asked.calendar)
    listed = list_series(pool, asked.source, asked.interval, asked.tickers)
    absent = sorted(set(asked.tickers) - {series.ticker for series in listed})
    if absent:
        raise DataError(f"nothing of {', '.join(absent[:10])} is in the database; `engine data coverage` lists what is")
    check = _Check(pool, asked, len(listed), progress)
    for done, series in enumerate(listed):
        check.series(done, series)
    found = {code: check.found[code] for code in SUSPECT if code in check.found}
    held = tuple(list_quarantine(pool, asked.source, asked.interval, asked.tickers))
    return Verified(
        len(listed), check.bars, found, held, dict(check.calendars), check.unchecked, perf_counter() - started
    )


class _Check:
    """A check under way."""

    def __init__(self, pool: Pool, asked: Asked, total: int, progress: Progress | None) -> None:
        self._pool, self._asked, self._total, self._progress = pool, asked, total, progress
        self.bars = 0
        self.found: dict[str, Seen] = {}
        self.calendars: Counter[str] = Counter()
        self.unchecked: dict[str, str] = {}

    def series(self, done: int, series: Series) -> None:
        """Look at all bars of a series, and take out what the policies say."""
        stored = stored_range(self._pool, series)
        if stored is None:
            if series.start is not None:
                self._tell(series, "covered without bars", 1, f"{series.ticker} {series.start} to {series.end}")
            self._report(done + 1)
            return
        self._check_currency(series)
        self._check_adjustment(series, stored)
        begin, last = (np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us") for moment in stored)
        known = self._sessions(series, begin, last)
        with self._pool.connection() as connection:
            actions = read_corporate_actions(connection, series.source, [series.ticker])
        splits = [action for action in actions if action.kind == "split"]
        suspect: dict[str, list[Bars]] = {}
        span = np.timedelta64(STEPS[series.interval], "us") * _PIECE_BARS
        for piece in pieces(_reader(self._pool, series), begin, last, span):
            self.bars += piece.stop - piece.first
            found = findings_of(piece, series.interval, known, splits, begin, last)
            for finding in found + _uncovered(series, piece):
                self._tell(series, finding.code, finding.count, *words_of(series.ticker, series.interval, finding))
                if len(finding.rows) and policy_of(self._asked.policies, finding.code) != "warn":
                    suspect.setdefault(finding.code, []).append(piece.bars.take(finding.rows))
            self._report(done + float((piece.until - begin) / (last - begin)) if last > begin else done + 1)
        if known is not None and series.end is not None:
            since = (known.dates > _date_of(known, series.interval, last)) & (known.dates <= np.datetime64(series.end))
            if int(since.sum()) > _EARLY:
                self._tell(series, "ends early", 1, f"{series.ticker} {_day(last)}, loaded to {series.end}")
        self._take_out(series, suspect)

    def _report(self, done: float) -> None:
        if self._progress is not None:
            self._progress(done, self._total)

    def _tell(self, series: Series, code: str, count: int, *first: str) -> None:
        seen = Seen(count, (series.ticker,), first[:EXAMPLES])
        self.found[code] = self.found[code].merged(seen) if code in self.found else seen

    def _check_currency(self, series: Series) -> None:
        if self._asked.currency is None or series.currency is None:
            return
        stated = self._asked.currency(series.ticker)
        if stated != series.currency:
            words = f"{series.ticker} is in {stated} for the source, in {series.currency} for instruments"
            self._tell(series, "currency mismatch", 1, words)

    def _check_adjustment(self, series: Series, stored: tuple[datetime, datetime]) -> None:
        source = self._asked.adjusted_by
        if source is None or series.interval != "1d" or series.source != source.key():
            return
        first, last = (moment.astimezone(UTC).date() for moment in stored)
        for found in compare_adjusted(self._pool, source, [series.ticker], first, last):
            if found.largest > _ADJUSTMENT_TOLERANCE:
                words = f"{found.ticker} {found.day} ({found.largest:.3%}; it changes on {found.breaks_at})"
                self._tell(series, "adjustment differs", 1, words)

    def _sessions(self, series: Series, begin: np.datetime64, last: np.datetime64) -> Sessions | None:
        """The sessions of a series and those around it; ``None``: its calendar does not know these dates."""
        calendar = self._asked.calendar or _calendar_of(series)
        first, until = _date(begin), _date(last)
        if series.end is not None:
            until = max(until, series.end)
        try:
            known = covering(calendar, first, until, timedelta(days=15))
        except (ConfigError, DataError) as error:
            self.unchecked[f"{series.source} {series.ticker} {series.interval}"] = str(error)
            return None
        self.calendars[calendar] += 1
        return known if len(known.dates) else None

    def _take_out(self, series: Series, suspect: Mapping[str, Sequence[Bars]]) -> None:
        """Take suspect bars out, each under its first code, in one transaction: into quarantine, or for good."""
        gone = np.empty(0, dtype="datetime64[us]")
        with self._pool.transaction() as connection:
            for code, parts in suspect.items():
                bars = Bars.joined(parts)
                bars = bars.take(~np.isin(bars.timestamps, gone))
                gone = np.concatenate((gone, bars.timestamps))
                if policy_of(self._asked.policies, code) == "quarantine":
                    put(connection, series.source, series.interval, code, bars)
                count = take_out(connection, series.source, series.interval, series.ticker, bars)
                seen = self.found[code]
                self.found[code] = Seen(seen.count, seen.tickers, seen.first, seen.taken_out + count)


def _reader(pool: Pool, series: Series) -> Read:
    def read(start: np.datetime64, end: np.datetime64) -> Bars:
        panel = read_panel(pool, series.source, [series.ticker], series.interval, _utc(start), _utc(end))
        columns = (getattr(panel, name)[:, 0] for name in ("open", "high", "low", "close", "volume"))
        return Bars(panel.tickers, np.zeros(len(panel), dtype=np.int32), panel.timestamps, *columns)

    return read


def _uncovered(series: Series, piece: Piece) -> list[Finding]:
    """Bars outside the dates that count as loaded; those of quotes never do."""
    if series.source.endswith(QUOTES):
        return []
    dates = piece.bars.timestamps[piece.first : piece.stop].astype("datetime64[D]")
    # An exchange's date may begin or end on the UTC date beside it.
    margin = np.timedelta64(0 if series.interval == "1d" else 1, "D")
    start, end = np.datetime64(series.start or date.max), np.datetime64(series.end or date.min)
    # A session that is not over counts only when it is, and the one before it may be some days back.
    running = np.timedelta64(0 if series.interval == "1d" else 10, "D")
    rows = np.flatnonzero((dates + margin < start) | (dates - margin - running > end))
    if not len(rows):
        return []
    loaded = f"loaded is {series.start} to {series.end}" if series.start else "nothing counts as loaded"
    return [Finding("outside coverage", len(rows), ((piece.bars.timestamps[piece.first + rows[0]], loaded),))]


def _date_of(known: Sessions, interval: str, moment: np.datetime64) -> np.datetime64:
    found: np.datetime64 = dates_of(np.array([moment]), known, interval)[0]
    return found


def _calendar_of(series: Series) -> str:
    try:
        if series.exchange is not None:
            check_calendar(series.exchange)
            return series.exchange
    except ConfigError:
        pass  # the name of an exchange that is no calendar's, such as NASDAQ
    return "FX" if _PAIR.fullmatch(series.ticker) else "XNYS"


def _day(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[D]"))


def _date(moment: np.datetime64) -> date:
    return _utc(moment).date()


def _utc(moment: np.datetime64) -> datetime:
    naive: datetime = moment.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)
