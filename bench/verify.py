"""Checking what the database holds: coverage and verify over ten million rows, in under 60 seconds, memory flat.

    python bench/verify.py [--tickers 20] [--sessions 1282] [--url URL] [--json]

Without ``--url`` a throw-away embedded server is used. The rows are minutes of XNYS sessions, a random walk; some have
a spike, a hole or an hour of shift, so that there is something to find. Memory is that of this process, at its most.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
from servers import server

from framework.data.calendars import covering
from framework.data.verify import Asked, verify
from framework.db.bars import write_bars
from framework.db.database import upgrade
from framework.db.market import Coverage, list_coverage, write_coverage
from framework.db.pool import Pool
from framework.model.bars import Bars

LIMIT_SECONDS = 60.0
FIRST, LAST = date(2005, 1, 3), date(2012, 12, 31)


def minutes(count: int) -> np.ndarray:
    """When the bars of ``count`` sessions start."""
    known = covering("XNYS", FIRST, LAST)
    parts = zip(known.opens[:count], known.closes[:count], strict=True)
    return np.concatenate([np.arange(opens, closes, np.timedelta64(1, "m")) for opens, closes in parts])


def series(name: str, times: np.ndarray, seed: int) -> Bars:
    """A random walk of minutes, prices in cents."""
    rng = np.random.default_rng(seed)
    close = np.round(50 * np.exp(np.cumsum(rng.normal(0, 0.0004, len(times)))), 4) + 1
    opens = np.concatenate((close[:1], close[:-1]))
    high, low = np.maximum(opens, close) + 0.01, np.minimum(opens, close) - 0.01
    close[5_000], high[5_000] = high[5_000] * 1.5, high[5_000] * 1.5
    keep = np.ones(len(times), dtype=bool)
    keep[7_000:7_003] = False
    late = (times > times[-1] - np.timedelta64(7, "D")) & (seed % 5 == 0)
    shifted = np.where(late, times + np.timedelta64(1, "h"), times)
    volume = np.round(rng.uniform(100, 10_000, len(times)))
    bars = Bars((name,), np.zeros(len(times), dtype=np.int32), shifted, opens, high, low, close, volume)
    return bars.take(keep)


def fill(pool: Pool, tickers: int, sessions: int) -> int:
    """Write the rows; how many there are."""
    times, rows = minutes(sessions), 0
    for number in range(tickers):
        name = f"T{number:03d}"
        bars = series(name, times, number)
        with pool.transaction() as connection:
            rows += write_bars(connection, "bench", "1min", bars).inserted
            covered = (moment.astype("datetime64[D]").item() for moment in (times[0], times[-1]))
            write_coverage(connection, "bench", "1min", [Coverage(name, *covered)])
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE market_data")
    return rows


def forget_peak() -> None:
    """Let the most memory that this process has held be what it holds now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def megabytes() -> float:
    """The most memory that this process has held since."""
    peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    assert peak is not None, "Linux tells it"
    return int(peak[1]) / 1024


def main() -> int:
    """Measure, print, and end with 1 where the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tickers", type=int, default=20)
    parser.add_argument("--sessions", type=int, default=1282)
    parser.add_argument("--url")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with server(options.url, max_wal_size="8GB") as url:
        upgrade(url)
        pool = Pool(url)
        rows = fill(pool, options.tickers, options.sessions)
        forget_peak()
        before, started = megabytes(), time.perf_counter()
        covered = len(list_coverage(pool, None, []))
        coverage_seconds = time.perf_counter() - started
        verify(pool, Asked(tickers=("T000",)))  # a first ticker: what memory one takes
        one, started, worked = megabytes(), time.perf_counter(), time.process_time()
        found = verify(pool, Asked())
        verify_seconds, own_seconds = time.perf_counter() - started, time.process_time() - worked
        pool.close()
    figures = {
        "rows": rows,
        "series": covered,
        "coverage_seconds": coverage_seconds,
        "verify_seconds": verify_seconds,
        "of_this_process_seconds": own_seconds,
        "rows_per_second": found.bars / verify_seconds,
        "memory_before_mb": before,
        "memory_one_series_mb": one,
        "memory_all_mb": megabytes(),
        "found": {code: seen.count for code, seen in found.found.items()},
    }
    missed = coverage_seconds + verify_seconds > LIMIT_SECONDS
    if options.json:
        print(json.dumps({**figures, "missed": missed}, indent=1))
    else:
        for name, value in figures.items():
            print(f"{name:24s}{value:>16,.2f}" if isinstance(value, float) else f"{name:24s}{value!s:>16}")
        print(f"limit {LIMIT_SECONDS:.0f} s{'   MISSED' if missed else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
