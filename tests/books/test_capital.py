"""The capital manager: each movement once by its reference, never more than is free, at a rate that is stated."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import localcontext

import pytest

from framework.books.audit import audit
from framework.books.capital import Capital, move
from framework.books.capital_view import balances, history, totals
from framework.books.entries import Correction
from framework.books.keys import capital_key
from framework.books.ledger import book
from framework.books.lots import Lots, Mark
from framework.books.open import Identity, open_portfolio
from framework.books.opening import book_opening
from framework.books.valuation import value
from framework.db.pool import Pool
from framework.errors import BookingError, DataError, IdempotencyConflict, InsufficientCash, UsageError
from framework.model.rates import KnownRate
from tests.books.cases import AT, DAY, D, ask, cash, fill, open_, open_buy, transfer

#: Ends all sessions of the database but its own; not those of the server's own workers.
CLIENTS_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@pytest.fixture
def master(books: Pool) -> Pool:
    """The master account with 1000, beside the empty portfolios 1 and 2."""
    open_(books, "0")
    move(books, deposit("1000", "start"))
    return books


def deposit(amount, reference="r", portfolio="0", **more):
    return Capital(kind="deposit", portfolio_id=portfolio, amount=D(amount), reference=reference, **more)


def withdrawal(amount, reference="r", portfolio="0", **more):
    return Capital(kind="withdrawal", portfolio_id=portfolio, amount=D(amount), reference=reference, **more)


def to(amount, reference="r", gives="0", gets="1", **more):
    return Capital(
        kind="transfer", portfolio_id=gives, to_portfolio_id=gets, amount=D(amount), reference=reference, **more
    )


def moved_cash(pool):
    return {each.portfolio_id: each.cash for each in balances(pool)}


def rows(pool):
    return ask(pool, "SELECT count(*) FROM trade_execution_logs")[0][0]


# --- what is booked --------------------------------------------------------------------------------------------------


def test_money_comes_goes_and_moves_through_the_ledger(master):
    added = move(master, deposit("0.000001", "tiny", note="dust"))
    assert (added.already, added.notional, added.fx_rate, added.cash) == (
        False,
        D("0.000001"),
        1,
        {"0": D("1000.000001")},
    )
    assert abs(datetime.now(UTC) - added.at) < timedelta(minutes=1)
    assert move(master, withdrawal("100", "out")).cash == {"0": D("900.000001")}
    assert move(master, to("250.5", "move")).cash == {"0": D("649.500001"), "1": D("250.5")}
    found = ask(
        master, "SELECT portfolio_id, kind, side, quantity, execution_id, note FROM trade_execution_logs ORDER BY id"
    )
    assert found[1:] == [
        ("0", "deposit", "BUY", D("0.000001"), "capital:0:tiny", "dust"),
        ("0", "withdrawal", "SELL", D(100), "capital:0:out", None),
        ("0", "transfer", "SELL", D("250.5"), "capital:0:move#out", None),
        ("1", "transfer", "BUY", D("250.5"), "capital:0:move#in", None),
    ]
    assert ask(master, "SELECT DISTINCT date = (timestamp AT TIME ZONE 'UTC')::date FROM cash_equity_book") == [(True,)]
    assert audit(master).clean


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: deposit("0"), "amount was Decimal"),
        (lambda: deposit("-5"), "amount was Decimal"),
        (lambda: deposit("NaN"), "amount was Decimal"),
        (lambda: deposit("Infinity"), "amount was Decimal"),
        (lambda: deposit("1e15"), r"less than 1E\+15"),
        (lambda: deposit("0.0000001"), "at most 6 decimals"),
        (lambda: deposit("5", ""), "reference was ''"),
        (lambda: deposit("5", "a" * 101), "1 to 100 printable characters"),
        (lambda: deposit("5", "a\nb"), "reference was"),
        (lambda: deposit("5", "opening:0"), "does not begin with 'opening:'"),
        (lambda: deposit("5", currency="eur"), "currency was 'eur'"),
        (lambda: deposit("5", currency="EUR", fx_rate=D(0)), "fx_rate was"),
        (lambda: deposit("5", note=""), "note was ''"),
        (lambda: deposit("5", to_portfolio_id="1"), "a transfer needs to_portfolio_id"),
        (lambda: to("5", gets=None), "a transfer needs to_portfolio_id"),
        (lambda: to("5", gets="0"), "another than '0'"),
        (lambda: to("5", currency="EUR", fx_rate=D("1.1")), "a transfer has no currency"),
    ],
)
def test_what_cannot_be_moved_is_refused_when_it_is_said(make, words):
    with pytest.raises(BookingError, match=words):
        make()


@pytest.mark.parametrize("asked", [deposit("5", portfolio="7"), to("5", gets="7"), to("5", gives="7", gets="0")])
def test_a_portfolio_that_is_not_open_is_named(master, asked):
    with pytest.raises(
        UsageError, match=r"no portfolio '7' in the books \(open are: 0, 1, 2\); to open it, type: engine"
    ):
        move(master, asked)
    assert rows(master) == 1


def test_the_master_that_is_not_open_says_what_to_type(pool):
    said = "to open it, type: engine portfolio open 0 --mode"
    with pytest.raises(UsageError, match=rf"\(none is open\); {said} paper --broker paper --account master$"):
        move(pool, deposit("5"))
    open_portfolio(pool, Identity("e", "live", "alpaca", "A 7", "EUR"))
    with pytest.raises(UsageError, match=rf"{said} live --broker alpaca --account 'A 7' --currency EUR$"):
        move(pool, to("5", gets="e"))
    open_(pool, "1")
    with pytest.raises(UsageError, match=rf"{said} paper --broker paper --account master$"):
        move(pool, to("5", gets="1"))
    with pytest.raises(BookingError, match=r"open it first \(engine portfolio open 0 --mode paper --broker paper"):
        book(pool, [cash("5", portfolio_id="0")])


# --- the reference ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [deposit("5", note="n"), withdrawal("5"), to("5", note="n")])
def test_the_same_again_changes_nothing_however_late(master, asked):
    first = move(master, asked)
    move(master, deposit("77", "later"))
    before = rows(master)
    time.sleep(0.01)  # it is another moment, which must not make a conflict
    again = move(master, asked)
    assert (first.already, again.already) == (False, True)
    assert again.at == first.at
    assert again.cash["0"] == first.cash["0"] + 77
    assert rows(master) == before
    assert audit(master).clean


def test_the_same_again_is_harmless_where_the_money_is_gone(master):
    move(master, to("1000", "all"))
    assert move(master, to("1000", "all")).already
    with pytest.raises(InsufficientCash):
        move(master, to("1000", "more"))


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        (deposit("5"), deposit("6"), ("a deposit of 5 USD, booked on", "was a deposit of 6 USD")),
        (deposit("5"), withdrawal("5"), ("a deposit of 5 USD, booked on", "was a withdrawal of 5 USD")),
        (deposit("5"), deposit("5", note="n"), ("a deposit of 5 USD, booked", "deposit of 5 USD with the note 'n'")),
        (deposit("5"), to("5"), ("a deposit of 5 USD, booked", "was a transfer of 5 USD to portfolio '1'")),
        (to("5"), withdrawal("5"), ("a transfer of 5 USD to portfolio '1', booked", "was a withdrawal of 5 USD")),
        (to("5"), to("6"), ("a transfer of 5 USD to portfolio '1', booked", "a transfer of 6 USD to portfolio '1'")),
        (to("5"), to("5", gets="2"), ("5 USD to portfolio '1', booked", "was a transfer of 5 USD to portfolio '2'")),
        (
            deposit("5", currency="EUR", fx_rate=D("1.10")),
            deposit("5", currency="EUR", fx_rate=D("1.2")),
            ("a deposit of 5 EUR at 1.1 USD per EUR, booked", "was a deposit of 5 EUR at 1.2 USD per EUR"),
        ),
        (
            deposit("5", currency="EUR", fx_rate=D("1.1")),
            deposit("5", currency="GBP"),
            ("a deposit of 5 EUR at 1.1 USD per EUR, booked", "was a deposit of 5 GBP"),
        ),
        (
            deposit("5"),
            deposit("5", currency="EUR"),
            ("a deposit of 5 USD, booked", "was a deposit of 5 EUR"),
        ),
    ],
)  # fmt: skip
def test_the_same_reference_with_other_content_is_a_conflict_that_shows_both(master, first, second, shown):
    move(master, first)
    before, cash_before = rows(master), moved_cash(master)
    with pytest.raises(IdempotencyConflict) as caught:
        move(master, second)
    text = str(caught.value)
    assert "the reference 'r' of portfolio '0' is in the books as" in text
    assert all(words in text for words in shown), text
    assert "Nothing was booked" in text
    assert (rows(master), moved_cash(master)) == (before, cash_before)


def test_a_reference_is_one_of_the_giving_portfolio(master):
    """So a transfer back is another movement, and so is what the getting portfolio does under that reference."""
    move(master, to("100"))
    back = move(master, to("30", gives="1", gets="0"))
    assert (back.already, back.cash) == (False, {"1": D(70), "0": D(930)})
    with pytest.raises(IdempotencyConflict, match="a transfer of 30 USD to portfolio '0'"):
        move(master, deposit("5", portfolio="1"))
    assert not move(master, deposit("5", portfolio="2")).already
    assert audit(master).clean


def test_odd_references_stay_apart(master):
    odd = ["a:b", "a%3Ab", "a#out", "a", "ä é", "'; DROP TABLE portfolios; --", "%s", "R" * 100]
    for reference in odd:
        assert not move(master, deposit("1", reference)).already
    assert all(move(master, deposit("1", reference)).already for reference in odd)
    assert [past.reference for past in history(master, "0", 99)] == [*reversed(odd), "start"]


# --- free cash -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [withdrawal, to])
def test_what_open_buys_have_spoken_for_is_not_free(master, make):
    open_buy(master, "0", "o1", 10, "60.05")
    with pytest.raises(InsufficientCash) as caught:
        move(master, make("399.500001"))
    text = str(caught.value)
    for words in ("takes 399.500001 USD from portfolio '0'", "free cash is 399.5 ", "(cash 1000,", "600.5 is reserved"):
        assert words in text
    assert rows(master) == 1
    assert move(master, make("399.5")).cash["0"] == D("600.5")
    (first, *_) = balances(master, ["0"])
    assert (first.cash, first.reserved, first.free) == (D("600.5"), D("600.5"), 0)


def test_what_a_broker_filled_too_much_is_not_free(master):
    """An order for 1 of which 3 came has nothing left to come; it does not give anything back either."""
    open_buy(master, "0", "o1", 1, 100)
    ask(master, "UPDATE orders SET filled = 3", fetch=False)
    assert balances(master, ["0"])[0].reserved == 0
    with pytest.raises(InsufficientCash, match=r"free cash is 1000 \(cash 1000, of which 0 is"):
        move(master, withdrawal("1000.01"))


def test_no_more_than_is_there_in_another_currency(master):
    with pytest.raises(InsufficientCash, match=r"takes 1000\.1 USD from portfolio '0', whose free cash is 1000 "):
        move(master, withdrawal("909.181818", "fx", currency="EUR", fx_rate=D("1.1")))


def test_a_deposit_into_an_overdrawn_portfolio_is_booked(master):
    book(master, [fill(portfolio_id="1")])
    assert move(master, deposit("1", portfolio="1")).cash == {"1": D(-1000)}


# --- currencies ------------------------------------------------------------------------------------------------------


class Rates:
    """A rate that is another at every question."""

    def __init__(self, *rates):
        self.rates, self.asked = list(rates), []

    def __call__(self, connection, foreign, currency, now):
        self.asked.append((foreign, currency))
        return KnownRate(self.rates.pop(0), "somewhere", f"{foreign}{currency}", False, now)


def test_an_amount_in_another_currency_is_booked_at_the_stated_rate(master):
    rates = Rates()
    moved = move(master, deposit("1000.01", currency="EUR", fx_rate=D("1.0845")), rates)
    assert (moved.currency, moved.base_currency, moved.notional) == ("EUR", "USD", D("1084.510845"))
    assert (moved.fx_rate, moved.known_rate, rates.asked) == (D("1.0845"), None, [])
    assert ask(master, "SELECT ticker, quantity, notional_local, notional, currency, fx_rate FROM trade_execution_logs "
                       "ORDER BY id DESC LIMIT 1") == [
        ("EUR_CASH", D("1000.01"), D("1000.01"), D("1084.510845"), "EUR", D("1.0845"))
    ]  # fmt: skip
    assert audit(master).clean


def test_a_rate_that_is_looked_up_is_told_and_kept_by_a_repetition(master):
    rates = Rates(D("1.1"), D("1.2"))
    first = move(master, deposit("100", currency="EUR"), rates)
    again = move(master, deposit("100", currency="EUR"), rates)
    assert (first.already, first.fx_rate, first.known_rate and first.known_rate.source) == (
        False,
        D("1.1"),
        "somewhere",
    )
    assert (again.already, again.fx_rate, again.known_rate, again.notional) == (True, D("1.1"), None, 110)
    assert rates.asked == [("EUR", "USD")]
    assert move(master, deposit("100", currency="EUR", fx_rate=D("1.10")), rates).already
    assert move(master, deposit("5", "own", currency="USD"), rates).fx_rate == 1
    assert rates.asked == [("EUR", "USD")]


def test_no_rate_is_refused(master):
    with pytest.raises(BookingError, match="give USD per EUR"):
        move(master, deposit("100", currency="EUR"))
    with pytest.raises(BookingError, match="the portfolio's own currency"):
        move(master, deposit("100", currency="USD", fx_rate=D("1.1")))

    def unknown(connection, foreign, currency, now):
        raise DataError("nobody knows")

    with pytest.raises(DataError, match="nobody knows"):
        move(master, deposit("100", currency="EUR"), unknown)
    assert rows(master) == 1


def test_what_is_worth_nothing_is_refused(master):
    with pytest.raises(BookingError, match=r"0\.00001 JPY at the rate 0\.0067 is less than a millionth"):
        move(master, deposit("0.00001", currency="JPY", fx_rate=D("0.0067")))


def test_transfers_between_currencies_or_modes_are_refused(master):
    open_(master, "eur", currency="EUR")
    open_portfolio(master, Identity("real", "live", "alpaca", "A"))
    with pytest.raises(BookingError, match="stated rate"):
        move(master, to("5", gets="eur"))
    with pytest.raises(BookingError, match="which is paper, to 'real', which is live; paper money never becomes real"):
        move(master, to("5", gets="real"))


# --- simulated clocks ------------------------------------------------------------------------------------------------


def test_in_books_on_a_simulated_clock_money_moves_where_they_stand(master, caplog):
    """At today's date they would be thrown years ahead of their clock, and never trade again."""
    past = datetime(2009, 6, 30, 20, tzinfo=UTC)
    book_opening(master, "1", D(500), past)
    moved = move(master, deposit("5", portfolio="1"))
    assert (moved.at, moved.is_simulated) == (past, True)
    assert move(master, deposit("5", portfolio="1")).already
    assert move(master, to("100", "there")).is_simulated
    assert move(master, to("40", "back", gives="1", gets="0")).cash == {"1": D(565), "0": D(940)}
    tick = timedelta(microseconds=1)
    booked = {name: [past.booked_at for past in reversed(history(master, name, 9))] for name in "01"}
    assert booked["1"] == [past, past + tick, past + 2 * tick, past + 3 * tick]
    assert all(datetime.now(UTC) - moment < timedelta(minutes=1) for moment in booked["0"])
    assert "clock stepped back" not in caplog.text
    assert audit(master).clean


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_balances_and_totals_are_exact(master):
    open_(master, "e", currency="EUR")
    open_portfolio(master, Identity("real", "live", "alpaca", "A"))
    huge = "999999999999999.999999"
    for name in ("1", "2"):
        move(master, deposit(huge, portfolio=name))
    move(master, deposit("7", portfolio="real"))
    move(master, deposit("0.000001", portfolio="e"))
    book(master, [fill(portfolio_id="2", quantity="1", price="10", fees="0")])
    value(master, "2", {"AAPL": Mark(D(12))}, Lots())
    with localcontext(prec=6):  # whatever a thread has set
        found = balances(master)
        together = totals(found)
    assert [(each.portfolio_id, each.mode, each.currency, each.cash, each.equity) for each in found] == [
        ("0", "paper", "USD", 1000, None),
        ("1", "paper", "USD", D(huge), None),
        ("2", "paper", "USD", D(huge) - 10, D(huge) + 2),
        ("e", "paper", "EUR", D("0.000001"), None),
        ("real", "live", "USD", 7, None),
    ]
    assert found[0].valued_at is None
    assert found[2].valued_at is not None
    assert [(each.mode, each.currency, each.cash, each.free) for each in together] == [
        ("live", "USD", 7, 7),
        ("paper", "EUR", D("0.000001"), D("0.000001")),
        ("paper", "USD", D("2000000000000989.999998"), D("2000000000000989.999998")),
    ]
    assert [each.portfolio_id for each in balances(master, ["real", "0"])] == ["0", "real"]
    with pytest.raises(UsageError, match="no portfolio '9'"):
        balances(master, ["9"])


