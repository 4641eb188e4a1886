"""A progress bar on a terminal, for work that takes longer than a second; silence everywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Report(Protocol):
    """Shows progress; may be called from any thread."""

    def __call__(self, stage: str, done: float, total: float, detail: str = "") -> None:
        """Show what is being done, how much is done and how much there is, and what else is to be said."""


_PATIENCE_SECONDS = 1.0


@contextmanager
def progress_bar() -> Iterator[Report]:
    """What work reports its progress to, while the block runs. It writes to stderr, and only to a terminal."""
    if not sys.stderr.isatty():
        yield _silent
        return
    bar = _Bar()
    try:
        yield bar.report
    finally:
        bar.close()


def _silent(stage: str, done: float, total: float, detail: str = "") -> None:
    """Nobody is watching."""


class _Bar:
    """One line per stage, shown once the work has taken a second."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._lock = Lock()
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def report(self, stage: str, done: float, total: float, detail: str = "") -> None:
        """Show that ``done`` of ``total`` of a stage is done."""
        with self._lock:
            if self._progress is None:
                if time.monotonic() - self._started < _PATIENCE_SECONDS:
                    return
                self._progress = _rich_progress()
                self._progress.start()
            if stage not in self._tasks:
                self._tasks[stage] = self._progress.add_task(stage, total=total, detail=detail)
            self._progress.update(self._tasks[stage], completed=done, total=total, detail=detail)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._progress is not None:
            self._progress.stop()


def _rich_progress() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        TextColumn("·"),
        TimeRemainingColumn(),
        TextColumn("to go"),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
