"""Migrations: numbered SQL files, run in order under one lock, remembered with their checksums."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import psycopg2
import psycopg2.errors

from framework.db.failures import is_lost, translate
from framework.db.queries import execute, fetch_all, fetch_one, sql
from framework.db.transaction import transaction
from framework.db.types import Connection
from framework.errors import DatabaseNotReady, MigrationError

OLDEST_SERVER = 15

_FILE_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")


@dataclass(frozen=True)
class Migration:
    """One file of ``sql/migrations``. ``checksum`` is the SHA-256 of its text, whatever its line ends."""

    number: int
    name: str
    checksum: str
    sql: str


@dataclass(frozen=True)
class MigrationStatus:
    """How a database stands against this version's migrations; each entry is a migration's name.

    Attributes:
        applied: have run.
        pending: have not.
        changed: have run, but their file is another now.
        unknown: have run, but this version has no such file: a newer version was here.
    """

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    changed: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether this version can work with the database as it is."""
        return not (self.pending or self.changed or self.unknown)


@cache
def migrations() -> tuple[Migration, ...]:
    """This version's migrations in order."""
    found = []
    for file in (files("framework.sql") / "migrations").iterdir():
        match = _FILE_NAME.match(file.name)
        if match:
            text = file.read_text(encoding="utf-8")
            checksum = hashlib.sha256(text.encode()).hexdigest()
            found.append(Migration(int(match[1]), file.name.removesuffix(".sql"), checksum, text))
    return tuple(sorted(found, key=lambda migration: migration.number))


def status(connection: Connection, known: tuple[Migration, ...] | None = None) -> MigrationStatus:
    """Compare the database with ``known`` (this version's migrations); changes nothing."""
    known = migrations() if known is None else known
    has_table = fetch_one(connection, "schema_migrations_exists")
    ran: dict[str, str] = {}
    if has_table and has_table[0]:
        ran = dict(fetch_all(connection, "schema_migrations"))
    by_name = {migration.name: migration.checksum for migration in known}
    return MigrationStatus(
        applied=tuple(name for name in by_name if name in ran),
        pending=tuple(name for name in by_name if name not in ran),
        changed=tuple(name for name, checksum in by_name.items() if ran.get(name, checksum) != checksum),
        unknown=tuple(sorted(set(ran) - set(by_name))),
    )


def check_server(connection: Connection) -> None:
    """Refuse a server that is too old or read-only.

    Raises:
        DatabaseNotReady: says which, and what to do.
    """
    major = connection.server_version // 10000
    if major < OLDEST_SERVER:
        raise DatabaseNotReady(
            f"the server is PostgreSQL {major}; at least {OLDEST_SERVER} is needed: upgrade it, or set database.url "
            "to another server (or to: embedded)"
        )
    row = fetch_one(connection, "server_is_read_only")
    if row and row[0]:
        raise DatabaseNotReady(
            "the database is read-only (a standby, or default_transaction_read_only is on); "
            "set database.url to a primary server that accepts writes"
        )


def check_ready(connection: Connection) -> None:
    """Refuse a database that this version cannot work with as it is.

    Raises:
        DatabaseNotReady: too old, read-only, not upgraded, or upgraded by a newer version.
        MigrationError: a migration that has run was changed.
    """
    check_server(connection)
    now = status(connection)
    _refuse_foreign(now)
    if now.pending:
        raise DatabaseNotReady(
            f"the database is not upgraded: {len(now.pending)} of {len(migrations())} migrations have not run "
            f"(first: {now.pending[0]}); back it up, then run: engine db upgrade"
        )


def upgrade(connection: Connection, known: tuple[Migration, ...] | None = None) -> tuple[str, ...]:
    """Run what is pending, all of it in one transaction: either everything is there afterwards, or nothing changed.

    Two at once are safe: the second waits for the first (at most a minute) and finds nothing left to do.

    Returns:
        the names of the migrations that ran.

    Raises:
        DatabaseNotReady: the server is too old or read-only.
        MigrationError: a statement failed, or a file of a migration that has run was changed.
    """
    check_server(connection)
    known = migrations() if known is None else known
    if status(connection, known).ready:
        return ()
    with transaction(connection):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '60s'")
        execute(connection, "lock_migrations")
        _create_table(connection)
        before = status(connection, known)
        _refuse_foreign(before)
        pending = [migration for migration in known if migration.name in before.pending]
        for migration in pending:
            _run(connection, migration)
    return tuple(migration.name for migration in pending)


def _create_table(connection: Connection) -> None:
    exists = fetch_one(connection, "schema_migrations_exists")
    if exists and exists[0]:
        return
    user = connection.info.user
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql("create_schema_migrations"))
    except psycopg2.errors.InsufficientPrivilege as error:
        raise MigrationError(
            f"role {user!r} may not create tables in database {connection.info.dbname!r}; "
            f'let an administrator run: GRANT CREATE ON SCHEMA public TO "{user}"'
        ) from error


def _run(connection: Connection, migration: Migration) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(migration.sql)
    except psycopg2.Error as error:
        if is_lost(error):
            raise translate(error, f"migration {migration.name}") from error
        raise MigrationError(
            f"migration {migration.name} failed: {' '.join(str(error).split())}; nothing was changed"
        ) from error
    execute(connection, "record_migration", {"name": migration.name, "checksum": migration.checksum})


def _refuse_foreign(found: MigrationStatus) -> None:
    if found.changed:
        raise MigrationError(
            f"the file of migration {found.changed[0]} was changed after it ran here (checksums differ); "
            "restore the file as it was released, and put the change into a new migration"
        )
    if found.unknown:
        raise DatabaseNotReady(
            f"the database was upgraded by a newer version of portfolio-engine (it has {found.unknown[-1]}, unknown "
            "here); install that version or a later one"
        )
