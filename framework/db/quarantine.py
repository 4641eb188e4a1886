"""Bars that were left out of ``market_data``, kept with their values: table ``market_data_quarantine``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from framework.db.pool import Pool
from framework.db.queries import execute, fetch_all
from framework.db.types import Connection
from framework.model.bars import Bars
from framework.model.panel import Times
from framework.model.quality import SUSPECT

_ROWS_AT_ONCE = 10_000
_FIELDS = ("open", "high", "low", "close", "volume")
#: What both PostgreSQL and a datetime can say.
_FIRST, _END = np.datetime64("0001-01-02", "us"), np.datetime64("9999-12-31", "us")


class Quarantined(NamedTuple):
    """How many bars of a ticker are in quarantine under one code, and of which times (``None``: without a date)."""

    source: str
    ticker: str
    interval: str
    code: str
    rows: int
    first: datetime | None
    last: datetime | None
    seen_at: datetime


def keep(
    connection: Connection,
    source: str,
    interval: str,
    tickers: Sequence[str],
    left_out: Sequence[tuple[str, Bars]],
    whole: bool,
) -> None:
    """Put what was left out of a load into quarantine, and let go of what has been accepted meanwhile.

    Args:
        connection: in the transaction that has written the accepted bars.
        source, interval: of the bars.
        tickers: those of this transaction; bars of others are not looked at.
        left_out: bars by code.
        whole: whether the load had everything that the source has: what it did not have is gone.
    """
    for code, bars in left_out:
        wanted = [name in tickers for name in bars.tickers]
        put(connection, source, interval, code, bars if all(wanted) else bars.take(np.array(wanted)[bars.code]))
    asked = {"source": source, "bar_interval": interval, "tickers": list(tickers), "whole": whole}
    execute(connection, "release_quarantine", asked)


def put(connection: Connection, source: str, interval: str, code: str, bars: Bars) -> None:
    """Put bars into quarantine; the same bar again is one row."""
    for start in range(0, len(bars), _ROWS_AT_ONCE):
        part = bars.take(np.arange(start, min(start + _ROWS_AT_ONCE, len(bars))))
        columns: dict[str, Any] = {f"{name}s": getattr(part, name).tolist() for name in _FIELDS}
        columns |= {"tickers": [part.tickers[at] for at in part.code], "times": _texts(part.timestamps)}
        execute(connection, "quarantine_bars", {"source": source, "bar_interval": interval, "code": code} | columns)


def take_out(connection: Connection, source: str, interval: str, ticker: str, bars: Bars) -> int:
    """Remove bars of a ticker from ``market_data``, where they still are as these; how many there were."""
    asked: dict[str, object] = {"source": source, "bar_interval": interval, "ticker": ticker}
    asked["times"] = _texts(bars.timestamps)
    asked |= {name: getattr(bars, name).tolist() for name in _FIELDS}
    return execute(connection, "take_out_bars", asked)


def read_held(pool: Pool, source: str, interval: str, tickers: Sequence[str]) -> list[tuple[str, Bars]]:
    """What checks of stored bars have put into quarantine, by code."""
    asked = {"source": source, "bar_interval": interval, "tickers": list(tickers), "codes": list(SUSPECT)}
    with pool.connection() as connection:
        rows = fetch_all(connection, "read_quarantine", asked)
    return [(code, _bars([row for row in rows if row[-1] == code])) for code in dict.fromkeys(row[-1] for row in rows)]


def list_quarantine(pool: Pool, source: str | None, interval: str | None, tickers: Sequence[str]) -> list[Quarantined]:
    """What is in quarantine: of one source or (``None``) all, of some tickers or (none named) all."""
    asked = {"source": source, "bar_interval": interval, "tickers": list(tickers)}
    with pool.connection() as connection:
        return [Quarantined(*row) for row in fetch_all(connection, "list_quarantine", asked)]


def _bars(rows: Sequence[tuple[Any, ...]]) -> Bars:
    tickers = tuple(dict.fromkeys(row[0] for row in rows))
    code = np.array([tickers.index(row[0]) for row in rows], dtype=np.int32)
    times = np.array([row[1].astimezone(UTC).replace(tzinfo=None) for row in rows], dtype="datetime64[us]")
    return Bars(tickers, code, times, *(np.array([row[at] for row in rows], dtype=np.float64) for at in range(2, 7)))


def _texts(times: Times) -> list[str]:
    usable: NDArray[np.bool_] = (times >= _FIRST) & (times < _END)
    shown = np.datetime_as_string(np.where(usable, times, _FIRST), unit="us").tolist()
    return [f"{text}Z" if fits else "-infinity" for text, fits in zip(shown, usable.tolist(), strict=True)]
