"""Capital as text and as JSON: what was moved, what is there, what was moved before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framework.books.capital import Capital, Moved
from framework.books.capital_view import Balance, Past, Total
from framework.cli.common import exactly
from framework.cli.overview import NOTHING_OPEN
from framework.model.rates import KnownRate

#: A rate that is older than a long weekend is told of.
_OLD = timedelta(days=5)
#: Wider than any row: money, a reference, a note are never cut short; a terminal may fold the line.
_WIDTH = 1000
_VERBS = {"deposit": "added", "withdrawal": "withdrew", "transfer": "transferred"}


def show_moved(moved: Moved) -> None:
    """Say what became of a movement, at which rate, and what is there now."""
    asked, base = moved.asked, moved.base_currency
    what = f"{exactly(asked.amount)} {moved.currency}"
    if moved.currency != base:
        what += f" = {exactly(moved.notional)} {base} (at {moved.fx_rate:f} {base} per {moved.currency})"
    where = _where(asked)
    if moved.already:
        typer.echo(
            f"the reference {asked.reference} was booked before, on {_minute(moved.at)}: "
            f"{_VERBS[asked.kind]} {what} {where}; nothing was changed"
        )
    else:
        typer.echo(f"{_VERBS[asked.kind]} {what} {where}, reference {asked.reference}")
    if moved.known_rate is not None:
        _show_rate(moved.known_rate, moved.at)
    if moved.is_simulated and not moved.already:
        typer.echo(f"booked at {_minute(moved.at)}, the moment that the books on a simulated clock have come to")
    for portfolio_id, cash in moved.cash.items():
        typer.echo(f"portfolio {portfolio_id}: cash {exactly(cash)} {base}")


def _where(asked: Capital) -> str:
    if asked.to_portfolio_id is not None:
        return f"from portfolio {asked.portfolio_id} to {asked.to_portfolio_id}"
    return f"{'to' if asked.kind == 'deposit' else 'from'} portfolio {asked.portfolio_id}"


def _show_rate(known: KnownRate, at: datetime) -> None:
    over = "1 over " if known.is_inverse else ""
    typer.echo(
        f"the rate is {over}the close of {known.ticker} of {known.source}, known since {_minute(known.known_since)}"
    )
    if at - known.known_since > _OLD:
        typer.echo(
            f"Note: that rate is {(at - known.known_since).days} days old; if it should have been another, undo it "
            "and do it again with --fx-rate",
            err=True,
        )


def show_balances(found: Sequence[Balance], together: Sequence[Total]) -> None:
    """Print a row per portfolio, then what those of a mode and currency have together."""
    if not found:
        typer.echo(NOTHING_OPEN)
        return
    rows = [
        (each.portfolio_id, each.mode, *map(exactly, (each.cash, each.reserved, each.free)), each.currency,
         "never valued" if each.equity is None or each.valued_at is None
         else f"{exactly(each.equity)} on {_minute(each.valued_at)}")
        for each in found
    ]  # fmt: skip
    sums = [
        ("total", each.mode, *map(exactly, (each.cash, each.reserved, each.free)), each.currency, "")
        for each in together
    ]
    _show_table(("portfolio", "mode", "cash", "reserved", "free", "in", "equity"), [*rows, *sums], {2, 3, 4, 6})


def show_history(portfolio: str, found: Sequence[Past]) -> None:
    """Print a row per movement."""
    if not found:
        typer.echo(f"no money was moved into portfolio {portfolio} or out of it")
        return
    rows = [
        (f"{each.booked_at:%Y-%m-%d %H:%M:%S}", _kind(each), _signed(each.change), _foreign(each),
         "-" if each.balance is None else exactly(each.balance), each.reference, each.note or "")
        for each in found
    ]  # fmt: skip
    _show_table(("booked (UTC)", "kind", "amount", "which was", "balance", "reference", "note"), rows, {2, 4})


def _kind(past: Past) -> str:
    if past.is_reversal:
        return f"{past.kind}, reversed"
    if past.other_portfolio_id is None:
        return past.kind
    return f"transfer {'from' if past.change > 0 else 'to'} {past.other_portfolio_id}"


def _foreign(past: Past) -> str:
    """The amount in its own currency, and the rate, where that is not the portfolio's."""
    return "" if past.fx_rate == 1 else f"{exactly(abs(past.amount))} {past.currency} at {past.fx_rate:f}"


def _signed(value: Decimal) -> str:
    return f"{'+' if value > 0 else ''}{exactly(value)}"


def _show_table(names: Sequence[str], rows: Sequence[Sequence[str]], right: set[int]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console()
    console.width = _WIDTH
    console.print(table)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


# As JSON: money as text, moments in ISO 8601, UTC.


def moved_document(moved: Moved) -> dict[str, Any]:
    """What ``engine capital add``, ``withdraw`` and ``transfer`` print with ``--json``."""
    asked, known = moved.asked, moved.known_rate
    rate = None
    if known is not None:
        rate = {
            "source": known.source,
            "ticker": known.ticker,
            "is_inverse": known.is_inverse,
            "known_since": known.known_since.isoformat(),
        }
    return {
        "kind": asked.kind,
        "portfolio_id": asked.portfolio_id,
        "to_portfolio_id": asked.to_portfolio_id,
        "reference": asked.reference,
        "booked_before": moved.already,
        "at": moved.at.isoformat(),
        "amount": f"{asked.amount:f}",
        "currency": moved.currency,
        "fx_rate": f"{moved.fx_rate:f}",
        "rate": rate,
        "notional": f"{moved.notional:f}",
        "base_currency": moved.base_currency,
        "note": asked.note,
        "cash": {portfolio_id: f"{cash:f}" for portfolio_id, cash in moved.cash.items()},
    }


def balances_document(found: Sequence[Balance], together: Sequence[Total]) -> dict[str, Any]:
    """What ``engine capital balance --json`` prints."""
    return {"portfolios": list(map(_balance, found)), "totals": list(map(_total, together))}


def history_document(portfolio_id: str, found: Sequence[Past]) -> dict[str, Any]:
    """What ``engine capital history --json`` prints."""
    return {"portfolio_id": portfolio_id, "movements": list(map(_past, found))}


def _balance(each: Balance) -> dict[str, Any]:
    return {
        "portfolio_id": each.portfolio_id,
        "mode": each.mode,
        "currency": each.currency,
        "cash": f"{each.cash:f}",
        "reserved": f"{each.reserved:f}",
        "free": f"{each.free:f}",
        "equity": None if each.equity is None else f"{each.equity:f}",
        "valued_at": None if each.valued_at is None else each.valued_at.isoformat(),
    }


def _total(each: Total) -> dict[str, Any]:
    money = {"cash": f"{each.cash:f}", "reserved": f"{each.reserved:f}", "free": f"{each.free:f}"}
    return {"mode": each.mode, "currency": each.currency, **money}


def _past(each: Past) -> dict[str, Any]:
    return {
        "trade_id": each.trade_id,
        "booked_at": each.booked_at.isoformat(),
        "at": each.at.isoformat(),
        "kind": each.kind,
        "reference": each.reference,
        "is_reversal": each.is_reversal,
        "other_portfolio_id": each.other_portfolio_id,
        "change": f"{each.change:f}",
        "amount": f"{each.amount:f}",
        "currency": each.currency,
        "fx_rate": f"{each.fx_rate:f}",
        "balance": None if each.balance is None else f"{each.balance:f}",
        "note": each.note,
    }
