"""The embedded server: a PostgreSQL of the workspace's own, shared by all processes that work there.

It lives in ``<workspace>/.engine``, starts when first needed, outlives the command that started it, and stops by
command or by itself when nothing has been connected for a while (:mod:`framework.db.keeper`). Whether it runs is
decided by asking it: a connection must answer with this data directory's own identifier. A pid alone proves nothing.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import errors, sql

from framework.db.queries import Row, fetch_one
from framework.db.server_binaries import bin_folder_for
from framework.db.server_files import Files, clear_unfinished, give, locate, locked, make_home, open_lock, take
from framework.db.server_process import Account, arguments, end, is_postmaster_of, launch, postmaster_pid
from framework.db.types import Connection
from framework.errors import DatabaseUnavailable, EmbeddedServerError

ADMIN = "engine_admin"
APP = "engine_app"
DATABASE = "engine"
PORT = 5432

IDLE_SECONDS = 600.0
START_SECONDS = 60.0
RECOVERY_SECONDS = 600.0
_DELETE_SECONDS = 5.0


@dataclass(frozen=True)
class EmbeddedStatus:
    """How an embedded server stands.

    Attributes:
        running: whether it answers, with this folder's identifier.
        url: to connect to, while it runs.
        data: its data directory.
        pid: of the server, while it runs.
        clients: connections other than our own look, while it runs.
        idle_seconds: after how long without a client it stops.
    """

    running: bool
    url: str | None
    data: str
    pid: int | None
    clients: int
    idle_seconds: float


@dataclass(frozen=True)
class Embedded:
    """The embedded server of one workspace.

    Args:
        workspace: an existing folder; ``.engine`` is made in it.
        idle_seconds: stop after so long without a connection.
        settings: further PostgreSQL settings, for tests (``fsync`` …); they hold from the next start on.
    """

    workspace: Path
    idle_seconds: float = IDLE_SECONDS
    settings: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> str:
        """The URL of the running server, which is started if need be; safe from any number of processes at once.

        Raises:
            EmbeddedServerError: not installed, not startable, or the folder may not be used; says why.
        """
        files = locate(self.workspace)
        with locked(files.engine / "lock"):
            socket = _answering(files)
            if socket is None:
                socket = self._start(files)
            else:
                _prepare(socket)  # whoever launched it may have been killed before that
                self._note_use(files)
        return url(socket)

    def status(self) -> EmbeddedStatus:
        """Look, without starting anything or counting as use."""
        files = locate(self.workspace)
        socket = _answering(files)
        if socket is None:
            return EmbeddedStatus(False, None, str(files.data), None, 0, self.idle_seconds)
        clients = count_clients(socket)
        pid = postmaster_pid(files.data)
        return EmbeddedStatus(True, url(socket), str(files.data), pid, clients or 0, self.idle_seconds)

    def stop(self) -> bool:
        """Stop the server, ending its connections; False if it did not run.

        Raises:
            EmbeddedServerError: it would not stop.
        """
        files = locate(self.workspace)
        with locked(files.engine / "lock"):
            return stop_server(files)

    def remove(self) -> None:
        """Stop the server and delete everything that is its own: data, socket, locks. There is no way back."""
        files = locate(self.workspace)
        with locked(files.engine / "lock"):
            stop_server(files)
            for folder in (files.home, files.socket()):
                if folder is not None and folder.is_dir():
                    shutil.rmtree(folder)
            _delete(files.engine)

    def admin_url(self, database: str = "postgres") -> str:
        """URL of the superuser of a running server, for backups and tests; the engine itself never uses it."""
        socket = locate(self.workspace).socket()
        if socket is None:
            raise EmbeddedServerError(f"the embedded server in {self.workspace} does not run; start it first")
        return url(socket, ADMIN, database)

    def _start(self, files: Files) -> Path:
        stop_server(files)  # one that runs but cannot be reached: its socket was deleted
        clear_unfinished(files)
        programs = bin_folder_for(files.account)
        if not files.data.is_dir():
            _make_database(files, programs)
        # Nothing of this folder runs: what a stale file says of a pid is about somebody else's process.
        (files.data / "postmaster.pid").unlink(missing_ok=True)
        socket = _free_socket(files)
        # The keeper comes first: were this process killed after the launch, nobody would ever stop the server.
        self._note_use(files)
        _launch(files, programs, socket, self.settings)
        _prepare(socket)
        self._note_use(files)
        return socket

    def _note_use(self, files: Files) -> None:
        files.used.write_text(f"{self.idle_seconds}\n")
        _ensure_keeper(files)


def url(socket: Path, user: str = APP, database: str = DATABASE) -> str:
    """The connection URL through a socket folder; psql and every libpq program understand it."""
    return f"postgresql://{user}@/{database}?host={quote(str(socket), safe='')}&port={PORT}"


def stop_server(files: Files) -> bool:
    """Stop this folder's server, found by its command line; the caller holds the lock. False: none ran."""
    pid = postmaster_pid(files.data)
    if pid is None:
        return False
    if not end(pid, files.data):
        raise EmbeddedServerError(f"the embedded server (pid {pid}) of {files.engine} does not stop; see {files.log}")
    return True


def count_clients(socket: Path) -> int | None:
    """How many clients are connected, ourselves left out; ``None`` if the server does not answer."""
    row = _ask(socket, "count_clients")
    return None if row is None else int(row[0])


def _answering(files: Files) -> Path | None:
    """The socket folder, if a server answers there that has this data directory's identifier."""
    socket, expected = files.socket(), files.system_identifier()
    row = _ask(socket, "system_identifier") if socket and expected else None
    if row is None or int(row[0]) != expected:
        return None
    # A copied folder has the identifier of its original; a moved one has left the place that the server knows.
    known = Path(row[1])
    return socket if not known.exists() or known.samefile(files.data) else None


