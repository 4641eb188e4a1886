"""What the terminal shows after a run: a line for each portfolio and for the total, then where the report is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framework.report.words import number, percent

#: Net of all that came and went, as a key beside those of the summary.
MONEY_IN = "money_in"

#: What a column shows of a portfolio's figures: title, key, how it is written, and the narrowest terminal (characters)
#: that shows it.
Shown = tuple[str, str, Callable[[Any], str], int]

COLUMNS: tuple[Shown, ...] = (
    ("Return", "total_return", lambda value: percent(value, signed=True), 0),
    ("CAGR", "cagr", lambda value: percent(value, signed=True), 80),
    ("Sharpe", "sharpe", number, 70),
    ("Max drawdown", "max_drawdown", percent, 50),
    ("Trades", "trades", lambda value: f"{value:,}", 60),
    ("Final equity", "final_equity", number, 0),
)

#: What splits and dividends did, where they did anything; before the last of the others. With those of flows there
#: must be so much more room.
ACTION_COLUMNS: tuple[Shown, ...] = (
    ("Splits", "splits", lambda value: f"{value:,}", 105),
    ("Dividends", "dividends", number, 95),
)
FLOWS_WIDER = 35

#: The same where money came or went: how much that was, and what a year brought on the money that was there.
FLOW_COLUMNS: tuple[Shown, ...] = (
    ("Return", "total_return", lambda value: percent(value, signed=True), 0),
    ("CAGR", "cagr", lambda value: percent(value, signed=True), 100),
    ("Money-weighted", "money_weighted_return", lambda value: percent(value, signed=True), 115),
    ("Sharpe", "sharpe", number, 90),
    ("Max drawdown", "max_drawdown", percent, 50),
    ("Trades", "trades", lambda value: f"{value:,}", 60),
    ("Net money in", MONEY_IN, lambda value: number(value, signed=True), 78),
    ("Final equity", "final_equity", number, 0),
)


def show_run(numbers: Mapping[str, Any], report: Path, console: Console) -> None:
    """Print the table of a run and the path of its report.

    Args:
        numbers: what ``summary()`` returned, or ``summary.json`` read back.
        report: path of ``report.html``.
        console: where to print; its width decides which columns fit.
    """
    console.print(run_table(numbers, console.width))
    console.print(Text.assemble("Report: ", (str(report), "bold")), soft_wrap=True)


def run_table(numbers: Mapping[str, Any], width: int) -> Table:
    """The table alone, for a terminal ``width`` characters wide; the total only where a portfolio is not all."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("Portfolio", overflow="fold")
    rows = {name: _with_money_in(figures) for name, figures in numbers["portfolios"].items()}
    total, master = _with_money_in(numbers["total"]), numbers.get("master")
    moved = [figures.get(key) for figures in rows.values() for key in ("deposits", "withdrawals", "transfers")]
    has_flows = master is not None or any(moved)
    *first, last = (column for column in (FLOW_COLUMNS if has_flows else COLUMNS) if width >= column[3])
    room = width - FLOWS_WIDER if has_flows else width
    acted = [each for each in ACTION_COLUMNS if room >= each[3] and any(row.get(each[1]) for row in rows.values())]
    columns = [*first, *acted, last]
    for title, *_ in columns:
        table.add_column(title, justify="right", no_wrap=True)
    for name, figures in rows.items():
        table.add_row(Text(name), *_cells(figures, columns))
    if master is not None:
        cash = {"final_equity": master["final_cash"], MONEY_IN: master["net_flows"] + master["transfers"]}
        table.add_row(Text("0 (master)"), *_cells(cash, columns))
    if len(rows) > 1 or master is not None:
        table.add_section()
        table.add_row(Text("total"), *_cells(total, columns), style="bold")
    return table


def _with_money_in(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures, and the sum of what came and went; the summary of an older version has no flows."""
    return {**figures, MONEY_IN: figures.get("net_flows", 0.0) + figures.get("transfers", 0.0)}


def _cells(figures: Mapping[str, Any], columns: list[Shown]) -> list[Text]:
    """Of each column; empty where there is no such figure."""
    return [
        Text(write(figures[key]), _colour(key, figures[key])) if key in figures else Text()
        for _, key, write, _ in columns
    ]


def _colour(key: str, value: Any) -> str:
    if key != "total_return" or not value:
        return ""
    return "green" if value > 0 else "red"
