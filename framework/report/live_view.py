"""The report of a live portfolio as tables on a terminal, as JSON, and as files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framework.books.rows import COLUMNS, TradeRow
from framework.errors import EngineError
from framework.report.files import claim_folder, replacing
from framework.report.live import LiveReport, Moved
from framework.report.words import number, percent

#: Trades, and movements of money, that are shown: the newest ones.
LAST_TRADES = LAST_FLOWS = 10

_FILES = ("equity.csv", "trades.csv", "positions.csv", "flows.csv", "summary.json")
_VALUATION = ("equity", "notional", "realised", "unrealised", "income", "costs")


def document(report: LiveReport) -> dict[str, Any]:
    """What ``--json`` prints and ``summary.json`` holds; money, prices and quantities as text."""
    drawdown = report.drawdown[~_isnan(report.drawdown)]
    found = {
        **asdict(report.portfolio),
        "start": str(report.days[0]),
        "end": str(report.days[-1]),
        "valuations": len(report.valuations),
        "initial_equity": report.before.equity,
        "money_in": report.money_in,
        "money_out": report.money_out,
        "deposits": report.moved("deposit"),
        "withdrawals": -report.moved("withdrawal"),
        "transfers": report.moved("transfer"),
        "adopted": report.moved("adopt"),
        "profit": report.gained("notional"),
        "realised": report.gained("realised"),
        "unrealised": report.gained("unrealised"),
        "income": report.gained("income"),
        "costs": report.gained("costs"),
        "final_equity": report.end.equity,
        "cash": report.cash,
        "total_return": round(float(report.index[-1]) - 1.0, 12),
        "money_weighted_return": report.money_weighted_return,
        "max_drawdown": round(float(min(drawdown, default=0.0)), 12),
        "trades": len(report.trades),
        "turnover": report.turnover,
        "fees": report.fees,
        "slippage": report.slippage,
        "positions": [asdict(each) for each in report.positions],
        "flows": [_flow(each) for each in report.flows],
        "last_trades": [_trade(row) for row in report.trades[-LAST_TRADES:]],
        "notes": list(report.notes),
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def _trade(row: TradeRow) -> dict[str, Any]:
    names = ("exec_timestamp", "ticker", "side", "quantity", "exec_price", "notional", "fees", "slippage_bps")
    return {name: getattr(row, name) for name in names}


def _flow(moved: Moved) -> dict[str, Any]:
    return {"timestamp": moved.at, **{name: getattr(moved, name) for name in ("kind", "amount", "reference")}}


def show_live(report: LiveReport, console: Console) -> None:
    """Print the report."""
    numbers, currency = document(report), report.portfolio.base_currency
    console.print(
        Text(
            f"Portfolio {report.portfolio.portfolio_id}: {report.portfolio.mode}, broker {report.portfolio.broker}, "
            f"account {report.portfolio.account}; {numbers['start']} to {numbers['end']}, "
            f"{numbers['valuations']} valuations"
        ),
        soft_wrap=True,
    )
    console.print(_figures(numbers, currency))
    if report.positions:
        console.print(_positions(report))
    if report.flows:
        console.print(_flows(report))
    if report.trades:
        console.print(_last_trades(report))
    for note in report.notes:
        console.print(Text(f"Note: {note}"), soft_wrap=True)


def _figures(numbers: dict[str, Any], currency: str) -> Table:
    table = _table(currency, "")
    money = [
        ("Equity at the start", "initial_equity"),
        ("Money in", "money_in"),
        ("Money out", "money_out"),
        ("Profit", "profit"),
        ("  realised", "realised"),
        ("  unrealised", "unrealised"),
        ("  income", "income"),
        ("  costs", "costs"),
        ("Equity at the end", "final_equity"),
        ("  cash", "cash"),
        ("Fees of trades", "fees"),
        ("Slippage", "slippage"),
    ]
    for title, key in money:
        table.add_row(title, number(float(numbers[key])), style="bold" if key == "profit" else "")
    table.add_section()
    table.add_row("Time-weighted return", percent(numbers["total_return"], 2, signed=True))
    table.add_row("Money-weighted return a year", percent(numbers["money_weighted_return"], 2, signed=True))
    table.add_row("Max drawdown", percent(numbers["max_drawdown"], 2))
    table.add_row("Trades", f"{numbers['trades']:,}")
    table.add_row("Turnover a year", number(numbers["turnover"]))
    return table


def _positions(report: LiveReport) -> Table:
    table = _table("Position", "Quantity", "Price", "Value")
    for held in report.positions:
        cells = (number(float(value)) if value is not None else "-" for value in (held.price, held.value))
        table.add_row(Text(held.ticker), f"{held.quantity.normalize():,f}", *cells)
    return table


def _flows(report: LiveReport) -> Table:
    title = (
        "Money in and out" if len(report.flows) <= LAST_FLOWS else f"Last {LAST_FLOWS} of {len(report.flows):,} flows"
    )
    table = _table(title, "Kind", "Reference", "Amount", left=3)
    for moved in report.flows[-LAST_FLOWS:]:
        amount = number(float(moved.amount), signed=True)
        table.add_row(f"{moved.at:%Y-%m-%d %H:%M}", moved.kind, Text(moved.reference), amount)
    return table


def _last_trades(report: LiveReport) -> Table:
    table = _table("Last trades", "Side", "Ticker", "Quantity", "Price", "Fees", "Slippage bp", left=3)
    for row in report.trades[-LAST_TRADES:]:
        slipped = None if row.slippage_bps is None else float(row.slippage_bps)
        table.add_row(
            f"{row.exec_timestamp:%Y-%m-%d %H:%M}",
            row.side,
            Text(row.ticker),
            f"{row.quantity.normalize():,f}",
            number(float(row.exec_price), 4),
            number(float(row.fees)),
            number(slipped),
        )
    return table


def _table(*titles: str, left: int = 1) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column, title in enumerate(titles):
        table.add_column(title, justify="left" if column < left else "right", no_wrap=column >= left)
    return table


def write_live(report: LiveReport, folder: Path) -> None:
    """Write ``equity.csv``, ``trades.csv``, ``positions.csv``, ``flows.csv`` and ``summary.json`` into a folder.

    Raises:
        UsageError: the folder holds something that no run wrote, or can't be written.
        EngineError: the disk refused.
    """
    claim_folder(folder, list(_FILES))
    index = (None if math.isnan(value) else f"{value:.10f}" for value in report.index.tolist())
    fall = (None if math.isnan(value) else f"{value:.10f}" for value in report.drawdown.tolist())
    equity = (
        (_moment(each.bar_timestamp or each.timestamp), *(getattr(each, name) for name in _VALUATION), value, depth)
        for each, value, depth in zip(report.valuations, index, fall, strict=True)
    )
    tables = {
        "equity.csv": _csv(("timestamp", *_VALUATION, "return_index", "drawdown"), equity),
        "trades.csv": _csv(COLUMNS, ([_cell(row, name) for name in COLUMNS] for row in report.trades)),
        "positions.csv": _csv(
            ("ticker", "quantity", "price", "value"),
            ((each.ticker, each.quantity, each.price, each.value) for each in report.positions),
        ),
        "flows.csv": _csv(
            ("timestamp", "portfolio_id", "kind", "amount", "reference"),
            (
                (_moment(each.at), report.portfolio.portfolio_id, each.kind, each.amount, each.reference)
                for each in report.flows
            ),
        ),
        "summary.json": json.dumps(document(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    }
    try:
        for name, text in tables.items():
            with replacing(folder / name) as file:
                file.write(text.encode())
    except OSError as error:
        raise EngineError(
            f"the report can't be written to {str(folder)!r}: {error.strerror or error}; free space or choose another "
            "folder with --out"
        ) from error


def _csv(titles: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows([f"{cell:f}" if isinstance(cell, Decimal) else cell for cell in row] for row in rows)
    return buffer.getvalue()


def _cell(row: TradeRow, name: str) -> Any:
    value = getattr(row, name)
    return _moment(value) if isinstance(value, datetime) else value


def _moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _isnan(values: Any) -> Any:
    return values != values


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    return _moment(value) if isinstance(value, datetime) else value
