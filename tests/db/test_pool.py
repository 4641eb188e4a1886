"""The pool: fairness, repair, counting; against a real server."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

import psycopg2
import pytest

from framework.db import pool as pool_module
from framework.db.pool import Pool
from framework.db.retry import retry
from framework.errors import DatabaseError, DatabaseUnavailable, PoolClosed, PoolTimeout


def one(connection, statement="SELECT 1"):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def backend(connection):
    return connection.info.backend_pid


def kill(database, *pids):
    """End sessions on the server, as an administrator would."""
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        for pid in pids:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    connection.close()


def run_threads(count, work):
    threads = [threading.Thread(target=work, args=(k,), name=f"portfolio-{k}") for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_200_threads_over_6_connections_are_served_in_order_of_arrival(database):
    pool = Pool(database, 1, 6, timeout_seconds=60)
    held = [pool.get_connection() for _ in range(6)]
    served: list[int] = []
    backends: Counter[int] = Counter()
    lock = threading.Lock()

    def work(number):
        connection = pool.get_connection()
        with lock:
            served.append(number)
        one(connection)
        backends[backend(connection)] += 1
        pool.release_connection(connection)

    threads = []
    for number in range(200):
        thread = threading.Thread(target=work, args=(number,))
        thread.start()
        threads.append(thread)
        while pool.stats().waiting != number + 1:  # the next one arrives when this one stands in the queue
            time.sleep(0.0005)
    # One slot only goes round, so that the order in which threads note themselves is that in which they were served.
    pool.release_connection(held[0])
    for thread in threads:
        thread.join(60)
    assert served == list(range(200))
    for connection in held[1:]:
        pool.release_connection(connection)
    stats = pool.stats()
    assert (stats.opened, stats.in_use, stats.waiting, stats.waits, stats.timeouts) == (6, 0, 0, 200, 0)
    assert sum(backends.values()) == 200
    pool.close()


def test_200_busy_threads_open_at_most_6_connections_and_none_starves(database):
    pool = Pool(database, 1, 6, timeout_seconds=60)
    counts: Counter[int] = Counter()

    def work(number):
        for _ in range(10):
            with pool.connection() as connection:
                counts[number] += one(connection, "SELECT 1 FROM pg_sleep(0.0002)")

    run_threads(200, work)
    assert counts == dict.fromkeys(range(200), 10)
    stats = pool.stats()
    assert stats.opened <= 6
    assert (stats.in_use, stats.waiting) == (0, 0)
    assert stats.idle == stats.opened, "what was opened is kept for the next burst"
    pool.close()


def test_a_newcomer_never_overtakes_a_waiting_thread(database):
    pool = Pool(database, 1, 1)
    order: list[str] = []
    first = pool.get_connection()

    def waiter():
        with pool.connection():
            order.append("waiter")

    thread = threading.Thread(target=waiter)
    thread.start()
    while not pool.stats().waiting:
        time.sleep(0.001)
    pool.release_connection(first)
    with pool.connection():
        order.append("newcomer")
    thread.join()
    assert order == ["waiter", "newcomer"]
    pool.close()


def test_waiting_in_vain_names_the_holders(database):
    pool = Pool(database, 1, 2, timeout_seconds=0.2)
    ready, done = threading.Barrier(3), threading.Event()

    def hold():
        with pool.connection():
            ready.wait()
            done.wait()

    threads = [threading.Thread(target=hold, name=name) for name in ("portfolio-7", "portfolio-9")]
    for thread in threads:
        thread.start()
    ready.wait()
    with pytest.raises(PoolTimeout, match=r"0\.2 s.*portfolio-\d.*portfolio-\d") as error:
        pool.get_connection()
    assert "database.pool.max" in str(error.value)
    done.set()
    for thread in threads:
        thread.join()
    with pool.connection() as connection:
        assert one(connection) == 1
    assert (pool.stats().timeouts, pool.stats().waiting) == (1, 0)
    pool.close()


def test_a_killed_idle_connection_is_replaced_unseen(pool, database):
    held = [pool.get_connection() for _ in range(3)]
    pids = [backend(connection) for connection in held]
    for connection in held:
        pool.release_connection(connection)
    kill(database, *pids)
    for _ in range(5):
        with pool.connection() as connection:
            assert one(connection) == 1
            assert backend(connection) not in pids
    stats = pool.stats()
    assert (stats.broken, stats.in_use, stats.idle) == (3, 0, 1)


def test_a_connection_killed_at_work_costs_one_error_and_no_slot(database):
    pool = Pool(database, 1, 2)
    for _ in range(5):
        with pytest.raises(DatabaseUnavailable, match="lost"), pool.connection() as connection:
            one(connection, f"SELECT pg_terminate_backend({backend(connection)})")
    assert (pool.stats().broken, pool.stats().in_use, pool.stats().idle) == (5, 0, 0)
    with pool.connection() as first, pool.connection() as second:
        assert one(first) + one(second) == 2
    pool.close()


def test_killed_in_the_middle_the_whole_work_is_done_again(pool, database):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE work (attempt int)")
    attempts: list[int] = []

    def work():
        with pool.transaction() as connection, connection.cursor() as cursor:
            attempts.append(backend(connection))
            cursor.execute("INSERT INTO work VALUES (%s)", [len(attempts)])
            if len(attempts) < 3:
                kill(database, backend(connection))
            cursor.execute("SELECT array_agg(attempt) FROM work")
            return cursor.fetchone()[0]

    assert retry(work, first_wait_seconds=0.001) == [3], "rows of the lost attempts are gone"
    assert len(set(attempts)) == 3


def test_retrying_ends_at_the_deadline_and_says_how_often(database):
    pool = Pool(database)

    def work():
        with pool.connection() as connection:
            kill(database, backend(connection))
            one(connection)

    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match=r"tried \d+ times in 0\.\d s"):
        retry(work, deadline_seconds=0.5)
    assert time.monotonic() - started < 2
    pool.close()


def test_retrying_stops_when_told_to_and_never_for_other_errors():
    calls: list[int] = []

    def down():
        calls.append(1)
        raise DatabaseUnavailable("down")

    stop = threading.Event()
    stop.set()
    with pytest.raises(DatabaseUnavailable, match="tried 1 times"):
        retry(down, stop=stop)

    def wrong():
        calls.append(2)
        raise DatabaseError("no such column")

    with pytest.raises(DatabaseError, match="column"):
        retry(wrong)
    assert calls == [1, 2]


def test_a_deadlock_is_worked_off_by_doing_one_side_again(pool):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE two AS SELECT k, 0 AS n FROM generate_series(1, 2) AS k")
    met = threading.Barrier(2)
    attempts: Counter[int] = Counter()

    def work(first):
        def once():
            with pool.transaction() as connection, connection.cursor() as cursor:
                attempts[first] += 1
                cursor.execute("UPDATE two SET n = n + 1 WHERE k = %s", [first])
                if attempts[first] == 1:
                    met.wait()
                cursor.execute("UPDATE two SET n = n + 1 WHERE k = %s", [3 - first])

        retry(once, first_wait_seconds=0.01)

    threads = [threading.Thread(target=work, args=(k,)) for k in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with pool.connection() as connection:
        assert one(connection, "SELECT array_agg(n) FROM two") == [2, 2]
    assert sum(attempts.values()) == 3


def test_a_connection_that_comes_back_in_a_transaction_is_rolled_back_and_logged(pool, caplog):
    connection = pool.get_connection()
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("CREATE TABLE half_done ()")
    with caplog.at_level(logging.WARNING):
        pool.release_connection(connection)
    assert "MainThread" in caplog.text
    assert pool.stats().rolled_back == 1
    with pool.connection() as connection:
        assert one(connection, "SELECT to_regclass('half_done') IS NULL")
        assert pool.stats().opened == 1, "it was clean enough to be used again"


def test_a_connection_taken_out_of_autocommit_does_not_reach_the_next_user(pool):
    connection = pool.get_connection()
    connection.autocommit = False
    one(connection)
    pool.release_connection(connection)
    with pool.connection() as connection:
        assert connection.autocommit


def test_releasing_twice_or_a_foreign_connection_is_an_error(pool, database):
    connection = pool.get_connection()
    pool.release_connection(connection)
    with pytest.raises(DatabaseError, match="not handed out"):
        pool.release_connection(connection)
    foreign = psycopg2.connect(database)
    with pytest.raises(DatabaseError, match="not handed out"):
        pool.release_connection(foreign)
    foreign.close()
    assert pool.stats().in_use == 0


def test_transactions_commit_roll_back_and_can_be_read_only(pool):
    with pool.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (x int)")
    with pytest.raises(ZeroDivisionError), pool.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1)"), 1 / 0
    with pool.transaction(read_only=True, isolation="repeatable read") as connection:
        assert one(connection, "SELECT count(*) FROM t") == 0
        assert one(connection, "SHOW transaction_isolation") == "repeatable read"
        with pool.transaction() as other, other.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (2)")
        assert one(connection, "SELECT count(*) FROM t") == 0, "it sees one moment"
    with pytest.raises(DatabaseError, match="read-only"), pool.transaction(read_only=True) as connection:
        one(connection, "INSERT INTO t VALUES (1) RETURNING 1")
    with pytest.raises(ValueError, match="repeatable read"), pool.transaction(isolation="dirty"):
        pass
    assert (pool.stats().in_use, pool.stats().rolled_back) == (0, 0)


def test_a_commit_that_became_a_rollback_is_an_error(pool):
    with (
        pytest.raises(DatabaseError, match="rolled back instead of committed"),
        pool.transaction() as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.Error),
    ):
        cursor.execute("SELECT no_such_column")
    with pool.connection() as connection:
        assert one(connection) == 1


def test_connections_beyond_the_minimum_close_after_the_idle_time(database):
    pool = Pool(database, 1, 4, idle_seconds=0.2)
    held = [pool.get_connection() for _ in range(4)]
    for connection in held:
        pool.release_connection(connection)
    assert pool.stats().idle == 4
    time.sleep(0.3)
    with pool.connection():
        pass
    assert pool.stats().idle == 1
    pool.close()


def test_closing_wakes_those_who_wait_and_closes_what_comes_back(database):
    pool = Pool(database, 1, 1)
    held = pool.get_connection()
    caught: list[Exception] = []

    def wait():
        try:
            pool.get_connection()
        except PoolClosed as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not pool.stats().waiting:
        time.sleep(0.001)
    pool.close()
    thread.join()
    assert len(caught) == 1
    assert one(held) == 1, "who holds a connection may finish"
    pool.release_connection(held)
    assert held.closed
    with pytest.raises(PoolClosed):
        pool.get_connection()
    pool.close()


def test_a_server_that_is_down_is_reported_without_the_password():
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1/books") as error:
        Pool("postgresql://me:s3cret-word@127.0.0.1:1/books")
    assert "s3cret-word" not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize(("low", "high"), [(0, 1), (2, 1), (-1, 5)])
def test_impossible_sizes_are_refused(low, high):
    with pytest.raises(ValueError, match="1 <= min <= max"):
        Pool("postgresql://localhost/x", low, high)


def test_ctrl_c_while_waiting_leaves_the_queue(database, monkeypatch):
    pool = Pool(database, 1, 1)
    held = pool.get_connection()

    class Interrupted:
        def acquire(self, timeout=None):
            if timeout is not None:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pool_module, "_Waiter", lambda real=pool_module._Waiter: real(Interrupted()))
        with pytest.raises(KeyboardInterrupt):
            pool.get_connection()
    assert pool.stats().waiting == 0
    pool.release_connection(held)
    with pool.connection() as connection:
        assert one(connection) == 1
    pool.close()


def test_nothing_leaks_when_every_connection_is_killed_again_and_again(database):
    pool = Pool(database, 2, 6, timeout_seconds=30)
    stop = threading.Event()
    done: Counter[str] = Counter()

    def killer():
        with psycopg2.connect(database) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND datname = current_database() "
                    "AND backend_type = 'client backend' AND random() < 0.3"
                )
                time.sleep(0.01)
        connection.close()

    def work(number):
        for _ in range(20):
            retry(query, first_wait_seconds=0.002)
            done["done"] += 1

    def query():
        with pool.transaction() as connection:
            one(connection, "SELECT 1 FROM pg_sleep(0.001)")

    murderer = threading.Thread(target=killer)
    murderer.start()
    try:
        run_threads(30, work)
    finally:
        stop.set()
        murderer.join()
    assert done["done"] == 600
    stats = pool.stats()
    assert (stats.in_use, stats.waiting) == (0, 0)
    assert stats.broken > 0
    held = [pool.get_connection() for _ in range(6)]
    assert all(one(connection) == 1 for connection in held), "all six slots are still there"
    for connection in held:
        pool.release_connection(connection)
    pool.close()
