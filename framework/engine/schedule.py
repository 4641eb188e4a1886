"""On which bars a portfolio decides (trading-rules 3)."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from framework.data.moments import period_of
from framework.data.slots import Delays, Schedule, Slots
from framework.model.panel import Floats
from framework.model.timeline import Timeline, moment


def decision_rows(
    schedule: Schedule,
    timeline: Timeline,
    first: int,
    last_of_session: NDArray[np.bool_] | None = None,
    until: datetime | None = None,
) -> NDArray[np.int64]:
    """The rows from ``first`` on at whose close a portfolio decides, rising.

    ``daily``: the session's last bar; ``weekly`` and ``monthly``: the last bar of the calendar's week (Monday on) or
    month; cron text: :class:`~framework.data.slots.Slots`. ``last_of_session`` says which bars end a session, where the
    newest one may still be followed by others of its session (default: the timeline is complete); ``until`` is the
    moment that it is, for what is decided live.
    """
    if isinstance(schedule, Slots):
        acting, _ = schedule.acting(timeline, until)
        return acting[acting >= first]
    if schedule == "every_bar":
        return np.arange(first, len(timeline), dtype=np.int64)
    last = timeline.last_of_session() if last_of_session is None else last_of_session.copy()
    if schedule != "daily":
        period = period_of(timeline.session, schedule)
        ends = period != period_of(timeline.next_session, schedule)
        # Where the period's last session has no bar, the newest bar before it is what its slot acts on.
        ends[:-1] |= period[1:] != period[:-1]
        last &= ends
    return np.flatnonzero(last[first:]) + first


def decision_moment(schedule: Schedule, timeline: Timeline) -> datetime:
    """The moment of the decision on the newest bar of a timeline: when it is known, or the slot that acts on it."""
    known = moment(timeline.available[-1])
    return schedule.at_or_after(known) if isinstance(schedule, Slots) else known


def delays(schedule: Schedule, timeline: Timeline) -> Delays | None:
    """Where orders decided at each row trade at the earliest; ``None``: always in the next bar."""
    return schedule.delays(timeline) if isinstance(schedule, Slots) else None


def gather_missed(weights: Floats, rows: NDArray[np.int64]) -> Floats:
    """Weights as decided on ``rows``: per ticker the last non-NaN since the row before; at the first row, that row.

    Args:
        weights: shape ``(T, N)``.
        rows: the decision rows, rising; −1: the first lies before all of them.

    Returns:
        shape ``(T, N)``, NaN outside of ``rows``; ``weights`` itself when every row from the first on decides.
    """
    if len(rows) == 0 or (rows[0] >= 0 and len(rows) == len(weights) - rows[0]):
        return weights
    out = np.full(weights.shape, np.nan)
    if rows[0] >= 0:
        out[rows[0]] = weights[rows[0]]
    for before, row in pairwise(rows.tolist()):
        taken = weights[row].copy()
        for earlier in range(row - 1, before, -1):
            gaps = np.isnan(taken)
            if not gaps.any():
                break
            taken[gaps] = weights[earlier, gaps]
        out[row] = taken
    return out
