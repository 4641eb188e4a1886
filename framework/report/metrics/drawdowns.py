"""Falls of a return index below its peaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from framework.model.panel import Floats
from framework.report.metrics.returns import return_index

#: A fall smaller than this fraction is rounding, not a drawdown.
SMALLEST_DRAWDOWN = 1e-9


@dataclass(frozen=True)
class Drawdown:
    """One fall below a former peak, in rows of the index it was found in.

    Attributes:
        peak: row of the last high before the fall; −1 is the opening value, before the first row.
        trough: row of the lowest point.
        recovery: first row back at the peak, or ``None`` if it never came back.
        depth: index at the trough ÷ index at the peak − 1, negative.
    """

    peak: int
    trough: int
    recovery: int | None
    depth: float


def drawdown(index: Floats) -> Floats:
    """Index ÷ highest index so far (the opening 1 included) − 1, shape ``(S,)``, each ≤ 0."""
    return index / np.maximum.accumulate(np.maximum(index, 1.0)) - 1.0


def max_drawdown(returns: Floats) -> float:
    """Deepest fall of the index below its peak, as a fraction ≤ 0; 0 if it never fell."""
    if len(returns) == 0:
        return 0.0
    return float(drawdown(return_index(returns)).min()) + 0.0


def worst_drawdowns(index: Floats, count: int = 5) -> list[Drawdown]:
    """The ``count`` deepest falls of an index, shape ``(S,)``, deepest first; they never overlap."""
    fall = drawdown(index)
    under = np.concatenate(([False], fall < -SMALLEST_DRAWDOWN, [False])).astype(np.int8)
    starts, stops = np.flatnonzero(np.diff(under) == 1), np.flatnonzero(np.diff(under) == -1)
    if len(starts) == 0:
        return []
    depths = np.minimum.reduceat(np.append(fall, 0.0), np.stack((starts, stops), axis=1).ravel())[::2]
    deepest = np.argsort(depths, kind="stable")[:count]
    return [_episode(fall, int(starts[i]), int(stops[i])) for i in deepest]


def _episode(fall: Floats, start: int, stop: int) -> Drawdown:
    trough = start + int(np.argmin(fall[start:stop]))
    return Drawdown(start - 1, trough, stop if stop < len(fall) else None, float(fall[trough]))
