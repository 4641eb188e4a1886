"""What a check of stored bars finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]

#: So many examples of each code are told.
EXAMPLES = 3


@dataclass(frozen=True, eq=False)
class Finding:
    """Something about some bars of one ticker, or about bars that are not there.

    Attributes:
        code: key of :data:`framework.model.quality.SUSPECT`.
        count: how many.
        first: the first few: when, and what, in words.
        rows: the bars that are suspect, as indices; empty where it is none in particular.
    """

    code: str
    count: int
    first: tuple[tuple[np.datetime64, str], ...]
    rows: Rows = field(default_factory=lambda: np.empty(0, dtype=np.intp))


def of_rows(code: str, rows: Rows, times: NDArray[np.datetime64], words: Callable[[int], str]) -> list[Finding]:
    """The finding that these rows are suspect; none where there are none.

    Args:
        code: of the finding.
        rows: indices, rising.
        times: shape ``(K,)``: of all bars.
        words: about a row, for an example.
    """
    if not len(rows):
        return []
    first = tuple((times[row], words(int(row))) for row in rows[:EXAMPLES])
    return [Finding(code, len(rows), first, rows)]
