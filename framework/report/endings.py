"""How paper portfolios stand when their engine has stopped: a table for people, a document for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framework.model.result import Ending


def as_document(endings: Sequence[Ending]) -> dict[str, Any]:
    """What ``--json`` prints; money and quantities as text."""
    return {"portfolios": {ending.portfolio_id: _plain(ending) for ending in endings}}


def show_endings(endings: Sequence[Ending], console: Console) -> None:
    """Print the table."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("Portfolio", overflow="fold")
    for title in ("Equity", "Profit", "Cash"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("Holds", overflow="fold")
    table.add_column("Trades", justify="right")
    for ending in endings:
        held = ", ".join(f"{quantity.normalize():f} {ticker}" for ticker, quantity in ending.positions.items())
        profit = Text(_money(ending.profit, "+"), _colour(ending.profit))
        table.add_row(
            Text(ending.portfolio_id),
            _money(ending.equity),
            profit,
            _money(ending.cash),
            held or "-",
            str(ending.trades),
        )
    console.print(table)


def _plain(ending: Ending) -> dict[str, Any]:
    found = asdict(ending) | {"positions": {ticker: f"{held:f}" for ticker, held in ending.positions.items()}}
    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in found.items()}


def _money(amount: Decimal | None, sign: str = "") -> str:
    return "-" if amount is None else f"{amount:{sign},.2f}"


def _colour(profit: Decimal | None) -> str:
    if not profit:
        return ""
    return "green" if profit > 0 else "red"
