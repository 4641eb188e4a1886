"""Where in a panel splits and dividends act: at the open of a ticker's first bar on or after the ex-date.

With that bar prices are of the new shares, and without the dividend; until then all is valued, decided and filled at
prices of the old ones (trading-rules 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framework.model.bars import CorporateAction
from framework.model.panel import Panel


class Act(NamedTuple):
    """An action in a panel.

    Attributes:
        row: at whose open it acts, before anything fills there.
        column: of its ticker.
        ex_row: the first row on or after the ex-date, whose rate a dividend is converted at.
        action: what it is.
    """

    row: int
    column: int
    ex_row: int
    action: CorporateAction


@dataclass(frozen=True)
class Acting:
    """The actions of a panel's tickers, in the order in which they act: by row, ex-date, splits first, ticker."""

    acts: tuple[Act, ...] = ()

    @classmethod
    def of(cls, panel: Panel, session: NDArray[np.datetime64], actions: Sequence[CorporateAction]) -> Acting:
        """Those that act in a panel.

        Args:
            panel: as traded.
            session: shape ``(T,)``, ``datetime64[D]``: the exchange date of each bar.
            actions: of any tickers, in any order.
        """
        columns = {ticker: column for column, ticker in enumerate(panel.tickers)}
        mine = [action for action in actions if action.ticker in columns]
        if not mine or not len(session):
            return cls()
        ex_dates = np.array([action.ex_date for action in mine], dtype="datetime64[D]")
        ex_rows = np.searchsorted(session, ex_dates).tolist()
        with_gaps: list[int] = np.flatnonzero(np.isnan(panel.close).any(axis=0)).tolist()
        bars = {column: np.flatnonzero(~np.isnan(panel.close[:, column])) for column in with_gaps}
        found = []
        for action, ex_row, is_early in zip(mine, ex_rows, (ex_dates < session[0]).tolist(), strict=True):
            column, row = columns[action.ticker], ex_row
            if column in bars:
                at = int(np.searchsorted(bars[column], ex_row))
                row = int(bars[column][at]) if at < len(bars[column]) else len(session)
            if row < len(session) and not is_early:
                found.append(Act(row, column, ex_row, action))
        found.sort(key=lambda act: (act.row, act.action.ex_date, act.action.kind != "split", act.column))
        return cls(tuple(found))

    def between(self, start: int, stop: int) -> Acting:
        """Those of the rows ``start`` to ``stop`` (exclusive), counted from the first of these."""
        moved = (Act(row - start, column, max(0, ex - start), what) for row, column, ex, what in self.acts)
        return Acting(tuple(act for act in moved if 0 <= act.row < stop - start))
