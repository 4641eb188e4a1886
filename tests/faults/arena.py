"""Databases, engines and references for the fault suite: what every case begins and ends with."""

from __future__ import annotations

import itertools
import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2

from framework import app
from framework.books.audit import audit
from framework.config.load import load
from framework.db.database import Database
from framework.db.embedded import APP, Embedded, url
from framework.db.pool import Pool
from framework.db.server_files import locate
from framework.plan import Plan
from framework.runs import ensured
from tests.faults.forks import Engine, Forks
from tests.faults.scenario import Outcome, ask, difference, forget, outcome, write_config, write_workspace

#: Engines that run side by side; the machine has two cores, and they wait for the disk and each other.
SIDE_BY_SIDE = 4


@dataclass(frozen=True)
class Reference:
    """An undisturbed run: how its books end, and how many statements each of its threads sends."""

    outcome: Outcome
    statements: dict[str, int]


class Arena:
    """A folder with prices and configs, a server, and engines on demand.

    Args:
        folder: empty.
        server: of which databases are made.
        migrated: name of a migrated database on it, which nobody is connected to.
    """

    def __init__(self, folder: Path, server: Embedded, migrated: str) -> None:
        self.folder, self.server, self._migrated = folder, server, migrated
        self._numbers, self._lock = itertools.count(1), threading.RLock()
        self._templates: dict[str, str] = {}
        self._references: dict[Path, Reference] = {}
        write_workspace(folder)
        self.config = write_config(folder, "faults")
        self._held = psycopg2.connect(server.admin_url())  # the server stops where nobody is connected for long
        self._forks: list[Forks] = []
        self._free: queue.SimpleQueue[Forks] = queue.SimpleQueue()

    def close(self) -> None:
        """End all processes, and drop what was made."""
        for each in self._forks:
            each.close()
        self._held.close()
        for name in self._templates.values():
            self._drop(name)

    def write(self, name: str, **parameters: Any) -> Path:
        """A run config of another kind."""
        return write_config(self.folder, name, **parameters)

    @contextmanager
    def forks(self) -> Iterator[Forks]:
        """A process that forks engines, of the caller's own meanwhile."""
        try:
            each = self._free.get_nowait()
        except queue.Empty:
            each = Forks(self.folder, self.config)
            self._forks.append(each)
        yield each  # one that the caller has left in disorder is not used again
        self._free.put(each)

    @contextmanager
    def engine(self, database: str, config: Path, *set_: str, **more: Any) -> Iterator[Engine]:
        """A running engine, which does not outlive the caller's block; see :meth:`Forks.start`."""
        with self.forks() as forks:
            engine = forks.start(database, config, self.log(), set_=set_, **more)
            try:
                yield engine
            finally:
                engine.kill()

    @contextmanager
    def database(self, config: Path, like: str | None = None) -> Iterator[str]:
        """URL of a fresh database with the prices of a config, and empty books; or of a copy of another."""
        if like is not None:
            forget(like)
        template = self._template(config) if like is None else name_of(like)
        name = f"faults_{next(self._numbers)}"
        self._create(name, template)
        try:
            yield self.url(name)
        finally:
            forget(self.url(name))
            self._drop(name)

    def url(self, name: str) -> str:
        """Of a database."""
        socket = locate(self.server.workspace).socket()
        assert socket is not None
        return url(socket, APP, name)

    def log(self) -> Path:
        """A file for an engine's words."""
        return self.folder / f"log-{next(self._numbers)}"

    def reference(self, config: Path) -> Reference:
        """How an undisturbed run of a config ends; a second one must end the same."""
        with self._lock:
            if config not in self._references:
                self._references[config] = self._undisturbed(config)
            return self._references[config]

    def run(self, database: str, config: Path, *set_: str, **more: Any) -> tuple[int, str]:
        """Run an engine to its end: its exit status, and what it said."""
        with self.engine(database, config, *set_, **more) as engine:
            return engine.wait(), engine.said()

    def ends_equal(self, database: str, config: Path, *set_: str) -> str | None:
        """Start an engine once more: whether all ends then as if nothing had been; what is wrong, if it does not."""
        status, said = self.run(database, config, *set_)
        if status != 0:
            return f"the engine ended with {status}: {said}"
        return self.differs(database, config)

    def differs(self, database: str, config: Path) -> str | None:
        """What the books of a run that has ended show that those of an undisturbed one do not, or cannot prove."""
        return difference(outcome(database), self.reference(config).outcome) or unproven(database)

    def _undisturbed(self, config: Path) -> Reference:
        found, statements = [], []
        for _ in range(2):
            count = self.log()
            with self.database(config) as database:
                status, said = self.run(database, config, count=count)
                assert status == 0, said
                found.append(outcome(database))
                statements.append(json.loads(count.read_text()))
        assert found[0] == found[1]
        assert len(found[0]["trades"]) > 10
        # Threads share what they read, so that the numbers are not quite the same every time.
        names = sorted(statements[0] | statements[1])
        return Reference(found[0], {name: max(each.get(name, 0) for each in statements) for name in names})

    def _template(self, config: Path) -> str:
        loaded = load(config, [])
        key = loaded.config.interval
        with self._lock:
            if key not in self._templates:
                name = f"faults_template_{key}"
                self._create(name, self._migrated)
                address = self.url(name)
                pool = Pool(address)
                ensured(Plan(loaded, app.load_plugins(loaded)), Database(address, pool, ""), lambda *_: None)
                pool.close()
                self._templates[key] = name
            return self._templates[key]

    def _create(self, name: str, template: str) -> None:
        ask(self.server.admin_url(), f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER {APP}')

    def _drop(self, name: str) -> None:
        ask(self.server.admin_url(), f'DROP DATABASE "{name}" WITH (FORCE)')


def name_of(database: str) -> str:
    """The name of a database in its URL."""
    return urlsplit(database).path[1:]


def each(
    cases: Iterable[Any], run: Callable[[Any], str | None], side_by_side: int = SIDE_BY_SIDE
) -> tuple[int, list[str]]:
    """Run a function on each case, some side by side: how many there were, and what failed."""

    def safely(case: Any) -> str | None:
        try:
            return run(case)
        except Exception as error:  # noqa: BLE001  # of many cases, one that breaks is one that fails
            return f"{type(error).__name__}: {error}"

    with ThreadPoolExecutor(side_by_side) as threads:
        found = list(threads.map(lambda case: (case, safely(case)), cases))
    return len(found), [f"{case}: {failure}" for case, failure in found if failure is not None]


def unproven(database: str) -> str | None:
    """What the audit finds, and fills that are booked not exactly once; ``None``: all is well."""
    pool = Pool(database, 1, 1)
    try:
        report = audit(pool)
    finally:
        pool.close()
    if not report.clean:
        return f"audit: {[str(finding) for each in report.portfolios for finding in each.findings]}"
    lost = ask(database, _BOOKED_ONCE)
    return f"executions that were booked not exactly once, or not under their order: {lost}" if lost else None


_BOOKED_ONCE = """
SELECT execution_id, order_id, count, orders.filled, paper_orders.filled, orders.state
FROM (
    SELECT paper.execution_id, paper.order_id, count(booked.id)
    FROM paper_executions AS paper
    LEFT JOIN trade_execution_logs AS booked
        ON booked.order_id = paper.order_id
        AND booked.execution_id = 'fill:paper:' || paper.account || ':' || replace(paper.execution_id, ':', '%3A')
        AND (booked.quantity, booked.exec_price, booked.fees) = (paper.quantity, paper.price, paper.fees)
    GROUP BY 1, 2
) AS counted
FULL JOIN orders USING (order_id)
FULL JOIN paper_orders USING (order_id)
WHERE count <> 1 OR coalesce(orders.filled, 0) <> coalesce(paper_orders.filled, 0)
    OR (orders.state = 'filled') <> (orders.filled > 0 AND orders.ended_at IS NOT NULL)
    OR orders.ended_at IS NOT NULL AND orders.filled + orders.unfilled <> orders.quantity
    OR (orders.ended_at IS NOT NULL) <> paper_orders.is_closed
"""


def wait_for(is_so: Callable[[], Any], what: str, seconds: float = 30) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{what} has not come"
        time.sleep(0.01)


def spread(cases: Sequence[Any], share: int) -> list[Any]:
    """Every ``share``-th case, evenly; another thing at each step than at the one before."""
    return [case for number, case in enumerate(cases) if number % share == 0]
