"""Cron text of five fields: minute, hour, day of month, month, day of week. The only user of the library cronsim."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from zoneinfo import ZoneInfo

import numpy as np
from cronsim import CronSim, CronSimError
from numpy.typing import NDArray

from framework.model.panel import Times

#: Any moment: to parse, the library wants one.
_SOME = datetime(2000, 1, 1, tzinfo=UTC)


def check_cron(text: str) -> None:
    """Check that the text is cron's.

    Raises:
        ValueError: it is not; says which field is wrong.
    """
    count = len(text.split())
    if count != 5:
        raise ValueError(f"has {count} fields; cron text has five: minute hour day-of-month month day-of-week")
    try:
        CronSim(text, _SOME)
    except CronSimError as error:
        wrong = str(error).replace("Bad", "its field", 1)
        raise ValueError(f"is not cron text: {wrong} cannot be; '30 15 * * 1-5' is 15:30 on weekdays") from None


def cron_moments(text: str, day: date, zone: ZoneInfo) -> Times:
    """The moments of a date in a time zone that the text names, UTC, rising."""
    spec = _parsed(text)
    if day.month not in spec.months or not spec.match_day(day):
        return np.empty(0, dtype="datetime64[us]")
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    following = datetime.combine(day + timedelta(days=1), midnight.timetz())
    if midnight.utcoffset() != following.utcoffset():  # the clocks are changed: cron has rules for that
        return np.array(list(_walk(text, midnight, following)), dtype="datetime64[us]")
    return np.datetime64(midnight.astimezone(UTC).replace(tzinfo=None), "us") + _times(text)


def _walk(text: str, midnight: datetime, following: datetime) -> Iterator[datetime]:
    moments = CronSim(text, midnight - timedelta(seconds=1))
    for moment in takewhile(lambda each: each < following, moments):
        yield moment.astimezone(UTC).replace(tzinfo=None)


@lru_cache(maxsize=64)
def _parsed(text: str) -> CronSim:
    return CronSim(text, _SOME)


@lru_cache(maxsize=64)
def _times(text: str) -> NDArray[np.timedelta64]:
    """The times of day."""
    spec = _parsed(text)
    minutes = [60 * hour + minute for hour in sorted(spec.hours) for minute in sorted(spec.minutes)]
    return np.array(minutes, dtype="timedelta64[m]").astype("timedelta64[us]")
