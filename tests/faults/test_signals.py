"""The engine is told to stop (SIGTERM); several engines on one config, killed, or paused past their leases."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.arena import Arena, each, spread, wait_for
from tests.faults.forks import Engine, Fault
from tests.faults.scenario import ask
from tests.faults.test_crash import steps

#: A run takes about a second, so that random moments lie within it.
SLOWLY = "clock.seconds_per_day=0.1"
#: Leases that are over soon, for those who wait for them.
SHORT = {"lease": 1.5, "send": 0.5}
#: Cases that run side by side where most of the time is spent waiting for a lease to expire.
WAITING = 8


def test_sigterm_before_some_statements(arena, report):
    cases = [Fault(step.thread, step.at, number=signal.SIGTERM) for step in spread(steps(arena, arena.config), 150)]
    count, failures = each(cases, lambda fault: stopped_at(arena, fault))
    report("SIGTERM before a statement, some of them", count, failures, "exit status 0, cycles finished, restart")


@pytest.mark.slow
def test_sigterm_before_many_statements(arena, report):
    cases = [Fault(step.thread, step.at, number=signal.SIGTERM) for step in spread(steps(arena, arena.config), 10)]
    count, failures = each(cases, lambda fault: stopped_at(arena, fault))
    report("SIGTERM before every tenth statement", count, failures, "exit status 0, cycles finished, restart")


@pytest.mark.slow
def test_sigterm_at_random_moments(arena, report):
    def run(seconds: float) -> str | None:
        with arena.database(arena.config) as database:
            with arena.engine(database, arena.config, SLOWLY) as engine:
                time.sleep(seconds)
                engine.signal(signal.SIGTERM)
                status, said = engine.wait(), engine.said()
            return has_stopped(database, status, said) or arena.ends_equal(database, arena.config)

    draw = random.Random(2)
    count, failures = each([draw.uniform(0.0, 1.3) for _ in range(50)], run)
    report("SIGTERM at random moments", count, failures, "exit status 0, cycles finished, restart")


def stopped_at(arena: Arena, fault: Fault) -> str | None:
    with arena.database(arena.config) as database:
        status, said = arena.run(database, arena.config, fault=fault)
        return has_stopped(database, status, said) or arena.ends_equal(database, arena.config)


def has_stopped(database: str, status: int, said: str) -> str | None:
    """Whether an engine has stopped as it should: no order half sent, no lease kept; what is wrong, if not."""
    if status != 0 and not (status == -signal.SIGTERM and "Engine " not in said):  # told before it began to trade
        return f"the engine ended with {status}: {said}"
    if waiting := ask(database, "SELECT order_id, state FROM orders WHERE state IN ('planned', 'sending')"):
        return f"orders that were decided and not sent: {waiting}"
    if held := ask(database, "SELECT name FROM leases WHERE released_at IS NULL"):
        return f"leases that are still held: {held}"
    return None


@pytest.mark.slow
def test_two_engines_and_the_death_of_one(arena, report):
    config = arena.write("short", **SHORT)

    def run(case: tuple[float, bool]) -> str | None:
        seconds, kill_who_trades = case
        with (
            arena.database(config) as database,
            arena.engine(database, config, SLOWLY) as first,
            arena.engine(database, config, SLOWLY) as second,
        ):
            wait_for(lambda: holders(database), "a lease")
            time.sleep(seconds)
            engines = {first.pid: first, second.pid: second}
            trades = next(iter(holders(database)), first.pid)
            for pid, engine in engines.items():
                if (pid == trades) == kill_who_trades:
                    engine.signal(signal.SIGKILL)
            statuses = sorted(engine.wait() for engine in engines.values())
            if statuses not in ([-signal.SIGKILL, 0], [0, 0]):
                return f"they ended with {statuses}: {first.said()} {second.said()}"
            return says(arena.differs(database, config), first, second)

    draw = random.Random(3)
    cases = [(draw.uniform(0.0, 1.0), draw.random() < 0.8) for _ in range(30)]
    count, failures = each(cases, run, WAITING)
    report("two engines on one config, one is killed", count, failures, "the other takes over by itself")


@pytest.mark.slow
def test_two_engines_and_a_death_before_some_statements(arena, report):
    config = arena.write("short", **SHORT)
    wanted = [step for step in steps(arena, config) if step.thread.startswith("portfolio")]

    def run(fault: Fault) -> str | None:
        with arena.database(config) as database, arena.engine(database, config, SLOWLY, fault=fault) as first:
            wait_for(lambda: first.has_ended() or holders(database), "a lease")
            with arena.engine(database, config, SLOWLY) as second:
                statuses = first.wait(), second.wait()
                if statuses not in ((-signal.SIGKILL, 0), (0, 0)):
                    return f"they ended with {statuses}: {first.said()} {second.said()}"
            return says(arena.differs(database, config), first, second)

    count, failures = each(spread(wanted, 20), run, WAITING)
    report("two engines, one is killed before a statement", count, failures, "the other takes over by itself")


def says(failure: str | None, *engines: Engine) -> str | None:
    """A failure with what the engines have said."""
    return failure and "\n".join([failure, *(f"--- {engine.pid}:\n{engine.said()}" for engine in engines)])


def holders(database: str) -> set[int]:
    """Process ids of the engines that hold a lease."""
    found = ask(database, "SELECT DISTINCT holder FROM leases WHERE released_at IS NULL")
    return {int(holder.split(":")[1]) for (holder,) in found}


@pytest.mark.slow
@pytest.mark.parametrize("continued", ["while the other trades", "when the other has ended"])
def test_an_engine_that_is_paused_past_its_lease(arena, report, continued):
    config = arena.write("short", **SHORT)
    wanted = [step for step in steps(arena, config) if step.thread.startswith(("portfolio", "heartbeat"))]
    cases = [Fault(step.thread, step.at, number=signal.SIGSTOP) for step in spread(wanted, 25)]
    early = continued == "while the other trades"
    count, failures = each(cases, lambda fault: paused_at(arena, config, fault, early), WAITING)
    report(f"SIGSTOP past the lease, continued {continued}", count, failures, "before every 25th statement")


def paused_at(arena: Arena, config: Path, fault: Fault, early: bool) -> str | None:
    with arena.database(config) as database, arena.engine(database, config, fault=fault) as first:
        wait_for(lambda: first.has_ended() or first.is_stopped(), "the pause")
        with arena.engine(database, config, SLOWLY) as second:
            if early:
                wait_for(lambda: second.has_ended() or second.pid in holders(database), "the takeover")
            else:
                second.wait(60)
            first.signal(signal.SIGCONT)
            statuses = first.wait(), second.wait()
            if statuses != (0, 0):
                return f"they ended with {statuses}: {first.said()} {second.said()}"
        return says(arena.differs(database, config), first, second)
