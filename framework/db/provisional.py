"""Bars that are being made of quotes, kept between two looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from framework.db.queries import execute, fetch_all
from framework.db.types import Connection


@dataclass(frozen=True)
class ProvisionalBar:
    """The bar of a ticker that its newest quote is in.

    Attributes:
        ticker: whose.
        timestamp: its start, aware.
        open_price, high_price, low_price, close_price: of the quotes so far.
        volume: shares between the quotes so far.
        day_volume: shares of the session up to the newest quote.
        quoted_at: time of the newest quote, aware.
        polled_at: when the source was last asked, aware.
        is_written: it is complete, and in ``market_data``.
    """

    ticker: str
    timestamp: datetime
    open_price: float
    high_price: float
    low_price: float
    close_price: float
    volume: float
    day_volume: float
    quoted_at: datetime
    polled_at: datetime
    is_written: bool = False


_NAMES = tuple(each.name for each in fields(ProvisionalBar))


def read_provisional(connection: Connection, source: str, interval: str) -> dict[str, ProvisionalBar]:
    """All of a source and interval by ticker; they are locked until the transaction ends."""
    rows = fetch_all(connection, "read_provisional", {"source": source, "bar_interval": interval})
    return {row[0]: ProvisionalBar(*(_in_utc(value) for value in row)) for row in rows}


def write_provisional(connection: Connection, source: str, interval: str, bars: Sequence[ProvisionalBar]) -> None:
    """Keep some, each in place of what was kept of its ticker, unless that is newer."""
    if not bars:
        return
    ordered = sorted(bars, key=lambda bar: bar.ticker)
    columns = {name: [getattr(bar, name) for bar in ordered] for name in _NAMES}
    execute(connection, "write_provisional", {"source": source, "bar_interval": interval, **columns})


def _in_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
