"""The live engine's orders: halts, liquidation, what a crash left behind, what has become of a holding's prices."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import pytest

from framework.books import journal
from framework.cli.main import run_command
from framework.engine.gateway import NOT_SENT_IN_TIME, SIZED_WRONGLY
from framework.engine.halts import halt, halts_in_force
from framework.engine.operate import halt_portfolios, liquidate_portfolio, resume_portfolios
from framework.errors import BookingError, ConfigError
from tests.engine.runs import ACCOUNTS, ACTS, CONFIG, DAYS, FIRST, RULES, after, noon, portfolio, wait_for
from tests.engine.stand_in import Account

DOWN = {after(1): 80.0}


def target(ctx, n):
    """As many shares of AAA at every bar."""
    ctx.order_target("AAA", 10)


def nothing(ctx, n):
    pass


def resting(ctx, n):
    """A limit that the second day reaches."""
    if n == 1:
        ctx.order("AAA", 10, limit=85, time_in_force="GTC")


def close_of(day):
    return datetime.combine(day, time(21), UTC)


def reasons(pool, name="a"):
    with pool.connection() as connection:
        return [each.reason for each in halts_in_force(connection, name)]


def equities(live):
    return [float(equity) for (equity,) in live.ask("SELECT equity FROM pnl_book ORDER BY id")]


def left_behind(live, pool, *quantities, valid_until=None, ticker="AAA"):
    """Orders decided on the newest bar, by an engine that died before it could send them."""
    ((due,),) = live.ask("SELECT max(due_at) + interval '1 second' FROM decisions")
    intents = [
        journal.Intent(
            journal.client_order_id("abc123", "a", due, number),
            ticker,
            "BUY" if quantity > 0 else "SELL",
            Decimal(abs(quantity)),
            Decimal(100),
        )
        for number, quantity in enumerate(quantities)
    ]
    bar = datetime.combine(due.date(), time(), UTC)
    decision = journal.Decision("a", due, bar, valid_until or due + timedelta(days=1), {"n": 2}, intents=intents)
    assert journal.decide(pool, decision)


def quiet(line):
    """For what is announced."""


# --- halts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["by command", "by its row alone"])
def test_after_a_halt_without_an_engine_the_next_one_takes_all_back_before_anything_fills(live, pool, how):
    ACTS["a"] = resting
    live.prices("AAA", DOWN)
    live.run(portfolio(), until=after(0))
    left_behind(live, pool, 5)
    assert [order[3] for order in live.orders()] == ["open", "planned"]
    if how == "by command":
        (outcome,) = halt_portfolios(pool, "a", "test", "me", keep_orders=False, timeout_seconds=5, announce=quiet)
        assert outcome.text == (
            "halted; no engine runs it; orders never sent: 1, taken back; at the broker: 1, the next engine that runs "
            "it cancels them before anything else"
        )
        assert live.orders()[1] == ("AAA", "BUY", 5, "ended", "halted")
    else:
        with pool.connection() as connection:
            halt(connection, "a", "test", "me")
    before = live.decided()
    live.run(portfolio())
    assert live.orders() == [("AAA", "BUY", 10, "ended", "halted"), ("AAA", "BUY", 5, "ended", "halted")]
    assert live.trades() == []
    assert live.decided() == before
    assert live.ask("SELECT is_closed, filled FROM paper_orders") == [(True, 0)]


def test_a_halt_that_keeps_orders_lets_them_fill_and_sends_no_other(live, pool):
    ACTS["a"] = resting
    live.prices("AAA", DOWN)
    live.run(portfolio(), until=after(0))
    left_behind(live, pool, 5)
    (outcome,) = halt_portfolios(pool, "a", "test", "me", keep_orders=True, timeout_seconds=5, announce=quiet)
    assert outcome.text == "halted; no engine runs it; open orders: 2, they stay open"
    before = live.decided()
    live.run(portfolio())
    assert live.trades() == [("AAA", "BUY", 10, 80.0, str(after(1)))]
    assert live.orders()[1] == ("AAA", "BUY", 5, "ended", NOT_SENT_IN_TIME)
    assert live.decided() == before
    assert len(equities(live)) == 6, "it is valued all the same"


def test_a_portfolio_that_is_resumed_decides_again(live, pool):
    ACTS["a"] = target
    live.run(portfolio(), until=after(0))
    halt_portfolios(pool, "a", "test", "me", keep_orders=False, timeout_seconds=5, announce=quiet)
    live.run(portfolio(), until=after(1))
    assert len(live.decided()) == 2
    resume_portfolios(pool, "a", "me", timeout_seconds=5, announce=quiet)
    live.run(portfolio(), until=after(2))
    assert live.decided()[2:] == [str(after(1)), str(after(2))]


def test_a_running_engine_liquidates_and_leaves_the_portfolio_halted(live, pool, travelling):
    def act(ctx, n):
        if n == 1:
            ctx.order("AAA", 10)
            ctx.order("BBB", 20)
            ctx.order("AAA", 5, limit=50, time_in_force="GTC")

    def go(day):
        travelling.go(noon(day))
        live.ask("NOTIFY engine_bars")

    ACTS["a"] = act
    travelling.go(noon(after(0)))
    with live.running(portfolio()):
        wait_for(lambda: [order[3] for order in live.orders()] == ["open"] * 3, "its orders are sent")
        go(after(1))
        wait_for(lambda: len(live.trades()) == 2 and len(live.decided()) == 2, "they fill, and it decides")
        outcome = liquidate_portfolio(pool, "a", "me", timeout_seconds=20, announce=quiet)
        assert (outcome.ok, outcome.text) == (
            True,
            "2 orders sent that close every position; they fill when the market trades",
        )
        assert live.orders()[2] == ("AAA", "BUY", 5, "ended", "liquidated")
        go(after(2))
        wait_for(lambda: len(live.trades()) == 4, "all is sold")
        assert live.trades()[2:] == [
            ("AAA", "SELL", 10, 100.0, str(after(1))),
            ("BBB", "SELL", 20, 50.0, str(after(1))),
        ]
        again = liquidate_portfolio(pool, "a", "me", timeout_seconds=20, announce=quiet)
        assert (again.ok, again.text) == (True, "nothing is held")
    assert reasons(pool) == ["liquidation"]
    assert live.decided() == [str(after(-1)), str(after(0))]
    live.run(portfolio())
    assert live.decided() == [str(after(-1)), str(after(0))]


# --- what a crash left behind --------------------------------------------------------------------------------------


def recovered(live, pool, **more):
    """The orders of a portfolio, the first of which a crash left planned, after another run."""
    ACTS["a"] = nothing
    live.run(portfolio(), until=after(0))
    left_behind(live, pool, 10)
    live.run(portfolio(**more), until=after(2))
    return live.orders()


def test_an_order_that_a_crash_left_is_sent(live, pool):
    assert recovered(live, pool) == [("AAA", "BUY", 10, "filled", None)]
    assert live.trades() == [("AAA", "BUY", 10, 100.0, str(after(1)))]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"name": "restricted", "params": {"tickers": ["AAA"]}}, "restricted: on the list"),
        ({"name": "max_order_notional", "params": {"limit": 500}}, "max_order_notional: 1000 > 500"),
    ],
)
def test_an_order_that_a_crash_left_is_not_sent_where_a_risk_rule_refuses_it_now(live, pool, rule, reason):
    ((*order, found),) = recovered(live, pool, risk=[rule])
    assert order == ["AAA", "BUY", 10, "ended"]
    assert found.startswith(reason.split(":")[0])
    assert live.trades() == []
    assert live.ask("SELECT count(*) FROM paper_orders") == [(0,)]
    assert [reason for *_, reason in live.state()["told"][0][1]] == [found], "the strategy is told"


def test_a_risk_rule_that_is_asked_again_may_halt(live, pool):
    RULES["rule"] = lambda proposal: proposal.halt("enough")
    assert recovered(live, pool, risk=[{"name": "rule"}]) == [("AAA", "BUY", 10, "ended", "halted")]
    assert [reason.split(":")[0] for reason in reasons(pool)] == ["rule"]
    assert live.decided()[-1] == str(after(0))


def test_a_rule_that_lets_it_through_is_asked_about_what_would_come_of_it(live, pool):
    asked = []

    def review(proposal):
        asked.append((proposal.asked.tolist(), proposal.pending.tolist()))

    RULES["rule"] = review
    assert recovered(live, pool, risk=[{"name": "rule"}]) == [("AAA", "BUY", 10, "filled", None)]
    assert asked[0] == ([10.0], [0.0, 0.0]), "the order itself is not counted twice"


def test_a_decision_does_not_count_on_orders_that_its_own_cycle_has_just_ended(live, pool):
    ACTS["a"] = nothing
    live.run(portfolio(), until=after(0))
    left_behind(live, pool, 10, valid_until=close_of(after(0)) + timedelta(hours=1))
    ACTS["a"] = target
    live.run(portfolio(), clock={"start": after(2)}, until=after(2))
    assert live.orders() == [("AAA", "BUY", 10, "ended", NOT_SENT_IN_TIME), ("AAA", "BUY", 10, "filled", None)]


def test_an_order_older_than_the_window_fills_at_its_own_bar(live):
    live.prices("AAA", {day: 100.0 + n for n, day in enumerate(DAYS)})
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 10) if n == 2 else None
    live.run(portfolio(lookback=1), until=after(0))
    price = 100.0 + DAYS.index(after(1))
    later = {"start": after(12), "end": after(13)}
    live.run(portfolio(lookback=1), clock=later)
    assert live.trades() == [("AAA", "BUY", 10, price, str(after(1)))]


# --- cancels that come too late ------------------------------------------------------------------------------------


def test_what_was_sized_on_a_cancel_that_came_too_late_is_not_sent(live):
    account = ACCOUNTS["stand_in"] = Account()
    account.on_cancel = account.fill

    def act(ctx, n):
        ctx.order_target("AAA", 10 if n == 1 else 4)

    ACTS["a"] = act
    live.run(portfolio(), broker="stand_in", until=after(0))
    assert [(each.side, int(each.quantity)) for each in account.submitted] == [("BUY", 10)]
    assert live.orders() == [("AAA", "BUY", 10, "filled", None), ("AAA", "BUY", 4, "ended", SIZED_WRONGLY)]
    live.run(portfolio(), broker="stand_in", until=after(1))
    assert [(each.side, int(each.quantity)) for each in account.submitted] == [("BUY", 10), ("SELL", 6)]
    assert live.state()["told"] == [[3, [["AAA", 4.0, SIZED_WRONGLY]]]]


# --- value ---------------------------------------------------------------------------------------------------------


def test_a_holding_without_a_bar_in_the_window_is_valued_at_its_last_close(live):
    live.prices("AAA", {after(1): 110.0}, until=after(1))
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 10) if n == 1 else None
    live.run(portfolio(lookback=1), until=after(6))
    assert equities(live) == [100_000.0, 100_000.0, *[100_100.0] * 6]
    assert len(live.decided()) == 8


def test_after_a_drawdown_that_was_resumed_the_portfolio_trades_also_after_a_restart(live, pool):
    live.prices("AAA", {day: 70.0 for day in DAYS if day > FIRST})
    ACTS["a"] = lambda ctx, n: ctx.target_weights({"AAA": 0.9 if n < 3 else 0.5 + 0.01 * n})
    mine = portfolio(risk=[{"name": "max_drawdown", "params": {"limit": 0.2}}])
    said = live.run(mine, until=after(2))
    assert any("HALTED by max_drawdown" in line for line in said)
    assert live.decided() == [str(after(n)) for n in (-1, 0, 1)]
    live.run(mine, until=after(3))
    assert len(live.decided()) == 3
    resume_portfolios(pool, "a", "me", timeout_seconds=5, announce=quiet)
    for last in (4, 5, 6):
        live.run(mine, until=after(last))
    assert reasons(pool) == []
    assert live.decided()[3:] == [str(after(n)) for n in (3, 4, 5, 6)]
    assert [trade[4] for trade in live.trades()] == [str(after(n)) for n in (0, 4, 5, 6)]
    live.prices("AAA", {day: 70.0 if day <= after(6) else 40.0 for day in DAYS if day > FIRST})
    live.run(mine, until=after(9))
    assert [reason.split(":")[0] for reason in reasons(pool)] == ["max_drawdown"], "a new loss halts it again"


def test_a_config_that_does_not_name_what_is_held_or_ordered_is_refused(live):
    ACTS["a"] = resting
    live.run(portfolio(), until=after(0))
    ACTS["a"] = nothing
    with pytest.raises(BookingError, match="portfolio a holds, or has open orders in, AAA, which the config does not"):
        live.run(portfolio(tickers=["BBB"]), until=after(1))


# --- brokers that move money ---------------------------------------------------------------------------------------


class Untouched:
    """An account that nobody may have."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} of a broker that moves money was used")


def test_paper_refuses_a_broker_that_moves_money(live):
    ACTS["a"], ACCOUNTS["stand_in"] = nothing, Untouched()
    with pytest.raises(ConfigError, match="broker 'real_money' moves real money, which mode paper never does"):
        live.run(portfolio(), broker="real_money")
    assert live.ask("SELECT count(*) FROM portfolios") == [(0,)]


def test_a_replay_never_connects_to_the_broker_that_the_config_names(live):
    ACTS["a"] = target  # and no account is there: to ask for it would fail
    config = live.config(
        portfolio(), mode="replay", clock=None, start=FIRST, end=CONFIG["clock"]["end"], broker="real_money"
    )
    assert run_command(("run", str(config), "--out", "out")) == 0
