"""The scale on which books and backtest are compared: shares of before a split or a dividend as those of today."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from framework.model.bars import CorporateAction
from framework.report.assemble import account_of
from framework.report_run import _backtest_side, _Scale
from tests.report.acted import make_acted

EVENTS = [
    (1, 0, "fill", 10.0),
    (3, 0, "split", 2.0),
    (5, 0, "dividend", 0.5),
    (6, 0, "fill", -4.0),
    (6, 1, "fill", 3.0),
]
NEVER = np.datetime64("1900-01-01", "us")


@pytest.fixture
def made():
    """A backtest over a split and a dividend, and its scale."""
    result = make_acted(EVENTS, bars=10)
    days = [date.fromisoformat(str(result.timeline.session[row])) for row in (3, 5)]
    actions = (
        CorporateAction("AAPL", days[0], "split", Decimal(2)),
        CorporateAction("AAPL", days[1], "dividend", Decimal("0.5")),
    )
    data: Any = SimpleNamespace(trade=result.panel, timeline=result.timeline, actions=actions, rates=None)
    return result, account_of(result), _Scale(data, ("MSFT", "AAPL", "IBM"))


def test_shares_of_before_are_as_many_as_today(made):
    result, account, scale = made
    side = _backtest_side(account, scale, NEVER, result.timeline.timestamps[-1], 0.0)
    close = result.panel.close[:, 0]
    paid = close[5] / (close[5] + 0.5)
    assert side.ticker.tolist() == [1, 1, 0]
    assert side.quantity == pytest.approx([20 / paid, -4, 3])
    assert side.order_quantity == pytest.approx([20 / paid, -4, 3])
    assert side.arrival[:2] == pytest.approx([close[1] / 2 * paid, close[6]], abs=1e-6)
    assert side.notional[:2] / side.quantity[:2] == pytest.approx(side.arrival[:2], abs=1e-6)
    assert side.held.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("row", "shares"), [(0, 0.0), (2, 20.0), (4, 20.0), (6, 16.0)])
def test_what_is_held_at_the_start_counts_with_splits(made, row, shares):
    result, account, scale = made
    side = _backtest_side(account, scale, result.timeline.timestamps[row], result.timeline.timestamps[-1], 0.0)
    close = result.panel.close[:, 0]
    paid = close[5] / (close[5] + 0.5) if row < 5 else 1.0
    assert side.held[1] == pytest.approx(shares / paid)
    assert len(side.quantity) == {0: 3, 2: 2, 4: 2, 6: 0}[row]
