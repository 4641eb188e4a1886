"""Loading and ingesting bars, as ratios to what bare COPY does with the same rows in the same run.

    python bench/load.py [--tickers 500] [--bars 2520] [--repeats 3] [--url URL] [--json]

Without ``--url`` a throw-away embedded server is used. Limits: reading into a panel at most 2 x the time of the same
rows as text into a sink that does nothing; ingesting from text at least 0.5, from arrays at least 0.4 of the rate of a
bare ``COPY FROM`` into the same indexed table; memory of a load at most 2.5 x the panel's bytes + 40 MB (the ratio
shown is to that).
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from servers import server

from framework.db.bars import read_panel, write_bars
from framework.db.bulk import insert_text
from framework.db.database import upgrade
from framework.db.pool import Pool
from framework.model.bars import Bars

SOURCE = "bench"
START, END = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
COLUMNS = (
    "ticker", "timestamp", "open_price", "high_price", "low_price", "close_price", "volume", "bar_interval", "source",
)  # fmt: skip
KEY = ("source", "ticker", "bar_interval", "timestamp")
LIMITS = {"read_ratio": 2.0, "text_rate": 0.5, "array_rate": 0.4, "memory_ratio": 1.0}


class Nothing:
    """A sink that does nothing."""

    def write(self, data: bytes) -> None:
        pass


def universe(tickers: int, count: int) -> Bars:
    """Daily bars of a random walk, prices in cents."""
    rng = np.random.default_rng(7)
    days = np.arange("1990-01-01", "2090-01-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)][:count].astype("datetime64[us]")
    close = np.round(50 + 50 * np.exp(np.cumsum(rng.normal(0, 0.01, (tickers, count)), axis=1)), 2)
    opens = np.round(close * (1 + rng.normal(0, 0.002, close.shape)), 2)
    high, low = np.maximum(opens, close) + 0.25, np.minimum(opens, close) - 0.25
    volume = np.round(rng.uniform(1e5, 1e7, close.shape))
    names = tuple(f"T{k:04d}" for k in range(tickers))
    code = np.repeat(np.arange(tickers, dtype=np.int32), count)
    columns = [np.round(array, 2).ravel() for array in (opens, high, low, close, volume)]
    return Bars(names, code, np.tile(days, tickers), *columns)


def as_text(bars: Bars) -> str:
    """The bars in COPY's text format, with the constant columns of the table."""
    times = np.datetime_as_string(bars.timestamps, unit="s")
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    lines = (
        f"{bars.tickers[c]}\t{t}Z\t{o:.2f}\t{h:.2f}\t{lo:.2f}\t{cl:.2f}\t{v:.0f}\t1d\t{SOURCE}\n"
        for c, t, o, h, lo, cl, v in zip(bars.code, times, *columns, strict=True)
    )
    return "".join(lines)


def seconds(work: Callable[[], Any]) -> float:
    """Time of one call."""
    gc.collect()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def interleaved(repeats: int, *works: Callable[[], Any]) -> list[float]:
    """Best time of each, taken in turns, so that a busy moment of the machine hits all alike."""
    times = [[seconds(work) for work in works] for _ in range(repeats)]
    return [min(column) for column in zip(*times, strict=True)]


def measure_reading(pool: Pool, bars: Bars, repeats: int) -> dict[str, float]:
    """Load into the panel against text into nothing."""
    statement = (
        "COPY (SELECT ticker, timestamp, open_price, high_price, low_price, close_price, volume FROM market_data "
        f"WHERE source = '{SOURCE}' AND bar_interval = '1d' ORDER BY ticker, timestamp) TO STDOUT"
    )

    def text() -> None:
        with pool.connection() as connection, connection.cursor() as cursor:
            cursor.copy_expert(statement, Nothing())

    def load() -> Any:
        return read_panel(pool, SOURCE, bars.tickers, "1d", START, END)

    text_seconds, load_seconds = interleaved(repeats, text, load)
    tracemalloc.start()
    panel = load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    check(panel, bars)
    allowed = 2.5 * panel.nbytes + 40e6
    return {
        "text_to_nothing_seconds": text_seconds,
        "read_panel_seconds": load_seconds,
        "read_ratio": load_seconds / text_seconds,
        "bars_per_second": len(bars) / load_seconds,
        "panel_mb": panel.nbytes / 1e6,
        "peak_mb": peak / 1e6,
        "memory_ratio": peak / allowed,
    }


def check(panel: Any, bars: Bars) -> None:
    """What was read is what was written."""
    shape = (len(bars.tickers), -1)
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(panel, name), getattr(bars, name).reshape(shape).T)


def measure_ingesting(pool: Pool, bars: Bars, repeats: int) -> dict[str, float]:
    """Text and arrays through the staging table against a bare COPY, each into the emptied table."""
    text = as_text(bars)

    def empty() -> None:
        with pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute("TRUNCATE market_data, market_data_version")
            cursor.execute("CHECKPOINT") if repeats > 1 and is_superuser(cursor) else None

    def bare() -> None:
        with pool.transaction() as connection, connection.cursor() as cursor:
            cursor.copy_expert(f"COPY market_data ({', '.join(COLUMNS)}) FROM STDIN", io.StringIO(text))

    def from_text() -> None:
        with pool.transaction() as connection:
            assert insert_text(connection, "market_data", COLUMNS, io.StringIO(text), KEY) == len(bars)

    def from_arrays() -> None:
        with pool.transaction() as connection:
            assert write_bars(connection, SOURCE, "1d", bars).inserted == len(bars)

    times: dict[str, list[float]] = {"bare": [], "text": [], "arrays": []}
    for _ in range(repeats):
        for name, work in (("bare", bare), ("text", from_text), ("arrays", from_arrays)):
            empty()
            times[name].append(seconds(work))
    best = {name: min(values) for name, values in times.items()}
    return {
        "bare_copy_seconds": best["bare"],
        "from_text_seconds": best["text"],
        "from_arrays_seconds": best["arrays"],
        "text_rate": best["bare"] / best["text"],
        "array_rate": best["bare"] / best["arrays"],
    }


def is_superuser(cursor: Any) -> bool:
    """Whether a checkpoint may be asked for."""
    cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    return bool(cursor.fetchone()[0])


def main() -> int:
    """Measure, print, and end with 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tickers", type=int, default=500)
    parser.add_argument("--bars", type=int, default=2520)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--url")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    bars = universe(options.tickers, options.bars)
    with server(options.url, max_wal_size="8GB") as url:
        upgrade(url)
        pool = Pool(url)
        figures = measure_ingesting(pool, bars, options.repeats) | measure_reading(pool, bars, options.repeats)
        pool.close()
    limits = {name: limit for name, limit in LIMITS.items() if name in figures}
    missed = [n for n, limit in limits.items() if (figures[n] < limit if n.endswith("rate") else figures[n] > limit)]
    if options.json:
        print(json.dumps({"bars": len(bars), **figures, "missed": missed}, indent=1))
    else:
        print(f"{len(bars):,} daily bars of {options.tickers} tickers")
        for name, value in figures.items():
            limit = f"   limit {limits[name]}" if name in limits else ""
            print(f"{name:26s}{value:14,.2f}{limit}{'   MISSED' if name in missed else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
