"""The order journal: a decision once, with all its intents, and one end for each order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from framework.books import journal
from framework.books.entries import CashMovement
from framework.books.ledger import book
from framework.books.open import Identity, open_portfolio
from framework.books.state import read_state
from framework.engine.halts import halt
from framework.errors import BookingError, LeaseLost, StrategyError
from framework.model.orders import OrderTerms

DUE = datetime(2010, 1, 4, 21, tzinfo=UTC)


@pytest.fixture
def books(pool):
    open_portfolio(pool, Identity("p", "replay", "simulated", "replay"))
    return pool


def intent(number, reason=None, due=DUE, quantity="5", **more):
    order_id = journal.client_order_id("abc123", "p", due, number)
    return journal.Intent(
        order_id, "AAPL", "BUY", quantity and Decimal(quantity), Decimal("10.5"), reason=reason, **more
    )


def decide(pool, *intents, due=DUE, state=None, cancels=(), guard=None, valid_until=None, **more):
    decision = journal.Decision(
        "p",
        due,
        due - timedelta(hours=21),
        valid_until or due + timedelta(days=1),
        state or {},
        intents=intents,
        cancels=dict(cancels),
        **more,
    )
    return journal.decide(pool, decision, guard)


def live(pool):
    with pool.connection() as connection:
        return journal.read_live_orders(connection, "p")


def last(pool):
    with pool.connection() as connection:
        return journal.read_last_decision(connection, "p")


def settle(pool, *ends, at=DUE + timedelta(hours=17)):
    journal.end(pool, "p", ends, at)


def send(pool, number=0, due=DUE, now=DUE):
    order_id = intent(number, due=due).order_id
    assert journal.begin_sending(pool, order_id, now)
    journal.mark_open(pool, order_id)
    return order_id


def test_a_decision_is_written_once_and_comes_back_with_its_state(books):
    assert last(books) is None
    assert decide(books, intent(0), state={"n": 1}) is True
    assert decide(books, intent(0), intent(1), state={"n": 2}) is False
    assert [order.quantity for order in live(books)] == [Decimal(5)]
    assert last(books).state == {"n": 1}
    assert last(books).due_at == DUE


def test_refused_intents_are_kept_and_told_at_the_next_decision(books):
    decide(books, intent(0), intent(1, "short not allowed"), intent(2, "no price", quantity=None))
    assert len(live(books)) == 1
    told = [(ticker, quantity, reason) for ticker, quantity, reason in last(books).lapsed]
    assert told == [("AAPL", Decimal(5), "short not allowed"), ("AAPL", Decimal(0), "no price")]


def test_an_order_ends_once(books):
    decide(books, intent(0), intent(1))
    first, second = (order.order_id for order in live(books))
    settle(books, journal.End(first, has_fill=True), journal.End(second, Decimal(2), "no cash", has_fill=True))
    settle(books, journal.End(first, Decimal(5), "no bar"))
    assert live(books) == ()
    assert last(books).lapsed == (("AAPL", Decimal(2), "no cash"),)


def test_what_lapsed_is_told_once_whatever_the_clocks_say(books):
    decide(books, intent(0))
    settle(books, journal.End(live(books)[0].order_id, Decimal(5), "no bar"), at=DUE + timedelta(days=1))
    told = last(books)
    assert len(told.lapsed) == 1
    decide(books, intent(0, "no price", due=DUE + timedelta(days=1)), due=DUE + timedelta(days=1), told_to=told.told_to)
    assert [reason for _, _, reason in last(books).lapsed] == ["no price"]


def test_what_lapsed_is_told_in_the_order_of_its_ends_though_the_clock_steps_back(books):
    """An engine that takes over on a simulated clock may live at an earlier moment."""
    decide(books, intent(0), intent(1), intent(2), intent(3))
    settle(books, journal.End(intent(2).order_id, Decimal(5), "no bar"), at=DUE + timedelta(days=2))
    together = [journal.End(intent(number).order_id, Decimal(number), "no cash") for number in (3, 0, 1)]
    settle(books, *together, at=DUE + timedelta(days=1))
    assert [quantity for _, quantity, _ in last(books).lapsed] == [5, 0, 1, 3]


def test_an_order_that_was_never_sent_is_taken_back_at_once(books):
    decide(books, intent(0))
    old, later = live(books)[0].order_id, DUE + timedelta(days=1)
    decide(books, intent(0, due=later), due=later, cancels={old: "replaced"})
    assert [order.order_id for order in live(books)] == [intent(0, due=later).order_id]
    assert last(books).lapsed == (("AAPL", Decimal(5), "replaced"),)
    assert not journal.begin_sending(books, old, DUE)


def test_a_cancel_of_an_open_order_is_noted_with_the_decision_that_makes_it(books):
    decide(books, intent(0))
    old, later = send(books), DUE + timedelta(days=1)
    decide(books, due=later, cancels={old: "replaced"})
    (order,) = live(books)
    assert (order.state, order.cancel_reason) == ("open", "replaced")
    settle(books, journal.End(old, Decimal(5), "replaced"))
    assert live(books) == ()


def test_an_order_is_sent_once_it_is_in_the_journal_and_not_after_it_expired(books):
    decide(books, intent(0), intent(1), valid_until=DUE + timedelta(hours=1))
    assert [order.state for order in live(books)] == ["planned", "planned"]
    assert not journal.begin_sending(books, intent(1).order_id, DUE + timedelta(hours=1))
    assert journal.begin_sending(books, intent(0).order_id, DUE)
    assert journal.begin_sending(books, intent(0).order_id, DUE + timedelta(minutes=1)), "in doubt: it may go again"
    assert live(books)[0].sent_at == DUE
    journal.mark_open(books, intent(0).order_id)
    journal.mark_open(books, intent(1).order_id)
    assert [order.state for order in live(books)] == ["open", "planned"]
    assert not journal.begin_sending(books, intent(0).order_id, DUE)


def test_a_halted_portfolio_decides_and_sends_nothing_but_its_liquidation(books):
    decide(books, intent(0))
    with books.connection() as connection:
        halt(connection, "p", "test", "me")
    assert not journal.begin_sending(books, intent(0).order_id, DUE)
    later = DUE + timedelta(days=1)
    assert not decide(books, intent(0, due=later), due=later)
    assert decide(books, intent(0, due=later), due=later, kind="liquidation")
    assert journal.begin_sending(books, intent(0, due=later).order_id, later)
    assert last(books).due_at == DUE, "what a strategy is told of is its own decision"


def test_a_guard_that_raises_leaves_nothing_behind(books):
    def gone(connection):
        raise LeaseLost("it is another's")

    with pytest.raises(LeaseLost):
        decide(books, intent(0), guard=gone)
    assert last(books) is None
    decide(books, intent(0))
    with pytest.raises(LeaseLost):
        journal.begin_sending(books, intent(0).order_id, DUE, gone)
    assert live(books)[0].state == "planned"


def test_terms_come_back_as_they_were_and_open_buys_reserve_cash(books):
    terms = OrderTerms("stop_limit", 12.345678, 11.1, "GTC")
    decide(books, intent(0, terms=terms, is_target=False), intent(1))
    first, second = live(books)
    assert (first.terms, first.is_target, second.is_target) == (terms, False, True)
    with books.transaction() as connection:
        journal.add_fills(connection, {first.order_id: Decimal(2)})
        expected = Decimal(3) * Decimal("12.345678") + Decimal(5) * Decimal("10.5") * Decimal("1.005")
        assert journal.reserved(connection, ["p", "q"]) == {"p": expected}


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


def test_what_was_booked_meanwhile_makes_a_decision_void(books):
    with books.connection() as connection:
        before = read_state(connection, "p").newest_trade
    deposit = CashMovement(portfolio_id="p", key="late", at=DUE, session=DUE.date(), kind="deposit", amount=Decimal(5))
    assert decide(books, intent(0), newest_trade=before)
    book(books, [deposit], DUE)
    later = DUE + timedelta(days=1)
    assert not decide(books, intent(0, due=later), due=later, newest_trade=before)
    with books.connection() as connection:
        assert decide(books, intent(0, due=later), due=later, newest_trade=read_state(connection, "p").newest_trade)
    assert len(live(books)) == 2
