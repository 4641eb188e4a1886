"""A workspace with a config to sweep, on a database of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from framework.config.load import load
from framework.model.sweep import Outcome, Sweep
from framework.sweep.run import Options, planned, run_sweep

CONFIG = """\
name: swept
mode: backtest
start: 2008-01-02
end: 2009-12-31
data_source: {name: sample}
broker: {name: simulated, params: {commission: {name: percent, rate: 0.0005}, slippage: {name: bps, bps: 1}}}
portfolios:
  - id: a
    cash: 100000
    tickers: [AAPL, IBM]
    lookback: 10
    strategy: {name: sma_cross, params: {fast: 5, slow: 20}}
  - id: b
    cash: 50000
    tickers: [MSFT]
    strategy: {name: buy_and_hold}
report: {benchmark: buy_and_hold}
"""

FAST, SLOW = "portfolios.a.strategy.params.fast", "portfolios.a.strategy.params.slow"

#: A strategy that does what a parameter says.
PROBE = """\
import os, signal
from pathlib import Path
import numpy as np
from framework import Strategy, hookimpl

class Probe(Strategy):
    act: str = "run"
    share: float = 0.5
    def on_bar(self, ctx):
        if self.act == "raise":
            raise ValueError("no idea")
        if self.act == "die" or (self.act == "die once" and not Path("died").exists()):
            Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        ctx.target_weights(np.full(len(ctx.tickers), self.share / len(ctx.tickers)))

@hookimpl
def register_strategies():
    return {"probe": Probe}
"""

#: Runs a sweep of ``c.yaml`` in the working folder: its parameters, then options by name.
Run = Callable[..., Sweep]


@pytest.fixture
def workspace(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "c.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    return tmp_path


@pytest.fixture
def sweep(workspace: Path) -> Run:
    def run(*params: str, config: str = "c.yaml", set_: tuple[str, ...] = (), **options: Any) -> Sweep:
        asked = Options(params, **{"out": Path("out"), "workers": 2, **options})
        return run_sweep(planned(Path(config), set_, asked), asked, lambda stage, done, total: None)[0]

    return run


def alone(outcome: Outcome, axes: tuple[str, ...], config: str = "c.yaml") -> dict[str, Any]:
    """``total`` of the run that ``engine run`` makes with a trial's values."""
    from framework.app import run

    values = [f"{key}={value}" for key, value in zip(axes, outcome.trial.values, strict=True)]
    dates = [f"start={outcome.trial.start}", f"end={outcome.trial.end}"]
    loaded = load(config, [*dates, *values])
    told = run(loaded, Path(f"alone-{abs(hash(outcome.trial))}"), lambda *a: None, lambda line: None)
    total: dict[str, Any] = told.summary["total"]
    return total


@pytest.fixture
def probe(workspace: Path) -> Callable[..., str]:
    (workspace / "plugins" / "probe.py").write_text(PROBE)
    (workspace / "p.yaml").write_text(
        (workspace / "c.yaml").read_text().replace("{name: sma_cross, params: {fast: 5, slow: 20}}", "{name: probe}")
    )
    return lambda text: f"portfolios.a.strategy.params.{text}"


def figures(sweep: Sweep) -> dict[tuple[Any, ...], Any]:
    return {(each.trial, each.status): dict(each.figures) for each in sweep.outcomes}
