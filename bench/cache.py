"""How much faster a panel comes from its file than from PostgreSQL.

    python bench/cache.py [--runs 3] [--json]

20 tickers × 250,000 minutes, through the code that ``engine run`` reads its bars with: from the database, cleaned, set
on the exchange's clock and kept; then from the kept file. Wall-clock seconds, the fastest of each. A run's own use of
the bars is not in them; how long a first pass over two fields takes is told beside.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from contextlib import closing
from datetime import date
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from servers import server

from framework.data.panel_cache import PanelCache
from framework.data.source import DataSource
from framework.db.bars import write_bars
from framework.db.database import upgrade
from framework.db.pool import Pool
from framework.db.transaction import transaction
from framework.model.bars import Bars

TICKERS, BARS, LIMIT = 20, 250_000, 20


class Walks(DataSource):
    """Random walks, round the clock."""

    def key(self):
        return "walks"


def minutes(column):
    """A ticker's bars."""
    rng = np.random.default_rng(column)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.0003, BARS))), 4)
    stamps = np.datetime64("2020-01-01", "us") + np.arange(BARS) * np.timedelta64(60_000_000, "us")
    volume = rng.integers(1, 1000, BARS).astype(float)
    return Bars((f"T{column:02d}",), np.zeros(BARS, np.int32), stamps, close, close, close, close, volume)


def timed(work):
    """Seconds, and the result."""
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def measure(runs):
    """All figures."""
    names = tuple(f"T{column:02d}" for column in range(TICKERS))
    folder = Path(tempfile.mkdtemp())
    cache = PanelCache(folder / "panels", 4 << 30)
    seconds = {"first": [], "second": [], "touched": []}
    try:
        with server() as url, closing(Pool(url)) as pool:
            upgrade(url)
            for column in range(TICKERS):
                with pool.connection() as connection, transaction(connection):
                    write_bars(connection, "walks", "1min", minutes(column))

            def load():
                return cache.panel_for(pool, Walks(), names, "1min", "24/7", "all", date(2020, 1, 1), date(2020, 6, 30))

            for _ in range(runs):
                shutil.rmtree(cache.folder, ignore_errors=True)
                took, first = timed(load)
                seconds["first"].append(took)
                took, second = timed(load)
                seconds["second"].append(took)
                took, _ = timed(lambda: sum(float(getattr(second.panel, name).sum()) for name in ("open", "close")))  # noqa: B023
                seconds["touched"].append(took)
                assert second.file is not None
                assert first.fingerprint() == second.fingerprint()
    finally:
        shutil.rmtree(folder)
    best = {name: min(values) for name, values in seconds.items()}
    ratio = best["first"] / best["second"]
    return {
        "bars": TICKERS * BARS,
        "first_seconds": round(best["first"], 3),
        "second_seconds": round(best["second"], 4),
        "sum_of_two_fields_seconds": round(best["touched"], 3),
        "ratio": round(ratio, 1),
        "limit": LIMIT,
        "met": ratio >= LIMIT,
    }


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = measure(asked.runs)
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    met = "yes" if found["met"] else "NO"
    print(
        f"{found['bars']:,} bars: read from PostgreSQL and kept {found['first_seconds']} s, from the file "
        f"{found['second_seconds']} s: {found['ratio']} times as fast (asked: {LIMIT}), met: {met}; "
        f"a sum of two fields takes {found['sum_of_two_fields_seconds']} s"
    )


if __name__ == "__main__":
    main()
