"""A run that is to stop stops soon, however slow its strategy is."""

import time

import pytest

from framework import Strategy
from framework.engine.backtest import StoppedError
from framework.engine.simulator import simulate
from tests.engine.test_simulator import NAN, one


class Slow(Strategy):
    def on_bar(self, ctx):
        time.sleep(0.06)


def test_a_slow_strategy_is_stopped_between_two_bars():
    told = []

    def progress(done, total):
        told.append((done, total))
        if done >= 2:
            raise StoppedError("interrupted")

    case = one([[10]] * 100, [[10]] * 100, [[NAN]] * 100)
    with pytest.raises(StoppedError):
        simulate(case.job(Slow()), progress)
    assert told[0] == (0, 100)
    assert told[-1][0] < 6
