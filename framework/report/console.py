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

#: Title, key in the summary, how it is written, and the narrowest terminal (characters) that shows it.
COLUMNS: tuple[tuple[str, str, Callable[[Any], str], int], ...] = (
    ("Return", "total_return", lambda value: percent(value, signed=True), 0),
    ("CAGR", "cagr", lambda value: percent(value, signed=True), 80),
    ("Sharpe", "sharpe", number, 70),
    ("Max drawdown", "max_drawdown", percent, 50),
    ("Trades", "trades", lambda value: f"{value:,}", 60),
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
    """The table alone, for a terminal ``width`` characters wide; the total only beside several portfolios."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("Portfolio", overflow="fold")
    columns = [column for column in COLUMNS if width >= column[3]]
    for title, *_ in columns:
        table.add_column(title, justify="right", no_wrap=True)
    rows = list(numbers["portfolios"].items())
    for name, figures in rows:
        table.add_row(Text(name), *_cells(figures, columns))
    if len(rows) > 1:
        table.add_section()
        table.add_row(Text("total"), *_cells(numbers["total"], columns), style="bold")
    return table


def _cells(figures: Mapping[str, Any], columns: list[tuple[str, str, Callable[[Any], str], int]]) -> list[Text]:
    return [Text(write(figures[key]), _colour(key, figures[key])) for _, key, write, _ in columns]


def _colour(key: str, value: Any) -> str:
    if key != "total_return" or not value:
        return ""
    return "green" if value > 0 else "red"
