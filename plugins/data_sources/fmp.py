"""The data source ``fmp``: Financial Modeling Prep, its "stable" API."""

from __future__ import annotations

import json
import os
import re
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
#: When the day of currencies begins there.
_EVENING = "17:00:00"
_MINUTE_LIMIT_SECONDS = 20.0

_AMERICAN = re.compile(r"[A-Z]{1,5}(-[A-Z]{1,2})?")
_PAIR = re.compile(r"[A-Z]{6}")


class Fmp(RestSource):
    """End-of-day and intraday bars as traded, dividends, splits and currencies of Financial Modeling Prep.

    The key comes from ``api_key`` or, where that is left out, from the environment variable ``FMP_API_KEY``.
    """

    api_key: str = ""
    base_url: str = "https://financialmodelingprep.com/stable"

    #: Longer ranges are cut to their newest part by the API. Of its windows of days, the first is asked for in vain: it
    #: may lack its first bar. 15 years of sessions are below the limit of rows.
    spans: ClassVar[Mapping[str, int]] = {
        "1min": 2,
        "5min": 9,
        "15min": 44,
        "30min": 29,
        "1h": 89,
        "4h": 179,
        "1d": 15 * 365,
    }
    requests_for_actions: ClassVar[int] = 2

    def check(self) -> None:
        """Take the key from the environment where the parameter is left out."""
        self.api_key = self.api_key or os.environ.get("FMP_API_KEY", "")
        if not self.api_key:
            raise ConfigError("data source fmp: there is no API key; set FMP_API_KEY, or params: {api_key: ${…}}")
        #: Currency by ticker, of those that were asked for.
        self._known: dict[str, str] = {}

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
        rows = self._daily(ticker, start, end) if interval == "1d" else self._intraday(ticker, interval, start, end)
        if not rows:
            self._require(ticker)  # an unknown one has no bars either
        if interval == "1d":
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
        if _AMERICAN.fullmatch(ticker):
            return "USD"
        if _PAIR.fullmatch(ticker):
            return ticker[-3:]
        return self._require(ticker)

    def _require(self, ticker: str) -> str:
        """The currency of a ticker as the API states it, asked for once; USD where it states none.

        Raises:
            TickerUnavailable: it knows no such ticker.
        """
        if ticker not in self._known:
            found = self._rows("profile", symbol=ticker) or self._rows("quote", symbol=ticker)
            if not found:
                hint = f"; class shares are written with a hyphen: {ticker.replace('.', '-')}" if "." in ticker else ""
                raise TickerUnavailable(f"FMP knows no ticker {ticker!r}{hint}")
            self._known[ticker] = str(found[0].get("currency") or "USD")
        return self._known[ticker]

    def _daily(self, ticker: str, start: date, end: date) -> Sequence[Mapping[str, Any]]:
        """Rows, oldest first."""
        rows: list[Mapping[str, Any]] = []
        last = end
        while True:
            path = "historical-price-eod/non-split-adjusted"
            page = self._rows(path, symbol=ticker, **{"from": start.isoformat(), "to": last.isoformat()})
            rows += page
            oldest = min((_day(row, ticker) for row in page), default=start)
            if len(page) < _MOST_ROWS or oldest <= start:
                return rows[::-1]
            last = oldest - timedelta(days=1)

    def _intraday(self, ticker: str, interval: str, start: date, end: date) -> Sequence[Mapping[str, Any]]:
        """Rows, oldest first; from the evening before ``start`` on, when a day of currencies and crypto begins."""
        before = (start - timedelta(days=1)).isoformat()
        asked = {"symbol": ticker, "from": before, "to": end.isoformat(), "nonadjusted": "true"}
        rows = self._rows(f"historical-chart/{_INTRADAY[interval]}", **asked)
        first, last = f"{before} {_EVENING}", f"{end.isoformat()} 99"
        return [row for row in rows[::-1] if first <= str(row.get("date")) < last]

    def _rows(self, path: str, **params: str) -> Sequence[Mapping[str, Any]]:
        try:
            rows = self.get(path, **params)
        except TickerUnavailable as error:
            raise TickerUnavailable(f"{params['symbol']}: {error}") from error
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


def _positive(row: Mapping[str, Any], name: str, ticker: str) -> Decimal:
    try:
        value = Decimal(str(row[name]))
    except (KeyError, InvalidOperation) as error:
        raise SourceError(f"FMP gave a row of {ticker} whose {name} is no number: {row}") from error
    if not value.is_finite() or value <= 0:
        raise SourceError(f"FMP gave a row of {ticker} whose {name} cannot be used: {row}")
    return value


@hookimpl
def register_data_sources() -> dict[str, type[DataSource]]:
    """The source ``fmp``."""
    return {"fmp": Fmp}
