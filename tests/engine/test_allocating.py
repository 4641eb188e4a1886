"""Who waits for whom when capital is allocated, and what happens when somebody does not come."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from framework.books.allocation import Allocated
from framework.engine.allocating import STOPPED, Dues, Rendezvous
from framework.engine.allocation_runner import AllocationRunner
from framework.engine.clock import RealClock, SimulatedClock
from framework.errors import AllocationError, DatabaseUnavailable

CLOSE = datetime(2010, 3, 1, 21, tzinfo=UTC)
BEFORE, AFTER = CLOSE - timedelta(hours=1), CLOSE + timedelta(hours=1)


def dues(schedule="daily", since=date(2010, 3, 1)):
    return Dues("XNYS", "1d", timedelta(0), schedule, since)


class Still(SimulatedClock):
    """Stands where it was made, until it is stopped."""

    def __init__(self, at=CLOSE):
        super().__init__(at, at)


def rendezvous(clock=None, wait_seconds=20.0, names=("a", "b")):
    return Rendezvous(dues(), names, wait_seconds, clock or Still())


def test_what_is_due_is_the_last_moment_that_has_come():
    assert dues().latest(BEFORE) is None  # that of Friday lies before the beginning
    assert dues().latest(CLOSE).session == date(2010, 3, 1)
    assert dues(since=date(2010, 1, 1)).latest(BEFORE).session == date(2010, 2, 26)
    assert dues().following(CLOSE).at == CLOSE + timedelta(days=1)
    assert dues("monthly").following(CLOSE).session == date(2010, 3, 31)
    assert dues("weekly").latest(CLOSE) is None


@pytest.mark.parametrize("calendar", ["XBOM", "XSHG", "XSES"])
def test_calendars_that_are_known_to_the_end_of_the_year_only(calendar):
    for day in (date(2026, 11, 27), date(2026, 12, 23)):
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        assert Dues(calendar, "1d", timedelta(0), "daily", date.min).latest(noon) is not None


def test_nothing_due_is_waited_for():
    assert rendezvous().arrive("a", BEFORE, BEFORE) is None
    assert rendezvous().arrive("unlisted", CLOSE, CLOSE) is None


def test_by_a_real_clock_who_has_no_bar_of_the_moment_yet_does_not_wait():
    met = rendezvous(RealClock(AFTER), wait_seconds=0.1)
    assert met.arrive("a", AFTER, BEFORE) is None
    assert met.arrive("a", AFTER, None) is None
    assert met.arrive("a", AFTER, CLOSE) is not None


def test_portfolios_wait_until_it_is_done_and_only_once():
    met = rendezvous()
    due = met.dues.latest(CLOSE)
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(met.arrive, name, CLOSE, None) for name in ("a", "b")]
        assert met.wait_for(due, met.names) == ()
        time.sleep(0.05)
        assert not any(each.done() for each in waiting)
        met.done(due)
        assert [each.result(5) for each in waiting] == ["", ""]
    assert met.arrive("a", AFTER, AFTER) is None


def test_the_allocation_waits_only_for_those_that_will_come():
    met = rendezvous()
    due, running = met.dues.latest(CLOSE), {"a", "b"}
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(met.arrive, "a", CLOSE, None)
        allocating = threads.submit(met.wait_for, due, lambda: tuple(running))
        time.sleep(0.05)
        assert not allocating.done()
        running.discard("b")  # it has failed too often
        assert allocating.result(5) == ()
        met.done(due)
        assert waiting.result(5) == ""


def test_nobody_waits_longer_than_the_first_that_came():
    met = rendezvous(RealClock(AFTER), wait_seconds=0.3)
    due = met.dues.latest(AFTER)
    with ThreadPoolExecutor(1) as threads:
        allocating = threads.submit(met.wait_for, due, met.names)
        time.sleep(0.4)
        assert not allocating.done()  # nobody has come: a bar may be late
        said = met.arrive("a", AFTER, CLOSE)
        assert said == "went on without the allocation of 2010-03-01, which was waited for 0.3 s"
        assert met.arrive("a", AFTER, CLOSE) is None  # it has gone on
        assert allocating.result(5) == ("b",)


def test_an_engine_without_its_portfolios_leaves_it_to_others():
    clock = RealClock(AFTER)
    met = rendezvous(clock, wait_seconds=0.1)
    with ThreadPoolExecutor(1) as threads:
        allocating = threads.submit(met.wait_for, met.dues.latest(AFTER), lambda: ("unlisted",))
        time.sleep(0.3)
        assert not allocating.done()
        clock.adjust(AFTER + timedelta(days=1))  # the next one is due
        assert allocating.result(5) is None


def test_an_engine_that_stops_lets_all_go():
    clock = Still()
    met = rendezvous(clock)
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(met.arrive, "a", CLOSE, None)
        allocating = threads.submit(met.wait_for, met.dues.latest(CLOSE), met.names)
        time.sleep(0.05)
        clock.stop()
        assert waiting.result(5) == STOPPED
        assert allocating.result(5) is None


class Desk:
    """Gives the answers of a list, an exception or an allocation each."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def make(self, due, now, clock, name=None):
        self.asked.append((due.session, clock))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


