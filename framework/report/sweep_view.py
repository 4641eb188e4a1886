"""A sweep on a terminal, a few lines, and as a document for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framework.model.sweep import Sweep, Value
from framework.report.compare_view import shortened
from framework.report.measures import Measure
from framework.report.summary import finite
from framework.report.sweep_findings import Findings, Lost, Step, find
from framework.report.sweep_words import axis_names, lead, measure_of, measures, paragraphs, value_text, values_text
from framework.report.words import span

#: Most trials, and most reasons, that are listed.
TRIALS_SHOWN, REASONS_SHOWN = 10, 5

#: Most figures beside a trial's values, the objective first; fewer where the terminal is narrow.
FIGURES_SHOWN = 6

#: Characters that a figure takes, the most that a value takes, and those between two columns.
_FIGURE_WIDTH, _VALUE_WIDTH, _GAP = 13, 24, 3


def show_sweep(sweep: Sweep, folder: Path, console: Console) -> None:
    """Print the result in words, the best trials, the windows, what has no figures, and where the files are.

    Args:
        sweep: what is told of.
        folder: where ``write_sweep`` put it.
        console: where to print; its width decides how many figures are shown.
    """
    found = find(sweep)
    for sentence in (*lead(found), *(" ".join(each) for each in paragraphs(found))):
        console.print(Text(sentence), soft_wrap=True)
    for lost in found.lost[:REASONS_SHOWN]:
        console.print(Text(_lost_text(sweep, lost), "yellow"), soft_wrap=True)
    if len(found.lost) > REASONS_SHOWN:
        console.print(Text(f"  … and {len(found.lost) - REASONS_SHOWN:,} other reasons"), soft_wrap=True)
    console.print()
    for table in (_ranking(found, console.width), _steps(found)):
        if table is not None:
            console.print(table)
            console.print()
    for note in sweep.notes:
        console.print(Text(f"Note: {note}", "yellow"), soft_wrap=True)
    console.print(Text.assemble("Report: ", (str(folder / "report.html"), "bold")), soft_wrap=True)
    console.print(Text(f"All trials: {folder / 'results.csv'}"), soft_wrap=True)


def _lost_text(sweep: Sweep, lost: Lost) -> str:
    where = f", such as {values_text(sweep.axes, lost.values)}" if sweep.axes else ""
    return f"  {lost.count:,} {lost.status}: {shortened(' '.join(lost.reason.split()), 300)}{where}"


def _ranking(found: Findings, width: int) -> Table | None:
    """The best values, the best first; ``None``: nothing has figures."""
    names, shown = axis_names(found.sweep.axes), measures(found.sweep)
    best = found.main.ranked[:TRIALS_SHOWN]
    if not best:
        return None
    texts = [[value_text(value) for value in standing.values] for standing in best]
    taken = [min(_VALUE_WIDTH, max(map(len, column))) + _GAP for column in zip(names, *texts, strict=True)]
    room = (width - len(str(len(best))) - sum(taken)) // (_FIGURE_WIDTH + _GAP)
    shown = shown[: max(1, min(FIGURES_SHOWN, room))]
    table = _table(("", *names), [each.title for each in shown])
    table.title = found.main.title
    for place, (values, standing) in enumerate(zip(texts, best, strict=True), 1):
        figures = [Text(each.text(standing.figures.get(each.key))) for each in shown]
        table.add_row(f"{place}", *map(Text, values), *figures, style="bold" if place == 1 else "")
    return table


def _steps(found: Findings) -> Table | None:
    """The windows of a walk forward."""
    if not found.steps:
        return None
    measure = measure_of(found.sweep.objective)
    heads = [f"{measure.title} before", f"{measure.title} in the test"]
    table = _table(("Test", *axis_names(found.sweep.axes)), heads)
    for step in found.steps:
        table.add_row(Text(span(step.window.test_start, step.window.test_end)), *_step(found, step, measure))
    return table


def _step(found: Findings, step: Step, measure: Measure) -> list[Text]:
    values = [""] * len(found.sweep.axes) if step.values is None else map(value_text, step.values)
    return [
        Text(text) for text in (*values, measure.text(step.train(measure.key)), measure.text(step.test(measure.key)))
    ]


def _table(words: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title_justify="left")
    for word in words:
        table.add_column(Text(word), overflow="fold", max_width=_VALUE_WIDTH)
    for title in numbers:
        table.add_column(Text(title, justify="right"), justify="right", no_wrap=True)
    return table


# For programs.


def document(sweep: Sweep) -> dict[str, Any]:
    """What ``--json`` prints and ``sweep.json`` holds: numbers, and ``None`` for what is undefined."""
    return document_of(find(sweep))


def document_of(found: Findings) -> dict[str, Any]:
    """The same of a sweep that is worked out already."""
    sweep, best = found.sweep, None if found.steps else found.main.best
    plain: dict[str, Any] = finite(
        {
            "name": sweep.name,
            "method": sweep.method,
            "objective": sweep.objective,
            "start": str(sweep.start),
            "end": str(sweep.end),
            "currency": sweep.currency,
            "axes": {axis.key: list(axis.values) for axis in sweep.axes},
            "trials": len(sweep.outcomes),
            **{status: found.count(status) for status in ("done", "refused", "failed")},
            "reasons": [{**asdict(each), "values": _by_key(sweep, each.values)} for each in found.lost],
            "best": None if best is None else {"values": _by_key(sweep, best.values), "figures": best.figures},
            "deflated_sharpe": None if found.main.luck is None else asdict(found.main.luck),
            "windows": [_window(found, step) for step in found.steps],
            "out_of_sample": _out_of_sample(found),
            "seconds": sweep.seconds,
            "notes": list(sweep.notes),
            "versions": dict(sweep.versions),
            "config": dict(sweep.config),
        }
    )
    return plain


def _by_key(sweep: Sweep, values: Sequence[Value] | None) -> dict[str, Value] | None:
    if values is None:
        return None
    return {axis.key: value for axis, value in zip(sweep.axes, values, strict=True)}


def _window(found: Findings, step: Step) -> dict[str, Any]:
    window, tested = step.window, step.tested
    return {
        "window": window.number,
        **{name: str(getattr(window, name)) for name in ("train_start", "train_end", "test_start", "test_end")},
        "values": _by_key(found.sweep, step.values),
        "train": None if step.chosen is None else step.chosen.figures,
        "test": None if tested is None or tested.status != "done" else tested.figures,
    }


def _out_of_sample(found: Findings) -> dict[str, Any] | None:
    tests = found.tests
    if tests is None:
        return None
    return {
        "start": str(tests.sessions[0]),
        "end": str(tests.sessions[-1]),
        "sessions": len(tests.sessions),
        "sessions_per_year": tests.per_year,
        **asdict(tests.figures),
        "probabilistic_sharpe": tests.probability,
    }
