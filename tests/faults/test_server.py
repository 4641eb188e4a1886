"""The database goes away under a running engine: sessions ended, the server stopped at once, connections all taken."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg2
import pytest

from framework.db.database import upgrade
from framework.db.embedded import DATABASE, Embedded
from framework.db.server_files import locate
from framework.db.server_process import postmaster_pid
from tests.faults.arena import Arena, each, name_of, spread, wait_for
from tests.faults.forks import Fault
from tests.faults.scenario import ask
from tests.faults.test_crash import steps
from tests.faults.test_signals import SLOWLY

OTHERS = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
TERMINATE = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {OTHERS}"


def ends_by_itself(arena: Arena, fault: Fault, database: str) -> str | None:
    status, said = arena.run(database, arena.config, fault=fault)
    if status != 0:
        return f"the engine ended with {status}: {said}"
    return arena.differs(database, arena.config)


def after_start(arena: Arena, share: int, **how: object) -> list[Fault]:
    """Before some of the statements of an engine that trades: one that cannot start says so, and ends."""
    working = ("portfolio", "heartbeat", "notifications")
    found = [step for step in steps(arena, arena.config) if step.thread.startswith(working)]
    return [Fault(step.thread, step.at, **how) for step in spread(found, share)]  # type: ignore[arg-type]


def at_fault(arena: Arena, fault: Fault) -> str | None:
    with arena.database(arena.config) as database:
        return ends_by_itself(arena, fault, database)


def test_sessions_ended_before_some_statements(arena, report):
    count, failures = each(after_start(arena, 170, kind="terminate"), lambda fault: at_fault(arena, fault))
    report("session ended by the server, some statements", count, failures, "the engine goes on by itself")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["terminate", "lose"])
def test_sessions_ended_before_many_statements(arena, report, kind):
    count, failures = each(after_start(arena, 10, kind=kind), lambda fault: at_fault(arena, fault))
    what = "answer of a statement lost" if kind == "lose" else "session ended by the server before a statement"
    report(what, count, failures, "every tenth; the engine goes on by itself")


@pytest.mark.slow
def test_all_sessions_ended_at_random_moments(arena, report):
    draw = random.Random(4)

    def run(moments: list[float]) -> str | None:
        with arena.database(arena.config) as database, arena.engine(database, arena.config, SLOWLY) as engine:
            wait_for(lambda: engine.has_ended() or ask(database, "SELECT 1 FROM leases"), "a lease")
            for seconds in moments:
                time.sleep(seconds)
                ask(arena.server.admin_url(name_of(database)), TERMINATE)
            if status := engine.wait():
                return f"the engine ended with {status}: {engine.said()}"
            return arena.differs(database, arena.config)

    count, failures = each([[draw.uniform(0.0, 0.7) for _ in range(3)] for _ in range(30)], run)
    report("all sessions ended at random moments", 3 * count, failures, "three times a run")


# A server of its own, which keeps what it has committed.


@pytest.fixture(scope="module")
def durable() -> Iterator[Arena]:
    """An arena on a server that may be stopped."""
    with tempfile.TemporaryDirectory(prefix="engine-durable-") as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)  # where root runs the tests, the server's user has to get through
        workspace = Path(folder) / "server"
        workspace.mkdir()
        server = Embedded(workspace, idle_seconds=300, settings={"max_connections": "25"})
        upgrade(server.start())
        stack.callback(server.remove)
        (Path(folder) / "runs").mkdir()
        made = Arena(Path(folder) / "runs", server, DATABASE)
        stack.callback(made.close)
        yield made


def stop_at_once(arena: Arena) -> int:
    """The server's process, which is told to stop without ado."""
    pid = postmaster_pid(locate(arena.server.workspace).data)
    assert pid is not None
    return pid


@pytest.mark.slow
def test_the_server_stopped_at_once_in_the_middle_of_a_booking(durable, report):
    wanted = after_start(durable, 60, kind="kill", number=signal.SIGQUIT)

    def run(fault: Fault) -> str | None:
        with durable.database(durable.config) as database:
            pid = stop_at_once(durable)
            told = Fault(fault.thread, fault.at, fault.kind, fault.number, pid)
            with durable.engine(database, durable.config, fault=told) as engine:
                wait_for(lambda: engine.has_ended() or not is_alive(durable, pid), "the server's end")
                time.sleep(0.3)
                durable.server.start()
                if status := engine.wait():
                    return f"the engine ended with {status}: {engine.said()}"
            return durable.differs(database, durable.config)

    count, failures = each(wanted, run, side_by_side=1)
    report("server stopped at once, and restarted", count, failures, "at a statement; the engine goes on by itself")


@pytest.mark.slow
def test_the_server_stopped_at_once_at_random_moments(durable, report):
    draw = random.Random(5)

    def run(seconds: float) -> str | None:
        with durable.database(durable.config) as database:
            pid = stop_at_once(durable)
            with durable.engine(database, durable.config, SLOWLY) as engine:
                wait_for(lambda: engine.has_ended() or ask(database, "SELECT 1 FROM leases"), "a lease")
                time.sleep(seconds)
                os.kill(pid, signal.SIGQUIT)
                wait_for(lambda: not is_alive(durable, pid), "the server's end")
                durable.server.start()
                if status := engine.wait():
                    return f"the engine ended with {status}: {engine.said()}"
            return durable.differs(database, durable.config)

    count, failures = each([draw.uniform(0.0, 0.9) for _ in range(15)], run, side_by_side=1)
    report("server stopped at once, and restarted", count, failures, "at a random moment")


def is_alive(arena: Arena, pid: int) -> bool:
    return postmaster_pid(locate(arena.server.workspace).data) == pid


# Connections.


@pytest.mark.slow
def test_all_connections_of_the_server_taken_by_others(durable, report):
    draw = random.Random(6)

    def run(seconds: float) -> str | None:
        with durable.database(durable.config) as database, ExitStack() as stack:
            engine = stack.enter_context(durable.engine(database, durable.config, SLOWLY))
            wait_for(lambda: engine.has_ended() or ask(database, "SELECT 1 FROM leases"), "a lease")
            time.sleep(seconds)
            with ExitStack() as taken:
                take_all(database, taken)
                ask(durable.server.admin_url(name_of(database)), TERMINATE_ENGINE)
                take_all(database, taken)
                time.sleep(1.5)
            if status := engine.wait():
                return f"the engine ended with {status}: {engine.said()}"
            return durable.differs(database, durable.config)

    count, failures = each([draw.uniform(0.0, 0.6) for _ in range(6)], run, side_by_side=1)
    report("all connections taken by others", count, failures, "for 1.5 s; the engine goes on by itself")


TERMINATE_ENGINE = f"{TERMINATE} AND application_name = 'portfolio-engine'"


def take_all(database: str, stack: ExitStack) -> None:
    """Open connections until there are no more."""
    while True:
        try:
            stack.enter_context(closing(psycopg2.connect(database)))
        except psycopg2.OperationalError:
            return


@pytest.mark.slow
def test_many_portfolios_on_one_connection(arena, report):
    config = arena.write("many", copies=12)

    def run(size: int) -> str | None:
        with arena.database(config) as database:
            return arena.ends_equal(database, config, f"database.pool.max={size}", "database.pool.min=1")

    count, failures = each([1, 1, 2, 3], run)
    report("pool of 1 to 3 connections", count, failures, "14 portfolios")
