"""The gateway: what reaches a broker, what is done where its answers are late, lost, wrong or told twice."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from framework.engine.gateway import LEAVES_WITHIN_SECONDS, NOT_SENT_IN_TIME, SIZED_WRONGLY
from framework.engine.halts import halt
from framework.errors import BrokerError, BrokerUnavailable, DuplicateOrder, LeaseLost, OrderRejected
from framework.model.orders import OrderTerms
from framework.trading.broker import Ticket
from tests.books.cases import ask
from tests.engine.stand_in import DAY, DUE, intent, unanswered


@pytest.fixture
def passing(monkeypatch):
    """Lets the monotonic clock go on by so many seconds."""
    real, gone = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + gone[0])

    def let(seconds):
        gone[0] += seconds

    return let


# --- the usual way -------------------------------------------------------------------------------------------------


def test_an_order_is_sent_filled_and_booked(world):
    terms = OrderTerms("stop_limit", 10.5, 9.25, "GTC")
    (order,) = world.sent(intent(0, terms=terms))
    assert world.account.submitted == [
        Ticket(order, "AAA", "BUY", Decimal(10), "stop_limit", Decimal("10.5"), Decimal("9.25"), "GTC")
    ]
    assert world.order(order) == ("open", None, 0, 0)
    assert not world.settle()
    world.account.fill(order, price="10.1")
    assert world.settle()
    assert world.order(order) == ("filled", None, 10, 0)
    assert world.books() == (Decimal("9898.5"), {"AAA": 10})
    assert [(each.fill.order_id, each.cash) for each in world.filled] == [(order, Decimal("9898.5"))]
    assert world.ended == [(order, None)]
    row = ask(
        world.pool,
        "SELECT execution_id, decision_price, arrival_price, fees FROM trade_execution_logs WHERE order_id = %s",
        order,
    )
    assert row == [("fill:stand-in:A:x0", Decimal("9.9"), Decimal("9.99"), Decimal("0.5"))]


def test_an_order_fills_in_parts_and_what_is_left_is_cancelled(world):
    first, second = world.sent(intent(0), intent(1, "BBB", 6))
    world.account.fill(first, 4)
    assert world.settle()
    assert world.order(first) == ("open", None, 4, 0)
    assert world.live()[0].rest == 6
    assert world.ended == []
    world.account.fill(first, 3)
    world.account.fill(second)
    assert world.gateway.cancel(world.live(), "changed its mind")
    assert not world.gateway.cancel(world.live(), "again")
    world.settle()
    assert world.account.cancelled == [first], "one that is closed is not cancelled"
    assert world.order(first) == ("filled", "changed its mind", 7, 3)
    assert world.order(second) == ("filled", None, 6, 0)
    assert sorted(world.ended) == sorted([(first, "cancelled"), (second, None)])
    assert world.books()[1] == {"AAA": 7, "BBB": 6}
    assert world.lapsed() == [("AAA", 3, "changed its mind")]


def test_an_order_that_is_rejected_ends_with_the_brokers_words(world):
    def reject(ticket):
        raise OrderRejected("no such symbol " * 50)

    world.account.on_submit = reject
    (order,) = world.decide(intent(0))
    assert world.send()
    state, reason, *shares = world.order(order)
    assert (state, shares, len(reason)) == ("ended", [0, 10], 200)
    assert reason.startswith("rejected: no such symbol")
    assert world.ended == [(order, reason)]
    assert world.live() == ()


def test_what_the_broker_closes_by_itself_ends_with_its_reason(world):
    first, second = world.sent(intent(0), intent(1, "BBB"))
    world.account.close(first, "day is over")
    world.account.orders[second] = replace(world.account.orders[second], is_closed=True)
    world.settle()
    assert world.order(first) == ("ended", "day is over", 0, 10)
    assert world.order(second) == ("ended", "ended at the broker without a reason", 0, 10)


def test_a_broker_is_not_asked_where_nothing_was_sent(world):
    world.decide(intent(0))
    assert not world.settle()
    assert world.account.polls == 0


def test_nothing_is_assumed_where_the_broker_does_not_answer(world):
    (order,) = world.sent(intent(0))

    def away(place, order_ids):
        raise BrokerUnavailable("no answer")

    world.account.poll = away
    world.gateway.cancel(world.live(), "unwanted")
    with pytest.raises(BrokerUnavailable):
        world.settle()
    assert world.order(order) == ("open", None, 0, 0)
    assert world.account.cancelled == []


# --- what must not leave -------------------------------------------------------------------------------------------


def test_what_is_over_before_it_could_leave_ends(world):
    (order,) = world.decide(intent(0))
    world.now = DUE + DAY
    assert world.send()
    assert world.account.submitted == []
    assert world.order(order) == ("ended", NOT_SENT_IN_TIME, 0, 10)


def test_a_halt_holds_back_what_is_planned_until_it_is_over(world):
    (order,) = world.decide(intent(0))
    with world.pool.connection() as connection:
        halt(connection, "p", "test", "me")
    assert not world.send()
    assert world.order(order) == ("planned", None, 0, 0)
    world.now = DUE + DAY
    assert world.send()
    assert world.order(order) == ("ended", NOT_SENT_IN_TIME, 0, 10)
    assert world.account.submitted == []


def test_nothing_leaves_without_the_lease(world):
    def lost(connection):
        raise LeaseLost("another's")

    (order,) = world.decide(intent(0))
    world.guard = lost
    with pytest.raises(LeaseLost):
        world.send()
    assert world.account.submitted == []
    assert world.order(order) == ("planned", None, 0, 0)


def test_a_request_that_was_allowed_too_long_ago_does_not_leave(world, passing):
    # The process is paused between its commit and the request; another engine may have taken over meanwhile.
    (order,) = world.decide(intent(0))
    world.guard = lambda connection: passing(LEAVES_WITHIN_SECONDS + 0.1)
    assert not world.send()
    assert world.account.submitted == []
    assert world.order(order) == ("sending", None, 0, 0)
    world.guard = lambda connection: passing(LEAVES_WITHIN_SECONDS - 1)
    world.settle()
    assert [ticket.order_id for ticket in world.account.submitted] == [order]
    assert world.order(order) == ("open", None, 0, 0)


# --- orders on their way back --------------------------------------------------------------------------------------


def replaced(world):
    """An order that is open, and those of a later decision that takes it back: one of its ticker, one of another."""
    (old,) = world.sent(intent(0))
    later = DUE + timedelta(hours=1)
    world.now = later
    new, other = world.decide(intent(0, due=later), intent(1, "BBB", due=later), due=later, cancels={old: "replaced"})
    return old, new, other


def test_an_order_of_the_ticker_waits_until_the_one_before_it_is_back(world):
    old, new, other = replaced(world)
    world.account.on_cancel = lambda order_id: None  # it takes its time
    world.settle()
    world.send()
    assert [world.order(each)[0] for each in (old, new, other)] == ["open", "planned", "open"]
    world.account.close(old)
    world.settle()
    world.send()
    assert world.order(old) == ("ended", "replaced", 0, 10)
    assert world.order(new)[0] == "open"
    assert world.lapsed() == [("AAA", 10, "replaced")]


@pytest.mark.parametrize("shares", [10, 4])
def test_a_cancel_that_comes_too_late_ends_what_was_sized_on_it(world, shares):
    old, new, other = replaced(world)

    def too_late(order_id):
        world.account.fill(order_id, shares)
        world.account.close(order_id)

    world.account.on_cancel = too_late
    assert world.settle()
    world.send()
    assert world.order(old)[0] == "filled"
    assert world.order(new) == ("ended", SIZED_WRONGLY, 0, 10)
    assert world.order(other)[0] == "open", "of another ticker"
    assert [ticket.order_id for ticket in world.account.submitted] == [old, other]
    assert world.books()[1] == {"AAA": shares}
    assert ("AAA", 10, SIZED_WRONGLY) in world.lapsed(), "the strategy is told, and may decide again"


def test_one_that_had_filled_before_its_cancel_left_ends_what_was_sized_on_it_as_well(world):
    old, new, other = replaced(world)
    world.account.fill(old)
    world.settle()
    assert world.account.cancelled == []
    assert world.order(old) == ("filled", None, 10, 0)
    assert world.order(new) == ("ended", SIZED_WRONGLY, 0, 10)
    assert world.order(other)[0] == "planned"


def test_what_had_filled_before_the_decision_was_made_is_no_surprise(world):
    (old,) = world.sent(intent(0))
    world.account.fill(old, 4)
    world.settle()
    later = DUE + timedelta(hours=1)
    (new,) = world.decide(intent(0, due=later), due=later, cancels={old: "replaced"})
    world.settle()
    world.send()
    assert world.order(old) == ("filled", "replaced", 4, 6)
    assert world.order(new)[0] == "open"


# --- in doubt ------------------------------------------------------------------------------------------------------


def test_a_request_in_doubt_is_sent_again_the_same_while_it_is_valid(world):
    (order,) = unanswered(world, intent(0))
    assert world.order(order) == ("sending", None, 0, 0)
    world.restart()
    world.settle()
    assert [ticket.order_id for ticket in world.account.submitted] == [order]
    assert world.order(order) == ("open", None, 0, 0)
    world.settle()
    assert len(world.account.submitted) == 1


def test_a_request_in_doubt_that_had_arrived_is_not_sent_again(world):
    (order,) = unanswered(world, intent(0))
    world.account.take(Ticket(order, "AAA", "BUY", Decimal(10)))
    assert world.settle()
    assert world.account.submitted == []
    assert world.order(order) == ("open", None, 0, 0)


def test_a_request_in_doubt_that_has_filled_by_now_is_booked(world):
    (order,) = unanswered(world, intent(0))
    world.account.take(Ticket(order, "AAA", "BUY", Decimal(10)))
    world.account.fill(order)
    world.settle()
    assert world.order(order) == ("filled", None, 10, 0)
    assert world.ended == [(order, None)]


def test_a_request_that_arrives_after_it_was_looked_for_is_no_second_order(world):
    (order,) = unanswered(world, intent(0))

    def there_already(ticket):
        world.account.take(ticket)  # the earlier request
        raise DuplicateOrder("must be unique")

    world.account.on_submit = there_already
    world.settle()
    assert world.order(order) == ("sending", None, 0, 0), "what it is, is compared first"
    world.settle()
    assert world.order(order) == ("open", None, 0, 0)
    assert len(world.account.submitted) == 1


@pytest.mark.parametrize(
    "other",
    [
        Ticket("", "BBB", "BUY", Decimal(10)),
        Ticket("", "AAA", "SELL", Decimal(10)),
        Ticket("", "AAA", "BUY", Decimal(11)),
        Ticket("", "AAA", "BUY", Decimal(10), "limit", Decimal(9)),
    ],
)
def test_another_order_under_our_id_stops_everything(world, other):
    def taken(ticket):
        world.account.take(replace(other, order_id=ticket.order_id))
        raise DuplicateOrder("must be unique")

    world.account.on_submit = taken
    (order,) = world.sent(intent(0))
    with pytest.raises(BrokerError, match=f"another order under our id {order}: .*; the journal has Ticket"):
        world.settle()
    assert world.order(order) == ("sending", None, 0, 0)
    assert world.account.cancelled == []


def test_at_a_broker_that_would_make_two_orders_of_it_nothing_is_sent_again(world):
    world.account.unique_client_ids = False
    (order,) = unanswered(world, intent(0))
    assert not world.settle()
    assert world.account.submitted == []
    assert world.order(order) == ("sending", None, 0, 0)


@pytest.mark.parametrize("is_unique", [True, False])
def test_a_request_in_doubt_that_is_not_valid_any_more_is_looked_up_for_a_while(world, passing, is_unique):
    world.account.unique_client_ids, world.account.in_doubt_seconds = is_unique, 120.0
    (order,) = unanswered(world, intent(0))
    world.now = DUE + DAY
    assert not world.settle()
    passing(119)
    assert not world.settle()
    assert world.order(order) == ("sending", None, 0, 0)
    world.restart()
    passing(119)
    assert not world.settle(), "a new process does not know for how long it was looked for, so it begins again"
    passing(121)
    assert world.settle()
    assert world.order(order) == ("ended", NOT_SENT_IN_TIME, 0, 10)
    assert world.account.submitted == []
    assert world.ended == [(order, NOT_SENT_IN_TIME)]


def test_a_request_in_doubt_that_was_taken_back_ends_though_the_clock_goes_back_an_hour(world, passing):
    world.account.in_doubt_seconds = 120.0
    (order,) = unanswered(world, intent(0))
    world.gateway.cancel(world.live(), "halted")
    world.now = DUE - timedelta(hours=1)
    assert not world.settle()
    world.now = DUE - timedelta(hours=2)
    passing(121)
    assert world.settle()
    assert world.order(order) == ("ended", "halted", 0, 10)
    assert world.account.submitted == []


def test_a_request_in_doubt_that_was_taken_back_is_not_over_sooner_where_the_clock_goes_ahead(world):
    world.account.in_doubt_seconds = 120.0
    (order,) = unanswered(world, intent(0))
    world.gateway.cancel(world.live(), "halted")
    world.settle()
    world.now = DUE + 9 * DAY
    assert not world.settle()
    assert world.order(order) == ("sending", None, 0, 0)
    world.account.take(Ticket(order, "AAA", "BUY", Decimal(10)))
    world.settle()
    assert world.account.cancelled == [order], "it shows up after all, and is taken back"
    assert world.order(order) == ("ended", "halted", 0, 10)
