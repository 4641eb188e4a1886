"""The rows of the stand-in of FMP, as the API writes them: newest first, cut without a word, with its odd types."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np

from tests.standins import fmp_data as data
from tests.standins.fmp_data import Changed, Days, Minutes

Row = dict[str, Any]

MOST_ROWS = 5000
WINDOW_DAYS = {"1min": 3, "5min": 10, "15min": 45, "30min": 30, "1hour": 90, "4hour": 180}
MINUTES = {"1min": 1, "5min": 5, "15min": 15, "30min": 30, "1hour": 60, "4hour": 240}
DAILY = ("full", "light", "dividend-adjusted", "non-split-adjusted")
#: So long after its end a bar has other values than it will have.
SETTLING_SECONDS, DAY_SETTLING_SECONDS = 200.0, 1800.0
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
    """All rows of one symbol as text, newest first; a range of it is a slice.

    ``days``: of each row, as a negative ordinal; ``ends``: where each ends in the text, a comma behind each.
    """

    days: list[int]
    ends: list[int]
    text: bytes

    def between(self, first: date, last: date, most: int) -> bytes:
        """The rows of some days, the last ones where there are more than ``most``, without brackets."""
        low = bisect_left(self.days, -last.toordinal())
        high = min(bisect_right(self.days, -first.toordinal()), low + most)
        return self.text[self.ends[low] : self.ends[high] - 1] if low < high else b""


def daily(kind: str, symbol: str, first: date, last: date, view: View) -> bytes:
    """``historical-price-eod/…``: a reversed range is empty; of a long one, the oldest rows are dropped."""
    last, running = min(last, view.newest), ""
    if view.now is not None:
        today, now = data.running_day(symbol, view.now), view.seconds()
        minutes = data.day_minutes(symbol, today, view.of(symbol))
        if minutes is not None and len(minutes) and now < minutes.starts[-1] + 60 + DAY_SETTLING_SECONDS:
            part = minutes.until(now)
            if len(part) and first <= today <= last:
                running = _daily_texts(kind, symbol, _running(symbol, today, part), view.odd)[0]
            today -= timedelta(days=1)
        last = min(last, today)
    page = _page(kind, symbol, view.of(symbol), view.odd)
    found = page.between(first, last, MOST_ROWS - bool(running)) if first <= last else b""
    return b"[" + b",".join(part for part in (running.encode(), found) if part) + b"]"


@lru_cache(maxsize=1100)
def _page(kind: str, symbol: str, changed: Changed, odd: bool) -> Page:
    found = data.days(symbol, changed)
    if found is None:
        return Page([], [0], b"")
    texts, days = _daily_texts(kind, symbol, found, odd), [-day.toordinal() for day in found.dates.tolist()]
    if odd:  # a row that comes twice
        again = range(7, len(texts), 101)
        texts = [text for place, text in enumerate(texts) for _ in range(1 + (place in again))]
        days = [day for place, day in enumerate(days) for _ in range(1 + (place in again))]
    texts = [f"{text}," for text in reversed(texts)]
    return Page(days[::-1], [0, *accumulate(map(len, texts))], "".join(texts).encode())


def _daily_texts(kind: str, symbol: str, found: Days, odd: bool) -> list[str]:
    """Rows, the oldest first."""
    dates = found.dates.astype(str).tolist()
    splits = np.ones(len(dates))
    for ex, value in data.actions(symbol, "split"):
        splits[found.dates < np.datetime64(ex, "D")] *= value
    prices = [getattr(found, name) for name in _PRICES]
    if kind == "dividend-adjusted":
        prices = [np.round(column * found.adjusted / found.close, 6) for column in prices]
    elif kind != "non-split-adjusted" and (splits != 1.0).any():
        prices = [np.round(column / splits, 4) for column in prices]
    volume = found.volume if kind == "non-split-adjusted" else found.volume * splits
    columns, volumes = _written([column.tolist() for column in prices], volume.tolist(), odd)
    head = f'{{"symbol":"{symbol}","date":"%s",'
    if kind == "light":
        form = head + '"price":%s,"volume":%s}'
        return [form % row for row in zip(dates, columns[3], volumes, strict=True)]
    if kind == "full":
        opened, high, low, closed = prices
        more = closed - opened, (closed - opened) / opened * 100, (opened + high + low + closed) / 4
        rest = [np.round(column, 5).tolist() for column in more]
        form = head + '"open":%s,"high":%s,"low":%s,"close":%s,"volume":%s,"change":%s,"changePercent":%s,"vwap":%s}'
        return [form % row for row in zip(dates, *columns, volumes, *rest, strict=True)]
    form = head + '"adjOpen":%s,"adjHigh":%s,"adjLow":%s,"adjClose":%s,"volume":%s}'
    return [form % row for row in zip(dates, *columns, volumes, strict=True)]


def _written(columns: list[list[Any]], volumes: list[float], odd: bool) -> tuple[list[list[Any]], list[Any]]:
    """Values as JSON writes them; oddly: some rows without prices, volumes as floats and with exponents."""
    plain = [int(volume) if volume.is_integer() else volume for volume in volumes]
    if not odd:
        return columns, plain
    for column in columns:
        column[13::97] = ["null"] * len(column[13::97])
    forms = ("{}", "{:.1f}", "{:.12E}")
    return columns, [
        forms[place % 3].format(volume) if volume == int(volume) else volume for place, volume in enumerate(plain)
    ]


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
    texts: list[str] = []
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        if day <= view.newest:
            texts += _day_texts(interval, symbol, day, is_traded, view)
    # Of one day, or of a range that is cut, the first bar is missing.
    return f"[{','.join((texts[1:] if is_short else texts)[::-1])}]".encode()


def _day_texts(interval: str, symbol: str, day: date, is_traded: bool, view: View) -> Sequence[str]:
    """The rows of a day, oldest first."""
    changed, now = view.of(symbol), view.seconds()
    end = datetime(day.year, day.month, day.day, tzinfo=data.NEW_YORK) + timedelta(days=1, seconds=SETTLING_SECONDS)
    if now >= end.timestamp():
        return _final_texts(interval, symbol, day, is_traded, changed, view.odd)
    minutes = data.minutes_of(symbol, day, changed)
    return () if minutes is None else _bar_texts(interval, symbol, day, is_traded, minutes, view.odd, now)


@lru_cache(maxsize=4000)
def _final_texts(
    interval: str, symbol: str, day: date, is_traded: bool, changed: Changed, odd: bool
) -> tuple[str, ...]:
    minutes = data.minutes_of(symbol, day, changed)
    return () if minutes is None else _bar_texts(interval, symbol, day, is_traded, minutes, odd)


def _bar_texts(
    interval: str,
    symbol: str,
    day: date,
    is_traded: bool,
    minutes: Minutes,
    odd: bool,
    now: float = float("inf"),
) -> tuple[str, ...]:
    """Bars of a day; before ``now``, and those that settle then with other values."""
    whole, minutes = minutes, minutes if now == float("inf") else minutes.until(now)
    if not len(minutes):
        return ()
    step, ratio = MINUTES[interval], 1.0 if is_traded else data.split_ratio(symbol, day)
    begun = whole.starts[0] if data.origin(symbol)[0] else data.midnight(day)
    groups = (minutes.starts - begun) // (60 * step)
    at = np.flatnonzero(np.diff(groups, prepend=-1))
    ends = begun + (groups[at] + 1) * 60 * step
    clocks = np.char.replace(data.in_new_york(minutes.starts[at]).astype(str), "T", " ").tolist()
    columns = [
        minutes.open[at],
        np.maximum.reduceat(minutes.high, at),
        np.minimum.reduceat(minutes.low, at),
        minutes.close[np.append(at[1:], len(minutes)) - 1],
    ]
    volume = np.add.reduceat(minutes.volume, at)
    for row in np.flatnonzero(np.minimum(ends, whole.starts[-1] + 60) + SETTLING_SECONDS > now).tolist():
        bar = _provisional((*(float(column[row]) for column in columns), float(volume[row])))
        columns[3][row], volume[row] = bar[3:]
    prices, volumes = _written(
        [np.round(column / ratio, 6).tolist() for column in columns], (volume * ratio).tolist(), odd
    )
    form = '{"date":"%s","open":%s,"low":%s,"high":%s,"close":%s,"volume":%s}'
    opened, high, low, closed = prices
    texts = [form % row for row in zip(clocks, opened, low, high, closed, volumes, strict=True)]
    return tuple([*texts[:8], *texts[7:]] if odd else texts)  # one comes twice


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
    return [row for symbol in symbols if (row := quote(symbol, view)) is not None]


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
