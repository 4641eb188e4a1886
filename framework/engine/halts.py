"""Halts: portfolios that may not send new orders. A row says so once it is committed, engine or no engine.

A halt of all portfolios binds those as well that are opened later. Nothing is deleted: who halted and resumed what,
when and why, stays. All functions work on a connection in autocommit or in the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from framework.db.queries import execute, fetch_all
from framework.db.types import Connection

LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Halt:
    """One halt.

    Attributes:
        portfolio_id: ``None``: all portfolios.
        reason: in words.
        keep_orders: whether open orders were to stay open.
        halted_by: who.
        halted_at: when, UTC.
        resumed_by: who ended it; ``None``: it is in force.
        resumed_at: when.
    """

    portfolio_id: str | None
    reason: str
    keep_orders: bool
    halted_by: str
    halted_at: datetime
    resumed_by: str | None = None
    resumed_at: datetime | None = None


def halt(connection: Connection, portfolio_id: str | None, reason: str, by: str, *, keep_orders: bool = False) -> bool:
    """Halt a portfolio (``None``: all); False where it is halted for this reason already.

    Args:
        connection: in a transaction, the halt holds from its commit on.
        portfolio_id: of an open portfolio.
        reason: not empty; made one line of at most 500 characters.
        by: a user, or an engine's holder name.
        keep_orders: open orders stay open.
    """
    asked = {
        "portfolio_id": portfolio_id,
        "reason": " ".join(reason.split())[:LONGEST_REASON],
        "keep_orders": keep_orders,
        "halted_by": by,
    }
    return execute(connection, "halt", asked) == 1


def resume(connection: Connection, portfolio_id: str | None, by: str) -> tuple[Halt, ...]:
    """End the halts of a portfolio; ``None``: all halts, those of single portfolios included.

    Returns:
        the halts that are ended now. A portfolio under a halt of all stays halted (:func:`halts_in_force`).
    """
    rows = fetch_all(connection, "resume", {"portfolio_id": portfolio_id, "resumed_by": by})
    return tuple(sorted((Halt(*row) for row in rows), key=lambda each: each.halted_at))


def halts_in_force(connection: Connection, portfolio_id: str | None) -> tuple[Halt, ...]:
    """Why a portfolio is halted, oldest first; empty: it is not. To be read in the transaction that writes orders.

    For ``None`` every halt in force, of whatever portfolio.
    """
    return tuple(Halt(*row) for row in fetch_all(connection, "halts_in_force", {"portfolio_id": portfolio_id}))


def halt_history(connection: Connection, portfolio_id: str | None = None) -> tuple[Halt, ...]:
    """Every halt of a portfolio (``None``: of any), ended ones included, oldest first."""
    return tuple(Halt(*row) for row in fetch_all(connection, "halt_history", {"portfolio_id": portfolio_id}))
