"""The embedded server's files: where they are, whose they are, and whether the folder may be used at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import pwd
import re
import secrets
import shutil
import stat
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from framework.db.server_process import Account
from framework.errors import EmbeddedServerError

#: For a server run by root, what the unprivileged user could not reach otherwise lies below this folder.
STATE = Path("/var/lib/portfolio-engine")

_UNPRIVILEGED = "nobody"
_SOCKET_PATH_LIMIT = 80
_NETWORK_DISKS = re.compile(
    r"^(nfs\d?|cifs|smb\w*|9p|afs|ceph|lustre|gpfs|beegfs|ncpfs|coda|glusterfs|fuse\.(sshfs|glusterfs|ceph\w*|s3fs|rclone))$"
)
_ADVICE = "or set database.url to a PostgreSQL server of your own"


@dataclass(frozen=True)
class Files:
    """The places of one workspace's server.

    Attributes:
        engine: ``<workspace>/.engine``: locks, and the record of where the rest is.
        home: data directory and log; in ``engine`` wherever the server's user can reach that.
        account: the user that the server runs as.
    """

    engine: Path
    home: Path
    account: Account

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """What the server writes since its last start."""
        return self.home / "server.log"

    @property
    def record(self) -> Path:
        """``server.json``: host, home and socket folder."""
        return self.engine / "server.json"

    @property
    def used(self) -> Path:
        """Written by each start: after how many seconds the server is idle, counted from then."""
        return self.engine / "used"

    @property
    def keeper(self) -> Path:
        """Locked by the process that stops the server when it is idle."""
        return self.engine / "keeper.lock"

    @property
    def was_made(self) -> bool:
        """Whether this folder's database was made once, wherever it is now."""
        return "made" in _read(self.record)

    def note_made(self) -> None:
        """Remember that the database was made, so that its loss is noticed."""
        _write(self.record, {**_read(self.record), "made": "yes"})

    def socket(self) -> Path | None:
        """The recorded socket folder, if it is still there and private."""
        recorded = _read(self.record).get("socket")
        folder = Path(recorded) if recorded else None
        return folder if folder and _is_private(folder, self.account) else None

    def new_socket(self) -> Path:
        """A new private folder with a short path for the socket, recorded."""
        base = tempfile.gettempdir()
        if len(base) > _SOCKET_PATH_LIMIT or not re.fullmatch(r"[\w/.-]+", base):
            base = "/tmp"
        folder = Path(tempfile.mkdtemp(prefix="engine-", dir=base))
        give(folder, self.account)
        _write(self.record, {**_read(self.record), "socket": str(folder)})
        return folder

    def system_identifier(self) -> int | None:
        """The data directory's own number, which no other server has; ``None`` before it is made."""
        try:
            head = (self.data / "global" / "pg_control").read_bytes()[:8]
        except (FileNotFoundError, NotADirectoryError):
            return None
        return int(struct.unpack("=Q", head)[0]) if len(head) == 8 else None


def locate(workspace: Path) -> Files:
    """Find or make ``<workspace>/.engine`` and decide where the server's files are.

    Raises:
        EmbeddedServerError: the folder is on a network disk, belongs to another host or user, or cannot be written.
    """
    engine = workspace.resolve() / ".engine"
    _refuse_network_disk(engine.parent)
    try:
        _make_engine_folder(engine)
        recorded = _read(engine / "server.json") or _first_record(engine)
    except (PermissionError, FileNotFoundError) as error:
        raise EmbeddedServerError(
            f"cannot use {engine} for the embedded server: {error.strerror}; "
            f"run as the user who owns the folder, choose another folder, {_ADVICE}"
        ) from error
    _refuse_other_host(engine, recorded)
    _refuse_copy(engine, recorded)
    home = engine / recorded["home"]
    return Files(engine, home, _account(home if home.exists() else engine.parent))


def _make_engine_folder(engine: Path) -> None:
    try:
        engine.mkdir(mode=0o711)
    except FileExistsError:
        return  # made before, or by a process that starts at the same moment
    engine.chmod(0o711)  # whatever the umask says: the server's user passes through, nobody looks in
    _give_to_owner_of(engine.parent, engine)


def _first_record(engine: Path) -> dict[str, str]:
    """Settle where the server is, once: of processes that start at the same moment all go by the first one's record."""
    # Relative, so that the workspace can be moved; else a new name, so that no old data is met again.
    inside = can_enter(engine, _account(engine.parent))
    home = "server" if inside else str(STATE / secrets.token_hex(8))
    record = {"host": _host(), "engine": str(engine), "home": home}
    _write(engine / "server.json", record, replace=False)
    return _read(engine / "server.json")


def make_home(files: Files) -> None:
    """Make the private folder of data and log."""
    if not files.home.is_dir():
        if STATE in files.home.parents:
            make_state_folder()
        files.home.mkdir(mode=0o700)
        give(files.home, files.account)


def clear_unfinished(files: Files) -> None:
    """Delete the data directories that killed first starts left before they were whole; the caller holds the lock."""
    for leftover in files.home.glob("data.new-*"):
        # Its initdb may still be at work, having lost its parent; what it leaves goes at the next start.
        shutil.rmtree(leftover, ignore_errors=True)


def make_state_folder() -> None:
    """The folder under ``/var/lib`` that root's servers share; only made, its mode is not touched later."""
    if STATE.is_dir():
        return
    try:
        STATE.mkdir(parents=True, exist_ok=True)
        STATE.chmod(0o755)
    except OSError as error:
        raise EmbeddedServerError(
            f"run as root, the embedded server needs a folder that the user {_UNPRIVILEGED!r} can enter, and {STATE} "
            f"cannot be made ({error.strerror}); run as an ordinary user, {_ADVICE}"
        ) from error


