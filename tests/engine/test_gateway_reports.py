"""What a broker tells the gateway: executions in parts, told twice, told late, and orders that are final."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from framework.engine.gateway import NOT_SENT_IN_TIME
from framework.trading.broker import BrokerOrder, Ticket
from tests.books.cases import ask
from tests.engine.stand_in import DAY, DUE, intent, unanswered


def test_polls_go_on_until_nothing_new_comes_and_each_end_is_told_once(world):
    first, second = world.sent(intent(0), intent(1, "BBB"))
    for _ in range(5):
        world.account.fill(second, 2)
    world.account.fill(first)
    world.account.at_once = 1
    assert world.settle()
    assert world.account.polls == 7
    assert [each.fill.quantity for each in world.filled] == [2, 2, 2, 2, 2, 10]
    assert sorted(world.ended) == sorted([(first, None), (second, None)])
    assert world.live() == ()
    assert ask(world.pool, "SELECT booked_to FROM accounts") == [("6",)]


def test_what_is_told_again_changes_nothing(world):
    first, second = world.sent(intent(0), intent(1, "BBB"))
    world.account.overlap = 3
    for _ in range(3):
        world.account.fill(first, 2)
        assert world.settle()
    assert world.order(first) == ("open", None, 6, 0)
    before = world.books()
    for _ in range(2):
        world.restart()
        assert ask(world.pool, "UPDATE accounts SET booked_to = '' RETURNING 1") == [(1,)]
        world.settle()
    assert world.books() == before
    assert world.order(first) == ("open", None, 6, 0)
    assert len(world.filled) == 3
    assert world.order(second) == ("open", None, 0, 0)


def test_a_broker_that_always_has_news_is_left_after_some(world):
    (order,) = world.sent(intent(0, quantity=100))
    poll = world.account.poll

    def news(place, order_ids):
        world.account.fill(order, 1)
        return poll(place, order_ids)

    world.account.poll = news
    assert world.settle()
    assert world.order(order) == ("open", None, 20, 0)


def test_an_order_is_final_only_when_all_of_its_executions_are_booked(world):
    # Whatever the broker says of the order: positions would be wrong, and the next decision sized on them.
    (order,) = world.sent(intent(0))
    world.account.fill(order, 4)
    poll = world.account.poll

    def ahead(place, order_ids):
        report = poll(place, order_ids)
        return replace(report, orders={order: BrokerOrder(report.orders[order].ticket, Decimal(10), True)})

    world.account.poll = ahead
    assert world.settle()
    assert world.order(order) == ("open", None, 4, 0)
    assert world.ended == []
    world.account.fill(order)
    assert world.settle()
    assert world.order(order) == ("filled", None, 10, 0)
    assert world.ended == [(order, None)]
    assert world.books()[1] == {"AAA": 10}


def test_fills_of_an_order_that_has_ended_are_booked_all_the_same(world):
    (late,) = unanswered(world, intent(0))
    world.now = DUE + DAY
    world.settle()
    assert world.order(late) == ("ended", NOT_SENT_IN_TIME, 0, 10)
    (other,) = world.decide(intent(0, "BBB", due=world.now), due=world.now)
    world.send()
    world.account.take(Ticket(late, "AAA", "BUY", Decimal(10)))
    world.account.fill(late)
    assert world.settle()
    assert world.books()[1] == {"AAA": 10}
    assert [each.fill.order_id for each in world.filled] == [late]
    assert world.order(other) == ("open", None, 0, 0)


def test_an_execution_of_an_order_that_is_none_of_ours_is_booked_too(world):
    (order,) = world.sent(intent(0))
    world.account.fill(order, 3, order_id="by hand", ticker="CCC")
    assert world.settle()
    assert world.books()[1] == {"CCC": 3}
    assert world.order(order) == ("open", None, 0, 0)


def test_a_fill_is_booked_whatever_cash_becomes_of_it(world):
    (order,) = world.sent(intent(0, quantity=10))
    world.account.fill(order, price="5000")
    world.settle()
    assert world.books() == (Decimal("-40000.5"), {"AAA": 10})


def test_a_broker_that_fills_too_much_is_booked(world):
    (order,) = world.sent(intent(0))
    world.account.fill(order, 12)
    world.account.orders[order] = replace(world.account.orders[order], is_closed=True)
    assert world.settle()
    assert world.order(order) == ("filled", None, 12, 0)
    assert world.live() == ()
