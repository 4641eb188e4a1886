"""The data source ``fmp``: Financial Modeling Prep, its "stable" API."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

from framework import (
    Bars,
    ConfigError,
    CorporateAction,
    DataSource,
    RestSource,
    SourceError,
    SourceUnavailable,
    TickerUnavailable,
    hookimpl,
)

#: More rows than this are never in one answer; the oldest are dropped without a word.
_MOST_ROWS = 5000
#: Our names of intervals, and those of the API.
_INTRADAY = {"1min": "1min", "5min": "5min", "15min": "15min", "30min": "30min", "1h": "1hour", "4h": "4hour"}
_EOD_FIELDS = {"open": "adjOpen", "high": "adjHigh", "low": "adjLow", "close": "adjClose"}
#: Intraday times are this zone's wall clock, for FX and crypto too.
_ZONE = "America/New_York"
_MINUTE_LIMIT_SECONDS = 20.0


class Fmp(RestSource):
    """End-of-day and intraday bars as traded, dividends, splits and currencies of Financial Modeling Prep.

    The key comes from ``api_key`` or, where that is left out, from the environment variable ``FMP_API_KEY``.
    """

    api_key: str = ""
    base_url: str = "https://financialmodelingprep.com/stable"

    #: Longer ranges are cut to their newest part by the API; 15 years of sessions are below its limit of rows.
    spans: ClassVar[Mapping[str, int]] = {
        "1min": 3,
        "5min": 10,
        "15min": 45,
        "30min": 30,
        "1h": 90,
        "4h": 180,
        "1d": 15 * 365,
    }

    def check(self) -> None:
        """Take the key from the environment where the parameter is left out."""
        self.api_key = self.api_key or os.environ.get("FMP_API_KEY", "")
        if not self.api_key:
            raise ConfigError("data source fmp: there is no API key; set FMP_API_KEY, or params: {api_key: ${…}}")
        self._currencies: dict[str, str] = {}

    def key(self) -> str:
        """``fmp``."""
        return "fmp"

    def settle_of(self, interval: str) -> timedelta:
        """A bar is changed for some minutes after its end, the day's for longer."""
        return timedelta(minutes=60) if interval == "1d" else timedelta(minutes=5)

    def headers(self) -> Mapping[str, str]:
        """The key, which would be in logs if it stood in the URL."""
        return {"apikey": self.api_key}

    def problem(self, status: int, text: str) -> SourceError | None:
        """What the API's refusals mean, and what to do."""
        said = _error_message(text)
        if status == 429 or "Limit Reach" in said:
            return SourceUnavailable(
                "FMP's limit of requests is reached: lower requests_per_minute (all programs that use the key count "
                "together), or, where the plan's day is used up, go on tomorrow or with a larger plan",
                wait_seconds=_MINUTE_LIMIT_SECONDS,
            )
        if status == 401 or "Invalid API KEY" in said:
            raise ConfigError("FMP does not know this API key; check FMP_API_KEY (or params.api_key) for typing errors")
        if status == 402 and "symbol" in said:
            return TickerUnavailable("the plan of this FMP key does not include it; leave it out or take a larger plan")
        if status == 402:
            return SourceError("the plan of this FMP key does not include this kind of data; take a larger plan")
        if status == 403:
            return SourceError(
                "FMP refused the request (HTTP 403): the key is blocked, or base_url is of the old API; "
                f"it has to end with /stable and was {self.base_url}"
            )
        if status == 404:
            return SourceError(f"FMP has no such address (HTTP 404) below {self.base_url}; check base_url")
        if status < 400 and said:
            return SourceError(f"FMP answered with an error: {said[:200]}")
        return super().problem(status, text)

    def fetch(self, ticker: str, interval: str, start: date, end: date) -> Bars:
        """Bars of at most the days of :attr:`spans`, as traded."""
        try:
            if interval == "1d":
                return self._daily(ticker, start, end)
            return self._intraday(ticker, interval, start, end)
        except TickerUnavailable as error:
            raise TickerUnavailable(f"{ticker}: {error}") from error

    def fetch_actions(self, ticker: str) -> Iterator[CorporateAction]:
        """All splits and dividends; an amount is as paid, before later splits."""
        for row in self._rows("splits", symbol=ticker):
            ratio = _decimal(row, "numerator", ticker) / _decimal(row, "denominator", ticker)
            yield CorporateAction(ticker, _day(row, ticker), "split", round(ratio, 12))
        paid: dict[date, Decimal] = {}
        for row in self._rows("dividends", symbol=ticker):
            amount = _decimal(row, "dividend", ticker)
            if amount > 0:
                day = _day(row, ticker)  # a special dividend may fall on the day of a regular one
                paid[day] = paid.get(day, Decimal(0)) + amount
        yield from (CorporateAction(ticker, day, "dividend", amount) for day, amount in paid.items())

    def currency(self, ticker: str) -> str:
        """Of the profile; of a currency pair such as ``EURUSD``, the second.

        Raises:
            TickerUnavailable: the API knows no such ticker.
        """
        if ticker not in self._currencies:
            self._currencies[ticker] = self._currency(ticker)
        return self._currencies[ticker]

    def _currency(self, ticker: str) -> str:
        for row in self._rows("profile", symbol=ticker):
            if currency := row.get("currency"):
                return str(currency)
        for row in self._rows("quote", symbol=ticker):
            if row.get("exchange") in ("FOREX", "CRYPTO"):
                return ticker[-3:]
            return "USD"  # indices and commodities state none
        hint = f"; class shares are written with a hyphen: {ticker.replace('.', '-')}" if "." in ticker else ""
        raise TickerUnavailable(f"FMP knows no ticker {ticker!r}{hint}")

    def _daily(self, ticker: str, start: date, end: date) -> Bars:
        rows: list[Mapping[str, Any]] = []
        last = end
        while True:
            path = "historical-price-eod/non-split-adjusted"
            page = self._rows(path, symbol=ticker, **{"from": start.isoformat(), "to": last.isoformat()})
            rows += page
            oldest = min((_day(row, ticker) for row in page), default=start)
            if len(page) < _MOST_ROWS or oldest <= start:
                break
            last = oldest - timedelta(days=1)
        if not rows:
            self.currency(ticker)  # an unknown ticker has no bars either
        return self.bars_of(ticker, rows[::-1], fields=_EOD_FIELDS)

    def _intraday(self, ticker: str, interval: str, start: date, end: date) -> Bars:
        # Of a single day, the first bar is left out: ask for the day before, too.
        first = start - timedelta(days=1) if start == end else start
        asked = {"symbol": ticker, "from": first.isoformat(), "to": end.isoformat(), "nonadjusted": "true"}
        rows = self._rows(f"historical-chart/{_INTRADAY[interval]}", **asked)
        wanted = [row for row in rows if start.isoformat() <= str(row.get("date"))[:10] <= end.isoformat()]
        return self.bars_of(ticker, wanted[::-1], timezone=_ZONE)

    def _rows(self, path: str, **params: str) -> Sequence[Mapping[str, Any]]:
        rows = self.get(path, **params)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise SourceError(f"FMP answered {path} of {params.get('symbol')} with something else than a list of rows")
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


def _day(row: Mapping[str, Any], ticker: str) -> date:
    try:
        return date.fromisoformat(str(row["date"])[:10])
    except (KeyError, ValueError) as error:
        raise SourceError(f"FMP gave a row of {ticker} without a usable date: {row}") from error


def _decimal(row: Mapping[str, Any], name: str, ticker: str) -> Decimal:
    try:
        value = Decimal(str(row[name]))
    except (KeyError, InvalidOperation) as error:
        raise SourceError(f"FMP gave a row of {ticker} whose {name} is no number: {row}") from error
    if not value.is_finite() or (name == "denominator" and not value):
        raise SourceError(f"FMP gave a row of {ticker} whose {name} cannot be used: {row}")
    return value


@hookimpl
def register_data_sources() -> dict[str, type[DataSource]]:
    """The source ``fmp``."""
    return {"fmp": Fmp}
