"""Bars made of polled quotes, for those who cannot wait until the source's own bars are final.

They have a source of their own, ``fmp:quotes``, and are never mixed with the official ones (trading-rules 4). A bar in
the making is a row of ``market_data_provisional``; it moves to ``market_data`` in the transaction that finishes it, so
that a kill at any moment neither loses nor doubles one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from framework.data.calendars import STEPS, covering
from framework.data.ingest import Poll
from framework.data.source import DataSource
from framework.db.bars import write_bars
from framework.db.pool import Pool
from framework.db.provisional import ProvisionalBar, read_provisional, write_provisional
from framework.db.types import Connection
from framework.errors import ConfigError
from framework.model.bars import Bars
from framework.model.quotes import Quote, Quotes
from framework.model.timeline import moment, stamp

#: What the key of a source of quotes ends with.
QUOTES = ":quotes"
#: No exchange closes for longer.
_AHEAD = timedelta(days=20)
_DAY = timedelta(days=1)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class QuoteWatch:
    """What quotes are polled.

    Attributes:
        tickers: whose; none where ``exchange`` is given.
        exchange: all tickers of it, by the source's name.
        interval: of the bars that are made; intraday.
        calendar: outside whose sessions quotes are left out.
        every: how often the source is asked.
    """

    tickers: tuple[str, ...]
    exchange: str | None
    interval: str
    calendar: str
    every: timedelta


class QuoteIngestor:
    """Makes bars of polled quotes; for one thread.

    Args:
        pool: of the database.
        source: is asked.
        watch: what for.

    Raises:
        ConfigError: a bar of a day cannot be made of quotes.
    """

    def __init__(self, pool: Pool, source: DataSource, watch: QuoteWatch) -> None:
        if watch.interval == "1d":
            raise ConfigError("bars of a day cannot be made of quotes; use --interval 1min … 4h, or leave out --quotes")
        self._pool, self._source, self._watch = pool, source, watch
        self._key, self._step = f"{source.key().removesuffix(QUOTES)}{QUOTES}", STEPS[watch.interval]
        self._last_poll = _NEVER

    def describe(self) -> str:
        """What is watched, in words."""
        what = self._watch.exchange or ", ".join(self._watch.tickers[:5])
        return f"{self._watch.interval} bars of quotes of {what}, as {self._key}"

    def next_due(self, after: datetime) -> datetime:
        """The next moment to ask at: every so often in a session, and once after it, to finish its last bar."""
        known = covering(self._watch.calendar, after.date() - _DAY, after.date(), _AHEAD)
        ends = known.closes + np.timedelta64(self._grace(), "us")
        at = int(np.searchsorted(ends, stamp(after), side="right"))
        return min(max(after + self._watch.every, moment(known.opens[at])), moment(ends[at]))

    def poll(self, now: datetime) -> Poll:
        """Ask once, and write the bars that are finished by it.

        Raises:
            SourceUnavailable, DatabaseUnavailable: for the moment.
            EngineError: another one that trying again does not mend.
        """
        self._source.share_limit(self._pool)
        watch = self._watch
        if watch.exchange is None:
            quotes = self._source.quotes(watch.tickers)
        else:
            quotes = self._source.exchange_quotes(watch.exchange)
        with self._pool.transaction() as connection:
            inserted = self._take_in(connection, quotes, now)
        return Poll(inserted, unavailable=dict(quotes.missing))

    def _grace(self) -> timedelta:
        """How long after its end a bar waits for quotes of it."""
        return 2 * self._watch.every

    def _take_in(self, connection: Connection, quotes: Quotes, now: datetime) -> int:
        making = read_provisional(connection, self._key, self._watch.interval)
        last_poll = max([self._last_poll, *(bar.polled_at for bar in making.values())])
        was_watched = now - last_poll <= max(self._step, 3 * self._watch.every)
        changed: dict[str, ProvisionalBar] = {}
        finished: list[ProvisionalBar] = []
        for quote, start in self._placed(quotes.found.values(), now):
            bar = making.get(quote.ticker)
            if bar is not None and (quote.time <= bar.quoted_at or start < bar.timestamp):
                continue  # nothing was traded since
            if bar is not None and start == bar.timestamp and bar.is_written:
                continue  # too late: what is written stays
            if bar is not None and start > bar.timestamp and not bar.is_written:
                finished.append(bar)
            traded = _traded(bar, quote) if was_watched else 0.0
            making[quote.ticker] = changed[quote.ticker] = _with(bar, quote, start, traded, now)
        for ticker, bar in making.items():
            if not bar.is_written and bar.timestamp + self._step + self._grace() <= now:
                finished.append(bar)
                changed[ticker] = replace(bar, is_written=True, polled_at=now)
        write_provisional(connection, self._key, self._watch.interval, list(changed.values()))
        inserted = write_bars(connection, self._key, self._watch.interval, _as_bars(finished)).inserted
        self._last_poll = now
        return inserted

    def _placed(self, quotes: Iterable[Quote], now: datetime) -> Iterator[tuple[Quote, datetime]]:
        """Quotes of the calendar's sessions and not of the future, oldest first, with the start of the bar of each."""
        found = sorted((quote for quote in quotes if quote.time <= now), key=lambda quote: quote.time)
        if not found:
            return
        times = np.array([stamp(quote.time) for quote in found])
        known = covering(self._watch.calendar, found[0].time.date() - _DAY, found[-1].time.date(), _AHEAD)
        at = np.searchsorted(known.closes, times, side="right")
        step = np.timedelta64(self._step, "us")
        starts = times - (times - known.opens[at]) % step
        for quote, start, is_inside in zip(found, starts, known.opens[at] <= times, strict=True):
            if is_inside:
                yield quote, moment(start)


def _with(bar: ProvisionalBar | None, quote: Quote, start: datetime, traded: float, now: datetime) -> ProvisionalBar:
    """The bar that a quote is in, with it."""
    price, day_volume = quote.price, float(np.nan_to_num(quote.volume))
    if bar is None or bar.timestamp != start:
        return ProvisionalBar(quote.ticker, start, price, price, price, price, traded, day_volume, quote.time, now)
    return replace(
        bar,
        high_price=max(bar.high_price, price),
        low_price=min(bar.low_price, price),
        close_price=price,
        volume=bar.volume + traded,
        day_volume=day_volume,
        quoted_at=quote.time,
        polled_at=now,
    )


def _traded(bar: ProvisionalBar | None, quote: Quote) -> float:
    """Shares traded since the last quote, where both are of one session."""
    if bar is None or not quote.volume >= bar.day_volume:
        return 0.0
    return quote.volume - bar.day_volume


def _as_bars(finished: Sequence[ProvisionalBar]) -> Bars:
    tickers = tuple(dict.fromkeys(bar.ticker for bar in finished))
    code = {ticker: number for number, ticker in enumerate(tickers)}
    columns = {
        name: np.array([getattr(bar, attribute) for bar in finished], np.float64)
        for name, attribute in (
            ("open", "open_price"),
            ("high", "high_price"),
            ("low", "low_price"),
            ("close", "close_price"),
            ("volume", "volume"),
        )
    }
    codes = np.array([code[bar.ticker] for bar in finished], np.int32)
    times = np.array([stamp(bar.timestamp) for bar in finished], dtype="datetime64[us]")
    return Bars(tickers, codes, times, **columns)
