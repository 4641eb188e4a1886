"""The rows of the stand-in of FMP, as the API writes them: newest first, cut without a word, with its odd types."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tests.standins import fmp_data as data
from tests.standins.fmp_data import Changed, Days, Minutes

Row = dict[str, Any]

MOST_ROWS = 5000
WINDOW_DAYS = {"1min": 3, "5min": 10, "15min": 45, "30min": 30, "1hour": 90, "4hour": 180}
MINUTES = {"1min": 1, "5min": 5, "15min": 15, "30min": 30, "1hour": 60, "4hour": 240}
DAILY = ("full", "light", "dividend-adjusted", "non-split-adjusted")
#: So long after its end a bar has other values than it will have.
SETTLING_SECONDS, DAY_SETTLING_SECONDS = 200.0, 1800.0
_QUOTED = (
    *("price", "change", "open", "previousClose", "marketCap", "priceAvg50", "priceAvg200"),
    *("dayLow", "dayHigh", "yearHigh", "yearLow"),
)
_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class View:
    """How one request sees the data: at which moment, with which corrections, and how oddly written.

    ``now`` None: everything is over, nothing changes any more. ``newest``: later days are not there yet.
    """

    newest: date = data.LAST
    now: datetime | None = None
    odd: bool = False
    changed: Mapping[str, Changed] | None = None

    def of(self, symbol: str) -> Changed:
        """The corrections of one symbol."""
        return (self.changed or {}).get(symbol, ())

    def seconds(self) -> float:
        """The moment in seconds since 1970; endless where there is none."""
        return float("inf") if self.now is None else self.now.timestamp()


# --- days ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Page:
    """Rows as text, newest first; a range of them is a slice.

    ``days``: of each row, as a negative ordinal; ``ends``: where each row begins in the text, and where the last ends;
    a comma is behind each.
    """

    days: NDArray[np.int64]
    ends: NDArray[np.int32]
    text: bytes

    def between(self, first: date, last: date, most: int) -> bytes:
        """The rows of some days, the last ones where there are more than ``most``, without brackets."""
        low = int(np.searchsorted(self.days, -last.toordinal()))
        high = min(int(np.searchsorted(self.days, -first.toordinal(), side="right")), low + most)
        return self.text[self.ends[low] : self.ends[high] - 1] if low < high else b""


def daily(kind: str, symbol: str, first: date, last: date, view: View) -> bytes:
    """``historical-price-eod/…``: a reversed range is empty; of a long one, the oldest rows are dropped."""
    last, running = min(last, view.newest), b""
    if view.now is not None:
        today, now = data.running_day(symbol, view.now), view.seconds()
        minutes = data.day_minutes(symbol, today, view.of(symbol))
        if minutes is not None and len(minutes) and now < minutes.starts[-1] + 60 + DAY_SETTLING_SECONDS:
            part = minutes.until(now)
            if len(part) and first <= today <= last:
                bar = _running(symbol, today, part)
                running = _daily_rows(kind, symbol, bar, view.odd).between(today, today, 1)
            today -= timedelta(days=1)
        last = min(last, today)
    page = _page(kind, symbol, view.of(symbol), view.odd)
    found = page.between(first, last, MOST_ROWS - bool(running)) if first <= last else b""
    return b"[" + b",".join(part for part in (running, found) if part) + b"]"


@lru_cache(maxsize=1100)
def _page(kind: str, symbol: str, changed: Changed, odd: bool) -> Page:
    found = data.days(symbol, changed)
    if found is None:
        return Page(np.empty(0, np.int64), np.zeros(1, np.int32), b"")
    return _daily_rows(kind, symbol, found, odd)


def _daily_rows(kind: str, symbol: str, found: Days, odd: bool) -> Page:
    splits = np.ones(len(found.dates))
    for ex, value in data.actions(symbol, "split"):
        splits[found.dates < np.datetime64(ex, "D")] *= value
    prices = [getattr(found, name) for name in _PRICES]
    if kind == "dividend-adjusted":
        prices = [np.round(column * found.adjusted / found.close, 6) for column in prices]
    elif kind != "non-split-adjusted" and (splits != 1.0).any():
        prices = [np.round(column / splits, 4) for column in prices]
    volume = found.volume if kind == "non-split-adjusted" else found.volume * splits
    columns: dict[str, Any] = {"symbol": np.full(len(found.dates), symbol), "date": found.dates}
    if kind == "light":
        columns |= {"price": prices[3], "volume": volume}
    elif kind == "full":
        opened, high, low, closed = prices
        columns |= dict(zip(_PRICES, prices, strict=True)) | {"volume": volume}
        columns |= {"change": np.round(closed - opened, 5), "changePercent": np.round((closed / opened - 1) * 100, 5)}
        columns |= {"vwap": np.round((opened + high + low + closed) / 4, 5)}
    else:
        columns |= dict(zip(("adjOpen", "adjHigh", "adjLow", "adjClose"), prices, strict=True)) | {"volume": volume}
    order = np.arange(len(found.dates))[::-1]
    if odd and len(order) > 1:  # some rows come twice
        order = np.sort(np.append(order, order[7::101]))[::-1]
    days = -(found.dates.astype(np.int64) + date(1970, 1, 1).toordinal())
    return Page(days[order], *_texts(columns, odd, order))


def _texts(columns: Mapping[str, Any], odd: bool, order: NDArray[np.int64]) -> tuple[NDArray[np.int32], bytes]:
    """JSON objects of columns in some order: where each begins and the last ends, and all as one text.

    Oddly: some rows without prices, volumes as floats and with exponents.
    """
    pieces: list[Any] = []
    for name, column in columns.items():
        quote = "" if name == "volume" or column.dtype == np.float64 else '"'
        pieces += [f'{"," if pieces else "{"}"{name}":{quote}', _text(name, column, odd), quote]
    rows = pc.binary_join_element_wise(*pieces, "},", "", null_handling="replace", null_replacement="null")
    _, ends, text = rows.take(pa.array(order)).buffers()
    return np.frombuffer(ends, np.int32), text.to_pybytes()


def _text(name: str, column: NDArray[Any], odd: bool) -> pa.Array:
    """Values as JSON writes them."""
    if name != "volume":
        missing = np.arange(len(column)) % 97 == 13
        return pc.cast(pa.array(column, mask=missing if odd and column.dtype == np.float64 else None), pa.string())
    whole = bool((column == np.floor(column)).all())
    if odd and whole:
        forms = ("{:.0f}", "{:.1f}", "{:.12E}")
        return pa.array([forms[place % 3].format(volume) for place, volume in enumerate(column.tolist())])
    return pc.cast(pa.array(column.astype(np.int64) if whole else column), pa.string())


def _running(symbol: str, today: date, part: Minutes) -> Days:
    """The daily bar that is not over yet, or for a short while only."""
    opened, high, low, closed, volume = _provisional(_bar(part))
    known = data.days(symbol)
    assert known is not None
    row = known.at(today) - 1
    adjusted = closed * float(known.adjusted[row] / known.close[row])
    values = [np.array([value]) for value in (opened, high, low, closed, volume, adjusted)]
    return Days(np.array([today], "datetime64[D]"), *values)


# --- minutes -------------------------------------------------------------------------------------------------------


def intraday(interval: str, symbol: str, first: date, last: date, is_traded: bool, view: View) -> bytes:
    """``historical-chart/…``: a window back from ``to``; a reversed range gives the day ``to``."""
    if last < first:
        first = last  # plausible, and of the wrong dates
    earliest = last - timedelta(days=WINDOW_DAYS[interval] - 1)
    is_short = first == last or first < earliest
    first = max(first, earliest)
    parts: list[bytes] = []
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        if day <= view.newest:
            parts.append(_day_rows(interval, symbol, day, is_traded, view))
    parts = [part for part in parts if part]
    if is_short and parts:  # of one day, or of a range that is cut, the first bar is missing
        parts[0] = parts[0][: parts[0].rfind(b",{")] if b",{" in parts[0] else b""
    return b"[" + b",".join(part for part in reversed(parts) if part) + b"]"


def _day_rows(interval: str, symbol: str, day: date, is_traded: bool, view: View) -> bytes:
    """The rows of a day, newest first, without brackets."""
    changed, now = view.of(symbol), view.seconds()
    end = datetime(day.year, day.month, day.day, tzinfo=data.NEW_YORK) + timedelta(days=1, seconds=SETTLING_SECONDS)
    if now >= end.timestamp():
        return _final_rows(interval, symbol, day, is_traded, changed, view.odd)
    minutes = data.minutes_of(symbol, day, changed)
    return b"" if minutes is None else _bar_rows(interval, symbol, day, is_traded, minutes, view.odd, now)


@lru_cache(maxsize=2000)
def _final_rows(interval: str, symbol: str, day: date, is_traded: bool, changed: Changed, odd: bool) -> bytes:
    minutes = data.minutes_of(symbol, day, changed)
    return b"" if minutes is None else _bar_rows(interval, symbol, day, is_traded, minutes, odd)


def _bar_rows(
    interval: str,
    symbol: str,
    day: date,
    is_traded: bool,
    minutes: Minutes,
    odd: bool,
    now: float = float("inf"),
) -> bytes:
    """Bars of a day; before ``now``, and those that settle then with other values."""
    whole, minutes = minutes, minutes if now == float("inf") else minutes.until(now)
    if not len(minutes):
        return b""
    step, ratio = MINUTES[interval], 1.0 if is_traded else data.split_ratio(symbol, day)
    begun = whole.starts[0] if data.origin(symbol)[0] else data.midnight(day)
    groups = (minutes.starts - begun) // (60 * step)
    at = np.flatnonzero(np.diff(groups, prepend=-1))
    ends = np.minimum(begun + (groups[at] + 1) * 60 * step, whole.starts[-1] + 60)
    high, low = np.maximum.reduceat(minutes.high, at), np.minimum.reduceat(minutes.low, at)
    opened, closed = minutes.open[at], minutes.close[np.append(at[1:], len(minutes)) - 1]
    volume = np.add.reduceat(minutes.volume, at)
    for row in np.flatnonzero(ends + SETTLING_SECONDS > now).tolist():
        bar = tuple(float(column[row]) for column in (opened, high, low, closed, volume))
        closed[row], volume[row] = _provisional(bar)[3:]
    columns: dict[str, Any] = {"date": data.in_new_york(minutes.starts[at])}
    for name, column in (("open", opened), ("low", low), ("high", high), ("close", closed)):
        columns[name] = np.round(column / ratio, 6)
    order = np.arange(len(at))[::-1]
    if odd:
        order = np.append(order[:1], order)  # one comes twice
    return _texts(columns | {"volume": volume * ratio}, odd, order)[1][:-1]


def _bar(minutes: Minutes) -> tuple[float, ...]:
    """Open, high, low, close, volume."""
    ends = float(minutes.open[0]), float(minutes.high.max()), float(minutes.low.min()), float(minutes.close[-1])
    return (*ends, float(minutes.volume.sum()))


def _provisional(bar: tuple[float, ...]) -> tuple[float, ...]:
    """A bar with values that it will not keep."""
    opened, high, low, closed, volume = bar
    return opened, high, low, round((opened + closed) / 2, 4), float(int(volume * 0.9))


# --- quotes --------------------------------------------------------------------------------------------------------


def quote(symbol: str, view: View) -> Row | None:
    """Its 17 values at the view's moment; ``None``: nobody knows it."""
    found = data.days(symbol, view.of(symbol))
    if found is None:
        return None
    price, opened, high, low, volume, at, row = _latest(symbol, found, view)
    if row < 0:
        return None
    before = float(found.close[row - 1]) if row else opened
    closes = found.close[max(0, row - 200) : row]
    year = found.close[max(0, row - 252) : row + 1]
    rate = symbol in data.PAIRS
    return {
        "symbol": symbol,
        "name": f"{symbol[:3]}/{symbol[3:]}" if rate else symbol,
        "price": price,
        "changePercentage": round((price / before - 1) * 100, 4),
        "change": round(price - before, 4),
        "volume": volume,
        "dayLow": low,
        "dayHigh": high,
        "yearHigh": float(year.max()) if len(year) else high,
        "yearLow": float(year.min()) if len(year) else low,
        "marketCap": None if rate else price * 1_000_003.7,
        "priceAvg50": float(closes[-50:].mean()) if len(closes) else price,
        "priceAvg200": float(closes.mean()) if len(closes) else price,
        "exchange": data.exchange(symbol),
        "open": opened,
        "previousClose": before,
        "timestamp": at,
    }