def _ask(socket: Path, query: str) -> Row | None:
    """The answer to a named query, or ``None`` where no server answers, or it goes away meanwhile."""
    connection = _connect(socket)
    if connection is None:
        return None
    try:
        return fetch_one(connection, query)
    except DatabaseUnavailable:
        return None
    finally:
        connection.close()


def _delete(folder: Path) -> None:
    """Delete a folder, into which a keeper that is just starting may still put its lock."""
    deadline = time.monotonic() + _DELETE_SECONDS
    while True:
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or time.monotonic() > deadline:
                raise
            threading.Event().wait(0.05)
        else:
            return


def _free_socket(files: Files) -> Path:
    """The recorded socket folder, cleared of what a killed server left; a new one where it is gone or another's."""
    socket = files.socket()
    if socket is None or count_clients(socket) is not None:
        return files.new_socket()
    for leftover in socket.glob(".s.PGSQL.*"):
        leftover.unlink()
    return socket


def _connect(socket: Path) -> Connection | None:
    """An administrator's connection, or ``None`` where nothing (or nothing ready) listens."""
    try:
        connection: Connection = psycopg2.connect(
            url(socket, ADMIN, "postgres"), connect_timeout=10, application_name="engine-embedded"
        )
    except psycopg2.OperationalError:
        return None
    connection.autocommit = True
    return connection


def _make_database(files: Files, programs: Path) -> None:
    """Make the data directory, under another name until it is whole; never in place of one that was lost."""
    if files.was_made:
        raise EmbeddedServerError(
            f"the data of the embedded database is gone from {files.data}; put it back, or delete {files.engine} to "
            "begin with an empty database (and restore a backup: engine db restore FILE)"
        )
    make_home(files)
    unfinished = Path(tempfile.mkdtemp(prefix="data.new-", dir=files.home))
    give(unfinished, files.account)
    command = [str(programs / "initdb"), "-D", str(unfinished), "-U", ADMIN, "--auth=trust", "--encoding=UTF8"]
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    # Nothing is lost if the machine dies here: the folder does not count until it has its name.
    command += ["--no-sync", "--no-instructions"]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        **files.account.options(),  # type: ignore[call-overload]
    )
    if done.returncode != 0:
        raise EmbeddedServerError(
            f"cannot make the embedded database in {files.home} as user {files.account.name()}: "
            f"{' '.join(done.stderr.split())[-500:]}"
        )
    unfinished.rename(files.data)
    files.note_made()


def _launch(files: Files, programs: Path, socket: Path, settings: Mapping[str, str]) -> None:
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(socket),
        "unix_socket_permissions": "0700",
        "port": str(PORT),
        "timezone": "UTC",
        "log_timezone": "UTC",
        "max_connections": "100",
        **settings,
    }
    command = [str(programs / "postgres"), "-D", str(files.data)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    began = time.monotonic()
    while True:
        pid = launch(command, files.log, files.account)
        if _came_up(files, pid):
            return
        # A killed server's children may hold its memory for a moment longer.
        if "shared memory" not in _log_tail(files) or time.monotonic() - began > START_SECONDS:
            raise EmbeddedServerError(
                f"the embedded server in {files.engine} did not start: {_log_tail(files)} (log: {files.log})"
            )
        threading.Event().wait(0.2)


def _came_up(files: Files, pid: int) -> bool:
    """Wait until the server answers (True) or its process has ended (False); recovery may take long."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    unseen = 0
    while time.monotonic() < deadline and unseen < 15:
        if _answering(files) is not None:
            return True
        # While the shell's child becomes the server, its command line is the shell's, and then for a moment empty.
        alive = is_postmaster_of(pid, files.data) or arguments(pid)[:1] == ["/bin/sh"]
        unseen = 0 if alive else unseen + 1
        threading.Event().wait(0.02)
    return False


def _log_tail(files: Files) -> str:
    try:
        text = files.log.read_text(errors="replace")
    except FileNotFoundError:
        return "it left no log"
    lines = [line for line in text.splitlines() if "FATAL" in line or "HINT" in line or "ERROR" in line]
    return " ".join((lines or text.splitlines())[-3:])[-500:] or "its log is empty"


_THERE_BY_NOW = (errors.DuplicateObject, errors.DuplicateDatabase, errors.UniqueViolation)


def _prepare(socket: Path) -> None:
    """Role and database of the application, on the first start; looked at on every start, should that have been cut."""
    connection = _connect(socket)
    if connection is None:
        raise EmbeddedServerError(f"the embedded server at {socket} went away while it was set up; try again")
    try:
        row = fetch_one(connection, "embedded_is_prepared", {"role": APP, "database": DATABASE})
        has_role, has_database = row if row else (False, False)
        if not has_role:
            _create(connection, sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(APP)))
        if not has_database:
            names = sql.Identifier(DATABASE), sql.Identifier(APP)
            _create(connection, sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
    finally:
        connection.close()


def _create(connection: Connection, statement: sql.Composed) -> None:
    """Run it; the session of a start that was killed may be doing the same, and then has done it."""
    with connection.cursor() as cursor, suppress(*_THERE_BY_NOW):
        cursor.execute(statement)


def _ensure_keeper(files: Files) -> None:
    """See that one keeper watches the server; the caller holds the lock."""
    with open_lock(files.keeper) as file:
        if not take(file):
            return
    command = [sys.executable, "-m", "framework.db.keeper", str(files.engine.parent)]
    path = os.pathsep.join(filter(None, sys.path))
    # As the present user, who may have to become the server's to stop it.
    launch(command, files.engine / "keeper.log", Account(None, None), {"PYTHONPATH": path})
