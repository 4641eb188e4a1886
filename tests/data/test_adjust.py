"""Adjusting on small cases worked out by hand."""

from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from framework.data.adjust import adjust, factors
from framework.errors import DataError
from framework.model.bars import CorporateAction
from framework.model.panel import FIELDS, Panel


def panel(*columns, tickers="AB"):
    """A daily panel from 2020-01-01 whose fields are all the given closes (volume: 100 where there is a bar)."""
    close = np.array(columns, dtype=float).T
    stamps = np.datetime64("2020-01-01", "us") + np.arange(len(close)) * np.timedelta64(86400_000_000, "us")
    fields = {name: close.copy() for name in FIELDS}
    fields["volume"] = np.where(np.isnan(close), np.nan, 100.0)
    return Panel(tuple(tickers[: close.shape[1]]), stamps, **fields)


def action(kind, day, value, ticker="A"):
    return CorporateAction(ticker, date(2020, 1, day), kind, Decimal(value))


def test_a_split_scales_earlier_prices_down_and_volumes_up():
    got = adjust(panel([10, 12, 6, 7], [5, 5, 5, 5]), [action("split", 3, 2)], "all")
    for name in ("open", "high", "low", "close"):
        assert getattr(got, name)[:, 0].tolist() == [5, 6, 6, 7]
    assert got.volume[:, 0].tolist() == [200, 200, 100, 100]
    assert got.close[:, 1].tolist() == [5, 5, 5, 5]
    assert got.volume[:, 1].tolist() == [100] * 4


def test_the_return_over_a_dividend_is_what_a_holder_got():
    got = adjust(panel([10, 12, 11]), [action("dividend", 3, "0.5")], "all")
    assert got.close[2, 0] / got.close[1, 0] == pytest.approx((11 + 0.5) / 12, rel=1e-15)
    assert got.close[1, 0] / got.close[0, 0] == pytest.approx(12 / 10, rel=1e-15)
    assert got.volume.tolist() == [[100]] * 3


def test_several_actions_compound_and_those_of_one_day_too():
    actions = [action("split", 2, 2), action("split", 4, 3), action("dividend", 4, 1)]
    price, shares = factors(actions, np.arange("2020-01-01", "2020-01-05", dtype="M8[D]"), np.array([60.0, 30, 30, 9]))
    assert price == pytest.approx([0.9 / 6, 0.9 / 3, 0.9 / 3, 1], rel=1e-15)
    assert shares.tolist() == [6, 3, 3, 1]


def test_an_ex_date_without_a_bar_takes_the_next_one():
    nan = np.nan
    got = adjust(panel([10, nan, nan, 8]), [action("dividend", 2, 2)], "all")
    assert got.close[0, 0] == pytest.approx(8.0)
    assert np.isnan(got.close[1:3, 0]).all()


@pytest.mark.parametrize("day", [1, 5, 9])
def test_nothing_changes_for_actions_before_the_second_or_after_the_last_bar(day):
    before = panel([10, 11, 12])
    assert adjust(before, [action("split", day, 2)], "all") is before


def test_modes():
    before = panel([10, 12, 6, 7])
    actions = [action("split", 3, 2), action("dividend", 4, 1)]
    assert adjust(before, actions, "none") is before
    assert adjust(before, actions, "splits").close[:, 0].tolist() == [5, 6, 6, 7]
    assert adjust(before, actions, "all").close[0, 0] == pytest.approx(5 * 7 / 8)
    assert adjust(before, [action("split", 3, 2, ticker="Z")], "all") is before


def test_intraday_bars_go_by_their_session():
    before = panel([10, 10, 5, 5])
    session = np.array(["2020-01-01", "2020-01-01", "2020-01-02", "2020-01-02"], dtype="M8[D]")
    assert adjust(before, [action("split", 2, 2)], "all", session).close[:, 0].tolist() == [5, 5, 5, 5]


def test_fields_that_do_not_change_are_not_copied():
    before = panel([10, 12, 11])
    assert adjust(before, [action("dividend", 3, 1)], "all").volume is before.volume


@pytest.mark.parametrize("value", ["0", "-1", "NaN"])
def test_a_value_that_is_not_positive_is_refused(value):
    with pytest.raises(DataError, match=r"split of A on 2020-01-02 has the value"):
        adjust(panel([1, 2, 3]), [action("split", 2, value)], "all")
