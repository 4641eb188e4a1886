"""The process that stops an idle embedded server: ``python -m framework.db.keeper WORKSPACE``.

It holds ``.engine/keeper.lock`` while it watches, and ends with the server. Every end is under the workspace's lock,
and gives up ``keeper.lock`` first, so that a start sees a keeper that stays or none.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from framework.db.embedded import IDLE_SECONDS, count_clients, stop_server
from framework.db.server_files import Files, locate, locked, open_lock, take
from framework.db.server_process import postmaster_pid


def main(arguments: list[str]) -> int:
    """Watch the server of one workspace until it is gone."""
    watch(locate(Path(arguments[0])))
    return 0


def watch(files: Files) -> None:
    """Look at the server a few times per idle period, and stop it after a whole one without a client or a start."""
    keeper = open_lock(files.keeper)
    if not take(keeper):
        keeper.close()
        return
    idle = _Idleness(files)
    while True:
        threading.Event().wait(min(max(idle.allowed_seconds / 4, 0.05), 15.0))
        if not files.engine.is_dir():
            return
        if idle.look():
            continue
        with locked(files.engine / "lock"):
            if idle.look():
                continue
            keeper.close()
            stop_server(files)
            return


class _Idleness:
    """How long nobody has used the server: no client connected, nobody given its address."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._last_use = time.monotonic()
        self._last_start = 0
        self.allowed_seconds = _allowed_seconds(files)

    def look(self) -> bool:
        """Whether the server is to go on: it runs, and was used within the allowed time."""
        used = self._files.used
        started = used.stat().st_mtime_ns if used.exists() else 0
        if started != self._last_start:
            self._last_start = started
            self._last_use = time.monotonic()
            self.allowed_seconds = _allowed_seconds(self._files)
        socket = self._files.socket()
        if socket is not None and count_clients(socket):
            self._last_use = time.monotonic()
        idle_seconds = time.monotonic() - self._last_use
        return idle_seconds < self.allowed_seconds and postmaster_pid(self._files.data) is not None


def _allowed_seconds(files: Files) -> float:
    try:
        return float(files.used.read_text())
    except (FileNotFoundError, ValueError):
        return IDLE_SECONDS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
