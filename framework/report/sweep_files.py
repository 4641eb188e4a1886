"""Everything that a sweep leaves, written into one folder.

``results.csv`` has a row for each trial, ``results.parquet`` the same where pyarrow is installed; of a walk forward
there are ``windows.csv`` and ``out_of_sample.csv``, too. They are the same, byte for byte, when the same sweep runs
again on the same data and version: how long trials took is in none of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framework.errors import EngineError
from framework.model.panel import Floats, Times
from framework.model.sweep import Sweep, Value
from framework.report.files import claim_folder, replacing
from framework.report.measures import MEASURES
from framework.report.sweep_findings import Findings, find
from framework.report.sweep_page import render
from framework.report.sweep_view import document_of
from framework.report.sweep_words import value_text
from framework.report.tables import Column, date, exact, integer, quantity, ratio, text, write_table

RESULTS, PARQUET = "results.csv", "results.parquet"
WINDOWS, OUT_OF_SAMPLE = "windows.csv", "out_of_sample.csv"
REPORT, SUMMARY = "report.html", "sweep.json"

#: What the running of a sweep keeps in its folder; it is neither written nor removed here.
JOURNAL = "trials.jsonl"

#: Figures that are another each time.
_TIMES = ("engine_seconds", "load_seconds", "rows_per_second")


def write_sweep(sweep: Sweep, folder: Path) -> Path:
    """Write the trials, the page and the summary; each file appears whole or not at all, ``sweep.json`` last.

    What an earlier call wrote is written anew; ``trials.jsonl`` stays.

    Returns:
        the path of ``report.html``.

    Raises:
        UsageError: ``folder`` holds something that no run and no sweep wrote, or can't be written.
        EngineError: the disk refused.
    """
    claim_sweep_folder(folder, has_windows=bool(sweep.windows))
    try:
        _write_all(find(sweep), folder)
    except OSError as error:
        raise EngineError(
            f"the sweep's results can't be written to {str(folder)!r}: {error.strerror or error}; its trials had ended "
            "well. Free space or choose another folder with --out, and run again"
        ) from error
    return folder / REPORT


def claim_sweep_folder(folder: Path, *, has_windows: bool) -> None:
    """Make ``folder`` ready for the files of a sweep, which may have its journal in it already.

    Args:
        folder: made where it is missing.
        has_windows: it walks forward.

    Raises:
        UsageError: it is a file, cannot be made, or holds something that no run and no sweep wrote.
    """
    tables = [RESULTS, *([PARQUET] if _pyarrow() else []), *([WINDOWS, OUT_OF_SAMPLE] if has_windows else [])]
    claim_folder(folder, [*tables, REPORT, SUMMARY], beside=(JOURNAL,))


def _write_all(found: Findings, folder: Path) -> None:
    columns = results(found.sweep)
    write_table(folder / RESULTS, columns)
    if pyarrow := _pyarrow():
        _write_parquet(pyarrow, columns, folder / PARQUET)
    if found.sweep.windows:
        write_table(folder / WINDOWS, windows(found))
        write_table(folder / OUT_OF_SAMPLE, out_of_sample(found))
    with replacing(folder / REPORT) as file:
        file.write(render(found).encode())
    numbers = json.dumps(document_of(found), indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(folder / SUMMARY) as file:
        file.write(f"{numbers}\n".encode())


# A row for each trial.


def results(sweep: Sweep) -> list[Column]:
    """``results.csv``: the trials in the order of the plan.

    What they are of, a column for each axis, how they ended, then every figure that any of them has: first those that
    reports show. Cells of figures are empty where a trial has none.
    """
    trials = [each.trial for each in sweep.outcomes]
    known = dict.fromkeys(key for each in sweep.outcomes for key in each.figures if key not in _TIMES)
    keys = [*(each.key for each in MEASURES if each.key in known), *known]
    return [
        Column("part", _texts([trial.part for trial in trials]), text),
        Column("window", _floats([trial.window for trial in trials]), quantity),
        *_axis_columns(sweep, [trial.values for trial in trials]),
        Column("status", _texts([each.status for each in sweep.outcomes]), text),
        Column("reason", _texts([each.reason for each in sweep.outcomes]), text),
        *(Column(key, _floats([o.figures.get(key) for o in sweep.outcomes]), quantity) for key in dict.fromkeys(keys)),
    ]


def _axis_columns(sweep: Sweep, rows: Sequence[tuple[Value, ...] | None]) -> list[Column]:
    """Of whole numbers, of numbers, or, where one value is neither, of texts; empty where a row has no values."""
    columns = []
    for i, axis in enumerate(sweep.axes):
        values = [None if row is None else row[i] for row in rows]
        if all(type(value) is int and abs(value) < 2**63 for value in values):
            columns.append(Column(axis.key, np.array(values, dtype=np.int64), integer))
        elif all(type(value) in (int, float) for value in values):
            columns.append(Column(axis.key, _floats(values), exact))
        else:
            texts = ["" if row is None else value_text(row[i]) for row in rows]
            columns.append(Column(axis.key, _texts(texts), text))
    return columns


def _texts(values: Sequence[str]) -> NDArray[Any]:
    return np.array(values, dtype=object)


def _floats(values: Sequence[Any]) -> Floats:
    """NaN for ``None``."""
    return np.array(values, dtype=np.float64)


def _pyarrow() -> Any:
    """The library; ``None``: it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        return None
    return pyarrow


def _write_parquet(pyarrow: Any, columns: Sequence[Column], path: Path) -> None:
    """The same columns; what is an empty number there is null here."""
    arrays = [
        pyarrow.array(each.values, pyarrow.string() if each.values.dtype == object else None, from_pandas=True)
        for each in columns
    ]
    table = pyarrow.Table.from_arrays(arrays, names=[each.name for each in columns])
    with replacing(path) as file:
        pyarrow.parquet.write_table(table, file)


# Walking forward.


def windows(found: Findings) -> list[Column]:
    """``windows.csv``: the windows in order of time: dates, what was chosen, and the objective before and after."""
    steps, key = found.steps, found.sweep.objective
    days = ("train_start", "train_end", "test_start", "test_end")
    return [
        Column("window", np.array([step.window.number for step in steps], dtype=np.int64), integer),
        *(Column(name, _days([getattr(step.window, name) for step in steps]), date) for name in days),
        *_axis_columns(found.sweep, [step.values for step in steps]),
        Column(f"train_{key}", _floats([step.train(key) for step in steps]), quantity),
        Column(f"test_{key}", _floats([step.test(key) for step in steps]), quantity),
    ]


def out_of_sample(found: Findings) -> list[Column]:
    """``out_of_sample.csv``: the sessions of all tests: return, a fraction, and what one unit of capital became."""
    tests = found.tests
    nothing = np.empty(0)
    return [
        Column("session", _days([]) if tests is None else tests.sessions, date),
        Column("window", np.empty(0, dtype=np.int64) if tests is None else tests.window, integer),
        Column("return", nothing if tests is None else tests.returns, ratio),
        Column("index", nothing if tests is None else tests.index, ratio),
    ]


def _days(values: Sequence[Any]) -> Times:
    return np.array(values, dtype="datetime64[D]")
