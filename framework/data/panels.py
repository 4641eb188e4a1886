"""The bars of a run, read from PostgreSQL, cleaned, adjusted, and set on the exchange's clock."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from framework.data.adjust import Mode, adjust, positive
from framework.data.calendars import outside_sessions, reading_span, timeline, warmup_start
from framework.data.fx import Conversion, rates_on
from framework.data.notes import Range, on_actions, on_bars
from framework.data.source import DataSource
from framework.db.bars import fingerprint, read_panel
from framework.db.market import read_corporate_actions
from framework.db.pool import Pool
from framework.db.queries import fetch_all, fetch_one
from framework.errors import DataError
from framework.model.acting import Acting
from framework.model.bars import CorporateAction
from framework.model.panel import FIELDS, Floats, Panel
from framework.model.rates import Rates
from framework.model.timeline import Timeline

_BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class LoadedPanel:
    """What a backtest runs on.

    Attributes:
        panel: the bars, adjusted as asked: what strategies see.
        trade: the same bars as traded (as the source gave them, where it adjusts itself).
        timeline: of the same rows.
        first: row of the first bar whose session is at or after the run's start; the rows before are warm-up.
        actions: the splits and dividends of the tickers, as the source states them.
        notes: what a reader of the results should know, a sentence each.
        rates: to the portfolio's currency, of the same rows; None: all tickers are in it.
        currencies: of each ticker, where there are ``rates``.
        known_fingerprint: where it was taken before.
        file: that the arrays are mapped from; None: they are in memory only.
    """

    panel: Panel
    trade: Panel
    timeline: Timeline
    first: int
    actions: tuple[CorporateAction, ...]
    notes: tuple[str, ...]
    rates: Rates | None = None
    currencies: tuple[str, ...] = ()
    known_fingerprint: str = ""
    file: Path | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the bars."""
        apart: list[Floats] = [getattr(self.trade, name) for name in self.traded_apart]
        return self.panel.nbytes + sum(array.nbytes for array in apart)

    @property
    def traded_apart(self) -> tuple[str, ...]:
        """The fields of ``trade`` that are not those of ``panel``."""
        return tuple(name for name in FIELDS if getattr(self.trade, name) is not getattr(self.panel, name))

    @cached_property
    def acting(self) -> Acting:
        """Where in the panel the splits and dividends act on what is held."""
        return Acting.of(self.trade, self.timeline.session, self.actions)

    def after_warmup(self, bars: int) -> LoadedPanel:
        """The same with at most so many rows before ``first``, as views: what a smaller warm-up would have loaded."""
        start, stop = max(self.first - bars, 0), len(self.panel)
        if not start:
            return self
        panel = self.panel.rows(start, stop)
        apart = {name: getattr(self.trade, name)[start:] for name in self.traded_apart}
        return replace(
            self,
            panel=panel,
            trade=replace(panel, **apart) if apart else panel,
            timeline=self.timeline.rows(start, stop),
            first=self.first - start,
            rates=None if self.rates is None else self.rates.rows(start, stop),
            known_fingerprint="",
        )

    def fingerprint(self) -> str:
        """A hash of the bars, splits, dividends and rates that it runs on."""
        if self.known_fingerprint:
            return self.known_fingerprint
        parts = [fingerprint(self.panel).encode()]
        if self.traded_apart:
            parts.append(fingerprint(self.trade).encode())
        if self.actions:
            parts.append(repr(self.actions).encode())
        if self.rates is not None:
            parts += [self.rates.at_open.tobytes(), self.rates.at_close.tobytes()]
        return parts[0].decode() if len(parts) == 1 else hashlib.sha256(b"".join(parts)).hexdigest()


