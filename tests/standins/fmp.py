"""Financial Modeling Prep's "stable" API, as far as the source ``fmp`` uses it, with its traps.

    python -m tests.standins.fmp      prints its port, serves until it is ended

Prices are the bundled sample's, as traded, with its splits and dividends; minutes are made up of its days. What it does
is set by ``POST /control`` with a JSON object: ``key``, ``per_minute``, ``restricted`` (tickers), ``fail`` (a list of
what the next requests get: a status, ``cut``, ``slow`` or ``limit``). ``GET /control`` tells the requests so far.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import date, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from framework.plugins.data_sources.sample import Sample

from framework.data.calendars import covering

INVALID_KEY = {
    "Error Message": "Invalid API KEY. Feel free to create a Free API Key or visit "
    "https://site.financialmodelingprep.com/faqs?search=why-is-my-api-key-invalid for more information."
}
LEGACY = {
    "Error Message": "Legacy Endpoint : Due to Legacy endpoints being no longer supported - This endpoint is only "
    "available for legacy users who have valid subscriptions prior August 31, 2025. Please visit our documentation page"
}
LIMIT = {
    "Error Message": "Limit Reach . Please upgrade your plan or visit our documentation for more details at "
    "https://site.financialmodelingprep.com/"
}
PREMIUM_SYMBOL = (
    "Premium Query Parameter: 'Special Endpoint : This value set for 'symbol' is not available under your current "
    "subscription please visit our subscription page to upgrade your plan"
)
PREMIUM_ENDPOINT = (
    "Restricted Endpoint: This endpoint is not available under your current subscription please visit our "
    "subscription page to upgrade your plan at https://financialmodelingprep.com/"
)
MISSING = "Query Error: Invalid or missing query parameter - symbol"

MOST_ROWS = 5000
WINDOW_DAYS = {"1min": 3, "5min": 10, "15min": 45, "30min": 30, "1hour": 90, "4hour": 180}
MINUTES = {"1min": 1, "5min": 5, "15min": 15, "30min": 30, "1hour": 60, "4hour": 240}
_FIRST, _LAST = date(1990, 1, 1), date(2020, 12, 31)

Row = dict[str, Any]

#: What ``POST /control`` sets, and begins with; ``newest``: later days are not there yet.
DEFAULTS: dict[str, Any] = {"key": "secret-key", "per_minute": 0, "restricted": [], "fail": [], "newest": str(_LAST)}


class Reply(Exception):  # not an error of ours: what is answered
    """What a request gets instead of rows."""

    def __init__(self, status: int, body: Any) -> None:
        self.status, self.body = status, body


@cache
def days(symbol: str) -> tuple[tuple[date, float, float, float, float, float], ...]:
    """The sample's bars as traded, oldest first."""
    source = Sample()
    if symbol not in (source.tickers() or ()):
        return ()
    bars = source.bars([symbol], "1d", _FIRST, _LAST)
    order = np.argsort(bars.timestamps)
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    dates = bars.timestamps[order].astype("datetime64[D]").tolist()
    return tuple(zip(dates, *(column[order].tolist() for column in columns), strict=True))


@cache
def actions(symbol: str, kind: str) -> tuple[tuple[date, float], ...]:
    """Its splits or dividends, oldest first."""
    found = Sample().corporate_actions([symbol]) if days(symbol) else ()
    return tuple((each.ex_date, float(each.value)) for each in found if each.kind == kind)


