"""The boundary where psycopg2's exceptions become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from framework.errors import DatabaseBusy, DatabaseConflict, DatabaseError, DatabaseNotReady, DatabaseUnavailable

# Class 08 is "connection exception"; these say that the server ends the session or is not up yet.
_SERVER_LEAVES = {"57P01", "57P02", "57P03", "57P05", "25P03"}

_IN_EACH_OTHERS_WAY = {"40001", "40P01"}


def is_lost(error: psycopg2.Error) -> bool:
    """Whether the error means that the connection is gone (or never came), so that work may be tried again."""
    code = error.pgcode
    if code:
        return code.startswith("08") or code in _SERVER_LEAVES
    if isinstance(error, psycopg2.InterfaceError):
        return "connection already closed" in str(error)
    # libpq's own failures carry no code; on a living connection the server always sends one.
    return isinstance(error, psycopg2.OperationalError) or "server closed the connection" in str(error)


def translate(error: psycopg2.Error, what: str) -> DatabaseError:
    """Our exception for one of psycopg2's.

    Args:
        error: as raised by psycopg2.
        what: what was tried, with the query's name where there is one; begins the message.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if is_lost(error):
        return DatabaseUnavailable(f"{what}: the connection to the database was lost ({text})")
    if error.pgcode in _IN_EACH_OTHERS_WAY:
        return DatabaseConflict(f"{what}: given up in favour of another transaction ({text}); try again")
    if error.pgcode == "55P03":
        return DatabaseBusy(f"{what}: another transaction holds what it needs, for too long ({text}); try again")
    if (error.pgcode or "").startswith("53"):  # disk, memory or connections have run out
        return DatabaseBusy(f"{what}: the server has no room ({text}); make some, and it goes on")
    if error.pgcode == "25006":
        return DatabaseNotReady(f"{what}: the database is read-only ({text}); use a primary server that accepts writes")
    if error.pgcode == "42P01":
        return DatabaseNotReady(f"{what}: {text}; the database is not upgraded, run: engine db upgrade")
    code = f" [{error.pgcode}]" if error.pgcode else ""
    return DatabaseError(f"{what} failed{code}: {text}")


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Run the body; any psycopg2 exception that leaves it becomes one of ours, with ``what`` in front."""
    try:
        yield
    except psycopg2.Error as error:
        raise translate(error, what) from error
