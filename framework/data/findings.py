"""What a check of bars finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


@dataclass(frozen=True)
class Seen:
    """All that was found under one code.

    Attributes:
        count: how many bars, sessions or moments.
        tickers: of which tickers, in order.
        first: a few, in words.
        taken_out: how many bars were taken out of ``market_data``, as the policy says.
    """

    count: int
    tickers: tuple[str, ...]
    first: tuple[str, ...]
    taken_out: int = 0

    def merged(self, other: Seen) -> Seen:
        """Both as one."""
        tickers = tuple(dict.fromkeys((*self.tickers, *other.tickers)))
        first = (*self.first, *other.first)[:EXAMPLES]
        return Seen(self.count + other.count, tickers, first, self.taken_out + other.taken_out)


def joined(one: Mapping[str, Seen], other: Mapping[str, Seen]) -> dict[str, Seen]:
    """What was found by code, of two looks."""
    found = dict(one)
    for code, seen in other.items():
        found[code] = found[code].merged(seen) if code in found else seen
    return found


def words_of(ticker: str, interval: str, finding: Finding) -> list[str]:
    """The examples of a finding about a ticker's bars."""
    moment = "%Y-%m-%d" if interval == "1d" else "%Y-%m-%d %H:%M UTC"
    return [f"{ticker} {at.item():{moment}} ({what})" for at, what in finding.first]
