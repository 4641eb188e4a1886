"""Open the configured database: the embedded server or any other, checked and ready for use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from framework.db import migrate
from framework.db.address import describe
from framework.db.pool import Pool
from framework.db.queries import fetch_one
from framework.db.types import Connection
from framework.errors import DatabaseNotReady

EMBEDDED = "embedded"


@dataclass(frozen=True, eq=False)
class Database:
    """A database that is reachable, upgraded, and has a pool.

    Attributes:
        url: to connect to; may hold a password, never to be shown.
        pool: the connections.
        description: what :meth:`describe` says.
    """

    url: str
    pool: Pool
    description: str

    def describe(self) -> str:
        """Where the data is, for people: no user, no password."""
        return self.description

    def close(self) -> None:
        """Close the pool. An embedded server stays up for the next command, and stops by itself when idle."""
        self.pool.close()


def open_database(url: str, workspace: Path, pool_min: int = 1, pool_max: int = 6) -> Database:
    """Open ``url``, starting and upgrading an embedded server, refusing any other that is not upgraded.

    Args:
        url: ``embedded`` or ``postgresql://…``.
        workspace: the folder whose ``.engine`` holds the embedded server.
        pool_min: connections that stay open.
        pool_max: connections at most.

    Raises:
        DatabaseUnavailable: down or refusing.
        DatabaseNotReady: too old, read-only, not upgraded, or too few connections for the pool.
        EmbeddedServerError: the embedded server cannot be started.
    """
    embedded = url == EMBEDDED
    if embedded:
        from framework.db.embedded import Embedded

        url = Embedded(workspace).start()
        description = f"embedded server in {workspace.resolve() / '.engine'}"
        prepare: Callable[[Connection], object] = migrate.upgrade
    else:
        description = describe(url)
        prepare = migrate.check_ready
    pool = Pool(url, pool_min, pool_max)
    try:
        with pool.connection() as connection:
            check_room(connection, pool_max)
            prepare(connection)
    except BaseException:
        pool.close()
        raise
    return Database(url, pool, description)


def check_room(connection: Connection, pool_max: int, engines: int = 1) -> None:
    """Refuse a pool that the server cannot serve.

    Args:
        connection: to the server.
        pool_max: connections of one engine's pool; two more are reckoned for notifications and heartbeat.
        engines: how many engines share the server.

    Raises:
        DatabaseNotReady: names both numbers.
    """
    row = fetch_one(connection, "connections_allowed")
    allowed = int(row[0]) if row else 0
    needed = (pool_max + 2) * engines
    if needed > allowed:
        raise DatabaseNotReady(
            f"database.pool.max {pool_max} needs {needed} connections (two are for notifications and heartbeat), "
            f"but the server allows {allowed}; lower database.pool.max, or raise the server's max_connections"
        )


def upgrade(url: str) -> tuple[str, ...]:
    """Run the pending migrations of any database; the names of those that ran."""
    pool = Pool(url, 1, 1)
    try:
        with pool.connection() as connection:
            return migrate.upgrade(connection)
    finally:
        pool.close()
