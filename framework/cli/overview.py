"""How portfolios and engines are, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framework.engine.halts import Halt
from framework.engine.status import EngineSeen, PortfolioOverview

NOTHING_OPEN = (
    "no portfolio is open in these books; `engine portfolio open ID --mode paper --broker paper --account A` opens "
    "one, and so does the first `engine run` of a paper config"
)
#: A row stays a line: rich would fold it into 80 columns where the output is piped, or into those of the terminal.
_PIPED_WIDTH, _LEAST_WIDTH = 240, 116
_COLUMNS = {
    "portfolio": "left", "mode": "left", "broker": "left", "engine": "left", "state": "left", "decided": "left",
    "cycle": "right", "held": "right", "cash": "right", "equity": "right", "in": "left", "orders": "right",
    "failed": "right",
}  # fmt: skip


def state_of(portfolio: PortfolioOverview, halts: Sequence[Halt]) -> str:
    """In a word or two: what holds of the portfolio, whatever its engine said last."""
    if halts:
        return "halted"
    if portfolio.holder is None:
        return "not running"
    if not portfolio.is_held:
        return "engine gone"
    return portfolio.state or "starting"


def halts_of(portfolio: PortfolioOverview, halts: Sequence[Halt]) -> list[Halt]:
    """Those of the halts in force that bind the portfolio."""
    return [each for each in halts if each.portfolio_id in (None, portfolio.portfolio_id)]


def document(
    portfolios: Sequence[PortfolioOverview], halts: Sequence[Halt], engines: Sequence[EngineSeen]
) -> dict[str, Any]:
    """What ``engine status --json`` prints; money as text, moments in ISO 8601, UTC."""
    rows = []
    for each in portfolios:
        own = halts_of(each, halts)
        row = asdict(each) | {
            "status": state_of(each, own),
            "is_held": each.is_held,
            "is_halted": bool(own),
            "halts": [asdict(halt) for halt in own],
        }
        rows.append(row)
    found = {
        "is_all_halted": any(halt.portfolio_id is None for halt in halts),
        "portfolios": rows,
        "engines": [asdict(engine) for engine in engines],
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def show(portfolios: Sequence[PortfolioOverview], halts: Sequence[Halt], engines: Sequence[EngineSeen]) -> None:
    """Print the table, and below it what does not fit into it. ``held`` counts tickers, ``failed`` cycles in a row."""
    console = Console()
    console.width = max(console.width, _LEAST_WIDTH) if console.is_terminal else _PIPED_WIDTH
    if portfolios:
        console.print(_table(portfolios, halts))
    else:
        typer.echo(NOTHING_OPEN)
    for halt in halts:
        whose = "all portfolios are" if halt.portfolio_id is None else f"portfolio {halt.portfolio_id} is"
        when = f"{halt.halted_at:%Y-%m-%d %H:%M:%S} UTC"
        typer.echo(f"{whose} halted since {when} by {halt.halted_by}: {halt.reason}")
    for portfolio in portfolios:
        for line in _remarks(portfolio):
            typer.echo(f"portfolio {portfolio.portfolio_id}: {line}")
    for engine in engines:
        end = f"stopped {engine.age_seconds:.0f} s ago" if engine.stopped_at else f"seen {engine.age_seconds:.0f} s ago"
        typer.echo(f"engine {engine.holder}: config {engine.config_name}, version {engine.version}, {end}")
    if portfolios and not engines:
        typer.echo("no engine was seen in the last minute; `engine run CONFIG` starts one")


def _table(portfolios: Sequence[PortfolioOverview], halts: Sequence[Halt]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name, side in _COLUMNS.items():
        long = name in ("portfolio", "engine")
        table.add_column(name, justify="right" if side == "right" else "left", no_wrap=not long, overflow="ellipsis")
    for each in portfolios:
        table.add_row(*map(Text, _cells(each, halts_of(each, halts))))
    return table


def _cells(each: PortfolioOverview, halts: Sequence[Halt]) -> tuple[str, ...]:
    return (
        each.portfolio_id,
        each.mode,
        each.broker,
        each.holder.rpartition(":")[0] if each.holder else "-",
        state_of(each, halts),
        f"{each.decided_at:%Y-%m-%d %H:%M}" if each.decided_at else "-",
        f"{ago(each.last_cycle_age_seconds)} ago" if each.last_cycle_age_seconds is not None else "-",
        f"{each.positions}",
        f"{each.cash:,.2f}" if each.cash is not None else "-",
        f"{each.equity:,.2f}" if each.equity is not None else "-",
        each.currency,
        f"{each.open_orders}",
        f"{each.consecutive_failures}",
    )


def _remarks(each: PortfolioOverview) -> list[str]:
    found = []
    if each.holder is not None and each.lease_seconds is not None and not each.is_held:
        gone = ago(-each.lease_seconds)
        found.append(f"the lease of {each.holder} expired {gone} ago; the next engine that names it takes over")
    if each.is_held and each.state == "deciding" and each.state_since is not None:
        found.append(f"deciding since {each.state_since:%Y-%m-%d %H:%M:%S} UTC")
    if each.is_held and each.state == "stopped":
        found.append(f"stopped: {each.reason or 'no reason given'}; engine resume {each.portfolio_id} starts it again")
    if each.consecutive_failures and each.last_error:
        found.append(f"{each.consecutive_failures} cycles failed in a row: {each.last_error}")
    return found


def ago(seconds: float) -> str:
    """A length of time in its largest unit: ``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else value
