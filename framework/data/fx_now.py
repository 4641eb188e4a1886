"""The newest exchange rate that the database knows, for money that a person moves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby

import numpy as np

from framework.data.calendars import STEPS, outside_sessions, timeline
from framework.data.fx import CALENDAR, Pair
from framework.db.queries import Row, fetch_all
from framework.db.types import Connection
from framework.errors import DataError, UsageError
from framework.model.money import rate_decimal
from framework.model.rates import KnownRate
from framework.model.timeline import moment, stamp

#: Bars of a ticker that are looked at: some may lie outside sessions, or end later. More than a weekend of minutes.
_BARS = 5000


def newest_rate(
    connection: Connection, foreign: str, currency: str, now: datetime, source: str | None = None
) -> KnownRate:
    """Units of ``currency`` per unit of ``foreign``: the close of the newest bar of their pair that is available now.

    Of a source that has both pairs the direct one (``EURUSD`` for EUR to USD) counts, as it does in a run; of several
    intervals the one that knows the newest.

    Args:
        connection: to the database.
        foreign: three capital letters.
        currency: three capital letters, others.
        now: aware.
        source: key of the data source; ``None``: the only one that has a pair.

    Raises:
        DataError: no source has a rate, or not the one that was named.
        UsageError: several have one, and none was named.
    """
    pairs = Pair(f"{foreign}{currency}", False), Pair(f"{currency}{foreign}", True)
    found = {known.source: known for pair in reversed(pairs) for known in _known(connection, pair, now)}
    if source is None and len(found) > 1:
        raise UsageError(
            f"{len(found)} data sources have a rate from {foreign} to {currency}: {', '.join(sorted(found))}; choose "
            "one with --source. Nothing was booked."
        )
    if source in found or (source is None and found):
        return found[source] if source is not None else next(iter(found.values()))
    whose = "no data source has a close" if source is None else f"data source {source!r} has no close"
    others = f" (those that have one: {', '.join(sorted(found))})" if found else ""
    raise DataError(
        f"{whose} of {pairs[0].ticker} or {pairs[1].ticker} that was available at "
        f"{now:%Y-%m-%d %H:%M} UTC{others}; give --fx-rate ({currency} per {foreign}), or load one: engine data "
        f"backfill --source NAME --tickers {pairs[0].ticker}. Nothing was booked."
    )


def _known(connection: Connection, pair: Pair, now: datetime) -> Iterator[KnownRate]:
    """The newest rate that each source has of a pair; none of a source that has no bar of it that is available."""
    asked = {"tickers": [pair.ticker], "until": now, "bars": _BARS}
    rows = fetch_all(connection, "newest_closes", asked)
    for source, of_source in groupby(rows, key=lambda row: str(row[0])):
        closes = [
            newest
            for interval, bars in groupby(of_source, key=lambda row: str(row[2]))
            if (newest := _newest(interval, list(bars), now)) is not None
        ]
        if closes:
            known_since, _, close = max(closes)
            rate = rate_decimal(1.0 / close if pair.is_inverse else close)
            yield KnownRate(rate, source, pair.ticker, pair.is_inverse, moment(known_since))


def _newest(interval: str, bars: list[Row], now: datetime) -> tuple[np.datetime64, float, float] | None:
    """Of one interval: when the newest bar that is available became so, how fine it is, and its close."""
    times = np.array([row[3] for row in bars], dtype="datetime64[us]")
    inside = ~outside_sessions(CALENDAR, interval, times)
    closes = np.array([row[4] for row in bars])[inside]
    available = timeline(CALENDAR, interval, times[inside]).available
    count = int(np.searchsorted(available, stamp(now), side="right"))
    if not count:
        return None
    return available[count - 1], -STEPS[interval].total_seconds(), float(closes[count - 1])
