"""Where a decision becomes intents: the simulator's account and order book, set up as the books say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from framework.books import journal
from framework.books.journal import LiveOrder
from framework.books.state import PortfolioState
from framework.data.window import Window
from framework.engine.account import Account, Terms
from framework.engine.matching import Waiting
from framework.engine.order_rules import CANCELLED, REPLACED, Review
from framework.engine.orders import OrderBook
from framework.model.money import MICRO, exact_decimal, rate_decimal, shares_decimal
from framework.model.panel import Floats
from framework.model.rates import Rates
from framework.trading.context import OrderRequest

_ZERO, _ONE = Decimal(0), Decimal(1)


class Desk:
    """One decision on the newest bar of a window.

    Args:
        window: what is known.
        terms: lots, buffer, costs.
        state: cash and positions.
        orders: those that have not ended.
        last_of_session: shape ``(T,)``: after which bars a session is over.
        rates: to the portfolio's currency, if any ticker is in another.
        limit: what target weights are fractions of at most, if there is one.
    """

    def __init__(
        self,
        window: Window,
        terms: Terms,
        state: PortfolioState,
        orders: Sequence[LiveOrder],
        last_of_session: NDArray[np.bool_],
        rates: Rates | None = None,
        limit: Decimal | None = None,
    ) -> None:
        panel = window.trade
        self.last = len(panel) - 1
        self._tickers, self._per_share = panel.tickers, terms.lots_per_share
        self._known = {order.order_id for order in orders}
        self._cancels: dict[str, str] = {}
        self._columns = columns = {ticker: column for column, ticker in enumerate(panel.tickers)}
        self.account = Account(panel, terms, self.last, rates)
        self.account.cash = float((state.cash or _ZERO) * int(MICRO))
        if limit is not None:
            self.account.limit = float(limit * int(MICRO))
        for ticker, quantity in state.positions.items():
            if quantity:
                self.account.lots[columns[ticker]] = float(quantity * int(self._per_share))
        waiting = [self._waiting(order, columns) for order in orders if order.cancel_reason is None]
        self._book = OrderBook(self.account, last_of_session, waiting, self.last, self)

    def _waiting(self, order: LiveOrder, columns: dict[str, int]) -> Waiting:
        lots = float(order.rest * int(self._per_share))
        return Waiting(
            columns[order.ticker], lots, self.last - 1, order.order_id, terms=order.terms, is_target=order.is_target
        )

    # What a strategy asks for.

    def target_weights(self, weights: Floats) -> None:
        """Queue the orders that reach these weights; NaN: leave as it is. Shape ``(N,)``."""
        columns = (weights == weights).nonzero()[0]
        self._book.target_weights(self.last, columns, weights[columns])

    def request(self, orders: Iterable[OrderRequest]) -> None:
        """Queue order calls, in order."""
        for order in orders:
            self._book.request(self.last, order)

    def close(self, review: Review | None) -> None:
        """All has been asked for: let the review look at it."""
        self._book.review = review
        self._book.close_decision(self.last)

    def reviewed(self, orders: Sequence[LiveOrder], review: Review) -> dict[str, str]:
        """Have orders that were planned earlier reviewed as new ones: those not left whole, each with a reason."""
        new = [self._waiting(order, self._columns) for order in orders]
        kept, taken = review(self.last, new, self._book.waiting)
        whole = {order.order_id for order in kept if order in new}
        reasons = {order.order_id: reason for order, _, reason in taken}
        return {order.order_id: reasons[order.order_id] for order in new if order.order_id not in whole}

    # Told by the order book.

    def filled(self, order: Waiting, lots: float, price: float, fees: float) -> None:
        """Nothing trades at a desk."""
        raise AssertionError("an order was filled while it was being decided")

    def ended(self, order: Waiting, lots: float, reason: str) -> None:
        """An order that waited before is taken back."""
        if order.order_id in self._known:
            self._cancels[order.order_id] = reason

    # For the journal.

    def cancels(self) -> dict[str, str]:
        """The orders that the decision takes back, with the reason."""
        return self._cancels

    def intents(self, books_id: str, portfolio_id: str, due_at: datetime) -> list[journal.Intent]:
        """What was asked for, refused intents included."""
        new = [order for order in self._book.waiting if not order.order_id]
        refused = [order for order in self.account.unfilled if order.reason not in (REPLACED, CANCELLED)]
        made = [
            journal.Intent(
                journal.client_order_id(books_id, portfolio_id, due_at, number),
                self._tickers[order.column],
                "SELL" if order.lots < 0.0 else "BUY",
                self._shares(abs(order.lots)),
                self._close(order.column),
                order.terms,
                order.is_target,
                decision_rate=self._rate(order.column),
            )
            for number, order in enumerate(new)
        ]
        for number, order in enumerate(refused, start=len(made)):
            lots = order.quantity * self._per_share
            made.append(
                journal.Intent(
                    journal.client_order_id(books_id, portfolio_id, due_at, number),
                    self._tickers[order.ticker],
                    "SELL" if lots < 0.0 else "BUY",
                    None if np.isnan(lots) or lots == 0.0 else self._shares(abs(lots)),
                    self._close(order.ticker),
                    reason=order.reason,
                )
            )
        return made

    def _rate(self, column: int) -> Decimal:
        """To the portfolio's currency, at the close decided on."""
        rates = self.account.rates
        rate = 1.0 if rates is None else float(rates.at_close[self.last, column])
        return rate_decimal(rate) if rate > 0.0 else _ONE

    def _close(self, column: int) -> Decimal | None:
        close = float(self.account.closes[self.last, column])
        return exact_decimal(close * MICRO, MICRO) if close else None

    def _shares(self, lots: float) -> Decimal:
        return shares_decimal(lots, self._per_share)
