"""Before trading begins: splits that the books lack stop the start, old prices are said."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from framework.books.entries import Split
from framework.books.keys import split_key
from framework.books.ledger import book
from framework.cli.main import run_command
from framework.engine.precautions import refuse_unbooked_splits, stale_prices
from framework.errors import BookingError
from framework.model.bars import CorporateAction
from tests.books.cases import cash, fill, open_
from tests.engine.runs import ACTS, after, noon, portfolio

BOUGHT, SPLIT, TODAY = date(2024, 1, 2), date(2024, 1, 5), date(2024, 2, 1)


def split(day=SPLIT, ticker="AAPL"):
    return CorporateAction(ticker, day, "split", Decimal(7))


def refused(pool, *actions, today=TODAY):
    with pool.connection() as connection:
        try:
            refuse_unbooked_splits(connection, "1", actions, today)
        except BookingError as error:
            return str(error)
    return None


@pytest.fixture
def books(pool):
    """Portfolio 1 with 10 AAPL, bought on 2 January 2024."""
    open_(pool, "1")
    book(pool, [cash("10000"), fill()])
    return pool


def test_shares_that_were_split_since_they_were_bought(books):
    found = refused(books, split())
    assert found.startswith(
        "portfolio 1 holds 10 AAPL, bought on 2024-01-02; AAPL was split on 2024-01-05 (7 for 1), which is not in its "
    )
    assert "Begin anew under another portfolio id" in found


@pytest.mark.parametrize(
    "action", [split(BOUGHT), split(date(2023, 5, 5)), split(ticker="IBM"), split(date(2024, 2, 2))]
)
def test_splits_that_did_not_meet_them(books, action):
    assert refused(books, action) is None


def test_what_was_sold_before_and_bought_again_after(books):
    book(books, [fill(key="f2", side="SELL", at=datetime(2024, 1, 4, 15, tzinfo=UTC))])
    assert refused(books, split()) is None
    book(books, [fill(key="f3", at=datetime(2024, 1, 8, 15, tzinfo=UTC))])
    assert refused(books, split()) is None
    assert refused(books, split(date(2024, 1, 9))) is not None


def test_a_split_that_is_booked(books):
    booked = Split(
        portfolio_id="1", key=split_key("AAPL", SPLIT, "1"), at=datetime(2024, 1, 5, tzinfo=UTC), session=SPLIT,
        ticker="AAPL", new=Decimal(7),
    )  # fmt: skip
    book(books, [booked])
    assert refused(books, split()) is None
    assert refused(books, split(), split(date(2024, 1, 20))) is not None


def test_it_stops_the_start(live):
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 10) if n == 1 else None
    live.run(portfolio(), until=after(1))
    live.ask(
        "INSERT INTO corporate_actions (source, ticker, ex_date, kind, value) "
        "VALUES ((SELECT min(source) FROM market_data), 'AAA', '2010-03-03', 'split', 2) RETURNING 1"
    )
    with pytest.raises(
        BookingError, match=r"portfolio a holds 10 AAA, bought on 2010-03-01; AAA was split on 2010-03-03"
    ):
        live.run(portfolio(), clock={"start": after(3), "end": after(4), "seconds_per_day": 0})


def test_old_prices_are_said_in_real_time(live, pool, travelling):
    ACTS["a"] = lambda ctx, n: None
    live.prices("BBB", {}, 50.0, until=after(0))
    travelling.go(noon(after(6)))
    with live.running(portfolio()) as engine:
        pass
    (note,) = [line for line in engine.said if line.startswith("Note: the newest bar")]
    assert note == "Note: the newest bar of BBB is of 2010-03-01, 5 sessions ago; it is traded when newer bars come"
    with pool.connection() as connection:
        asked = ("csv:live", "1d", "XNYS")
        assert stale_prices(connection, *asked, ["AAA", "BBB", "CCC"], after(1)) == ["CCC has no bar in the database"]
        assert stale_prices(connection, *asked, ["BBB"], after(5)) == []


def test_a_check_needs_no_session_today(live, travelling, capfd):
    path = live.config(portfolio(), clock=None)
    ACTS["a"] = lambda ctx, n: None
    assert run_command(("check", str(path))) == 0
    assert "ok    portfolio a: " in capfd.readouterr().out
