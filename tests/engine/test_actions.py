"""Splits and dividends in the books of a paper portfolio: with the first bar of their day, once, whatever happens."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from framework.books import journal, ledger
from framework.books.audit import audit
from framework.books.entries import Adopt
from framework.books.ledger import book
from framework.data.coming import Coming
from framework.db import queries
from framework.engine.account import Terms
from framework.engine.actions import Actions
from framework.engine.decider import closing
from framework.engine.paper import PaperAccount
from framework.errors import DataError, EngineError
from framework.model.bars import CorporateAction
from framework.model.money import FRACTIONAL, WHOLE
from framework.model.orders import OrderTerms
from framework.report.live_reading import read_live_report
from framework.trading.costs import Costs
from tests.books.cases import ask, fill
from tests.engine.runs import ACTS, after, portfolio
from tests.engine.stand_in import World, intent

SPLIT = after(2)


def prices(live, ratio=2.0, usual=100.0, day=SPLIT, **known):
    """AAA costs 100 before the day, and what a part of the share costs since."""
    live.prices("AAA", {each: usual / ratio for each in map(after, range(20)) if each >= day} | known.get("known", {}))


def read(live):
    """Have the bars in the database; a portfolio of its own sees to it."""
    ACTS["reader"] = lambda ctx, n: None
    live.run(portfolio("reader"), until=after(0))


def announce(live, kind="split", value="2", day=SPLIT, ticker="AAA"):
    live.ask(
        "INSERT INTO corporate_actions (source, ticker, ex_date, kind, value) VALUES ('csv:live', %s, %s, %s, %s) "
        "RETURNING 1",
        [ticker, day, kind, value],
    )


def buys(shares=10, n=1, **terms):
    """A strategy that orders once."""
    ACTS["a"] = lambda ctx, bar: ctx.order("AAA", shares, **terms) if bar == n else None


def rows(live, name="a"):
    """All but the opening: kind, side, ticker, quantity, price, session's day."""
    return live.ask(
        "SELECT kind, side, coalesce(for_ticker, ticker), quantity::float, exec_price::float, "
        "(exec_timestamp AT TIME ZONE 'UTC')::date::text FROM trade_execution_logs "
        "WHERE portfolio_id = %s AND kind <> 'deposit' ORDER BY id",
        [name],
    )


def equity(live, name="a"):
    return [
        float(value)
        for (value,) in live.ask("SELECT equity FROM pnl_book WHERE portfolio_id = %s ORDER BY timestamp, id", [name])
    ]


def announced(live, *actions):
    """Bars in the database, and these actions (kind, value, day) of AAA."""
    read(live)
    for kind, value, day in actions:
        announce(live, kind, value, day)


# --- splits ----------------------------------------------------------------------------------------------------------


def test_shares_double_and_equity_stays(live):
    prices(live)
    announced(live, ("split", "2", SPLIT))
    buys()
    said = live.run(portfolio())
    assert rows(live) == [
        ("trade", "BUY", "AAA", 10, 100, "2010-03-01"),
        ("split", "BUY", "AAA", 10, 0, "2010-03-03"),
    ]
    assert set(equity(live)) == {100_000.0}
    assert any("AAA split 2 for 1 on 2010-03-03" in line for line in said)
    assert not any("dividend" in line for line in said)


def test_an_order_decided_on_the_eve_fills_with_new_shares(live):
    prices(live)
    announced(live, ("split", "2", SPLIT))
    buys(n=3)
    live.run(portfolio())
    assert rows(live) == [
        ("split", "BUY", "AAA", 0, 0, "2010-03-03"),
        ("trade", "BUY", "AAA", 20, 50, "2010-03-03"),
    ]
    assert live.orders() == [("AAA", "BUY", 20, "filled", None)]
    assert live.ask("SELECT decision_price::float FROM trade_execution_logs WHERE kind = 'trade'") == [(50.0,)]


def test_an_order_decided_on_a_bar_of_the_day_is_left_as_it_is(live):
    prices(live)
    announced(live, ("split", "2", SPLIT))
    buys(n=4)
    live.run(portfolio())
    assert live.trades() == [("AAA", "BUY", 10, 50.0, "2010-03-04")]


