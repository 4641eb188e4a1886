"""The books' tables and the state queries: nothing is rounded, latest means latest, the fast form equals the plain."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framework.db.bulk import insert_rows
from framework.db.queries import fetch_all, fetch_one
from framework.db.state import read_latest_valuation, read_state
from framework.errors import DatabaseError, DatabaseNotReady

NOW = datetime(2024, 1, 2, 15, 30, tzinfo=UTC)
PORTFOLIO = ("portfolio_id", "mode", "broker", "account", "base_currency")
CASH = ("timestamp", "date", "portfolio_id", "currency", "notional")
POSITION = ("portfolio_id", "ticker", "quantity", "updated_at")
TRADE = ("portfolio_id", "ticker", "exec_timestamp", "side", "quantity", "arrival_price", "exec_price", "slippage_bps",
         "notional", "notional_local", "currency", "fx_rate", "kind", "fees", "execution_id")  # fmt: skip


@pytest.fixture
def books(pool):
    """A connection to a database with two portfolios."""
    with pool.connection() as connection:
        rows = [(name, "paper", "paper", "x", "USD") for name in ("1", "2")]
        insert_rows(connection, "portfolios", PORTFOLIO, rows, ("portfolio_id",))
        yield connection


def cash(connection, *rows):
    insert_rows(connection, "cash_equity_book", CASH, [(t, t.date(), p, "USD", n) for p, t, n in rows], ("id",))


def positions(connection, *rows):
    insert_rows(connection, "positions_book", POSITION, rows, ("position_id",))


def trade(connection, **changed):
    row = {
        "portfolio_id": "1", "ticker": "AAPL", "exec_timestamp": NOW, "side": "BUY", "quantity": Decimal(1),
        "arrival_price": Decimal(1), "exec_price": Decimal(1), "slippage_bps": Decimal(0), "notional": Decimal(1),
        "notional_local": Decimal(1), "currency": "USD", "fx_rate": Decimal(1), "kind": "trade", "fees": Decimal(0),
        "execution_id": "e1",
    } | changed  # fmt: skip
    return insert_rows(connection, "trade_execution_logs", TRADE, [tuple(row[c] for c in TRADE)], ("execution_id",))


def test_a_portfolio_without_bookings_has_no_cash_and_no_positions(books):
    state = read_state(books, "1")
    assert (state.cash, state.currency, state.cash_timestamp, state.positions) == (None, None, None, {})
    assert read_latest_valuation(books, "1") is None


def test_the_state_is_the_latest_of_each_exact_and_of_this_portfolio_only(books):
    day = timedelta(days=1)
    cash(books, ("1", NOW, Decimal("100.5")), ("1", NOW + day, Decimal("-0.000001")), ("2", NOW + 2 * day, Decimal(7)))
    cash(books, ("1", NOW - day, Decimal(9)))
    positions(
        books,
        ("1", "MSFT", Decimal("1.000000001"), NOW),
        ("1", "AAPL", Decimal(5), NOW + day),
        ("1", "AAPL", Decimal(3), NOW),
        ("2", "AAPL", Decimal(99), NOW + 2 * day),
        ("1", "GONE", Decimal(0), NOW),
    )
    state = read_state(books, "1")
    assert (state.cash, state.currency, state.cash_timestamp) == (Decimal("-0.000001"), "USD", NOW + day)
    assert state.positions == {"AAPL": Decimal(5), "GONE": Decimal(0), "MSFT": Decimal("1.000000001")}
    assert list(state.positions) == ["AAPL", "GONE", "MSFT"]
    assert state.updated_at["AAPL"] == NOW + day
    assert all(isinstance(quantity, Decimal) for quantity in state.positions.values())


def test_of_two_rows_with_one_timestamp_the_later_id_is_the_latest(books):
    cash(books, ("1", NOW, Decimal(1)))
    cash(books, ("1", NOW, Decimal(2)))
    positions(books, ("1", "A", Decimal(1), NOW), ("1", "A", Decimal(2), NOW))
    state = read_state(books, "1")
    assert (state.cash, state.positions) == (Decimal(2), {"A": Decimal(2)})


_examples = itertools.count(1)
moments = st.integers(0, 5).map(lambda k: NOW + timedelta(seconds=k))
amounts = st.decimals(-(10**9), 10**9, places=6)
history = st.lists(
    st.tuples(st.sampled_from(["1", "2"]), st.sampled_from(["A", "B", "a", "BRK.B", "Z", "ß"]), amounts, moments),
    max_size=60,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history, st.lists(st.tuples(st.sampled_from(["1", "2"]), moments, amounts), max_size=20))
def test_the_fast_forms_equal_the_plain_ones_and_a_model_in_python(books, held, balances):
    # The books cannot be emptied: each example has two portfolios of its own.
    example = next(_examples)
    owners = {name: f"{example}-{name}" for name in ("1", "2")}
    rows = [(owner, "paper", "paper", "x", "USD") for owner in owners.values()]
    insert_rows(books, "portfolios", PORTFOLIO, rows, ("portfolio_id",))
    balances = [(owners[owner], *rest) for owner, *rest in balances]
    held = [(owners[owner], *rest) for owner, *rest in held]
    cash(books, *balances)
    positions(books, *held)
    for portfolio in (*owners.values(), "none"):
        asked = {"portfolio_id": portfolio}
        fast = fetch_all(books, "latest_positions", asked)
        assert fast == fetch_all(books, "latest_positions_plain", asked)
        state = fetch_one(books, "portfolio_state", asked)
        assert state == fetch_one(books, "portfolio_state_plain", asked)
        latest: dict[str, tuple] = {}
        for owner, ticker, quantity, moment in held:
            if owner == portfolio and (ticker not in latest or moment >= latest[ticker][1]):
                latest[ticker] = (quantity, moment)
        assert state is not None
        assert {row[2]: (row[3], row[4]) for row in fast} == latest
        assert dict(zip(state[3], state[4], strict=True)) == {t: q for t, (q, _) in latest.items()}
        own = [(moment, k, amount) for k, (owner, moment, amount) in enumerate(balances) if owner == portfolio]
        balance = max(own)[2] if own else None
        assert state[0] == balance
        assert fetch_one(books, "latest_cash", asked) == ((balance,) if own else None)


ABSURD = (
    ("quantity", "1.0000000001"), ("quantity", "-1"), ("quantity", "NaN"), ("quantity", "Infinity"),
    ("exec_price", "1.0000001"), ("exec_price", "NaN"), ("arrival_price", "0.0000001"), ("notional", "0.1234567"),
    ("notional", "-1"), ("notional", "1e18"), ("notional_local", "NaN"), ("fees", "0.0000001"), ("fees", "NaN"),
    ("fx_rate", "0"), ("fx_rate", "NaN"), ("slippage_bps", "NaN"), ("side", "HOLD"), ("kind", "gift"),
    ("currency", "usd"), ("portfolio_id", "nobody"), ("execution_id", ""), ("exec_timestamp", "infinity"),
)  # fmt: skip


def test_a_trade_that_would_be_rounded_or_is_absurd_is_refused(books):
    for column, value in ABSURD:
        with pytest.raises(DatabaseError, match=r"bulk_insert.*trade_execution_logs"):
            assert trade(books, **{column: value}) == "refused", (column, value)
    assert fetch_one_of(books, "SELECT count(*) FROM trade_execution_logs") == (0,)


def test_numbers_are_kept_as_they_are_given(books):
    trade(books, quantity=Decimal("0.123456789"), exec_price=Decimal("123.456789"), fees=Decimal("0.10"))
    row = fetch_one_of(books, "SELECT quantity, exec_price, fees FROM trade_execution_logs")
    assert [str(value) for value in row] == ["0.123456789", "123.456789", "0.10"]


def fetch_one_of(connection, statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()


def test_an_execution_id_is_booked_once(books):
    assert trade(books) == 1
    assert trade(books) == 0
    assert trade(books, execution_id="e2") == 1


def test_cash_and_positions_refuse_what_would_be_rounded(books):
    for notional, quantity in (("0.0000001", "1e-10"), ("NaN", "NaN"), ("1e18", "1e18"), ("-Infinity", "-Infinity")):
        with pytest.raises(DatabaseError, match="check constraint"):
            cash(books, ("1", NOW, Decimal(notional)))
        with pytest.raises(DatabaseError, match="check constraint"):
            positions(books, ("1", "A", Decimal(quantity), NOW))


def test_cash_is_never_a_position(books):
    with pytest.raises(DatabaseError, match="check constraint"):
        positions(books, ("1", "USD_CASH", Decimal(1), NOW))


def test_a_valuation_must_add_up(books):
    columns = ("portfolio_id", "timestamp", "notional", "equity", "realised", "unrealised", "income", "costs")
    row = ("1", NOW, Decimal(9), Decimal(109), Decimal(5), Decimal(4), Decimal(2), Decimal(2))
    insert_rows(books, "pnl_book", columns, [row], ("id",))
    valuation = read_latest_valuation(books, "1")
    assert valuation is not None
    assert (valuation.notional, valuation.equity, valuation.timestamp) == (Decimal(9), Decimal(109), NOW)
    with pytest.raises(DatabaseError, match="check constraint"):
        insert_rows(books, "pnl_book", columns, [(*row[:-1], Decimal(3))], ("id",))


def bulk(connection, rows):
    return insert_rows(connection, "instruments", ("ticker", "currency", "lot_size", "exchange"), rows, ("ticker",))


@pytest.mark.parametrize("count", [1, 299, 300, 301, 3000])
def test_bulk_inserts_count_what_went_in_small_or_large(pool, count):
    rows = [(f"T{k}", "USD", Decimal("0.5"), "XNYS") for k in range(count)]
    with pool.transaction() as connection:
        assert bulk(connection, rows[: count // 2]) == count // 2
        assert bulk(connection, rows) == count - count // 2
        assert bulk(connection, rows) == 0
        assert bulk(connection, []) == 0
        assert fetch_one_of(connection, "SELECT count(*) FROM instruments") == (count,)


def test_bulk_inserts_carry_any_value_small_or_large(pool):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE wild (k int UNIQUE, s text, n numeric, d date, t timestamptz, b bool, f float8)")
    odd = ["", "\\N", "a\tb\nc\rd\\", "'; DROP TABLE wild; --", "%s {x}", "ß€😀", None]
    columns = ("k", "s", "n", "d", "t", "b", "f")
    values = [(odd[k % 7], Decimal("1e-9") * k, date(2020, 1, 1 + k % 28), NOW, k % 2 == 0, k / 3) for k in range(700)]
    with pool.transaction() as connection:
        insert_rows(connection, "wild", columns, [(k, *row) for k, row in enumerate(values)], ("k",))
        insert_rows(connection, "wild", columns, [(1000 + k, *row) for k, row in enumerate(values[:50])], ("k",))
        with connection.cursor() as cursor:
            cursor.execute("SELECT s, n, d, t, b, f FROM wild ORDER BY k")
            found = cursor.fetchall()
    assert found == values + values[:50]


def test_a_bulk_insert_that_cannot_work_says_why(pool):
    with pytest.raises(TypeError, match="bytes"), pool.transaction() as connection:
        bulk(connection, [(b"x", "USD", 1, "X")] * 301)
    with pytest.raises(DatabaseError, match=r"bulk_insert.*no_table"), pool.transaction() as connection:
        insert_rows(connection, "no_table", ("a",), [(1,)], ("a",))
    with pytest.raises(DatabaseError, match=r"instruments.*currency"), pool.transaction() as connection:
        bulk(connection, [(f"T{k}", "dollar", 1, "X") for k in range(400)])
    with pool.connection() as connection, pytest.raises(ValueError, match="transaction"):
        bulk(connection, [(f"T{k}", "USD", 1, "X") for k in range(400)])


def test_the_name_of_a_failing_query_is_in_the_error(books, server):
    with pytest.raises(DatabaseError, match="query 'latest_cash'"):
        fetch_one(books, "latest_cash", {"wrong": 1} | {"portfolio_id": object()})
    with books.cursor() as cursor:
        cursor.execute("ALTER TABLE cash_equity_book RENAME TO moved")
    with pytest.raises(DatabaseNotReady, match=r"query 'latest_cash'.*cash_equity_book.*engine db upgrade"):
        fetch_one(books, "latest_cash", {"portfolio_id": "1"})


def test_every_query_file_says_what_it_does():
    found = [file for file in (files("framework.sql") / "queries").iterdir() if file.name.endswith(".sql")]
    assert len(found) > 10
    for file in found:
        text = file.read_text(encoding="utf-8")
        header = [line for line in text.splitlines() if line.startswith("--")]
        assert header[0].startswith("-- Purpose:"), file.name
        assert any(line.startswith("-- Locks:") for line in header), file.name
        if "%(" in text.split("*/")[-1]:
            assert any(line.startswith("-- Parameters:") for line in header), file.name


def test_psycopg2_errors_do_not_leave_the_pool(pool):
    with pytest.raises(DatabaseError) as error, pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1/0")
    assert isinstance(error.value.__cause__, psycopg2.Error)
