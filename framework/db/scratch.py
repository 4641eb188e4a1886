"""A scratch schema: the same tables, empty, beside the real ones, for as long as a replay takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg2 import sql as compose
from psycopg2.extensions import make_dsn

from framework.db import migrate
from framework.db.pool import Pool

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@contextmanager
def scratch_schema(url: str, name: str, pool_min: int, pool_max: int) -> Iterator[Pool]:
    """A pool whose connections see only the migrated, empty schema ``name``; it is dropped at the end.

    Args:
        url: of the database.
        name: lower case letters, digits, ``_``; must not exist.
        pool_min, pool_max: connections.

    Raises:
        ValueError: the name.
        DatabaseError: the schema cannot be created; the message says why.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"schema name was {name!r}; allowed: lower case letters, digits and _, at most 63")
    admin = Pool(url, 1, 1)
    try:
        _execute(admin, "CREATE SCHEMA {}", name)
        try:
            pool = Pool(make_dsn(url, options=f"-c search_path={name}"), pool_min, pool_max)
            try:
                with pool.connection() as connection:
                    migrate.upgrade(connection)
                yield pool
            finally:
                pool.close()
        finally:
            _execute(admin, "DROP SCHEMA {} CASCADE", name)
    finally:
        admin.close()


def _execute(pool: Pool, statement: str, name: str) -> None:
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(compose.SQL(statement).format(compose.Identifier(name)))
