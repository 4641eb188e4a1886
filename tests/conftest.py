"""Fixtures for every room that needs a database: one embedded server per test run, a fresh database per test."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import hypothesis
import psycopg2
import pytest
from psycopg2 import sql

from framework.db.database import upgrade
from framework.db.embedded import APP, DATABASE, Embedded, url
from framework.db.pool import Pool
from framework.db.server_files import locate

# Whoever develops looks at other examples every time; what decides on a merge gives the same answer twice.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

# Where the tests run in the background of a shell, Ctrl-C is ignored, also by all programs that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing here has to survive a crash of the machine.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def _sql(admin_url: str, statement: str, *names: str) -> None:
    with closing(psycopg2.connect(admin_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.fixture(scope="session")
def server() -> Iterator[Embedded]:
    """An embedded server of this test run's own."""
    workspace = Path(tempfile.mkdtemp(prefix="engine-tests-"))
    workspace.chmod(0o755)  # where root runs the tests, the server's user has to get through
    # A slow test may leave it without a connection that lasts for minutes.
    embedded = Embedded(workspace, idle_seconds=900, settings=FAST)
    embedded.start()
    yield embedded
    embedded.remove()
    workspace.rmdir()


@pytest.fixture(scope="session")
def database_url(server: Embedded) -> str:
    """URL of a migrated database that others are copied from: don't write to it, don't stay connected."""
    url_of_template = server.start()
    upgrade(url_of_template)
    return url_of_template


class Databases:
    """Databases for tests, made ahead and dropped behind them, since both take longer than most tests.

    Args:
        server: where.
    """

    def __init__(self, server: Embedded) -> None:
        self._server, self._admin = server, server.admin_url()
        self._numbers = itertools.count(1)
        self._ready: queue.Queue[str | BaseException] = queue.Queue(maxsize=3)
        self._used: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._make_ahead, self._drop_behind)]
        for thread in self._threads:
            thread.start()

    def take(self, empty: bool) -> str:
        """The name of a fresh one: migrated, or without any table."""
        if empty:
            return self._make("template0")
        made = self._ready.get(timeout=300)
        if isinstance(made, BaseException):
            raise made
        return made

    def give_back(self, name: str) -> None:
        """It is not needed any more."""
        self._used.put(name)

    def url(self, name: str) -> str:
        """Of a database."""
        socket = locate(self._server.workspace).socket()
        assert socket is not None
        return url(socket, APP, name)

    def close(self) -> None:
        """Before the server goes."""
        self._is_over.set()
        self._used.put(None)
        for thread in self._threads:
            thread.join(60)

    def _make(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        _sql(self._admin, "CREATE DATABASE {} TEMPLATE {} OWNER {}", name, template, APP)
        return name

    def _make_ahead(self) -> None:
        while not self._is_over.is_set():
            made = self._made()
            while not self._is_over.is_set():
                with contextlib.suppress(queue.Full):
                    self._ready.put(made, timeout=0.5)
                    break

    def _made(self) -> str | BaseException:
        """A test may end every session of the server, or stop it for a moment: then once more."""
        failure: BaseException | None = None
        for attempt in range(10):
            try:
                return self._make(DATABASE)
            except psycopg2.Error as error:
                failure = error
                self._is_over.wait(0.1 * attempt)
        assert failure is not None
        return failure

    def _drop_behind(self) -> None:
        while (name := self._used.get()) is not None:
            with contextlib.suppress(psycopg2.Error):  # it goes with the server then
                _sql(self._admin, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


@pytest.fixture(scope="session")
def databases(server: Embedded, database_url: str) -> Iterator[Databases]:
    """The stock of this test run."""
    stock = Databases(server)
    yield stock
    stock.close()


@pytest.fixture
def new_database(databases: Databases) -> Iterator[Callable[..., str]]:
    """A function that makes one more database, migrated (or, ``empty=True``, without any table); gives its URL."""
    made: list[str] = []

    def make(empty: bool = False) -> str:
        made.append(databases.take(empty))
        return databases.url(made[-1])

    yield make
    for name in made:
        databases.give_back(name)


@pytest.fixture
def database(new_database: Callable[..., str]) -> str:
    """URL of a fresh, migrated, empty database of this test's own."""
    return new_database()


@pytest.fixture
def pool(database: str) -> Iterator[Pool]:
    """A pool on :func:`database`."""
    opened = Pool(database)
    yield opened
    opened.close()
