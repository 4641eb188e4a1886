"""What ``engine db`` does, apart from printing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from psycopg2.extensions import make_dsn

from framework.db import migrate
from framework.db.address import describe, parse
from framework.db.database import EMBEDDED, upgrade
from framework.db.embedded import Embedded
from framework.db.pool import Pool
from framework.errors import UsageError


@dataclass(frozen=True)
class DatabaseStatus:
    """How a database stands.

    Attributes:
        database: where it is, without secrets.
        running: whether it answers; an embedded server that sleeps does not, and starts when it is needed.
        server: version of PostgreSQL, while it runs.
        clients: connections to an embedded server.
        applied, pending, changed, unknown: migrations by name, while it runs.
    """

    database: str
    running: bool
    server: str | None = None
    clients: int | None = None
    applied: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def address(url: str, workspace: Path) -> str:
    """A URL that works now: the embedded server is started and upgraded; of another the password is left out."""
    if url == EMBEDDED:
        started = Embedded(workspace).start()
        upgrade(started)
        return started
    parts = parse(url)
    if "password" not in parts:
        return url
    del parts["password"]
    return str(make_dsn(**parts))


def upgrade_database(url: str, workspace: Path) -> tuple[str, tuple[str, ...]]:
    """Run the pending migrations; where, and the names of those that ran."""
    target = Embedded(workspace).start() if url == EMBEDDED else url
    return _where(url, workspace), upgrade(target)


def database_status(url: str, workspace: Path) -> DatabaseStatus:
    """Look at the database without starting or changing anything.

    Raises:
        DatabaseUnavailable: a server given by URL cannot be reached.
    """
    clients = None
    target = url
    if url == EMBEDDED:
        embedded = Embedded(workspace).status() if (workspace / ".engine").is_dir() else None
        if embedded is None or embedded.url is None:
            return DatabaseStatus(_where(url, workspace), running=False)
        target, clients = embedded.url, embedded.clients
    pool = Pool(target, 1, 1)
    try:
        with pool.connection() as connection:
            found = migrate.status(connection)
            server = connection.info.parameter_status("server_version")
    finally:
        pool.close()
    return DatabaseStatus(
        _where(url, workspace), True, server, clients, found.applied, found.pending, found.changed, found.unknown
    )


def stop_database(url: str, workspace: Path) -> bool:
    """Stop the workspace's embedded server; False if it did not run."""
    if url != EMBEDDED:
        raise UsageError(f"only an embedded server can be stopped from here; {describe(url)} is not one")
    return (workspace / ".engine").is_dir() and Embedded(workspace).stop()


def reachable(url: str, workspace: Path) -> str:
    """The URL to work with as it is, an embedded server started but not upgraded (backup and restore)."""
    return Embedded(workspace).start() if url == EMBEDDED else url


def _where(url: str, workspace: Path) -> str:
    return f"embedded server in {workspace.resolve() / '.engine'}" if url == EMBEDDED else describe(url)