def test_a_resting_limit_order_goes_on_at_prices_of_new_shares(live):
    prices(live, known={after(4): 39.0})
    announced(live, ("split", "2", SPLIT))
    buys(limit=80.0, time_in_force="GTC")
    live.run(portfolio())
    assert live.trades() == [("AAA", "BUY", 20, 39.0, "2010-03-05")]
    assert live.ask("SELECT limit_price::float FROM orders") == [(40.0,)]
    assert live.ask("SELECT limit_price::float FROM paper_orders") == [(40.0,)]


def test_the_strategy_sees_new_shares_at_the_first_bar_of_the_day(live):
    prices(live)
    announced(live, ("split", "2", SPLIT))
    seen = {}

    def act(ctx, n):
        seen[n] = float(ctx.positions[0])
        if n == 1:
            ctx.order("AAA", 10)

    ACTS["a"] = act
    live.run(portfolio())
    assert seen == {1: 0, 2: 10, 3: 10, 4: 20, 5: 20, 6: 20}
    assert live.state()["n"] == 6


def test_a_target_is_met_with_new_shares(live):
    prices(live)
    announced(live, ("split", "2", SPLIT))
    ACTS["a"] = lambda ctx, n: ctx.target_weights([0.5, 0.0])
    live.run(portfolio())
    assert rows(live) == [
        ("trade", "BUY", "AAA", 500, 100, "2010-03-01"),
        ("split", "BUY", "AAA", 500, 0, "2010-03-03"),
    ]
    assert set(equity(live)) == {100_000.0}


def test_a_reverse_split_ends_an_order_of_which_it_leaves_nothing(live):
    prices(live, ratio=0.05)
    announced(live, ("split", "0.05", SPLIT))
    buys(n=3)
    said = live.run(portfolio())
    assert live.orders() == [("AAA", "BUY", 10, "ended", "nothing left of it after a split")]
    assert live.state()["told"] == [[4, [["AAA", 10.0, "nothing left of it after a split"]]]]
    assert any("order BUY 10 ended: nothing left of it" in line for line in said)


def test_parts_of_a_lot_are_cut_and_told(live):
    prices(live, ratio=1 / 3)
    announced(live, ("split", "0.333333333333", SPLIT))
    buys(n=3)
    said = live.run(portfolio())
    assert live.trades() == [("AAA", "BUY", 3, 300.0, "2010-03-03")]
    assert any("split 1 for 3 " in line and "order BUY 10 is of 3 now (a lot is cut" in line for line in said)


def test_sessions_that_were_missed_are_made_up_in_the_order_of_events(live):
    """One resting order had filled before the split, of old shares; the other goes on, of new ones."""
    prices(live, known={after(1): 94.0, after(4): 39.0})
    announced(live, ("split", "2", SPLIT), ("dividend", "0.5", after(3)))

    def act(ctx, n):
        for limit in (95.0, 80.0) if n == 1 else ():
            ctx.order("AAA", 10, limit=limit, time_in_force="GTC")

    ACTS["a"] = act
    live.run(portfolio(), until=after(0))
    live.run(portfolio(), clock={"start": after(5), "end": after(6), "seconds_per_day": 0})
    assert rows(live) == [
        ("trade", "BUY", "AAA", 10, 94, "2010-03-02"),
        ("split", "BUY", "AAA", 10, 0, "2010-03-03"),
        ("dividend", "BUY", "AAA", 10, 1, "2010-03-04"),
        ("trade", "BUY", "AAA", 20, 39, "2010-03-05"),
    ]
    assert equity(live)[-1] == 100_000 - 940 - 780 + 40 * 50 + 10


def test_a_restart_books_nothing_twice(live):
    prices(live)
    announced(live, ("split", "2", SPLIT), ("dividend", "0.5", SPLIT), ("dividend", "0.5", after(1)))
    buys()
    for day in (1, 2, 2, 3, 4):
        live.run(portfolio(), until=after(day))
    assert [row[0] for row in rows(live)] == ["trade", "dividend", "split", "dividend"]
    assert len(equity(live)) == 6


