"""Lots: FIFO, exact, the same step by step as at once; checked against a share-by-share model in fractions."""

from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.books import rows
from framework.books.entries import Adjustment, Adopt, Rename, Split
from framework.books.lots import Lots, Mark, replay
from framework.books.valuation import require_identity
from framework.errors import BookingError, DataError
from tests.books.cases import AT, DAY, D, cash, fill

COMMON: dict[str, Any] = {"portfolio_id": "1", "key": "k", "at": AT, "session": DAY}


def lots_of(*entries):
    """Rows of entries as the ledger would make them; the ledger's positions are kept here."""
    held: dict[str, Decimal] = defaultdict(Decimal)
    made: list[rows.TradeRow] = []
    for n, entry in enumerate(entries):
        entry = replace(entry, key=f"k{n}")
        match entry:
            case Split():
                new = (rows.split_row(entry, "USD", held[entry.ticker]),)
            case Rename():
                new = rows.rename_rows(entry, "USD", held[entry.ticker])
            case Adopt():
                new = (rows.adopt_row(entry, "USD"),)
            case Adjustment():
                new = (rows.adjustment_row(entry, "USD"),)
            case _ if hasattr(entry, "kind"):
                new = (rows.cash_row(entry, "USD"),)
            case _:
                new = (rows.fill_row(entry, "USD"),)
        for row in new:
            held[row.ticker] += row.quantity_change
        made += new
    return list(enumerate(made, 1)), {t: q for t, q in held.items() if q}


def sums(lots):
    return lots.realised, lots.income, lots.costs, lots.money_in, lots.cash


def test_a_sale_realises_against_the_oldest_lot():
    history, _ = lots_of(fill(quantity="10", price="1"), fill(quantity="10", price="2"), fill("s", "SELL", "15", "5"))
    lots = replay(history)
    assert sums(lots)[:3] == (D(75 - 10 - 10), D(0), D(3))
    assert [(lot.quantity, lot.cost, lot.opened) for lot in lots.open["AAPL"]] == [(D(5), D(10), 2)]
    profit = lots.profit({"AAPL": Mark(D(4))})
    assert (profit.unrealised, profit.notional, profit.equity) == (D(10), D(62), D(62))


def test_a_short_is_realised_when_it_is_covered_and_may_turn_long():
    history, _ = lots_of(fill(side="SELL", quantity="10", price="5"), fill(quantity="15", price="4"))
    lots = replay(history)
    assert lots.realised == 10
    assert [(lot.quantity, lot.cost) for lot in lots.open["AAPL"]] == [(D(5), D(20))]


def test_a_third_of_a_lot_takes_its_cost_rounded_and_the_rest_keeps_the_rest():
    history, _ = lots_of(fill(quantity="3", price="0.333333", fees="0"), *[fill("s", "SELL", "1", "0", fees="0")] * 3)
    assert replay(history[:2]).realised == D("-0.333333")
    lots = replay(history)
    assert (lots.realised, lots.open) == (D("-0.999999"), {})


def test_a_split_rescales_lots_and_keeps_their_cost():
    history, held = lots_of(fill(quantity="1", price="9"), fill(quantity="1", price="3"),
                            Split(**COMMON, ticker="AAPL", new=D(1), old=D(3)))  # fmt: skip
    lots = replay(history)
    assert lots.quantities() == held == {"AAPL": D("0.666666666")}
    assert [(lot.quantity, lot.cost) for lot in lots.open["AAPL"]] == [
        (D("0.333333333"), D(9)), (D("0.333333333"), D(3))
    ]  # fmt: skip


def test_what_a_split_leaves_nothing_of_is_a_loss():
    history, _ = lots_of(fill(quantity="0.000000001", price="5000"), Split(**COMMON, ticker="AAPL", new=D(1), old=D(9)))
    lots = replay(history)
    assert (lots.open, lots.realised, lots.costs) == ({}, D("-0.000005"), D(1))


def test_a_lot_that_a_split_rounds_away_leaves_its_cost_to_its_neighbour():
    split = Split(**COMMON, ticker="AAPL", new=D(1), old=D(3))
    history, held = lots_of(fill(quantity="9", price="1"), fill(quantity="0.000000001", price="2000"), split)
    lots = replay(history)
    assert held == {"AAPL": D(3)}
    assert [(lot.quantity, lot.cost) for lot in lots.open["AAPL"]] == [(D(3), D("9.000002"))]


