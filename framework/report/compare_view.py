"""Runs side by side: tables on a terminal, a column for each run, and a document for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framework.report.compare import Comparison, Difference
from framework.report.measures import OF_RETURNS, Measure
from framework.report.summary import finite
from framework.report.words import NOTHING, day, number

#: Most differing keys that are listed; the document has all.
DIFFERENCES_SHOWN = 40

#: Most characters of a value of a config, and of a run's name or another word, in a column.
VALUE_WIDTH, WORD_WIDTH = 160, 24

#: Stands behind the best value of a row.
BEST = " *"

_BESIDE = " " * len(BEST)
_GAP = 3  # characters between two columns


@dataclass(frozen=True)
class _Column:
    """A column under its head; numbers are never folded, words are."""

    head: str
    cells: list[str]
    are_numbers: bool = True

    @property
    def width(self) -> int:
        """Characters that it needs."""
        widest = max(map(len, self.cells), default=0)
        if self.are_numbers:
            return max(widest, min(len(self.head), WORD_WIDTH))
        return min(max(widest, len(self.head)), WORD_WIDTH)

    @property
    def aligned(self) -> list[str]:
        """The cells; numbers with what stands before them, so that nothing behind them is cut off."""
        return [cell.rjust(self.width) for cell in self.cells] if self.are_numbers else self.cells


def document(found: Comparison) -> dict[str, Any]:
    """What ``--json`` prints: numbers, and ``None`` for what is undefined."""
    names, rows = found.names, {each.key: found.row(each) for each in found.measures}
    gaps = {each.key: found.against_first(each) for each in found.measures}
    runs = [
        {
            "name": name,
            "folder": str(run.folder),
            "strategy": run.strategy,
            "currency": run.currency,
            "start": str(run.start),
            "end": str(run.end),
            "sessions": len(run.curve.ends),
            "sessions_per_year": run.per_year,
            "figures": {key: values[i] for key, values in rows.items()},
            "against_first": {key: values[i] for key, values in gaps.items()},
            "fingerprint": run.fingerprint,
            "prices": run.prices,
            "fill": run.fill,
            "costs": run.costs,
            "versions": run.versions,
        }
        for i, (name, run) in enumerate(zip(names, found.runs, strict=True))
    ]
    best = {each.key: [names[i] for i in found.best(each)] for each in found.measures if each.better}
    years = zip(found.years.astype(str).tolist(), found.yearly.tolist(), strict=True)
    plain: dict[str, Any] = finite(
        {
            "runs": runs,
            "best": best,
            "common": _common(found),
            "correlation": found.correlation.tolist(),
            "correlation_sessions": found.shared.tolist(),
            "yearly_returns": dict(years),
            "differs": {
                "config": {each.path: each.values for each in found.settings},
                "else": {each.path: each.values for each in found.circumstances},
            },
            "warnings": found.warnings,
        }
    )
    return plain


def _common(found: Comparison) -> dict[str, Any] | None:
    common = found.common
    if common is None:
        return None
    return {
        "start": str(common.start),
        "end": str(common.end),
        "sessions": common.sessions,
        "figures": [asdict(figures) for figures in common.figures],
    }


def show_comparison(found: Comparison, console: Console) -> None:
    """Print the figures, what differs, how the runs move together, and the warnings."""
    for title, labels, columns in (_figures(found), *_gaps(found), *_on_common(found), *_correlations(found)):
        _print(console, title, labels, columns)
    if found.has_best:
        console.print(Text("* the best of its row"), soft_wrap=True)
    _show_differences(found, console)
    for warning in found.warnings:
        console.print(Text(f"Note: {warning}", "yellow"), soft_wrap=True)


#: The head of the first column, the first column, and a column for each run.
_Block = tuple[str, list[str], list[_Column]]


def _figures(found: Comparison) -> _Block:
    measures = found.measures
    columns = []
    currencies = {run.currency for run in found.runs}
    for i, (name, run) in enumerate(zip(found.names, found.runs, strict=True)):
        words = [day(run.start), day(run.end), *([] if len(currencies) == 1 else [run.currency or NOTHING])]
        cells = [_marked(each, run.figures.get(each.key), i in found.best(each)) for each in measures]
        columns.append(_Column(name, [*(word + _BESIDE for word in words), *cells]))
    if len(found.runs) == 2:
        gaps = [each.gap(found.against_first(each)[1]) for each in measures]
        columns.append(_Column("Difference", [""] * (len(words)) + gaps))
    labels = ["First session", "Last session", "Currency"][: len(words)]
    title = currencies.pop() if len(currencies) == 1 else ""
    return title, [*labels, *(each.title for each in measures)], columns


def _marked(measure: Measure, value: float | None, is_best: bool) -> str:
    return measure.text(value) + (BEST if is_best else _BESIDE)


def _gaps(found: Comparison) -> list[_Block]:
    """Differences from the first run, where there is more than one other."""
    if len(found.runs) == 2:
        return []
    columns = [
        _Column(name, [each.gap(found.against_first(each)[i]) for each in found.measures])
        for i, name in enumerate(found.names)
        if i
    ]
    return [(f"Less {found.names[0]}", [each.title for each in found.measures], columns)]


def _on_common(found: Comparison) -> list[_Block]:
    """Figures on the common sessions, where these are not all that there is."""
    if found.common is None or found.is_same_span:
        return []
    rows = [(each, found.common.row(each)) for each in OF_RETURNS]
    columns = [
        _Column(name, [_marked(each, values[i], i in each.best(values)) for each, values in rows])
        for i, name in enumerate(found.names)
    ]
    return [("On common sessions", [each.title for each in OF_RETURNS], columns)]


def _correlations(found: Comparison) -> list[_Block]:
    columns = [
        _Column(name, [number(value, 3) for value in row])
        for name, row in zip(found.names, found.correlation.tolist(), strict=True)
    ]
    return [("Correlation", list(found.names), columns)]


def _show_differences(found: Comparison, console: Console) -> None:
    every = (*found.settings, *found.circumstances)
    if not every:
        console.print(Text("Nothing differs: config, data, dates and versions are the same."), soft_wrap=True)
        return
    shown = every[:DIFFERENCES_SHOWN]
    columns = [
        _Column(name, [value_text(each, i) for each in shown], are_numbers=False) for i, name in enumerate(found.names)
    ]
    _print(console, "What differs", [each.path for each in shown], columns)
    if len(every) > len(shown):
        console.print(Text(f"… and {len(every) - len(shown):,} more; --json has all"), soft_wrap=True)


def value_text(difference: Difference, run: int) -> str:
    """A run's value as text that fits a column."""
    value = difference.values[run]
    if value is None:
        return NOTHING
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    return shortened(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), VALUE_WIDTH)


