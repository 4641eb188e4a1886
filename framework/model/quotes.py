"""What a source says of tickers at this moment: their last prices, and what they are traded in and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Quote:
    """The last price of a ticker.

    Attributes:
        ticker: whose.
        price: per share, as traded, greater than 0.
        volume: shares traded so far in the session that ``time`` is of; NaN where the source does not say.
        time: aware, UTC: of the last update, which is not the time at which it was asked.
    """

    ticker: str
    price: float
    volume: float
    time: datetime


@dataclass(frozen=True)
class Quotes:
    """The answer to one question for quotes.

    Attributes:
        found: quotes by ticker.
        missing: tickers without a usable quote, and why, in words.
    """

    found: Mapping[str, Quote] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Instrument:
    """What a ticker is traded in, and where.

    Attributes:
        ticker: whose.
        currency: three capital letters.
        exchange: as the source names it; ``None`` where it was not asked or does not say.
    """

    ticker: str
    currency: str
    exchange: str | None = None
