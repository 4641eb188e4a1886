"""What surrounds the bars: coverage, versions, splits and dividends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from framework.db.bulk import insert_rows
from framework.db.pool import Pool
from framework.db.queries import Row, execute, fetch_all
from framework.db.retry import retry
from framework.db.types import Connection
from framework.model.bars import CorporateAction
from framework.model.quotes import Instrument


@dataclass(frozen=True)
class Coverage:
    """The exchange dates of a ticker, both included, within which the database has every bar that the source has.

    ``content_hash`` is that of the file the bars came from; ``None`` for sources that are not files. ``findings``, as
    JSON, is what was wrong with the rows that were loaded. ``actions_read_at``: when its splits and dividends were last
    read, aware.
    """

    ticker: str
    start: date
    end: date
    content_hash: str | None = None
    findings: Mapping[str, Any] = field(default_factory=dict)
    actions_read_at: datetime | None = None


class CoveredBars(NamedTuple):
    """What of one ticker and interval has been loaded, and when last."""

    source: str
    ticker: str
    interval: str
    start: date
    end: date
    updated_at: datetime


def list_coverage(pool: Pool, source: str | None, tickers: Sequence[str]) -> list[CoveredBars]:
    """All that has been loaded: of one source or (``None``) all, of some tickers or (none named) all."""
    with pool.connection() as connection:
        rows = fetch_all(connection, "list_coverage", {"source": source, "tickers": list(tickers)})
    return [CoveredBars(*row) for row in rows]


def read_coverage(connection: Connection, source: str, interval: str, tickers: Sequence[str]) -> dict[str, Coverage]:
    """The coverage by ticker; a ticker of which nothing was ever loaded is not in it."""
    asked = {"source": source, "bar_interval": interval, "tickers": list(tickers)}
    return {row[0]: Coverage(*row) for row in fetch_all(connection, "read_coverage", asked)}


def coverage_of(pool: Pool, source: str, interval: str, tickers: Sequence[str]) -> dict[str, Coverage]:
    """As :func:`read_coverage`, on a connection of its own, and again where the database is away for a moment."""

    def read() -> dict[str, Coverage]:
        with pool.connection() as connection:
            return read_coverage(connection, source, interval, tickers)

    return retry(read)


def write_coverage(connection: Connection, source: str, interval: str, coverage: Sequence[Coverage]) -> None:
    """State coverage anew, in the transaction that writes the bars; what was stated of these tickers is replaced.

    One range per ticker: who loads further must load what lies between, and state the whole.
    """
    for each in sorted(coverage, key=lambda coverage: coverage.ticker):
        stated = {"source": source, "bar_interval": interval, "ticker": each.ticker, "start_date": each.start}
        stated |= {"end_date": each.end, "content_hash": each.content_hash, "findings": json.dumps(each.findings)}
        stated["actions_read_at"] = each.actions_read_at
        execute(connection, "write_coverage", stated)


def read_versions(connection: Connection, source: str, interval: str, tickers: Sequence[str]) -> dict[str, int]:
    """The version of each ticker's bars: grows with every change of them, however made; no entry: never had bars.

    A cache that is keyed by these, read in one transaction with the bars, cannot be stale.
    """
    asked = {"source": source, "bar_interval": interval, "tickers": list(tickers)}
    return {row[0]: row[1] for row in fetch_all(connection, "read_versions", asked)}


def series_state(connection: Connection, source: str, interval: str, tickers: Sequence[str]) -> tuple[Row, ...]:
    """What tells the bars of some tickers from what they were: the same rows come only while nothing has changed.

    Unlike the versions of :func:`read_versions` they tell other databases apart, and a restored backup.
    """
    asked = {"source": source, "bar_interval": interval, "tickers": list(tickers)}
    return tuple(fetch_all(connection, "series_state", asked))


def read_corporate_actions(connection: Connection, source: str, tickers: Sequence[str]) -> tuple[CorporateAction, ...]:
    """Splits and dividends of some tickers, in order of ticker, ex-date, kind."""
    asked = {"source": source, "tickers": list(tickers)}
    return tuple(CorporateAction(*row) for row in fetch_all(connection, "read_corporate_actions", asked))


def write_instruments(connection: Connection, instruments: Sequence[Instrument]) -> None:
    """Keep what a source says of some tickers; of one that is there, what is stated stays."""
    columns = ("tickers", "currencies", "exchanges")
    rows = [(each.ticker, each.currency, each.exchange and each.exchange[:16]) for each in instruments]
    values = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    execute(connection, "write_instruments", dict(zip(columns, values, strict=True)))


def write_corporate_actions(
    connection: Connection, source: str, tickers: Sequence[str], actions: Sequence[CorporateAction]
) -> tuple[CorporateAction, ...]:
    """Have the splits and dividends of some tickers as their source states them.

    Rows that were added by hand, or are set to be ignored, stay, and win over a stated one of their day and kind.

    Args:
        connection: inside a transaction.
        source: value of the column ``source``.
        tickers: all of whose actions are stated.
        actions: all that the source states of them.

    Returns:
        those that were there and are stated no longer, or with another value.
    """
    asked: dict[str, object] = {"source": source, "tickers": list(tickers)}
    asked["stated_tickers"] = [each.ticker for each in actions]
    asked["ex_dates"] = [each.ex_date for each in actions]
    asked["kinds"] = [each.kind for each in actions]
    asked["amounts"] = [each.value for each in actions]
    gone = fetch_all(connection, "remove_corporate_actions", asked)
    columns = ("source", "ticker", "ex_date", "kind", "value", "is_stated")
    rows = [(source, each.ticker, each.ex_date, each.kind, each.value, True) for each in actions]
    insert_rows(connection, "corporate_actions", columns, rows, columns[:4])
    return tuple(CorporateAction(*row) for row in gone)
