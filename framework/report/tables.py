"""CSV tables written column by column, so that a million rows take seconds and two runs give the same bytes.

Times are ISO 8601 in UTC, lines end with ``\\n``, undefined numbers are empty cells, and no number ever reads ``-0``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats, Times
from framework.report.files import replacing

#: Rows that are formatted at a time: bounds the memory that cells take as text.
CHUNK_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class Column:
    """A named column: an array, shape ``(R,)``, and how a piece of it becomes cells."""

    name: str
    values: NDArray[Any]
    cells: Callable[[NDArray[Any]], list[str]]


def money(values: Floats) -> list[str]:
    """Six decimals, half-even at the seventh."""
    return _fixed(values, 6)


def ratio(values: Floats) -> list[str]:
    """Ten decimals: fractions, correlations."""
    return _fixed(values, 10)


def quantity(values: Floats) -> list[str]:
    """Up to nine decimals, trailing zeros cut: ``100``, ``0.125``."""
    return [cell.rstrip("0").rstrip(".") for cell in _fixed(values, 9)]


def exact(values: Floats) -> list[str]:
    """Each number as short as it can be without being another: ``1``, ``1.0875``, ``0.00000666``."""
    texts = map(repr, values.tolist())
    return [f"{Decimal(text):f}" if "e" in text else text.removesuffix(".0") for text in texts]


def integer(values: NDArray[np.int64]) -> list[str]:
    """Plain digits."""
    return [str(value) for value in values.tolist()]


def moment(values: Times) -> list[str]:
    """``2005-01-03T14:30:00Z``; with microseconds only where there are any; empty where there is no time (NaT)."""
    seconds = values.astype("datetime64[s]")
    unknown = np.isnat(values)
    exact = seconds if ((values == seconds) | unknown).all() else values
    texts = np.datetime_as_string(exact).tolist()
    return ["" if missing else f"{text}Z" for text, missing in zip(texts, unknown.tolist(), strict=True)]


def date(values: NDArray[np.datetime64]) -> list[str]:
    """``2005-01-03``, or ``2005-01`` for months: the precision of the array."""
    return [str(text) for text in np.datetime_as_string(values).tolist()]


def text(values: NDArray[Any]) -> list[str]:
    """Each value's text, quoted where CSV needs it."""
    return [quoted(str(value)) for value in values.tolist()]


def one_of(names: Sequence[str]) -> Callable[[NDArray[Any]], list[str]]:
    """Cells of a column of indices into ``names``."""
    cells = [quoted(name) for name in names]
    return lambda codes: [cells[code] for code in codes.tolist()]


def quoted(value: str) -> str:
    """A cell of text, in quotation marks where it holds a comma, a quotation mark or a line break."""
    if any(character in value for character in ',"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value


def write_table(path: Path, columns: Sequence[Column]) -> None:
    """Write ``columns`` (all of one length) as a CSV file; the file appears whole or not at all."""
    with replacing(path) as file:
        for block in table_text(columns):
            file.write(block.encode())


def table_text(columns: Sequence[Column]) -> Iterator[str]:
    """The text of the table, in blocks: the header, then ``CHUNK_ROWS`` rows at a time."""
    yield ",".join(quoted(column.name) for column in columns) + "\n"
    for start in range(0, len(columns[0].values), CHUNK_ROWS):
        cells = [column.cells(column.values[start : start + CHUNK_ROWS]) for column in columns]
        yield "\n".join(map(",".join, zip(*cells, strict=True))) + "\n"


def _fixed(values: Floats, decimals: int) -> list[str]:
    rounded = np.round(values, decimals) + 0.0
    form = f"%.{decimals}f"
    if np.isfinite(rounded).all():
        return [form % value for value in rounded.tolist()]
    return [form % value if np.isfinite(value) else "" for value in rounded.tolist()]
