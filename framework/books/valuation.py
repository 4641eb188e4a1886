"""Valuing a portfolio: a row of ``pnl_book``, whose parts add up to the profit or it is not written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime

from framework.books import checks
from framework.books.exact import exact
from framework.books.lots import Lots, Mark, Profit
from framework.books.reads import read_locked, rows_after
from framework.db.pool import Pool
from framework.db.queries import execute
from framework.db.state import Valuation
from framework.db.types import Connection
from framework.errors import BookingError, DatabaseConflict

_PARTS = tuple(each.name for each in fields(Profit))


def catch_up(connection: Connection, portfolio_id: str, lots: Lots) -> None:
    """Take in the rows that were booked since ``lots`` last looked; a fresh ``Lots()`` starts from zero."""
    for row_id, row in rows_after(connection, portfolio_id, lots.last_id):
        lots.apply(row_id, row)


def value(
    pool: Pool,
    portfolio_id: str,
    marks: Mapping[str, Mark],
    lots: Lots,
    clock: datetime | None = None,
    bar_timestamp: datetime | None = None,
    newest_trade: int | None = None,
) -> Valuation:
    """Value a portfolio and write it down.

    Args:
        pool: one connection is held meanwhile.
        portfolio_id: whose books.
        marks: a price for every ticker held; others are ignored.
        lots: of this portfolio, kept by the caller from one valuation to the next; is brought up to date.
        clock: the engine's moment (aware); ``None``: the database's clock.
        bar_timestamp: of the newest bar that the marks come from; a bar is valued once, later calls change nothing.
        newest_trade: id of the last trade row that the marks were chosen for; ``None``: they fit whatever is held.

    Returns:
        the row; ``timestamp`` is its booking time.

    Raises:
        DatabaseConflict: something was booked since ``newest_trade``, a split say; nothing was written.
        DataError: a held ticker has no usable price.
        BookingError: the portfolio is not open, or its books do not add up.
        DatabaseError: the server failed or cannot be reached.
    """
    if clock is not None:
        checks.moment("clock", clock)
    if not lots.last_id:
        with pool.connection() as connection:
            catch_up(connection, portfolio_id, lots)  # the long part, without the lock
    with pool.transaction(isolation="read committed") as connection:
        return _value_in(connection, portfolio_id, marks, lots, clock, bar_timestamp, newest_trade)


def _value_in(
    connection: Connection,
    portfolio_id: str,
    marks: Mapping[str, Mark],
    lots: Lots,
    clock: datetime | None,
    bar_timestamp: datetime | None,
    newest_trade: int | None,
) -> Valuation:
    account = read_locked(connection, [portfolio_id], clock).accounts[portfolio_id]
    catch_up(connection, portfolio_id, lots)
    if newest_trade is not None and newest_trade != lots.last_id:
        raise DatabaseConflict(f"portfolio {portfolio_id!r} was booked while it was valued; it is valued again")
    if account.cash != lots.cash:
        raise BookingError(
            f"the cash of portfolio {portfolio_id!r} is {account.cash}, but its trades add up to {lots.cash}; "
            f"find the first row that is wrong: engine audit --portfolio {portfolio_id}"
        )
    profit = lots.profit(marks)
    require_identity(profit, portfolio_id)
    parts = {name: getattr(profit, name) for name in _PARTS}
    valuation = Valuation(timestamp=account.next_time(), **parts, bar_timestamp=bar_timestamp)
    asked = {"portfolio_id": portfolio_id, "timestamp": valuation.timestamp, "bar_timestamp": bar_timestamp, **parts}
    execute(connection, "insert_valuation", asked)
    return valuation


def require_identity(profit: Profit, portfolio_id: str) -> None:
    """Refuse a valuation whose parts don't add up.

    Raises:
        BookingError: shows both sides.
    """
    with exact():
        parts = profit.realised + profit.unrealised + profit.income - profit.costs
    if parts != profit.notional:
        raise BookingError(
            f"the profit of portfolio {portfolio_id!r} is {profit.notional}, but realised {profit.realised} + "
            f"unrealised {profit.unrealised} + income {profit.income} - costs {profit.costs} = {parts}; "
            "nothing was written"
        )
