"""A scratch schema: the same books, empty, beside the real ones, for as long as a replay takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2 import sql as compose
from psycopg2.extensions import make_dsn

from framework.db import migrate
from framework.db.pool import Pool

#: Market data is not of the books: a replay reads what is there (trading-rules 1).
SHARED = (
    "market_data",
    "market_data_version",
    "market_data_coverage",
    "market_data_corrections",
    "market_data_quarantine",
    "corporate_actions",
    "instruments",
)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True, eq=False)
class Scratch:
    """A scratch schema in use: a pool, and the URL for connections beside it (may hold a password)."""

    pool: Pool
    url: str


@contextmanager
def scratch_schema(url: str, name: str, pool_min: int, pool_max: int, keep: bool = False) -> Iterator[Scratch]:
    """Empty books in the schema ``name``, beside the market data that is there; it is dropped at the end.

    Args:
        url: of the database.
        name: lower case letters, digits, ``_``; must not exist.
        pool_min, pool_max: connections.
        keep: leave the schema where it is.

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
            _migrate(url, name)
            scratch_url = make_dsn(url, options=f"-c search_path={name},public")
            pool = Pool(scratch_url, pool_min, pool_max)
            try:
                yield Scratch(pool, scratch_url)
            finally:
                pool.close()
        finally:
            if not keep:
                _execute(admin, "DROP SCHEMA {} CASCADE", name)
    finally:
        admin.close()


def how_to_use(name: str, config: str) -> str:
    """What to type to look at a scratch schema that was kept, and to drop it.

    Args:
        name: of the schema.
        config: path of the run config whose database it is in.
    """
    address = f'psql "$(engine db url --config {shlex.quote(config)})"'
    return (
        f"schema {name} is kept. Look at it: PGOPTIONS='-c search_path={name},public' {address}; engine report, "
        f"audit and status see it with the same PGOPTIONS and --config. Drop it: "
        f"{address} -c 'DROP SCHEMA {name} CASCADE'"
    )


def _migrate(url: str, name: str) -> None:
    """All migrations, and then without the tables that are shared."""
    pool = Pool(make_dsn(url, options=f"-c search_path={name}"), 1, 1)
    try:
        with pool.connection() as connection:
            migrate.upgrade(connection)
        for table in SHARED:
            _execute(pool, "DROP TABLE {} CASCADE", table)
    finally:
        pool.close()


def _execute(pool: Pool, statement: str, name: str) -> None:
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(compose.SQL(statement).format(compose.Identifier(name)))
