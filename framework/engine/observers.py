"""Plugins that observe what an engine does: told one by one, on a thread of their own, whatever they make of it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

#: Told (event, its facts by keyword); does not raise.
Notify: TypeAlias = Callable[..., None]

#: Events that wait to be told; more are counted and not told.
BACKLOG = 10_000
#: At the end: how long an observer may take over one event, and all of them over what still waits.
HANGS_SECONDS, ALL_SECONDS = 5.0, 30.0


class Observers:
    """Tells events in their order, after the fact; who tells never waits.

    Args:
        notify: tells all observers of one event; counts what they raise.
        failures: how often each (plugin, event) has failed so far.
        backlog: how many events may wait.
    """

    def __init__(
        self,
        notify: Notify,
        failures: Callable[[], Mapping[tuple[str, str], int]] = dict,
        backlog: int = BACKLOG,
    ) -> None:
        self._notify, self._failures = notify, failures
        self._waiting: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue(backlog)
        self._lock = threading.Lock()
        self._dropped = self._told = 0
        self._current: str | None = None
        self._is_closing = threading.Event()
        # A daemon: an observer that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name="observers", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def tell(self, event: str, **facts: Any) -> None:
        """Let observers know of something that has happened; returns at once."""
        try:
            self._waiting.put_nowait((event, facts))
        except queue.Full:
            with self._lock:
                self._dropped += 1

    def close(self, hangs_seconds: float = HANGS_SECONDS, all_seconds: float = ALL_SECONDS) -> list[str]:
        """Wait until all is told, but for no observer that hangs; what went wrong, in sentences."""
        self._is_closing.set()
        began = moved = time.monotonic()
        told = self._told
        while self._thread.is_alive():
            self._thread.join(0.05)
            now = time.monotonic()
            if told != self._told:
                told, moved = self._told, now
            if now - moved > hangs_seconds or now - began > all_seconds:
                break
        return self._notes()

    def _work(self) -> None:
        while True:
            try:
                event, facts = self._waiting.get(timeout=0.05)
            except queue.Empty:
                if self._is_closing.is_set():
                    return
                continue
            self._current = event
            self._notify(event, **facts)
            self._current = None
            self._told += 1

    def _notes(self) -> list[str]:
        found = [
            f"plugin {plugin} failed in {event} {_times(count)}" for (plugin, event), count in self._failures().items()
        ]
        current, left = self._current, self._waiting.qsize()
        if self._thread.is_alive() and current is not None:
            found.append(f"an observer of {current} has not returned; it was left behind")
        if self._dropped or left:
            found.append(
                f"{self._dropped + left} events were not told to plugins, which were too slow; the books have them all"
            )
        return found


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
