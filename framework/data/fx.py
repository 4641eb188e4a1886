"""Currencies: which FX ticker tells the rate from a ticker's currency to a portfolio's, and what it was at a moment.

An FX ticker is a ticker of the data source itself, named by two currencies: ``EURUSD`` is USD per EUR. Its bars lie on
a calendar of their own: a day ends at 17:00 New York. The rate at a moment is the close of the newest bar that is
available then; it holds until the next, however long that takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framework.data.calendars import outside_sessions, timeline
from framework.data.source import DataSource
from framework.db.bars import read_panel
from framework.db.pool import Pool
from framework.db.queries import fetch_one
from framework.errors import ConfigError, DataError
from framework.model.money import rate_decimal
from framework.model.panel import Floats, Times
from framework.model.rates import Rates
from framework.model.timeline import Timeline, moment, stamp

__all__ = ["CALENDAR", "Conversion", "Pair", "Quotes", "Series", "conversion_of", "rates_on"]

#: Of all FX tickers, whatever the run's is.
CALENDAR = "FX"
#: Bars of an FX ticker that are read before the first moment that needs a rate: of these some may lie outside sessions.
_BEFORE = 5000
_BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
#: A rate that is older than a long weekend is told of.
_OLD = np.timedelta64(5, "D")


class Pair(NamedTuple):
    """Where a rate comes from: an FX ticker, as it is, or one over it."""

    ticker: str
    is_inverse: bool


@dataclass(frozen=True)
class Conversion:
    """What one portfolio has to convert.

    Attributes:
        portfolio_id: whose.
        currency: the portfolio's.
        currencies: of each of its tickers.
        pairs: of each currency that is not the portfolio's.
    """

    portfolio_id: str
    currency: str
    currencies: Mapping[str, str]
    pairs: Mapping[str, Pair]

    @property
    def fx_tickers(self) -> tuple[str, ...]:
        """The FX tickers that it needs."""
        return tuple(pair.ticker for pair in self.pairs.values())


def conversion_of(source: DataSource, portfolio_id: str, currency: str, tickers: Sequence[str]) -> Conversion | None:
    """What a portfolio has to convert; ``None``: all its tickers are in its own currency.

    A source that cannot list its tickers is taken to have the direct pair.

    Raises:
        ConfigError: the source has no pair for a currency, or its word on a currency is none.
    """
    currencies = {ticker: _currency(source, ticker) for ticker in tickers}
    pairs: dict[str, Pair] = {}
    for ticker, foreign in currencies.items():
        if foreign != currency and foreign not in pairs:
            pairs[foreign] = _pair(source, portfolio_id, ticker, foreign, currency)
    return Conversion(portfolio_id, currency, currencies, pairs) if pairs else None


def _currency(source: DataSource, ticker: str) -> str:
    found = source.currency(ticker)
    if not isinstance(found, str) or not re.fullmatch(r"[A-Z]{3}", found):
        raise ConfigError(
            f"data source {source.key()!r} says that {ticker} is in {found!r}; a currency is three capital letters"
        )
    return found


def _pair(source: DataSource, portfolio_id: str, ticker: str, foreign: str, currency: str) -> Pair:
    offered = source.tickers()
    direct, inverse = Pair(f"{foreign}{currency}", False), Pair(f"{currency}{foreign}", True)
    for pair in (direct, inverse):
        if offered is None or pair.ticker in offered:
            return pair
    raise ConfigError(
        f"portfolio {portfolio_id} is in {currency} and its ticker {ticker} in {foreign}, but data source "
        f"{source.key()!r} has neither {direct.ticker} ({currency} per {foreign}) nor {inverse.ticker}; "
        f"add one of the two to the source, or change the currency"
    )


class Series(NamedTuple):
    """The rates of one currency: from when on each is known, rising, and what it is."""

    available: Times
    rates: Floats
    is_whole: bool

    @classmethod
    def of(cls, pair: Pair, clock: Timeline, close: Floats, *, is_whole: bool = True) -> Series:
        """What the closes of a pair, shape ``(K,)``, tell; ``clock`` of the same bars.

        ``is_whole``: whether nobody will ask for rates from before them, or there are none.
        """
        there = close > 0.0  # not NaN, too
        values = close[there]
        return cls(clock.available[there], 1.0 / values if pair.is_inverse else values, is_whole)

    def places(self, moments: Times) -> NDArray[np.intp]:
        """The newest rate that is known at each moment; -1: none."""
        return np.searchsorted(self.available, moments, side="right") - 1

    def are_old(self, moments: Times) -> NDArray[np.bool_]:
        """Whether the newest rate at each moment is older than some days; not before the first, where there is none."""
        places, old = self.places(moments), np.zeros(len(moments), dtype=np.bool_)
        known = places >= 0
        old[known] = moments[known] - self.available[places[known]] > _OLD
        return old

    def at(self, moments: Times) -> Floats:
        """The rate at each moment; NaN before the first."""
        return np.concatenate((self.rates, [np.nan]))[self.places(moments)]


class Quotes:
    """The rates of one portfolio's tickers at any moment, as far as FX bars are known. Never changes."""

    def __init__(self, conversion: Conversion, series: Mapping[str, Series]) -> None:
        self._conversion, self._series = conversion, series

    def at(self, tickers: Sequence[str], moments: Times) -> Floats:
        """Units of the portfolio's currency per unit of each ticker's, shape ``(M, N)``; NaN: none is known yet."""
        rates = np.ones((len(moments), len(tickers)))
        for currency, series in self._series.items():
            columns = [n for n, ticker in enumerate(tickers) if self._conversion.currencies[ticker] == currency]
            if columns:
                rates[:, columns] = series.at(moments)[:, None]
        return rates

    def on(self, tickers: Sequence[str], clock: Timeline) -> Rates:
        """The rates of a panel's tickers at its bars."""
        known = clock.available
        return Rates(self.at(tickers, clock.opens), self.at(tickers, known), self.are_old(tickers, known))

    def are_old(self, tickers: Sequence[str], moments: Times) -> NDArray[np.bool_]:
        """Whether the rates of :meth:`at` are older than some days, shape ``(M, N)``."""
        old = np.zeros((len(moments), len(tickers)), dtype=np.bool_)
        for currency, series in self._series.items():
            columns = [n for n, ticker in enumerate(tickers) if self._conversion.currencies[ticker] == currency]
            if columns:
                old[:, columns] = series.are_old(moments)[:, None]
        return old

    def of(self, ticker: str, at: datetime) -> tuple[str, Decimal | None]:
        """A ticker's currency, and its rate at an aware moment as the books keep it; ``None``: no other, or no rate."""
        currency = self._conversion.currencies.get(ticker, self._conversion.currency)
        if currency == self._conversion.currency:
            return currency, None
        rate = float(self._series[currency].at(np.array([stamp(at)]))[0])
        return currency, None if np.isnan(rate) else rate_decimal(rate)

    def reaches(self, since: datetime) -> bool:
        """Whether it has all rates that were known at an aware moment or later."""
        begin = stamp(since)
        return all(each.is_whole or bool(each.available[:1] <= begin) for each in self._series.values())

    def notes(self, clock: Timeline, first: int) -> list[str]:
        """A sentence for each FX ticker that was late somewhere from row ``first`` on."""
        found = []
        for currency, series in self._series.items():
            pair, moments = self._conversion.pairs[currency], clock.available[first:]
            places = series.places(moments)
            if (places < 0).any():
                day = f"{moment(moments[places < 0][-1]):%Y-%m-%d}"
                found.append(f"{pair.ticker} has no rate up to {day}: what is in {currency} could not be traded before")
            age = moments[places >= 0] - series.available[places[places >= 0]]
            if (age > _OLD).any():
                days = int(age.max() // np.timedelta64(1, "D"))
                found.append(
                    f"{pair.ticker}: at {int((age > _OLD).sum())} bars the newest rate was older than "
                    f"{_OLD.astype(int)} days, up to {days}"
                )
        return found


def rates_on(
    pool: Pool,
    source: DataSource,
    conversion: Conversion,
    interval: str,
    tickers: Sequence[str],
    clock: Timeline,
    first: int,
) -> tuple[Rates, list[str]]:
    """The rates of a panel's tickers at its bars, from the database; nothing is loaded from the source.

    Returns:
        them, and a sentence for all that a reader should know: of rates that are missing or old from row ``first`` on,
        of FX bars outside the sessions of currencies, which are dropped.

    Raises:
        DataError: there is no bar of an FX ticker at all.
    """
    since, until = moment(clock.opens[0]), moment(clock.available[-1])
    series, notes = {}, []
    for currency, pair in conversion.pairs.items():
        begin = _begin(pool, source.key(), pair.ticker, interval, since)
        panel = read_panel(pool, source.key(), [pair.ticker], interval, begin, until)
        outside = outside_sessions(CALENDAR, interval, panel.timestamps)
        if outside.any():
            notes.append(f"{int(outside.sum())} bars of {pair.ticker} outside the sessions of currencies were dropped")
            panel = panel.where(~outside)
        if not len(panel):
            raise DataError(
                f"portfolio {conversion.portfolio_id} in {conversion.currency} has tickers in {currency}, but source "
                f"{source.key()} has no {interval} bar of {pair.ticker} up to {until:%Y-%m-%d} to convert them with"
            )
        known = timeline(CALENDAR, interval, panel.timestamps, source.settle_of(interval))
        series[currency] = Series.of(pair, known, panel.close[:, 0])
    quotes = Quotes(conversion, series)
    return quotes.on(tickers, clock), [*notes, *quotes.notes(clock, first)]


def _begin(pool: Pool, source: str, ticker: str, interval: str, since: datetime) -> datetime:
    asked = {"source": source, "tickers": [ticker], "bar_interval": interval, "before": since, "bars": _BEFORE}
    with pool.connection() as connection:
        row = fetch_one(connection, "bars_before", asked)
    found: datetime | None = None if row is None else row[0]
    return found or _BEGINNING
