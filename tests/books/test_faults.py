"""Many writers at once, writers that die in the middle, and a server that throws them out."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from framework.books import reads
from framework.books.audit import audit
from framework.books.ledger import book, book_in, lock
from framework.books.lots import Lots, Mark
from framework.books.state import read_portfolio
from framework.books.valuation import value
from framework.db.backup import backup, restore
from framework.db.pool import Pool
from framework.errors import BookingError, DatabaseConflict, DatabaseError, IdempotencyConflict, InsufficientCash
from tests.books.cases import D, ask, cash, fill, open_, transfer
from tests.books.writer import entries as entries_of

WRITERS = 8

#: Ends all sessions of the database but its own; not those of the server's own workers.
CLIENTS_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@pytest.fixture
def database(new_database):
    """URL of a database of the test's own: sessions are ended here, and settings changed."""
    return new_database()


@pytest.fixture
def wide(database):
    """A pool with a connection for every writer."""
    opened = Pool(database, 1, WRITERS)
    yield opened
    opened.close()


def test_writers_on_many_connections_neither_deadlock_nor_lose_anything(wide):
    ids = [str(n) for n in range(4)]
    open_(wide, *ids)
    book(wide, [cash("100000", key=f"start{name}", portfolio_id=name) for name in ids])
    refused = Counter()

    def write(worker):
        draw = random.Random(worker)
        for n in range(40):
            source, target = draw.sample(ids, 2)
            batch = [
                transfer(draw.randint(1, 40000), source, target, f"t{worker}-{n}"),
                fill(f"f{worker}-{n}", draw.choice(["BUY", "SELL"]), 3, 7, portfolio_id=target),
                transfer(draw.randint(1, 100), target, source, f"u{worker}-{n}"),
                fill(f"shared-{n}", portfolio_id="0"),  # reported to every writer
            ]
            try:
                book(wide, batch)
            except InsufficientCash:
                refused[worker] += 1
            if n % 10 == 0:
                value(wide, source, {"AAPL": Mark(D(5))}, Lots())

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(write, range(WRITERS)))
    report = audit(wide)
    assert report.clean, report
    assert ask(wide, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]
    kinds = dict(
        ask(wide, "SELECT split_part(execution_id, '-', 1) ~ '^shared', count(*) FROM trade_execution_logs GROUP BY 1")
    )
    booked = WRITERS * 40 - sum(refused.values())
    assert kinds[False] == len(ids) + 5 * booked
    assert 0 < kinds[True] <= 40
    fills = ask(wide, "SELECT sum(CASE side WHEN 'BUY' THEN -notional ELSE notional END - fees) "
                      "FROM trade_execution_logs WHERE kind = 'trade'")[0][0]  # fmt: skip
    assert sum(each.cash for each in report.portfolios) == 400_000 + fills


def test_who_waited_for_the_lock_sees_what_it_waited_for(funded, database):
    others = Pool(database)
    with ThreadPoolExecutor(1) as thread:
        with funded.transaction() as connection:
            book_in(connection, [cash("5"), fill()])
            waiting = thread.submit(book, others, [cash("-9004", "withdrawal", key="all"), fill("f2")])
            until_somebody_waits(funded)
        assert waiting.result(10).cash == {"1": D(10000 + 5 - 1001 - 9004 - 1001)}
    others.close()
    assert read_portfolio(funded, "1").positions == {"AAPL": D(20)}
    assert audit(funded).clean


