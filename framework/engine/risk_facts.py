"""What risk rules want to know of a live portfolio's past; looked up only where there are rules."""

from __future__ import annotations

from datetime import datetime, timedelta

from framework.books.returns import ReturnIndex
from framework.db.pool import Pool
from framework.db.queries import fetch_one

_MINUTE = timedelta(minutes=1)


class RiskFacts:
    """For one portfolio.

    Args:
        pool: of the books.
        portfolio_id: which.
        has_rules: whether anybody asks.
    """

    def __init__(self, pool: Pool, portfolio_id: str, has_rules: bool) -> None:
        self._pool, self._portfolio_id, self._has_rules = pool, portfolio_id, has_rules
        self._returns = ReturnIndex()

    def drawdown(self) -> float:
        """Of the return index below its peak, -1 to 0."""
        if not self._has_rules:
            return 0.0
        with self._pool.connection() as connection:
            self._returns.catch_up(connection, self._portfolio_id)
        return self._returns.drawdown

    def sent_before(self, due_at: datetime) -> int:
        """Orders of the minute before a decision."""
        if not self._has_rules:
            return 0
        asked = {"portfolio_id": self._portfolio_id, "after": due_at - _MINUTE, "before": due_at}
        with self._pool.connection() as connection:
            row = fetch_one(connection, "orders_decided", asked)
        return 0 if row is None else int(row[0])
