from dataclasses import replace

import numpy as np
import pytest

from framework.report import words
from framework.report.assemble import accounts


def told(run):
    account = accounts(run).total
    return " ".join([words.headline(account), *(text for part in words.paragraphs(account) for text in part)])


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.1234, "12.3 %"), (-0.5, "\u221250.0 %"), (-1e-9, "0.0 %"), (None, "–"), (float("nan"), "–")],
)
def test_percent(value, shown):
    assert words.percent(value) == shown.replace(" ", "\u202f")


def test_numbers_have_signs_where_they_matter():
    assert words.number(-1234.5) == "\u22121,234.50"
    assert words.number(3.0, 0, signed=True) == "+3"
    assert words.number(0.001, 1, signed=True) == "0.0"


def test_says_that_nothing_was_traded(build_run, build_result):
    assert told(build_run(build_result(every=0))).startswith("It never traded.")


def test_names_the_ticker_that_made_the_profit(build_run, build_result):
    account = accounts(build_run(build_result())).total
    cases = {
        "92\u202f% of the profit came from AAPL.": {"AAPL": 92.0, "IBM": 8.0},
        "75\u202f% of the loss came from IBM.": {"AAPL": -25.0, "IBM": -75.0},
        "AAPL alone brought 150\u202f% of the profit; the others together lost 50 USD.": {"AAPL": 150.0, "IBM": -50.0},
        "IBM alone brought 200\u202f% of the loss; the others together made 100 USD.": {"AAPL": 100.0, "IBM": -200.0},
    }
    for sentence, made in cases.items():
        told_of = words.paragraphs(replace(account, contributions=made))
        assert sentence in [text for part in told_of for text in part]


def test_tells_growth_benchmark_falls_and_costs(build_run, build_result):
    text = told(build_run(build_result(bars=600, gaps=0.05)))
    for part in ("became", "a year", "benchmark (buy_and_hold)", "worst fall", "months gained", "Trading cost"):
        assert part in text
    assert "3 buys were cut" in text
    assert "no bar" in text


@pytest.mark.parametrize(("value", "shown"), [(252, "252"), (12, "12"), (126.3478, "126.3"), (1.00304, "1.003")])
def test_sessions_a_year_are_written_short(value, shown):
    assert words.short(value) == shown


def test_growth_a_year_is_told_from_a_year_on(build_run, build_result):
    assert " a year:" not in words.headline(accounts(build_run(build_result(step="D", bars=364))).total)
    for step, bars in (("D", 365), ("W", 52)):
        account = accounts(build_run(build_result(step=step, bars=bars, every=5))).total
        assert f"{words.percent(account.curve.figures.cagr)} a year." in words.headline(account)


def test_a_fall_that_never_recovers_is_said(build_run, build_result):
    result = build_result()
    sinking = replace(result, equity=np.linspace(1e6, 5e5, result.bars))
    assert "not made good by the end" in told(build_run(sinking))


def test_a_rise_without_a_fall_is_said(build_run, build_result):
    result = build_result()
    rising = replace(result, equity=np.linspace(1e6, 2e6, result.bars))
    assert "never below an earlier high" in told(build_run(rising))


HEADLINES = {
    "1,000,000 USD and a deposit of 5,000 became": [(10, 5000.0)],
    "1,000,000 USD and 2 deposits of together 7,000 became": [(10, 5000.0), (20, 2000.0)],
    "1,000,000 USD, less a withdrawal of 5,000, became": [(10, -5000.0)],
    "1,000,000 USD and a deposit of 9,000, less 2 withdrawals of together 7,000, became": [
        (10, -5000.0),
        (20, -2000.0),
        (30, 9000.0),
    ],
    "1,000,000 USD, a deposit of 9,000 and 3,000 transferred in became": [
        (10, 5000.0, "transfer"),
        (20, -2000.0, "transfer"),
        (30, 9000.0),
    ],
    "1,000,000 USD, less 4,000 transferred out, became": [(10, -4000.0, "transfer")],
    "1,000,000 USD became": [(10, -4000.0, "transfer"), (11, 4000.0, "transfer")],
}


@pytest.mark.parametrize(("sentence", "flows"), HEADLINES.items(), ids=range(len(HEADLINES)))
def test_the_headline_tells_what_was_put_in(build_run, build_result, sentence, flows):
    account = accounts(build_run(build_result(bars=500, flows=flows))).portfolios[0]
    text = words.headline(account)
    assert text.startswith(f"{sentence} {words.number(account.curve.equity[-1], 0)}: ")
    figures = account.curve.figures
    assert f": {words.percent(figures.total_return, signed=True)} time-weighted, " in text
    assert text.endswith(f", {words.percent(account.money_weighted_return)} a year money-weighted.")


def test_a_short_time_has_no_rate_a_year_in_its_headline(build_run, build_result):
    text = words.headline(accounts(build_run(build_result(bars=100, flows=[(10, 5000.0)]))).total)
    assert text.endswith("% time-weighted.")


def test_a_portfolio_that_began_with_nothing_has_its_currency_behind(build_run, build_result):
    account = accounts(build_run(build_result(bars=100, cash=0.0, flows=[(10, 5e6), (20, 2e6)]))).portfolios[0]
    final = words.number(account.curve.equity[-1], 0)
    assert words.headline(account).startswith(f"2 deposits of together 7,000,000 became {final} USD: ")


def test_what_trading_cost_is_part_of_what_was_made_not_of_what_was_put_in(build_run, build_result):
    result = build_result(flows=[(10, 5e6)])
    account = accounts(build_run(result)).total
    costs = account.fees + float(np.sum(result.trades.quantity * (result.trades.price - result.trades.arrival_price)))
    share = costs / (result.equity[-1] - 6e6 + costs)
    text = told(build_run(result))
    assert (f", {words.percent(share)} of what it made before them" in text) == (0 < share < 1)
    assert f"Trading cost {words.number(costs, 0)} USD" in text