MADE = Allocated("r", Decimal(1), ())


def run(desk, clock, until, expected=()):
    """Run the thread that allocates until ``until(told)``; what it told."""
    met, told = Rendezvous(dues(), ("a",), 0.1, clock), []
    runner = AllocationRunner(desk, met, clock, lambda due, made, text: told.append((due.session, made, text)))
    thread = threading.Thread(target=runner.run, args=(lambda: expected,), daemon=True)
    thread.start()
    if expected:
        met.arrive("a", clock.now(), clock.now())
    deadline = time.monotonic() + 10
    while not until(told) and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    clock.stop()
    thread.join(10)
    assert not thread.is_alive()
    return told


def test_it_allocates_at_every_moment_of_the_clock():
    desk = Desk(MADE, MADE)
    clock = SimulatedClock(BEFORE, CLOSE + timedelta(days=1))
    told = run(desk, clock, lambda told: clock.is_over)
    assert [(str(session), made) for session, made, _ in told] == [("2010-03-01", MADE), ("2010-03-02", MADE)]
    assert [clock for _, clock in desk.asked] == [CLOSE, CLOSE + timedelta(days=1)]


def test_outages_are_waited_out():
    desk = Desk(DatabaseUnavailable("gone"), DatabaseUnavailable("gone"), MADE)
    told = run(desk, SimulatedClock(BEFORE, CLOSE), lambda told: bool(told))
    assert [made for _, made, _ in told] == [MADE]


def test_one_that_cannot_be_made_is_said_and_the_next_is_tried(caplog):
    desk = Desk(AllocationError("portfolio a holds X, which has no price"), MADE)
    clock = SimulatedClock(BEFORE, CLOSE + timedelta(days=1))
    told = run(desk, clock, lambda told: clock.is_over)
    assert [(str(session), made, text) for session, made, text in told] == [
        ("2010-03-01", None, "portfolio a holds X, which has no price"),
        ("2010-03-02", MADE, ""),
    ]
    assert "allocation of 2010-03-01: portfolio a holds X" in caplog.text


def test_a_plugin_that_breaks_does_not_end_the_thread(caplog):
    desk = Desk(ZeroDivisionError("no luck"), MADE)
    clock = SimulatedClock(BEFORE, CLOSE + timedelta(days=1))
    told = run(desk, clock, lambda told: clock.is_over)
    assert told[0][2] == "ZeroDivisionError: no luck"
    assert told[1][1] is MADE
    assert caplog.records


def test_by_a_real_clock_the_books_carry_the_databases_time_and_what_was_made_before_is_not_told():
    desk = Desk(Allocated("r", Decimal(1), (), already=True))
    told = run(desk, RealClock(AFTER), lambda told: bool(desk.asked), expected=("a",))
    assert told == []
    assert [clock for _, clock in desk.asked] == [None]


def test_it_says_whom_it_has_not_waited_for():
    clock, told = RealClock(AFTER), []
    met = rendezvous(clock, wait_seconds=0.2)
    runner = AllocationRunner(Desk(MADE), met, clock, lambda due, made, text: told.append(text))
    thread = threading.Thread(target=runner.run, args=(met.names,), daemon=True)
    thread.start()
    met.arrive("a", AFTER, CLOSE)
    deadline = time.monotonic() + 10
    while not told and time.monotonic() < deadline:
        time.sleep(0.01)
    clock.stop()
    thread.join(10)
    assert told == ["without waiting any longer for b"]


def test_a_price_that_comes_a_little_late_is_waited_for():
    clock, told = RealClock(AFTER), []
    met = rendezvous(clock, names=("a",))
    desk = Desk(AllocationError("portfolio a holds X, which has no price"), MADE)
    runner = AllocationRunner(desk, met, clock, lambda due, made, text: told.append(made))
    thread = threading.Thread(target=runner.run, args=(met.names,), daemon=True)
    thread.start()
    assert met.arrive("a", AFTER, CLOSE) == ""
    assert len(desk.asked) == 2
    clock.stop()
    thread.join(10)
    assert told == [None, MADE]
