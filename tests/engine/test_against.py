"""Books against their backtest where the two are on other scales: splits, dividends, currencies, other tickers."""

from __future__ import annotations

import json

import pytest

from framework.app import load_plugins
from framework.config.load import load
from framework.plan import Plan
from framework.report.live_view import document
from framework.report_run import report_live
from tests.engine.runs import ACTS, after, portfolio

EX_DATE = after(2)
SPLITS, ALL = {"adjust": "splits"}, {"adjust": "all"}
EUROS = {"data_source": {"name": "csv", "params": {"path": "prices", "name": "live", "currencies": {"AAA": "EUR"}}}}


def against(live, pool, *portfolios, start=None, **sections):
    """The comparison of portfolio a with the backtest of a config; the parts that are not 0 beside it."""
    loaded = load(live.config(*portfolios, **sections), [])
    found = report_live(pool, "a", start, None, Plan(loaded, load_plugins(loaded)))
    json.dumps(document(found.report, found.made, found.basis, found.comparison), allow_nan=False)
    comparison = found.comparison
    parts = {name: amount for name, amount in comparison.parts.items() if abs(amount) >= 0.01}
    assert sum(comparison.parts.values()) == pytest.approx(comparison.difference)
    return comparison, parts


def act(live, kind, value):
    """A split or dividend of AAA, known from the beginning."""
    ACTS["reader"] = lambda ctx, n: None
    live.run(portfolio("reader"), until=after(0))
    live.ask(
        "INSERT INTO corporate_actions (source, ticker, ex_date, kind, value) VALUES ('csv:live', 'AAA', %s, %s, %s) "
        "RETURNING 1",
        [EX_DATE, kind, value],
    )


def halved(live, **known):
    live.prices("AAA", {each: 50.0 for each in map(after, range(20)) if each >= EX_DATE} | known.get("known", {}))


def test_an_order_that_a_split_changed_is_of_as_many_shares_as_it_traded(live, pool):
    halved(live)
    act(live, "split", 2)
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 10) if n == 3 else None
    live.run(portfolio(), **SPLITS)
    comparison, _ = against(live, pool, portfolio(), **SPLITS)
    assert (comparison.wanted_live.tolist(), comparison.traded_live.tolist()) == ([20], [20])


def test_so_is_one_that_waited_through_it(live, pool):
    halved(live, known={after(4): 39.0})
    act(live, "split", 2)
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 10, limit=0.8 * ctx.close[0], time_in_force="GTC") if n == 1 else None
    live.run(portfolio(), **SPLITS)
    comparison, parts = against(live, pool, portfolio(), **SPLITS)
    assert (comparison.wanted_live.tolist(), comparison.traded_live.tolist()) == ([20], [20])
    assert (comparison.wanted_backtest.tolist(), parts) == ([20], {})


def test_an_order_on_the_eve_of_a_dividend_is_not_unfilled(live, pool):
    live.prices("AAA", {after(5): 110.0})
    act(live, "dividend", 1)
    ACTS["a"] = lambda ctx, n: ctx.target_weights([0.5, 0.0]) if n == 3 else None
    live.run(portfolio(), until=after(5), **ALL)
    comparison, parts = against(live, pool, portfolio(), **ALL)
    assert (comparison.wanted_live.tolist(), comparison.traded_live.tolist()) == ([500], [500])
    assert (comparison.wanted_backtest.tolist(), parts) == ([500], {})


@pytest.mark.parametrize(("kind", "amount", "held"), [("dividend", 25, 100 * 125 / 100), ("split", 2, 200)])
@pytest.mark.parametrize("start", [None, after(1), after(3)])
def test_what_was_held_over_a_split_or_a_dividend_is_one_thing_to_both(live, pool, kind, amount, held, start):
    if kind == "split":
        halved(live)
    act(live, kind, amount)
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 100) if n == 1 else None
    ACTS["less"] = lambda ctx, n: ctx.order("AAA", 60) if n == 1 else None
    live.run(portfolio(), **SPLITS)
    comparison, parts = against(live, pool, portfolio(), start=start, **SPLITS)
    assert parts == {}
    assert comparison.traded_live.tolist() == ([] if start else [pytest.approx(held)])
    _, parts = against(live, pool, portfolio(act="less"), start=start, **SPLITS)
    assert sum(parts.values()) == pytest.approx(40 * 25 if kind == "dividend" and start != after(3) else 0)


def test_a_foreign_ticker_that_the_backtest_alone_trades_counts_at_its_rate(live, pool):
    live.prices("AAA", {after(days): 100.0 + 10 * days for days in range(6)})
    live.prices("EURUSD", {}, 2.0)
    ACTS["a"] = lambda ctx, n: ctx.target_weights([0.5, 0.0]) if n == 1 else None
    ACTS["nothing"] = lambda ctx, n: None
    live.run(portfolio(act="nothing"), **EUROS)
    comparison, parts = against(live, pool, portfolio(), **EUROS)
    assert parts == pytest.approx({"decisions": comparison.difference})


def test_what_the_config_no_longer_has_counts_as_held_at_the_start(live, pool):
    live.prices("BBB", {after(days): 50.0 + 3 * days for days in range(6)})
    ACTS["a"] = lambda ctx, n: ctx.order("BBB", 100) if n == 1 and "BBB" in ctx.tickers else None
    live.run(portfolio())
    _, parts = against(live, pool, portfolio(tickers=["AAA"]), start=after(2))
    assert parts == pytest.approx({"held_at_start": 100 * 3 * 3})


def test_a_fill_before_a_split_that_was_booked_after_it(live, pool):
    """The engine was away from the fill to the split, and valued nothing between them."""
    halved(live, known={after(1): 94.0})
    act(live, "split", 2)
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 10, limit=95.0, time_in_force="GTC") if n == 1 else None
    live.run(portfolio(), until=after(0), **SPLITS)
    live.run(portfolio(), clock={"start": after(5), "end": after(6), "seconds_per_day": 0}, **SPLITS)
    comparison, _ = against(live, pool, portfolio(), **SPLITS)
    assert (comparison.wanted_live.tolist(), comparison.traded_live.tolist()) == ([20], [20])
    assert comparison.price_live.tolist() == [47.0]
