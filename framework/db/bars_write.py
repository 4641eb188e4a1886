"""Writing the bars store: arrays into ``market_data``, with no Python object per bar.

Bars go by binary COPY into a temporary table of integers, and from there, in one statement, where their key is free.
A stored bar that differs from the offered one is corrected: it takes the new values, and the table
``market_data_corrections`` keeps the old ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import psycopg2
import psycopg2.errors
from numpy.typing import NDArray

from framework.db.bulk import require_transaction
from framework.db.failures import translate
from framework.db.queries import execute, fetch_all, fetch_one, sql
from framework.db.transaction import savepoint
from framework.db.types import Connection
from framework.errors import DatabaseError, DataError
from framework.model.bars import INTERVALS, Bars
from framework.model.panel import Floats

#: Prices are stored as multiples of 1/SCALE.
SCALE = 1_000_000_000
#: PostgreSQL's zero of time.
EPOCH = np.datetime64("2000-01-01T00:00:00", "us")
#: Above this a price times SCALE no longer fits an int64.
PRICE_LIMIT = 9_200_000_000

_EXAMPLES = 5
_FIELDS = ("open", "high", "low", "close", "volume")
_CHUNK_ROWS = 20_000
_ROW = np.dtype(
    [("fields", ">i2"), ("code_size", ">i4"), ("code", ">i4"), ("time_size", ">i4"), ("time", ">i8")]
    + [part for name in _FIELDS for part in ((f"{name}_size", ">i4"), (name, ">i8"))]
)

Ints = NDArray[np.int64]
Values = tuple[Decimal, Decimal, Decimal, Decimal, int]


@dataclass(frozen=True)
class Conflict:
    """Two bars of one key with different values: the one that was there first, and the one that came.

    ``stored`` and ``offered`` are open, high, low, close and volume.
    """

    ticker: str
    timestamp: datetime
    stored: Values
    offered: Values

    def __str__(self) -> str:
        stored, offered = (" ".join(map(str, values)) for values in (self.stored, self.offered))
        return f"{self.ticker} {self.timestamp:%Y-%m-%d %H:%M} UTC: stored {stored}, offered {offered}"


@dataclass(frozen=True)
class WriteReport:
    """What became of the bars of one load; the first four counts add up to the bars offered.

    Attributes:
        inserted: are new in the database.
        identical: were there before with the same values (or twice in the load).
        corrected: were there with other values, which they have lost to those of the load.
        conflicting: left out, because the load has the key before with other values.
        removed: were stored and are not in the load, which is all there is of its tickers.
        examples: the first few that were corrected or left out.
    """

    inserted: int = 0
    identical: int = 0
    corrected: int = 0
    conflicting: int = 0
    removed: int = 0
    examples: tuple[Conflict, ...] = ()


def write_bars(
    connection: Connection, source: str, interval: str, bars: Bars, *, complete: Sequence[str] = ()
) -> WriteReport:
    """Bring bars into ``market_data``; prices are rounded to 1e-9, volumes to whole shares.

    What was there with other values is corrected, and what it was stays in ``market_data_corrections``.

    Args:
        connection: inside a transaction, in which the coverage is best written too.
        source: value of the column ``source``.
        interval: ``1min`` … ``1d``.
        bars: in any order.
        complete: tickers of which these are all the bars there are: what else is stored of them is removed.

    Raises:
        DataError: a bar that cannot be stored (not finite, not positive, high below low); names it. Nothing is written.
    """
    require_transaction(connection, "writing bars")
    if interval not in INTERVALS:
        raise ValueError(f"interval was {interval!r}; allowed: {', '.join(INTERVALS)}")
    if not len(bars):
        return WriteReport()
    ordered = _Ordered(bars)
    asked: dict[str, object] = {"source": source, "bar_interval": interval, "tickers": list(ordered.tickers)}
    asked["examples"] = _EXAMPLES
    whole: dict[str, object] = {"source": source, "bar_interval": interval, "tickers": list(complete)}
    whole["codes"] = [ordered.tickers.index(name) + 1 if name in ordered.tickers else 0 for name in complete]
    had_bars = bool(complete) and _have_bars(connection, whole)
    execute(connection, "create_staged_bars")
    with connection.cursor() as cursor:
        try:
            cursor.copy_expert(sql("copy_staged_bars"), ordered.stream(), size=1 << 20)
        except psycopg2.Error as error:
            raise translate(error, "query 'copy_staged_bars'") from error
    staged = ordered.staged
    inserted = _insert(connection, asked, ordered)
    rows = fetch_all(connection, "correct_bars", asked) if inserted < staged else []
    corrected = int(rows[0][0]) if rows else 0
    removed = execute(connection, "remove_bars", whole) if had_bars else 0
    execute(connection, "drop_staged_bars")
    examples = tuple(Conflict(row[1], row[2].astimezone(UTC), row[3:8], row[8:13]) for row in rows)
    return WriteReport(
        inserted=inserted,
        identical=staged - inserted - corrected + ordered.repeated,
        corrected=corrected,
        conflicting=ordered.conflicting,
        removed=removed,
        examples=(*ordered.examples, *examples)[:_EXAMPLES],
    )


def _insert(connection: Connection, asked: Mapping[str, object], ordered: _Ordered) -> int:
    """Add the staged bars whose key is free; how many."""
    row = fetch_one(connection, "have_bars_between", {**asked, **ordered.spans()})
    if row is not None and not row[0]:
        try:
            with savepoint(connection, "adding"):
                return execute(connection, "add_staged_bars", asked)
        except DatabaseError as error:
            if not isinstance(error.__cause__, psycopg2.errors.UniqueViolation):
                raise
            # Another transaction has added some of them since we looked.
    return execute(connection, "insert_staged_bars", asked)


def _have_bars(connection: Connection, asked: Mapping[str, object]) -> bool:
    row = fetch_one(connection, "have_bars", asked)
    return row is not None and bool(row[0])


class _Ordered:
    """The bars of a load as integers, sorted by ticker and time, each key once.

    Everybody writes in this order, so that two loads of the same keys wait for each other and cannot deadlock.
    """

    def __init__(self, bars: Bars) -> None:
        self.tickers = tuple(sorted(set(bars.tickers)))
        rank = np.searchsorted(self.tickers, bars.tickers).astype(np.int32)
        self.code = rank[bars.code]
        self.time = (bars.timestamps.astype("datetime64[us]") - EPOCH).astype(np.int64)
        self.values: dict[str, Ints] = {name: scaled(getattr(bars, name)) for name in _FIELDS[:-1]}
        self.values["volume"] = _whole(bars.volume)
        self._refuse_unusable(bars)
        later = _follows(self.code, self.time)
        if not later.all():
            self._take(np.lexsort((self.time, self.code)))
            later = _follows(self.code, self.time)
        self._drop_repeated(later)

    @property
    def staged(self) -> int:
        """How many bars are left, keys being distinct."""
        return len(self.code)

    def _take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> None:
        self.code, self.time = self.code[index], self.time[index]
        self.values = {name: array[index] for name, array in self.values.items()}

    def _drop_repeated(self, later: NDArray[np.bool_]) -> None:
        """Keep the first bar of each key (sorting was stable), and judge the others by it."""
        self.repeated = self.conflicting = 0
        self.examples: tuple[Conflict, ...] = ()
        first = np.concatenate(([True], later))
        if first.all():
            return
        others = np.flatnonzero(~first)
        kept = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))[others]
        same = np.ones(len(others), dtype=np.bool_)
        for values in self.values.values():
            same &= values[others] == values[kept]
        self.repeated = int(np.count_nonzero(same))
        self.conflicting = len(others) - self.repeated
        pairs = zip(kept[~same][:_EXAMPLES], others[~same][:_EXAMPLES], strict=True)
        self.examples = tuple(self._conflict(int(stored), int(offered)) for stored, offered in pairs)
        self._take(first)

    def _conflict(self, stored: int, offered: int) -> Conflict:
        (moment,) = self._moments(np.array([stored]))
        ticker = self.tickers[self.code[stored]]
        return Conflict(ticker, moment, self._values(stored), self._values(offered))

    def _values(self, row: int) -> Values:
        price = [(Decimal(int(self.values[name][row])) / SCALE).normalize() for name in _FIELDS[:-1]]
        return price[0], price[1], price[2], price[3], int(self.values["volume"][row])

    def spans(self) -> dict[str, object]:
        """The first and the last time of each ticker."""
        edges = np.searchsorted(self.code, np.arange(len(self.tickers) + 1))
        used = edges[:-1] < edges[1:]
        first, last = (self._moments(at[used]) for at in (edges[:-1], edges[1:] - 1))
        names = [name for name, is_used in zip(self.tickers, used, strict=True) if is_used]
        return {"tickers": names, "first": first, "last": last}

    def _moments(self, rows: NDArray[np.intp]) -> list[datetime]:
        return [moment.replace(tzinfo=UTC) for moment in (EPOCH + self.time[rows].astype("timedelta64[us]")).tolist()]

    def stream(self) -> _Stream:
        """The bars in PostgreSQL's binary COPY format."""
        return _Stream(self)

    def rows(self, start: int, stop: int) -> bytes:
        """Some bars as COPY rows."""
        rows = np.empty(min(stop, self.staged) - start, dtype=_ROW)
        rows["fields"] = 2 + len(_FIELDS)
        rows["code_size"], rows["code"] = 4, self.code[start:stop] + 1
        rows["time_size"], rows["time"] = 8, self.time[start:stop]
        for name in _FIELDS:
            rows[f"{name}_size"], rows[name] = 8, self.values[name][start:stop]
        return rows.tobytes()

    def _refuse_unusable(self, bars: Bars) -> None:
        low, high = self.values["low"], self.values["high"]
        usable = (low > 0) & (self.values["volume"] >= 0) & ~np.isnat(bars.timestamps)
        for name in ("open", "close"):
            usable &= (low <= self.values[name]) & (self.values[name] <= high)
        if usable.all():
            return
        bad = int(np.argmin(usable))
        shown = ", ".join(f"{name} {getattr(bars, name)[bad]!s}" for name in _FIELDS)
        raise DataError(
            f"{np.count_nonzero(~usable)} bars cannot be stored, first: {bars.tickers[bars.code[bad]]} at "
            f"{bars.timestamps[bad]}: {shown}; prices must be > 0 and < {PRICE_LIMIT}, low <= open, close <= high, "
            "volume >= 0; leave such bars out"
        )


