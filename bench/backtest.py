"""How fast the simulator is, against floors measured in the same run (see ``floors.py``).

    python bench/backtest.py [--runs 5] [--json]

Simulation alone, data in memory, indicators included: ``sma_cross`` 20/50, fractional lots, weight 1/N, cash buffer 0.
Each figure is the fastest of interleaved runs, in CPU seconds of the
thread that simulates: on a shared machine
anything else measures the neighbours. Also printed: the memory from load to end, through PostgreSQL.
"""

import argparse
import json
import os
import platform
import sys
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from floors import floor_a, floor_b

from framework.engine.account import Terms
from framework.engine.simulator import Simulation, simulate
from framework.model.money import FRACTIONAL
from framework.model.panel import Panel
from framework.model.timeline import Timeline
from framework.plugin_manager import PluginManager
from framework.trading.costs import Costs

WORKLOADS = {
    "500 tickers, 2,520 days": (2520, 500, "1d", {"weights": 0.8, "on_bar": 0.5}),
    "50 tickers, 100,000 minutes": (100_000, 50, "1min", {"weights": 0.8, "on_bar": 0.5}),
    "1 ticker, 1,000,000 minutes": (1_000_000, 1, "1min", {"weights": 0.2, "on_bar": None}),
}
STYLES = {"weights": "sma_cross", "on_bar": "sma_cross_on_bar"}
#: ``on_bar`` with a single ticker takes at most this many times as long as floor (b).
ON_BAR_TIMES_B = 30
BUSINESS_DAY_MINUTES = 390


def market(bars, tickers, interval, seed=1):
    """Random walks: a panel and its clock."""
    rng = np.random.default_rng(seed)
    step = 0.01 if interval == "1d" else 0.0005
    close = 100 * np.exp(np.cumsum(rng.normal(0, step, (bars, tickers)), axis=0))
    opens = close * np.exp(rng.normal(0, step / 3, (bars, tickers)))
    close, opens = np.round(close, 6), np.round(opens, 6)
    if interval == "1d":
        days = np.arange(bars)
        stamps = np.busday_offset("2003-01-01", days, roll="forward").astype("datetime64[us]")
    else:
        days = np.arange(bars) // BUSINESS_DAY_MINUTES
        minutes = (14 * 60 + 30 + np.arange(bars) % BUSINESS_DAY_MINUTES) * np.timedelta64(60_000_000, "us")
        stamps = np.busday_offset("2003-01-01", days, roll="forward").astype("datetime64[us]") + minutes
    volume = np.full((bars, tickers), 1e5)
    names = tuple(f"T{column:03d}" for column in range(tickers))
    panel = Panel(names, stamps, opens, np.maximum(opens, close), np.minimum(opens, close), close, volume, interval)
    return panel, clock_of(stamps)


def clock_of(stamps):
    """A clock on which each bar is known at its stamp."""
    session = stamps.astype("datetime64[D]")
    return Timeline(stamps, stamps, stamps, session, np.busday_offset(session, 1, roll="forward"))


def job(plugins, panel, clock, name, costs, fast=20, slow=50):
    """The simulation to time."""
    return Simulation(
        portfolio_id="1",
        strategy=plugins.create("strategy", name, {"fast": fast, "slow": slow}),
        strategy_name=name,
        panel=panel,
        timeline=clock,
        first=0,
        trade=panel,
        schedule="every_bar",
        terms=Terms(1e6, FRACTIONAL, 0.0, costs),
        make_indicator=lambda kind, params: plugins.create("indicator", kind, params),
    )


def timed(work):
    """CPU seconds of this thread, which other work on the machine disturbs less than the clock; and the result."""
    began = time.thread_time()
    result = work()
    return time.thread_time() - began, result


