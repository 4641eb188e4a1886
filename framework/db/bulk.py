"""Bulk insert with conflict handling: rows whose key is taken are left out, and the caller learns how many went in."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, BinaryIO, TextIO

import psycopg2
from psycopg2 import sql as compose
from psycopg2.extensions import TRANSACTION_STATUS_INTRANS
from psycopg2.extras import execute_values

from framework.db.failures import translate
from framework.db.queries import Row, sql
from framework.db.types import Connection

#: Up to so many rows go as one INSERT … VALUES; more are staged through COPY.
SMALL = 300

_STAGED = "staged_rows"


def insert_rows(
    connection: Connection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Row],
    conflict_columns: Sequence[str],
) -> int:
    """Insert rows, leaving out those whose ``conflict_columns`` are taken (the first of equal ones goes in).

    Args:
        connection: inside a transaction, where there are more than a few hundred rows.
        table: its name.
        columns: the columns that each row gives, in order.
        rows: values as psycopg2 takes them; of str, int, float, bool, Decimal, date, aware datetime, None.
        conflict_columns: of a unique key.

    Returns:
        how many rows went in.

    Raises:
        DatabaseError: the server refused a row; nothing of the transaction stays.
    """
    if not rows:
        return 0
    if len(rows) > SMALL:
        return insert_text(connection, table, columns, io.StringIO("".join(map(_line, rows))), conflict_columns)
    query = _composed("bulk_insert", table=table, columns=columns, conflict_columns=conflict_columns)
    with connection.cursor() as cursor:
        try:
            # One page, so that the row count is that of all rows.
            execute_values(cursor, query.as_string(connection), rows, page_size=len(rows))
        except psycopg2.Error as error:
            raise translate(error, f"query 'bulk_insert' into {table}") from error
        return cursor.rowcount


def insert_text(
    connection: Connection,
    table: str,
    columns: Sequence[str],
    lines: TextIO | BinaryIO,
    conflict_columns: Sequence[str],
) -> int:
    """As :func:`insert_rows`, from a stream in COPY's text format (tab-separated, ``\\N`` for null), any length.

    Raises:
        ValueError: called outside a transaction, where the staging table would be gone at once.
    """
    require_transaction(connection, "a bulk insert through COPY")
    names: dict[str, str | Sequence[str]] = {"staged": _STAGED, "table": table, "columns": columns}
    names["conflict_columns"] = conflict_columns
    with connection.cursor() as cursor:
        try:
            cursor.execute(_composed("bulk_stage", **names))
            cursor.copy_expert(_composed("bulk_copy", **names), lines)
            cursor.execute(_composed("bulk_move", **names))
            inserted = cursor.rowcount
            cursor.execute(_composed("bulk_drop", **names))
        except psycopg2.Error as error:
            raise translate(error, f"query 'bulk_move' into {table}") from error
    return inserted


def require_transaction(connection: Connection, what: str) -> None:
    """Refuse to stage rows outside a transaction."""
    if connection.info.transaction_status != TRANSACTION_STATUS_INTRANS:
        raise ValueError(f"{what} needs an open transaction; use `with pool.transaction() as connection:`")


def _composed(name: str, **names: str | Sequence[str]) -> compose.Composed:
    """A query file with its ``{identifiers}`` filled in, quoted."""
    parts: dict[str, compose.Composable] = {}
    for key, value in names.items():
        given = [value] if isinstance(value, str) else value
        parts[key] = compose.SQL(", ").join(map(compose.Identifier, given))
    return compose.SQL(sql(name)).format(**parts)


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _line(row: Iterable[Any]) -> str:
    return "\t".join(map(_cell, row)) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bool | int | float | Decimal):
        return str(value)
    raise TypeError(f"a bulk insert cannot take {value!r} ({type(value).__name__}); convert it to str first")