def test_a_portfolio_without_bookings_has_nothing(books):
    assert [(each.cash, each.free, each.equity) for each in balances(books)] == [(0, 0, None)] * 2
    assert history(books, "1", 5) == ()
    with pytest.raises(UsageError, match="no portfolio '9'"):
        history(books, "9", 5)


def test_history_is_newest_first_with_the_balance_after_each(master):
    open_buy(master, "1", "o1", 1, 1)
    move(master, to("100", "there", note="seed"))
    book(master, [fill(portfolio_id="1", quantity="1", price="60", fees="0")])
    move(master, to("10", "back", gives="1", gets="0"))
    move(master, withdrawal("9.99", "fx", currency="EUR", fx_rate=D("1.1"), portfolio="1"))
    book(master, [transfer("1", "0", "1", key="by:other:means"), cash("3", "dividend", key="d", portfolio_id="1")])
    found = history(master, "1", 99)
    assert [(p.kind, p.reference, p.other_portfolio_id, p.change, p.balance, p.note) for p in found] == [
        ("transfer", "by:other:means", "0", 1, D("20.011"), None),
        ("withdrawal", "fx", None, D("-10.989"), D("19.011"), None),
        ("transfer", "back", "0", -10, 30, None),
        ("transfer", "there", "0", 100, 100, "seed"),
    ]
    assert (found[1].amount, found[1].currency, found[1].fx_rate) == (D("-9.99"), "EUR", D("1.1"))
    assert history(master, "1", 2) == found[:2]


