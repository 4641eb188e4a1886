"""The opening deposit of a portfolio: booked once, by whoever comes first."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from framework.books.entries import CashMovement
from framework.books.keys import opening_key
from framework.books.ledger import book_in, lock
from framework.books.reads import rows_by_key
from framework.books.state import read_state
from framework.db.pool import Pool
from framework.db.queries import fetch_one
from framework.db.retry import retry
from framework.db.types import Connection
from framework.errors import BookingError


def booked_opening(connection: Connection, portfolio_id: str) -> Decimal | None:
    """The opening deposit that is in the books; ``None``: there is none."""
    key = opening_key(portfolio_id)
    booked = rows_by_key(connection, [key]).get(key)
    return None if booked is None else booked[1].notional


def book_opening(pool: Pool, portfolio_id: str, cash: Decimal, clock: datetime | None = None) -> bool:
    """Book the cash that an open portfolio begins with; its business time is when the portfolio was opened.

    Args:
        pool: one connection is held meanwhile.
        portfolio_id: which.
        cash: > 0, in its currency, in whole micros.
        clock: moment of a simulated clock, which then is its time; ``None``: real time.

    Returns:
        whether it was booked now; False: it was before, the same amount.

    Raises:
        IdempotencyConflict: another amount was booked.
        BookingError: the portfolio is not open, or money came into it in another way.
    """

    def once() -> bool:
        with pool.transaction() as connection:
            lock(connection, [portfolio_id])
            key = opening_key(portfolio_id)
            booked = rows_by_key(connection, [key]).get(key)
            moment = clock if clock is None or booked is None else booked[1].exec_timestamp
            if read_state(connection, portfolio_id).cash is not None and booked is None:
                raise BookingError(
                    f"portfolio {portfolio_id!r} has bookings but no opening deposit, so none is booked now; "
                    "more money comes in as capital (engine capital add)"
                )
            row = fetch_one(connection, "portfolio_opened_at", {"portfolio_id": portfolio_id})
            assert row is not None, "it was locked"
            at = row[0] if moment is None else moment
            entry = CashMovement(
                portfolio_id=portfolio_id, key=key, at=at, session=at.date(), kind="deposit", amount=cash
            )
            return not book_in(connection, [entry], moment).entries[0].already

    return retry(once)
