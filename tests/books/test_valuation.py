"""Valuations: rows of pnl_book that add up, in booking time; and the state they are read with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from framework.books import reads
from framework.books.ledger import book
from framework.books.lots import Lots, Mark
from framework.books.open import Identity, open_portfolio, portfolios
from framework.books.state import read_latest_valuation, read_portfolio
from framework.books.valuation import value
from framework.errors import BookingError, DatabaseConflict, DataError, PortfolioMismatch
from tests.books.cases import D, ask, cash, fill

MARKS = {"AAPL": Mark(D(110)), "MSFT": Mark(D(3))}
CLOCK = datetime(2024, 3, 1, tzinfo=UTC)


def test_a_valuation_is_written_with_its_parts(funded):
    book(funded, [fill(), fill("f2", "SELL", "4", "120"), cash("3", "dividend"), cash("-1", "fee", key="fee")])
    lots = Lots()
    written = value(funded, "1", MARKS, lots)
    assert (written.realised, written.unrealised, written.income, written.costs) == (D(80), D(60), D(3), D(3))
    assert (written.notional, written.equity) == (D(140), D(10140))
    with funded.connection() as connection:
        assert read_latest_valuation(connection, "1") == written
    assert read_portfolio(funded, "1").cash == written.equity - 660


def test_going_on_with_the_lots_gives_what_fresh_ones_do(funded, monkeypatch):
    monkeypatch.setattr(reads, "_BATCH", 2)  # as if the history were long
    lots = Lots()
    for n in range(4):
        book(funded, [fill(f"a{n}"), fill(f"b{n}", "SELL", "3", "107.5")])
        kept = value(funded, "1", MARKS, lots)
        fresh = value(funded, "1", MARKS, Lots())
        assert (kept.notional, kept.realised, kept.unrealised) == (fresh.notional, fresh.realised, fresh.unrealised)
        assert fresh.timestamp > kept.timestamp


def test_valuations_and_bookings_share_one_rising_time(funded):
    clock = datetime(2200, 1, 1, tzinfo=UTC)
    first = value(funded, "1", {}, Lots(), clock)
    book(funded, [cash("1")], clock)
    second = value(funded, "1", {}, Lots(), clock - timedelta(days=1))
    assert first.timestamp == clock
    assert ask(funded, "SELECT max(timestamp) FROM cash_equity_book") == [(clock + timedelta(microseconds=1),)]
    assert second.timestamp == clock + timedelta(microseconds=2)


def test_what_was_booked_since_the_prices_were_chosen_stops_a_valuation(funded):
    book(funded, [fill()])
    newest = read_portfolio(funded, "1").newest_trade
    book(funded, [cash("3", "dividend")])
    with pytest.raises(DatabaseConflict, match="portfolio '1' was booked while it was valued"):
        value(funded, "1", MARKS, Lots(), newest_trade=newest)
    assert ask(funded, "SELECT count(*) FROM pnl_book") == [(0,)]
    newest = read_portfolio(funded, "1").newest_trade
    assert value(funded, "1", MARKS, Lots(), newest_trade=newest).income == 3


def test_an_empty_portfolio_is_worth_nothing(books):
    written = value(books, "1", {}, Lots(), CLOCK)
    assert (written.equity, written.notional, written.timestamp) == (D(0), D(0), CLOCK)


def test_what_cannot_be_valued_is_not_written(funded):
    book(funded, [fill()])
    with pytest.raises(DataError, match="AAPL is held"):
        value(funded, "1", {}, Lots())
    with pytest.raises(BookingError, match="no portfolio 'x'"):
        value(funded, "x", {}, Lots())
    with pytest.raises(BookingError, match="clock was"):
        value(funded, "1", MARKS, Lots(), datetime(2024, 1, 1))  # noqa: DTZ001
    assert ask(funded, "SELECT count(*) FROM pnl_book") == [(0,)]


def test_lots_of_another_portfolio_are_noticed(funded):
    lots = Lots()
    value(funded, "1", {}, lots)
    with pytest.raises(BookingError, match="cash of portfolio '2' is 0, but its trades add up to 10000"):
        value(funded, "2", {}, lots)


def test_the_state_is_exact_and_of_an_open_portfolio(funded):
    book(funded, [fill(quantity="0.123456789", price="0.000001", fees="0")])
    state = read_portfolio(funded, "1")
    assert (str(state.cash), str(state.positions["AAPL"])) == ("10000.000000", "0.123456789")
    assert all(type(number) is Decimal for number in (state.cash, *state.positions.values()))
    assert read_portfolio(funded, "2").cash is None
    with pytest.raises(BookingError, match="no portfolio 'x'"):
        read_portfolio(funded, "x")


def test_a_portfolio_is_opened_once_and_keeps_what_it_was_opened_with(pool):
    one = Identity("1", "paper", "paper", "A1", "USD")
    assert open_portfolio(pool, one)
    assert not open_portfolio(pool, one)
    for other in (Identity("1", "live", "paper", "A1"), Identity("1", "paper", "paper", "A2", "EUR")):
        with pytest.raises(
            PortfolioMismatch, match=r"belong to (mode 'paper', not 'live'|account 'A1', not 'A2'; base_)"
        ):
            open_portfolio(pool, other)
    assert portfolios(pool) == (one,)
    assert portfolios(pool, ["2"]) == ()
    assert PortfolioMismatch.exit_code == 2


@pytest.mark.parametrize(
    "wrong",
    [
        ("", "paper", "b", "a"), ("1", "backtest", "b", "a"), ("1", "paper", "b", "a", "usd"),
        ("1" * 65, "paper", "b", "a"), ("1", "paper", "b\x00", "a"),
    ],
)  # fmt: skip
def test_an_absurd_identity_is_refused(wrong):
    with pytest.raises(BookingError, match="allowed"):
        Identity(*wrong)
