"""Splits and dividends: the replay books them where the backtest has them, and the books prove themselves."""

from __future__ import annotations

import json

import psycopg2
import pytest

from tests.parity.test_replay import RULES, STRATEGIES, audited, drop_in, engine, portfolio

__all__ = ["audited", "engine"]

#: Beside AAPL's own 2 for 1 of February, and the dividends of IBM and MSFT: ratios that leave parts of shares, two
#: on the days of dividends, a dividend on the day of AAPL's split, and one of a day without a session.
MADE_UP = [
    ("IBM", "2005-03-15", "split", "1.5"),
    ("IBM", "2005-05-06", "split", "0.333333333333"),
    ("MSFT", "2005-05-16", "split", "0.1"),
    ("AAPL", "2005-02-28", "dividend", "0.333333"),
    ("AAPL", "2005-04-03", "dividend", "0.25"),
]
DATES = ("--set", "start=2005-01-03", "--set", "end=2005-06-30")


@pytest.fixture
def with_actions(engine, database, audited):
    """Runs a config through a replay on a database that has the actions; the books of each replay are audited."""

    def run(portfolios, *arguments, also=lambda cursor: None):
        status, _, err = engine(portfolios, *DATES, "--set", "mode=backtest")
        assert status == 0, err
        with psycopg2.connect(database) as connection, connection.cursor() as cursor:
            columns = "source, ticker, ex_date, kind, value"
            cursor.executemany(f"INSERT INTO corporate_actions ({columns}) VALUES ('sample', %s, %s, %s, %s)", MADE_UP)
            also(cursor)
        connection.close()
        status, out, err = engine(portfolios, *DATES, *arguments)
        assert status == 0, err
        assert [each.findings for each in audited if each.findings] == []
        assert audited
        return json.loads(out)["portfolios"]["a"]

    return run


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("lots", ["whole", "fractional"])
def test_each_bundled_strategy(with_actions, name, lots):
    schedule = "    schedule: monthly\n" if name == "momentum" else ""
    figures = with_actions(portfolio("a", STRATEGIES[name], f"    lots: {lots}\n{schedule}"))
    assert figures["prices"] == "traded"
    assert figures["trades"] > 2


@pytest.mark.parametrize("mode", ["none", "splits"])
def test_whatever_strategies_see(with_actions, mode):
    assert with_actions(portfolio("a", STRATEGIES["sma_cross"]), "--set", f"adjust={mode}")["trades"] > 2


def test_orders_that_wait_through_splits(with_actions, tmp_path):
    drop_in(
        tmp_path,
        """n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        close = ctx.raw_close
        if n % 3 == 0:
            ctx.order("AAPL", 21, limit=close[0] * 0.97, time_in_force="GTC")
            ctx.order("AAPL", -10, stop=close[0] * 0.95, time_in_force="GTC")
        if n % 5 == 0:
            ctx.order("IBM", 31, limit=close[1] * 0.985, time_in_force="GTC")
            ctx.order("IBM", -15, limit=close[1] * 1.01, time_in_force="GTC")
        if n % 7 == 0:
            ctx.order("MSFT", 55)
            ctx.order("MSFT", -7, stop=close[2] * 0.98, limit=close[2] * 0.97, time_in_force="GTC")
        if n % 31 == 0:
            ctx.exit("MSFT")""",
    )
    figures = with_actions(portfolio("a", "{name: drop}"))
    assert figures["trades"] > 25
    assert {"nothing left of it after a split"} <= set(figures["unfilled"])


def test_splits_and_dividends_on_days_without_a_bar(with_actions, tmp_path, database):
    drop_in(
        tmp_path,
        """n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        ctx.order("IBM", 7, time_in_force="GTC")
        if n % 2:
            ctx.order("IBM", -5, stop=ctx.close[1] * 0.97, time_in_force="GTC") if ctx.close[1] > 0 else None""",
    )
    holes = ("2005-02-08", "2005-03-15", "2005-03-16", "2005-05-06")

    def without(cursor):
        cursor.execute(
            "DELETE FROM market_data WHERE ticker = 'IBM' AND timestamp::date::text = ANY(%s)", [list(holes)]
        )
        assert cursor.rowcount == len(holes)

    assert with_actions(portfolio("a", "{name: drop}"), also=without)["trades"] > 60


def test_money_that_moves_on_the_days_of_actions(with_actions):
    flows = (
        "    flows: [{date: 2005-02-08, amount: 5000, reference: a}, {date: 2005-02-28, amount: -4000, reference: b}, "
        "{date: 2005-05-06, amount: -100000, reference: c}]\n"
    )
    with_actions(portfolio("a", STRATEGIES["buy_and_hold"], flows))


def test_allocations_over_splits(with_actions):
    two = portfolio("a", STRATEGIES["mean_reversion"]) + portfolio("b", STRATEGIES["buy_and_hold"])
    allocator = "allocator: {name: equal, schedule: weekly}\nmaster: {cash: 50000}\n"
    assert with_actions(two + allocator)["trades"] > 2


def test_risk_rules_over_splits(with_actions):
    assert with_actions(portfolio("a", STRATEGIES["mean_reversion"], RULES))["trades"] > 2
