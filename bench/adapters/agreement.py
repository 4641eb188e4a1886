"""Final equities on the sample's prices: ours, backtrader's and backtesting.py's (docs/agreement.md)."""

import json
import tempfile
from dataclasses import replace
from datetime import date
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from framework import Context, SetupContext, Strategy
from framework.data.adjust import adjust
from framework.data.calendars import timeline
from framework.engine.account import Terms
from framework.engine.schedule import decision_rows
from framework.engine.simulator import Simulation, simulate
from framework.model.money import WHOLE
from framework.model.panel import Panel
from framework.plugin_manager import PluginManager

CASH, COMMISSION, WEIGHT = 1e6, 0.0005, 0.8
TICKERS = ("AAPL", "MSFT", "IBM")
PRICES = ("open", "high", "low", "close")
PORTFOLIOS = (TICKERS, *((ticker,) for ticker in TICKERS))
KEPT = Path(__file__).parents[2] / "tests" / "engine" / "agreement.json"
ADAPTERS = {"backtrader": "agree_backtrader.py", "backtesting": "agree_backtesting.py"}
#: What backtesting.py cannot hold: more than one ticker.
SINGLE_ONLY = {"backtesting"}
#: Prices as adjusted, and rounded to the millionths that our fills have.
KINDS = ("as adjusted", "rounded")


class Rebalance(Strategy):
    """Back to the same weights whenever it is asked."""

    weight: float

    def on_bar(self, ctx: Context) -> None:
        """All tickers."""
        ctx.target_weights(np.full(len(ctx.tickers), self.weight))


class Breakout(Strategy):
    """Buys at a stop at the highest high of ``entry`` bars; sells at one at the lowest low of ``exit`` bars.

    The orders rest for a day and are placed anew at each close.
    """

    weight: float
    entry: int = 20
    exit: int = 10

    def setup(self, ctx: SetupContext) -> None:
        """Both channels."""
        self._high = ctx.indicator("highest", period=self.entry, field="high")
        self._low = ctx.indicator("lowest", period=self.exit, field="low")

    def on_bar(self, ctx: Context) -> None:
        """One order per ticker, a buy sized at its stop."""
        share, held = ctx.equity * self.weight, ctx.positions
        for number, ticker in enumerate(ctx.tickers):
            if held[number]:
                if not np.isnan(self._low.value[number]):
                    ctx.order(ticker, -held[number], stop=float(self._low.value[number]))
            elif not np.isnan(self._high.value[number]):
                stop = float(self._high.value[number])
                ctx.order(ticker, float(np.floor(share / stop + 1e-9)), stop=stop)


STRATEGIES = ("sma_cross", "rebalance", "breakout")


plugins = cache(PluginManager.load)


@cache
def sample(tickers, *, is_rounded=False):
    """The sample's adjusted prices of tickers that have a bar on every day; rounded as fills are, if asked."""
    source = plugins().create("data_source", "sample", {})
    bars = source.bars(tickers, "1d", date.min, date.max)
    stamps = np.unique(bars.timestamps)
    order = [np.flatnonzero(bars.code == bars.tickers.index(ticker)) for ticker in tickers]
    cells = (getattr(bars, name)[np.array(order)].T for name in (*PRICES, "volume"))
    panel = Panel(tickers, stamps, *map(np.ascontiguousarray, cells))
    panel = adjust(panel, source.corporate_actions(tickers), "all")
    if not is_rounded:
        return panel
    return replace(panel, **{name: np.round(getattr(panel, name), 6) for name in PRICES})


def made(name, tickers):
    """The strategy, and its schedule."""
    weight = WEIGHT / len(tickers)
    if name == "sma_cross":
        return plugins().create("strategy", name, {"fast": 20, "slow": 50, "weight": weight}), "every_bar"
    if name == "rebalance":
        return Rebalance(weight=weight), "monthly"
    return Breakout(weight=weight), "every_bar"


def ours(name, panel, on_decision=None):
    """Our run of a strategy."""
    strategy, schedule = made(name, panel.tickers)
    costs = plugins().create("broker", "simulated", {"commission": {"name": "percent", "rate": COMMISSION}}).costs()
    return simulate(
        Simulation(
            portfolio_id="1",
            strategy=strategy,
            strategy_name=name,
            panel=panel,
            timeline=timeline("XNYS", "1d", panel.timestamps),
            first=0,
            trade=panel,
            schedule=schedule,
            terms=Terms(CASH, WHOLE, 0.0, costs),
            make_indicator=lambda kind, params: plugins().create("indicator", kind, params),
            on_decision=on_decision,
        )
    )


# Beside the others.


def compare(options, interpreter_of):
    """Run all strategies here and there; print the differences, and keep the others' final equities if asked to."""
    from .peers import PEERS

    versions, found = {}, {}
    for peer in (peer for peer in PEERS if peer.name in ADAPTERS and peer in options.peers):
        python, why = interpreter_of(peer)
        if not python:
            print(f"{peer.name} could not be installed: {why}")
            continue
        for prices, tickers in product(KINDS, PORTFOLIOS):
            if len(tickers) == 1 or peer.name not in SINGLE_ONLY:
                panel = sample(tickers, is_rounded=prices == "rounded")
                answer, ended = theirs(python, ADAPTERS[peer.name], panel, options.cap)
                versions[peer.name] = answer["version"]
                for name, equity in zip(STRATEGIES, ended, strict=True):
                    found.setdefault((name, tickers), {}).setdefault(prices, {})[peer.name] = equity
    show(found, versions)
    if options.write:
        rows = [{"strategy": name, "tickers": " ".join(tickers), **each} for (name, tickers), each in found.items()]
        kept = {"cash": CASH, "commission": COMMISSION, "weight": WEIGHT, "versions": versions, "final_equity": rows}
        KEPT.write_text(json.dumps(kept, indent=2) + "\n")


def theirs(python, script, panel, seconds):
    """What a peer's adapter says of itself, and its final equity for each strategy."""
    from .process import Adapter

    clock = timeline("XNYS", "1d", panel.timestamps)
    job = {
        "strategies": STRATEGIES,
        "weight": WEIGHT / len(panel.tickers),
        "month_ends": decision_rows("monthly", clock, 0).tolist(),
        "cash": CASH,
        "commission": COMMISSION,
    }
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        data = Path(folder) / "bars.npz"
        fields = {name: getattr(panel, name) for name in PRICES}
        np.savez(data, names=np.array(panel.tickers), stamps=panel.timestamps, **fields)
        adapter = Adapter(python, script, data, job, seconds)
        try:
            return adapter.answer(), adapter.run()["equity"]
        finally:
            adapter.stop()


def show(found, versions):
    """The table."""
    print(", ".join(f"{name} {version}" for name, version in versions.items()), end="\n\n")
    heads = [f"{name}, {prices}" for prices, name in product(KINDS, versions)]
    print(f"| strategy | tickers | trades | our final equity | {' | '.join(heads)} |")
    print("| --- | --- | ---: | ---: |" + " ---: |" * len(heads))
    for (name, tickers), theirs in found.items():
        results = {kind: ours(name, sample(tickers, is_rounded=kind == "rounded")) for kind in KINDS}
        cells = [name, " ".join(tickers), str(len(results[KINDS[0]].trades)), f"{results[KINDS[0]].equity[-1]:,.2f}"]
        for kind, peer in product(KINDS, versions):
            equity = theirs[kind].get(peer)
            cells.append("" if equity is None else f"{equity / results[kind].equity[-1] - 1:.1e}")
        print(f"| {' | '.join(cells)} |")