@cache
def minutes_of(symbol: str, day: date) -> tuple[tuple[datetime, float, float, float, float, int], ...]:
    """The minutes of a session, New York time, made up: they begin at the day's open and end at its close."""
    found = next((each for each in days(symbol) if each[0] == day), None)
    if found is None:
        return ()
    _, opened, high, low, closed, volume = found
    known = covering("XNYS", day, day)
    count = int((known.closes[0] - known.opens[0]) // np.timedelta64(1, "m"))
    rng = np.random.default_rng([day.toordinal(), *symbol.encode()])
    path = np.linspace(opened, closed, count + 1) + np.append(rng.normal(0, (high - low) / 50, count), 0.0)
    path = np.round(np.clip(path, low, high), 4)
    path[0] = opened
    at = datetime(day.year, day.month, day.day, 9, 30)  # noqa: DTZ001  # the API's times have no zone
    return tuple(
        (at + timedelta(minutes=n), a, max(a, b), min(a, b), b, int(volume / count))
        for n, (a, b) in enumerate(zip(path[:-1].tolist(), path[1:].tolist(), strict=True))
    )


def split_ratio(symbol: str, day: date) -> float:
    """Shares of today per share of that day."""
    return float(np.prod([value for ex, value in actions(symbol, "split") if day < ex] or [1.0]))


def daily(path: str, symbol: str, first: date, last: date) -> list[Row]:
    """``historical-price-eod/…``; a reversed range is empty, of a long one the oldest rows are dropped."""
    rows: list[Row] = []
    for day, opened, high, low, closed, volume in reversed(days(symbol)):
        if not first <= day <= last:
            continue
        ratio = split_ratio(symbol, day)
        if path == "non-split-adjusted":
            values = {"adjOpen": opened, "adjHigh": high, "adjLow": low, "adjClose": closed, "volume": volume}
        else:
            prices = {"open": opened, "high": high, "low": low, "close": closed}
            values = {name: round(price / ratio, 4) for name, price in prices.items()} | {"volume": volume * ratio}
        rows.append({"symbol": symbol, "date": day.isoformat(), **values})
    return rows[:MOST_ROWS]


def intraday(interval: str, symbol: str, first: date, last: date, is_traded: bool) -> list[Row]:
    """``historical-chart/…``: a window back from ``to``."""
    if last < first:
        first = last  # plausible, and of the wrong dates
    earliest = last - timedelta(days=WINDOW_DAYS[interval] - 1)
    is_short = first == last or first < earliest
    first = max(first, earliest)
    rows: list[Row] = []
    step = MINUTES[interval]
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        found = minutes_of(symbol, day)
        ratio = 1.0 if is_traded else split_ratio(symbol, day)
        for start in range(0, len(found), step):
            part = found[start : start + step]
            rows.append(
                {
                    "date": f"{part[0][0]:%Y-%m-%d %H:%M:%S}",
                    "open": part[0][1] / ratio,
                    "low": min(each[3] for each in part) / ratio,
                    "high": max(each[2] for each in part) / ratio,
                    "close": part[-1][4] / ratio,
                    "volume": sum(each[5] for each in part) * ratio,
                }
            )
    return (rows[1:] if is_short else rows)[::-1]  # of one day, or of a range that is cut, the first bar is missing


def profile(symbol: str) -> list[Row]:
    """``profile``: of what is known, and of a ticker without bars."""
    if not days(symbol) and symbol != "NOBARS":
        return []
    return [{"symbol": symbol, "companyName": symbol, "currency": "USD", "exchange": "NASDAQ"}]


class State:
    """What the server has been told, and what it was asked."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.settings: dict[str, Any] = dict(DEFAULTS)
        self.requests: list[str] = []
        self.times: list[float] = []

    def admit(self, path: str, query: dict[str, str]) -> str:
        """Count a request; how it shall fail, or an empty text."""
        with self.lock:
            now = time.monotonic()
            self.requests.append(f"{path}?{'&'.join(f'{name}={value}' for name, value in query.items())}")
            self.times = [at for at in self.times if at > now - 60.0]
            limit = self.settings["per_minute"]
            if limit and len(self.times) >= limit:
                return "limit"
            self.times.append(now)
            return str(self.settings["fail"].pop(0)) if self.settings["fail"] else ""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    state: State

    def do_GET(self) -> None:
        """Answer as the API does."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if parts.path == "/control":
            self._send(200, {"requests": self.state.requests})
            return
        fault = self.state.admit(parts.path, query)
        try:
            if fault == "limit":
                raise Reply(429, LIMIT)
            if fault == "limit-in-200":
                raise Reply(200, LIMIT)
            if fault == "slow":
                time.sleep(1.5)
            elif fault.isdigit():
                raise Reply(int(fault), "it broke")
            rows = self._rows(parts.path, query)
        except Reply as reply:
            self._send(reply.status, reply.body)
            return
        self._send(200, rows, cut=fault == "cut")

    def do_POST(self) -> None:
        """Be told what to do."""
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.state.lock:
            self.state.settings = DEFAULTS | {"fail": []} | told
            self.state.requests.clear()
            self.state.times.clear()
        self._send(200, {})

    def _rows(self, path: str, query: dict[str, str]) -> list[Row]:
        if path == "/elsewhere":
            return []
        # The API takes the key from the URL as well, where it does not belong: logs show URLs.
        if self.headers.get("apikey") != self.state.settings["key"]:
            raise Reply(401, INVALID_KEY)
        if path.startswith("/api/"):
            raise Reply(403, LEGACY)
        if "symbol" not in query:
            raise Reply(400, MISSING)
        symbol = query["symbol"]
        if symbol in self.state.settings["restricted"]:
            raise Reply(402, PREMIUM_SYMBOL)
        first = date.fromisoformat(query.get("from") or str(_FIRST))
        last = min(date.fromisoformat(query.get("to") or str(_LAST)), date.fromisoformat(self.state.settings["newest"]))
        match path.removeprefix("/stable/").split("/"):
            case ["historical-price-eod", ("full" | "non-split-adjusted") as kind]:
                return daily(kind, symbol, first, last)
            case ["historical-chart", interval] if interval in WINDOW_DAYS:
                return intraday(interval, symbol, first, last, query.get("nonadjusted") == "true")
            case ["splits"]:
                return [
                    {"symbol": symbol, "date": str(day), "numerator": value, "denominator": 1, "splitType": None}
                    for day, value in reversed(actions(symbol, "split"))
                ]
            case ["dividends"]:
                return [
                    {"symbol": symbol, "date": str(day), "paymentDate": "", "adjDividend": value, "dividend": value}
                    for day, value in reversed(actions(symbol, "dividend"))
                ]
            case ["profile"]:
                return profile(symbol)
            case ["quote"]:
                return [{"symbol": "EURUSD", "price": 1.17, "exchange": "FOREX"}] if symbol == "EURUSD" else []
        raise Reply(404, [])

    def _send(self, status: int, body: Any, cut: bool = False) -> None:
        text = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")  # on plain text, too
        self.send_header("Content-Length", str(len(text)))
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(text[: len(text) // 2] if cut else text)
        if cut:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


def main() -> None:
    """Serve."""
    handler = type("OwnHandler", (Handler,), {"state": State()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
