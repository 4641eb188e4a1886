"""Leases: one holder at a time, whatever the others do, and no writing after a takeover."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from framework.db.pool import Pool
from framework.db.queries import fetch_one
from framework.engine.leases import Leases, new_holder, portfolio_lease, require_lease
from framework.errors import DatabaseUnavailable, LeaseLost
from tests.books.cases import ask

NAMES = [portfolio_lease(str(number)) for number in range(20)]
TTL, SEND = 1.5, 0.5


def may_write(pool: Pool, lease) -> bool:
    try:
        with pool.transaction() as connection:
            require_lease(connection, lease)
    except LeaseLost:
        return False
    return True


def fast(pool: Pool, holder: str) -> Leases:
    return Leases(pool, holder, TTL, SEND)


def test_the_first_takes_it_and_others_do_not(pool):
    first, second = Leases(pool, "first"), Leases(pool, "second")
    taken = first.acquire(["portfolio:1"])
    assert {name: lease.epoch for name, lease in taken.items()} == {"portfolio:1": 1}
    assert second.acquire(["portfolio:1", "portfolio:2"]).keys() == {"portfolio:2"}
    assert may_write(pool, taken["portfolio:1"])
    assert first.held == taken


def test_the_same_holder_gets_a_new_epoch_and_is_fenced_from_its_old_one(pool):
    leases = Leases(pool, "engine")
    old = leases.acquire(["portfolio:1"])["portfolio:1"]
    new = leases.acquire(["portfolio:1"])["portfolio:1"]
    assert (old.epoch, new.epoch) == (1, 2)
    assert not may_write(pool, old)
    assert may_write(pool, new)


def test_a_released_lease_is_free_at_once_and_its_epoch_goes_on(pool):
    first, second = Leases(pool, "first"), Leases(pool, "second")
    old = first.acquire(["a", "b"])["a"]
    first.release(["a", "nothing"])
    assert first.held.keys() == {"b"}
    assert not may_write(pool, old)
    assert second.acquire(["a", "b"])["a"].epoch == 2
    assert first.renew() == ()


def test_an_expired_lease_is_taken_after_the_send_timeout_not_before(pool):
    first, second = fast(pool, "first"), fast(pool, "second")
    lease = first.acquire(["a"])["a"]
    expiry = time.monotonic() + TTL
    refused_at = 0.0
    while not (taken := second.acquire(["a"])):
        if not refused_at and not may_write(pool, lease):
            refused_at = time.monotonic()
        time.sleep(0.01)
    assert refused_at <= expiry - SEND + 0.2
    assert expiry + SEND - 0.05 <= time.monotonic() <= expiry + SEND + 2
    assert taken["a"].epoch == 2
    assert first.renew() == (lease,)
    assert first.held == {}


def test_renewing_keeps_it_and_one_statement_is_enough(pool):
    first, second = fast(pool, "first"), fast(pool, "second")
    lease = first.acquire(NAMES)[NAMES[0]]
    for _ in range(6):
        time.sleep(TTL / 3)
        assert first.renew() == ()
        assert second.acquire(NAMES) == {}
    assert may_write(pool, lease)


def test_an_expired_lease_that_nobody_took_is_kept_by_renewing(pool):
    leases = fast(pool, "engine")
    lease = leases.acquire(["a"])["a"]
    ask(pool, "UPDATE leases SET expires_at = clock_timestamp() - interval '1 hour' RETURNING 1")
    assert not may_write(pool, lease)
    assert leases.renew() == ()
    assert may_write(pool, lease)


def test_after_the_clock_stepped_back_a_dead_engine_does_not_block_for_an_hour(pool):
    first, second = Leases(pool, "first", 3 * TTL, SEND), fast(pool, "second")
    lease = first.acquire(["a"])["a"]
    ask(pool, "UPDATE leases SET expires_at = expires_at + interval '1 hour' RETURNING 1")
    began = time.monotonic()
    assert second.acquire(["a"]) == {}
    assert may_write(pool, lease)
    assert first.renew() == ()
    while not second.acquire(["a"]):
        time.sleep(0.05)
    assert 3 * TTL + SEND - 0.1 <= time.monotonic() - began <= 3 * TTL + SEND + 2


def test_eight_engines_share_the_names_and_no_name_has_two_holders(database):
    pool = Pool(database, max=8)
    barrier = threading.Barrier(8)

    def claim(number: int):
        leases = Leases(pool, f"engine-{number}")
        barrier.wait()
        taken: dict = {}
        for name in NAMES[number:] + NAMES[:number]:
            taken |= leases.acquire([name])
        return leases.acquire(NAMES), taken

    with ThreadPoolExecutor(8) as threads:
        claims = list(threads.map(claim, range(8)))
    pool.close()
    names = [name for _, taken in claims for name in taken]
    assert sorted(names) == sorted(NAMES)


def test_a_takeover_waits_for_a_guarded_transaction_and_a_renewal_does_not(database):
    pool = Pool(database)
    first, second = fast(pool, "first"), fast(pool, "second")
    lease = first.acquire(["a"])["a"]
    with pool.transaction() as connection:
        require_lease(connection, lease)
        assert first.renew() == ()
        ask(pool, "UPDATE leases SET expires_at = clock_timestamp() - interval '1 hour' RETURNING 1")
        assert second.acquire(["a"]) == {}
    assert second.acquire(["a"])["a"].epoch == 2
    pool.close()


def test_a_transaction_that_falls_silent_after_the_guard_is_ended_by_the_server(pool):
    first, second = fast(pool, "first"), fast(pool, "second")
    lease = first.acquire(["a"])["a"]
    with pytest.raises(DatabaseUnavailable), pool.transaction() as connection:  # noqa: PT012
        require_lease(connection, lease)
        time.sleep(3 * SEND)
        fetch_one(connection, "books_id")
    time.sleep(TTL)
    assert second.acquire(["a"]).keys() == {"a"}


# An engine that renews and writes as fast as it can, and says when it has lost its lease.
WRITER = """
import sys
from framework.db.pool import Pool
from framework.engine.leases import Leases, require_lease
from framework.errors import DatabaseUnavailable, LeaseLost