def shortened(text: str, most: int) -> str:
    """The text, its end cut off where it has more than ``most`` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _print(console: Console, title: str, labels: Sequence[str], columns: Sequence[_Column]) -> None:
    """A table, or as many below each other as it takes for all columns to have the width that they need."""
    room = console.width - _GAP - max(column.width for column in columns)
    most = WORD_WIDTH if columns[0].are_numbers else max(WORD_WIDTH, console.width // 2)
    first = min(max(map(len, [title, *labels])), most, max(room, 1))
    for block in _blocks(columns, console.width - first):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column(Text(title, overflow="fold"), overflow="fold", width=first)
        for column in block:
            if column.are_numbers:
                head = Text(column.head, justify="right", overflow="fold", no_wrap=False)
                table.add_column(head, width=column.width, no_wrap=True)
            else:
                table.add_column(Text(column.head, overflow="fold"), overflow="fold", min_width=column.width)
        for label, *cells in zip(labels, *(column.aligned for column in block), strict=True):
            table.add_row(Text(label), *(Text(cell, "bold" if cell.endswith(BEST) else "") for cell in cells))
        console.print(table)
        console.print()


def _blocks(columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """The columns in order, as many together as fit; one at least."""
    blocks: list[list[_Column]] = [[]]
    left = width
    for column in columns:
        left -= _GAP + column.width
        if left < 0 and blocks[-1]:
            blocks.append([])
            left = width - _GAP - column.width
        blocks[-1].append(column)
    return blocks
