"""Reading a portfolio's books: each read is one statement and sees one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from framework.db.queries import fetch_one
from framework.db.types import Connection


@dataclass(frozen=True)
class PortfolioState:
    """Cash and positions of one moment, exact.

    Attributes:
        cash: latest balance; ``None`` before the first booking.
        currency: of the cash; ``None`` before the first booking.
        cash_timestamp: booking time of that balance.
        positions: latest quantity of every ticker ever held (zero: sold), in ticker order.
        updated_at: booking time of each of those.
        newest_trade: id of the newest trade row that is in them; 0: there is none.
    """

    cash: Decimal | None
    currency: str | None
    cash_timestamp: datetime | None
    positions: dict[str, Decimal]
    updated_at: dict[str, datetime]
    newest_trade: int = 0


@dataclass(frozen=True)
class Valuation:
    """A row of ``pnl_book``; money in the portfolio's currency. ``bar_timestamp``: of the newest bar that it saw."""

    timestamp: datetime
    notional: Decimal
    equity: Decimal
    realised: Decimal
    unrealised: Decimal
    income: Decimal
    costs: Decimal
    bar_timestamp: datetime | None = None


def read_state(connection: Connection, portfolio_id: str) -> PortfolioState:
    """Cash and positions of a portfolio by the atomic state query."""
    row = fetch_one(connection, "portfolio_state", {"portfolio_id": portfolio_id})
    if row is None:
        raise AssertionError("the state query always returns a row")
    cash, currency, timestamp, tickers, quantities, updated, newest_trade = row
    return PortfolioState(
        cash,
        currency,
        timestamp,
        dict(zip(tickers, quantities, strict=True)),
        dict(zip(tickers, updated, strict=True)),
        newest_trade,
    )


def read_latest_valuation(connection: Connection, portfolio_id: str) -> Valuation | None:
    """The latest row of ``pnl_book``; ``None`` before the first valuation."""
    row = fetch_one(connection, "latest_pnl", {"portfolio_id": portfolio_id})
    return Valuation(*row) if row else None
