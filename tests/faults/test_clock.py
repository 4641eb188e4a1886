"""The database's clock steps back an hour, or forward, in the middle of a run: by leases, and by the real clock."""

from __future__ import annotations

import random
import signal
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from tests.faults.arena import Arena, each, name_of, wait_for
from tests.faults.forks import Engine
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


def go_to(database: str, moment: datetime) -> None:
    """Let it be this moment, and engines that live by the real clock look at once."""
    ask(database, "UPDATE moved.shift SET by = %s - pg_catalog.clock_timestamp()", (moment,))
    wake(database)


def wake(database: str) -> None:
    ask(database, "SELECT pg_notify('engine_bars', '')")


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


@pytest.mark.slow
def test_the_databases_clock_steps_back_under_the_real_clock(arena, report):
    """Each evening the clock goes to the next one; in the middle of one it goes back by an hour, bookings with it."""
    config = arena.write("real", more=", bar_patience_seconds: 0", **SHORT)
    config.write_text("\n".join(line for line in config.read_text().splitlines() if not line.startswith("clock:")))
    evenings = sorted({row[1] for row in arena.reference(arena.config).outcome["decisions"]})

    def run(step_back: int) -> str | None:
        with arena.database(arena.config) as database:
            make_movable(arena, database)
            go_to(database, datetime(2010, 3, 1, tzinfo=UTC))
            with arena.engine(database, config) as engine:
                for number, evening in enumerate(evenings):
                    if number:
                        go_to(database, evening + timedelta(seconds=1))
                    if number == step_back:
                        time.sleep(0.1 * step_back)
                        ask(database, "UPDATE moved.shift SET by = by - interval '1 hour'")
                        time.sleep(0.5)
                        go_to(database, evening + timedelta(seconds=5))
                    wait_for(partial(has_decided, engine, database, evening), f"{evening}")
                engine.signal(signal.SIGTERM)
                if status := engine.wait():
                    return f"the engine ended with {status}: {engine.said()}"
            return arena.differs(database, arena.config)

    count, failures = each(range(1, len(evenings)), run)
    report("database's clock steps back an hour, real clock", count, failures, "on an evening on which it trades")


def has_decided(engine: Engine, database: str, evening: datetime) -> bool:
    """Whether both have, and sent what they wanted."""
    if engine.has_ended():
        return True
    wake(database)
    decided = ask(database, "SELECT count(*) FROM decisions WHERE due_at = %s", (evening,))
    return decided == [(2,)] and not ask(database, "SELECT 1 FROM orders WHERE state IN ('planned', 'sending')")
