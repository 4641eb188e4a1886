"""Orders as reports show them: those that traded, those that did not, and what was held after each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats, Times
from framework.model.result import Ints


@dataclass(frozen=True, eq=False)
class Fills:
    """``K`` fills in the order of the run's trade log, shape ``(K,)`` each.

    Attributes:
        id: from 1, in the order of the whole run.
        portfolio: index into the run's portfolios.
        sequence: from 1, in the order of the portfolio.
        ticker: index into the run's tickers.
        executed: when it traded; ``bar`` and ``decided`` are the labels of the bars it filled in and was decided on.
        quantity: shares, signed.
        arrival_price, decision_price, price, notional, fees: as in ``model.result.Trades``.
        fx_rate, notional_local: as in ``model.result.Trades``, in numbers for own currencies, too.
        execution_id, order_id: of the books, text; ``None``: of a simulation, which has none.
    """

    id: Ints
    portfolio: Ints
    sequence: Ints
    ticker: Ints
    executed: Times
    bar: Times
    decided: Times
    quantity: Floats
    arrival_price: Floats
    decision_price: Floats
    price: Floats
    notional: Floats
    fees: Floats
    fx_rate: Floats
    notional_local: Floats
    execution_id: NDArray[np.object_] | None = None
    order_id: NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(self.id)

    @property
    def cash(self) -> Floats:
        """Signed cash of each fill: −(notional + fees) for buys, notional − fees for sells."""
        return -np.sign(self.quantity) * self.notional - self.fees

    @cached_property
    def slippage(self) -> Floats:
        """What each fill cost beyond the price on arrival, in the account's currency; 0 where that is not known."""
        return np.nan_to_num(self.quantity * (self.price - self.arrival_price) * self.fx_rate)

    @cached_property
    def slippage_bps(self) -> Floats:
        """How much worse than the arrival price each fill was, basis points; negative is better; NaN if that was 0."""
        ratio = np.full(len(self), np.nan)
        np.divide(self.price, self.arrival_price, out=ratio, where=self.arrival_price > 0)
        return np.sign(self.quantity) * (ratio - 1.0) * 1e4

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Fills:
        """The fills at ``index`` (positions or a mask), in that order."""
        columns: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        taken: dict[str, Any] = {name: None if column is None else column[index] for name, column in columns.items()}
        return Fills(**taken)


class Changes(NamedTuple):
    """Positions after each bar in which they changed, in order of (bar, ticker); shape ``(C,)`` each.

    ``quantity`` is signed, ``price`` the bar's close in the ticker's currency, ``rate`` its rate to the account's.
    """

    bar: Times
    ticker: Ints
    quantity: Floats
    price: Floats
    rate: Floats

    @classmethod
    def of(cls, bar: Times, ticker: Ints, moved: Floats, price: Floats, rate: Floats) -> Changes:
        """What all that moved positions led to: ``moved`` are the signed shares of each fill and split, in any order.

        The others are as above, of the bar that it was in; shape ``(K,)`` each.
        """
        order = np.lexsort((bar, ticker))
        of_ticker, of_bar = ticker[order], bar[order]
        starts = np.flatnonzero(np.diff(of_ticker, prepend=-1))
        held = np.concatenate([np.empty(0), *(np.cumsum(part) for part in np.split(moved[order], starts[1:]))])
        last = np.ones(len(order), dtype=np.bool_)
        last[:-1] = (of_ticker[1:] != of_ticker[:-1]) | (of_bar[1:] != of_bar[:-1])
        rows = np.flatnonzero(last)
        rows = rows[np.lexsort((of_ticker[rows], of_bar[rows]))]
        kept = order[rows]
        return cls(bar[kept], ticker[kept], np.round(held[rows], 9) + 0.0, price[kept], rate[kept])

    @classmethod
    def joined(cls, parts: Sequence[Changes]) -> Changes:
        """Those of several portfolios together."""
        bar, ticker, _, price, rate = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return cls.of(bar, ticker, np.concatenate([part._moved() for part in parts]), price, rate)

    def _moved(self) -> Floats:
        """By how much each differs from the one before of its ticker."""
        order = np.argsort(self.ticker, kind="stable")
        quantity = self.quantity[order]
        starts = np.flatnonzero(np.diff(self.ticker[order], prepend=-1))
        steps = np.diff(quantity, prepend=0.0)
        steps[starts] = quantity[starts]
        moved = np.empty(len(order))
        moved[order] = steps
        return moved


@dataclass(frozen=True, eq=False)
class Lapsed:
    """``U`` orders, or rests of orders, that ended without a fill, in order of time; shape ``(U,)`` each.

    ``timestamp`` and ``decided`` are the labels of the bars that they ended in and were decided on.
    """

    timestamp: Times
    decided: Times
    portfolio: Ints
    ticker: Ints
    quantity: Floats
    reason: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.reason)

    def take(self, index: NDArray[np.intp]) -> Lapsed:
        """The orders at ``index``, in that order."""
        reasons = tuple(self.reason[i] for i in index.tolist())
        return Lapsed(
            self.timestamp[index],
            self.decided[index],
            self.portfolio[index],
            self.ticker[index],
            self.quantity[index],
            reasons,
        )

    def by_reason(self) -> dict[str, int]:
        """How many ended by each reason, most frequent first; of ``max_weight: 0.52 > 0.5`` the word counts."""
        counted = Counter(reason.partition(":")[0] for reason in self.reason)
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
