"""One bar of an ``on_bar`` strategy: from what it asked for to fills at the next open, or to orders that wait."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framework.engine.account import Account
from framework.engine.few import FEW_ORDERS, Trader
from framework.engine.fills import BLOCK, Block
from framework.engine.order_rules import MAX_WEIGHT
from framework.engine.orders import OrderBook
from framework.model.money import MIN_PRICE
from framework.model.panel import Floats
from framework.trading.context import Context

#: Cells (bars × tickers) whose sizes and prices are prepared at once.
_PREPARED_CELLS = 1 << 15


class BarStep:
    """Turns what a strategy asked for at a bar into fills or waiting orders.

    What sizing and fills need is prepared for some rows at a time, as many as the processor's cache holds.

    Args:
        account: whose.
        book: its orders.
        holds_back: shape ``(T,)``: rows whose orders must not fill before something else has happened.
    """

    def __init__(self, account: Account, book: OrderBook, holds_back: NDArray[np.bool_]) -> None:
        self._account, self._holds_back = account, holds_back
        self._book = book
        self._width = account.closes.shape[1]
        slippage = account.terms.costs.slippage
        #: Whether orders may fill where they are decided.
        self._at_liberty = not book.knows_all
        self._one_price = slippage is None or slippage.uses_quantity
        self._start = self._stop = 0
        self._block = Block.empty(BLOCK)
        self._size, self._used = BLOCK, 0
        self._trade = Trader(account).trade

    def _prepare(self, row: int) -> None:
        """Prepare the rows from this one on: sizes at their closes, prices at the opens that follow them."""
        account = self._account
        stop = min(row + max(1, _PREPARED_CELLS // max(1, self._width)), len(account.closes))
        closes, opens = account.closes[row:stop], account.opens[row + 1 : stop + 1]
        with np.errstate(invalid="ignore"):
            known, open_next = np.all(closes > 0.0, axis=1), np.all(opens >= MIN_PRICE, axis=1)
            #: Whether orders decided at a row can be sized there and filled at the next row, whatever the ticker.
            free = known & ~self._holds_back[row:stop] & self._at_liberty
            self._fillable: list[bool] = [*(free[: len(opens)] & open_next).tolist(), False]
            self._units = closes * account.unit
            self._buy_prices = account.prices(opens, 1)
            self._sell_prices = self._buy_prices if self._one_price else account.prices(opens, -1)
        self._start, self._stop = row, stop

    def decide(self, row: int, ctx: Context) -> None:
        """Size and send what was asked at this row; clears the asking."""
        weights, orders = ctx.asked_weights, ctx.asked_orders
        if weights is not None:
            ctx.asked_weights = None
            columns = (weights == weights).nonzero()[0]  # not NaN
            if self._book.waiting or orders or not self._at_once(row, columns, weights):
                self._book.target_weights(row, columns, weights[columns])
        if orders:
            ctx.asked_orders = []
            for order in orders:
                self._book.request(row, order)

    def _at_once(self, row: int, columns: NDArray[np.int64], weights: Floats) -> bool:
        """Decide and fill at once, if each order can trade at the next open; else do nothing and say no."""
        if row >= self._stop:
            self._prepare(row)
        at = row - self._start
        if not self._fillable[at]:
            return False
        if len(columns) <= FEW_ORDERS and row + 1 < self._account.plain_until:
            return self._few_at_once(row, columns.tolist(), weights)
        asked = weights[columns]
        if not (np.minimum.reduce(asked) >= 0.0 and np.maximum.reduce(asked) <= MAX_WEIGHT):
            return False
        start, stop = self._used, self._used + len(columns)
        if stop > self._size:
            start, stop = self._new_block(len(columns))
        block = self._block
        block.ticker[start:stop] = columns
        block.decided[start:stop] = row
        block.price[start:stop] = self._buy_prices[at][columns]
        sell = None if self._one_price else self._sell_prices[at][columns]
        lots_per_micro = asked / self._units[at][columns]
        self._account.rebalance(row, lots_per_micro, block, start, stop, sell)
        self._used = stop
        return True

    def _few_at_once(self, row: int, columns: list[int], weights: Floats) -> bool:
        first = (row - self._start) * self._width
        unit_of, buy_price, weight_of = self._units.item, self._buy_prices.item, weights.item
        sizes, buy_prices = [], []
        for column in columns:
            weight = weight_of(column)
            if not 0.0 <= weight <= MAX_WEIGHT:
                return False
            sizes.append(weight / unit_of(first + column))
            buy_prices.append(buy_price(first + column))
        sell_prices = buy_prices
        if not self._one_price:
            sell_prices = [self._sell_prices.item(first + column) for column in columns]
        account, cells = self._account, (columns, sizes, buy_prices, sell_prices)
        account.cash = self._trade(row, account.spendable(row), account.lots, account.cash, cells, 0, len(columns))
        return True

    def _new_block(self, count: int) -> tuple[int, int]:
        """A block with room for ``count`` fills, at its beginning."""
        self.close()
        self._size = max(count, BLOCK)
        self._block = Block.empty(self._size)
        return 0, count

    def close(self) -> None:
        """Hand over the fills."""
        self._account.fills.close(self._block)
