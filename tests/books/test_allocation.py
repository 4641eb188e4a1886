"""Allocations in the books: all of it or nothing, once per run id, whoever else books at the same time."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count

import numpy as np
import pytest

from framework import Allocator
from framework.books.allocation import History, Marks, Request, allocate, propose, read_limit
from framework.books.audit import audit
from framework.books.entries import CashMovement, Fill, Transfer
from framework.books.ledger import book
from framework.books.lots import Lots, Mark
from framework.books.open import Identity, open_portfolio
from framework.books.state import read_portfolio
from framework.books.valuation import value
from framework.db.pool import Pool
from framework.engine.halts import halt
from framework.errors import AllocationError, BookingError, DatabaseError, IdempotencyConflict, InsufficientCash
from framework.model.master import MASTER
from framework.trading.allocation import Allocation, AllocationTerms
from tests.books.cases import ask

DAY = date(2026, 7, 30)
CLOSE = datetime(2026, 7, 30, 20, 0, tzinfo=UTC)
PRICE = 10.0


class Fixed(Allocator):
    weights: tuple[float, ...]

    def allocate(self, state):
        return np.array(self.weights) * state.total


class Seeing(Fixed):
    """Keeps what it is shown."""

    def check(self):
        self.states = []

    def sessions(self):
        return 3

    def allocate(self, state):
        self.states.append(state)
        return super().allocate(state)


NO_HISTORY = History(np.empty(0, "datetime64[D]"), (), np.empty(0, "datetime64[D]"), CLOSE)


def request(run_id, *, weights=(0.5, 0.5), fresh=True, allocator=None, history=NO_HISTORY, currency="USD", **changes):
    ids = tuple(str(number) for number in range(1, len(weights) + 1))
    zeros = np.zeros(len(ids))
    terms = AllocationTerms(ids, zeros, zeros + 1.0, zeros, **changes)
    made = allocator or Fixed(weights=weights)
    marks = Marks(("AAA", "BBB"), np.array([PRICE, PRICE]), np.array([fresh, True]), 1.0)
    allocation = Allocation("test/fixed", made, terms, "daily", currency, 30.0)
    return Request(allocation, run_id, CLOSE, DAY, DAY, dict.fromkeys(ids, marks), history, "a test")


def money(portfolio_id, amount, key):
    kind = "deposit" if amount > 0 else "withdrawal"
    return CashMovement(portfolio_id=portfolio_id, key=key, at=CLOSE, session=DAY, kind=kind, amount=Decimal(amount))


def fill(portfolio_id, ticker, quantity, key, fees="0"):
    side = "BUY" if quantity > 0 else "SELL"
    return Fill(
        portfolio_id=portfolio_id,
        key=key,
        at=CLOSE,
        session=DAY,
        ticker=ticker,
        side=side,
        quantity=Decimal(abs(quantity)),
        price=Decimal(10),
        currency="USD",
        fees=Decimal(fees),
    )


@pytest.fixture
def funded(books: Pool) -> Pool:
    """The master account with 1000, portfolio 1 with 600 of which 200 are invested, portfolio 2 with nothing."""
    open_portfolio(books, Identity(MASTER, "paper", "paper", "master", "USD"))
    book(books, [money(MASTER, 1000, "m"), money("1", 600, "a"), fill("1", "AAA", 20, "f")])
    return books


def cash_of(pool, portfolio_id):
    return read_portfolio(pool, portfolio_id).cash or Decimal(0)


def test_it_books_every_transfer_and_what_it_means(funded):
    made = allocate(funded, request("r1"))
    assert (made.total, made.already) == (Decimal("1600"), False)
    assert [(share.portfolio_id, share.target, share.transfer) for share in made.shares] == [
        ("1", Decimal("800"), Decimal("200")),
        ("2", Decimal("800"), Decimal("800")),
    ]
    assert cash_of(funded, MASTER) == 0
    assert cash_of(funded, "1") == 600
    rows = ask(funded, "SELECT portfolio_id, side, ticker, quantity, kind, execution_id FROM trade_execution_logs "
               "WHERE kind = 'transfer' ORDER BY id")  # fmt: skip
    assert rows == [
        ("0", "SELL", "USD_CASH", Decimal("200"), "transfer", "allocation:r1:1#out"),
        ("1", "BUY", "USD_CASH", Decimal("200"), "transfer", "allocation:r1:1#in"),
        ("0", "SELL", "USD_CASH", Decimal("800"), "transfer", "allocation:r1:2#out"),
        ("2", "BUY", "USD_CASH", Decimal("800"), "transfer", "allocation:r1:2#in"),
    ]
    assert audit(funded).clean


def test_once_per_run_id_also_when_the_world_has_changed(funded):
    first = allocate(funded, request("r1"))
    book(funded, [money(MASTER, 500, "more")])
    assert allocate(funded, request("r1", weights=(0.1, 0.1))) == replace(first, already=True)
    assert cash_of(funded, MASTER) == 500


def test_the_run_id_of_other_portfolios_is_a_conflict(funded):
    allocate(funded, request("r1", weights=(0.5,)))
    with pytest.raises(IdempotencyConflict, match="was made for the portfolios 1, not for 1, 2; nothing moved"):
        allocate(funded, request("r1"))
    with pytest.raises(IdempotencyConflict):
        propose(funded, request("r1"))


def test_a_proposal_is_what_would_be_made(funded):
    proposed = propose(funded, request("r1"))
    assert ask(funded, "SELECT count(*) FROM allocations") == [(0,)]
    assert allocate(funded, request("r1")) == proposed
    assert propose(funded, request("r1")) == replace(proposed, already=True)


def test_a_shortfall_limits_sizing_until_an_allocation_has_none(funded):
    assert limit(funded, "1") is None
    made = allocate(funded, request("r1", weights=(0.05, 0.05)))
    assert made.shares[0].shortfall == Decimal("120")
    assert limit(funded, "1") == Decimal("80")
    assert limit(funded, "2") is None
    allocate(funded, request("r2"))
    assert limit(funded, "1") is None
    allocate(funded, request("r3", weights=(0.0, 0.5), reduces=False))
    assert limit(funded, "1") is None


def limit(pool, portfolio_id):
    with pool.connection() as connection:
        return read_limit(connection, portfolio_id)


def test_halted_portfolios_neither_give_nor_get(funded):
    with funded.connection() as connection:
        halt(connection, "1", "looks odd", "a test")
    made = allocate(funded, request("r1", weights=(0.0, 1.0)))
    assert [share.transfer for share in made.shares] == [Decimal(0), Decimal(1000)]


def test_a_held_ticker_without_a_fresh_price_stops_it_by_name(funded):
    with pytest.raises(AllocationError, match=r"portfolio 1 holds AAA, which has no price of 2026-07-30"):
        allocate(funded, request("r1", fresh=False))
    book(funded, [fill("2", "ZZZ", 1, "z")])
    with pytest.raises(AllocationError, match=r"portfolio 2 holds ZZZ, which has no price"):
        allocate(funded, request("r1"))
    assert ask(funded, "SELECT count(*) FROM allocations") == [(0,)]


def test_an_allocator_that_fails_moves_nothing(funded):
    with pytest.raises(AllocationError, match="but there are"):
        allocate(funded, request("r1", weights=(0.9, 0.9)))
    assert cash_of(funded, MASTER) == 1000


def test_portfolios_must_be_open_and_of_the_currency(books):
    with pytest.raises(BookingError, match=r"no portfolio '0' in the books"):
        allocate(books, request("r1"))
    open_portfolio(books, Identity(MASTER, "paper", "paper", "master", "EUR"))
    with pytest.raises(BookingError, match=r"portfolio '0' is in EUR, and the allocation is in USD"):
        allocate(books, request("r1"))


def test_what_is_written_stays(funded):
    allocate(funded, request("r1"))
    for table in ("allocations", "allocation_targets"):
        with pytest.raises(DatabaseError, match="append-only"):
            ask(funded, f"DELETE FROM {table}", fetch=False)


def test_the_allocator_sees_the_returns_of_the_sessions_asked_for(funded):
    days = [date(2026, 7, 27) + timedelta(days=n) for n in range(4)]
    starts = tuple(datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days)
    lots = Lots()
    for bar, price in zip(starts, ("10", "11", "11", "5.5"), strict=True):
        value(funded, "1", {"AAA": Mark(Decimal(price))}, lots, bar_timestamp=bar)
        if bar == starts[1]:
            book(funded, [money("1", 100, "in")])
    dates = np.array(days, dtype="datetime64[D]")
    seeing = Seeing(weights=(0.5, 0.5))
    allocate(
        funded, request("r1", allocator=seeing, history=History(dates[1:], starts, dates, CLOSE + timedelta(days=1)))
    )
    (state,) = seeing.states
    first = 620 / 600 - 1
    assert state.returns[:, 0].tolist() == pytest.approx([first, 0.0, 610 / 720 - 1], abs=1e-9)
    assert np.isnan(state.returns[:, 1]).all()


# --- beside everything else ----------------------------------------------------------------------------------------


IDS = ("1", "2", "3")
_numbers = count()


def act(pool, draw, run_ids):
    """One booking of some kind; what was refused is said."""
    name, other = draw.sample((*IDS, MASTER), 2)
    key, kind = (
        f"k{next(_numbers)}",
        draw.choice(["money", "transfer", "fill", "allocate"]),
    )
    try:
        if kind == "money":
            book(pool, [money(name, draw.choice([-900, -250, -40, 60, 300]), key)])
        elif kind == "transfer":
            amount = Decimal(draw.randint(1, 50_000)) / 100
            moved = Transfer(portfolio_id=name, key=key, at=CLOSE, session=DAY, to_portfolio_id=other, amount=amount)
            book(pool, [moved])
        elif kind == "fill":
            book(
                pool, [fill(draw.choice(IDS), draw.choice(["AAA", "BBB"]), draw.choice([-20, -4, 2, 22]), key, "0.01")]
            )
        else:
            weights = tuple(draw.choice([0.0, 0.1, 0.3, 1 / 3]) for _ in IDS)
            allocate(pool, request(draw.choice(run_ids), weights=weights, cash_buffer=draw.choice([0.0, 0.1])))
    except (InsufficientCash, AllocationError) as error:
        return type(error)
    return None


def wrongs(pool):
    """What must not be: cash from nothing, an intent that overdrew, transfers of one side."""
    return ask(
        pool,
        """
        WITH latest AS (
            SELECT DISTINCT ON (portfolio_id) portfolio_id, notional FROM cash_equity_book
            ORDER BY portfolio_id, timestamp DESC, id DESC
        ), moved AS (
            SELECT
                sum(CASE side WHEN 'BUY' THEN notional ELSE -notional END)
                    FILTER (WHERE kind IN ('deposit', 'withdrawal')) AS outside,
                sum(CASE side WHEN 'BUY' THEN -notional ELSE notional END - fees)
                    FILTER (WHERE kind = 'trade') AS traded,
                sum(CASE side WHEN 'BUY' THEN notional ELSE -notional END)
                    FILTER (WHERE kind = 'transfer') AS inside
            FROM trade_execution_logs
        )
        SELECT 'not conserved', coalesce((SELECT sum(notional) FROM latest), 0)::text
        FROM moved
        WHERE coalesce((SELECT sum(notional) FROM latest), 0) <> coalesce(outside, 0) + coalesce(traded, 0)
            OR coalesce(inside, 0) <> 0
        UNION ALL
        SELECT 'overdrawn by an intent', trade.execution_id
        FROM trade_execution_logs AS trade
        JOIN cash_equity_book AS cash ON cash.trade_id = trade.id
        WHERE trade.kind IN ('withdrawal', 'transfer') AND trade.side = 'SELL' AND cash.notional < 0
        UNION ALL
        SELECT 'another transfer than its target says', targets.run_id
        FROM allocation_targets AS targets
        LEFT JOIN trade_execution_logs AS trade ON trade.execution_id = 'allocation:' || targets.run_id || ':'
            || targets.portfolio_id || CASE WHEN targets.transfer < 0 THEN '#out' ELSE '#in' END
        WHERE targets.transfer <> coalesce(CASE side WHEN 'BUY' THEN notional ELSE -notional END, 0)
        """,
    )


def histories(pool, number):
    """So many short histories, each of bookings from four threads at once; how many bookings were refused."""
    open_portfolio(pool, Identity(MASTER, "paper", "paper", "master", "USD"))
    open_portfolio(pool, Identity("3", "paper", "paper", "3", "USD"))
    for name in (MASTER, *IDS):
        book(pool, [money(name, 5000, f"start of {name}")])
    refused = 0
    with ThreadPoolExecutor(4) as threads:
        for seed in range(number):
            draw = random.Random(seed)
            run_ids = [f"h{seed}-{n}" for n in range(2)]
            draws = [random.Random(f"{seed}-{n}") for n in range(draw.randint(2, 6))]
            found = list(threads.map(lambda each, run_ids=run_ids: act(pool, each, run_ids), draws))
            refused += sum(each is not None for each in found)
            if seed % max(25, number // 40) == 24:
                assert wrongs(pool) == [], seed
    assert wrongs(pool) == []
    report = audit(pool)
    assert report.clean, [finding for each in report.portfolios for finding in each.findings]
    return refused


def test_random_histories_of_many_threads(books):
    assert histories(books, 200) > 20
    assert ask(books, "SELECT count(*) > 50 FROM allocations") == [(True,)]


@pytest.mark.slow
def test_ten_thousand_random_histories(books):
    assert histories(books, 10_000) > 1000


def test_one_run_id_from_many_threads_is_made_once(funded):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: allocate(funded, request("same", weights=(0.1 * n, 0.05))), range(8)))
    assert sum(not made.already for made in found) == 1
    assert len({(made.total, made.shares) for made in found}) == 1
    assert ask(funded, "SELECT count(*) FROM trade_execution_logs WHERE kind = 'transfer'")[0][0] in (2, 4)
