"""The table of the fault suite, as pytest prints it and docs/faults.md shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: Environment variable: a file that gets the rows of a run, as JSON.
ROWS_TO = "ENGINE_FAULT_ROWS"
HEADER = ("Fault", "Cases", "Failures", "Note")
BEGIN, END = "<!-- table: python -m tests.faults --write -->", "<!-- end of the table -->"


class Row(NamedTuple):
    """One fault."""

    fault: str
    cases: int
    failures: int
    note: str = ""


def lines(rows: Sequence[Row]) -> list[str]:
    """The table in Markdown, with a line of sums."""
    total = Row("all", sum(row.cases for row in rows), sum(row.failures for row in rows))
    texts = [HEADER, *(tuple(map(str, row)) for row in (*rows, total))]
    widths = [max(len(text[column]) for text in texts) for column in range(len(HEADER))]
    drawn = ["| " + " | ".join(_padded(text, widths)) + " |" for text in texts]
    rule = "| " + " | ".join("-" * (w - 1) + ":" if n in (1, 2) else "-" * w for n, w in enumerate(widths)) + " |"
    return [drawn[0], rule, *drawn[1:]]


def _padded(text: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Numbers to the right."""
    return [
        part.rjust(width) if n in (1, 2) else part.ljust(width)
        for n, (part, width) in enumerate(zip(text, widths, strict=True))
    ]


def replaced(document: str, rows: Sequence[Row], how: str) -> str:
    """A document with its table, between the marks, replaced by this one, and a line that says how it was made."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + "\n".join([BEGIN, "", *lines(rows), "", how, "", END]) + after
