"""Paper does not start what would decide otherwise than its backtest."""

from __future__ import annotations

import pytest

from framework.errors import ConfigError
from tests.engine.runs import portfolio

EXPANDING = '''\
"""Weights that depend on all bars that there are."""

import numpy as np
from framework import Strategy, hookimpl


class Expanding(Strategy):
    def weights(self, panel):
        count = np.cumsum(~np.isnan(panel.close), axis=0)
        return np.minimum(count / 100, 0.5)


class Windowed(Strategy):
    def on_bar(self, ctx):
        ctx.target_weights(np.full(2, len(ctx.history(3)) / 10))


class Broken(Strategy):
    def on_bar(self, ctx):
        raise ValueError("no")


@hookimpl
def register_strategies():
    return {"expanding": Expanding, "windowed": Windowed, "broken": Broken}
'''


@pytest.fixture
def start(live):
    """Runs a strategy in paper, with the check."""
    (live.folder / "plugins" / "expanding.py").write_text(EXPANDING)

    def run(name, **engine):
        return live.run(portfolio(strategy=name), engine={"check_lookback": True, **engine})

    return run


def test_a_strategy_that_needs_more_than_its_lookback_is_refused_before_anything_is_written(live, start):
    with pytest.raises(ConfigError) as told:
        start("expanding")
    words = str(told.value)
    assert "c.yaml" in words
    assert "portfolios.0.lookback" in words
    assert "on the last 6 bars, which is all that paper and live see, it decides otherwise than on all history" in words
    assert "AAA" in words
    assert "engine.check_lookback: false trades it as it is" in words
    assert live.ask("SELECT count(*) FROM portfolios", []) == [(0,)]


def test_who_says_so_trades_it_as_it_is(live, start):
    start("expanding", check_lookback=False)
    assert len(live.trades()) > 0


def test_one_that_decides_the_same_starts_without_a_word(live, start):
    said = start("windowed")
    assert not any("lookback" in line for line in said)
    assert len(live.trades()) > 0


def test_what_cannot_be_compared_is_said_and_left_to_the_engine(start):
    from framework.errors import EngineError

    with pytest.raises(EngineError, match="every portfolio has stopped for its failures"):
        start("broken", max_consecutive_failures=1)
