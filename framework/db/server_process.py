"""Looking at, starting and ending the embedded server's process; never one that is not provably it."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Account:
    """The operating-system user that the server runs as; ``None`` ids: the present one."""

    uid: int | None
    gid: int | None

    def options(self) -> dict[str, object]:
        """Arguments for ``subprocess`` to become this user."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def name(self) -> str:
        """For messages."""
        uid = os.geteuid() if self.uid is None else self.uid
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)


def arguments(pid: int) -> list[str]:
    """The command line of a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return []
    except (ProcessLookupError, PermissionError):
        return []
    shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.split()


def is_postmaster_of(pid: int, data: Path) -> bool:
    """Whether the process is a PostgreSQL server whose command line names this data directory."""
    line = arguments(pid)
    if "-D" not in line[1:-1] or not line[0].endswith("postgres"):
        return False
    return line[line.index("-D") + 1] == str(data)


def postmaster_pid(data: Path) -> int | None:
    """The pid of the server whose command line names this data directory, ``None`` if there is none.

    ``postmaster.pid`` is a hint, no more: a stale one names somebody else's process, and it may be gone.
    """
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, NotADirectoryError, ValueError):
        pid = 0
    if pid > 0 and is_postmaster_of(pid, data):
        return pid
    running = (int(each.name) for each in Path("/proc").glob("[1-9]*"))
    return next((pid for pid in running if is_postmaster_of(pid, data)), None)


def launch(command: list[str], log_file: Path, account: Account, environment: Mapping[str, str] | None = None) -> int:
    """Start a process that belongs to nobody: own session, no terminal, output to ``log_file``; its pid."""
    inherited = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "LOG_FILE": str(log_file)}
    started = subprocess.run(
        # The shell ends at once and leaves the process to init, so that no caller has to wait for it.
        ["/bin/sh", "-c", '"$@" </dev/null >"$LOG_FILE" 2>&1 & echo $!', "sh", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        cwd="/",
        env={**inherited, **(environment or {})},
        umask=0o077,
        start_new_session=True,
        **account.options(),  # type: ignore[call-overload]
    )
    return int(started.stdout)


def end(pid: int, data: Path, patience_seconds: float = 30.0) -> bool:
    """Stop the server: fast, then immediately; True if it is gone. Looks at the command line before each signal."""
    for sign in (signal.SIGINT, signal.SIGQUIT):
        if not is_postmaster_of(pid, data):
            return True
        os.kill(pid, sign)
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline:
            if not is_postmaster_of(pid, data):
                return True
            threading.Event().wait(0.02)
    return False
