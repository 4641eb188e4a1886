"""Commands: what an operator asks of the engine that holds a portfolio, and its answer. Rows, woken by NOTIFY.

An engine takes the commands of its portfolios (:func:`take`) when ``engine_commands`` is notified, on every heartbeat,
and right after it has taken a lease: what a former holder left running is then taken again, so whatever a command does
must be safe to do twice.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from framework.db.pool import Pool
from framework.db.queries import Row, execute, fetch_all
from framework.db.types import Connection
from framework.engine.leases import Leases, portfolio_lease
from framework.engine.status import storable

CHANNEL = "engine_commands"

Kind: TypeAlias = Literal["halt", "resume", "liquidate"]

_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Command:
    """One command and how it stands.

    Attributes:
        id: rises.
        kind: what is asked.
        portfolio_id: of whom.
        arguments: of the kind; ``halt``: ``keep_orders``.
        asked_by: who.
        asked_at: when, UTC.
        state: ``waiting``, ``running``, ``done`` or ``failed``.
        taken_by: holder name of the engine that took it.
        taken_epoch: of its lease.
        answer: in words, for the operator; ``None``: not answered yet.
    """

    id: int
    kind: Kind
    portfolio_id: str
    arguments: Mapping[str, Any]
    asked_by: str
    asked_at: datetime
    state: Literal["waiting", "running", "done", "failed"]
    taken_by: str | None
    taken_epoch: int | None
    answer: str | None


def ask(
    connection: Connection,
    kind: Kind,
    portfolio_ids: Sequence[str],
    by: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    take_within_seconds: float = 60.0,
) -> tuple[int, ...]:
    """Ask something of whoever holds these portfolios: one command each, their ids in the order given.

    One that nobody takes in time is never taken: what was asked long ago must not happen out of the blue.
    """
    asked = {
        "kind": kind,
        "portfolio_ids": list(portfolio_ids),
        "arguments": json.dumps(dict(arguments or {})),
        "asked_by": by,
        "take_within_seconds": take_within_seconds,
    }
    return tuple(sorted(row[0] for row in fetch_all(connection, "ask_commands", asked)))


def take(connection: Connection, leases: Leases, portfolio_ids: Iterable[str]) -> tuple[Command, ...]:
    """Take the commands of those of these portfolios whose leases this engine holds, oldest first; each once.

    A command that another engine was running, or this one under an earlier epoch of the lease, is taken again.
    """
    held = leases.held
    mine = {name: held[portfolio_lease(name)] for name in portfolio_ids if portfolio_lease(name) in held}
    asked = {
        "holder": leases.holder,
        "portfolio_ids": list(mine),
        "names": [lease.name for lease in mine.values()],
        "epochs": [lease.epoch for lease in mine.values()],
    }
    return _commands(fetch_all(connection, "take_commands", asked)) if mine else ()


def answer(connection: Connection, command: Command, text: str, *, failed: bool = False) -> bool:
    """Answer a command that was taken; False where another engine has taken it over: its answer will count."""
    asked = {
        "id": command.id,
        "taken_by": command.taken_by,
        "taken_epoch": command.taken_epoch,
        "state": "failed" if failed else "done",
        "answer": storable(text),
    }
    return execute(connection, "answer_command", asked) == 1


def wait(
    pool: Pool, ids: Sequence[int], timeout_seconds: float, stop: threading.Event | None = None
) -> tuple[Command, ...]:
    """Wait until these commands are answered; those that nobody has taken by then are withdrawn.

    Args:
        pool: a connection is held only while it is asked.
        ids: as :func:`ask` gave them.
        timeout_seconds: at most; what is running then goes on.
        stop: set by another thread, it ends the waiting at once.

    Returns:
        how they stand, in order of id.
    """
    pause = stop or threading.Event()
    deadline = time.monotonic() + timeout_seconds
    while True:
        with pool.connection() as connection:
            found = read(connection, ids)
            if all(command.answer is not None for command in found):
                return found
            if pause.is_set() or time.monotonic() >= deadline:
                return _withdraw(connection, ids, timeout_seconds)
        pause.wait(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))


def read(connection: Connection, ids: Sequence[int]) -> tuple[Command, ...]:
    """How these commands stand, in order of id."""
    return _commands(fetch_all(connection, "commands", {"ids": list(ids)}))


def _withdraw(connection: Connection, ids: Sequence[int], waited_seconds: float) -> tuple[Command, ...]:
    text = f"no engine took it within {waited_seconds:g} s, so it was withdrawn"
    execute(connection, "withdraw_commands", {"ids": list(ids), "answer": text})
    return read(connection, ids)


def _commands(rows: Sequence[Row]) -> tuple[Command, ...]:
    return tuple(Command(*row) for row in rows)
