"""The data source ``fmp``: Financial Modeling Prep, its "stable" API."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np

from framework import (
    Bars,
    ConfigError,
    CorporateAction,
    DataSource,
    Floats,
    Instrument,
    Quote,
    Quotes,
    RestSource,
    SourceError,
    SourceUnavailable,
    TickerUnavailable,
    Times,
    hookimpl,
)

#: Our names of intervals, and those of the API.
_INTRADAY = {"1min": "1min", "5min": "5min", "15min": "15min", "30min": "30min", "1h": "1hour", "4h": "4hour"}
#: Days as traded: whatever the names of the fields say, this series is not adjusted at all.
_EOD = "non-split-adjusted"
_EOD_FIELDS = {"open": "adjOpen", "high": "adjHigh", "low": "adjLow", "close": "adjClose"}
#: Intraday times are this zone's wall clock, for FX and crypto too.
_ZONE = "America/New_York"
#: When the day of currencies begins there.
_EVENING = "17:00:00"
_MINUTE_LIMIT_SECONDS = 20.0
#: Tickers in one request for quotes; no limit is known, but a URL should stay short.
_QUOTES_AT_ONCE = 100

_AMERICAN = re.compile(r"[A-Z]{1,5}(-[A-Z]{1,2})?")
_PAIR = re.compile(r"[A-Z]{6}")


class Fmp(RestSource):
    """Bars as traded, quotes, dividends, splits and currencies of Financial Modeling Prep.

    The key comes from ``api_key`` or, where that is left out, from the environment variable ``FMP_API_KEY``.
    """

    api_key: str = ""
    base_url: str = "https://financialmodelingprep.com/stable"
    #: ``quotes``: bars that ``engine data ingest`` makes of polled quotes; they come at once, and have no history.
    feed: Literal["official", "quotes"] = "official"

    #: Longer ranges are cut to their newest part by the API. Of its windows of days, the first is asked for in vain: it
    #: may lack its first bar. Of days, the newest 5,000 are answered: less than 13 years of crypto, which never rests.
    spans: ClassVar[Mapping[str, int]] = {
        "1min": 2,
        "5min": 9,
        "15min": 44,
        "30min": 29,
        "1h": 89,
        "4h": 179,
        "1d": 13 * 365,
    }
    requests_for_actions: ClassVar[int] = 2

    def check(self) -> None:
        """Take the key from the environment where the parameter is left out."""
        self.api_key = (self.api_key or os.environ.get("FMP_API_KEY", "")).strip()
        if not self.api_key:
            raise ConfigError("data source fmp: there is no API key; set FMP_API_KEY, or params: {api_key: ${…}}")
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ConfigError("data source fmp: the API key has characters that no key has; set FMP_API_KEY again")
        #: Those that were asked for.
        self._known: dict[str, Instrument] = {}

    def key(self) -> str:
        """``fmp``; of bars made of quotes ``fmp:quotes``."""
        return "fmp" if self.feed == "official" else "fmp:quotes"

    def settle_of(self, interval: str) -> timedelta:
        """A bar is changed for some minutes after its end, the day's for longer; one made of quotes is not."""
        if self.feed == "quotes":
            return timedelta(0)
        return timedelta(minutes=60) if interval == "1d" else timedelta(minutes=5)

    def headers(self) -> Mapping[str, str]:
        """The key, which would be in logs if it stood in the URL."""
        return {"apikey": self.api_key}

    def problem(self, status: int, text: str) -> SourceError | None:
        """What the API's refusals mean, and what to do."""
        text = text.replace(self.api_key, "…")  # some servers repeat what they were asked
        said = _error_message(text)
        if status == 429 or "Limit Reach" in said:
            return SourceUnavailable(
                "FMP's limit of requests is reached: lower requests_per_minute (all programs that use the key count "
                "together), or, where the plan's day is used up, go on tomorrow or with a larger plan",
                wait_seconds=_MINUTE_LIMIT_SECONDS,
            )
        if status == 401 or "Invalid API KEY" in said:
            raise ConfigError("FMP does not know this API key; check FMP_API_KEY (or params.api_key) for typing errors")
        if status == 402:
            return _not_in_plan(said)
        if status == 403:
            return SourceError(
                "FMP refused the request (HTTP 403): the key is blocked, or base_url is of the old API; "
                f"it has to end with /stable and was {self.base_url}"
            )
        if status == 404:
            return SourceError(f"FMP has no such address (HTTP 404) below {self.base_url}; check base_url")
        if status < 400 and said:
            return SourceError(f"FMP answered with an error: {said[:200]}")
        if status < 400 and not text.strip():
            return SourceUnavailable("FMP gave an empty answer")
        return super().problem(status, text)

    def requests_for(self, interval: str, start: date, end: date) -> int:
        """See :meth:`DataSource.requests_for`."""
        return 0 if self.feed == "quotes" else super().requests_for(interval, start, end)

    def bars(self, tickers: Sequence[str], interval: str, start: date, end: date) -> Bars:
        """See :meth:`DataSource.bars`; of quotes none, as nobody has those of the past."""
        if self.feed == "official":
            return super().bars(tickers, interval, start, end)
        if interval == "1d":
            raise SourceError("feed: quotes of fmp has no daily bars; set interval to 1min … 4h, or leave feed out")
        return Bars.joined([])

    def fetch(self, ticker: str, interval: str, start: date, end: date) -> Bars:
        """Bars of at most the days of :attr:`spans`, as traded."""
        is_daily = interval == "1d"
        rows = self._daily(_EOD, ticker, start, end) if is_daily else self._intraday(ticker, interval, start, end)
        if not rows:
            self._require(ticker)  # an unknown one has no bars either
        if is_daily:
            return self.bars_of(ticker, rows, fields=_EOD_FIELDS)
        return self.bars_of(ticker, rows, timezone=_ZONE)

    def fetch_actions(self, ticker: str) -> Iterator[CorporateAction]:
        """All splits and dividends; an amount is as paid, before later splits."""
        for row in self._rows("splits", symbol=ticker):
            if row.get("splitType") == "spin-off":
                continue  # shares of another company, not more of this one
            ratio = _positive(row, "numerator", ticker) / _positive(row, "denominator", ticker)
            yield CorporateAction(ticker, _day(row, ticker), "split", round(ratio, 12))
        paid: dict[date, Decimal] = {}
        for row in self._rows("dividends", symbol=ticker):
            if row.get("dividend"):
                day = _day(row, ticker)  # a special dividend may fall on the day of a regular one
                paid[day] = paid.get(day, Decimal(0)) + _positive(row, "dividend", ticker)
        yield from (CorporateAction(ticker, day, "dividend", round(amount, 12)) for day, amount in paid.items())

    def currency(self, ticker: str) -> str:
        """USD of a ticker without a suffix, which is of an American exchange; of a pair such as ``EURUSD``, the second.

        Foreign tickers (``TTE.PA``) and indices are asked for.

        Raises:
            TickerUnavailable: the API knows no such ticker.
        """
        return self.instrument(ticker).currency

    def instrument(self, ticker: str) -> Instrument:
        """Currency and exchange; of Americans no exchange, as they are not asked for.

        Raises:
            TickerUnavailable: the API knows no such ticker.
        """
        if _AMERICAN.fullmatch(ticker):
            return Instrument(ticker, "USD")
        if _PAIR.fullmatch(ticker):
            return Instrument(ticker, ticker[-3:])
        return self._require(ticker)

    def adjusted_closes(self, ticker: str, start: date, end: date) -> tuple[Times, Floats]:
        """See :meth:`DataSource.adjusted_closes`: adjusted as of today, rounded as the API likes."""
        found: dict[date, float] = {}
        for first, last in self.parts("1d", start, end):
            for row in self._daily("dividend-adjusted", ticker, first, last):
                if row.get("adjClose") is not None:
                    found[_day(row, ticker)] = float(_positive(row, "adjClose", ticker))
        days = sorted(found)
        return np.array(days, "datetime64[D]"), np.array([found[day] for day in days], np.float64)

    def quotes(self, tickers: Sequence[str]) -> Quotes:
        """See :meth:`DataSource.quotes`: a hundred tickers to a request."""
        wanted = tuple(dict.fromkeys(tickers))
        if len(wanted) == 1:
            try:
                return _quotes(self._rows("quote", symbol=wanted[0]), wanted)
            except TickerUnavailable as error:
                return Quotes({}, {wanted[0]: str(error)})
        parts = [wanted[at : at + _QUOTES_AT_ONCE] for at in range(0, len(wanted), _QUOTES_AT_ONCE)]
        answers = self._in_parallel(lambda part: self._rows("batch-quote", symbols=",".join(part)), parts)
        return _quotes([row for rows in answers for row in rows], wanted)

    def exchange_quotes(self, exchange: str) -> Quotes:
        """See :meth:`DataSource.exchange_quotes`: ``NASDAQ``, ``NYSE`` …"""
        rows = self._rows("batch-exchange-quote", exchange=exchange, short="false")
        if not rows:
            raise SourceError(
                f"FMP has no quotes of an exchange {exchange!r}; its names are such as NASDAQ, NYSE, AMEX"
            )
        return _quotes(rows)

    def _require(self, ticker: str) -> Instrument:
        """What the API states of a ticker, asked for once; USD where it states no currency.

        Raises:
            TickerUnavailable: it knows no such ticker.
        """
        if ticker not in self._known:
            found = self._rows("profile", symbol=ticker) or self._rows("quote", symbol=ticker)
            if not found:
                hint = f"; class shares are written with a hyphen: {ticker.replace('.', '-')}" if "." in ticker else ""
                raise TickerUnavailable(f"FMP knows no ticker {ticker!r}{hint}")
            exchange, currency = found[0].get("exchange"), str(found[0].get("currency") or "USD")
            if not re.fullmatch(r"[A-Z]{3}", currency):
                raise TickerUnavailable(
                    f"{ticker}: FMP quotes it in {currency!r}, which is no currency of three letters"
                )
            self._known[ticker] = Instrument(ticker, currency, exchange or None)
        return self._known[ticker]

    def _daily(self, kind: str, ticker: str, start: date, end: date) -> Sequence[Mapping[str, Any]]:
        """Rows, oldest first."""
        asked = {"symbol": ticker, "from": start.isoformat(), "to": end.isoformat()}
        return _once(self._rows(f"historical-price-eod/{kind}", **asked)[::-1])

    def _intraday(self, ticker: str, interval: str, start: date, end: date) -> Sequence[Mapping[str, Any]]:
        """Rows, oldest first; from the evening before ``start`` on, when a day of currencies and crypto begins."""
        before = (start - timedelta(days=1)).isoformat()
        asked = {"symbol": ticker, "from": before, "to": end.isoformat(), "nonadjusted": "true"}
        rows = self._rows(f"historical-chart/{_INTRADAY[interval]}", **asked)
        first, last = f"{before} {_EVENING}", f"{end.isoformat()} 99"
        return _once(row for row in rows[::-1] if first <= str(row.get("date")) < last)

    def _rows(self, path: str, **params: str) -> Sequence[Mapping[str, Any]]:
        try:
            rows = self.get(path, **params)
        except TickerUnavailable as error:
            raise TickerUnavailable(f"{params.get('symbol', path)}: {error}") from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            what = params.get("symbol", "several tickers")
            raise SourceError(f"FMP answered {path} of {what} with something else than a list of rows")
        return rows