def test_a_split_that_became_known_too_late_stops_its_portfolio_only(live):
    prices(live)
    read(live)
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 10) if n in (1, 4) else None
    ACTS["b"] = lambda ctx, n: None
    live.run(portfolio(), portfolio("b"), until=after(3))
    announce(live)
    failing = {"lease_seconds": 30, "send_timeout_seconds": 10, "max_consecutive_failures": 1}
    said = live.run(portfolio(), portfolio("b"), until=after(4), engine=failing)
    (stopped,) = [line for line in said if "STOPPED" in line]
    assert "portfolio a held 10 AAA when it was split on 2010-03-03 (2 for 1), and has traded it since" in stopped
    assert "begin anew under another portfolio id" in stopped
    assert [row[0] for row in rows(live)] == ["trade", "trade"]
    assert len(equity(live, "b")) == 6


def test_a_split_that_became_known_late_is_booked_where_nothing_was_traded_since(live):
    prices(live)
    read(live)
    buys()
    live.run(portfolio(), until=after(3))
    announce(live)
    live.run(portfolio(), until=after(4))
    assert rows(live)[-1] == ("split", "BUY", "AAA", 10, 0, "2010-03-03")
    assert equity(live)[-1] == 100_000


def test_what_was_bought_of_new_shares_before_the_split_became_known_is_left_alone(live):
    prices(live)
    read(live)
    buys(n=4)
    live.run(portfolio(), until=after(3))
    announce(live)
    live.run(portfolio(), until=after(4))
    assert rows(live) == [("trade", "BUY", "AAA", 10, 50, "2010-03-04")]


# --- dividends -------------------------------------------------------------------------------------------------------


def test_a_dividend_is_paid_on_the_shares_held_when_the_day_opened(live):
    announced(live, ("dividend", "0.5", after(2)))
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", {1: 10, 3: -4}.get(n, 0)) if n in (1, 3) else None
    ACTS["b"] = lambda ctx, n: ctx.order("AAA", 10) if n == 3 else None
    live.run(portfolio(), portfolio("b"))
    assert rows(live) == [
        ("trade", "BUY", "AAA", 10, 100, "2010-03-01"),
        ("dividend", "BUY", "AAA", 5, 1, "2010-03-03"),
        ("trade", "SELL", "AAA", 4, 100, "2010-03-03"),
    ]
    assert [row[0] for row in rows(live, "b")] == ["trade"]
    assert live.ask("SELECT income::float FROM pnl_book WHERE portfolio_id = 'a' ORDER BY id DESC LIMIT 1") == [(5.0,)]


def test_a_dividend_of_the_day_of_a_split_is_paid_on_new_shares(live, pool):
    prices(live)
    announced(live, ("dividend", "0.5", SPLIT), ("split", "2", SPLIT))
    buys()
    live.run(portfolio())
    assert [row[:4] for row in rows(live)][1:] == [("split", "BUY", "AAA", 10), ("dividend", "BUY", "AAA", 10)]
    assert audit(pool).clean


def test_buy_and_hold_through_a_year_earns_what_the_adjusted_series_does(live, pool):
    ACTS["a"] = lambda ctx, n: ctx.target_weights([0.5, 0.5]) if n == 1 else None
    hold = portfolio(tickers=["AAPL", "IBM"], cash=10_000_000)
    clock = {"start": "2005-01-03", "end": "2005-12-30", "seconds_per_day": 0}
    live.run(hold, data_source={"name": "sample"}, adjust="all", clock=clock)
    assert [row[0] for row in rows(live)].count("split") == 1
    assert [row[2] for row in rows(live) if row[0] == "dividend"] == ["IBM"] * 4
    assert audit(pool).clean
    values, report = equity(live), read_live_report(pool, "a")
    assert (float(report.end.equity), report.notes) == (values[-1], ())
    assert report.gained("income") == sum(Decimal(str(row[3])) for row in rows(live) if row[0] == "dividend")
    bars = {
        ticker: live.ask(
            "SELECT open_price::float, close_price::float FROM market_data WHERE source = 'sample' AND ticker = %s "
            "AND timestamp >= '2005-01-03' AND timestamp < '2005-12-31' ORDER BY timestamp", [ticker]
        )
        for ticker in ("AAPL", "IBM")
    }  # fmt: skip
    paid = live.ask(
        "SELECT value::float, close_price::float FROM corporate_actions AS a JOIN market_data AS b "
        "ON b.source = a.source AND b.ticker = a.ticker AND b.timestamp = a.ex_date AND b.bar_interval = '1d' "
        "WHERE a.source = 'sample' AND a.kind = 'dividend' AND a.ticker = 'IBM' "
        "AND a.ex_date BETWEEN '2005-01-04' AND '2005-12-30'"
    )
    aapl = 2 * bars["AAPL"][-1][1] / bars["AAPL"][0][0]
    ibm = bars["IBM"][-1][1] / bars["IBM"][0][0]
    for dividend, close in paid:
        ibm *= 1 + dividend / close
    assert values[-1] / 10_000_000 == pytest.approx((aapl + ibm) / 2, rel=5e-4)
    assert max(abs(b / a - 1) for a, b in pairwise(values)) < 0.1