def _latest(symbol: str, found: Days, view: View) -> tuple[float, float, float, float, float, int, int]:
    """Price, open, high, low, volume, second of the last update, and which day it is of."""
    row = found.at(view.newest) - 1
    if view.now is not None:
        today, now = data.running_day(symbol, view.now), view.seconds()
        minutes = data.day_minutes(symbol, today, view.of(symbol)) if today <= view.newest else None
        if minutes is not None and len(minutes) and minutes.starts[0] < now < minutes.starts[-1] + 60:
            opened, high, low, closed, volume = _bar(minutes.until(now))
            return closed, opened, high, low, _whole(volume), int(now), found.at(today) - 1
        begun = minutes is not None and len(minutes) and minutes.starts[0] < now
        row = min(row, found.at(today if begun or minutes is None else today - timedelta(days=1)) - 1)
    if row < 0:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0, -1
    day: date = found.dates[row].item()
    minutes = data.day_minutes(symbol, day)
    at = int(minutes.starts[-1] + 60) if minutes is not None and len(minutes) else data.midnight(day)
    opened, high, low, closed, volume = (
        float(column[row]) for column in (found.open, found.high, found.low, found.close, found.volume)
    )
    return closed, opened, high, low, _whole(volume), at, row


def _whole(volume: float) -> float:
    return int(volume) if volume.is_integer() else volume


