"""What a sweep has done so far, a line for each trial, so that one that was stopped goes on."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from framework.errors import UsageError
from framework.model.sweep import Outcome, Trial


class Journal:
    """Outcomes in a file, appended as they become known. A line that was cut off counts as not written.

    Args:
        path: of the file; it is made where it is missing.
        identity: what the sweep is, by part; a file of another one is refused.

    Raises:
        UsageError: the file is of another sweep, or cannot be used; says which part differs.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self._path = path
        self._known: dict[Trial, tuple[str, Outcome]] = {}
        head = {"sweep": dict(identity)}
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise UsageError(
                f"{str(path)!r} can't be used: {error.strerror}; choose another folder with --out"
            ) from error
        try:
            self._begin(head)
        except BaseException:
            self._file.close()
            raise

    def _begin(self, head: dict[str, Any]) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another program is at the sweep in {str(self._path.parent)!r}; wait for it") from None
        whole = self._read(json.loads(json.dumps(head)))
        self._file.truncate(whole)
        if not whole:
            self._write(head)

    def get(self, trial: Trial, bars: str) -> Outcome | None:
        """What came of a trial on the same bars; ``None``: it was not run on them."""
        ran_on, outcome = self._known.get(trial, ("", None))
        return outcome if ran_on == bars else None

    def add(self, outcome: Outcome, bars: str) -> None:
        """Write down what came of a trial; ``bars``: a hash of those that it ran on."""
        self._known[outcome.trial] = bars, outcome
        self._write({**_document(outcome), "bars": bars})

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _write(self, document: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(document, separators=(",", ":")).encode() + b"\n")
        self._file.flush()

    def _read(self, head: dict[str, Any]) -> int:
        """Take in the lines that are whole; how many bytes they are."""
        self._file.seek(0)
        lines = self._file.read().split(b"\n")[:-1]
        if not lines:
            return 0
        self._compare(lines[0], head)
        whole = len(lines[0]) + 1
        for line in lines[1:]:
            try:
                found = json.loads(line)
                outcome = _outcome(found)
                self._known[outcome.trial] = found["bars"], outcome
            except (ValueError, KeyError, TypeError):
                break  # what follows a broken line is done again
            whole += len(line) + 1
        return whole

    def _compare(self, line: bytes, head: dict[str, Any]) -> None:
        try:
            known = json.loads(line)["sweep"]
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{str(self._path)!r} is no journal of a sweep; choose another folder with --out"
            ) from None
        other = [part for part in {**known, **head["sweep"]} if known.get(part) != head["sweep"].get(part)]
        if other:
            raise UsageError(
                f"{str(self._path.parent)!r} holds another sweep: {', '.join(other)} differ{'s' * (len(other) == 1)}; "
                "choose another folder with --out, or run the same command to go on"
            )


def _document(outcome: Outcome) -> dict[str, Any]:
    trial = outcome.trial
    found: dict[str, Any] = {
        "values": trial.values,
        "start": trial.start.isoformat(),
        "end": trial.end.isoformat(),
        "part": trial.part,
        "window": trial.window,
        "status": outcome.status,
        "reason": outcome.reason,
        "figures": dict(outcome.figures),
        "seconds": round(outcome.seconds, 6),
    }
    if outcome.sessions is not None and outcome.returns is not None:
        found["sessions"] = outcome.sessions.astype(str).tolist()
        found["returns"] = outcome.returns.tolist()
    return found


def _outcome(found: dict[str, Any]) -> Outcome:
    start, end = date.fromisoformat(found["start"]), date.fromisoformat(found["end"])
    trial = Trial(tuple(found["values"]), start, end, found["part"], found["window"])
    has_returns = "returns" in found
    return Outcome(
        trial,
        found["status"],
        found["reason"],
        found["figures"],
        found["seconds"],
        np.array(found["sessions"], dtype="datetime64[D]") if has_returns else None,
        np.array(found["returns"], dtype=np.float64) if has_returns else None,
    )
