"""The engine's clocks: who waits gets every moment, nobody waits for ever, and time stands still while one works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from framework.engine.clock import Clock, RealClock, SimulatedClock

START = datetime(2010, 1, 4, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
#: No wait of these tests takes as long; one that does is a clock that spins or sleeps for ever.
PATIENCE = 10.0


@contextmanager
def living(clock: Clock, *works: Callable[[], object]) -> Iterator[list[threading.Thread]]:
    """Threads that live by a clock, until the block ends; the clock is stopped if one is still there then."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield threads
        assert ended(*threads), "a thread waits for ever"
    except BaseException:
        # From a thread of its own: one that spins under the clock's lock must not hold this one as well.
        threading.Thread(target=clock.stop, daemon=True).start()
        raise


def ended(*threads: threading.Thread, seconds: float = PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def walker(clock: Clock, step: timedelta, seen: list[datetime]) -> Callable[[], None]:
    """Goes from moment to moment until the clock is over, noting each that it lives at."""
    sleeper = clock.sleeper()

    def walk() -> None:
        while True:
            sleeper.wait(clock.now() + step)
            if clock.is_over:
                break
            seen.append(clock.now())
        sleeper.close()

    return walk


def waiter(clock: Clock, until: datetime | None, seen: list[datetime]) -> tuple[Callable[[], None], Callable[[], None]]:
    """Waits once, notes when that ends, and lives by the clock no more; with what wakes it."""
    sleeper = clock.sleeper()

    def wait() -> None:
        sleeper.wait(until)
        seen.append(clock.now())
        sleeper.close()

    return wait, sleeper.wake


# --- simulated -----------------------------------------------------------------------------------------------------


def test_sleepers_of_different_steps_each_live_at_all_of_their_own_moments():
    clock = SimulatedClock(START, START + 30 * DAY)
    steps = (DAY, 7 * HOUR, 7 * HOUR, timedelta(minutes=37))
    seen = [[] for _ in steps]
    with living(clock, *(walker(clock, step, found) for step, found in zip(steps, seen, strict=True))):
        pass
    for step, found in zip(steps, seen, strict=True):
        assert found == [START + n * step for n in range(1, 30 * DAY // step + 1)]
    assert clock.is_over
    assert clock.now() == START + 30 * DAY


def test_many_at_one_moment():
    clock, seen = SimulatedClock(START, START + DAY), [[] for _ in range(30)]
    with living(clock, *(walker(clock, HOUR, found) for found in seen)):
        pass
    assert seen == [[START + n * HOUR for n in range(1, 25)]] * 30


def test_one_whose_moment_has_come_is_waited_for_though_it_has_not_begun_to_work():
    # Both are due now. The second must not be able to go on for ever before the first has even noticed.
    clock, first, second = SimulatedClock(START, START + DAY), [], []
    slow = clock.sleeper()

    def lazy():
        slow.wait(START + HOUR)
        time.sleep(0.05)
        first.append(clock.now())
        slow.wait(START + 2 * HOUR)
        first.append(clock.now())
        slow.close()

    with living(clock, lazy, walker(clock, timedelta(minutes=10), second)):
        pass
    assert first == [START + HOUR, START + 2 * HOUR]
    assert second == [START + n * timedelta(minutes=10) for n in range(1, 145)]


def test_a_moment_that_has_gone_by_is_no_wait():
    clock, seen = SimulatedClock(START, START + DAY), []
    for until in (START, START - DAY):
        work, _ = waiter(clock, until, seen)
        with living(clock, work):
            pass
    assert seen == [START, START]
    assert not clock.is_over


def test_time_stands_still_while_one_works():
    clock, seen = SimulatedClock(START, START + DAY), []
    worker = clock.sleeper()
    work, _ = waiter(clock, START + HOUR, seen)
    with living(clock, work) as threads:
        assert not ended(*threads, seconds=0.1)
        assert (seen, clock.now()) == ([], START)
        worker.close()
    assert seen == [START + HOUR]


def test_time_stands_still_while_one_waits_for_somebody_outside():
    clock, seen, woken = SimulatedClock(START, START + DAY), [], []
    work, _ = waiter(clock, START + HOUR, seen)
    other, wake = waiter(clock, None, woken)
    with living(clock, work, other) as threads:
        assert not ended(*threads, seconds=0.1)
        assert (seen, woken, clock.now()) == ([], [], START)
        wake()
    assert woken == [START]
    assert seen == [START + HOUR]


def test_who_waits_for_nothing_alone_waits_until_it_is_woken_or_the_clock_stopped():
    clock, seen = SimulatedClock(START, START + DAY), []
    work, _ = waiter(clock, None, seen)
    with living(clock, work) as threads:
        assert not ended(*threads, seconds=0.1)
        assert not clock.is_over
        clock.stop()
    assert seen == [START]
    assert clock.is_over


def test_one_is_woken_before_its_moment_and_another_is_not():
    clock, seen, others = SimulatedClock(START, START + DAY), [], []
    busy = clock.sleeper()
    work, wake = waiter(clock, START + HOUR, seen)
    other, _ = waiter(clock, START + 2 * HOUR, others)
    with living(clock, work, other) as (first, second):
        wake()
        assert ended(first)
        assert seen == [START]
        assert not ended(second, seconds=0.05)
        busy.close()
    assert others == [START + 2 * HOUR]


def test_who_is_woken_while_it_works_does_not_sleep_the_next_time():
    clock, seen = SimulatedClock(START, START + DAY), []
    work, wake = waiter(clock, None, seen)
    wake()
    wake()
    with living(clock, work):
        pass
    assert seen == [START]


def test_a_wake_ends_one_wait_only():
    clock, seen = SimulatedClock(START, START + DAY), []
    sleeper = clock.sleeper()

    def work():
        for _ in range(2):
            sleeper.wait(START + HOUR)
            seen.append(clock.now())
        sleeper.close()

    sleeper.wake()
    with living(clock, work):
        pass
    assert seen == [START, START + HOUR]


def test_the_clock_is_over_when_all_wait_for_later_moments_than_its_last():
    clock, seen = SimulatedClock(START, START + DAY), []
    inside, _ = waiter(clock, START + DAY, seen)
    outside, _ = waiter(clock, START + DAY + timedelta(microseconds=1), seen)
    with living(clock, inside, outside):
        pass
    assert seen == [START + DAY, START + DAY]
    assert clock.is_over
    late, _ = waiter(clock, START + 9 * DAY, seen)
    with living(clock, late):
        pass
    assert seen[-1] == START + DAY


def test_days_take_their_time():
    clock, seen = SimulatedClock(START, START + 3 * DAY, 0.1), []
    began = time.monotonic()
    with living(clock, walker(clock, DAY, seen), walker(clock, 6 * HOUR, [])):
        pass
    assert 0.3 <= time.monotonic() - began < 5
    assert seen == [START + n * DAY for n in (1, 2, 3)]


def test_while_days_take_their_time_one_can_be_woken_between_moments():
    clock, seen, others = SimulatedClock(START, START + DAY, 3.0), [], []
    work, wake = waiter(clock, START + DAY, seen)
    other, _ = waiter(clock, START + DAY / 6, others)
    with living(clock, work, other) as (first, _):
        assert not ended(first, seconds=0.2)
        wake()
        assert ended(first, seconds=2)
    assert START <= seen[0] < START + DAY
    assert others == [START + DAY / 6]


@pytest.mark.parametrize("seconds_per_day", [0.0, 1000.0])
def test_a_simulated_clock_that_is_stopped_ends_all_waits(seconds_per_day):
    clock, seen = SimulatedClock(START, START + 9 * DAY, seconds_per_day), []
    busy = clock.sleeper()
    works = [waiter(clock, until, seen)[0] for until in (None, START + DAY, START + 2 * DAY)]
    with living(clock, *works) as threads:
        assert not ended(*threads, seconds=0.05)
        clock.stop()
    assert seen == [START] * 3
    busy.wait(None)
    assert clock.is_over


def test_a_sleeper_that_comes_later_counts_as_well():
    clock, seen, late = SimulatedClock(START, START + DAY), [], []
    mine = clock.sleeper()

    def work():
        mine.wait(START + HOUR)
        other = walker(clock, HOUR, late)
        thread = threading.Thread(target=other, daemon=True)
        seen.append(clock.now())
        thread.start()
        mine.wait(START + 3 * HOUR)
        seen.append(clock.now())
        mine.close()
        assert ended(thread)

    with living(clock, work):
        pass
    assert seen == [START + HOUR, START + 3 * HOUR]
    assert late == [START + n * HOUR for n in range(2, 25)]


# --- real ----------------------------------------------------------------------------------------------------------


def near(found: datetime, expected: datetime) -> bool:
    return timedelta(0) <= found - expected < timedelta(seconds=5)


def test_the_real_clock_goes_on_from_what_the_database_says_forwards_and_backwards():
    clock = RealClock(START)
    assert near(clock.now(), START)
    clock.adjust(START + DAY)
    assert near(clock.now(), START + DAY)
    clock.adjust(START - DAY)
    before = clock.now()
    assert near(before, START - DAY)
    time.sleep(0.02)
    assert timedelta(seconds=0.02) <= clock.now() - before < timedelta(seconds=5)
    assert not clock.is_simulated
    assert not clock.is_over


def test_a_real_wait_ends_at_its_moment():
    clock, seen = RealClock(START), []
    works = [waiter(clock, until, seen)[0] for until in (START + timedelta(seconds=0.1), START - DAY)]
    with living(clock, *works):
        pass
    assert near(seen[0], START)
    assert near(seen[1], START + timedelta(seconds=0.1))


def test_a_real_wait_follows_the_clock_where_it_is_adjusted(monkeypatch):
    monkeypatch.setattr("framework.engine.clock._RealSleeper._SLICE_SECONDS", 0.02)
    clock, seen = RealClock(START), []
    work, _ = waiter(clock, START + HOUR, seen)
    with living(clock, work) as threads:
        assert not ended(*threads, seconds=0.1)
        clock.adjust(START - HOUR)
        assert not ended(*threads, seconds=0.1)
        clock.adjust(START + HOUR)
    assert near(seen[0], START + HOUR)


def test_one_is_woken_by_the_real_clock_too():
    clock, seen = RealClock(START), []
    work, wake = waiter(clock, None, seen)
    with living(clock, work) as threads:
        assert not ended(*threads, seconds=0.05)
        wake()
    early, wake = waiter(clock, START + DAY, seen)
    wake()
    with living(clock, early):
        pass
    assert [near(found, START) for found in seen] == [True, True]


def test_a_real_clock_that_is_stopped_ends_all_waits_and_those_to_come():
    clock, seen = RealClock(START), []
    works = [waiter(clock, until, seen)[0] for until in (None, START + DAY)]
    with living(clock, *works) as threads:
        assert not ended(*threads, seconds=0.05)
        clock.stop()
    assert len(seen) == 2
    assert clock.is_over
    late, _ = waiter(clock, None, seen)
    with living(clock, late):
        pass
    assert len(seen) == 3