def short(row: Row) -> Row:
    """The four values of a short quote."""
    return {name: row[name] for name in ("symbol", "price", "change", "volume")}


def quotes(symbols: Sequence[str], view: View) -> list[Row]:
    """Of some symbols: unknown ones are dropped, what was asked twice comes twice."""
    known: dict[str, Row | None] = {}
    found = []
    for symbol in symbols:
        base, scale = data.origin(symbol)
        alone = not base or scale == 1.0 or bool(view.of(symbol) or view.of(base))
        of = symbol if alone else base
        if of not in known:
            known[of] = quote(of, view)
        row = known[of]
        if row is not None:
            found.append(row if alone else _scaled(row, symbol, scale))
    return found


def _scaled(row: Row, symbol: str, scale: float) -> Row:
    prices = {name: round(row[name] * scale, 4) for name in _QUOTED}
    return row | prices | {"symbol": symbol, "name": symbol, "exchange": data.exchange(symbol)}


def quotes_text(rows: Sequence[Row], odd: bool) -> bytes:
    """As JSON; oddly: volumes with an exponent."""
    if odd:
        rows = [row | {"volume": float(row["volume"])} for row in rows]
    return json.dumps(rows).encode()


# --- facts ---------------------------------------------------------------------------------------------------------


def profile(symbol: str) -> list[Row]:
    """``profile``: of what has bars, pairs apart, and of a ticker without any."""
    if symbol in data.PAIRS or (symbol != "NOBARS" and data.days(symbol) is None):
        return []
    foreign = symbol in data.FOREIGN
    venue = data.exchange(symbol)
    full = {"PAR": "Euronext Paris", "NYSE": "New York Stock Exchange", "NASDAQ": "NASDAQ Global Select"}
    found = {"symbol": symbol, "companyName": symbol, "currency": "EUR" if foreign else "USD", "exchange": venue}
    about = {"exchangeFullName": full.get(venue, venue), "country": "FR" if foreign else "US", "cik": "0000320193"}
    return [found | about | {"isEtf": False, "isActivelyTrading": True, "isAdr": False, "fullTimeEmployees": "164000"}]