def _error_message(text: str) -> str:
    """What an answer says is wrong: an object instead of a list, or plain text; empty where it is a list."""
    if text.lstrip().startswith("["):
        return ""
    try:
        document = json.loads(text)
    except ValueError:
        return " ".join(text.split())
    return str(document.get("Error Message", document)) if isinstance(document, dict) else ""


def _not_in_plan(said: str) -> SourceError:
    """What the three bodies of HTTP 402 mean."""
    if "'symbol" in said:
        return TickerUnavailable("the plan of this FMP key does not include it; leave it out or take a larger plan")
    if "Query Parameter" in said:
        return SourceError(
            "the plan of this FMP key does not allow a value in the request; take a larger plan. "
            f"FMP says: {said[:200]}"
        )
    return SourceError("the plan of this FMP key does not include this kind of data; take a larger plan")


def _once(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows without those that repeat the one before: in the hour that comes twice, they would end summer early."""
    found = list(rows)
    return found[:1] + [row for before, row in pairwise(found) if row != before]


def _quotes(rows: Iterable[Mapping[str, Any]], wanted: Sequence[str] = ()) -> Quotes:
    """Usable quotes by ticker, never by place: the API drops what it does not know. None wanted: all."""
    found: dict[str, Quote] = {}
    missing = dict.fromkeys(wanted, "FMP gave no quote of it")
    for row in rows:
        ticker = str(row.get("symbol"))
        if wanted and ticker not in missing:
            continue
        try:
            found[ticker] = _quote(ticker, row)
        except (KeyError, TypeError, ValueError, OverflowError, OSError):
            shown = {name: row.get(name) for name in ("price", "volume", "timestamp")}
            missing[ticker] = f"FMP gave a quote of it that cannot be used: {shown}"
    return Quotes(found, {ticker: why for ticker, why in missing.items() if ticker not in found})


def _quote(ticker: str, row: Mapping[str, Any]) -> Quote:
    price = float(row["price"])
    volume = math.nan if row.get("volume") is None else float(row["volume"])
    time = datetime.fromtimestamp(int(row["timestamp"]), UTC)
    if not 0 < price < math.inf or volume < 0 or math.isinf(volume) or time.year < 1990:
        raise ValueError(ticker)
    return Quote(ticker, price, volume, time)


def _day(row: Mapping[str, Any], ticker: str) -> date:
    try:
        return date.fromisoformat(str(row["date"])[:10])
    except (KeyError, ValueError) as error:
        raise TickerUnavailable(f"{ticker}: FMP gave a row of it without a usable date: {row}") from error


def _positive(row: Mapping[str, Any], name: str, ticker: str) -> Decimal:
    try:
        value = Decimal(str(row[name]))
    except (KeyError, InvalidOperation) as error:
        raise TickerUnavailable(f"{ticker}: FMP gave a row of it whose {name} is no number: {row}") from error
    if not value.is_finite() or value <= 0:
        raise TickerUnavailable(f"{ticker}: FMP gave a row of it whose {name} cannot be used: {row}")
    return value


@hookimpl
def register_data_sources() -> dict[str, type[DataSource]]:
    """The source ``fmp``."""
    return {"fmp": Fmp}
