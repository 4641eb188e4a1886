"""Reading the report of a live portfolio from its books and the bars beside them, all of one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

import numpy as np

from framework.books.exact import exact
from framework.books.open import Identity, portfolios
from framework.books.rows import COLUMNS, TradeRow
from framework.books.state import Valuation
from framework.config.explain import nearest
from framework.data.fx_now import newest_rate
from framework.db.pool import Pool
from framework.db.queries import Row, fetch_all, fetch_one
from framework.db.types import Connection
from framework.errors import DataError, UsageError
from framework.model.money import notional_decimal
from framework.report.live import NOTHING, Booked, Held, LiveReport, Ordered, PriceSource, ticker_currencies

_ZERO, _ONE = Decimal(0), Decimal(1)


def read_live_report(pool: Pool, portfolio_id: str, start: date | None = None, until: date | None = None) -> LiveReport:
    """Read a portfolio's report from its books, all of one moment.

    Args:
        pool: of the books.
        portfolio_id: of an open portfolio.
        start, until: first and last date, both included; ``None``: as far as the books go.

    Raises:
        UsageError: no such portfolio, or the range is empty.
        DataError: it was never valued in that range; says when it was.
    """
    if start is not None and until is not None and start > until:
        raise UsageError(f"the range is empty: its start {start} is after its end {until}")
    known = {each.portfolio_id: each for each in portfolios(pool)}
    if portfolio_id not in known:
        there = f"there are: {', '.join(known)}" if known else "none is open"
        raise UsageError(
            f"there is no portfolio {portfolio_id!r} in the books{nearest(portfolio_id, list(known))} ({there})"
        )
    with pool.transaction(read_only=True, isolation="repeatable read") as connection:
        return _read(connection, known[portfolio_id], start, until)


def _read(connection: Connection, portfolio: Identity, start: date | None, until: date | None) -> LiveReport:
    asked = {"portfolio_id": portfolio.portfolio_id, "start": start, "until": until}
    found = fetch_all(connection, "valuations_dated", asked)
    inside = [row for row in found if row[9]]
    if not inside:
        raise _not_valued(connection, portfolio.portfolio_id, start, until)
    before = NOTHING if found[0][9] else Valuation(*found[0][:8])
    valuations = tuple(Valuation(*row[:8]) for row in inside)
    end, cash = valuations[-1], inside[-1][10]
    span = {"portfolio_id": portfolio.portfolio_id, "until": end.timestamp}
    state = fetch_all(connection, "state_at", span)
    quantities = {row[0]: row[1] for row in state if row[0] is not None}
    booked = _booked(connection, portfolio.portfolio_id, None, end.timestamp)
    currencies = ticker_currencies(booked)
    prices, positions, notes = _valued(connection, portfolio, quantities, currencies, end, cash)
    if not quantities:
        prices = _prices_before(connection, portfolio, found, currencies) or prices
    if until is None:
        later = len(_booked(connection, portfolio.portfolio_id, end.timestamp, None))
        notes += [f"{later} bookings after the last valuation are not in these figures"] if later else []
    orders = fetch_all(
        connection, "orders_reported", {**span, "after": None if before is NOTHING else before.timestamp}
    )
    return LiveReport(
        portfolio=portfolio,
        days=np.array([row[8] for row in inside], dtype="datetime64[D]"),
        valuations=valuations,
        cash_at=tuple(row[10] for row in inside),
        before=before,
        booked=booked,
        orders=tuple(Ordered(*row) for row in orders),
        positions=positions,
        prices=prices,
        notes=tuple(notes),
    )


def _not_valued(connection: Connection, portfolio_id: str, start: date | None, until: date | None) -> DataError:
    row = fetch_one(connection, "valuation_dates", {"portfolio_id": portfolio_id})
    if row is None or row[0] is None:
        return DataError(
            f"portfolio {portfolio_id!r} was never valued, so there is nothing to report; an engine values it at every "
            "bar (engine run CONFIG)"
        )
    asked = " ".join(f"{word} {day}" for word, day in (("from", start), ("to", until)) if day is not None)
    return DataError(
        f"portfolio {portfolio_id!r} was not valued {asked}; its valuations reach from {row[0]} to {row[1]}"
    )


def _booked(
    connection: Connection, portfolio_id: str, after: datetime | None, until: datetime | None
) -> tuple[Booked, ...]:
    asked = {"portfolio_id": portfolio_id, "after": after, "until": until}
    return tuple(
        Booked(row[0], row[1], TradeRow(**dict(zip(COLUMNS, row[2:], strict=True))))
        for row in fetch_all(connection, "trades_booked", asked)
    )


# What positions were valued at. The books keep the sum, not the prices; those are looked up among the bars.


def _valued(
    connection: Connection,
    portfolio: Identity,
    quantities: Mapping[str, Decimal],
    currencies: Mapping[str, str],
    end: Valuation,
    cash: Decimal,
) -> tuple[PriceSource | None, tuple[Held, ...], list[str]]:
    """The positions at the prices of the source whose values add up to what they were valued at, or come nearest.

    Of those that come as near it is the one with the newest bar: the close of the day is that of its last hour, too.
    """
    worth = end.equity - cash
    candidates = [
        (source, newest, _at(quantities, closes, _rates(connection, source, portfolio, quantities, currencies, end)))
        for source, (newest, closes) in _closes(connection, quantities or currencies, end).items()
    ]
    if not candidates:
        nothing = _at(quantities, {}, {})
        return None, nothing, _remarks(nothing, worth)
    candidates.sort(key=lambda each: each[1], reverse=True)
    best, _, held = min(candidates, key=lambda each: (_unpriced(each[2]), abs(_worth(each[2]) - worth)))
    return best, held, _remarks(held, worth)


def _prices_before(
    connection: Connection, portfolio: Identity, found: Sequence[Row], currencies: Mapping[str, str]
) -> PriceSource | None:
    """What the last valuation at which something was held was made with; ``None``: there is none."""
    row = next((row for row in reversed(found) if row[2] != row[10]), None)
    if row is None:
        return None
    state = fetch_all(connection, "state_at", {"portfolio_id": portfolio.portfolio_id, "until": row[0]})
    quantities = {ticker: quantity for ticker, quantity in state if ticker is not None}
    return _valued(connection, portfolio, quantities, currencies, Valuation(*row[:8]), row[10])[0]


def _closes(
    connection: Connection, tickers: Mapping[str, object], end: Valuation
) -> dict[PriceSource, tuple[datetime, dict[str, Decimal]]]:
    """The newest bar at a valuation, and the close of each ticker there, by source and interval."""
    found: dict[PriceSource, tuple[datetime, dict[str, Decimal]]] = {}
    asked = {"tickers": list(tickers), "until": end.bar_timestamp or end.timestamp}
    for source, interval, ticker, close, at in fetch_all(connection, "closes_at", asked):
        newest, closes = found.get(PriceSource(source, interval), (at, {}))
        closes[ticker] = close
        found[PriceSource(source, interval)] = max(newest, at), closes
    return found


def _rates(
    connection: Connection,
    prices: PriceSource,
    portfolio: Identity,
    quantities: Mapping[str, Decimal],
    currencies: Mapping[str, str],
    end: Valuation,
) -> dict[str, Decimal]:
    """The rate that was known at a valuation of each ticker in another currency; one without any is left out."""
    found: dict[str, Decimal] = {}
    for ticker in quantities:
        foreign = currencies.get(ticker, portfolio.base_currency)
        if foreign == portfolio.base_currency:
            found[ticker] = _ONE
            continue
        try:
            known = newest_rate(connection, foreign, portfolio.base_currency, end.timestamp, prices.source)
        except DataError:
            continue  # told as a position without a price
        found[ticker] = known.rate
    return found


def _at(
    quantities: Mapping[str, Decimal], prices: Mapping[str, Decimal], rates: Mapping[str, Decimal]
) -> tuple[Held, ...]:
    with exact():
        return tuple(_held(ticker, quantities[ticker], prices, rates) for ticker in sorted(quantities))


def _held(ticker: str, quantity: Decimal, prices: Mapping[str, Decimal], rates: Mapping[str, Decimal]) -> Held:
    if ticker not in prices or ticker not in rates:
        return Held(ticker, quantity, None, None)
    return Held(ticker, quantity, prices[ticker], notional_decimal(quantity, prices[ticker] * rates[ticker]))


def _remarks(held: Sequence[Held], worth: Decimal) -> list[str]:
    if _unpriced(held):
        missing = ", ".join(each.ticker for each in held if each.price is None)
        return [f"no bar is in this database to value {missing} at"]
    if _worth(held) != worth:
        return [
            f"the bars have changed since the last valuation: it took the positions for {worth:,.2f}, at the prices "
            f"shown they are {_worth(held):,.2f}"
        ]
    return []


def _worth(held: Sequence[Held]) -> Decimal:
    with exact():
        return sum((each.value for each in held if each.value is not None), _ZERO)


def _unpriced(held: Sequence[Held]) -> int:
    return sum(each.price is None for each in held)