def until_somebody_waits(pool):
    deadline = time.monotonic() + 10
    while not ask(
        pool, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("commits", [True, False])
def test_one_key_in_two_portfolios_at_once_is_booked_by_one(funded, database, commits):
    others = Pool(database)

    def first():
        with funded.transaction() as connection:
            book_in(connection, [fill("same")])
            waiting = thread.submit(book, others, [fill("same", portfolio_id="2")])
            until_somebody_waits(funded)
            if not commits:
                raise ZeroDivisionError
            return waiting

    with ThreadPoolExecutor(1) as thread:
        if commits:
            with pytest.raises(IdempotencyConflict, match=r"portfolio_id 1 \(offered: 2\)"):
                first().result(10)
        else:
            with pytest.raises(ZeroDivisionError):
                first()
    others.close()
    assert ask(funded, "SELECT portfolio_id FROM trade_execution_logs WHERE execution_id = 'same'") == [
        ("1" if commits else "2",)
    ]
    assert audit(funded).clean


def test_in_the_callers_transaction_a_race_for_a_key_is_the_callers_to_repeat(funded, database):
    others = Pool(database)

    def second():
        with others.transaction() as connection:
            book_in(connection, [fill("same", portfolio_id="2")])

    with ThreadPoolExecutor(1) as thread:
        with funded.transaction() as connection:
            book_in(connection, [fill("same")])
            waiting = thread.submit(second)
            until_somebody_waits(funded)
        with pytest.raises(DatabaseConflict, match="same"):
            waiting.result(10)
    others.close()
    assert audit(funded).clean


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_a_snapshot_from_before_the_lock_is_never_used(funded, database, isolation):
    """It would not see what the lock has waited for, and the balance would forget a booking."""
    ask(funded, f"ALTER DATABASE {ask(funded, 'SELECT current_database()')[0][0]} "
                f"SET default_transaction_isolation = '{isolation}'; SELECT 1")  # fmt: skip
    others = Pool(database)
    with ThreadPoolExecutor(1) as thread:
        with funded.transaction() as connection:
            book_in(connection, [cash("5")])
            waiting = thread.submit(book, others, [cash("7", key="c2")])
            until_somebody_waits(funded)
        assert waiting.result(10).cash == {"1": D(10012)}
    with (
        pytest.raises(BookingError, match=f"was {isolation}; it has to be read committed"),
        others.transaction() as own,
    ):
        book_in(own, [cash("7", key="c3")])
    others.close()
    assert audit(funded).clean


def test_who_waits_in_vain_is_told(funded, database, monkeypatch):
    monkeypatch.setattr(reads, "LOCK_SECONDS", "0.05")
    others = Pool(database)
    with funded.transaction() as connection:
        lock(connection, ["1"])
        with pytest.raises(DatabaseError, match=r"lock_portfolios.*lock timeout"):
            book(others, [cash("5")])
    others.close()
    book(funded, [cash("5")])


def test_transfers_both_ways_wait_in_order_of_id(funded, database):
    """Whoever has the lower id first gets through; the other waits there, holding nothing that is wanted."""
    others = Pool(database)
    with ThreadPoolExecutor(2) as threads:
        with funded.transaction() as connection:
            lock(connection, ["1"])
            there = threads.submit(book, others, [transfer("1", "1", "2", "there")])
            back = threads.submit(
                book, others, [cash("5", key="c2", portfolio_id="2"), transfer("1", "2", "1", "back")]
            )
            until_somebody_waits(funded)
            assert not there.done()
            assert not back.done()
            with others.transaction() as free:
                lock(free, ["2"])
        assert {there.result(10).cash["2"], back.result(10).cash["2"]} <= {D(1), D(4), D(5)}
    others.close()
    assert audit(funded).clean


def test_writers_whose_sessions_are_ended_book_once(funded, database):
    writer = Pool(database, 1, 1)
    done = threading.Event()

    def write():
        try:
            for n in range(150):
                book(writer, [fill(f"k{n}", quantity="1", price="1", fees="0"), transfer("1", key=f"t{n}")])
        finally:
            done.set()

    with ThreadPoolExecutor(1) as thread:
        writing = thread.submit(write)
        ended = 0
        while not done.wait(0.15):
            ended += len(ask(funded, CLIENTS_END))
        writing.result()
    writer.close()
    assert ended
    assert read_portfolio(funded, "1").cash == 10000 - 300
    assert read_portfolio(funded, "1").positions == {"AAPL": D(150)}
    assert audit(funded).clean


def test_a_key_booked_twice_is_found_should_the_index_ever_fail(funded, server):
    book(funded, [fill("f1"), fill("f2")])
    admin = Pool(server.admin_url(ask(funded, "SELECT current_database()")[0][0]), 1, 1)
    ask(admin, "ALTER TABLE trade_execution_logs DROP CONSTRAINT trade_execution_logs_execution_id_key; "
               "ALTER TABLE trade_execution_logs DISABLE TRIGGER USER; "
               "UPDATE trade_execution_logs SET execution_id = 'f1' WHERE id = 3; SELECT 1")  # fmt: skip
    admin.close()
    report = audit(funded)
    assert [(each.column, each.found) for each in report.portfolios[0].findings] == [("execution_id", "f1")]
    assert report.unguarded == ("trade_execution_logs",)


def kill_and_check(books, database, rounds, seed):
    """Kill a writer at random moments; then book what it did again, and go on as if nothing had been."""
    draw = random.Random(seed)
    for name in map(str, range(rounds)):
        command = [sys.executable, str(Path(__file__).with_name("writer.py")), database, name]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "0\n"
        time.sleep(draw.uniform(0, 0.03))
        writer.kill()
        said = [0, *(int(line) for line in writer.stdout.read().split("\n")[:-1])]
        writer.wait()
        writer.stdout.close()
        until_only_we_are_connected(books)
        assert audit(books).clean
        for n in itertools.count():
            already = {entry.already for entry in book(books, entries_of(name, n)).entries}
            assert len(already) == 1, "all three or none"
            if already == {False}:
                break
        # What was told as booked is booked; of the one in flight nobody knew.
        assert n in (len(said), len(said) + 1)
    assert audit(books).clean


def until_only_we_are_connected(pool):
    deadline = time.monotonic() + 10
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while ask(pool, others):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_writer_killed_in_the_middle_leaves_whole_bookings(books, database):
    book(books, [cash("1000", key="start")])
    kill_and_check(books, database, 6, seed=1)


@pytest.mark.slow
def test_writers_killed_at_a_hundred_moments(books, database):
    book(books, [cash("1000000", key="start")])
    kill_and_check(books, database, 100, seed=2)


def test_restored_books_are_proven_guarded_and_go_on(funded, database, new_database, tmp_path):
    book(funded, [fill(), transfer("5")])
    backup(database, tmp_path / "books.dump")
    there = new_database(empty=True)
    restore(there, tmp_path / "books.dump")
    restored = Pool(there)
    report = audit(restored)
    assert report.clean, report
    assert report == audit(funded)
    assert book(restored, [fill()]).entries[0].already
    assert book(restored, [fill("f2")]).cash == {"1": D(10000 - 5 - 2 * 1001)}
    with pytest.raises(DatabaseError, match="append-only"):
        ask(restored, "DELETE FROM cash_equity_book")
    assert audit(restored).clean
    restored.close()


def test_a_role_that_may_only_add_can_book_and_do_no_more(funded, database, server):
    """The set-up of docs/decisions/ledger.md for those who want the engine's role to own nothing."""
    admin = Pool(server.admin_url(ask(funded, "SELECT current_database()")[0][0]), 1, 1)
    books = "trade_execution_logs, cash_equity_book, positions_book, pnl_book"
    ask(admin, "CREATE ROLE may_only_add LOGIN", fetch=False)
    rights = "SELECT, INSERT, UPDATE, DELETE"
    ask(admin, f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO may_only_add", fetch=False)
    ask(admin, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO may_only_add", fetch=False)
    ask(admin, f"REVOKE UPDATE, DELETE ON {books} FROM may_only_add", fetch=False)
    own = Pool(database.replace("engine_app", "may_only_add"))
    try:
        open_(own, "3")
        book(own, [fill(), transfer("5", target="3")])
        value(own, "3", {}, Lots())
        assert audit(own).clean
        for statement in ("UPDATE {} SET portfolio_id = '2'", "TRUNCATE {}", "ALTER TABLE {} DISABLE TRIGGER USER"):
            with pytest.raises(DatabaseError, match=r"permission denied|must be owner"):
                ask(own, statement.format("cash_equity_book"))
        with pytest.raises(DatabaseError, match="permission denied"):
            ask(own, "GRANT UPDATE ON cash_equity_book TO may_only_add; UPDATE cash_equity_book SET notional = 0")
    finally:
        own.close()
        ask(admin, "DROP OWNED BY may_only_add; DROP ROLE may_only_add", fetch=False)
        admin.close()