def measure(plugins, title, runs):
    """All figures of one workload."""
    bars, tickers, interval, targets = WORKLOADS[title]
    panel, clock = market(bars, tickers, interval)
    demo = plugins.create(
        "broker",
        "simulated",
        {"commission": {"name": "percent", "rate": 0.0005}, "slippage": {"name": "bps", "bps": 1}},
    ).costs()
    variants = {
        (style, label): (STYLES[style], costs)
        for style in STYLES
        for label, costs in (("without costs", Costs()), ("demo's costs", demo))
    }
    seconds = {"floor a": [], **{key: [] for key in variants}}
    if tickers == 1:
        seconds["floor b"] = []
    final = {}
    for _ in range(runs):
        for key in seconds:
            if key == "floor a":
                took, final[key] = timed(lambda: floor_a(panel.open, panel.close))
            elif key == "floor b":
                took, _ = timed(lambda: floor_b(panel.open, panel.close))
            else:
                took, result = timed(lambda: simulate(job(plugins, panel, clock, *variants[key])))  # noqa: B023
                final[key] = result.equity[-1]
            seconds[key].append(took)
    fastest = {key: min(values) for key, values in seconds.items()}
    rows = [row(title, bars * tickers, key, fastest, targets) for key in seconds]
    for style in STYLES:
        ours, floor = final[style, "without costs"], final["floor a"]
        assert abs(ours / floor - 1) < 1e-9, f"{title}: {style} ended at {ours}, the floor at {floor}"
    return rows


def row(title, cells, key, fastest, targets):
    """One line of the table."""
    style, label = key if isinstance(key, tuple) else (key, "")
    seconds = fastest[key]
    found = {
        "workload": title,
        "what": f"{style}, {label}" if label else style,
        "seconds": round(seconds, 4),
        "million_bars_per_second": round(cells / seconds / 1e6, 2),
        "of_floor_a": round(fastest["floor a"] / seconds, 3),
        "target": None,
        "met": None,
    }
    if label == "without costs" and targets[style] is not None:
        found |= {"target": f"≥ {targets[style]} of floor a", "met": found["of_floor_a"] >= targets[style]}
    elif label == "without costs":
        times = seconds / fastest["floor b"]
        found |= {"target": f"≤ {ON_BAR_TIMES_B} × floor b: {times:.1f}", "met": times <= ON_BAR_TIMES_B}
    return found


def memory(plugins):
    """Peak of Python's allocations from the start of the load to the end of the simulation, against the panel."""
    from servers import server

    from framework.db.bars import read_panel, write_bars
    from framework.db.database import upgrade
    from framework.db.pool import Pool
    from framework.model.bars import Bars

    panel, clock = market(2520, 500, "1d")
    span = datetime(2000, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    with server() as url:
        upgrade(url)
        pool = Pool(url)
        code = np.tile(np.arange(500, dtype=np.int32), 2520)
        fields = [getattr(panel, name).ravel() for name in ("open", "high", "low", "close", "volume")]
        with pool.transaction() as connection:
            stamps = np.repeat(panel.timestamps, 500)
            write_bars(connection, "bench", "1d", Bars(panel.tickers, code, stamps, *fields))
        tickers, bytes_of_panel = panel.tickers, panel.nbytes
        del code, fields, stamps, panel
        tracemalloc.start()
        simulate(job(plugins, read_panel(pool, "bench", tickers, "1d", *span), clock, "sma_cross", Costs()))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        pool.close()
    limit = 3 * bytes_of_panel + 50e6
    return {"panel_mb": bytes_of_panel / 1e6, "peak_mb": peak / 1e6, "limit_mb": limit / 1e6, "met": peak <= limit}


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--only", help="part of a workload's name")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    plugins = PluginManager.load()
    rows = [
        line
        for title in WORKLOADS
        if not options.only or options.only in title
        for line in measure(plugins, title, options.runs)
    ]
    peak = None if options.only else memory(plugins)
    if options.json:
        print(json.dumps({"rows": rows, "memory": peak}, indent=2))
        return
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, NumPy {np.__version__}; fastest of {options.runs} interleaved runs\n"
    )
    print("| workload | what | CPU seconds | million bars/s | of floor a | target | met |")
    print("| --- | --- | ---: | ---: | ---: | --- | --- |")
    for line in rows:
        met = {True: "yes", False: "NO", None: ""}[line["met"]]
        print(
            f"| {line['workload']} | {line['what']} | {line['seconds']:.4f} | {line['million_bars_per_second']:.2f} "
            f"| {line['of_floor_a']:.2f} | {line['target'] or ''} | {met} |"
        )
    if peak:
        print(
            f"\nMemory from load to end, 500 × 2,520: {peak['peak_mb']:.0f} MB; the panel holds "
            f"{peak['panel_mb']:.0f} MB, the limit is 3 × that + 50 MB = {peak['limit_mb']:.0f} MB"
        )


if __name__ == "__main__":
    main()
