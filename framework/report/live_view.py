"""The report of a live portfolio as tables on a terminal, and as JSON."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framework.books.rows import TradeRow
from framework.report import attribution_view
from framework.report.account import Accounts
from framework.report.attribution import Attribution
from framework.report.basis import Basis
from framework.report.live import LiveReport, Moved
from framework.report.summary import finite, grounds, section
from framework.report.words import number, percent

#: Trades, and movements of money, that are shown: the newest ones.
LAST_TRADES = LAST_FLOWS = 10

_VALUATION = ("equity", "notional", "realised", "unrealised", "income", "costs")


def document(report: LiveReport, made: Accounts, basis: Basis, comparison: Attribution | None = None) -> dict[str, Any]:
    """What ``--json`` prints and ``summary.json`` holds; money, prices and quantities as text, and as in the books.

    ``total`` holds the figures of a backtest's summary, as numbers.
    """
    account = made.total
    figures = account.curve.figures
    found = {
        **finite(grounds(basis)),  # but for the costs, which here are money
        "name": basis.name,
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
        "total_return": round(figures.total_return, 12),
        "money_weighted_return": account.money_weighted_return,
        "max_drawdown": round(figures.max_drawdown, 12),
        "trades": len(report.trades),
        "turnover": account.turnover,
        "fees": report.fees,
        "slippage": report.slippage,
        "dividends": report.dividends,
        "splits": account.actions.splits,
        "positions": [asdict(each) for each in report.positions],
        "flows": [_flow(each) for each in report.flows],
        "last_trades": [_trade(row) for row in report.trades[-LAST_TRADES:]],
        "comparison": None if comparison is None else attribution_view.document(comparison),
        "portfolios": {account.name: finite(section(account, made, basis))},
        "total": finite(section(account, made, basis)),
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def _trade(row: TradeRow) -> dict[str, Any]:
    names = ("exec_timestamp", "ticker", "side", "quantity", "exec_price", "notional", "fees", "slippage_bps")
    return {name: getattr(row, name) for name in names}


def _flow(moved: Moved) -> dict[str, Any]:
    return {"timestamp": moved.at, **{name: getattr(moved, name) for name in ("kind", "amount", "reference")}}


def show_live(
    report: LiveReport, made: Accounts, basis: Basis, comparison: Attribution | None, console: Console
) -> None:
    """Print the report."""
    numbers, currency = document(report, made, basis), report.portfolio.base_currency
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
    if comparison is not None:
        console.print(_comparison(comparison))
        for text in (attribution_view.sentence(comparison, currency), attribution_view.counts(comparison)):
            console.print(Text(text), soft_wrap=True)
    for note in basis.notes:
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
        *([("Dividends", "dividends")] if float(numbers["dividends"]) else []),
    ]
    for title, key in money:
        table.add_row(title, number(float(numbers[key])), style="bold" if key == "profit" else "")
    table.add_section()
    table.add_row("Time-weighted return", percent(numbers["total_return"], 2, signed=True))
    table.add_row("Money-weighted return a year", percent(numbers["money_weighted_return"], 2, signed=True))
    table.add_row("Max drawdown", percent(numbers["max_drawdown"], 2))
    table.add_row("Trades", f"{numbers['trades']:,}")
    if numbers["splits"]:
        table.add_row("Splits", f"{numbers['splits']:,}")
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


def _comparison(comparison: Attribution) -> Table:
    found = attribution_view.parts_table(comparison)
    table = _table("Against the backtest", *found.heads[1:], left=found.left)
    for row in found.rows:
        table.add_row(*row, style="bold" if row is found.rows[-1] else "")
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


def valuations_text(report: LiveReport) -> str:
    """``valuations.csv``: the rows of ``pnl_book`` in the period, exactly; ``timestamp`` is the newest bar's."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("timestamp", "booked", *_VALUATION))
    for each in report.valuations:
        parts = (f"{getattr(each, name):f}" for name in _VALUATION)
        writer.writerow((_moment(each.bar_timestamp or each.timestamp), _moment(each.timestamp), *parts))
    return buffer.getvalue()


def _moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    return _moment(value) if isinstance(value, datetime) else value
