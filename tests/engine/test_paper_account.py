"""The paper broker's account: which bar an order trades in, when it lapses, and what comes too late for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from framework.books import journal
from framework.data.calendars import timeline
from framework.data.coming import Coming
from framework.data.window import Window
from framework.engine.account import Terms
from framework.engine.gateway import SIZED_WRONGLY
from framework.engine.paper import Bars, PaperAccount
from framework.errors import DuplicateOrder
from framework.model.money import WHOLE
from framework.model.orders import OrderTerms
from framework.model.panel import Panel
from framework.model.timeline import moment
from framework.trading.broker import Ticket
from framework.trading.costs import Costs
from tests.books.cases import ask
from tests.engine.stand_in import World, intent

TICKERS = ("AAA", "BBB")
NAN = float("nan")


def at(text):
    return datetime.fromisoformat(f"2010-01-{text}").replace(tzinfo=UTC)


def session(day, bars=7):
    """The first hourly bars of a session in New York."""
    return [f"{day:02}T{14 + hour}:30" for hour in range(bars)]


class Market:
    """Hourly bars: open and close at the price, one less at the low, one more at the high; NaN: the ticker has none."""

    def __init__(self, rows):
        self.times = [at(text) for text, *_ in rows]
        self.prices = np.array([prices for _, *prices in rows], dtype=float)
        self.asked = []

    def known(self, now):
        """What is available at a moment."""
        stamps = np.array([np.datetime64(time.replace(tzinfo=None), "us") for time in self.times])
        clock = timeline("XNYS", "1h", stamps)
        rows = int((clock.available <= np.datetime64(now.replace(tzinfo=None), "us")).sum())
        clock, prices = clock.rows(0, rows), self.prices[:rows]
        fields = (prices, prices + 1, prices - 1, prices, np.full(prices.shape, 1e6))
        panel = Panel(TICKERS, clock.timestamps, *(field.copy() for field in fields), "1h")
        return Bars(Window(panel, panel, clock, 1), Coming("XNYS", "1h").last_of_session(clock))


@pytest.fixture
def trading(pool):
    """A portfolio with 10000 at a paper account, on a market of rows (time, prices)."""

    def make(*rows, now):
        world, market = World(pool), Market(rows)

        def bars(since):
            market.asked.append(since)
            return market.known(world.now)

        world.account = PaperAccount(pool, "A", "p", Terms(0.0, WHOLE, 0.0, Costs()), bars, lambda: world.now)
        world.market, world.now = market, at(now)
        world.restart()
        return world

    return make


def send(world, *intents):
    """Decide at this moment, and send."""
    orders = world.decide(*intents, due=world.now)
    world.send()
    assert [order.state for order in world.live()][-len(orders) :] == ["open"] * len(orders)
    return orders


def later(world, now):
    world.now = at(now)
    world.settle()


def trades(world):
    """Each with the day and time of its bar."""
    rows = ask(
        world.pool,
        "SELECT ticker, side, quantity::int, exec_price::float, exec_timestamp FROM trade_execution_logs "
        "WHERE kind = 'trade' ORDER BY id",
    )
    return [(*row, f"{bar.astimezone(UTC):%dT%H:%M}") for *row, bar in rows]


def order(number, world, *order, **more):
    return intent(number, *order, due=world.now, **more)


# --- which bar -----------------------------------------------------------------------------------------------------


def test_an_order_trades_at_the_open_of_the_next_bar(trading):
    world = trading(*((time, 10 + n, 20 + n) for n, time in enumerate(session(5))), now="05T16:30")
    (first,) = send(world, order(0, world))
    later(world, "05T17:29")
    assert world.order(first)[0] == "open"
    later(world, "05T17:30")
    assert trades(world) == [("AAA", "BUY", 10, 12.0, "05T16:30")]
    assert world.order(first) == ("filled", None, 10, 0)
    (row,) = ask(world.pool, "SELECT execution_id, arrival_price::float, executed_at FROM paper_executions")
    assert row == (f"{first}:{int(at('05T16:30').timestamp())}", 12.0, at("05T16:30"))


def test_an_order_does_not_trade_in_a_bar_that_had_opened_when_it_was_taken(trading):
    world = trading(*((time, 10 + n, 20 + n) for n, time in enumerate(session(5))), now="05T16:31")
    send(world, order(0, world))
    later(world, "05T17:30")
    assert trades(world) == []
    later(world, "05T18:30")
    assert trades(world) == [("AAA", "BUY", 10, 13.0, "05T17:30")]


def test_an_order_never_trades_before_the_moment_that_it_was_decided_for(trading):
    # A clock that was set back: the order would trade in the bar that it was decided on.
    world = trading(*((time, 10 + n, 20 + n) for n, time in enumerate(session(5))), now="05T17:30")
    asked = order(0, world)
    world.decide(asked, due=at("05T17:30"))
    world.now = at("05T15:30")
    world.send()
    assert ask(world.pool, "SELECT accepted_at FROM paper_orders") == [(at("05T17:30"),)]
    later(world, "05T18:30")
    assert trades(world) == [("AAA", "BUY", 10, 13.0, "05T17:30")]


def test_sells_come_before_buys_and_pay_for_them(trading):
    world = trading(*((time, 10, 20) for time in session(5)), now="05T15:30")
    send(world, order(0, world, "AAA", 1000))
    later(world, "05T16:30")
    assert world.books() == (Decimal(0), {"AAA": 1000})
    send(world, order(0, world, "BBB", 100), order(1, world, "AAA", -200))
    later(world, "05T17:30")
    assert world.books() == (Decimal(0), {"AAA": 800, "BBB": 100})


def test_what_cash_does_not_cover_is_trimmed(trading):
    world = trading(*((time, 10, 20) for time in session(5)), now="05T15:30")
    (first,) = send(world, order(0, world, "AAA", 1001))
    later(world, "05T16:30")
    assert world.order(first) == ("filled", "no cash", 1000, 1)
    assert world.lapsed() == [("AAA", 1, "no cash")]


def test_no_more_is_executed_before_what_was_executed_is_booked(trading):
    # Cash is that of the books: two bars in a row would both spend it.
    world = trading(*((time, 10, 20) for time in session(5)), now="05T15:30")
    terms = OrderTerms("limit", 19.5, None, "GTC")
    world.market.prices[:2, 1] = 25.0
    first, second = send(world, order(0, world, "AAA", 900), order(1, world, "BBB", 500, terms=terms))
    ids = [first, second]
    world.now = at("05T16:30")
    assert [each.ticker for each in world.account.poll("", ids).executions] == ["AAA"]
    world.now = at("05T20:30")
    report = world.account.poll("", ids)
    assert [each.ticker for each in report.executions] == ["AAA"]
    assert (report.orders[second].filled, report.orders[second].is_closed) == (0, False)
    world.settle()
    assert world.order(second) == ("filled", "no cash", 51, 449)
    assert world.books() == (Decimal("5.5"), {"AAA": 900, "BBB": 51})


def test_bars_are_asked_for_from_where_the_oldest_order_is(trading):
    world = trading(*((time, 10, 20) for day in (5, 6) for time in session(day)), now="05T15:30")
    send(world, order(0, world, terms=OrderTerms("limit", 1.0, None, "GTC")))
    later(world, "05T17:30")
    later(world, "05T19:30")
    send(world, order(0, world, "BBB"))
    later(world, "06T15:30")
    # Matched up to the bar of 16:30, then to that of 18:30; and, once more, after the fill of the second order.
    assert world.market.asked == [at("05T15:30"), at("05T16:30"), at("05T18:30"), at("06T14:30")]


# --- time in force -------------------------------------------------------------------------------------------------


def test_a_day_order_lapses_with_its_session_and_others_wait_on(trading):
    rows = ((time, 10, 20) for day in (5, 6) for time in session(day))
    world = trading(*rows, now="05T15:30")
    world.market.prices[7:, 0] = 8.0
    terms = [OrderTerms("limit", 8.5, None, force) for force in ("DAY", "GTC", "IOC")]
    day, gtc, ioc = send(world, *(order(n, world, terms=each) for n, each in enumerate(terms)))
    later(world, "05T16:30")
    assert world.order(ioc) == ("ended", "ioc", 0, 10)
    later(world, "05T20:30")
    assert [world.order(each)[0] for each in (day, gtc)] == ["open", "open"]
    later(world, "05T21:00")
    assert world.order(day) == ("ended", "not reached", 0, 10)
    assert world.order(gtc)[0] == "open"
    later(world, "06T15:30")
    assert trades(world) == [("AAA", "BUY", 10, 8.0, "06T14:30")]
    assert world.lapsed() == [("AAA", 10, "ioc"), ("AAA", 10, "not reached")]


def test_a_day_order_of_the_evening_is_good_for_the_next_session(trading):
    rows = ((time, 10, 20) for day in (5, 6, 7) for time in session(day))
    world = trading(*rows, now="05T21:00")
    world.market.prices[14:] = 1.0
    (first,) = send(world, order(0, world, terms=OrderTerms("limit", 8.5)))
    later(world, "06T20:30")
    assert world.order(first)[0] == "open"
    later(world, "07T15:30")
    assert world.order(first) == ("ended", "not reached", 0, 10)
    assert trades(world) == []


@pytest.mark.parametrize("is_looked_at", [True, False])
def test_a_day_order_taken_in_mid_session_does_not_trade_in_the_next(trading, is_looked_at):
    # Its session has no bar any more in which it could have traded.
    rows = [(time, 10, 20) for time in session(5, bars=3)] + [(time, 10, 20) for time in session(6)]
    world = trading(*rows, now="05T17:00")
    (first,) = send(world, order(0, world))
    if is_looked_at:
        later(world, "05T21:00")
        assert world.order(first)[0] == "open"
    later(world, "06T21:00")
    assert world.order(first) == ("ended", "no bar", 0, 10)
    assert trades(world) == []


@pytest.mark.parametrize("is_looked_at", [True, False])
def test_a_day_order_whose_ticker_has_no_bar_lapses_with_the_session(trading, is_looked_at):
    rows = [(time, NAN if n > 1 else 10, 20) for n, time in enumerate(session(5))]
    world = trading(*rows, *((time, 10, 20) for time in session(6)), now="05T16:30")
    (first,) = send(world, order(0, world))
    if is_looked_at:
        later(world, "05T18:30")
        assert world.order(first)[0] == "open"
    later(world, "06T15:30")
    assert world.order(first) == ("ended", "no bar", 0, 10)
    assert trades(world) == []


def test_a_day_order_lapses_though_the_last_bars_of_its_session_are_missing(trading):
    rows = [(time, 10, 20) for time in session(5, bars=4)] + [(time, 1, 20) for time in session(6)]
    world = trading(*rows, now="05T16:30")
    (first,) = send(world, order(0, world, terms=OrderTerms("limit", 8.5)))
    later(world, "05T18:30")
    assert world.order(first)[0] == "open"
    later(world, "06T15:30")
    assert world.order(first) == ("ended", "not reached", 0, 10)
    assert trades(world) == []


def test_a_stop_that_was_reached_is_remembered(trading):
    world = trading(
        *((time, price, 20) for time, price in zip(session(5), (10, 10, 12, 12, 9, 9, 9), strict=True)), now="05T15:30"
    )
    send(world, order(0, world, terms=OrderTerms("stop_limit", 10.5, 12.0, "GTC")))
    later(world, "05T17:30")
    assert ask(world.pool, "SELECT is_triggered FROM paper_orders") == [(True,)]
    later(world, "05T19:30")
    assert trades(world) == [("AAA", "BUY", 10, 9.0, "05T18:30")]


# --- too late ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settled", ["ended", "taken back", "not asked yet"])
def test_a_late_request_finds_that_the_journal_has_settled_it(trading, settled):
    # Of an engine that was paused between its commit and its request: another one has decided meanwhile.
    world = trading(*((time, 10, 20) for time in session(5)), now="05T15:30")
    asked = order(0, world)
    world.decide(asked, due=world.now)
    if settled != "not asked yet":
        assert journal.begin_sending(world.pool, asked.order_id, world.now)
    if settled == "ended":
        journal.end(world.pool, "p", [journal.End(asked.order_id, Decimal(10), "expired")], world.now)
    if settled == "taken back":
        journal.cancel(world.pool, "p", {asked.order_id: "halted"}, world.now)
    ticket = Ticket(asked.order_id, "AAA", "BUY", Decimal(10))
    with pytest.raises(DuplicateOrder, match="not being sent any more"):
        world.account.submit(ticket)
    assert ask(world.pool, "SELECT count(*) FROM paper_orders") == [(0,)]


def test_the_same_request_twice_is_one_order(trading):
    world = trading(*((time, 10, 20) for time in session(5)), now="05T15:30")
    asked = order(0, world)
    world.decide(asked, due=world.now)
    journal.begin_sending(world.pool, asked.order_id, world.now)
    ticket = Ticket(asked.order_id, "AAA", "BUY", Decimal(10))
    world.account.submit(ticket)
    with pytest.raises(DuplicateOrder):
        world.account.submit(ticket)
    assert world.account.poll("", [asked.order_id]).orders[asked.order_id].ticket == ticket


def test_an_order_that_has_filled_in_a_bar_known_by_now_is_not_cancelled(trading):
    world = trading(*((time, 10, 20) for time in session(5)), now="05T15:30")
    (old,) = send(world, order(0, world))
    world.now = at("05T16:30")  # its bar is known, but nobody has looked yet
    (new,) = world.decide(order(0, world), due=world.now, cancels={old: "replaced"})
    world.settle()
    world.send()
    assert world.order(old) == ("filled", None, 10, 0)
    assert world.order(new) == ("ended", SIZED_WRONGLY, 0, 10)


def test_an_order_that_is_cancelled_does_not_trade_any_more(trading):
    world = trading(*((time, 10, 20) for time in session(5)), now="05T15:30")
    (old,) = send(world, order(0, world))
    world.gateway.cancel(world.live(), "halted")
    world.settle()
    assert world.order(old) == ("ended", "halted", 0, 10)
    later(world, "05T21:00")
    world.account.cancel(old)
    assert ask(world.pool, "SELECT is_closed, reason FROM paper_orders") == [(True, "cancelled")]
    assert trades(world) == []


def test_a_request_just_before_the_open_trades_there_however_late_it_is_looked_at(trading):
    rows = [(time, 10 + n, 20) for n, time in enumerate(time for day in (5, 6, 7) for time in session(day))]
    world = trading(*rows, now="05T21:00")
    send(world, order(0, world))
    later(world, "07T21:00")
    assert trades(world) == [("AAA", "BUY", 10, 17.0, "06T14:30")]
    assert moment(world.market.known(world.now).window.timeline.opens[-1]) > at("06T14:30") + timedelta(days=1)