def can_enter(folder: Path, account: Account) -> bool:
    """Whether the server's user can pass through ``folder`` and all above it."""
    if account.uid is None:
        return True
    for place in (folder, *folder.parents):
        found = place.stat()
        needed = stat.S_IXOTH
        if found.st_uid == account.uid:
            needed = stat.S_IXUSR
        elif found.st_gid == account.gid:
            needed = stat.S_IXGRP
        if not found.st_mode & needed:
            return False
    return True


def give(path: Path, account: Account) -> None:
    """Hand a file or folder that this program has just made to the server's user."""
    if account.uid is not None and account.gid is not None:
        os.chown(path, account.uid, account.gid)


@contextmanager
def locked(path: Path, patience_seconds: float = 120.0) -> Iterator[None]:
    """Hold the lock on ``path`` for the body; the kernel frees it if this process dies.

    Raises:
        EmbeddedServerError: another process held it all the time.
    """
    with open_lock(path) as file:
        deadline = time.monotonic() + patience_seconds
        while not take(file):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"another process has held {path} for {patience_seconds:.0f} s; see which one (fuser {path}), "
                    "and end it if it hangs"
                )
            threading.Event().wait(0.02)
        yield


def open_lock(path: Path) -> IO[bytes]:
    """Open (or make) a lock file."""
    try:
        new = not path.exists()
        file = path.open("ab")
    except PermissionError as error:
        raise EmbeddedServerError(
            f"cannot use {path.parent}: it belongs to another user ({error.strerror} on {path.name}); "
            f"run as that user, use another folder, {_ADVICE}"
        ) from error
    if new:
        _give_to_owner_of(path.parent, path)
    return file


def take(file: IO[bytes]) -> bool:
    """Lock an open lock file if nobody has; released when it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _account(owned_by: Path) -> Account:
    """Whose server it is: never root's, whose files PostgreSQL refuses."""
    if os.geteuid() != 0:
        return Account(None, None)
    owner = owned_by.stat()
    # initdb refuses a user without a name, which the owner of a mounted folder may be.
    if owner.st_uid != 0 and _has_name(owner.st_uid):
        return Account(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        raise EmbeddedServerError(
            f"run as root, the embedded server needs an unprivileged user, and {_UNPRIVILEGED!r} does not exist; "
            f"run as an ordinary user, {_ADVICE}"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def _has_name(uid: int) -> bool:
    try:
        return bool(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return False


def _give_to_owner_of(folder: Path, path: Path) -> None:
    """Root working in a user's workspace leaves the user's files, not its own."""
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def _is_private(folder: Path, account: Account) -> bool:
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    uid = os.geteuid() if account.uid is None else account.uid
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077


def _read(path: Path) -> dict[str, str]:
    try:
        content = {str(key): str(value) for key, value in dict(json.loads(path.read_text(encoding="utf-8"))).items()}
        _ = content["host"], content["home"]
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError) as error:
        raise EmbeddedServerError(
            f"{path} is damaged ({error}); restore it from a copy of the workspace, or delete {path.parent} to begin "
            "with an empty database"
        ) from error
    return content


def _write(path: Path, content: dict[str, str], *, replace: bool = True) -> None:
    """Write a whole file or nothing; with ``replace=False`` a file that is there already stays."""
    new = path.with_suffix(f".new-{os.getpid()}-{threading.get_ident()}")
    new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    _give_to_owner_of(path.parent, new)
    if replace:
        new.replace(path)
        return
    with suppress(FileExistsError):
        path.hardlink_to(new)
    new.unlink()


def _host() -> str:
    """What tells this machine from others."""
    for place in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")):
        if place.is_file() and (text := place.read_text().strip()):
            return hashlib.sha256(text.encode()).hexdigest()[:16]
    return platform.node()


def _refuse_other_host(engine: Path, recorded: dict[str, str]) -> None:
    if recorded.get("host") != _host():
        raise EmbeddedServerError(
            f"{engine} was made on another machine, whose server may be using it; use database.url to share one "
            f'server. If the folder was moved here and nothing uses it elsewhere, set "host" in {engine}/server.json '
            f"to {_host()!r}"
        )


def _refuse_copy(engine: Path, recorded: dict[str, str]) -> None:
    """A copied workspace whose data is elsewhere would share it with the original."""
    original = Path(recorded.get("engine", engine))
    if original != engine and Path(recorded["home"]).is_absolute() and original.exists():
        raise EmbeddedServerError(
            f"{engine} is a copy of {original}, whose data ({recorded['home']}) it would share; delete {engine} to "
            "begin with an empty database, and use engine db backup and restore to copy the data"
        )


def _refuse_network_disk(folder: Path) -> None:
    kind = filesystem(folder)
    if _NETWORK_DISKS.match(kind):
        raise EmbeddedServerError(
            f"{folder} is on a network disk ({kind}), where the embedded server's data is not safe; "
            "use database.url, or a workspace on a local disk"
        )


def filesystem(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of file system that holds ``folder``; empty where the system does not say."""
    if not mounts.is_file():
        return ""
    best, kind = "", ""
    for line in mounts.read_text(errors="replace").splitlines():
        fields = line.split(" ")
        point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[1])
        inside = folder == Path(point) or Path(point) in folder.parents
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind
