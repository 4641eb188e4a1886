"""What is looked at before trading begins: prices that are old."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from framework.data.calendars import sessions
from framework.db.queries import fetch_all
from framework.db.types import Connection

#: Sessions that the newest bar of a ticker may be old without a word.
FRESH_SESSIONS = 5


def stale_prices(
    connection: Connection, source: str, interval: str, calendar: str, tickers: Sequence[str], today: date
) -> list[str]:
    """A sentence for each ticker whose newest bar is more than some sessions old, or that has none."""
    asked = {"source": source, "bar_interval": interval, "tickers": list(tickers)}
    newest = {row[0]: row[2].date() for row in fetch_all(connection, "stored_range", asked)}
    found = [f"{ticker} has no bar in the database" for ticker in tickers if ticker not in newest]
    for ticker, day in newest.items():
        if day >= today:
            continue
        missed = len(sessions(calendar, day + timedelta(days=1), today)) - 1  # today's is not over
        if missed >= FRESH_SESSIONS:
            found.append(f"the newest bar of {ticker} is of {day}, {missed} sessions ago")
    return found
