"""Financial Modeling Prep's "stable" API, as far as the source ``fmp`` uses it, with its traps.

    python -m tests.standins.fmp [--port N]      prints its port, serves until it is ended

Prices are the bundled sample's, as traded, with its splits and dividends; minutes and other symbols are made up of
them (``fmp_data.py``). A JSON object sets what it does: by ``POST /control``, with all else as at the beginning, by
``PUT /control``, with all else as it was, the count of requests too:

- ``key``, ``per_minute``; ``restricted``: tickers, and ``closed``: paths such as ``batch-quote``, not in the plan
- ``fail``: what the next requests get, one each: a status, or a name of :data:`FAULTS`, or ``cut`` (half an answer),
  ``slow`` (1.5 s late), ``trickle`` (a byte now and then for ``trickle_seconds``)
- ``newest``: later days are not there yet
- ``now``: the moment, ISO 8601 in UTC, and ``speed``: its seconds per second; later bars are not there, the one in
  progress is, and one that has just ended will have other values 200 s later (a day: half an hour later)
- ``odd``: null prices, volumes as floats and with exponents, rows that come twice
- ``changed``: ``{"AAPL": {"2012-01-05": 1.01}}``, what the prices of a day are multiplied by

``GET /control`` tells the requests so far, and the moment.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.standins import fmp_data as data
from tests.standins import fmp_rows as rows

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
PREMIUM_PARAMETER = (
    "Premium Query Parameter: 'Special Parameters : The values for 'limit' must be between 0 and 5 based on your "
    "current subscription please visit our subscription page to upgrade your plan"
)
MISSING = "Query Error: Invalid or missing query parameter - "

#: Refusals by name: status and body. Other statuses say that it broke.
FAULTS: dict[str, tuple[int, Any]] = {
    "401": (401, INVALID_KEY),
    "402": (402, PREMIUM_ENDPOINT),
    "402-symbol": (402, PREMIUM_SYMBOL),
    "402-parameter": (402, PREMIUM_PARAMETER),
    "403": (403, LEGACY),
    "404": (404, []),
    "429": (429, LIMIT),
    "limit": (429, LIMIT),
    "limit-in-200": (200, LIMIT),
    "garbage": (200, "<html><body>Bad gateway, but cheerful</body></html>"),
    "empty": (200, ""),
    "dict": (200, {"Error Message": "Something went wrong on our side."}),
}

#: What ``POST /control`` sets, and begins with.
DEFAULTS: dict[str, Any] = {
    "key": "secret-key",
    "per_minute": 0,
    "restricted": [],
    "closed": [],
    "fail": [],
    "newest": str(data.LAST),
    "now": None,
    "speed": 0.0,
    "odd": False,
    "changed": {},
    "trickle_seconds": 60.0,
}


class Reply(Exception):  # not an error of ours: what is answered
    """What a request gets instead of rows."""

    def __init__(self, status: int, body: Any) -> None:
        self.status, self.body = status, body


class State:
    """What the server has been told, and what it was asked."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests: list[str] = []
        self.times: list[float] = []
        self.told({})

    def told(self, settings: Mapping[str, Any]) -> None:
        """Begin anew with these settings."""
        with self.lock:
            self._set(DEFAULTS | {"fail": []} | dict(settings))
            self.requests.clear()
            self.times.clear()

    def changed(self, settings: Mapping[str, Any]) -> None:
        """Change some, go on with the others; the clock stands where it is unless it is set."""
        with self.lock:
            moment = self.moment()
            self._set(self.settings | {"now": moment and moment.isoformat()} | dict(settings))

    def _set(self, settings: dict[str, Any]) -> None:
        unknown = set(settings) - set(DEFAULTS)
        if unknown:
            raise ValueError(f"no such setting: {unknown}")
        self.settings, self._set_at = settings, time.monotonic()
        self._now = rows.moment(settings["now"])
        self._changed = {
            symbol: tuple((date.fromisoformat(day), float(factor)) for day, factor in factors.items())
            for symbol, factors in settings["changed"].items()
        }

    def moment(self) -> datetime | None:
        """The clock, if there is one."""
        passed = (time.monotonic() - self._set_at) * self.settings["speed"]
        return None if self._now is None else self._now + timedelta(seconds=passed)

    def view(self) -> rows.View:
        """How a request sees the data."""
        with self.lock:
            newest = date.fromisoformat(self.settings["newest"])
            return rows.View(newest, self.moment(), bool(self.settings["odd"]), self._changed)

    def admit(self, path: str, query: dict[str, str]) -> str:
        """Count a request; how it shall fail, or an empty text."""
        with self.lock:
            now = time.monotonic()
            self.requests.append(f"{path}?{'&'.join(f'{name}={value}' for name, value in query.items())}")
            limit = self.settings["per_minute"]
            if limit:
                self.times = [at for at in self.times if at > now - 60.0]
                if len(self.times) >= limit:
                    return "limit"
                self.times.append(now)
            return str(self.settings["fail"].pop(0)) if self.settings["fail"] else ""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: State

    def do_GET(self) -> None:
        """Answer as the API does."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if parts.path == "/control":
            moment = self.state.moment()
            self._send(200, {"requests": self.state.requests, "now": moment and moment.isoformat()})
            return
        fault = self.state.admit(parts.path, query)
        try:
            if fault in FAULTS:
                raise Reply(*FAULTS[fault])
            if fault.isdigit():
                raise Reply(int(fault), "it broke")
            if fault == "slow":
                time.sleep(1.5)
            found = self._found(parts.path, query)
        except Reply as reply:
            self._send(reply.status, reply.body)
            return
        self._send(200, found, fault)

    def do_POST(self) -> None:
        """Be told what to do."""
        self._told(self.state.told)

    def do_PUT(self) -> None:
        """Be told what to do otherwise than so far."""
        self._told(self.state.changed)

    def _told(self, how: Any) -> None:
        try:
            how(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        except (ValueError, TypeError) as error:
            self._send(400, str(error))
            return
        self._send(200, {})

    def _found(self, path: str, query: dict[str, str]) -> Any:
        if path == "/elsewhere":
            return []
        settings, view = self.state.settings, self.state.view()
        # The API takes the key from the URL as well, where it does not belong: logs show URLs.
        if self.headers.get("apikey") != settings["key"]:
            raise Reply(401, INVALID_KEY)
        if path.startswith("/api/"):
            raise Reply(403, LEGACY)
        name = path.removeprefix("/stable/")
        if name in settings["closed"]:
            raise Reply(402, PREMIUM_ENDPOINT)
        return _whole_lists(name, query, view) if name in LISTS else _of_symbol(name, query, view, settings)

    def _send(self, status: int, body: Any, fault: str = "") -> None:
        text = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")  # on plain text, too
        self.send_header("Content-Length", str(len(text)))
        if status == 302:
            self.send_header("Location", "/elsewhere")
        if fault == "trickle":
            self.end_headers()
            self._trickle(text)
            return
        self._headers_buffer.append(b"\r\n")  # type: ignore[attr-defined]  # one packet, headers and all
        self._headers_buffer.append(text[: len(text) // 2] if fault == "cut" else text)  # type: ignore[attr-defined]
        self.flush_headers()
        if fault == "cut":
            self.close_connection = True

    def _trickle(self, text: bytes) -> None:
        until, sent = time.monotonic() + self.state.settings["trickle_seconds"], 0
        self.close_connection = True
        while time.monotonic() < until and sent < len(text) - 1:
            try:
                self.wfile.write(text[sent : sent + 1])
            except OSError:  # nobody waits any more
                return
            sent += 1
            time.sleep(0.2)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


LISTS = ("batch-quote", "batch-quote-short", "batch-exchange-quote", "batch-forex-quotes", "batch-crypto-quotes",
         "forex-list", "stock-list", "available-exchanges", "search-symbol")  # fmt: skip


def _whole_lists(name: str, query: dict[str, str], view: rows.View) -> Any:
    """Endpoints that are of many symbols."""
    match name:
        case "batch-quote" | "batch-quote-short":
            found = rows.quotes(_needed(query, "symbols").split(","), view)
            return rows.quotes_text([rows.short(row) for row in found] if name.endswith("short") else found, view.odd)
        case "batch-exchange-quote":
            return _of_exchange(_needed(query, "exchange").upper(), query, view)
        case "batch-forex-quotes":
            return _of_exchange("FOREX", query, view)
        case "batch-crypto-quotes":
            return _of_exchange("CRYPTO", query, view)
        case "forex-list":
            return rows.forex_list()
        case "stock-list":
            return rows.stock_list()
        case "available-exchanges":
            return rows.exchanges()
    return rows.search(_needed(query, "query"))


def _of_exchange(exchange: str, query: dict[str, str], view: rows.View) -> bytes:
    """All of an exchange; four values each unless more are asked for."""
    found = rows.quotes([symbol for symbol in data.all_symbols() if data.exchange(symbol) == exchange], view)
    return rows.quotes_text(found if query.get("short") == "false" else [rows.short(row) for row in found], view.odd)


def _of_symbol(name: str, query: dict[str, str], view: rows.View, settings: Mapping[str, Any]) -> Any:
    """Endpoints that are of one symbol."""
    kind, _, detail = name.partition("/")
    is_known = (
        detail in {"historical-price-eod": rows.DAILY, "historical-chart": rows.MINUTES}[kind]
        if detail and kind in ("historical-price-eod", "historical-chart")
        else name in ("splits", "dividends", "profile", "quote", "quote-short")
    )
    if not is_known:
        raise Reply(404, [])
    symbol = _needed(query, "symbol")
    if symbol in settings["restricted"]:
        raise Reply(402, PREMIUM_SYMBOL)
    last = date.fromisoformat(query.get("to") or str(data.LAST))
    first = date.fromisoformat(query.get("from") or str(last - timedelta(days=5 * 365)))
    match kind:
        case "historical-price-eod":
            return rows.daily(detail, symbol, first, last, view)
        case "historical-chart":
            return rows.intraday(detail, symbol, first, last, query.get("nonadjusted") == "true", view)
        case "splits":
            return rows.splits(symbol)
        case "dividends":
            return rows.dividends(symbol)
        case "profile":
            return rows.profile(symbol)
    found = rows.quotes([symbol], view)
    return rows.quotes_text([rows.short(row) for row in found] if kind == "quote-short" else found, view.odd)


def _needed(query: dict[str, str], name: str) -> str:
    if not query.get(name):
        raise Reply(400, MISSING + name)
    return query[name]


class Server(ThreadingHTTPServer):
    """May be ended and begun again at the same port."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    handler = type("OwnHandler", (Handler,), {"state": State()})
    with Server(("127.0.0.1", parser.parse_args().port), handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
