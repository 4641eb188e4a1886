"""How long a report takes: the tear sheet, the CSV set and the summary.

    python bench/report.py [--runs 3] [--json]

A backtest of 500 tickers over 2,520 days with more than 100,000 trades, and the demo (three portfolios, eight years,
344 trades), simulated once; then each report is written ``--runs`` times into an empty folder, by the wall clock.
Limits: 10 s, and 2 s on top of the demo's run; the page of 20,000 trades is below 3 MB. The first writing loads
plotly's script, so it is shown apart.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from backtest import job, market

from framework.engine.backtest import FILL_RULE, versions
from framework.engine.simulator import simulate
from framework.model.result import RunResult
from framework.plugin_manager import PluginManager
from framework.report.assemble import accounts
from framework.report.basis import basis_of
from framework.report.tear_sheet import render
from framework.report.write import write_run

LARGE_SECONDS, DEMO_SECONDS, PAGE_MB = 10.0, 2.0, 3.0
TRADES, PAGE_TRADES = 100_000, 20_000
#: Crossings of these are often enough for so many trades.
FAST, SLOW = 4, 14


def large(plugins):
    """500 tickers, 2,520 days, with costs and a benchmark."""
    panel, clock = market(2520, 500, "1d")
    costs = plugins.create(
        "broker",
        "simulated",
        {"commission": {"name": "percent", "rate": 0.0005}, "slippage": {"name": "bps", "bps": 1}},
    ).costs()
    asked = job(plugins, panel, clock, "sma_cross", costs)
    strategy = plugins.create("strategy", "sma_cross", {"fast": FAST, "slow": SLOW})
    result = simulate(replace(asked, strategy=strategy))
    hold = simulate(
        replace(asked, strategy=plugins.create("strategy", "buy_and_hold", {}), strategy_name="buy_and_hold")
    )
    return RunResult(
        name="large", portfolios=(result,), benchmarks={"1": hold}, prices="adjusted", fill=FILL_RULE,
        costs=costs.describe(), config={}, versions=versions(), fingerprint="0" * 32, notes=(), load_seconds=0.0,
    )  # fmt: skip


def demo():
    """The demo's result, from a throw-away database."""
    from servers import server

    from framework.app import load_plugins
    from framework.config.load import load
    from framework.db.database import open_database, upgrade
    from framework.plan import Plan
    from framework.runs import run_config

    loaded = load(Path(__file__).parents[1] / "configs" / "demo.yaml", ())
    with server(None) as url:
        upgrade(url)
        database = open_database(url, Path.cwd())
        try:
            plan = Plan(loaded, load_plugins(loaded))
            return run_config(plan, database, lambda *told: None, lambda line: None)
        finally:
            database.close()


def written(run, runs):
    """Seconds of each writing, the first one first."""
    seconds = []
    for _ in range(runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            write_run(run, Path(folder) / "run")
            seconds.append(time.perf_counter() - began)
    return seconds


def page_mb(run):
    """Size of a page with the latest 20,000 trades, megabytes."""
    made = accounts(run)
    account = made.portfolios[0]
    fills = account.fills
    latest = fills.take(slice(max(0, len(fills) - PAGE_TRADES), None))
    short = replace(account, fills=latest)
    page = render(basis_of(run), replace(made, total=replace(made.total, fills=latest), portfolios=(short,)))
    return len(page.encode()) / 1e6


def main():
    """Measure, print, and end with 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    run = large(PluginManager.load([]))
    trades = len(run.portfolios[0].trades)
    assert trades >= TRADES, f"{trades} trades; {TRADES} were wanted"
    figures = {}
    for name, of, limit in (("500 x 2,520", run, LARGE_SECONDS), ("demo", demo(), DEMO_SECONDS)):
        first, *others = written(of, options.runs)
        figures[name] = {"first_seconds": first, "seconds": sorted(others)[len(others) // 2], "limit": limit}
    size = page_mb(run)
    missed = [name for name, each in figures.items() if each["first_seconds"] > each["limit"]]
    missed += ["page"] if size > PAGE_MB else []
    if options.json:
        print(json.dumps({"trades": trades, **figures, "page_mb": size, "missed": missed}, indent=1))
        return 1 if missed else 0
    print(f"{trades:,} trades of 500 tickers in 2,520 days")
    for name, each in figures.items():
        print(
            f"{name:14s} first {each['first_seconds']:6.2f} s, then {each['seconds']:6.2f} s   limit {each['limit']} s"
        )
    print(f"page of {PAGE_TRADES:,} trades: {size:.2f} MB   limit {PAGE_MB} MB")
    print("missed: " + (", ".join(missed) or "nothing"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
