"""Our adjustment against the source's own: stored bars and corporate actions must give the closes that it adjusts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np

from framework.data.adjust import adjust
from framework.data.source import DataSource
from framework.db.bars import read_panel
from framework.db.market import read_corporate_actions
from framework.db.pool import Pool
from framework.model.panel import Floats, Times

#: Closes come rounded; with more decimals than these, a difference is one.
_MOST_DECIMALS = 6


@dataclass(frozen=True)
class AdjustmentDifference:
    """How far the adjusted closes of a ticker are from the source's, apart from one common factor.

    Attributes:
        ticker: whose.
        days: how many days both have; 0: there was nothing to compare.
        largest: relative difference, beyond what the source's rounding explains; 0.01 is one per cent.
        day: where it is.
        breaks_at: the first day on which the ratio of both series is another than before: where it changes most, the
            ex-date of an action that is wrong or lacking. ``None`` where nothing differs.
    """

    ticker: str
    days: int = 0
    largest: float = 0.0
    day: date | None = None
    breaks_at: date | None = None


def compare_adjusted(
    pool: Pool, source: DataSource, tickers: Sequence[str], start: date, end: date
) -> tuple[AdjustmentDifference, ...]:
    """Compare the stored daily closes, adjusted for the stored splits and dividends, with the source's own series.

    Args:
        pool: of the database.
        source: is asked for its series, one ticker after the other.
        tickers: which.
        start, end: exchange dates, both included.

    Returns:
        one per ticker of which the source has such a series; none of sources whose bars are adjusted already.

    Raises:
        SourceError: the source cannot be read.
    """
    if source.price_kind() == "adjusted":
        return ()
    found = []
    for ticker in dict.fromkeys(tickers):
        theirs = source.adjusted_closes(ticker, start, end)
        if theirs is not None:
            found.append(difference(ticker, _adjusted(pool, source.key(), ticker, start, end), theirs))
    return tuple(found)


def difference(ticker: str, ours: tuple[Times, Floats], theirs: tuple[Times, Floats]) -> AdjustmentDifference:
    """How far two series of closes are from each other, on the days that both have.

    Args:
        ticker: whose.
        ours, theirs: (dates, ``datetime64[D]``, rising; closes greater than 0), each of its own shape ``(K,)``.
    """
    days, left, right = np.intersect1d(ours[0], theirs[0], assume_unique=True, return_indices=True)
    if not len(days):
        return AdjustmentDifference(ticker)
    mine, other = ours[1][left], theirs[1][right]
    ratio = mine / other
    factor = float(np.median(ratio))
    beyond = np.maximum(np.abs(mine / factor - other) - _rounding(other), 0.0) / other
    at = int(beyond.argmax())
    if beyond[at] == 0.0:
        return AdjustmentDifference(ticker, len(days))
    breaks_at = days[int(np.abs(np.diff(np.log(ratio))).argmax()) + 1].item()
    return AdjustmentDifference(ticker, len(days), float(beyond[at]), days[at].item(), breaks_at)


def _adjusted(pool: Pool, key: str, ticker: str, start: date, end: date) -> tuple[Times, Floats]:
    span = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (start, end))
    panel = read_panel(pool, key, [ticker], "1d", *span)
    with pool.connection() as connection:
        actions = read_corporate_actions(connection, key, [ticker])
    closes = adjust(panel, actions, "all").close[:, 0]
    return panel.timestamps.astype("datetime64[D]"), closes


def _rounding(closes: Floats) -> float:
    """Half a unit of the last decimal that any of these shows; 0 where they show too many to be rounded."""
    for decimals in range(2, _MOST_DECIMALS):
        if np.array_equal(np.round(closes, decimals), closes):
            return float(0.5 * 10.0**-decimals)
    return 0.0