def test_history_shows_what_was_undone(master):
    book(master, [Correction(portfolio_id="0", key=capital_key("0", "start"), at=AT, session=DAY, note="typo")])
    undone, start = history(master, "0", 9)
    assert (undone.is_reversal, undone.reference, undone.change, undone.balance) == (True, "start", -1000, 0)
    assert (start.is_reversal, start.change) == (False, 1000)
    assert move(master, deposit("1000", "start")).already, "it was booked; that it was undone since changes nothing"


def test_moments_are_utc_whatever_the_servers_zone(new_database):
    address = new_database()
    pool = Pool(address)
    ask(pool, f"ALTER DATABASE {ask(pool, 'SELECT current_database()')[0][0]} SET timezone = 'Pacific/Auckland'",
        fetch=False)  # fmt: skip
    pool.close()
    pool = Pool(address)
    assert ask(pool, "SHOW timezone") == [("Pacific/Auckland",)]
    open_(pool, "0")
    moved = [move(pool, deposit("5")), move(pool, deposit("5"))]
    (past,) = history(pool, "0", 9)
    value(pool, "0", {}, Lots())
    (shown,) = balances(pool)
    assert {each.tzinfo for each in (moved[0].at, moved[1].at, past.at, past.booked_at, shown.valued_at)} == {UTC}
    assert ask(pool, "SELECT date FROM cash_equity_book") == [(moved[0].at.date(),)]
    pool.close()


