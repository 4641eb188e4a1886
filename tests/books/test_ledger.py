"""The one writer path: what each kind writes, once, or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_UP, Context, Decimal, localcontext

import pytest

from framework.books.audit import audit
from framework.books.entries import Adjustment, Adopt, Correction, Rename, Split
from framework.books.ledger import book, book_in, lock
from framework.books.lots import Lots, Mark
from framework.books.open import Identity, open_portfolio
from framework.books.valuation import value
from framework.db.pool import Pool
from framework.db.state import read_state
from framework.errors import BookingError, DatabaseError, IdempotencyConflict, InsufficientCash
from tests.books.cases import AT, DAY, D, ask, cash, fill, open_, transfer

TRADES = """
SELECT ticker, kind, side, quantity, exec_price, notional_local, notional, fees, currency, fx_rate
FROM trade_execution_logs ORDER BY id
"""


def state(pool, portfolio_id="1"):
    with pool.connection() as connection:
        return read_state(connection, portfolio_id)


def trades(pool):
    return [tuple(str(v) if isinstance(v, Decimal) else v for v in row) for row in ask(pool, TRADES)]


def counts(pool):
    tables = ("trade_execution_logs", "cash_equity_book", "positions_book")
    return [ask(pool, f"SELECT count(*) FROM {table}")[0][0] for table in tables]


# --- the table of trading-rules 2, row by row ------------------------------------------------------------------------


def test_a_buy_takes_notional_and_fees_and_adds_the_quantity(funded):
    result = book(funded, [fill(quantity="10", price="100.5", fees="1.25", arrival_price=D("100"), order_id="o1")])
    assert trades(funded)[-1] == (
        "AAPL",
        "trade",
        "BUY",
        "10",
        "100.5",
        "1005.000000",
        "1005.000000",
        "1.25",
        "USD",
        "1",
    )
    now = state(funded)
    assert (now.cash, now.positions) == (D("8993.75"), {"AAPL": D(10)})
    assert result.cash == {"1": D("8993.75")}
    assert ask(funded, "SELECT slippage_bps, order_id, execution_id FROM trade_execution_logs ORDER BY id DESC")[0] == (
        D(50), "o1", "f1",
    )  # fmt: skip


def test_a_sell_gives_notional_less_fees_and_takes_the_quantity(funded):
    book(funded, [fill(), fill("f2", "SELL", "4", "110", "0.5", arrival_price=D(111))])
    now = state(funded)
    assert (now.cash, now.positions) == (D("10000") - 1001 + D("439.5"), {"AAPL": D(6)})
    assert ask(funded, "SELECT slippage_bps > 90 FROM trade_execution_logs WHERE execution_id = 'f2'") == [(True,)]


def test_a_short_sale_makes_a_negative_position(funded):
    book(funded, [fill(side="SELL")])
    assert state(funded).positions == {"AAPL": D(-10)}


def test_a_foreign_fill_is_converted_once_and_rounded_half_even(funded):
    book(funded, [fill(quantity="0.000000003", price="33.5", currency="EUR", fx_rate=D("1.0987654321"), fees="0")])
    *_, local, notional, _, currency, rate = trades(funded)[-1]
    assert (local, notional, currency, rate) == ("0.000000", "0.000000", "EUR", "1.0987654321")
    book(funded, [fill("f2", quantity="3", price="0.000001", currency="EUR", fx_rate=D("1.5"), fees="0")])
    *_, local, notional, _, currency, rate = trades(funded)[-1]
    assert (local, notional) == ("0.000003", "0.000004")  # 4.5e-6: to the even neighbour


@pytest.mark.parametrize(
    ("kind", "amount", "side"),
    [
        ("deposit", "5", "BUY"), ("dividend", "5", "BUY"), ("interest", "5", "BUY"), ("adjustment", "5", "BUY"),
        ("adopt", "5", "BUY"), ("withdrawal", "-5", "SELL"), ("fee", "-5", "SELL"), ("borrow", "-5", "SELL"),
        ("tax", "-5", "SELL"), ("interest", "-5", "SELL"), ("adjustment", "-5", "SELL"),
    ],
)  # fmt: skip
def test_money_in_and_out(funded, kind, amount, side):
    book(funded, [cash(amount, kind, for_ticker="AAPL")])
    assert trades(funded)[-1][:7] == ("USD_CASH", kind, side, "5", "1", "5.000000", "5.000000")
    assert state(funded).cash == 10000 + D(amount)
    assert state(funded).positions == {}
    assert ask(funded, "SELECT for_ticker FROM trade_execution_logs ORDER BY id DESC LIMIT 1") == [("AAPL",)]


def test_a_transfer_books_both_sides(funded):
    result = book(funded, [transfer("2500.5")])
    assert [row[:3] for row in trades(funded)[-2:]] == [
        ("USD_CASH", "transfer", "SELL"),
        ("USD_CASH", "transfer", "BUY"),
    ]
    assert (state(funded).cash, state(funded, "2").cash) == (D("7499.5"), D("2500.5"))
    assert len(result.entries[0].trade_ids) == 2


def test_a_split_multiplies_what_is_held_and_moves_no_money(funded):
    book(funded, [fill(quantity="7"), split("3", "2")])
    assert trades(funded)[-1][:6] == ("AAPL", "split", "BUY", "3.500000000", "0", "0")
    assert (state(funded).positions, state(funded).cash) == ({"AAPL": D("10.5")}, D(10000 - 701))
    book(funded, [split("1", "3", key="s2")])
    assert state(funded).positions == {"AAPL": D("3.5")}


def split(new, old="1", key="s1", **changed):
    return Split(
        **{"portfolio_id": "1", "key": key, "at": AT, "session": DAY, "ticker": "AAPL"} | changed,
        new=D(new),
        old=D(old),
    )


def test_a_split_of_nothing_is_remembered_and_cannot_touch_what_is_bought_later(funded):
    assert not book(funded, [split("2")]).entries[0].already
    book(funded, [fill()])
    assert book(funded, [split("2")]).entries[0].already
    assert state(funded).positions == {"AAPL": D(10)}


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_a_rename_moves_everything(funded, side):
    book(funded, [fill(ticker="FB", side=side), fill("f2", ticker="META", quantity="1", side=side)])
    rename = Rename(portfolio_id="1", key="r", at=AT, session=DAY, ticker="FB", new_ticker="META")
    book(funded, [rename])
    signed = 1 if side == "BUY" else -1
    assert state(funded).positions == {"FB": D(0), "META": D(11 * signed)}
    assert book(funded, [rename]).entries[0].already
    assert state(funded).positions == {"FB": D(0), "META": D(11 * signed)}


def test_adopted_and_adjusted_quantities_move_no_money(books):
    common = {"portfolio_id": "1", "at": AT, "session": DAY, "ticker": "IBM", "currency": "USD"}
    book(books, [Adopt(**common, key="a", quantity=D(-5), cost=D("12.5"))])
    book(books, [Adjustment(**common, key="b", change=D("1.5"), note="lost fill")])
    assert [row[:6] for row in trades(books)] == [
        ("IBM", "adopt", "SELL", "5", "0", "0"), ("IBM", "adjustment", "BUY", "1.5", "0", "0")
    ]  # fmt: skip
    assert (state(books).positions, state(books).cash) == ({"IBM": D("-3.5")}, None)
    assert ask(books, "SELECT arrival_price, note FROM trade_execution_logs ORDER BY id") == [
        (D("12.5"), None), (D(0), "lost fill")
    ]  # fmt: skip


def test_each_trade_row_has_one_cash_row_if_it_moves_cash_and_one_position_row_if_it_moves_a_quantity(funded):
    book(funded, [fill(), fill("free", quantity="1", price="0", fees="0"), split("2"), cash("5", "dividend")])
    linked = ask(
        funded,
        """SELECT t.execution_id, count(DISTINCT c.id), count(DISTINCT p.position_id) FROM trade_execution_logs t
        LEFT JOIN cash_equity_book c ON c.trade_id = t.id LEFT JOIN positions_book p ON p.trade_id = t.id
        GROUP BY t.id ORDER BY t.id""",
    )
    assert linked == [("start", 1, 0), ("f1", 1, 1), ("free", 0, 1), ("s1", 0, 1), ("c1", 1, 0)]


# --- once, and in whole ----------------------------------------------------------------------------------------------


def test_the_same_entry_again_changes_nothing_and_says_so(funded):
    entries = [fill(), transfer("5"), cash("-1", "withdrawal"), split("2")]
    first = book(funded, entries)
    before = counts(funded)
    again = book(funded, entries)
    assert [entry.already for entry in first.entries] == [False] * 4
    assert [entry.already for entry in again.entries] == [True] * 4
    assert [entry.trade_ids for entry in again.entries] == [entry.trade_ids for entry in first.entries]
    assert (counts(funded), again.cash) == (before, first.cash)


def test_what_is_new_among_what_is_booked_is_booked(funded):
    book(funded, [fill()])
    result = book(funded, [fill(), fill("f2")])
    assert [entry.already for entry in result.entries] == [True, False]
    assert state(funded).positions == {"AAPL": D(20)}


def test_twice_in_one_call_is_booked_once(funded):
    result = book(funded, [fill(), fill()])
    assert [entry.already for entry in result.entries] == [False, True]
    assert state(funded).positions == {"AAPL": D(10)}


@pytest.mark.parametrize(
    "other",
    [
        fill(quantity="11"), fill(price="100.000001"), fill(side="SELL"), fill(fees="0"), fill(ticker="MSFT"),
        fill(portfolio_id="2"), fill(at=AT + timedelta(microseconds=1)), fill(order_id="x"), cash("1", key="f1"),
    ],
)  # fmt: skip
def test_the_same_key_with_other_content_is_a_conflict_and_books_nothing(funded, other):
    book(funded, [fill()])
    before = counts(funded)
    with pytest.raises(IdempotencyConflict, match=r"'f1' is in the books with other content.*offered"):
        book(funded, [fill("new"), other])
    assert counts(funded) == before


def test_a_conflict_shows_both(funded):
    book(funded, [fill(quantity="10")])
    with pytest.raises(IdempotencyConflict, match=r"quantity 10 \(offered: 11\), notional_local 1000.*offered: 1100"):
        book(funded, [fill(quantity="11")])


def test_equal_numbers_written_otherwise_are_no_conflict(funded):
    book(funded, [fill(quantity="10", price="100", at=AT)])
    same = fill(quantity="10.000", price="1E+2", fees="1.0", at=AT.astimezone(None))
    assert book(funded, [same]).entries[0].already


def test_a_fill_reported_again_when_the_market_has_moved_is_no_conflict(funded):
    seen = {"currency": "EUR", "fees": "0"}
    book(funded, [fill(fx_rate=D("1.07"), arrival_price=D(99), decision_price=D(98), **seen)])
    again = fill(fx_rate=D("1.08"), arrival_price=D(101), **seen)
    assert book(funded, [again]).entries[0].already
    assert state(funded).cash == 10000 - 1070
    with pytest.raises(IdempotencyConflict, match="fx_rate"):  # a rate that somebody has stated is content
        book(funded, [cash("5", currency="EUR", fx_rate=D("1.1")), cash("5", currency="EUR", fx_rate=D("1.2"))])


def test_one_bad_entry_keeps_all_others_out(funded):
    before = counts(funded)
    for bad in (transfer("999999"), fill("x", portfolio_id="9"), fill("x", currency="EUR")):
        with pytest.raises(BookingError):
            book(funded, [fill(), bad])
    assert counts(funded) == before


# --- intents and facts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("intent", [cash("-10000.000001", "withdrawal"), transfer("10000.000001")])
def test_an_intent_that_would_overdraw_is_refused(funded, intent):
    with pytest.raises(InsufficientCash) as caught:
        book(funded, [intent])
    assert "takes 10000.000001 USD from portfolio '1', whose free cash is 10000" in str(caught.value)
    assert "(cash 10000" in str(caught.value)
    assert state(funded).cash == 10000


def test_an_intent_may_take_all_that_is_free(funded):
    reserved = lambda connection, ids: {"1": D(4000)}  # noqa: E731
    with pytest.raises(InsufficientCash, match="4000 is reserved"):
        book(funded, [transfer("6000.01")], reserved=reserved)
    assert book(funded, [transfer("6000")], reserved=reserved).cash == {"1": D(4000), "2": D(6000)}


def test_a_withdrawal_in_another_currency_is_refused_in_the_portfolios_own(funded):
    with pytest.raises(InsufficientCash, match=r"takes 11000 USD from portfolio '1', whose free cash is 10000"):
        book(funded, [cash("-10000", "withdrawal", currency="EUR", fx_rate=D("1.1"))])


def test_facts_are_booked_whatever_the_balance_and_flagged(books):
    result = book(books, [fill(), cash("-7", "fee")])
    assert (result.cash, result.overdrawn) == ({"1": D(-1008)}, ("1",))
    assert book(books, [cash("1008", key="c2")]).overdrawn == ()


def test_a_portfolio_that_is_not_open_is_named(books):
    with pytest.raises(BookingError, match=r"no portfolio 'nobody'.*engine portfolio open"):
        book(books, [transfer("1", target="nobody")])


def opened(pool, portfolio_id, mode, broker, account):
    open_portfolio(pool, Identity(portfolio_id, mode, broker, account))
    book(pool, [cash("100", key=f"start {portfolio_id}", portfolio_id=portfolio_id)])


@pytest.mark.parametrize(("gives", "gets"), [("paper", "live"), ("live", "paper"), ("replay", "paper")])
def test_a_transfer_between_modes_is_refused(books, gives, gets):
    opened(books, "gives", gives, "broker", "account")
    opened(books, "gets", gets, "broker", "account")
    before = counts(books)
    with pytest.raises(BookingError) as caught:
        book(books, [transfer("1", "gives", "gets")])
    assert f"portfolio 'gives', which is {gives}, to 'gets', which is {gets}; paper money never" in str(caught.value)
    assert counts(books) == before


@pytest.mark.parametrize("other", [("alpaca", "B"), ("ib", "A")])
def test_a_transfer_between_accounts_with_real_money_is_refused(books, other):
    opened(books, "gives", "live", "alpaca", "A")
    opened(books, "same", "live", "alpaca", "A")
    opened(books, "other", "live", *other)
    assert book(books, [transfer("1", "gives", "same")]).cash == {"gives": D(99), "same": D(101)}
    with pytest.raises(BookingError) as caught:
        book(books, [transfer("1", "gives", "other", key="t2")])
    named = f"in account 'A' of broker 'alpaca' to 'other' in account {other[1]!r} of {other[0]!r}"
    assert named in str(caught.value)
    assert "withdraw it here and add it there" in str(caught.value)


def test_paper_portfolios_of_different_accounts_transfer(books):
    opened(books, "gives", "paper", "paper", "A")
    opened(books, "gets", "paper", "other", "B")
    assert book(books, [transfer("1", "gives", "gets")]).cash == {"gives": D(99), "gets": D(101)}


def test_each_portfolio_may_have_a_clock_of_its_own(books):
    past = datetime(2009, 1, 5, 21, tzinfo=UTC)
    book(books, [cash("10"), cash("10", key="c2", portfolio_id="2")], {"1": past})
    result = book(books, [transfer("1")], {"1": past})
    assert result.clock_stepped_back == ()
    at = {name: [row[0] for row in ask(books, "SELECT booked_at FROM trade_execution_logs WHERE portfolio_id = %s "
                                              "ORDER BY id", name)] for name in "12"}  # fmt: skip
    assert at["1"] == [past, past + timedelta(microseconds=1)]
    assert all(moment.year > 2020 for moment in at["2"])
    with pytest.raises(BookingError, match="clock was"):
        book(books, [cash("10", key="c3")], {"1": past.replace(year=1)})


def test_transfers_between_currencies_are_refused(funded):
    open_(funded, "eur", currency="EUR")
    with pytest.raises(BookingError, match=r"USD.*EUR.*stated rate"):
        book(funded, [transfer("1", target="eur")])


def test_a_rate_is_needed_for_another_currency_and_refused_for_the_own(funded):
    with pytest.raises(BookingError, match="no fx_rate was given; give USD per EUR"):
        book(funded, [fill(currency="EUR")])
    with pytest.raises(BookingError, match=r"own currency, but its fx_rate was 1\.1"):
        book(funded, [fill(fx_rate=D("1.1"))])


def test_sums_that_no_column_holds_are_refused_by_name(books):
    huge = cash("999999999999999999")
    book(books, [huge])
    with pytest.raises(BookingError, match="cash of portfolio '1' would be"):
        book(books, [replace(huge, key="again")])


# --- corrections -----------------------------------------------------------------------------------------------------


def correction(right=None, key="f1", **changed):
    return Correction(**{"portfolio_id": "1", "key": key, "at": AT, "session": DAY, "right": right} | changed)


def test_a_correction_takes_back_and_books_what_is_right(funded):
    book(funded, [fill(arrival_price=D(99))])
    fixed = fill("f1-v2", quantity="9", price="101", fees="2")
    result = book(funded, [correction(fixed)])
    assert state(funded).cash == 10000 - 909 - 2
    assert state(funded).positions == {"AAPL": D(9)}
    assert len(result.entries[0].trade_ids) == 2
    again = book(funded, [correction(fixed)])
    assert again.entries[0].already
    assert again.entries[0].trade_ids == result.entries[0].trade_ids


def test_what_is_wrong_can_be_taken_back_without_a_substitute_once(funded):
    book(funded, [fill(), correction()])
    assert (state(funded).cash, state(funded).positions) == (D(10000), {"AAPL": D(0)})
    with pytest.raises(IdempotencyConflict, match=r"replaced by nothing.*offered: replaced by f2"):
        book(funded, [correction(fill("f2"))])


def test_a_wrong_dividend_is_taken_back(funded):
    book(funded, [cash("50", "dividend", "d1"), correction(cash("40", "dividend", "d2"), "d1")])
    assert state(funded).cash == 10040


def test_what_cannot_be_corrected_says_what_to_do(funded):
    book(funded, [fill(), transfer("5"), split("2")])
    with pytest.raises(BookingError, match="'nothing', so it cannot be corrected"):
        book(funded, [correction(key="nothing")])
    with pytest.raises(BookingError, match="transfer back"):
        book(funded, [correction(key="t1")])
    with pytest.raises(BookingError, match="a split of AAPL, which cannot be reversed"):
        book(funded, [correction(key="s1")])
    with pytest.raises(BookingError, match="portfolio_id of a correction of 'f1' was '2'"):
        book(funded, [correction(portfolio_id="2")])


# --- booking time ----------------------------------------------------------------------------------------------------


def booked(pool, table="cash_equity_book", column="timestamp"):
    return [row[0] for row in ask(pool, f"SELECT {column} FROM {table} WHERE portfolio_id = '1' ORDER BY 1")]


def test_booking_time_is_the_clock_and_moves_on_by_a_microsecond_where_it_stands(books):
    clock = datetime(2020, 5, 4, tzinfo=UTC)
    book(books, [cash("1"), fill()], clock)
    book(books, [cash("1", key="c2")], clock - timedelta(days=1))
    tick = timedelta(microseconds=1)
    assert booked(books) == [clock, clock + tick, clock + 2 * tick]
    assert booked(books, "positions_book", "updated_at") == [clock + tick]
    assert booked(books, "trade_execution_logs", "booked_at") == [clock, clock + tick, clock + 2 * tick]


@pytest.mark.parametrize(("seconds", "counted"), [(5, ()), (5.000001, ("1",))])
def test_a_clock_that_stepped_back_is_counted_and_booked(books, seconds, counted):
    clock = datetime(2020, 5, 4, tzinfo=UTC)
    book(books, [cash("1")], clock)
    result = book(books, [cash("1", key="c2"), transfer("1")], clock - timedelta(seconds=seconds))
    assert result.clock_stepped_back == counted
    assert state(books).cash == 1


def test_the_latest_row_is_the_last_booked_whatever_its_business_time(funded):
    book(funded, [cash("1", at=AT + timedelta(days=9), key="late"), cash("1", at=AT - timedelta(days=9), key="early")])
    assert state(funded).cash == 10002


def test_without_a_clock_the_databases_is_used(books):
    book(books, [cash("1")])
    assert ask(books, "SELECT clock_timestamp() - timestamp < '1 min' FROM cash_equity_book") == [(True,)]


def test_a_mad_clock_is_refused_before_it_can_spoil_the_books(books):
    for clock in (datetime(2201, 1, 1, tzinfo=UTC), datetime(2020, 1, 1)):  # noqa: DTZ001
        with pytest.raises(BookingError, match="clock was"):
            book(books, [cash("1")], clock)


# --- in a transaction of the caller's --------------------------------------------------------------------------------


def test_a_booking_is_part_of_the_callers_transaction(funded):
    def fails():
        with funded.transaction() as connection:
            lock(connection, ["1", "2"])
            assert book_in(connection, [transfer("5")]).cash["2"] == 5
            assert book_in(connection, [transfer("5", key="t2")]).cash["2"] == 10
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert state(funded, "2").cash is None


def test_a_strategy_that_changed_decimals_context_rounds_no_book(funded):
    with localcontext(Context(prec=3, rounding=ROUND_UP)):
        rate = D("1.0712345")
        bought = fill(quantity="1234.567890123", price="98.765432", fees="1.234567", currency="EUR", fx_rate=rate)
        result = book(funded, [transfer("1234.567891"), bought])
        worth = value(funded, "1", {"AAPL": Mark(D("98.765432"), D("1.0712345"))}, Lots())
    notional = D("130618.441004")
    assert result.cash["1"] == 10000 - notional - D("1.234567") - D("1234.567891")
    assert worth.unrealised in (D(0), D("0.000001"), D("-0.000001"))
    assert worth.notional == worth.unrealised - D("1.234567")
    assert audit(funded).clean


def test_nothing_to_book_is_no_work(pool):
    assert book(pool, []).entries == ()
    with pool.transaction() as connection:
        assert book_in(connection, iter(())).cash == {}


# --- the books cannot be changed -------------------------------------------------------------------------------------

BOOKS = ("trade_execution_logs", "cash_equity_book", "positions_book", "pnl_book")


CHANGES = ("UPDATE {} SET portfolio_id = '2'", "DELETE FROM {} WHERE false", "TRUNCATE {} CASCADE")


def test_the_application_has_no_right_to_change_a_book(funded):
    for statement in (change.format(table) for change in CHANGES for table in BOOKS):
        with pytest.raises(DatabaseError, match="permission denied"):
            ask(funded, statement)


def test_not_even_a_superuser_changes_a_book(funded, server):
    admin = Pool(server.admin_url(ask(funded, "SELECT current_database()")[0][0]), 1, 1)
    try:
        for role in ("origin", "replica", "local"):
            ask(admin, f"SET session_replication_role = {role}; SELECT 1")
            for statement in (change.format(table) for change in CHANGES for table in BOOKS):
                with pytest.raises(DatabaseError, match="append-only"):
                    ask(admin, statement)
    finally:
        admin.close()


def test_a_portfolio_keeps_its_identity(books):
    for column, other in (("mode", "live"), ("broker", "x"), ("account", "x"), ("base_currency", "EUR")):
        with pytest.raises(DatabaseError, match="for ever"):
            ask(books, f"UPDATE portfolios SET {column} = %s WHERE portfolio_id = '1'", other)
