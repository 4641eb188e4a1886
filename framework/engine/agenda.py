"""What interrupts a simulation between its bars: dated flows of capital, and meetings at which capital is allocated.

A flow comes after the decisions of the bar before its session and before anything fills in it; an allocation between
the valuation and the decisions of a bar (trading-rules 3). Where a portfolio has no bar for that moment, both come
after the decisions of the bar before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framework.data.flow_dates import DatedFlow
from framework.data.slots import Schedule, Slots
from framework.engine.meeting import Flow, Meeting, Seat
from framework.model.money import MICRO, to_micro
from framework.model.timeline import Timeline, stamp

_NEVER = 1 << 62


class _Stop(NamedTuple):
    """An interruption: at a row before its decisions, or after them; in order of time."""

    row: int
    is_after: bool
    at: np.datetime64
    flow: DatedFlow | None
    meeting: int


@dataclass(frozen=True)
class Interruptions:
    """What interrupts one portfolio.

    Attributes:
        flows: of its own, in order of time.
        meeting: of the portfolios that an allocator lists, this one among them; None: it is not.
    """

    flows: tuple[DatedFlow, ...] = ()
    meeting: Meeting | None = None


class Agenda:
    """The interruptions of one simulation, in order.

    Args:
        interruptions: see there.
        portfolio_id: whose.
        schedule: of its decisions.
        seat: the portfolio as a meeting sees it.
        timeline: of its panel.
        first: row of its first bar that counts.
    """

    def __init__(
        self,
        interruptions: Interruptions,
        portfolio_id: str,
        schedule: Schedule,
        seat: Seat,
        timeline: Timeline,
        first: int,
    ) -> None:
        self._id, self._seat, self._meeting = portfolio_id, seat, interruptions.meeting
        self._account, self._book = seat.account, seat.book
        self._stops = _stops(interruptions, schedule, timeline, first)
        self._done = 0
        self._refused: list[str] = []
        #: Row of the next interruption; far beyond all rows when there is none left.
        self.row = self._stops[0].row if self._stops else _NEVER
        #: Shape ``(T,)``: rows whose orders must not fill before something else has happened.
        self.holds_back: NDArray[np.bool_] = np.zeros(len(timeline), dtype=np.bool_)
        self.holds_back[[stop.row for stop in self._stops if stop.is_after and stop.row >= 0]] = True
        if self._meeting is not None:
            self._meeting.sit_down(portfolio_id, seat)

    def before(self, row: int) -> None:
        """Let everything happen that comes before the decisions of ``row``."""
        while self.row < row or (self.row == row and not self._stops[self._done].is_after):
            self._next()

    def finish(self) -> None:
        """Let everything happen that is left."""
        while self._done < len(self._stops):
            self._next()

    def notes(self) -> tuple[str, ...]:
        """The withdrawals that were refused."""
        return tuple(self._refused)

    def _next(self) -> None:
        stop = self._stops[self._done]
        self._done += 1
        self.row = self._stops[self._done].row if self._done < len(self._stops) else _NEVER
        self._book.run_to(stop.row)
        if stop.flow is not None:
            if stop.is_after:  # splits and dividends of its session come before
                self._account.open(stop.row + 1)
            self._flow(stop.row, stop.flow)
        elif self._meeting is not None:
            self._account.value_to(stop.row)
            self._meeting.meet(self._seat, stop.row, stop.meeting)

    def _flow(self, row: int, flow: DatedFlow) -> None:
        micros = to_micro(flow.amount)
        free = self._account.cash - self._seat.reserved()
        if micros < 0.0 and free + micros < 0.0:
            self._refused.append(
                f"portfolio {self._id}: the withdrawal of {-flow.amount:,.2f} on {flow.session} ({flow.reference}) was "
                f"refused: free cash was {free / MICRO:,.2f}"
            )
            return
        kind = "deposit" if micros > 0.0 else "withdrawal"
        self._account.move(row, Flow(row + 1, flow.at, micros, kind, flow.reference))


def _stops(interruptions: Interruptions, schedule: Schedule, timeline: Timeline, first: int) -> list[_Stop]:
    stops, slots = [], _slots(schedule, timeline) if interruptions.flows else {}
    for flow in interruptions.flows:
        row, at = int(np.searchsorted(timeline.session, np.datetime64(flow.session, "D"))) - 1, stamp(flow.at)
        is_before = row >= first and row in slots and bool(at < slots[row])
        stops.append(_Stop(max(row, first - 1), not is_before, at, flow, -1))
    dues = () if interruptions.meeting is None else interruptions.meeting.dues
    for number, due in enumerate(dues):
        at = stamp(due.at)
        row = int(np.searchsorted(timeline.available, at, side="right")) - 1
        is_of_bar = row >= first and bool(timeline.available[row] == at)
        stops.append(_Stop(max(row, first - 1), not is_of_bar, at, None, number))
    return sorted(stops, key=lambda stop: stop[:3])


def _slots(schedule: Schedule, timeline: Timeline) -> dict[int, np.datetime64]:
    """When the rows are decided on whose decisions come later than their bars."""
    if not isinstance(schedule, Slots):
        return {}
    rows, moments = schedule.acting(timeline)
    return dict(zip(rows.tolist(), moments, strict=True))