# --- connections that die --------------------------------------------------------------------------------------------

#: Whoever commits cash of portfolio 1 waits at this lock, with everything written and nothing of it committed.
HELD_AT_COMMIT = """
CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT ON cash_equity_book DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.portfolio_id = '1') EXECUTE FUNCTION wait_at_commit();
"""
WAITING = """
SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()
"""


def until_one_waits(pool):
    deadline = time.monotonic() + 10
    while not (found := ask(pool, WAITING)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found[0][0]


def test_a_connection_that_is_killed_in_a_transfer_leaves_neither_side_and_the_repetition_both(new_database):
    address = new_database()
    watch, own = Pool(address), Pool(address)
    open_(watch, "0", "1")
    move(watch, deposit("1000", "start"))
    ask(watch, HELD_AT_COMMIT, fetch=False)
    with ThreadPoolExecutor(1) as thread:
        with watch.transaction() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(4711)")
            moving = thread.submit(move, own, to("400", "once"))
            first = until_one_waits(watch)
            assert ask(watch, "SELECT pg_terminate_backend(%s)", first) == [(True,)]
            while until_one_waits(watch) == first:
                time.sleep(0.01)
            assert rows(watch) == 1
            assert moved_cash(watch) == {"0": 1000, "1": 0}
            assert audit(watch).clean
        moved = moving.result(20)
    assert (moved.already, moved.cash) == (False, {"0": D(600), "1": D(400)})
    assert move(own, to("400", "once")).already
    assert audit(watch).clean
    own.close()
    watch.close()


def test_transfers_whose_sessions_are_ended_are_booked_once_on_both_sides(new_database):
    address = new_database()
    watch, own = Pool(address), Pool(address)
    ids = ["0", "1", "2"]
    open_(watch, *ids)
    move(watch, deposit("1000", "start"))
    asked = [to("1", f"t{n}", *(("0", "1"), ("1", "2"), ("2", "0"))[n % 3]) for n in range(120)]
    done = threading.Event()

    def work():
        try:
            return [move(own, each) for each in asked]
        finally:
            done.set()

    ended = 0
    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(work)
        while not done.wait(0.1):
            ended += len(ask(watch, CLIENTS_END))
            assert sum(moved_cash(watch).values()) == 1000
        working.result()
    assert ended
    assert all(move(own, each).already for each in asked)
    assert moved_cash(watch) == {"0": 1000, "1": 0, "2": 0}
    assert rows(watch) == 1 + 2 * len(asked)
    assert audit(watch).clean
    own.close()
    watch.close()