# --- exactly once ----------------------------------------------------------------------------------------------------


class Dies(BaseException):
    """The process is gone."""


class Desk:
    """A portfolio that holds 10 AAA, with 10 more ordered at the paper broker; and what acts on it."""

    def __init__(self, pool):
        self.pool, self.world = pool, World(pool)
        book(pool, [fill(portfolio_id="p", ticker="AAA", at=datetime(2009, 12, 30, 20, tzinfo=UTC))])
        now = self.world.now
        terms = Terms(0.0, WHOLE, 0.0, Costs())
        self.world.account = PaperAccount(pool, "A", "p", terms, lambda since: None, lambda: now)
        self.world.restart()
        self.said = []

    def send(self, *intents):
        return self.world.sent(*(intents or [intent(0, terms=OrderTerms("limit", 9.0, None, "GTC"))]))

    def actions(self, rate_of=lambda ticker, at: ("USD", None), lots=WHOLE, interval="1d"):
        coming = Coming("XNYS", interval)
        clocks = lambda: self.world.now, lambda: None
        return Actions(self.pool, self.world.identity, ["AAA"], "s", coming, lots, *clocks, rate_of, self.said.append)

    def shares(self):
        """Held; of the orders in the journal; of those at the broker; limit prices."""
        orders = [
            ask(self.pool, f"SELECT quantity::float, limit_price::float FROM {table} ORDER BY order_id")
            for table in ("orders", "paper_orders")
        ]
        return [self.world.books()[1].get("AAA", 0), *orders]


@pytest.fixture
def desk(pool):
    return Desk(pool)


DAY = date(2010, 1, 5)
TWO = CorporateAction("AAA", DAY, "split", Decimal(2))
BEFORE, AFTER = [10, [(10, 9)], [(10, 9)]], [20, [(20, 4.5)], [(20, 4.5)]]


def test_a_kill_between_any_two_statements_leaves_all_of_a_split_or_nothing(desk, monkeypatch):
    desk.send()
    real, left = queries.run, [0]

    def dying(cursor, name, parameters=None):
        left[0] -= 1
        if left[0] == 0:
            raise Dies
        real(cursor, name, parameters)

    for module in (queries, ledger):
        monkeypatch.setattr(module, "run", dying)
    deaths = 0
    while True:
        left[0] = deaths + 1
        try:
            assert desk.actions().book([TWO])
        except Dies:
            deaths += 1
        else:
            break
        left[0] = 0
        assert desk.shares() == BEFORE
    left[0] = 0
    assert deaths >= 6
    assert desk.shares() == AFTER
    assert desk.actions().book([TWO])  # killed after the commit: the next engine finds it booked
    assert desk.shares() == AFTER
    assert audit(desk.pool).clean


