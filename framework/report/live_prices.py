"""The bars beside the books: what the tickers of a live portfolio stood at, at each of its valuations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from framework.books.rows import CASH_SUFFIX
from framework.data.adjust import adjust
from framework.data.calendars import outside_sessions, timeline
from framework.data.fx import CALENDAR, Pair, Series
from framework.db.bars import read_panel
from framework.db.market import read_corporate_actions
from framework.db.pool import Pool
from framework.db.queries import fetch_all
from framework.db.types import Connection
from framework.model.panel import Floats, Times, forward_fill
from framework.model.timeline import moment
from framework.report.live import LiveReport, PriceSource, ticker_currencies

#: Bars before the first valuation that are read; of a ticker without one in that time, its newest close.
_BEFORE = timedelta(days=30)


@dataclass(frozen=True, eq=False)
class Market:
    """Prices of ``N`` tickers at ``V`` moments, shape ``(V, N)``; NaN where none is known.

    Attributes:
        tickers: the columns.
        closes: the newest close, as traded, in the ticker's currency.
        adjusted: the same, adjusted for splits and dividends up to the last moment.
        rates: units of the portfolio's currency per unit of the ticker's.
    """

    tickers: tuple[str, ...]
    closes: Floats
    adjusted: Floats
    rates: Floats


def read_market(pool: Pool, report: LiveReport, bars: Times, known: Times) -> Market:
    """What the tickers that were ever booked or ordered stood at.

    Args:
        pool: of the database.
        report: whose tickers, prices and currency.
        bars: shape ``(V,)``, labels of the newest bars that count, rising.
        known: shape ``(V,)``, when each was known, for the rates.
    """
    base = report.portfolio.base_currency
    currencies = {order.ticker: base for order in report.orders}
    currencies |= {
        ticker: currency
        for ticker, currency in ticker_currencies(report.booked).items()
        if not ticker.endswith(CASH_SUFFIX)
    }
    tickers = tuple(sorted(currencies))
    nothing = np.full((len(bars), len(tickers)), np.nan)
    if report.prices is None or not tickers:
        return Market(tickers, nothing, nothing, nothing)
    source, interval = report.prices
    since, until = moment(bars[0]) - _BEFORE, moment(bars[-1])
    panel = read_panel(pool, source, tickers, interval, since, until)
    with pool.connection() as connection:
        actions = read_corporate_actions(connection, source, tickers)
        older = _older(connection, report.prices, tickers, since)
    if len(panel):
        closes, adjusted = (
            _at(panel.timestamps, forward_fill(each.close), bars) for each in (panel, adjust(panel, actions, "all"))
        )
    else:
        closes, adjusted = nothing, nothing
    closes = np.where(np.isnan(closes), older, closes)
    rates = np.ones((len(bars), len(tickers)))
    for foreign in sorted(set(currencies.values()) - {base}):
        columns = [column for column, ticker in enumerate(tickers) if currencies[ticker] == foreign]
        rates[:, columns] = _rates(pool, report.prices, foreign, base, (since, until), known)[:, None]
    return Market(tickers, closes, adjusted, rates)


def _older(connection: Connection, prices: PriceSource, tickers: tuple[str, ...], until: datetime) -> Floats:
    """Shape ``(N,)``: the newest close of each before a moment, for those that are held with no bar since then."""
    found = fetch_all(connection, "closes_at", {"tickers": list(tickers), "until": until})
    known = {row[2]: float(row[3]) for row in found if prices == (row[0], row[1])}
    return np.array([known.get(ticker, np.nan) for ticker in tickers])


def _at(timestamps: Times, values: Floats, bars: Times) -> Floats:
    """The row of each bar, or the newest before it."""
    before = np.full((1, values.shape[1]), np.nan)
    return np.concatenate((before, values))[np.searchsorted(timestamps, bars, side="right")]


def _rates(
    pool: Pool, prices: PriceSource, foreign: str, base: str, span: tuple[datetime, datetime], known: Times
) -> Floats:
    """Shape ``(V,)``: what was known of a currency at each moment; NaN: the source has no pair, or none yet."""
    for pair in (Pair(f"{foreign}{base}", False), Pair(f"{base}{foreign}", True)):
        panel = read_panel(pool, prices.source, [pair.ticker], prices.interval, *span)
        panel = panel.where(~outside_sessions(CALENDAR, prices.interval, panel.timestamps)) if len(panel) else panel
        if len(panel):
            clock = timeline(CALENDAR, prices.interval, panel.timestamps)
            return Series.of(pair, clock, panel.close[:, 0]).at(known)
    return np.full(len(known), np.nan)
