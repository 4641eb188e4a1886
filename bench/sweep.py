"""How fast a sweep of 100 pairs over 20 tickers × 2,520 days is, in all, as a user runs it.

    python bench/sweep.py [--json]

``engine sweep`` with ``sma_cross``, fast 5 to 50 and slow 60 to 240, on random walks in a throw-away PostgreSQL server:
with one process, then with one for each core, interleaved three times, beside ``engine run`` of a single pair.
Wall-clock seconds of the whole command, the fastest; ``of_these_trials`` is without starting and planning.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from servers import server

CONFIG = """\
name: swept
mode: backtest
start: 2003-01-02
end: 2012-08-29
calendar: 24/5
data_source: {name: walks}
broker: {name: simulated}
portfolios:
  - id: a
    cash: 1000000
    tickers: [T00, T01, T02, T03, T04, T05, T06, T07, T08, T09, T10, T11, T12, T13, T14, T15, T16, T17, T18, T19]
    lots: fractional
    lookback: 0
    strategy: {name: sma_cross, params: {fast: 20, slow: 50}}
"""
SOURCE = """\
import numpy as np
from framework import Bars, DataSource, hookimpl

class Walks(DataSource):
    def key(self):
        return "walks"

    def bars(self, tickers, interval, start, end):
        days = np.arange("2002-01-01", "2013-01-01", dtype="datetime64[D]")
        days = days[np.is_busday(days)].astype("datetime64[us]")
        parts = []
        for ticker in tickers:
            rng = np.random.default_rng(int(ticker[1:]))
            close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(days)))), 4)
            code, volume = np.zeros(len(days), np.int32), np.full(len(days), 1e5)
            parts.append(Bars((ticker,), code, days, close, close, close, close, volume))
        return Bars.joined(parts)

@hookimpl
def register_data_sources():
    return {"walks": Walks}
"""
PARAMS = ("strategy.params.fast=5:50:5", "strategy.params.slow=60:240:20")


def engine(folder, url, *arguments):
    """Run a command line; its wall-clock seconds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "framework", *arguments]
    subprocess.run(command, cwd=folder, env=os.environ | {"DATABASE_URL": url}, check=True, capture_output=True)
    return time.perf_counter() - began


def sweep(folder, url, workers, number):
    """Seconds of a sweep in all, and of its trials."""
    out = f"out-{workers}-{number}"
    params = [text for param in PARAMS for text in ("--param", param)]
    seconds = engine(folder, url, "sweep", "c.yaml", *params, "--workers", str(workers), "--out", out)
    lines = (folder / out / "trials.jsonl").read_text().splitlines()[1:]
    assert len(lines) == 100
    return seconds, sum(json.loads(line)["seconds"] for line in lines)


def measure():
    """All figures."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name, server() as url:
        folder = Path(name)
        (folder / "plugins").mkdir()
        (folder / "plugins" / "walks.py").write_text(SOURCE)
        (folder / "c.yaml").write_text(CONFIG)
        engine(folder, url, "db", "upgrade")
        engine(folder, url, "run", "c.yaml", "--out", "first")  # loads the bars
        runs = {"run": [], 1: [], cores: []}
        for number in range(3):
            runs["run"].append(engine(folder, url, "run", "c.yaml", "--out", f"run-{number}"))
            for workers in (1, cores):
                runs[workers].append(sweep(folder, url, workers, number))
    alone, one, many = min(runs["run"]), min(runs[1]), min(runs[cores])
    return {
        "cores": cores,
        "engine_run_seconds": round(alone, 2),
        "one_process_seconds": round(one[0], 2),
        "of_these_trials_seconds": round(one[1], 2),
        "every_core_seconds": round(many[0], 2),
        "trials_per_second": round(100 / many[0], 1),
        "cores_give": round(one[0] / many[0], 2),
        "of_100_times_engine_run": round(many[0] / (100 * alone), 4),
    }


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = measure()
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        print(f"{key:30} {value}")


if __name__ == "__main__":
    main()
