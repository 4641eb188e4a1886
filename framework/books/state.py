"""Reading a portfolio's books: everything of one moment, Decimal throughout."""

from __future__ import annotations

from framework.books.open import portfolios
from framework.db.pool import Pool
from framework.db.state import PortfolioState, Valuation, read_latest_valuation, read_state
from framework.errors import BookingError

__all__ = ["PortfolioState", "Valuation", "read_latest_valuation", "read_portfolio", "read_state"]


def read_portfolio(pool: Pool, portfolio_id: str) -> PortfolioState:
    """Cash and positions by the atomic state query, in a read-only repeatable-read transaction.

    What reads more of the same moment (market window, latest valuation) opens such a transaction itself and uses
    :func:`read_state` and :func:`read_latest_valuation` in it.

    Raises:
        BookingError: the portfolio is not open. One that is open without bookings has ``None`` for cash.
        DatabaseError: nothing was read.
    """
    with pool.transaction(read_only=True, isolation="repeatable read") as connection:
        state = read_state(connection, portfolio_id)
    if state.cash is None and not state.positions and not portfolios(pool, [portfolio_id]):
        raise BookingError(
            f"there is no portfolio {portfolio_id!r} in the books; open it first (engine portfolio open)"
        )
    return state
