"""FIFO lots in reports: by hand, against the account's profit, and the same for books and backtests."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.books.lots import Closed, Lots
from framework.report.assemble import account_of, accounts
from framework.report.lots import LotTable, Splits, lots_of_fills
from tests.books.cases import AT, D, fill

US = "datetime64[us]"
DAYS = np.datetime64("2024-01-01", "us") + np.arange(400) * np.timedelta64(1, "D")
UNSPLIT = Splits(np.empty(0, np.int64), np.empty(0, US), np.empty(0))


def lots(rows, worth=(np.nan,), splits=UNSPLIT):
    """Of (ticker, signed shares, price), a day each."""
    ticker, quantity, price = (np.array(column) for column in zip(*rows, strict=True))
    notional = np.round(np.abs(quantity) * price, 6)
    return lots_of_fills(0, ticker, DAYS[: len(rows)], quantity.astype(float), notional, np.array(worth), splits)


def test_the_oldest_is_sold_first_and_what_is_left_is_valued():
    found = lots([(0, 10, 100.0), (0, 10, 110.0), (0, -15, 120.0)], [130.0])
    assert found.quantity.tolist() == [10, 5, 5]
    assert found.cost.tolist() == [1000, 550, 550]
    assert found.value.tolist() == [1200, 600, 650]
    assert found.profit.tolist() == [200, 50, 100]
    assert found.is_closed.tolist() == [True, True, False]
    assert found.opened.tolist() == DAYS[[0, 1, 1]].tolist()
    assert found.closed[:2].tolist() == DAYS[[2, 2]].tolist()
    stats = found.stats
    assert (stats.count, stats.won, stats.gains, stats.losses, stats.profit_factor) == (2, 1.0, 250, 0, None)
    assert stats.mean_days == pytest.approx((2 * 1000 + 1 * 550) / 1550)


def test_a_short_is_a_lot_with_a_minus():
    found = lots([(0, -10, 50.0), (0, 4, 40.0)], [45.0])
    assert found.quantity.tolist() == [-4, -6]
    assert (found.cost.tolist(), found.value.tolist()) == ([-200, -300], [-160, -270])
    assert found.profit.tolist() == [40, 30]


def test_a_split_comes_before_the_fills_of_its_moment():
    rows = [(0, 10, 100.0), (1, 5, 10.0), (0, 10, 120.0), (0, -50, 31.0)]
    splits = Splits(np.array([0, 1]), DAYS[[3, 3]], np.array([60.0, -4.5]))
    found = lots(rows, [32.0, 110.0], splits)
    assert found.quantity.tolist() == [40, 10, 30, 0.5]
    assert found.cost.tolist() == [1000, 300, 900, 50]
    assert found.value.tolist() == [1240, 310, 960, 55]
    assert found.opened.tolist() == DAYS[[0, 2, 2, 1]].tolist()
    assert found.closed[:2].tolist() == DAYS[[3, 3]].tolist()


def test_a_split_that_leaves_nothing_closes_the_lot_for_nothing():
    found = lots([(0, 1, 3.0)], [2.0], Splits(np.array([0]), DAYS[[5]], np.array([-1.0])))
    assert (found.value.tolist(), found.closed.tolist()) == ([0], DAYS[[5]].tolist())


def test_nothing_traded_and_nothing_closed():
    nothing = np.empty(0)
    empty = lots_of_fills(0, nothing.astype(np.int64), nothing.astype(US), nothing, nothing, np.array([1.0]), UNSPLIT)
    assert (len(empty), empty.stats) == (0, None)
    held = lots([(0, 1, 7.0)])
    assert held.stats is None
    assert np.isnan(held.profit).all()


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(-50, 50).filter(bool), st.integers(1, 99_999_999)),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=150, deadline=None)
def test_lots_add_up_to_what_was_paid_and_is_held(rows):
    rows = [(ticker, shares, price / 1e5) for ticker, shares, price in rows]
    found = lots(rows, [11.0, 22.0, 33.0])
    for ticker in range(3):
        own = found.take(found.ticker == ticker)
        traded = [(shares, price) for code, shares, price in rows if code == ticker]
        paid = sum(np.sign(shares) * round(abs(shares) * price, 6) for shares, price in traded)
        held = sum(shares for shares, _ in traded)
        assert own.quantity[~own.is_closed].sum() == held
        assert own.profit.sum() == pytest.approx(held * 11.0 * (ticker + 1) - paid, abs=1e-4)
        assert len({np.sign(shares) for shares in own.quantity[~own.is_closed]}) <= 1


def test_a_backtests_lots_are_its_profit(build_run, build_result):
    run = build_run(build_result(), build_result(("GOOG",), portfolio_id="2", seed=5))
    made = accounts(run)
    for account in (*made.portfolios, made.total):
        assert account.lots.profit.sum() - account.fees == pytest.approx(account.curve.profit, abs=1e-3)
        by_ticker = {
            name: account.lots.profit[account.lots.ticker == code].sum() for code, name in enumerate(account.names)
        }
        fees = np.bincount(account.fills.ticker, weights=account.fills.fees, minlength=len(account.names))
        for code, name in enumerate(account.tickers):
            assert by_ticker[name] - fees[account.names.index(name)] == pytest.approx(
                account.contributions[name], abs=1e-3
            ), code
    closed = made.total.lots.closed[made.total.lots.is_closed]
    assert (np.diff(closed) >= np.timedelta64(0, "us")).all()
    assert not made.total.lots.is_closed[len(closed) :].any()


def test_a_single_account_has_the_same_lots(build_run, build_result):
    result = build_result()
    alone, of_run = account_of(result), accounts(build_run(result)).total
    for name in LotTable.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(alone.lots, name), getattr(of_run.lots, name))


@given(st.lists(st.tuples(st.integers(-40, 40).filter(bool), st.integers(1, 9_999_999)), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_what_the_books_close_is_what_they_realise(rows):
    from framework.books.rows import fill_row

    closed: list[Closed] = []
    books = Lots(on_close=closed.append)
    for number, (shares, price) in enumerate(rows, start=1):
        entry = fill(
            key=f"f{number}",
            side="BUY" if shares > 0 else "SELL",
            quantity=abs(shares),
            price=D(price) / 10**4,
            at=AT + timedelta(days=number),
        )
        books.apply(number, fill_row(entry, "USD"))
    assert sum((each.value - each.cost for each in closed), D(0)) == books.realised
    assert all(each.opened < each.closed for each in closed)
    table = lots([(0, shares, price / 1e4) for shares, price in rows], [0.0])
    assert table.profit[table.is_closed].sum() == pytest.approx(float(books.realised), abs=1e-4)
