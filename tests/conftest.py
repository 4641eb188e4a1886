"""Fixtures for every room that needs a database: one embedded server per test run, a fresh database per test."""

from __future__ import annotations

import itertools
import os
import tempfile
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
    embedded = Embedded(workspace, idle_seconds=120, settings=FAST)
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


_numbers = itertools.count(1)


@pytest.fixture
def new_database(server: Embedded, database_url: str) -> Iterator[Callable[..., str]]:
    """A function that makes one more database, migrated (or, ``empty=True``, without any table); gives its URL."""
    made: list[str] = []
    admin = server.admin_url()

    def make(empty: bool = False) -> str:
        name = f"test_{next(_numbers)}"
        template = "template0" if empty else DATABASE
        _sql(admin, "CREATE DATABASE {} TEMPLATE {} OWNER {}", name, template, APP)
        made.append(name)
        socket = locate(server.workspace).socket()
        assert socket is not None
        return url(socket, APP, name)

    yield make
    for name in made:
        _sql(admin, "DROP DATABASE {} WITH (FORCE)", name)


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
