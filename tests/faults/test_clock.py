"""The database's clock steps back an hour, and forward again, in the middle of a run."""

from __future__ import annotations

import random
import time

import pytest

from tests.faults.arena import Arena, each, name_of, wait_for
from tests.faults.scenario import ask
from tests.faults.test_signals import SHORT, SLOWLY

#: The database's clock, as every query asks for it, with a shift. Only here: PostgreSQL looks into pg_catalog first
#: unless a search path names it later.
MOVABLE = (
    "CREATE SCHEMA moved",
    "CREATE TABLE moved.shift (by interval NOT NULL)",
    "INSERT INTO moved.shift VALUES ('0')",
    "CREATE FUNCTION moved.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE "
    "AS 'SELECT pg_catalog.clock_timestamp() + by FROM moved.shift'",
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = moved, pg_catalog, public', current_database()); "
    "END $$",
)


def make_movable(arena: Arena, database: str) -> None:
    for statement in MOVABLE[:-1]:
        ask(database, statement)
    ask(arena.server.admin_url(name_of(database)), MOVABLE[-1])


def move(database: str, by: str) -> None:
    ask(database, "UPDATE moved.shift SET by = %s", (by,))


@pytest.mark.slow
@pytest.mark.parametrize("by", ["-1 hour", "1 hour"])
def test_the_databases_clock_steps(arena, report, by):
    config, draw = arena.write("short", **SHORT), random.Random(7)

    def run(case: tuple[float, bool]) -> str | None:
        seconds, dies = case
        with arena.database(config) as database:
            make_movable(arena, database)
            with arena.engine(database, config, SLOWLY) as engine:
                wait_for(lambda: engine.has_ended() or ask(database, "SELECT 1 FROM leases"), "a lease")
                time.sleep(seconds)
                move(database, by)
                if dies:
                    engine.signal(9)
                    engine.wait()
                elif status := engine.wait():
                    return f"the engine ended with {status}: {engine.said()}"
            # Where it has died, the next one waits for its leases: seconds, not an hour.
            return arena.ends_equal(database, config) if dies else arena.differs(database, config)

    count, failures = each([(draw.uniform(0.0, 0.9), draw.random() < 0.3) for _ in range(20)], run)
    report(f"database's clock steps by {by}", count, failures, "in the middle of a run; some engines die as well")
