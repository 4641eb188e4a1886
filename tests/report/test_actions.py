"""Splits and dividends in reports: by hand, and that shares and money add up whatever happens."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.model.rates import Rates
from framework.report import detail_tables, words
from framework.report.assemble import account_of, accounts
from framework.report.basis import basis_of
from framework.report.csv_set import TABLES
from framework.report.summary import summary
from framework.report.tables import table_text
from framework.report.tear_sheet import render
from tests.report.acted import make_acted
from tests.report.conftest import make_run

#: Ten shares that a split makes twenty, a dividend on these, and a sale of a part.
EVENTS = [
    (1, 0, "fill", 10.0),
    (3, 0, "split", 2.0),
    (4, 0, "dividend", 0.5),
    (4, 1, "fill", 3.0),
    (6, 0, "fill", -5.0),
]


def rows(account, name):
    return list(csv.DictReader("".join(table_text(TABLES[name](account))).splitlines()))


def traded(account):
    """Shares after each bar, by ticker, from ``positions.csv``."""
    held = {}
    for row in rows(account, "positions.csv"):
        held.setdefault(row["ticker"], []).append(row["quantity"])
    return held


def adds_up(account):
    profit, fees = account.curve.profit, account.fees
    assert sum(account.contributions.values()) == pytest.approx(profit, abs=1e-4)
    assert account.lots.profit.sum() + account.actions.dividends - fees == pytest.approx(profit, abs=1e-4)
    held = dict.fromkeys(account.names, 0.0)
    for code, shares in zip(account.lots.ticker, account.lots.quantity * ~account.lots.is_closed, strict=True):
        held[account.names[code]] += shares
    last = {account.names[code]: shares for _, code, shares, _, _ in zip(*account.changes, strict=True)}
    for name, shares in held.items():
        assert last.get(name, 0.0) == pytest.approx(shares, abs=1e-8)


def test_a_split_is_a_row_of_positions_without_a_fill():
    result = make_acted(EVENTS, bars=10)
    account = account_of(result)
    assert traded(account) == {"AAPL": ["10", "20", "15"], "MSFT": ["3"]}
    position = rows(account, "positions.csv")[1]
    assert position["timestamp"] == f"{result.timeline.timestamps[3].astype('datetime64[s]')}Z"
    assert float(position["price"]) == pytest.approx(result.panel.close[3, 0])
    assert float(position["value"]) == pytest.approx(20 * result.panel.close[3, 0])
    adds_up(account)


def test_actions_are_a_file_of_the_set():
    split, dividend = rows(account_of(make_acted(EVENTS, bars=10)), "actions.csv")
    assert list(split.values()) == ["2005-01-06T14:30:00Z", "1", "AAPL", "split", "2", "10", "10", "0.000000"]
    assert list(dividend.values()) == ["2005-01-07T14:30:00Z", "1", "AAPL", "dividend", "0.5", "20", "0", "10.000000"]


def test_the_summary_has_what_was_received():
    section = summary(make_run(make_acted(EVENTS, bars=10)))["portfolios"]["1"]
    assert (section["dividends"], section["splits"]) == (10.0, 1)


def test_what_is_worth_money_is_at_prices_as_traded():
    result = make_acted(EVENTS, bars=10)
    seen = result.panel.close.copy()
    seen[:3, 0] /= 2
    seen[5, 0] = np.nan
    account = account_of(replace(result, adjusted_close=seen))
    wanted = seen.copy()
    wanted[5, 0] = seen[4, 0]
    assert np.array_equal(account.closes, wanted)
    adds_up(account)
    assert account.contributions == account_of(result).contributions


def test_another_currency_counts_at_its_rate():
    result = make_acted([(1, 0, "fill", 10.0), (2, 0, "split", 0.5)], bars=4, tickers=("SAP",))
    rate = np.array([[1.0], [1.0], [1.1], [1.2]])
    equity = result.cash + np.array([0.0, 10.0, 5.0, 5.0]) * (result.panel.close * rate)[:, 0]
    result = replace(result, rates=Rates(rate, rate.copy()), currencies=("EUR",), equity=equity)
    adds_up(account_of(result))


def test_the_total_has_the_actions_of_all():
    first = make_acted(EVENTS, bars=10)
    second = make_acted(
        [(2, 0, "fill", -4.0), (3, 0, "split", 2.0), (4, 0, "dividend", 0.5)], bars=10, portfolio_id="2"
    )
    run = make_run(first, second)
    total = accounts(run).total
    assert [(row["portfolio_id"], row["kind"], row["cash"]) for row in rows(total, "actions.csv")] == [
        ("1", "split", "0.000000"), ("2", "split", "0.000000"), ("1", "dividend", "10.000000"),
        ("2", "dividend", "-4.000000"),
    ]  # fmt: skip
    assert traded(total) == {"AAPL": ["10", "6", "12", "7"], "MSFT": ["3"]}
    assert (total.actions.dividends, total.actions.splits) == (6.0, 2)
    adds_up(total)


EVENT = st.one_of(
    st.tuples(st.integers(0, 19), st.integers(0, 1), st.just("split"), st.sampled_from((2.0, 1.5, 0.1))),
    st.tuples(st.integers(0, 19), st.integers(0, 1), st.just("dividend"), st.integers(1, 500).map(lambda n: n / 100)),
    st.tuples(st.integers(0, 19), st.integers(0, 1), st.just("fill"), st.integers(-90, 90).filter(bool).map(float)),
)


@given(st.lists(EVENT, max_size=40), st.lists(EVENT, max_size=10))
@settings(max_examples=100, deadline=None)
def test_shares_and_money_add_up(first, second):
    results = [make_acted(events, tickers=("A", "B"), bars=20, portfolio_id=name)
               for name, events in (("1", first), ("2", second))]  # fmt: skip
    made = accounts(make_run(*results, benchmark=False))
    for account in (*made.portfolios, made.total):
        adds_up(account)
        text = ["".join(table_text(TABLES[name](account))) for name in TABLES]
        assert not any("nan" in each.lower() for each in text)
    again = accounts(make_run(*results, benchmark=False)).total
    assert text == ["".join(table_text(TABLES[name](again))) for name in TABLES]


def said(run):
    account = accounts(run).total
    return " ".join(text for part in words.paragraphs(account) for text in part)


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        (EVENTS, "Dividends brought 10 USD; one split changed what was held."),
        ([*EVENTS[:1], (3, 0, "dividend", 2.0)], "Dividends brought 20 USD."),
        ([(1, 0, "fill", -10.0), (3, 0, "dividend", 2.0)], "Dividends cost 20 USD."),
        ([*EVENTS[:2], (5, 0, "split", 1.5)], "2 splits changed what was held."),
        (EVENTS[:2], "One split changed what was held."),
    ],
)
def test_words_say_what_they_came_to(events, wanted):
    assert wanted in said(make_run(make_acted(events, bars=10)))


def test_the_page_lists_them_by_ticker_and_is_as_ever_without(build_run, build_result):
    def page(run):
        return render(basis_of(run), accounts(run))

    events = [*EVENTS, (7, 0, "split", 1.5), (8, 0, "split", 0.1), (9, 0, "split", 2.0), (8, 1, "dividend", 1.0)]
    text = page(make_run(make_acted(events, bars=10), make_acted(events, bars=10, portfolio_id="2")))
    assert "Splits and dividends" in text
    assert "3 for 2 on 12 Jan 2005, 1 for 10 on 13 Jan 2005, 2 for 1 on 14 Jan 2005, 1 earlier" in text
    assert '<th class="n">Dividends</th>' in text
    whole = detail_tables.actions(accounts(make_run(make_acted(events, bars=10), benchmark=False)).total)
    assert [row[1:4] for row in whole.table.rows] == [["10.00", "1", "7 Jan 2005"], ["3.00", "1", "13 Jan 2005"]]
    assert whole.note == ""
    quiet = page(build_run(build_result(), build_result(portfolio_id="2"), notes=()))
    assert "plits" not in quiet
    assert "ividends" not in quiet


def test_the_page_names_only_so_many_tickers():
    names = tuple(f"T{i}" for i in range(14))
    events = [event for i in range(14) for event in ((1, i, "fill", 10.0), (3, i, "dividend", 1.0 + i))]
    made = detail_tables.actions(account_of(make_acted(events, tickers=names, bars=6)))
    assert [row[0] for row in made.table.rows][:2] == ["T13", "T12"]
    assert (len(made.table.rows), made.note) == (12, "The 12 of 14 tickers that brought most are listed.")
