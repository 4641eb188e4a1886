"""Dated flows of capital in the books of a replay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal

from framework.books.entries import CashMovement
from framework.books.journal import reserved
from framework.books.keys import capital_key
from framework.books.ledger import book
from framework.data.flow_dates import DatedFlow
from framework.db.pool import Pool
from framework.errors import InsufficientCash
from framework.model.money import price_decimal


class DatedFlows:
    """The money that comes to one portfolio and leaves it on dates, in order.

    Args:
        pool: of the books.
        portfolio_id: whose.
        flows: in order.
        booking_clock: the ledger's; gives ``None`` for the database's.
        told: is told what was refused, in words.
    """

    def __init__(
        self,
        pool: Pool,
        portfolio_id: str,
        flows: Sequence[DatedFlow],
        booking_clock: Callable[[], datetime | None],
        told: Callable[[str], None],
    ) -> None:
        self._pool, self._portfolio_id, self._coming = pool, portfolio_id, list(flows)
        self._booking_clock, self._told = booking_clock, told

    def due(self, now: datetime) -> DatedFlow | None:
        """The oldest that is to be booked by now."""
        return self._coming[0] if self._coming and self._coming[0].at <= now else None

    def book(self) -> None:
        """Book the oldest; a withdrawal beyond free cash is refused, and left out."""
        flow = self._coming[0]
        amount = price_decimal(Decimal(repr(flow.amount)))
        entry = CashMovement(
            portfolio_id=self._portfolio_id,
            key=capital_key(self._portfolio_id, flow.reference),
            at=flow.at,
            session=flow.session,
            kind="deposit" if amount > 0 else "withdrawal",
            amount=amount,
        )
        try:
            book(self._pool, [entry], self._booking_clock(), reserved=reserved)
        except InsufficientCash as error:
            self._told(str(error))
        self._coming.pop(0)
