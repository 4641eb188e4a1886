"""How many sessions a year has: what figures are annualised with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Sessions in a year of a stock exchange; taken where the dates show nothing else.
SESSIONS_PER_YEAR = 252

#: What calendars usually have: stock exchanges, every day, weekdays without holidays, a bar a week, a bar a month.
USUAL_SESSIONS_PER_YEAR = (252, 365, 261, 52, 12)

#: A count this near to a usual one, as a fraction, is the usual one: a year has a holiday more or less.
USUAL_WITHIN = 0.04

#: Fewer sessions, or fewer days between the first and the last, show no calendar.
FEWEST_SESSIONS, FEWEST_DAYS = 20, 28

#: How far holidays move the count of a part of a year.
HOLIDAYS_WITHIN = 0.1


def sessions_per_year(sessions: NDArray[np.datetime64]) -> float:
    """How many sessions a year has, by the dates themselves: (S − 1) ÷ years between the first and the last.

    A year is 365.25 days. A count within 4 % of a usual one (252, 365, 261, 52, 12) is the nearest of these; any other,
    such as that of data with a gap, stays as counted. Within less than a year holidays fall unevenly: there 252 stands
    for all counts within 10 % of it. Below 20 sessions or 28 days it is 252, whatever the dates.

    Args:
        sessions: shape ``(S,)``, ``datetime64[D]``, rising.
    """
    days = int((sessions[-1] - sessions[0]).astype(np.int64)) if len(sessions) else 0
    if len(sessions) < FEWEST_SESSIONS or days < FEWEST_DAYS:
        return SESSIONS_PER_YEAR
    counted = (len(sessions) - 1) / (days / 365.25)
    if len(sessions) < SESSIONS_PER_YEAR and abs(counted / SESSIONS_PER_YEAR - 1) <= HOLIDAYS_WITHIN:
        return SESSIONS_PER_YEAR
    usual = min(USUAL_SESSIONS_PER_YEAR, key=lambda known: abs(counted - known))
    return usual if abs(counted / usual - 1) <= USUAL_WITHIN else counted
