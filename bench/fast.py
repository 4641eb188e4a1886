"""The compiled simulator (extra ``fast``) against a bare compiled kernel that takes the same weights array.

    python bench/fast.py [--runs 5] [--json]

The workloads of ``bench/backtest.py``, weights of ``sma_cross`` 20/50 made beforehand, no costs, fractional lots. The
kernel sizes, trades and values in plain floats and keeps nothing but equity; the simulator rounds money and lots, and
keeps every fill. Also told: the simulator without the extra. CPU seconds of the thread, the fastest of several runs.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numba import njit

sys.path.insert(0, str(Path(__file__).parent))
from backtest import WORKLOADS, job, market, timed

from framework.engine.simulator import simulate
from framework.plugin_manager import PluginManager
from framework.trading.costs import Costs
from framework.trading.strategy import Strategy

TARGET = 0.5


class Given(Strategy):
    """Weights that are there already."""

    def weights(self, panel):
        return self.asked


@njit(cache=True)
def bare(opens, closes, weights, cash):
    """Equity at each close of a portfolio that moves to each bar's weights (NaN: leave) at the next open."""
    bars, tickers = closes.shape
    shares, wanted, equity = np.zeros(tickers), np.zeros(tickers), np.empty(bars)
    for bar in range(bars):
        worth = cash
        for column in range(tickers):
            worth += shares[column] * closes[bar, column]
        equity[bar] = worth
        if bar + 1 == bars:
            break
        cost = 0.0
        for column in range(tickers):
            wanted[column] = shares[column]
            if weights[bar, column] == weights[bar, column]:
                wanted[column] = weights[bar, column] * worth / closes[bar, column]
                cost += (wanted[column] - shares[column]) * opens[bar + 1, column]
        if cost > cash:
            buys, sold = 0.0, 0.0
            for column in range(tickers):
                change = (wanted[column] - shares[column]) * opens[bar + 1, column]
                buys += max(change, 0.0)
                sold -= min(change, 0.0)
            part = (cash + sold) / buys
            for column in range(tickers):
                if wanted[column] > shares[column]:
                    wanted[column] = shares[column] + part * (wanted[column] - shares[column])
            cost = buys * part - sold
        cash -= cost
        for column in range(tickers):
            shares[column] = wanted[column]
    return equity


def measure(plugins, title, runs):
    """All figures of a workload."""
    bars, tickers, interval, _ = WORKLOADS[title]
    panel, clock = market(bars, tickers, interval)
    plain = job(plugins, panel, clock, "sma_cross", Costs())
    strategy = Given()
    strategy.asked = plain.strategy.weights(panel)
    plain = replace(plain, strategy=strategy)
    work = {
        "kernel": lambda: bare(panel.open, panel.close, strategy.asked, 1e6),
        "fast": lambda: simulate(replace(plain, is_fast=True)).equity,
        "plain": lambda: simulate(plain).equity,
    }
    seconds, equity = {name: [] for name in work}, {}
    for each in work.values():
        each()  # compiled
    for _ in range(runs):
        for name, each in work.items():
            took, equity[name] = timed(each)
            seconds[name].append(took)
    best = {name: min(values) for name, values in seconds.items()}
    np.testing.assert_array_equal(equity["fast"], equity["plain"])
    np.testing.assert_allclose(equity["fast"], equity["kernel"], rtol=1e-6)
    ratio = best["kernel"] / best["fast"]
    return {
        "workload": title,
        **{f"{name}_seconds": round(value, 5) for name, value in best.items()},
        "of_kernel": round(ratio, 2),
        "of_kernel_without_fast": round(best["kernel"] / best["plain"], 2),
        "target": TARGET,
        "met": ratio >= TARGET,
    }


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    plugins = PluginManager.load([], None)
    rows = [measure(plugins, title, asked.runs) for title in WORKLOADS]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    print("| workload | kernel, s | with `fast`, s | without, s | of the kernel | target | met |")
    print("| --- | ---: | ---: | ---: | ---: | --- | --- |")
    for row in rows:
        cells = [row["workload"], row["kernel_seconds"], row["fast_seconds"], row["plain_seconds"], row["of_kernel"]]
        print(f"| {' | '.join(map(str, cells))} | ≥ {TARGET} | {'yes' if row['met'] else 'NO'} |")


if __name__ == "__main__":
    main()
