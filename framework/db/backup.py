"""Backup and restore of a whole database with PostgreSQL's own programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from psycopg2.extensions import make_dsn

from framework.db.address import describe, parse, without_secrets
from framework.db.migrate import status
from framework.db.pool import Pool
from framework.db.server_binaries import bin_folder
from framework.errors import DatabaseError, EmbeddedServerError


def backup(url: str, file: Path) -> None:
    """Write everything in the database to ``file``, of one moment, while work goes on.

    Raises:
        DatabaseError: the file exists, cannot be written, or ``pg_dump`` failed; no half-written file stays.
    """
    if file.exists():
        raise DatabaseError(f"{file} exists; a backup never overwrites a file, give another name")
    unfinished = file.with_name(f"{file.name}.unfinished-{os.getpid()}")
    try:
        _run("pg_dump", url, ["--format=custom", "--no-owner", "--no-privileges", f"--file={unfinished}"])
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)


def restore(url: str, file: Path, replace: bool = False) -> None:
    """Put a backup into the database, in one transaction: all of it or nothing.

    Args:
        url: of the database.
        file: written by :func:`backup`.
        replace: drop what is there; else the database must be without our tables.

    Raises:
        DatabaseError: no such file, the database is in use, or ``pg_restore`` failed.
    """
    if not file.is_file():
        raise DatabaseError(f"there is no backup {file}")
    if not replace:
        _refuse_unless_empty(url)
    options = ["--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"]
    if replace:
        options += ["--clean", "--if-exists"]
    _run("pg_restore", url, [*options, str(file)])


def _refuse_unless_empty(url: str) -> None:
    pool = Pool(url, 1, 1)
    try:
        with pool.connection() as connection:
            applied = status(connection).applied
    finally:
        pool.close()
    if applied:
        raise DatabaseError(
            f"the database {describe(url)} already has tables; restore into an empty one, or add --replace to drop "
            "what is there"
        )


def _program(name: str) -> str:
    """The path of ``pg_dump`` or ``pg_restore``: of the embedded server's wheel, else of the system."""
    try:
        return str(bin_folder() / name)
    except EmbeddedServerError:
        found = shutil.which(name)
        if found is None:
            raise DatabaseError(
                f"{name} was not found; install PostgreSQL's client programs, or: "
                "pip install 'portfolio-engine[embedded]'"
            ) from None
        return found


def _run(name: str, url: str, options: list[str]) -> None:
    parts = parse(url)
    environment = dict(os.environ)
    # The password goes through the environment: a command line can be read by every user of the machine.
    if password := parts.pop("password", None):
        environment["PGPASSWORD"] = str(password)
    command = [_program(name), *options, f"--dbname={make_dsn(**parts)}"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode != 0:
        raise DatabaseError(f"{name} of {describe(url)} failed: {without_secrets(done.stderr, url)[-500:]}")
