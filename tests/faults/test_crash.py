"""The engine dies (SIGKILL): before every statement of a run, one after the other, and at random moments."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from framework.engine.gateway import NOT_SENT_IN_TIME, SIZED_WRONGLY
from tests.faults.arena import Arena, each, spread, unproven
from tests.faults.forks import Fault
from tests.faults.scenario import FIRST, LAST, ask, expire_leases, outcome, until_alone

#: These follow the real time, so that the number of their statements differs from run to run.
RESTLESS = ("heartbeat", "notifications")
#: Environment variable: of all steps every so many-th is tried; .ci/run has no time for each on every change.
SHARE = "ENGINE_FAULT_SHARE"


def steps(arena: Arena, config: Path) -> list[Fault]:
    """Before each statement of each thread of a run."""
    return [
        Fault(thread, number)
        for thread, count in arena.reference(config).statements.items()
        for number in range(1, (min(count, 6) if thread in RESTLESS else count) + 1)
    ]


@contextmanager
def crashed(arena: Arena, config: Path, fault: Fault) -> Iterator[str]:
    """A database on which an engine has died so, once the server has noticed, and its leases have expired."""
    with arena.database(config) as database:
        status, said = arena.run(database, config, fault=fault)
        assert status in (-fault.number, 0), f"the engine ended with {status}: {said}"
        until_alone(database)
        expire_leases(database)
        yield database


def both_ways(arena: Arena, config: Path, fault: Fault) -> str | None:
    """Die, then be started again: while decisions are valid, and, with a copy of the books, when they are not."""
    with crashed(arena, config, fault) as database, arena.database(config, like=database) as copy:
        if failure := arena.ends_equal(database, config):
            return f"restarted in time: {failure}"
        if failure := too_late(arena, config, copy):
            return f"restarted too late: {failure}"
    return None


def too_late(arena: Arena, config: Path, database: str) -> str | None:
    """Start again when all decisions have expired: what was not sent ends, what was sent fills, and trading goes on."""
    ((newest,),) = ask(database, "SELECT max(valid_until) FROM decisions")
    start = FIRST + timedelta(days=2) if newest is None else newest.date() + timedelta(days=1)
    before, unsent = _decided(database), _unsent(database)
    reference = arena.reference(config).outcome
    status, said = arena.run(
        database, config, f"clock.start={start}", f"clock.end={max(LAST, start + timedelta(days=3))}"
    )
    if status != 0:
        return f"the engine ended with {status}: {said}"
    ends = dict(ask(database, "SELECT order_id, reason FROM orders WHERE ended_at IS NOT NULL AND filled = 0"))
    if wrong := {
        order: ends.get(order) for order in unsent if ends.get(order) not in (NOT_SENT_IN_TIME, SIZED_WRONGLY)
    }:
        return f"orders that had not been sent: {wrong}, ended for {[ends.get(order) for order in wrong]}"
    if waiting := ask(database, "SELECT order_id, state FROM orders WHERE state IN ('planned', 'sending')"):
        return f"orders that were never sent, nor ended: {waiting}"
    for name, after in _decided(database).items():
        if after <= before.get(name, after - timedelta(1)):
            return f"portfolio {name} has decided nothing any more"
    found = outcome(database)["trades"]
    for name, until in before.items():
        mine, right = ([row for row in rows if _is_before(row, name, until)] for rows in (found, reference["trades"]))
        if mine != right:
            return f"portfolio {name}: trades before {until}: {mine} instead of {right}"
    return unproven(database)


def _decided(database: str) -> dict[str, datetime]:
    return dict(ask(database, "SELECT portfolio_id, max(due_at) FROM decisions GROUP BY 1"))


def _unsent(database: str) -> list[str]:
    """Orders that the broker has not got, and that nobody has taken back."""
    found = ask(
        database,
        "SELECT order_id FROM orders LEFT JOIN paper_orders USING (order_id) "
        "WHERE state IN ('planned', 'sending') AND cancel_reason IS NULL AND paper_orders IS NULL",
    )
    return [order_id for (order_id,) in found]


def _is_before(trade: tuple, name: str, until: datetime) -> bool:
    portfolio_id, kind, at = trade[0], trade[1], trade[10]
    return bool(portfolio_id == name and kind == "trade" and at < until)


def test_some_steps(arena, report):
    cases = spread(steps(arena, arena.config), 200)
    count, failures = each(cases, lambda fault: both_ways(arena, arena.config, fault))
    report("SIGKILL before a statement, some of them", 2 * count, failures, "restart in time, and too late")


@pytest.mark.slow
def test_every_step(arena, report):
    config, share = arena.write("shorter", end="2010-03-04"), int(os.environ.get(SHARE, "1"))
    cases = spread(steps(arena, config), share)
    count, failures = each(cases, lambda fault: both_ways(arena, config, fault))
    which = "each statement, all enumerated" if share == 1 else f"each {share}th statement"
    report(f"SIGKILL before {which}", 2 * count, failures, "restart in time, and too late")


@pytest.mark.slow
def test_some_steps_of_hourly_bars(arena, report):
    config = arena.write("hourly", interval="1h", start="2010-03-02", end="2010-03-03")
    cases = spread(steps(arena, config), 25)
    count, failures = each(cases, lambda fault: both_ways(arena, config, fault))
    report("SIGKILL before a statement, hourly bars", 2 * count, failures, "restart in time, and too late")


@pytest.mark.slow
def test_random_moments(arena, report):
    config, draw = arena.config, random.Random(1)

    def run(seconds: float) -> str | None:
        with arena.database(config) as database:
            with arena.engine(database, config, "clock.seconds_per_day=0.1") as engine:
                time.sleep(seconds)
                engine.signal(signal.SIGKILL)
                engine.wait()
            until_alone(database)
            expire_leases(database)
            return arena.ends_equal(database, config)

    count, failures = each([draw.uniform(0.0, 1.3) for _ in range(100)], run)
    report("SIGKILL at random moments", count, failures, "restart in time")
