"""How engines and portfolios are: engines say it with every heartbeat, operators read it with ``engine status``.

What is said here decides nothing: leases say who runs a portfolio, halts whether it may trade.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from framework.db.queries import execute, fetch_all
from framework.db.types import Connection
from framework.engine.leases import portfolio_lease

State: TypeAlias = Literal["starting", "waiting", "deciding", "halted", "stopped"]

LONGEST_TEXT = 500
#: Engines that were not seen for longer are not shown.
SEEN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class PortfolioStatus:
    """What an engine says of a portfolio that it holds.

    Attributes:
        portfolio_id: which.
        state: what it does.
        state_since: since when, UTC.
        reason: why it is halted or stopped.
        last_cycle_at: end of its last cycle; ``None``: there was none yet.
        cycles: finished by this engine.
        consecutive_failures: of its last cycles.
        last_error: of the last failure, in a sentence; no secret.
        next_due_at: when it decides next.
    """

    portfolio_id: str
    state: State
    state_since: datetime
    reason: str | None = None
    last_cycle_at: datetime | None = None
    cycles: int = 0
    consecutive_failures: int = 0
    last_error: str | None = None
    next_due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EngineSeen:
    """An engine that was seen lately; ``age_seconds`` since it was, by the database's clock."""

    holder: str
    host: str
    pid: int
    version: str
    config_name: str
    started_at: datetime
    seen_at: datetime
    stopped_at: datetime | None
    age_seconds: float


@dataclass(frozen=True, slots=True)
class PortfolioOverview:
    """A portfolio as ``engine status`` shows it.

    Attributes:
        holder: of its lease, expired or not; ``None``: nobody's.
        lease_seconds: until its lease expires; negative: since it has.
        state … next_due_at: what its engine said last, see :class:`PortfolioStatus`; ``None``: none has ever run it.
        last_cycle_age_seconds: since its last cycle, by the database's clock.
        decided_at: the moment of its last decision.
        cash: latest balance; ``None``: nothing is booked.
        equity: of its latest valuation; ``None``: there is none.
        positions: how many tickers it holds.
        open_orders: that have not ended.
    """

    portfolio_id: str
    mode: str
    broker: str
    account: str
    currency: str
    holder: str | None
    lease_seconds: float | None
    state: State | None
    state_since: datetime | None
    reason: str | None
    last_cycle_at: datetime | None
    last_cycle_age_seconds: float | None
    cycles: int
    consecutive_failures: int
    last_error: str | None
    next_due_at: datetime | None
    decided_at: datetime | None
    cash: Decimal | None
    equity: Decimal | None
    positions: int
    open_orders: int

    @property
    def is_held(self) -> bool:
        """Whether an engine runs it: its lease has not expired."""
        return self.lease_seconds is not None and self.lease_seconds > 0


def register_engine(connection: Connection, holder: str, version: str, config_name: str) -> None:
    """Say that this process is an engine that has started."""
    asked = {
        "holder": holder,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": version,
        "config_name": config_name[:200],
    }
    execute(connection, "register_engine", asked)


def engine_stopped(connection: Connection, holder: str) -> None:
    """Say that an engine has stopped, as the last thing that it does."""
    execute(connection, "engine_stopped", {"holder": holder})


def write_status(connection: Connection, holder: str, statuses: Sequence[PortfolioStatus]) -> None:
    """The heartbeat, one statement: the engine lives, and so do these portfolios (those whose lease it still holds)."""
    asked: dict[str, Any] = {"holder": holder}
    asked["portfolio_ids"] = [status.portfolio_id for status in statuses]
    asked["names"] = [portfolio_lease(status.portfolio_id) for status in statuses]
    for name in ("state", "state_since", "last_cycle_at", "cycles", "consecutive_failures", "next_due_at"):
        asked[name] = [getattr(status, name) for status in statuses]
    for name in ("reason", "last_error"):
        asked[name] = [_short(getattr(status, name)) for status in statuses]
    execute(connection, "write_status", asked)


def read_overview(connection: Connection) -> tuple[PortfolioOverview, ...]:
    """How every portfolio of the books is, in order of id."""
    return tuple(PortfolioOverview(*row) for row in fetch_all(connection, "portfolio_overview"))


def read_engines(connection: Connection, seen_within_seconds: float = SEEN_SECONDS) -> tuple[EngineSeen, ...]:
    """The engines that were seen lately, newest first, those that have stopped included."""
    return tuple(EngineSeen(*row) for row in fetch_all(connection, "engines_seen", {"seconds": seen_within_seconds}))


def _short(text: str | None) -> str | None:
    return text if text is None else storable(" ".join(text.split()))[:LONGEST_TEXT]


def storable(text: str) -> str:
    """A text of anybody's as PostgreSQL takes it: no NUL, no halves of characters."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "?")
