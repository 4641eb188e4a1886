"""The scalar path: for a handful of tickers plain numbers are faster than arrays. Same rules, same bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framework.engine.account import Account
from framework.model.money import LOT_SLACK
from framework.model.panel import Floats


def rebalance_few(
    account: Account,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    edges: NDArray[np.int64],
    lots_per_micro: Floats,
    buy_prices: Floats,
    sell_prices: Floats,
) -> None:
    """:meth:`Account.rebalance` for many bars in turn, without arrays in the loop.

    Args:
        rows, columns: shape ``(K,)``: cells with a target weight, by row, then column; each can trade at the next row.
        edges: shape ``(B + 1,)``: cells ``edges[i]`` to ``edges[i+1]`` are those of the i-th bar.
        lots_per_micro, buy_prices, sell_prices: shape ``(K,)``, as in ``rebalance``.
    """
    bars = rows[edges[:-1]]
    opening_lots, opening_cash = account.lots.copy(), account.cash
    loop = _Loop(account)
    loop.run(
        bars.tolist(),
        account.closes[bars].tolist(),
        edges.tolist(),
        columns.tolist(),
        lots_per_micro.tolist(),
        buy_prices.tolist(),
        sell_prices.tolist(),
    )
    # A row is worth what was held at its close: its own decision's fills count from the next row on.
    held, cash = np.vstack([opening_lots, loop.held]), np.append(opening_cash, loop.cash)
    state = np.searchsorted(bars, np.arange(account.valued, bars[-1] + 1), side="left")
    account.take_values(int(bars[-1]) + 1, held[state], cash[state])


class _Loop:
    """The loop's state, and what it was after each bar's fills."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.lots: list[float] = account.lots.tolist()
        self.now = account.cash
        self.held: list[list[float]] = []
        self.cash: list[float] = []
        costs = account.terms.costs
        self._priced = costs.slippage is None or not costs.slippage.uses_quantity
        self._free_of_fees = costs.commission is None

    def run(
        self,
        bars: list[int],
        closes: list[list[float]],
        edges: list[int],
        columns: list[int],
        lots_per_micro: list[float],
        buy_prices: list[float],
        sell_prices: list[float],
    ) -> None:
        """Go through the bars; leaves the account's cash and positions as they are after the last."""
        unit, usable, lots = self.account.unit, self.account.usable, self.lots
        low = edges[0]
        for bar, close, high in zip(bars, closes, edges[1:], strict=True):
            value = 0.0
            for price, held in zip(close, lots, strict=True):
                value += price * held
            spendable = max(0.0, (value * unit + self.now) * usable)
            buys = []
            for cell in range(low, high):
                column = columns[cell]
                wanted = float(int(lots_per_micro[cell] * spendable + LOT_SLACK)) - lots[column]
                if wanted > 0.0:
                    buys.append((column, wanted, self._price(bar, column, wanted, buy_prices[cell])))
                elif wanted < 0.0:
                    self._book(bar, column, wanted, self._price(bar, column, wanted, sell_prices[cell]))
            if buys:
                self._buy(bar, buys)
            low = high
            self.held.append(lots.copy())
            self.cash.append(self.now)
        self.account.lots[:] = lots
        self.account.cash = self.now

    def _price(self, bar: int, column: int, lots: float, price: float) -> float:
        return price if self._priced else self.account.price(bar + 1, column, lots)

    def _buy(self, bar: int, buys: list[tuple[int, float, float]]) -> None:
        """Fill a bar's buys, trimmed to cash."""
        wants, prices = [wanted for _, wanted, _ in buys], [price for _, _, price in buys]
        kept = self.account.affordable(self.now, wants, prices)
        for (column, wanted, price), got in zip(buys, kept, strict=True):
            if got != wanted:
                self.account.note_trimmed(bar + 1, column, wanted - got, price)
            if got:
                self._book(bar, column, got, price)

    def _book(self, bar: int, column: int, lots: float, price: float) -> None:
        notional = float(round(lots * price))
        fees = 0.0 if self._free_of_fees else self.account.fee(abs(lots), price)
        self.lots[column] += lots
        self.now -= notional + fees
        self.account.fills.add(bar, bar + 1, column, lots, price, notional, fees)
