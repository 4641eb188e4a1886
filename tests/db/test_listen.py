"""Notifications: what wakes the engines, and a listener that survives the server's restarts."""

from __future__ import annotations

import threading
import time

import pytest

from framework.db.listen import LOST, Listener, Notification
from framework.db.pool import Pool
from framework.db.scratch import scratch_schema
from framework.errors import DatabaseUnavailable

BAR = (
    "INSERT INTO market_data (source, ticker, bar_interval, timestamp, open_price, high_price, low_price, close_price, "
    "volume) SELECT %s, ticker, %s, '2024-01-02'::timestamptz + day * interval '1 day', 1, 1, 1, 1, 0 "
    "FROM unnest(%s::text[]) AS ticker, generate_series(1, 50) AS day ON CONFLICT DO NOTHING"
)


def run(pool: Pool, statement: str, *values: object) -> None:
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)


def drain(listener: Listener, seconds: float = 0.3) -> list[Notification]:
    return [each for _ in range(3) for each in listener.wait(seconds / 3)]


def test_new_and_corrected_bars_are_told_once_per_source_and_interval(database, pool):
    with Listener(database, ["engine_bars"]) as listener:
        run(pool, BAR, "a source", "1d", ["A", "B", "C"])
        assert listener.wait(10) == (Notification("engine_bars", "a source 1d"),)
        run(pool, BAR, "a source", "1d", ["A"])
        assert drain(listener) == [], "nothing new came in"
        run(pool, "UPDATE market_data SET volume = 1 WHERE ticker = 'B'")
        assert listener.wait(10) == (Notification("engine_bars", "a source 1d"),)
        with pool.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(BAR, ("x", "1min", ["A"]))
            cursor.execute(BAR, ("x", "1min", ["B"]))
            cursor.execute(BAR, ("y", "1h", ["B"]))
            assert listener.wait(0.1) == (), "not before the commit"
        assert sorted(each.payload for each in drain(listener)) == ["x 1min", "y 1h"]


def test_commands_and_halts_wake(database, pool):
    run(pool, "INSERT INTO portfolios VALUES ('1', 'paper', 'paper', 'A', 'USD')")
    with Listener(database, ["engine_commands", "engine_bars"]) as listener:
        run(pool, "INSERT INTO halts (portfolio_id, reason, halted_by) VALUES (NULL, 'x', 'ann')")
        assert listener.wait(10) == (Notification("engine_commands"),)
        run(
            pool,
            "INSERT INTO commands (kind, portfolio_id, asked_by, take_until) "
            "SELECT 'halt', '1', 'ann', now() FROM generate_series(1, 9)",
        )
        assert listener.wait(10) == (Notification("engine_commands"),)


def test_what_arrives_between_two_waits_is_not_missed(database, pool):
    with Listener(database, ["c"]) as listener:
        run(pool, "SELECT pg_notify('c', '1')")
        run(pool, "SELECT pg_notify('c', '2'), pg_notify('other', '3')")
        time.sleep(0.1)
        assert drain(listener) == [Notification("c", "1"), Notification("c", "2")]


def test_it_works_in_a_scratch_schema(database):
    with scratch_schema(database, "replay_x", 1, 2) as scratch, Listener(scratch.url, ["engine_bars"]) as listener:
        run(scratch.pool, BAR, "x", "1d", ["A"])
        assert listener.wait(10) == (Notification("engine_bars", "x 1d"),)


def test_waiting_lasts_as_long_as_asked(database):
    with Listener(database, ["c"]) as listener:
        for seconds in (0, 0.3):
            began = time.monotonic()
            assert listener.wait(seconds) == ()
            assert seconds <= time.monotonic() - began < seconds + 0.5


def test_close_wakes_a_waiting_thread_and_may_be_called_by_many(database):
    listener = Listener(database, ["c"])
    ended: list[float] = []
    thread = threading.Thread(target=lambda: (listener.wait(60), ended.append(time.monotonic())))
    thread.start()
    time.sleep(0.1)
    began = time.monotonic()
    closers = [threading.Thread(target=listener.close) for _ in range(5)]
    for each in closers:
        each.start()
    for each in [*closers, thread]:
        each.join(10)
    assert ended[0] - began < 1
    assert listener.wait(60) == ()
    listener.close()


def test_a_killed_session_is_mended_and_says_that_something_may_be_lost(database, pool):
    with Listener(database, ["c"]) as listener:
        run(pool, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND %s", True)
        assert listener.wait(10) == (LOST,)
        run(pool, "SELECT pg_notify('c', 'here again')")
        assert listener.wait(10) == (Notification("c", "here again"),)


def test_whatever_is_sent_while_sessions_die_is_received_or_said_to_be_lost(database, pool):
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND %s"
    seen: list[Notification] = []
    with Listener(database, ["c"]) as listener:
        for number in range(60):
            if number % 6 == 3:
                run(pool, kill, True)
            run(pool, "SELECT pg_notify('c', %s)", str(number))
            seen += listener.wait(0.01)
        while found := listener.wait(1):
            seen += found
    last, is_told = -1, False
    for each in seen:
        if each == LOST:
            is_told = True
            continue
        assert int(each.payload) == last + 1 or is_told, f"{last + 1} is missing, and nothing said so: {seen}"
        last, is_told = int(each.payload), False
    assert last == 59 or is_told
    assert seen.count(LOST) >= 2, "of ten kills some hit a session that was being mended, not all"


def test_a_restart_of_the_server_is_survived(server, database, pool):
    with Listener(database, ["c"]) as listener:
        server.stop()
        began = time.monotonic()
        assert listener.wait(1.0) == (), "a server that is away is no reason to return early, or late"
        assert 1.0 <= time.monotonic() - began < 1.7
        starter = threading.Timer(0.3, server.start)
        starter.start()
        assert listener.wait(30) == (LOST,)
        starter.join()
        run(pool, "SELECT pg_notify('c', 'here again')")
        assert listener.wait(10) == (Notification("c", "here again"),)


def test_close_while_the_server_is_away(server, database):
    listener = Listener(database, ["c"])
    server.stop()
    try:
        thread = threading.Thread(target=listener.wait, args=(60,))
        thread.start()
        time.sleep(0.5)
        listener.close()
        thread.join(10)
        assert not thread.is_alive()
    finally:
        server.start()


def test_a_server_that_is_not_there_is_an_error_without_the_password():
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1/books") as error:
        Listener("postgresql://me:hunter2@127.0.0.1:1/books", ["c"])
    assert "hunter2" not in str(error.value)
