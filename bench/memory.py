"""The most memory that a backtest of 2,000 tickers over ten years of days takes, all in all.

    python bench/memory.py [--tickers 2000] [--bars 2520] [--json]

The bars are put into a throw-away PostgreSQL server; then a process of its own does what ``engine run`` does with
them: reads the panel, sets it on the exchange's clock, keeps it, and simulates ``sma_cross`` 20/50 in both styles. A
second one finds the panel kept. Told is the largest resident size that the kernel saw of each, mapped pages included.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from backtest import STYLES
from cache import Walks
from load import universe
from servers import server

from framework.data.panel_cache import PanelCache
from framework.db.bars import write_bars
from framework.db.database import upgrade
from framework.db.pool import Pool
from framework.engine.account import Terms
from framework.engine.simulator import Simulation, simulate
from framework.model.money import FRACTIONAL
from framework.plugin_manager import PluginManager
from framework.trading.costs import Costs

LIMIT_MB = 1000
#: Tickers that are written at once.
PART = 250


def fill(url, tickers, bars):
    """Put the bars into the database."""
    upgrade(url)
    every = universe(tickers, bars)
    with closing(Pool(url)) as pool:
        for start in range(0, tickers, PART):
            part = every.take((every.code >= start) & (every.code < start + PART))
            with pool.transaction() as connection:
                write_bars(connection, "walks", "1d", part)


def run(url, folder, tickers):
    """What a backtest does; prints its figures."""
    began = time.perf_counter()
    plugins = PluginManager.load([], None)
    names = tuple(f"T{k:04d}" for k in range(tickers))
    cache = PanelCache(Path(folder), 4 << 30)
    with closing(Pool(url)) as pool:
        data = cache.panel_for(pool, Walks(), names, "1d", "XNYS", "all", date(1990, 1, 1), date(2005, 1, 1))
    found = {"bars": int(data.panel.close.size), "load_seconds": round(time.perf_counter() - began, 2)}
    found["load_mb"] = peak_mb()
    for style, name in STYLES.items():
        job = Simulation(
            portfolio_id="1",
            strategy=plugins.create("strategy", name, {"fast": 20, "slow": 50}),
            strategy_name=name,
            panel=data.panel,
            timeline=data.timeline,
            first=data.first,
            trade=data.trade,
            schedule="every_bar",
            terms=Terms(1e8, FRACTIONAL, 0.005, Costs()),
            make_indicator=lambda kind, params: plugins.create("indicator", kind, params),
        )
        found[f"{style}_fills"] = len(simulate(job).trades.filled)
        found[f"{style}_mb"] = peak_mb()
    print(json.dumps(found))


def peak_mb():
    """Of this process, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(tickers, bars):
    """All figures: a first run, and a second."""
    with tempfile.TemporaryDirectory() as folder, server() as url:
        fill(url, tickers, bars)
        command = [sys.executable, __file__, "--run", url, "--folder", folder, "--tickers", str(tickers)]
        runs = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in "12"]
    most = max(value for each in runs for key, value in each.items() if key.endswith("_mb"))
    return {"first": runs[0], "second": runs[1], "most_mb": most, "limit_mb": LIMIT_MB, "met": most <= LIMIT_MB}


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tickers", type=int, default=2000)
    parser.add_argument("--bars", type=int, default=2520)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        run(asked.run, asked.folder, asked.tickers)
        return
    found = measure(asked.tickers, asked.bars)
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    for which in ("first", "second"):
        print(f"{which} run: " + ", ".join(f"{key} {value:,}" for key, value in found[which].items()))
    print(f"most {found['most_mb']:,} MB of {found['limit_mb']:,}: met: {'yes' if found['met'] else 'NO'}")


if __name__ == "__main__":
    main()
