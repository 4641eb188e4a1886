"""What splits and dividends cost a simulation, in one run.

    python bench/actions.py [--runs 5]

``sma_cross`` 20/50 at its weights on every bar, demo's costs, 500 tickers over 2,520 days: alone, and with a dividend a
quarter of each ticker and a split of every third, 20,000 in all. CPU seconds of the simulating thread, fastest of
interleaved runs; final equity of the two differs by what the actions brought.
"""

import argparse
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from backtest import job, market, timed

from framework.engine.simulator import simulate
from framework.model.acting import Acting
from framework.model.bars import CorporateAction
from framework.plugin_manager import PluginManager

QUARTER = 63
SHAPES = {"500 tickers": 500, "20 tickers": 20, "5 tickers": 5}


def actions(panel, clock, rng):
    """A dividend a quarter of each ticker, and a split of every third."""
    found = []
    for column, ticker in enumerate(panel.tickers):
        days = [*range(rng.integers(1, QUARTER), len(panel), QUARTER)]
        found += [CorporateAction(ticker, clock.session[day].item(), "dividend", Decimal("0.18")) for day in days]
        if column % 3 == 0:
            day = clock.session[rng.integers(100, len(panel))].item()
            found.append(CorporateAction(ticker, day, "split", Decimal(2)))
    return Acting.of(panel, clock.session, found)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    plugins = PluginManager.load()
    costs = {"commission": {"name": "percent", "rate": 0.0005}, "slippage": {"name": "bps", "bps": 1}}
    demo = plugins.create("broker", "simulated", costs).costs()
    print("| workload | actions | alone, s | with them, s | times |\n| --- | ---: | ---: | ---: | ---: |")
    for title, tickers in SHAPES.items():
        panel, clock = market(2520, tickers, "1d")
        acting = actions(panel, clock, np.random.default_rng(2))
        params = {"fast": 20, "slow": 50, "rebalance": "every_bar"}
        seconds = {"alone": [], "with": []}
        for _ in range(runs):
            for name in seconds:
                made = replace(
                    job(plugins, panel, clock, "sma_cross", demo),
                    strategy=plugins.create("strategy", "sma_cross", params),
                    acting=acting if name == "with" else Acting(),
                )
                seconds[name].append(timed(lambda: simulate(made))[0])  # noqa: B023
        alone, together = min(seconds["alone"]), min(seconds["with"])
        print(f"| {title}, 2,520 days | {len(acting.acts):,} | {alone:.3f} | {together:.3f} | {together / alone:.2f} |")


if __name__ == "__main__":
    main()
