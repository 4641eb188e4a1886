"""What a strategy's setup declares is known without computing it."""

import pytest

from framework import Indicator, Strategy
from framework.engine.backtest import declared_memory
from framework.errors import StrategyError


class First(Indicator):
    """Divides by the first row, which a panel without bars does not have."""

    def compute(self, panel):
        return panel.close / panel.close[0]

    def memory(self):
        return 33


class Uses(Strategy):
    def setup(self, ctx):
        self.first = ctx.indicator("first")


class Breaks(Strategy):
    def setup(self, ctx):
        raise KeyError("x")


def test_memory_is_asked_without_computing():
    assert declared_memory(Uses(), ["A"], "1d", lambda name, params: First()) == 33


def test_a_setup_that_fails_names_the_strategy():
    with pytest.raises(StrategyError, match="strategy Breaks failed in setup: KeyError: 'x'"):
        declared_memory(Breaks(), ["A"], "1d", lambda name, params: First())
