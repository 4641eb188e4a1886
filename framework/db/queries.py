"""SQL by name: each statement is a file of ``sql/queries``, and its name is in errors, logs and on the server."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import psycopg2

from framework.db.failures import translate
from framework.db.types import Connection, Cursor

log = logging.getLogger(__name__)

Parameters = Mapping[str, Any] | Sequence[Any] | None
Row = tuple[Any, ...]


@cache
def sql(name: str) -> str:
    """The statement ``sql/queries/<name>.sql`` without its header, marked with its name."""
    text = (files("framework.sql") / "queries" / f"{name}.sql").read_text(encoding="utf-8")
    body = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return f"/* {name} */ " + "\n".join(body).strip().rstrip(";")


def run(cursor: Cursor, name: str, parameters: Parameters = None) -> None:
    """Execute a named query on a cursor, parameters bound.

    Raises:
        DatabaseError: what the server said, with the query's name; its subclasses where they fit.
    """
    started = time.monotonic()
    try:
        cursor.execute(sql(name), parameters)
    except psycopg2.Error as error:
        raise translate(error, f"query {name!r}") from error
    log.debug("query %s: %.1f ms", name, (time.monotonic() - started) * 1e3)


def fetch_all(connection: Connection, name: str, parameters: Parameters = None) -> list[Row]:
    """All rows of a named query."""
    with connection.cursor() as cursor:
        run(cursor, name, parameters)
        return cursor.fetchall()


def fetch_one(connection: Connection, name: str, parameters: Parameters = None) -> Row | None:
    """The first row of a named query, ``None`` where it has none."""
    with connection.cursor() as cursor:
        run(cursor, name, parameters)
        return cursor.fetchone()


def execute(connection: Connection, name: str, parameters: Parameters = None) -> int:
    """Run a named query that returns nothing; how many rows it touched."""
    with connection.cursor() as cursor:
        run(cursor, name, parameters)
        return cursor.rowcount
