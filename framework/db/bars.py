"""Reading the bars store: ``market_data`` into a panel, with no Python object per bar.

Prices travel as integers of 1e-9: exact, of fixed width, and numpy reads them without a loop.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import psycopg2
from numpy.typing import NDArray

from framework.db.bars_write import EPOCH, SCALE, Conflict, WriteReport, write_bars
from framework.db.failures import translate
from framework.db.pool import Pool
from framework.db.queries import sql
from framework.model.panel import FIELDS, Floats, Panel, Times

__all__ = ["Conflict", "WriteReport", "fingerprint", "read_panel", "write_bars"]

_HEADER_BYTES = 19
_EXACT = 2**53
_COLUMNS = 6  # time and the five fields


def read_panel(pool: Pool, source: str, tickers: Sequence[str], interval: str, start: datetime, end: datetime) -> Panel:
    """The stored bars of some tickers as a panel, of one moment of the database.

    Args:
        pool: one connection is held while the bars come.
        source: value of the column ``source``.
        tickers: the panel's columns, in this order; one without bars becomes a column of NaN.
        interval: ``1min`` … ``1d``.
        start: first bar start, included; aware.
        end: last bar start, included; aware.

    Returns:
        rows are the union of the tickers' timestamps; no bar at all: no rows. As traded, nothing is adjusted.
    """
    if len(set(tickers)) != len(tickers):
        raise ValueError(f"tickers of a panel must be distinct, was {list(tickers)!r}")
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError(f"start and end must be aware, was {start!r}, {end!r}; use UTC")
    asked = {"source": source, "bar_interval": interval, "tickers": list(tickers), "start": start, "end": end}
    received = _Received(len(tickers))
    with pool.connection() as connection, connection.cursor() as cursor:
        statement = cursor.mogrify(sql("read_bars"), asked)
        try:
            cursor.copy_expert(b"COPY (" + statement + b") TO STDOUT (FORMAT binary)", received)
        except psycopg2.Error as error:
            raise translate(error, "query 'read_bars'") from error
    return received.panel(tuple(tickers), interval)


def fingerprint(panel: Panel) -> str:
    """A hash of everything in a panel: the same for the same bars, on every machine."""
    parts: list[Any] = [
        repr((panel.interval, panel.tickers, panel.open.shape)).encode(),
        panel.timestamps.astype("datetime64[us]").astype("<i8").tobytes(),
        *(np.ascontiguousarray(getattr(panel, name), dtype="<f8").data for name in FIELDS),
    ]
    # All at once where that is little: each call lets other threads in.
    if panel.open.size < 100_000:
        return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


class _Received:
    """The file that COPY writes into: keeps each ticker's bytes as they come, and makes the panel of them."""

    def __init__(self, tickers: int) -> None:
        self._columns: list[tuple[memoryview, ...] | None] = [None] * tickers
        self._rest = b""
        self._header = True

    def write(self, data: bytes) -> int:
        """Take some bytes of the stream; usually one ticker's, but nothing depends on that."""
        stream = self._rest + data if self._rest else data
        at = 0
        if self._header:
            if len(stream) < _HEADER_BYTES:
                self._rest = stream
                return len(data)
            self._header, at = False, _HEADER_BYTES
        while (end := _end_of_row(stream, at)) is not None:
            self._keep(memoryview(stream)[at:end])
            at = end
        self._rest = stream[at:]
        return len(data)

    def _keep(self, row: memoryview) -> None:
        if len(row) == 2:
            return  # the trailer
        fields, at = [], 2
        for _ in range(1 + _COLUMNS):
            (size,) = struct.unpack_from(">i", row, at)
            fields.append(row[at + 4 : at + 4 + max(size, 0)])
            at += 4 + max(size, 0)
        (code,) = struct.unpack(">q", fields[0])
        self._columns[code - 1] = tuple(fields[1:]) if len(fields[1]) else None

    def panel(self, tickers: tuple[str, ...], interval: str) -> Panel:
        """Scatter what came into ``(T, N)`` arrays; each ticker's bytes are let go on the way."""
        union = self._union()
        arrays = [np.full((len(union), len(tickers)), np.nan) for _ in FIELDS]
        for code, columns in enumerate(self._columns):
            self._columns[code] = None
            if columns is None:
                continue
            times = _integers(columns[0])
            rows = slice(None) if len(times) == len(union) else np.searchsorted(union, times)
            for array, packed in zip(arrays[:-1], columns[1:-1], strict=True):
                array[rows, code] = _prices(packed)
            arrays[-1][rows, code] = _integers(columns[-1])
        timestamps: Times = EPOCH + union.astype("timedelta64[us]")
        opens, highs, lows, closes, volumes = arrays
        return Panel(tickers, timestamps, opens, highs, lows, closes, volumes, interval)

    def _union(self) -> NDArray[np.int64]:
        """The distinct moments of all tickers, rising, in microseconds since the epoch."""
        distinct = {bytes(columns[0]) for columns in self._columns if columns is not None}
        if not distinct:
            return np.empty(0, dtype=np.int64)
        # A stable sort merges runs that are in order, which each ticker's are; np.unique would hash every moment.
        moments = np.sort(np.concatenate([_integers(packed) for packed in distinct]), kind="stable")
        new = np.ones(len(moments), dtype=np.bool_)
        np.not_equal(moments[1:], moments[:-1], out=new[1:])
        return moments[new]


def _end_of_row(stream: bytes, at: int) -> int | None:
    """Where the row that begins at ``at`` ends; ``None`` if it is not all there."""
    if at + 2 > len(stream):
        return None
    (count,) = struct.unpack_from(">h", stream, at)
    at += 2
    for _ in range(max(count, 0)):
        if at + 4 > len(stream):
            return None
        (size,) = struct.unpack_from(">i", stream, at)
        at += 4 + max(size, 0)
    return at if at <= len(stream) else None


def _integers(packed: memoryview | bytes) -> NDArray[np.int64]:
    return np.frombuffer(packed, dtype=">i8").astype(np.int64)


def _prices(packed: memoryview) -> Floats:
    """The floats nearest to integers of 1e-9."""
    scaled = _integers(packed)
    prices: Floats = scaled / SCALE
    large = np.flatnonzero(scaled > _EXACT)  # over nine million a share: Python's division rounds once, numpy's twice
    if len(large):
        prices[large] = [int(value) / SCALE for value in scaled[large]]
    return prices
