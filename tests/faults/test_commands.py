"""The engine dies while it does what an operator has asked: halt and liquidate are finished by the next one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from framework.db.pool import Pool
from framework.engine import commands
from framework.engine.halts import halt
from tests.faults.arena import Arena, each, spread, unproven
from tests.faults.forks import Fault
from tests.faults.scenario import ask, difference, expire_leases, outcome, until_alone
from tests.faults.test_strategies import of

#: In the evening of this day the operator asks; orders are open, and positions held.
MIDWAY = "clock.end=2010-03-03"


@pytest.fixture(scope="module")
def midway(arena: Arena) -> Iterator[str]:
    """A database on which half of a run has been lived through."""
    with arena.database(arena.config) as database:
        status, said = arena.run(database, arena.config, MIDWAY)
        assert status == 0, said
        assert ask(database, "SELECT count(*) FROM orders WHERE portfolio_id = 'a' AND state = 'open'") != [(0,)]
        until_alone(database)
        yield database


def order(database: str, kind: commands.Kind) -> None:
    """Ask it of portfolio a, as the command line does."""
    pool = Pool(database, 1, 1)
    with pool.transaction() as connection:
        halt(connection, "a", kind, "an operator")
        commands.ask(connection, kind, ["a"], "an operator", take_within_seconds=3600)
    pool.close()
    until_alone(database)


def steps(arena: Arena, midway: str, kind: commands.Kind, share: int) -> list[Fault]:
    """Before statements of the thread that does it."""
    count = arena.log()
    with arena.database(arena.config, like=midway) as database:
        order(database, kind)
        status, said = arena.run(database, arena.config, count=count)
        assert status == 0, said
        assert (failure := not_done(arena, database, kind)) is None, failure
    statements = json.loads(Path(count).read_text())["portfolio-a"]
    return spread([Fault("portfolio-a", number) for number in range(1, statements + 1)], share)


def not_done(arena: Arena, database: str, kind: commands.Kind) -> str | None:
    """What of a command that was asked for has not come to pass."""
    if (told := ask(database, "SELECT kind, state, answer FROM commands"))[0][:2] != (kind, "done"):
        return f"the command: {told}"
    if not ask(database, "SELECT 1 FROM halts WHERE portfolio_id = 'a' AND resumed_at IS NULL"):
        return "it is not halted"
    if waiting := ask(database, "SELECT order_id, state FROM orders WHERE portfolio_id = 'a' AND ended_at IS NULL"):
        return f"orders that are still open: {waiting}"
    if after := ask(database, "SELECT due_at FROM decisions WHERE portfolio_id = 'a' AND kind = 'strategy' OFFSET 4"):
        return f"it has decided after its halt: {after}"
    positions: dict[str, float] = dict(row[1:] for row in outcome(database)["positions"] if row[0] == "a")
    if kind == "liquidate" and any(positions.values()):
        return f"it still holds {positions}"
    if too_much := ask(database, _SHORT):
        return f"more was sold than was held: {too_much}"
    right = arena.reference(arena.config).outcome
    return difference(of(outcome(database), "b"), of(right, "b")) or unproven(database)


_SHORT = """
SELECT * FROM (
    SELECT ticker,
        sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END) OVER (PARTITION BY ticker ORDER BY id) AS held
    FROM trade_execution_logs WHERE portfolio_id = 'a' AND kind = 'trade'
) AS running
WHERE held < 0
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["halt", "liquidate"])
def test_a_command_during_which_the_engine_dies(arena, midway, report, kind):
    def run(fault: Fault) -> str | None:
        with arena.database(arena.config, like=midway) as database:
            order(database, kind)
            arena.run(database, arena.config, fault=fault)
            until_alone(database)
            expire_leases(database)
            status, said = arena.run(database, arena.config)
            return f"the engine ended with {status}: {said}" if status else not_done(arena, database, kind)

    count, failures = each(steps(arena, midway, kind, 3), run)
    report(f"SIGKILL while it obeys {kind}", count, failures, "before every third statement")
