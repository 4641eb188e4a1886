"""A command in a storm: killed at random moments, what it needs going away and coming back, until its work is done."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.scenario import ask

#: What one life of a command takes at most, however busy the machine is; longer, and it hangs.
PATIENCE = 120.0
#: What a user is told of a failure is no longer.
LONGEST_MESSAGE = 1000

Process = subprocess.Popen[bytes]


class Blow(NamedTuple):
    """One fault: ``strike`` gets the process that works ``at`` so many seconds of the storm, and soon returns."""

    at: float
    strike: Callable[[Process], object]


def kill(process: Process) -> None:
    """SIGKILL."""
    process.kill()
    process.wait()


class Storm:
    """Blows at their moments, on whatever works then; its clock stands until a command has said its first word.

    Args:
        blows: in any order.
        folder: the working folder of the commands.
        environment: theirs.
    """

    def __init__(self, blows: Sequence[Blow], folder: Path, environment: Mapping[str, str]) -> None:
        self._blows = sorted(blows, key=lambda blow: blow.at)
        self._folder, self._environment = folder, environment
        self._seconds = 0.0
        #: The last words of lives that ended with 1.
        self.gave_up: list[str] = []

    @property
    def is_over(self) -> bool:
        """Whether all blows have fallen."""
        return not self._blows

    def weather(self, *arguments: str) -> str | None:
        """Run ``engine`` with these arguments, again and again until it ends with 0; what it did that it must not."""
        while True:
            status, said = self.live(*arguments)
            if status == 0:
                return None
            if status == 1:
                self.gave_up.append(said.rstrip().rpartition("\n")[2])
            if wrong := unbearable(status, said):
                return f"engine {' '.join(arguments[:4])} … {wrong}"

    def live(self, *arguments: str) -> tuple[int, str]:
        """Run it once: its exit status, and what it said."""
        log = self._folder / "said"
        command = [sys.executable, "-m", "framework", *arguments]
        with (
            log.open("wb") as out,
            subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=self._folder, env=self._environment
            ) as process,
        ):
            began = last = time.monotonic()
            while process.poll() is None:
                now = time.monotonic()
                if log.stat().st_size:
                    self._seconds += now - last
                last = now
                if self._blows and self._blows[0].at <= self._seconds:
                    self._blows.pop(0).strike(process)
                elif now - began > PATIENCE:
                    kill(process)
                    raise AssertionError(f"it hangs: {' '.join(command)}\n{log.read_text(errors='replace')}")
                else:
                    time.sleep(0.005)
        return process.returncode, log.read_text(errors="replace")


def unbearable(status: int, said: str) -> str | None:
    """What is wrong with an end that is neither success nor our SIGKILL: it has to be 1, and a sentence."""
    last = said.rstrip().rpartition("\n")[2]
    if status == -9:
        return None
    if status != 1:
        return f"ended with {status}: {said}"
    if "Traceback" in said or "this is a bug" in said or not last.startswith("engine: ") or len(last) > LONGEST_MESSAGE:
        return f"ended with 1, and no short sentence that says why: {said}"
    return None


class Outages:
    """What goes away and comes back, one outage after the other, while others go on.

    Args:
        outage: called with how many seconds it shall last; returns when all is well again.
    """

    def __init__(self, outage: Callable[[float], None]) -> None:
        self._outage = outage
        self._thread = ThreadPoolExecutor(1)
        self._begun: list[Future[None]] = []

    def blow(self, at: float, seconds: float) -> Blow:
        """One of them."""
        return Blow(at, lambda _: self._begun.append(self._thread.submit(self._outage, seconds)))

    def settle(self) -> None:
        """Wait until all is well again."""
        for each in self._begun:
            each.result(PATIENCE)


def checksums(database: str, tables: Sequence[str]) -> dict[str, str]:
    """Of each table: how many rows, and the MD5 of all columns but drawn numbers and times of the clock, in order."""
    return {table: _checksum(database, table) for table in tables}


def _checksum(database: str, table: str) -> str:
    columns: list[tuple[Any, ...]] = ask(database, _COLUMNS, {"table": table})
    row = f"concat_ws('|', {', '.join(f'quote_nullable({name})' for (name,) in columns)})"
    lines = f"SELECT {row} AS line FROM {table}"
    ((count, digest),) = ask(
        database, f"SELECT count(*), md5(string_agg(line, E'\n' ORDER BY line)) FROM ({lines}) AS t"
    )
    return f"{count} rows {digest}"


_COLUMNS = """
SELECT quote_ident(column_name)
FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = %(table)s AND is_identity = 'NO'
  AND coalesce(column_default, '') NOT LIKE '%%clock_timestamp()%%' AND column_name <> 'actions_read_at'
ORDER BY ordinal_position
"""
