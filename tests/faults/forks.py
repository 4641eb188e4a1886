"""Engines as processes of their own, forked from one that has imported everything: a start takes milliseconds.

    python tests/faults/forks.py        reads requests from stdin, a JSON document a line

A request says what to run, and what happens to the engine (:class:`Fault`). The answers are the process id, and, when
the process has ended, its exit status.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
#: A process that forks must not have threads, those of libraries included.
NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
#: What an engine takes at most, however busy the machine is.
PATIENCE = 120.0


@dataclass(frozen=True)
class Fault:
    """What happens to an engine, in ``thread`` before its statement number ``at`` (from 1).

    Attributes:
        kind: ``signal``: it sends itself ``number``; ``terminate``: the server ends the session of the statement;
            ``lose``: the same once the statement is done, so that its answer is lost; ``kill``: the process ``pid``
            gets the signal ``number``.
    """

    thread: str
    at: int
    kind: str = "signal"
    number: int = signal.SIGKILL
    pid: int = 0


class Hung(AssertionError):
    """An engine has not ended in time; it was killed, and what its threads were doing is in its log."""


class Forks:
    """A process that forks engines, one at a time; this side of it."""

    def __init__(self, folder: Path, config: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(config)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **NO_THREADS},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._read = b""
        self.answer(60)  # it is warm

    def start(
        self,
        url: str,
        config: Path,
        log: Path,
        *,
        set_: Sequence[str] = (),
        fault: Fault | None = None,
        count: Path | None = None,
        stdout: str | None = None,
        stderr: str | None = None,
        file_limit: int | None = None,
    ) -> Engine:
        """Start an engine on a database.

        Args:
            url: of the database.
            config: run config.
            log: where its words go.
            set_: overrides.
            fault: what happens to it.
            count: a file that gets how many statements each thread has sent, should it end by itself.
            stdout, stderr: where these go instead of ``log``.
            file_limit: no file may grow beyond so many bytes.
        """
        request = {
            "url": url,
            "config": str(config),
            "log": str(log),
            "set": list(set_),
            "fault": None if fault is None else asdict(fault),
            "count": None if count is None else str(count),
            "stdout": stdout,
            "stderr": stderr,
            "file_limit": file_limit,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        started = self.answer(30)
        assert started is not None
        return Engine(self, started["pid"], log)

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """The next answer; ``None``: it has not come."""
        assert self._process.stdout is not None
        descriptor, deadline = self._process.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self._read:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return None
            more = os.read(descriptor, 65536)
            assert more, "the forking process has died"
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


class Engine:
    """A running engine."""

    def __init__(self, forks: Forks, pid: int, log: Path) -> None:
        self._forks, self.pid, self.log = forks, pid, log
        self._status: int | None = None

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if not self.has_ended():
            os.kill(self.pid, number)

    def has_ended(self) -> bool:
        """Whether it has."""
        if self._status is None:
            answer = self._forks.answer(0)
            self._status = None if answer is None else answer["status"]
        return self._status is not None

    def is_stopped(self) -> bool:
        """Whether a signal has stopped it."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except FileNotFoundError:
            return False

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit status; negative: the signal that ended it.

        Raises:
            Hung: it does not end.
        """
        if self._status is None:
            answer = self._forks.answer(seconds)
            if answer is None:
                self.kill()
                raise Hung(f"the engine has not ended within {seconds:.0f} s: {self.said()}")
            self._status = answer["status"]
        return self._status

    def kill(self) -> None:
        """End it, if it has not ended; its log tells where its threads were."""
        if self.has_ended():
            return
        for number in (signal.SIGCONT, signal.SIGUSR1):
            os.kill(self.pid, number)
        time.sleep(0.2)
        os.kill(self.pid, signal.SIGKILL)
        answer = self._forks.answer(30)
        assert answer is not None
        self._status = answer["status"]

    def said(self) -> str:
        """Its words so far, the last of them."""
        return self.log.read_text(errors="replace")[-3000:]


# The other side.

#: What an engine imports only when it gets there.
_USED = (
    "psycopg2.extensions",
    "typer.main",
    "framework.cli.run",
    "framework.db.database",
    "framework.engine.allocation_runner",
    "framework.engine.live",
    "framework.live_run",
    "framework.report.endings",
)


def serve(config: str) -> None:
    """Import everything, then fork for each request."""
    warm(config)
    gc.freeze()  # memory that nobody writes to stays shared
    _tell({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(request)
        _tell({"pid": pid})
        ended = os.pidfd_open(pid)
        if ended not in select.select([ended, sys.stdin], [], [])[0]:
            os.kill(pid, signal.SIGKILL)  # whoever asked for it lives no more
        os.close(ended)
        _, status = os.waitpid(pid, 0)
        _tell({"status": os.waitstatus_to_exitcode(status)})


def warm(config: str) -> None:
    """Import all that an engine imports, and compute the calendar; no thread, no connection may be left."""
    for module in _USED:
        importlib.import_module(module)
    from framework import app
    from framework.config.load import load
    from framework.data.coming import Coming
    from framework.plan import Plan

    loaded = load(Path(config), [])
    plan = Plan(loaded, app.load_plugins(loaded))
    Coming("XNYS", loaded.config.interval).next_bar(datetime(plan.start.year, plan.start.month, 1, tzinfo=UTC))
    assert len(os.listdir("/proc/self/task")) == 1, "a fork of many threads may hang"


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _become(request: dict[str, Any]) -> None:
    """Be the engine, and end."""
    status = 70
    try:
        counter = _prepare(request)
        from framework.cli.main import run_command

        overrides = [part for each in request["set"] for part in ("--set", each)]
        status = run_command(("run", request["config"], "--json", *overrides))
        if request["count"]:
            Path(request["count"]).write_text(json.dumps(counter.counts))
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001  # a fork must not go on as its parent
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _prepare(request: dict[str, Any]) -> Counter:
    """Files, limits, and what is to happen."""
    import faulthandler
    import resource

    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    faulthandler.register(signal.SIGUSR1, open(os.dup(log), "w"), all_threads=True)  # noqa: SIM115
    for descriptor, place in ((1, request["stdout"]), (2, request["stderr"])):
        os.dup2(os.open(place, os.O_WRONLY) if place else log, descriptor)
    if request["file_limit"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_limit"], request["file_limit"]))
    os.environ["DATABASE_URL"] = request["url"]
    counter = Counter(Fault(**request["fault"]) if request["fault"] else None, request["url"])
    counter.install()
    return counter


class Counter:
    """Counts the statements of each thread, and lets a fault happen at one of them."""

    def __init__(self, fault: Fault | None, url: str) -> None:
        self._fault, self._url = fault, url
        self._lock = threading.Lock()
        self.counts: dict[str, int] = {}

    def install(self) -> None:
        """Have every connection of this process counted; product code is left as it is."""
        import psycopg2
        from psycopg2 import extensions

        counter, connect = self, psycopg2.connect

        class Cursor(extensions.cursor):
            def execute(self, *arguments: Any) -> None:
                kind = counter.step()
                if kind == "terminate":
                    end_session(self.connection.info.backend_pid)
                super().execute(*arguments)
                if kind == "lose":
                    end_session(self.connection.info.backend_pid)
                    self.connection.close()
                    raise psycopg2.OperationalError("the answer was lost")

        def end_session(pid: int) -> None:
            connection = connect(counter._url)
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
            connection.close()

        def counted(*arguments: Any, **options: Any) -> Any:
            return connect(*arguments, cursor_factory=Cursor, **options)

        psycopg2.connect = counted

    def step(self) -> str | None:
        """The present thread is about to send a statement; what is to happen to that, if it is not done here."""
        name, fault = threading.current_thread().name, self._fault
        with self._lock:
            count = self.counts[name] = self.counts.get(name, 0) + 1
        if fault is None or (fault.thread, fault.at) != (name, count):
            return None
        if fault.kind in ("signal", "kill"):
            os.kill(os.getpid() if fault.kind == "signal" else fault.pid, fault.number)
        return fault.kind


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    serve(sys.argv[1])