def test_a_rename_moves_lots_into_the_order_of_their_opening():
    bought = [fill(ticker=ticker, quantity=n) for ticker, n in (("FB", 1), ("META", 2), ("FB", 3))]
    history, held = lots_of(*bought, Rename(**COMMON, ticker="FB", new_ticker="META"))
    lots = replay(history)
    assert lots.quantities() == held == {"META": D(6)}
    assert [(lot.quantity, lot.opened) for lot in lots.open["META"]] == [(D(1), 1), (D(2), 2), (D(3), 3)]


def test_a_rename_onto_the_opposite_closes_at_cost():
    history, held = lots_of(fill(ticker="A", quantity="4", price="10"), fill("s", "SELL", "6", "15", ticker="B"),
                            Rename(**COMMON, ticker="A", new_ticker="B"))  # fmt: skip
    lots = replay(history)
    assert lots.quantities() == held == {"B": D(-2)}
    assert lots.realised == 20


def test_adopted_lots_carry_their_cost_and_are_money_in():
    history, _ = lots_of(Adopt(**COMMON, ticker="A", quantity=D(10), cost=D(7), currency="EUR", fx_rate=D("1.1")))
    lots = replay(history)
    assert (lots.money_in, lots.open["A"][0].cost) == (D(77), D(77))
    profit = lots.profit({"A": Mark(D(8), D("1.1"))})
    assert (profit.notional, profit.unrealised, profit.equity) == (D(11), D(11), D(88))


def test_an_adjustment_is_profit_or_loss():
    base = fill(quantity="10", price="10", fees="0")
    found = Adjustment(**COMMON, ticker="AAPL", change=D(2), price=D(6), currency="USD", note="n")
    lost = Adjustment(**COMMON, ticker="AAPL", change=D(-12), currency="USD", note="n")
    lots = replay(lots_of(base, found)[0])
    assert (lots.income, lots.profit({"AAPL": Mark(D(6))}).notional) == (D(12), D(-40 + 12))
    lots = replay(lots_of(base, found, lost)[0])
    assert (lots.income, lots.realised, lots.profit({}).notional) == (D(12), D(-112), D(-100))


@pytest.mark.parametrize(
    ("kind", "amount", "expected"),
    [
        ("deposit", "5", "money_in"), ("withdrawal", "-5", "money_in"), ("adopt", "5", "money_in"),
        ("dividend", "5", "income"), ("interest", "5", "income"), ("adjustment", "5", "income"),
        ("interest", "-5", "costs"), ("fee", "-5", "costs"), ("borrow", "-5", "costs"), ("tax", "-5", "costs"),
        ("adjustment", "-5", "costs"),
    ],
)  # fmt: skip
def test_where_money_counts(kind, amount, expected):
    lots = replay(lots_of(cash(amount, kind))[0])
    given = {"money_in": lots.money_in, "income": lots.income, "costs": -lots.costs}
    assert given == {"money_in": 0, "income": 0, "costs": 0} | {expected: D(amount)}


def test_a_reversed_dividend_is_income_taken_back():
    ((_, row),) = lots_of(cash("5", "dividend"))[0]
    lots = replay([(1, row), (2, rows.reversal_row(row, AT, "n"))])
    assert sums(lots) == (0, 0, 0, 0, 0)


def test_a_held_ticker_needs_a_usable_price():
    lots = replay(lots_of(fill())[0])
    with pytest.raises(DataError, match="AAPL is held"):
        lots.profit({})
    for mark in (Mark(D("NaN")), Mark(D(-1)), Mark(D(1), D(0)), Mark(D("Infinity"))):
        with pytest.raises(DataError, match="cannot be valued"):
            lots.profit({"AAPL": mark})


def test_rows_come_once_and_in_order():
    history, _ = lots_of(fill(), fill())
    with pytest.raises(ValueError, match="in order of id"):
        replay([history[1], history[0]])
    with pytest.raises(ValueError, match="each once"):
        replay([history[0], history[0]])


def test_an_identity_that_does_not_hold_is_refused():
    profit = replay([]).profit({})
    require_identity(profit, "1")
    with pytest.raises(BookingError, match="nothing was written"):
        require_identity(replace(profit, income=D(1)), "1")


# --- any history -----------------------------------------------------------------------------------------------------

