"""The pace of requests: of threads, and of programs that share a key and a database."""

from __future__ import annotations

import multiprocessing
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.data.rate_limit import Pace, RateLimit
from framework.data.shared_limit import SharedRateLimit
from framework.db.pool import Pool
from framework.errors import DatabaseUnavailable


def take_in_threads(limit, threads, each):
    taken: list[float] = []

    def take():
        for _ in range(each):
            limit.take()
            taken.append(time.monotonic())

    running = [threading.Thread(target=take) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sorted(taken)


def in_a_process(url, per_minute, count, queue):
    pool = Pool(url, 1, 2)
    limit = SharedRateLimit(pool, "key", per_minute)
    queue.put(take_in_threads(limit, 2, count // 2))
    pool.close()


def row(pool):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), extract(epoch FROM max(free_at) - clock_timestamp()) FROM rate_limits")
        return cursor.fetchone()


@given(st.integers(1, 100_000))
def test_no_minute_has_more_places_than_allowed(per_minute):
    pace = Pace(per_minute)
    # What is sent within 60 s has places within these and the time for which a place stays good.
    assert (60 + pace.burst_seconds) / pace.pause_seconds <= per_minute + 1e-6


def test_threads_keep_to_the_pace():
    taken = take_in_threads(RateLimit(1200), 4, 15)
    # 20 at once, then one each 60/1181 s: the first minute has at most 20 + 1180.
    assert len([at for at in taken if at - taken[0] < 0.04]) <= 21
    assert taken[-1] - taken[0] >= (60 - 20) * 60 / 1200


def test_processes_that_use_one_key_keep_to_one_pace(database, pool):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=in_a_process, args=(database, 1200, 30, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    taken = sorted(at for _ in workers for at in queue.get(timeout=60))
    for worker in workers:
        worker.join()
    assert len(taken) == 90
    pause = Pace(1200).pause_seconds
    for first in range(90 - 40):
        assert taken[first + 40] - taken[first] >= (40 - 20 - 1) * pause, "the places of all lie on one line"
    assert row(pool)[0] == 1


def test_a_hold_of_one_holds_all(pool):
    one, other = (SharedRateLimit(pool, "key", 6000) for _ in range(2))
    other.take()
    began = time.monotonic()
    one.hold_back(0.6)
    other._left = 0  # what it had reserved before may still go
    other.take()
    assert time.monotonic() - began >= 0.6


def test_places_that_nobody_took_are_lost(pool):
    limit = SharedRateLimit(pool, "key", 600)
    limit.take()
    limit._next -= 3600.0  # the program slept
    began = time.monotonic()
    taken = take_in_threads(limit, 1, 12)
    assert taken[-1] - began >= (12 - 10) * Pace(600).pause_seconds * 0.9


def test_a_clock_that_was_set_back_holds_nobody_for_long(pool):
    SharedRateLimit(pool, "key", 60).take()
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE rate_limits SET free_at = clock_timestamp() + interval '3 hours'")
    assert SharedRateLimit(pool, "key", 60)._execute_take(1) == pytest.approx(120, abs=2)


def test_requests_that_were_made_before_count(pool):
    limit = SharedRateLimit(pool, "key", 600)
    limit.charge(25)
    began = time.monotonic()
    limit.take()
    assert time.monotonic() - began >= (25 - 9 - 1) * Pace(600).pause_seconds * 0.9


def test_threads_that_wait_while_the_database_is_away_end_with_the_one_that_tried(pool, monkeypatch):
    """Each trying for as long again, eight of them took four minutes."""
    limit, failures = SharedRateLimit(pool, "key", 600), []

    def away(count):
        time.sleep(0.3)
        raise DatabaseUnavailable("away")

    def take():
        try:
            limit.take()
        except DatabaseUnavailable as error:
            failures.append(str(error))

    with monkeypatch.context() as patch:
        patch.setattr(limit, "_execute_take", away)
        patch.setattr("framework.data.shared_limit.retry", lambda work: work())
        began = time.monotonic()
        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == ["away"] * 8
    assert time.monotonic() - began < 1.5
    limit.take()  # it is back
