"""The engine dies, or loses its connection, in the middle of an allocation; several allocate at once."""

from __future__ import annotations

import os
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from tests.faults.arena import Arena, each, spread
from tests.faults.forks import Fault
from tests.faults.scenario import ALLOCATOR, ask
from tests.faults.test_crash import SHARE, crashed

THREAD = "allocation"


@pytest.fixture(scope="module")
def config(arena: Arena) -> Path:
    """Two portfolios, and an allocator that moves money at nearly every session."""
    made = arena.write("allocated", allocator=ALLOCATOR)
    moved = [row for row in arena.reference(made).outcome["allocations"] if row[6]]
    assert len(moved) >= 6, moved
    return made


def steps(arena: Arena, config: Path, kind: str) -> list[Fault]:
    """Before (or at) each statement of the thread that allocates."""
    return [Fault(THREAD, at, kind) for at in range(1, arena.reference(config).statements[THREAD] + 1)]


def killed(arena: Arena, config: Path, fault: Fault) -> str | None:
    """Die, and be started again."""
    with crashed(arena, config, fault) as database:
        return arena.ends_equal(database, config)


def disconnected(arena: Arena, config: Path, fault: Fault) -> str | None:
    """The server ends the session; the engine goes on by itself."""
    with arena.database(config) as database:
        status, said = arena.run(database, config, fault=fault)
        return f"the engine ended with {status}: {said}" if status else arena.differs(database, config)


def test_killed_before_some_statements(arena, config, report):
    cases = spread(steps(arena, config, "signal"), 7)
    count, failures = each(cases, lambda fault: killed(arena, config, fault))
    report("SIGKILL in an allocation, some statements", count, failures)


def test_connection_lost_at_some_statements(arena, config, report):
    cases = [*spread(steps(arena, config, "terminate"), 11), *spread(steps(arena, config, "lose"), 11)]
    count, failures = each(cases, lambda fault: disconnected(arena, config, fault))
    report("session ended in an allocation, some statements", count, failures)


@pytest.mark.slow
def test_killed_before_every_statement(arena, config, report):
    share = int(os.environ.get(SHARE, "1"))
    cases = spread(steps(arena, config, "signal"), share)
    count, failures = each(cases, lambda fault: killed(arena, config, fault))
    which = "every statement" if share == 1 else f"each {share}th statement"
    report(f"SIGKILL in an allocation, {which}", count, failures)


@pytest.mark.slow
def test_connection_lost_at_every_statement(arena, config, report):
    share = int(os.environ.get(SHARE, "1"))
    cases = [*spread(steps(arena, config, "terminate"), share), *spread(steps(arena, config, "lose"), share)]
    count, failures = each(cases, lambda fault: disconnected(arena, config, fault))
    report("session ended in an allocation", count, failures, "before a statement, and after it")


def test_two_engines_on_one_config_allocate_once(arena, config, report):
    def run(number: int) -> str | None:
        with arena.database(config) as database, arena.engine(database, config) as one:
            with arena.engine(database, config) as two:
                statuses = one.wait(), two.wait()
            if statuses != (0, 0):
                return f"the engines ended with {statuses}: {one.said()} {two.said()}"
            found = Counter(run_id for (run_id,) in ask(database, "SELECT run_id FROM allocations"))
            if any(count > 1 for count in found.values()):
                return f"made more than once: {found}"
            ((total,),) = ask(
                database,
                "SELECT sum(CASE side WHEN 'BUY' THEN notional ELSE -notional END) FROM trade_execution_logs "
                "WHERE kind = 'transfer'",
            )
            return None if total == Decimal(0) else f"transfers add up to {total}"

    count, failures = each(range(4), run, side_by_side=2)
    report("two engines on one config with an allocator", count, failures)