def test_two_engines_at_once_book_an_action_once(desk):
    desk.send()
    paid = CorporateAction("AAA", DAY, "dividend", Decimal("0.5"))
    threads = [threading.Thread(target=desk.actions().book, args=[[TWO, paid]]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desk.shares() == AFTER
    assert len(desk.said) == 2
    assert ask(desk.pool, "SELECT quantity::float FROM trade_execution_logs WHERE kind = 'dividend'") == [(10.0,)]


def test_what_an_order_has_filled_stays_as_it_was(desk):
    desk.send()
    ask(desk.pool, "UPDATE paper_orders SET filled = 4", fetch=False)
    assert not desk.actions().book([TWO])  # it is to be booked first
    assert desk.shares() == BEFORE
    ask(desk.pool, "UPDATE orders SET filled = 4", fetch=False)
    assert desk.actions().book([TWO])
    assert desk.shares() == [20, [(16, 4.5)], [(16, 4.5)]]


def test_orders_that_were_never_sent_are_of_new_shares_as_well(desk):
    desk.world.decide(intent(0))
    assert desk.actions().book([TWO])
    assert desk.shares() == [20, [(20, None)], []]
    desk.world.send()
    assert desk.shares() == [20, [(20, None)], [(20, None)]]


def test_a_request_that_a_paused_engine_sends_late_is_not_taken(desk):
    desk.world.decide(intent(0))
    (old,) = desk.world.live()
    assert desk.actions().book([TWO])
    desk.world.gateway.send([old])
    assert desk.shares() == [20, [(20, None)], []]
    desk.world.settle()
    assert desk.shares() == [20, [(20, None)], [(20, None)]]


def test_a_liquidation_sells_new_shares_whenever_it_was_ordered(desk):
    due = datetime(2010, 1, 5, 16, tzinfo=UTC)
    journal.decide(desk.pool, closing("p", "abc123", [("AAA", Decimal(10))], due, None))
    assert desk.actions().book([TWO])
    assert desk.shares() == [20, [(20, None)], []]


def test_within_a_day_an_order_decided_on_its_first_bar_is_of_new_shares(desk):
    opens = datetime(2010, 1, 5, 14, 30, tzinfo=UTC)
    for number, bar in enumerate((opens - timedelta(hours=18), opens)):
        due = bar + timedelta(hours=1)
        made = journal.Decision("p", due, bar, due + timedelta(days=1), {}, intents=[intent(number, due=due)])
        assert journal.decide(desk.pool, made)
    assert desk.actions(interval="1h").book([TWO])
    assert sorted(desk.shares()[1]) == [(10, None), (20, None)]


def test_an_order_that_a_slot_of_the_day_made_on_the_bar_before_is_of_old_shares(desk):
    due = datetime(2010, 1, 5, 15, tzinfo=UTC)
    desk.world.decide(intent(0, due=due), due=due)  # on the bar of the day before
    assert desk.actions().book([TWO])
    assert desk.shares()[1] == [(20, None)]


@pytest.mark.parametrize("offset", [-30, -9, 0, 3, 5, 9, 14, 22, 40])
def test_a_failure_at_any_statement_changes_nothing_of_what_comes_of_it(live, monkeypatch, offset):
    """A cycle that fails near the split is done again: the eve's order, a resting one, a split and a dividend."""
    prices(live, known={after(4): 39.0})
    announced(live, ("split", "2", SPLIT), ("dividend", "0.5", SPLIT))

    def act(ctx, n):
        if n == 1:
            ctx.order("AAA", 10)
            ctx.order("AAA", 6, limit=80.0, time_in_force="GTC")
        if n == 3:
            ctx.order("AAA", 5)

    real, seen, fails_at, died = queries.run, [], [0], []

    def failing(cursor, name, parameters=None):
        if threading.current_thread().name.startswith("portfolio-"):
            seen.append(name)
            if len(seen) == fails_at[0]:
                died.append(name)
                raise Dies
        real(cursor, name, parameters)

    for module in (queries, ledger):
        monkeypatch.setattr(module, "run", failing)
    for name in ("a", "b"):
        ACTS[name] = act
        live.run(portfolio(name))
        fails_at[0] = seen.index("lock_orders_before") + 1 + offset
        seen.clear()
    assert len(died) == 1
    assert [row[0] for row in rows(live)] == ["trade", "split", "dividend", "trade", "trade"]
    assert rows(live, "b") == rows(live)
    assert live.orders("b") == live.orders()
    assert equity(live, "b") == equity(live)


def test_fractions_of_shares_are_kept_where_they_may_be(desk):
    desk.send()
    assert desk.actions(lots=FRACTIONAL).book([CorporateAction("AAA", DAY, "split", Decimal("0.375"))])
    assert ask(desk.pool, "SELECT quantity::float, limit_price::float FROM paper_orders") == [(3.75, 24)]
    assert ask(desk.pool, "SELECT quantity::float FROM positions_book ORDER BY position_id DESC LIMIT 1") == [(3.75,)]


@pytest.mark.parametrize(
    ("value", "ratio"), [("1.5", "3 for 2"), ("0.333333333333", "1 for 3"), ("1.037", "1037 for 1000")]
)
def test_ratios_are_of_whole_numbers(desk, value, ratio):
    desk.actions().book([CorporateAction("AAA", DAY, "split", Decimal(value))])
    assert desk.said == [f"AAA split {ratio} on 2010-01-05"]


def test_a_dividend_in_another_currency_comes_at_the_rate_of_its_day(desk):
    asked = []

    def rate_of(ticker, at):
        asked.append((ticker, at))
        return "EUR", Decimal("1.25")

    desk.actions(rate_of).book([CorporateAction("AAA", DAY, "dividend", Decimal("0.333333"))])
    found = ask(desk.pool, "SELECT ticker, quantity, notional FROM trade_execution_logs WHERE kind = 'dividend'")
    assert found == [("EUR_CASH", Decimal("3.333330"), Decimal("4.166662"))]
    assert asked == [("AAA", datetime(2010, 1, 5, 14, 30, tzinfo=UTC))]


def test_an_action_of_a_day_without_a_session_acts_in_the_next(desk):
    desk.actions().book([CorporateAction("AAA", date(2010, 1, 9), "split", Decimal(2))])
    ((at,),) = ask(desk.pool, "SELECT exec_timestamp FROM trade_execution_logs WHERE kind = 'split'")
    assert at == datetime(2010, 1, 11, 14, 30, tzinfo=UTC)


def test_shares_taken_over_on_the_day_are_new_ones(desk):
    made = Adopt(
        portfolio_id="p", key="k", at=datetime(2010, 1, 5, 16, tzinfo=UTC), session=DAY, ticker="BBB",
        quantity=Decimal(7), cost=Decimal(1), currency="USD",
    )  # fmt: skip
    book(desk.pool, [made])
    assert desk.actions().book([CorporateAction("BBB", DAY, "split", Decimal(2))])
    assert desk.world.books()[1] == {"AAA": 10, "BBB": 7}


def test_shares_sold_short_owe_the_dividend(desk):
    book(desk.pool, [fill(key="f2", side="SELL", quantity="30", portfolio_id="p", ticker="AAA")])
    before = desk.world.books()[0]
    assert desk.actions().book([CorporateAction("AAA", date(2024, 1, 3), "dividend", Decimal("0.5"))])
    assert desk.world.books()[0] == before - 10
    assert audit(desk.pool).clean


def test_a_ratio_that_is_none_is_refused(desk):
    with pytest.raises(DataError, match="the split of AAA on 2010-01-05 has the ratio 1E-12, which is no ratio"):
        desk.actions().book([CorporateAction("AAA", DAY, "split", Decimal("1E-12"))])


@pytest.mark.parametrize(("kind", "value", "ratio"), [("dividend", "1", 1.0), ("split", "2", 2.0)])
def test_an_action_whose_day_the_source_moves_stops_and_is_not_booked_twice(live, kind, value, ratio):
    prices(live, ratio)
    announced(live, (kind, value, after(2)))
    buys()
    live.run(portfolio(), until=after(4))
    live.ask("UPDATE corporate_actions SET ex_date = %s WHERE kind = %s RETURNING 1", [after(3), kind])
    buys(n=99)
    with pytest.raises(EngineError, match=f"{kind} of AAA of {after(2)} is booked; its source states it no longer"):
        live.run(portfolio(), until=after(7))
    assert sum(row[0] == kind for row in rows(live)) == 1
    live.ask("UPDATE corporate_actions SET is_ignored = true WHERE kind = %s RETURNING 1", [kind])
    live.run(portfolio(), until=after(7))
    assert sum(row[0] == kind for row in rows(live)) == 1
