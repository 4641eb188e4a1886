"""Explicit transactions on autocommit connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg2
from psycopg2 import sql as compose

from framework.db.types import Connection
from framework.errors import DatabaseError

ISOLATION = ("read committed", "repeatable read", "serializable")


@contextmanager
def transaction(connection: Connection, read_only: bool = False, isolation: str | None = None) -> Iterator[Connection]:
    """BEGIN, the body, COMMIT; ROLLBACK where the body raises.

    Raises:
        DatabaseError: a statement failed, its error was caught inside the body, and so nothing could be committed.
    """
    if isolation is not None and isolation not in ISOLATION:
        raise ValueError(f"isolation was {isolation!r}; allowed: {', '.join(ISOLATION)}")
    begin = "BEGIN"
    if isolation is not None:
        begin += f" ISOLATION LEVEL {isolation.upper()}"
    if read_only:
        begin += " READ ONLY"
    with connection.cursor() as cursor:
        cursor.execute(begin)
    try:
        yield connection
    except BaseException:
        rollback(connection)
        raise
    _commit(connection)


@contextmanager
def savepoint(connection: Connection, name: str) -> Iterator[None]:
    """A part of a transaction: where the body raises, only what it did is undone.

    Args:
        connection: inside a transaction.
        name: an identifier.
    """
    point = compose.Identifier(name)
    with connection.cursor() as cursor:
        cursor.execute(compose.SQL("SAVEPOINT {}").format(point))
        try:
            yield
        except (psycopg2.Error, DatabaseError):
            with suppress(psycopg2.Error):  # the connection is lost: the first error says so
                cursor.execute(compose.SQL("ROLLBACK TO SAVEPOINT {}").format(point))
            raise
        cursor.execute(compose.SQL("RELEASE SAVEPOINT {}").format(point))


def _commit(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("COMMIT")
        # PostgreSQL answers the COMMIT of a failed transaction with a rollback, and no error.
        if cursor.statusmessage != "COMMIT":
            raise DatabaseError(
                "the transaction was rolled back instead of committed: a statement in it had failed and its error "
                "was caught; let errors leave the transaction"
            )


def rollback(connection: Connection) -> bool:
    """Roll back whatever is open; False if the connection is of no further use."""
    if connection.closed:
        return False
    try:
        if not connection.autocommit:
            connection.rollback()
            return True
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
    except psycopg2.Error:
        # The server ends the transaction with the session; whoever gets the connection back throws it away.
        return False
    return True
