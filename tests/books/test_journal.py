"""The order journal: a decision once, with all its intents, and one end for each order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from framework.books import journal
from framework.books.open import Identity, open_portfolio
from framework.errors import BookingError, StrategyError

DUE = datetime(2010, 1, 4, 21, tzinfo=UTC)


@pytest.fixture
def books(pool):
    open_portfolio(pool, Identity("p", "replay", "simulated", "replay"))
    return pool


def intent(number, reason=None, due=DUE, quantity="5"):
    order_id = journal.client_order_id("abc123", "p", due, number)
    return journal.Intent(order_id, "AAPL", "BUY", quantity and Decimal(quantity), Decimal("10.5"), reason)


def decide(pool, *intents, due=DUE, state=None, cancelled=()):
    return journal.decide(pool, "p", due, due - timedelta(hours=21), state or {}, intents, cancelled)


def open_orders(pool):
    with pool.connection() as connection:
        return journal.read_open_orders(connection, "p")


def last(pool):
    with pool.connection() as connection:
        return journal.read_last_decision(connection, "p")


def settle(pool, *ends, at=DUE + timedelta(hours=17)):
    with pool.transaction() as connection:
        journal.settle(connection, ends, at)


def test_a_decision_is_written_once_and_comes_back_with_its_state(books):
    assert last(books) is None
    assert decide(books, intent(0), state={"n": 1}) is True
    assert decide(books, intent(0), intent(1), state={"n": 2}) is False
    assert [order.quantity for order in open_orders(books)] == [Decimal(5)]
    assert last(books).state == {"n": 1}
    assert last(books).due_at == DUE


def test_refused_intents_are_kept_and_told_at_the_next_decision(books):
    decide(books, intent(0), intent(1, "short not allowed"), intent(2, "no price", quantity=None))
    assert len(open_orders(books)) == 1
    told = [(ticker, quantity, reason) for ticker, quantity, reason in last(books).lapsed]
    assert told == [("AAPL", Decimal(5), "short not allowed"), ("AAPL", Decimal(0), "no price")]


def test_an_order_ends_once(books):
    decide(books, intent(0), intent(1))
    first, second = (order.order_id for order in open_orders(books))
    settle(books, journal.End(first, has_fill=True), journal.End(second, Decimal(2), "no cash", has_fill=True))
    settle(books, journal.End(first, Decimal(5), "no bar"))
    assert open_orders(books) == ()
    assert last(books).lapsed == (("AAPL", Decimal(2), "no cash"),)


def test_what_lapsed_is_told_once(books):
    decide(books, intent(0))
    settle(books, journal.End(open_orders(books)[0].order_id, Decimal(5), "no bar"))
    assert len(last(books).lapsed) == 1
    decide(books, due=DUE + timedelta(days=1))
    assert last(books).lapsed == ()


def test_a_cancel_is_committed_with_the_decision_that_makes_it(books):
    decide(books, intent(0))
    old = open_orders(books)[0].order_id
    later = DUE + timedelta(days=1)
    decide(books, intent(0, due=later), due=later, cancelled=[journal.End(old, Decimal(5), "replaced")])
    assert [order.order_id for order in open_orders(books)] == [intent(0, due=later).order_id]
    assert last(books).lapsed == (("AAPL", Decimal(5), "replaced"),)


def test_nothing_is_left_of_a_decision_that_fails(books):
    with pytest.raises(Exception, match="orders_pkey"):
        decide(books, intent(0), intent(0))
    assert last(books) is None


def test_ids_are_a_function_of_what_the_intent_is():
    one = journal.client_order_id("abc123", "p", DUE, 0)
    assert one == journal.client_order_id("abc123", "p", DUE, 0)
    assert len(one) <= 48
    assert one.startswith("peabc123-")
    others = {
        journal.client_order_id(books, portfolio, due, number)
        for books in ("abc123", "abc124")
        for portfolio in ("p", "q")
        for due in (DUE, DUE + timedelta(seconds=1))
        for number in (0, 1)
    }
    assert len(others) == 16


@pytest.mark.parametrize(
    ("state", "said"),
    [({"x": float("nan")}, "JSON"), ({"x": {1, 2}}, "JSON values only"), ({"x": "y" * 70_000}, "allowed: 65536")],
)
def test_a_state_that_cannot_be_kept_is_refused(books, state, said):
    with pytest.raises(StrategyError, match=said):
        decide(books, state=state)


def test_a_portfolio_that_is_not_open_decides_nothing(pool):
    with pytest.raises(BookingError, match="no portfolio 'p'"):
        decide(pool)


def test_books_have_a_name_of_their_own(new_database):
    from framework.db.pool import Pool

    names = set()
    for _ in range(2):
        pool = Pool(new_database(empty=True))
        with pool.connection() as connection:
            from framework.db.migrate import upgrade

            upgrade(connection)
        names.add(journal.read_books_id(pool))
        pool.close()
    assert len(names) == 2
    assert all(len(name) == 6 for name in names)