pool = Pool(sys.argv[1])
leases = Leases(pool, "paused", float(sys.argv[2]), float(sys.argv[3]))
lease = leases.acquire(["a"])["a"]
written = 0
while leases.held:
    try:
        with pool.transaction() as connection:
            require_lease(connection, lease)
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO writes (epoch) VALUES (%s)", [lease.epoch])
        written += 1
        if written == 1:
            print("writes", flush=True)
    except (LeaseLost, DatabaseUnavailable):
        pass  # the latter where it was paused inside a transaction, which the server has ended
    leases.renew()
print("lost", flush=True)
"""


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended after the test, however it ends."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_a_paused_engine_cannot_write_after_another_took_over(database, pool, running):
    ask(pool, "CREATE TABLE writes (id bigint GENERATED ALWAYS AS IDENTITY, epoch bigint)", fetch=False)
    arguments = [sys.executable, "-c", WRITER, database, str(TTL), str(SEND)]
    epochs = []
    for _ in range(4):
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "writes\n"
        time.sleep(random.uniform(0.05, 0.3))
        process.send_signal(signal.SIGSTOP)
        second = fast(pool, "second")
        while not (taken := second.acquire(["a"])):
            time.sleep(0.01)
        epochs.append(taken["a"].epoch)
        ask(pool, "INSERT INTO writes (epoch) VALUES (%s)", taken["a"].epoch, fetch=False)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=30)[0] == "lost\n"
        assert process.returncode == 0
        second.release(["a"])
    written = [epoch for (epoch,) in ask(pool, "SELECT epoch FROM writes ORDER BY id")]
    assert written == sorted(written), "an older epoch wrote after a newer one"
    assert epochs == [2, 4, 6, 8]
    assert set(written) == set(range(1, 9))


def test_the_guard_sets_nothing_on_the_session(pool):
    lease = Leases(pool, "engine").acquire(["a"])["a"]
    assert may_write(pool, lease)
    assert ask(pool, "SHOW idle_in_transaction_session_timeout") == [("0",)]


def test_a_lease_too_short_to_write_in_is_refused(pool):
    with pytest.raises(ValueError, match=r"ttl_seconds was 2 and send_timeout_seconds 1; allowed: 0 < 2 x"):
        Leases(pool, "x", 2, 1)


def test_holder_names_are_never_the_same():
    assert len({new_holder() for _ in range(100)}) == 100