tickers = st.sampled_from(["A", "B", "C"])
quantities = st.decimals("0.000000001", "1000", places=9) | st.integers(1, 50).map(Decimal)
prices = st.decimals("0", "1000", places=6) | st.integers(1, 50).map(Decimal)
signed = st.builds(lambda q, s: q * s, quantities, st.sampled_from([1, -1]))
rates = st.none() | st.decimals("0.01", "200", places=8)
foreign = st.sampled_from([("USD", None), ("EUR", D("1.07")), ("JPY", D("0.0067123456"))])
fills = st.builds(
    lambda t, s, q, p, f, c: fill(side=s, quantity=q, price=p, fees=f, ticker=t, currency=c[0], fx_rate=c[1]),
    tickers, st.sampled_from(["BUY", "SELL"]), quantities, prices, st.decimals("-1", "5", places=6), foreign,
)  # fmt: skip
money = st.builds(
    lambda k, a: cash(a if k[1] == "+" else -a, k[0]),
    st.sampled_from([("deposit", "+"), ("withdrawal", "-"), ("dividend", "+"), ("interest", "-"), ("fee", "-"),
                     ("adjustment", "+"), ("adjustment", "-"), ("adopt", "+")]),
    st.decimals("0.000001", "1000", places=6),
)  # fmt: skip
splits = st.builds(
    lambda t, n, o: Split(**COMMON, ticker=t, new=D(n), old=D(o)), tickers, st.integers(1, 9), st.integers(1, 9)
)
renames = st.builds(
    lambda pair: Rename(**COMMON, ticker=pair[0], new_ticker=pair[1]),
    st.tuples(tickers, tickers).filter(lambda pair: pair[0] != pair[1]),
)
adopts = st.builds(
    lambda t, q, p: Adopt(**COMMON, ticker=t, quantity=q, cost=p, currency="USD"), tickers, signed, prices
)
adjustments = st.builds(
    lambda t, q, p: Adjustment(**COMMON, ticker=t, change=q, price=p, currency="USD", note="n"), tickers, signed, prices
)
histories = st.lists(fills | fills | fills | money | splits | renames | adopts | adjustments, max_size=40)
marks = st.fixed_dictionaries({ticker: st.builds(Mark, prices) for ticker in "ABC"})


@settings(max_examples=300, deadline=None)
@given(histories, marks)
def test_quantities_are_the_positions_and_the_parts_add_up_exactly(entries, mark):
    history, held = lots_of(*entries)
    lots = replay(history)
    assert lots.quantities() == held
    assert lots.cash == sum((row.cash_change for _, row in history), D(0))
    assert all((lot.quantity > 0) == (lots.open[t][0].quantity > 0) for t in lots.open for lot in lots.open[t])
    profit = lots.profit(mark)
    require_identity(profit, "1")
    assert profit.notional == profit.equity - lots.money_in
    for number in (profit.equity, profit.notional, profit.realised, profit.unrealised, profit.income, profit.costs):
        assert number == number.quantize(D("1e-6"))


@settings(max_examples=100, deadline=None)
@given(histories, st.lists(st.integers(0, 45), max_size=5))
def test_going_on_gives_what_starting_from_zero_does(entries, cuts):
    history, _ = lots_of(*entries)
    lots = Lots()
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(history)], strict=True):
        lots = copy.deepcopy(lots)
        for row_id, row in history[begin:end]:
            lots.apply(row_id, row)
    assert lots == replay(history)


whole = st.lists(
    st.builds(lambda t, s, q, p: fill(side=s, quantity=q, price=p, fees="0", ticker=t), tickers,
              st.sampled_from(["BUY", "SELL"]), st.integers(1, 9), st.integers(1, 50)), max_size=30,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(whole)
def test_fifo_equals_a_model_that_moves_single_shares(entries):
    history, _ = lots_of(*entries)
    queue: dict[str, list[tuple[int, Fraction]]] = defaultdict(list)
    realised = Fraction(0)
    for _, row in history:
        for _ in range(int(row.quantity)):
            shares = queue[row.ticker]
            price = Fraction(row.exec_price)
            if shares and shares[0][0] != row.sign:
                sign, cost = shares.pop(0)
                realised += sign * (price - cost)
            else:
                shares.append((row.sign, price))
    lots = replay(history)
    assert Fraction(lots.realised) == realised
    open_cost = {t: sum(s * p for s, p in shares) for t, shares in queue.items() if shares}
    assert {t: Fraction(sum(lot.cost for lot in lots.open[t])) for t in lots.open} == open_cost
