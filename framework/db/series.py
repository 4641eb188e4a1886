"""What there is in ``market_data``: each ticker and interval of each source, and from when to when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from framework.db.pool import Pool
from framework.db.queries import fetch_all


class Series(NamedTuple):
    """All bars of one source, ticker and interval; ``None`` where something is not known.

    ``start`` and ``end`` are the exchange dates that count as loaded, ``currency`` and ``exchange`` those of
    ``instruments``.
    """

    source: str
    ticker: str
    interval: str
    start: date | None
    end: date | None
    currency: str | None
    exchange: str | None


def list_series(pool: Pool, source: str | None, interval: str | None, tickers: Sequence[str]) -> list[Series]:
    """Of one source or (``None``) all, one interval or all, some tickers or (none named) all."""
    asked = {"source": source, "bar_interval": interval, "tickers": list(tickers)}
    with pool.connection() as connection:
        return [Series(*row) for row in fetch_all(connection, "list_series", asked)]


def stored_range(pool: Pool, series: Series) -> tuple[datetime, datetime] | None:
    """The first and the last bar of a series; ``None``: it has none."""
    asked = {"source": series.source, "bar_interval": series.interval, "tickers": [series.ticker]}
    with pool.connection() as connection:
        rows = fetch_all(connection, "stored_range", asked)
    return (rows[0][1], rows[0][2]) if rows else None
