"""The return index of a portfolio, from its valuations: what drawdown is measured on (trading-rules 3)."""

from __future__ import annotations

from framework.db.queries import fetch_all
from framework.db.types import Connection


class ReturnIndex:
    """Grows with equity, and not with money that comes or goes: money in = equity - profit.

    Return of a valuation: V / (V before + money that came in between) - 1; the first is measured on the money in.
    """

    def __init__(self) -> None:
        self._last_id, self._equity, self._money_in = 0, 0.0, 0.0
        self._index = self._peak = 1.0

    @property
    def drawdown(self) -> float:
        """How far the index is below its peak, -1 to 0."""
        return self._index / self._peak - 1.0

    def catch_up(self, connection: Connection, portfolio_id: str) -> None:
        """Take in the valuations that were written since the last call."""
        asked = {"portfolio_id": portfolio_id, "after": self._last_id}
        for row_id, equity, profit in fetch_all(connection, "valuations_after", asked):
            self.add(float(equity), float(equity - profit))
            self._last_id = row_id

    def add(self, equity: float, money_in: float) -> None:
        """One valuation: equity, and all money that has come in since the portfolio was opened, less what went out."""
        base = self._equity + money_in - self._money_in
        if base > 0.0:
            self._index *= equity / base
        self._peak = max(self._peak, self._index)
        self._equity, self._money_in = equity, money_in
