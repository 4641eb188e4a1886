"""Orders one by one: what waits for its bar, what lapses, and fills where the arrays' short cut does not apply.

Quantity orders, targets on tickers without a bar, and anything decided while an order waits go through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from framework.engine.account import Account
from framework.errors import StrategyError
from framework.model.money import MIN_PRICE, cut
from framework.model.panel import Floats
from framework.trading.context import OrderRequest

#: Largest weight: a hundred thousand percent of equity is a mistake.
MAX_WEIGHT = 1000.0
#: Why an order ends that a later target takes back.
REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A sized market order for the next open. ``lots`` is signed; ``order_id``: its name in a journal, if any."""

    column: int
    lots: float
    decided: int
    order_id: str = ""


class Witness(Protocol):
    """Who is told what becomes of each waiting order: a journal."""

    def filled(self, order: Waiting, lots: float, price: float, fees: float) -> None:
        """It filled, in full or in part: signed lots, micros per lot, micros."""

    def ended(self, order: Waiting, lots: float, reason: str) -> None:
        """It, or the rest of it, ended without a fill."""


class OrderBook:
    """The orders of one account between decision and end. An order trades at its ticker's next bar in the session.

    Args:
        account: whose orders.
        last_of_session: shape ``(T,)``: after which bars DAY orders lapse.
        waiting: what an earlier book left, to trade at ``next_bar`` at the earliest.
        next_bar: row.
        witness: told of fills and ends, beside the account's own lists.
    """

    def __init__(
        self,
        account: Account,
        last_of_session: NDArray[np.bool_],
        waiting: Sequence[Waiting] = (),
        next_bar: int = 0,
        witness: Witness | None = None,
    ) -> None:
        self.account = account
        self.waiting: list[Waiting] = list(waiting)
        self._last_of_session = last_of_session
        self._next_bar = next_bar
        self._witness = witness

    # Decisions.

    def target_weights(self, bar: int, columns: NDArray[np.int64], weights: Floats) -> None:
        """Size target weights on the close of ``bar`` and queue the orders that reach them."""
        check_weights(weights)
        spendable = self.account.spendable(bar)
        for column, weight in zip(columns.tolist(), weights.tolist(), strict=True):
            close = float(self.account.closes[bar, column])
            if close == 0.0 and weight == 0.0:
                continue
            if close == 0.0:
                self.account.note_unfilled(bar, column, np.nan, "no price")
            elif weight < 0.0:
                self.account.note_unfilled(bar, column, np.nan, "short not allowed")
            else:
                self._reach(bar, column, cut(weight / (close * self.account.unit) * spendable))

    def request(self, bar: int, order: OrderRequest) -> None:
        """Queue one order call of a strategy."""
        lots = cut(order.quantity * self.account.terms.lots_per_share)
        column = order.column
        held = float(self.account.lots[column])
        if order.is_target and lots >= 0.0:
            self._reach(bar, column, lots)
        elif order.is_target or held + self._on_its_way(column) + lots < 0.0:
            self.account.note_unfilled(bar, column, lots, "short not allowed")
        elif lots:
            self._queue(Waiting(column, lots, bar))

    def _reach(self, bar: int, column: int, target: float) -> None:
        """Order the difference to ``target``; what an earlier order will bring counts, unless it goes too far."""
        needed = target - float(self.account.lots[column])
        coming = self._on_its_way(column)
        if coming and (needed * coming <= 0.0 or abs(coming) > abs(needed)):
            self._cancel(bar, column)
            coming = 0.0
        if needed != coming:
            self._queue(Waiting(column, needed - coming, bar))

    def _on_its_way(self, column: int) -> float:
        return sum(order.lots for order in self.waiting if order.column == column)

    def _cancel(self, bar: int, column: int) -> None:
        for order in self.waiting:
            if order.column == column and not self._is_of(bar, order):
                self._end(bar, order, order.lots, REPLACED)
        self.waiting = [order for order in self.waiting if order.column != column]

    def _queue(self, order: Waiting) -> None:
        """Send an order; what is asked of a ticker at one bar is one order."""
        same = [other for other in self.waiting if other.column == order.column and self._is_of(order.decided, other)]
        for other in same:
            self.waiting.remove(other)
        lots = order.lots + sum(other.lots for other in same)
        if lots:
            self.waiting.append(Waiting(order.column, lots, order.decided))
        self._next_bar = order.decided + 1

    @staticmethod
    def _is_of(bar: int, order: Waiting) -> bool:
        """Whether an order is being decided at this bar, and so was never sent."""
        return order.decided == bar and not order.order_id

    # Fills.

    def run_to(self, bar: int) -> None:
        """Let waiting orders trade at the opens up to that of ``bar``."""
        while self.waiting and self._next_bar <= bar:
            self._open(self._next_bar)
            self._next_bar += 1

    def end(self, last_bar: int) -> None:
        """Close the book after the last bar."""
        self.run_to(last_bar)
        for order in self.waiting:
            self._end(last_bar, order, order.lots, "end of data")
        self.waiting = []

    def _open(self, bar: int) -> None:
        self.account.value_to(bar - 1)
        opens = self.account.opens[bar]
        ready = [order for order in self.waiting if opens[order.column] >= MIN_PRICE]
        absent = [order for order in self.waiting if np.isnan(opens[order.column])]
        for order in self.waiting:
            if opens[order.column] < MIN_PRICE:
                self._end(bar, order, order.lots, "price too small")
        ready.sort(key=lambda order: order.column)
        for order in ready:
            if order.lots < 0.0:
                self._sell(bar, order)
        self._buy(bar, [order for order in ready if order.lots > 0.0])
        self.waiting = absent
        if absent and self._last_of_session[bar]:
            for order in absent:
                self._end(bar, order, order.lots, "no bar")
            self.waiting = []

    def _sell(self, bar: int, order: Waiting) -> None:
        lots = max(order.lots, -float(self.account.lots[order.column]))
        if lots != order.lots:
            self._end(bar, order, order.lots - lots, "short not allowed")
        if lots:
            self._book(bar, order, lots, self.account.price(bar, order.column, lots))

    def _buy(self, bar: int, orders: list[Waiting]) -> None:
        prices = [self.account.price(bar, order.column, order.lots) for order in orders]
        kept = self.account.affordable(self.account.cash, [order.lots for order in orders], prices)
        for order, lots, price in zip(orders, kept, prices, strict=True):
            self.account.note_trimmed(bar, order.column, order.lots - lots, price)
            if self._witness is not None and lots != order.lots:
                self._witness.ended(order, order.lots - lots, "no cash")
            if lots:
                self._book(bar, order, lots, price)

    def _book(self, bar: int, order: Waiting, lots: float, price: float) -> None:
        account = self.account
        notional, fees = float(round(lots * price)), account.fee(abs(lots), price)
        account.fills.single += (order.column, order.decided, bar, lots, price, notional, fees)
        account.lots[order.column] += lots
        account.cash -= notional + fees
        if self._witness is not None:
            self._witness.filled(order, lots, price, fees)

    def _end(self, bar: int, order: Waiting, lots: float, reason: str) -> None:
        self.account.note_unfilled(bar, order.column, lots, reason)
        if self._witness is not None:
            self._witness.ended(order, lots, reason)


def check_weights(weights: Floats) -> None:
    """Refuse target weights that cannot be meant.

    Raises:
        StrategyError: one is infinite, or beyond ``MAX_WEIGHT`` either way.
    """
    wrong = weights[np.abs(weights) > MAX_WEIGHT]
    if len(wrong):
        raise StrategyError(
            f"target_weights was given {wrong[0]}; a weight is a fraction of equity, at most {MAX_WEIGHT:.0f}"
        )
