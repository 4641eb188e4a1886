"""What operators do with portfolios that any engine, anywhere, may be running: halt, resume, liquidate.

A halt is in force with its row, engine or no engine. What takes an engine (cancelling orders, selling) is asked of the
one that holds the portfolio, and its answer waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from framework.books import journal
from framework.db.pool import Pool
from framework.db.queries import fetch_one
from framework.db.types import Connection
from framework.engine import commands
from framework.engine.halts import Halt, halt, halts_in_force, resume
from framework.engine.status import PortfolioOverview, read_overview

LIQUIDATION = "liquidation"

#: Is told, once what needs no engine is committed, whose answers are waited for.
Announce: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one portfolio.

    Attributes:
        portfolio_id: which.
        ok: what was asked is done.
        text: in words, for the operator.
        holder: the engine that was asked; ``None``: none holds it.
    """

    portfolio_id: str
    ok: bool
    text: str
    holder: str | None = None


def halt_portfolios(
    pool: Pool,
    portfolio_id: str | None,
    reason: str,
    by: str,
    *,
    keep_orders: bool,
    timeout_seconds: float,
    announce: Announce,
) -> tuple[Outcome, ...]:
    """Halt an open portfolio (``None``: all, later ones included); who runs it cancels its open orders, unless kept."""
    with pool.transaction() as connection:
        halt(connection, portfolio_id, reason, by, keep_orders=keep_orders)
        asked = _ask(connection, "halt", portfolio_id, by, {"keep_orders": keep_orders}, timeout_seconds)
    return tuple(
        answered or Outcome(each.portfolio_id, True, _halt_unattended(pool, each, keep_orders))
        for each, answered in _answers(pool, asked, timeout_seconds, "halted", announce)
    )


def resume_portfolios(
    pool: Pool, portfolio_id: str | None, by: str, *, timeout_seconds: float, announce: Announce
) -> tuple[Outcome, ...]:
    """End the halts of a portfolio (``None``: all halts of all), and let who runs it go on."""
    with pool.transaction() as connection:
        ended = resume(connection, portfolio_id, by)
        left = halts_in_force(connection, portfolio_id)
        if left:
            assert portfolio_id is not None, "all halts were ended"
            why = "; ".join(each.reason for each in left)
            text = f"stays halted, as all portfolios are ({why}); engine resume --all ends that"
            return (Outcome(portfolio_id, False, text),)
        asked = _ask(connection, "resume", portfolio_id, by, {}, timeout_seconds)
    return tuple(
        answered or Outcome(each.portfolio_id, True, f"{_ended(each, ended)}; no engine runs it")
        for each, answered in _answers(pool, asked, timeout_seconds, "resumed", announce)
    )


def liquidate_portfolio(
    pool: Pool, portfolio_id: str, by: str, *, timeout_seconds: float, announce: Announce
) -> Outcome:
    """Halt an open portfolio and have who runs it cancel its orders and sell what it holds. It stays halted."""
    with pool.transaction() as connection:
        halt(connection, portfolio_id, LIQUIDATION, by)
        asked = _ask(connection, "liquidate", portfolio_id, by, {}, timeout_seconds)
    ((each, answered),) = _answers(pool, asked, timeout_seconds, "halted", announce)
    text = (
        f"halted, but nothing was sold, as no engine runs it; tickers held: {each.positions}. Start one "
        f"(engine run CONFIG), then type: engine liquidate {portfolio_id}"
    )
    return answered or Outcome(portfolio_id, False, text)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The portfolios concerned, and the ids of the commands for those that an engine holds."""

    portfolios: tuple[PortfolioOverview, ...]
    ids: tuple[int, ...]


def _ask(
    connection: Connection,
    kind: commands.Kind,
    portfolio_id: str | None,
    by: str,
    arguments: Mapping[str, Any],
    timeout_seconds: float,
) -> _Asked:
    concerned = tuple(each for each in read_overview(connection) if portfolio_id in (None, each.portfolio_id))
    held = [each.portfolio_id for each in concerned if each.is_held]
    return _Asked(concerned, commands.ask(connection, kind, held, by, arguments, take_within_seconds=timeout_seconds))


def _answers(
    pool: Pool, asked: _Asked, timeout_seconds: float, what: str, announce: Announce
) -> list[tuple[PortfolioOverview, Outcome | None]]:
    """Wait for the engines; each portfolio with what its engine said, ``None`` where there is none."""
    holders = sorted({each.holder for each in asked.portfolios if each.is_held and each.holder})
    if asked.ids:
        announce(f"{what}; waiting up to {timeout_seconds:g} s for {', '.join(holders)}")
    found = {each.portfolio_id: each for each in commands.wait(pool, asked.ids, timeout_seconds)}
    return [
        (each, _outcome(found[each.portfolio_id], each, timeout_seconds, what) if each.portfolio_id in found else None)
        for each in asked.portfolios
    ]


def _outcome(command: commands.Command, overview: PortfolioOverview, waited_seconds: float, what: str) -> Outcome:
    if command.taken_by is None:
        text = (
            f"{what}, but engine {overview.holder} has not answered within {waited_seconds:g} s; if it does not live "
            "any more (engine status), the next one takes over what is open"
        )
    elif command.answer is None:
        text = f"{what}; engine {command.taken_by} is still at it after {waited_seconds:g} s (engine status)"
    else:
        text = command.answer
    return Outcome(command.portfolio_id, command.state == "done", text, command.taken_by or overview.holder)


def _halt_unattended(pool: Pool, overview: PortfolioOverview, keep_orders: bool) -> str:
    """Take back what was never sent; what the broker has is cancelled by the next engine, which finds it noted."""
    with pool.connection() as connection:
        orders = journal.read_live_orders(connection, overview.portfolio_id)
    if not orders:
        return "halted; no engine runs it, and it has no open orders"
    if keep_orders:
        return f"halted; no engine runs it; open orders: {len(orders)}, they stay open"
    reasons = {order.order_id: "halted" for order in orders if order.cancel_reason is None}
    with pool.connection() as connection:
        now = fetch_one(connection, "database_time")
    assert now is not None
    journal.cancel(pool, overview.portfolio_id, reasons, now[0])
    planned = sum(order.state == "planned" for order in orders)
    return (
        f"halted; no engine runs it; orders never sent: {planned}, taken back; at the broker: {len(orders) - planned}, "
        "the next engine that runs it cancels them before anything else"
    )


def _ended(overview: PortfolioOverview, ended: Sequence[Halt]) -> str:
    reasons = [each.reason for each in ended if each.portfolio_id in (None, overview.portfolio_id)]
    return f"resumed (was halted: {'; '.join(reasons)})" if reasons else "was not halted"