def splits(symbol: str) -> list[Row]:
    """``splits``, the whole history."""
    return [
        {"symbol": symbol, "date": str(day), "numerator": value, "denominator": 1, "splitType": None}
        for day, value in reversed(data.actions(symbol, "split"))
    ]


def dividends(symbol: str) -> list[Row]:
    """``dividends``, the whole history; missing dates are empty texts."""
    return [
        {
            "symbol": symbol,
            "date": str(day),
            "recordDate": "",
            "paymentDate": "",
            "declarationDate": "",
            "adjDividend": round(value / data.split_ratio(symbol, day), 6),
            "dividend": value,
            "yield": 0.44898318513953694,
            "frequency": "Quarterly",
        }
        for day, value in reversed(data.actions(symbol, "dividend"))
    ]


def forex_list() -> list[Row]:
    """``forex-list``."""
    return [
        {"symbol": pair, "fromCurrency": pair[:3], "toCurrency": pair[3:], "fromName": pair[:3], "toName": pair[3:]}
        for pair in data.PAIRS
    ]


def search(text: str) -> list[Row]:
    """``search-symbol``."""
    names = ("symbol", "companyName", "currency", "exchangeFullName", "exchange")
    found = [profile(symbol)[0] for symbol in data.all_symbols() if text.upper() in symbol and profile(symbol)]
    return [{"name" if name == "companyName" else name: row[name] for name in names} for row in found[:50]]


def stock_list() -> list[Row]:
    """``stock-list``, which states neither exchange nor currency."""
    return [
        {"symbol": symbol, "companyName": symbol}
        for symbol in data.all_symbols()
        if symbol not in data.PAIRS and symbol not in data.CRYPTO
    ]


def exchanges() -> list[Row]:
    """``available-exchanges``."""
    rows = (("NASDAQ", "US", "N/A", "Real-time"), ("NYSE", "US", "N/A", "Real-time"), ("PAR", "FR", ".PA", "15 min"))
    return [
        {"exchange": code, "name": code, "countryName": country, "countryCode": country, "symbolSuffix": suffix}
        | {"delay": delay}
        for code, country, suffix, delay in rows
    ]


def moment(text: str | None) -> datetime | None:
    """The clock as it is set: ISO 8601; without an offset, UTC."""
    if text is None:
        return None
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
