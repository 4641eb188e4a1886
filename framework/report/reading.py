"""Reading back what a backtest left: its folder's summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from framework.errors import EngineError, UsageError
from framework.report.write import SUMMARY


def read_summary(folder: Path) -> dict[str, Any]:
    """The ``summary.json`` of a run's folder.

    Raises:
        UsageError: there is no such folder, or no finished run left it.
        EngineError: the file cannot be read, or is not a summary.
    """
    numbers = read_document(folder)
    if not {"portfolios", "total"} <= numbers.keys():
        raise UsageError(
            f"{str(folder / SUMMARY)!r} is not the summary of a backtest: it lacks `portfolios` or `total`"
        )
    return numbers


def read_document(folder: Path) -> dict[str, Any]:
    """The ``summary.json`` of a folder, whatever is in it.

    Raises:
        UsageError: there is no such folder, or no finished run left it, or the file holds something else.
        EngineError: the file cannot be read.
    """
    path = folder / SUMMARY
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {str(folder)!r}; give the one that `engine run` named, such as runs/demo-…"
        )
    if not path.is_file():
        raise UsageError(
            f"{str(folder)!r} holds no {SUMMARY}, so no finished backtest left it; a portfolio's live books are "
            "reported by `engine report --portfolio ID`"
        )
    try:
        numbers = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"{str(path)!r} cannot be read ({error}); run the backtest again") from error
    if not isinstance(numbers, dict):
        raise UsageError(f"{str(path)!r} is not the summary of a backtest, which is a JSON object")
    return numbers