class _Stream:
    """A file for COPY to read from, made chunk by chunk."""

    def __init__(self, ordered: _Ordered) -> None:
        self._chunks = _chunks(ordered)
        self._chunk = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most ``size``; empty at the end."""
        if not self._chunk:
            self._chunk = memoryview(next(self._chunks, b""))
        part = self._chunk if size < 0 else self._chunk[:size]
        self._chunk = self._chunk[len(part) :]
        return bytes(part)

    def readline(self, size: int = -1) -> bytes:
        """As :meth:`read`; psycopg2 asks that it exists."""
        return self.read(size)


def _chunks(ordered: _Ordered) -> Iterator[bytes]:
    yield b"PGCOPY\n\xff\r\n\x00" + bytes(8)
    for start in range(0, ordered.staged, _CHUNK_ROWS):
        yield ordered.rows(start, start + _CHUNK_ROWS)
    yield b"\xff\xff"


def scaled(prices: Floats) -> Ints:
    """Prices as integers of 1e-9, each rounded once; what is not finite or too large becomes −1."""
    fit = np.abs(prices) < PRICE_LIMIT  # false for NaN, too
    usable = np.where(fit, prices, 0.0)
    # Whole and fraction apart: a large price times 1e9 would be rounded before it is an integer.
    whole = np.floor(usable)
    result = whole.astype(np.int64) * SCALE + np.rint((usable - whole) * SCALE).astype(np.int64)
    return np.where(fit, result, np.int64(-1))


def _whole(volume: Floats) -> Ints:
    fit = np.abs(volume) < 2.0**62
    return np.where(fit, np.rint(np.where(fit, volume, 0.0)), -1.0).astype(np.int64)


def _follows(code: NDArray[np.int32], time: Ints) -> NDArray[np.bool_]:
    """Shape ``(K - 1,)``: whether each bar's key is greater than that of the bar before."""
    follows: NDArray[np.bool_] = (code[1:] > code[:-1]) | ((code[1:] == code[:-1]) & (time[1:] > time[:-1]))
    return follows
