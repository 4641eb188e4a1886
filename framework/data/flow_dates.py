"""When the capital flows of a config come: dates and periods as sessions of a calendar (trading-rules 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from framework.config.model import Flow
from framework.data.calendars import covering
from framework.model.timeline import moment

_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_WEEK = np.timedelta64(1, "W")
#: 1970-01-05 was a Monday.
_MONDAY = np.datetime64("1970-01-05", "D")


@dataclass(frozen=True)
class DatedFlow:
    """Money that comes (positive) or goes, before anything trades in its session.

    Attributes:
        at: when the session opens, aware UTC.
        session: exchange date.
        amount: in the portfolio's currency.
        reference: what it is known by, among the flows of its portfolio.
    """

    at: datetime
    session: date
    amount: float
    reference: str


def dated(flows: Sequence[Flow], calendar: str, start: date, end: date) -> tuple[DatedFlow, ...]:
    """The flows from ``start`` to ``end``, in order of time; of one session, in the order of the config.

    A date without a session means the next one. A period begins with its first day (a week on Monday); the first is the
    one that begins after ``start``.

    Raises:
        ConfigError: the calendar does not know these dates.
    """
    if not flows:
        return ()
    known = covering(calendar, start, end)
    found = []
    for number, flow in enumerate(flows, start=1):
        for day in _days(flow, start, end):
            row = int(np.searchsorted(known.dates, day))
            if day >= np.datetime64(start, "D") and row < len(known.dates):
                name = f"{flow.reference or f'flow {number}'}{'' if flow.every is None else f' {day}'}"
                session = known.dates[row].item()
                found.append(DatedFlow(moment(known.opens[row]), session, float(flow.amount), name))
    return tuple(sorted(found, key=lambda flow: flow.at))


def _days(flow: Flow, start: date, end: date) -> Iterator[np.datetime64]:
    """The days that a flow names, whether there is a session or not."""
    if flow.date is not None:
        yield np.datetime64(flow.date, "D")
        return
    assert flow.every is not None, "the config has either"
    last = np.datetime64(end, "D")
    if flow.every == "week":
        weeks = (np.datetime64(start, "D") - _MONDAY) // _WEEK + 1
        while (monday := _MONDAY + np.timedelta64(7 * int(weeks), "D")) <= last:
            yield monday
            weeks += 1
        return
    months = _MONTHS[flow.every]
    month = np.datetime64(start, "M").astype(np.int64) // months * months + months
    while (day := np.datetime64(int(month), "M").astype("datetime64[D]")) <= last:
        yield day
        month += months
