"""The return index of a portfolio, from its valuations: what drawdown is measured on (trading-rules 3)."""

from __future__ import annotations

from framework.db.queries import fetch_all, fetch_one
from framework.db.types import Connection


class ReturnIndex:
    """Grows with equity, and not with money that comes or goes: money in = equity - profit.

    Return of a valuation: V / (V before + money that came in between) - 1; the first is measured on the money in.

    Args:
        equity, money_in: of a valuation to begin after; zero: from the opening on.
    """

    def __init__(self, equity: float = 0.0, money_in: float = 0.0) -> None:
        self._measured_from = 0
        self._begin(equity, money_in)

    def _begin(self, equity: float = 0.0, money_in: float = 0.0) -> None:
        self._last_id, self._equity, self._money_in = 0, equity, money_in
        self._index = self._peak = 1.0

    @property
    def value(self) -> float:
        """What one unit of money has become, whatever came and went."""
        return self._index

    @property
    def drawdown(self) -> float:
        """How far the index is below its peak, -1 to 0."""
        return self._index / self._peak - 1.0

    def catch_up(self, connection: Connection, portfolio_id: str) -> None:
        """Take in the valuations that were written since the last call.

        Where a halt by a risk rule was ended, the peak is that of the valuations from there on.
        """
        row = fetch_one(connection, "measured_from", {"portfolio_id": portfolio_id})
        measured_from = 0 if row is None else int(row[0])
        if measured_from != self._measured_from:
            self._measured_from = measured_from
            self._begin()
        asked = {"portfolio_id": portfolio_id, "after": self._last_id}
        for row_id, equity, profit in fetch_all(connection, "valuations_after", asked):
            self.add(float(equity), float(equity - profit))
            if row_id <= measured_from:
                self._peak = self._index
            self._last_id = row_id

    def add(self, equity: float, money_in: float) -> None:
        """One valuation: equity, and all money that has come in since the portfolio was opened, less what went out."""
        base = self._equity + money_in - self._money_in
        if base > 0.0:
            self._index *= equity / base
        self._peak = max(self._peak, self._index)
        self._equity, self._money_in = equity, money_in
