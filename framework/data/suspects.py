"""Bars that are about to be stored, beside their neighbours and against the calendar: what is suspect is said.

Nothing is done about it here. What is at the edge of a load is judged with what is there, so what is found depends on
where loads are cut; `engine data verify` sees all of a series, and acts as the policies say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import numpy as np

from framework.data.calendars import covering
from framework.data.findings import Seen, joined, words_of
from framework.data.pieces import findings_of, whole
from framework.errors import ConfigError, DataError
from framework.model.bars import Bars, CorporateAction

#: Sessions around the bars that may matter to them.
_AROUND = timedelta(days=15)


def look_over(
    bars: Bars, interval: str, calendar: str, splits: Mapping[str, Sequence[CorporateAction]]
) -> dict[str, Seen]:
    """What is suspect about some bars, by code.

    Args:
        bars: by ticker and time.
        interval: of the bars.
        calendar: whose sessions they should be of; where it does not know their dates, they are not held against it.
        splits: that are known, by ticker.
    """
    if not len(bars):
        return {}
    try:
        known = covering(calendar, _date(bars.timestamps.min()), _date(bars.timestamps.max()), _AROUND)
    except (ConfigError, DataError):
        known = None
    found: dict[str, Seen] = {}
    for rows in np.split(np.arange(len(bars)), np.flatnonzero(np.diff(bars.code)) + 1):
        own, ticker = bars.take(rows), bars.tickers[bars.code[rows[0]]]
        ends = own.timestamps[0], own.timestamps[-1]
        for each in findings_of(whole(own), interval, known, splits.get(ticker, ()), *ends):
            seen = Seen(each.count, (ticker,), tuple(words_of(ticker, interval, each)))
            found = joined(found, {each.code: seen})
    return found


def _date(moment: np.datetime64) -> date:
    day: date = moment.astype("datetime64[D]").item()
    return day
