"""The compiled loop: the same fills, cash and values as without it, to the last bit."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

pytest.importorskip("numba", reason="needs the extra `fast`")

from framework.engine import kernel
from framework.engine.account import Terms
from framework.engine.simulator import Simulation, simulate
from framework.errors import ConfigError
from framework.model.money import FRACTIONAL, WHOLE
from framework.model.panel import Floats, Panel
from framework.model.result import PortfolioResult
from framework.model.timeline import Timeline
from framework.plugin_manager import PluginManager
from framework.trading.costs import Costs
from framework.trading.strategy import Strategy

PLUGINS = PluginManager.load([], None)
COMMISSIONS: list[tuple[str, dict[str, Any]] | None] = [
    None,
    ("percent", {"rate": 0.001}),
    ("percent", {"rate": 0.001, "minimum": 2.5}),
    ("per_share", {"amount": 0.013}),
    ("per_share", {"amount": 0.0, "minimum": 1.0}),
    ("per_order", {"amount": 1.25}),
    ("tiered", {"tiers": [[0, 0.001], [1000, 0.0001]]}),  # not linear: never compiled
]
SLIPPAGES: list[tuple[str, dict[str, Any]] | None] = [None, ("bps", {"bps": 3.0}), ("half_spread", {"amount": 0.01})]


class Given(Strategy):
    """Asks for the weights that a test says."""

    def __init__(self, asked: Floats) -> None:
        super().__init__()
        self._asked = asked

    def weights(self, panel: Panel) -> Floats:
        return self._asked


def costs(commission: tuple[str, dict[str, Any]] | None, slippage: tuple[str, dict[str, Any]] | None) -> Costs:
    made = None if commission is None else PLUGINS.create("commission model", *commission)
    slipped = None if slippage is None else PLUGINS.create("slippage model", *slippage)
    return Costs(made, slipped)


def job(
    rng: np.random.Generator, bars: int, tickers: int, holes: float, asking: float, terms: Terms, most: float
) -> Simulation:
    close = np.round(50 * np.exp(np.cumsum(rng.normal(0, 0.03, (bars, tickers)), axis=0)), 4)
    opens = np.round(close * np.exp(rng.normal(0, 0.01, close.shape)), 4)
    missing = rng.random(close.shape) < holes
    fields = [
        np.where(missing, np.nan, each) for each in (opens, np.maximum(opens, close), np.minimum(opens, close), close)
    ]
    stamps = np.busday_offset("2003-01-01", np.arange(bars), roll="forward").astype("datetime64[us]")
    days = stamps.astype("datetime64[D]")
    clock = Timeline(stamps, stamps, stamps, days, np.busday_offset(days, 1, roll="forward"))
    volume = np.where(missing, np.nan, 1e5)
    panel = Panel(tuple(f"T{n}" for n in range(tickers)), stamps, fields[0], fields[1], fields[2], fields[3], volume)
    asked = np.where(rng.random(close.shape) < asking, rng.random(close.shape) * most / tickers, np.nan)
    return Simulation(
        portfolio_id="1", strategy=Given(asked), strategy_name="given", panel=panel, timeline=clock,
        first=int(rng.integers(0, max(1, bars // 3))), trade=panel, schedule="every_bar", terms=terms,
        make_indicator=lambda kind, params: PLUGINS.create("indicator", kind, params),
    )  # fmt: skip


def assert_same(one: PortfolioResult, other: PortfolioResult) -> None:
    for name in ("equity", "cash", "gross", "net"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in vars(one.trades):
        mine, theirs = getattr(one.trades, name), getattr(other.trades, name)
        np.testing.assert_array_equal(mine, theirs, err_msg=name)
    assert repr(one.unfilled) == repr(other.unfilled)  # quantities may be NaN
    assert one.unfilled_decided == other.unfilled_decided
    assert (one.trimmed_fills, one.trimmed_notional, one.stale_closes) == (
        other.trimmed_fills, other.trimmed_notional, other.stale_closes
    )  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(
    seed=some.integers(0, 2**32), bars=some.integers(1, 80), tickers=some.sampled_from([1, 2, 7, 8, 9, 20, 130, 300]),
    holes=some.sampled_from([0.0, 0.0, 0.02, 0.3]), asking=some.sampled_from([0.02, 0.3, 1.0]),
    commission=some.sampled_from(COMMISSIONS), slippage=some.sampled_from(SLIPPAGES),
    lots=some.sampled_from([WHOLE, FRACTIONAL]), cash=some.sampled_from([0.0, 500.0, 1e6]),
    buffer=some.sampled_from([0.0, 0.005, 0.3]), most=some.sampled_from([0.9, 1.0, 1.7]),
)  # fmt: skip
def test_the_same_to_the_last_bit(
    seed: int, bars: int, tickers: int, holes: float, asking: float, commission: Any, slippage: Any, lots: float,
    cash: float, buffer: float, most: float,
) -> None:  # fmt: skip
    terms = Terms(cash, lots, buffer, costs(commission, slippage))
    plain = job(np.random.default_rng(seed), bars, tickers, holes, asking, terms, most)
    assert_same(simulate(replace(plain, is_fast=True)), simulate(plain))


def test_the_compiled_loop_is_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most bars of a plain run are done by it: no test above would notice if none were."""
    done = []
    run_fast = kernel.run_fast

    def counted(*asked: Any) -> int:
        done.append(run_fast(*asked) - asked[3])
        return done[-1] + int(asked[3])

    monkeypatch.setattr(kernel, "run_fast", counted)
    terms = Terms(1e6, FRACTIONAL, 0.01, costs(*[("percent", {"rate": 0.001}), ("bps", {"bps": 1.0})]))
    plain = job(np.random.default_rng(5), 300, 20, 0.0, 0.3, terms, 0.9)
    simulate(replace(plain, is_fast=True))
    asked = ~np.isnan(plain.strategy.weights(plain.panel)[plain.first : -1])
    assert sum(done) == asked.any(axis=1).sum() > 290
    done.clear()
    simulate(plain)
    assert done == []


def test_it_sums_as_numpy_does() -> None:
    terms = Terms(1e6, FRACTIONAL, 0.0, Costs())
    for tickers in (*range(1, 40), 127, 128, 129, 255, 256, 257, 1000, 1025):
        plain = job(np.random.default_rng(tickers), 6, tickers, 0.0, 1.0, terms, 1.0)
        assert_same(simulate(replace(plain, is_fast=True)), simulate(plain))


def test_without_numba_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ConfigError, match="needs the extra `fast`: pip install"):
        kernel.require_numba()