def panel_for(
    pool: Pool,
    source: DataSource,
    tickers: Sequence[str],
    interval: str,
    calendar: str,
    mode: Mode,
    start: date,
    end: date,
    warmup_bars: int = 0,
    run_tickers: Sequence[str] = (),
    conversion: Conversion | None = None,
) -> LoadedPanel:
    """Read the bars of a run, and the exchange rates beside them; nothing is loaded from the source.

    Args:
        pool: of the database.
        source: whose bars to read, by its key.
        tickers: the panel's columns, in this order.
        interval: of the bars.
        calendar: name of the exchange calendar; bars outside its sessions are dropped and counted in the notes.
        mode: what to adjust for: ``all``, ``splits`` or ``none``; prices that the source says are adjusted stay.
        start, end: exchange dates, both included.
        warmup_bars: rows wanted before ``start``; there are fewer where the source has fewer.
        run_tickers: those of the run's other panels; that the source states no splits or dividends is noted only where
            it states none of these either.
        conversion: what has to be converted to the portfolio's currency, if anything.

    Raises:
        ConfigError: the calendar is unknown.
        DataError: a ticker has no bars at all, or none of them has any from ``start`` to ``end``; names what there is.
            Or a split or dividend is not above 0.
    """
    reading = _Reading(pool, source.key(), tuple(tickers), interval, calendar, start, end)
    stored = reading.stored()
    panel, dropped = reading.panel(warmup_bars)
    clock = timeline(calendar, interval, panel.timestamps, source.settle_of(interval))
    first = _first(clock, start)
    if first == len(panel):
        raise DataError(f"there is no {interval} bar from {start} to {end}; {reading.describe(stored)}")
    run = Range(panel, clock, first, calendar, start, end)
    notes = [*dropped, *on_bars(run, stored)]
    signal = panel
    actions: tuple[CorporateAction, ...] = ()
    if source.price_kind() == "adjusted":
        notes.append(f"prices of {source.key()} were adjusted for splits and dividends before they were loaded")
    else:
        with pool.connection() as connection:
            known = read_corporate_actions(connection, source.key(), [*tickers, *run_tickers])
        actions = tuple(action for action in known if action.ticker in panel.tickers)
        for action in actions:
            positive(action)
        notes += on_actions(source.key(), mode, known=bool(known))
        signal = adjust(panel, actions, mode, clock.session)
    if conversion is None:
        return LoadedPanel(signal, panel, clock, first, actions, tuple(notes))
    rates, late = rates_on(pool, source, conversion, interval, panel.tickers, clock, first)
    currencies = tuple(conversion.currencies[ticker] for ticker in tickers)
    return LoadedPanel(signal, panel, clock, first, actions, (*notes, *late), rates, currencies)


def _first(clock: Timeline, start: date) -> int:
    return int(np.searchsorted(clock.session, np.datetime64(start, "D")))


@dataclass(frozen=True)
class _Reading:
    """One request, and how far back it has to read."""

    pool: Pool
    source: str
    tickers: tuple[str, ...]
    interval: str
    calendar: str
    start: date
    end: date

    def stored(self) -> dict[str, tuple[datetime, datetime]]:
        """First and last stored bar of each ticker.

        Raises:
            DataError: a ticker has none.
        """
        with self.pool.connection() as connection:
            rows = fetch_all(connection, "stored_range", self._parameters())
        found = {ticker: (first, last) for ticker, first, last in rows}
        missing = [ticker for ticker in self.tickers if ticker not in found]
        if missing:
            raise DataError(
                f"source {self.source} has no {self.interval} bar of {', '.join(missing)} in the database at all; "
                "check the ticker's name and the interval, or load it with `engine data backfill`"
            )
        return found

    def describe(self, stored: dict[str, tuple[datetime, datetime]]) -> str:
        """What there is, for a message."""
        spans = [f"{ticker} from {first:%Y-%m-%d} to {last:%Y-%m-%d}" for ticker, (first, last) in stored.items()]
        more = f" and {len(spans) - 5} more" if len(spans) > 5 else ""
        return f"source {self.source} has {', '.join(spans[:5])}{more}; change start, end or tickers"

    def panel(self, warmup_bars: int) -> tuple[Panel, list[str]]:
        """Bars inside sessions, with ``warmup_bars`` before ``start`` as far as there are; and what was dropped."""
        begin, finish = reading_span(self.calendar, self.interval, self.start, self.end)
        wanted = warmup_bars
        while True:
            since = self._since(begin, wanted)
            panel = read_panel(self.pool, self.source, self.tickers, self.interval, since, finish)
            panel, notes = self._inside(panel)
            before = int(np.searchsorted(panel.timestamps, np.datetime64(begin.replace(tzinfo=None), "us")))
            if before >= warmup_bars or since == _BEGINNING:
                return panel.rows(max(before - warmup_bars, 0), len(panel)), notes
            wanted *= 4  # most of what lies before is outside sessions: reach further back

    def _since(self, begin: datetime, wanted: int) -> datetime:
        """From where to read so that ``wanted`` bars lie before ``begin``, by the calendar and by what is stored."""
        if wanted == 0:
            return begin
        with self.pool.connection() as connection:
            row = fetch_one(connection, "bars_before", {**self._parameters(), "before": begin, "bars": wanted})
        if row is None or row[0] is None:
            return _BEGINNING
        by_calendar = warmup_start(self.calendar, self.interval, self.start, wanted)
        found: datetime = min(row[0], datetime(by_calendar.year, by_calendar.month, by_calendar.day, tzinfo=UTC))
        return found

    def _inside(self, panel: Panel) -> tuple[Panel, list[str]]:
        outside = outside_sessions(self.calendar, self.interval, panel.timestamps)
        if not outside.any():
            return panel, []
        count = int((~np.isnan(panel.close[outside])).sum())
        first = panel.timestamps[outside][0].astype("datetime64[m]")
        note = f"{count} bars outside the sessions of {self.calendar} were dropped, the first at {first} UTC"
        return panel.where(~outside), [note]

    def _parameters(self) -> dict[str, object]:
        return {"source": self.source, "bar_interval": self.interval, "tickers": list(self.tickers)}
