"""When each bar of a panel can be traded, when it is known, and to which session it belongs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Times

#: When a portfolio may decide, as configs name it; anything else is cron text.
SCHEDULES = ("every_bar", "daily", "weekly", "monthly")


@dataclass(frozen=True, eq=False)
class Timeline:
    """The clock of a panel: one entry per bar, made from an exchange calendar (trading-rules 3).

    Attributes:
        timestamps: shape ``(T,)``, ``datetime64[us]`` UTC: the bars' labels.
        opens: shape ``(T,)``, ``datetime64[us]`` UTC: when trading in the bar starts (daily: the session's open).
        available: shape ``(T,)``, ``datetime64[us]`` UTC: when the bar is known: its end + the source's settle.
        session: shape ``(T,)``, ``datetime64[D]``: the exchange date of the session that the bar belongs to.
        next_session: shape ``(T,)``, ``datetime64[D]``: the date of the session after that one, by the calendar.
    """

    timestamps: Times
    opens: Times
    available: Times
    session: NDArray[np.datetime64]
    next_session: NDArray[np.datetime64]

    def __len__(self) -> int:
        return len(self.timestamps)

    def rows(self, start: int, stop: int) -> Timeline:
        """Entries ``start`` to ``stop`` (exclusive) as views."""
        cut = slice(start, stop)
        return Timeline(
            self.timestamps[cut],
            self.opens[cut],
            self.available[cut],
            self.session[cut],
            self.next_session[cut],
        )

    def last_of_session(self) -> NDArray[np.bool_]:
        """Shape ``(T,)``: whether the bar is the last one of its session in this timeline."""
        last = np.ones(len(self), dtype=np.bool_)
        last[:-1] = self.session[1:] != self.session[:-1]
        return last


def moment(stamp: np.datetime64) -> datetime:
    """A stamp of a timeline as an aware time."""
    naive = stamp.item()
    if not isinstance(naive, datetime):  # of another unit than microseconds
        naive = stamp.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)


def stamp(moment: datetime) -> np.datetime64:
    """An aware time as a stamp of a timeline: UTC, microseconds."""
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
