"""Splits, dividends and renames as reports show them: what each did to shares and cash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats, Times
from framework.model.result import Ints

SPLIT, DIVIDEND, RENAME = "split", "dividend", "rename"


@dataclass(frozen=True, eq=False)
class Actions:
    """``A`` splits, dividends and renames of what was held, in order of time; shape ``(A,)`` each.

    A rename has a row for either name.

    Attributes:
        at: ``datetime64[us]`` UTC, when it took effect: the open of its bar, before anything filled there.
        portfolio: index into the run's portfolios.
        ticker: text; empty: money that the books name no ticker of.
        kind: text.
        value: of a split, new shares per old one; of a dividend, money per share, in the ticker's currency; NaN: none,
            or not known.
        held: signed shares before it.
        change: signed shares that it brought.
        cash: money that it brought, in the account's currency; negative: owed by one that was short.
    """

    at: Times
    portfolio: Ints
    ticker: NDArray[np.object_]
    kind: NDArray[np.object_]
    value: Floats
    held: Floats
    change: Floats
    cash: Floats

    def __len__(self) -> int:
        return len(self.at)

    def of(self, kind: str) -> NDArray[np.bool_]:
        """Which are of this kind, shape ``(A,)``."""
        return np.asarray(self.kind == kind, dtype=np.bool_)

    @cached_property
    def dividends(self) -> float:
        """Received less owed, money."""
        return round(float(np.sum(self.cash)), 6) + 0.0

    @cached_property
    def splits(self) -> int:
        """How many splits of positions."""
        return int(np.count_nonzero(self.of(SPLIT)))

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Actions:
        """Those at ``index`` (positions or a mask), in that order."""
        return Actions(**{name: getattr(self, name)[index] for name in _COLUMNS})

    @classmethod
    def joined(cls, parts: Sequence[Actions]) -> Actions:
        """Those of several portfolios; at the same time, in the order of the portfolios."""
        every = cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS})
        return every.take(np.argsort(every.at, kind="stable"))


_COLUMNS = tuple(Actions.__dataclass_fields__)
