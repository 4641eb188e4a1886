"""The currencies of a run: what each portfolio converts, the FX tickers that it takes, and these as they become known.

FX tickers are loaded beside those of the portfolios; no strategy sees them, nothing trades them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Protocol

from framework.data.backfill import final_end
from framework.data.feed import Feed
from framework.data.fx import CALENDAR, Conversion, Quotes, Series, conversion_of
from framework.data.load import Progress, ensure
from framework.data.source import DataSource
from framework.data.store import LoadReport
from framework.db.pool import Pool
from framework.db.types import Connection


class LiveRates(Protocol):
    """Gives the exchange rates of one portfolio as they are known at a moment."""

    def __call__(self, connection: Connection, now: datetime, since: datetime | None = None) -> Quotes:
        """The newest; from ``since`` on, at least.

        Args:
            connection: in a transaction of isolation repeatable read.
            now: aware; what becomes known later is not seen.
            since: aware.
        """


#: So long before the first bar rates are loaded: even that needs one that was known before.
_BEFORE = timedelta(days=14)


class Currencies:
    """What the portfolios of one run convert.

    Args:
        source: of the prices, which names their currencies and has the FX tickers.
        interval: of the bars, of FX tickers too.
    """

    def __init__(self, source: DataSource, interval: str) -> None:
        self._source, self._interval = source, interval
        self._conversions: dict[str, Conversion] = {}
        self._feeds: dict[int, Feed] = {}

    def add(self, portfolio_id: str, currency: str, tickers: Sequence[str]) -> None:
        """Take in a portfolio.

        Raises:
            ConfigError: the source has no pair of a ticker's currency and the portfolio's.
        """
        found = conversion_of(self._source, portfolio_id, currency, tickers)
        if found is not None:
            self._conversions[portfolio_id] = found

    def of(self, portfolio_id: str) -> Conversion | None:
        """What a portfolio converts; ``None``: nothing."""
        return self._conversions.get(portfolio_id)

    @property
    def fx_tickers(self) -> tuple[str, ...]:
        """All FX tickers that are needed."""
        needed = [ticker for conversion in self._conversions.values() for ticker in conversion.fx_tickers]
        return tuple(dict.fromkeys(needed))

    def first_date(self, start: date) -> date:
        """From when on their bars are needed for prices that begin at ``start``."""
        return start - _BEFORE

    def ensure(self, pool: Pool, start: date, end: date, progress: Progress | None = None) -> LoadReport:
        """Have their bars from some days before ``start`` to ``end`` in the database.

        Raises:
            SourceError: the source cannot be read, or has no such ticker.
            DataError: the bars cannot be used.
        """
        if not self._conversions:
            return LoadReport(self._source.key())
        # Their sessions end at other times than those of stocks.
        until = final_end(self._source, self._interval, CALENDAR, end)
        return ensure(
            pool,
            self._source,
            self.fx_tickers,
            self._interval,
            self.first_date(start),
            until,
            progress,
            calendar=CALENDAR,
        )

    def live(self, portfolio_id: str, bars: int) -> LiveRates | None:
        """Gives the rates of a portfolio at a moment, for windows of so many bars; ``None``: it needs none.

        Portfolios that ask for the same share what is in memory.
        """
        conversion = self.of(portfolio_id)
        if conversion is None:
            return None
        # Currencies trade on more days than stocks, and round the clock: with so many, further looks back are rare.
        kept = 2 * bars + 2000
        if kept not in self._feeds:
            self._feeds[kept] = Feed(self._source, self.fx_tickers, self._interval, CALENDAR, "none", kept)
        return partial(_read, conversion, self._feeds[kept], kept)


def _read(
    conversion: Conversion, feed: Feed, bars: int, connection: Connection, now: datetime, since: datetime | None = None
) -> Quotes:
    while True:
        market = feed.refresh(connection, now)
        series = {}
        for currency, pair in conversion.pairs.items():
            window = market.window([pair.ticker], bars)
            is_whole = len(window.timeline) < bars
            series[currency] = Series.of(pair, window.timeline, window.trade.close[:, 0], is_whole=is_whole)
        quotes = Quotes(conversion, series)
        if since is None or quotes.reaches(since):
            return quotes
        bars *= 4
        feed = feed.deeper(conversion.fx_tickers, bars)
