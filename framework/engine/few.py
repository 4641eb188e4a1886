"""The scalar path: for a handful of orders plain numbers are faster than arrays. Same rules, same bits."""

from __future__ import annotations

from collections.abc import MutableSequence

import numpy as np
from numpy.typing import NDArray

from framework.engine.account import Account
from framework.engine.fills import BLOCK, FIELDS
from framework.model.money import LOT_SLACK
from framework.model.panel import Floats

_PACK_AT = FIELDS * BLOCK
#: Up to this many orders at a bar are traded one by one.
FEW_ORDERS = 4
#: Below this many tickers a bar is also valued one by one; NumPy, too, sums so few from left to right.
FEW_TICKERS = 8

#: Orders to size: columns, lots per micro (as in :meth:`Account.rebalance`), prices of buys, prices of sells. Lists of
#: plain numbers throughout: a tuple per order would keep the garbage collector busy.
CellLists = tuple[list[int], list[float], list[float], list[float]]
#: A buy before it is trimmed: column, lots, price in micros per lot.
_Buy = tuple[int, float, float]
_Lots = MutableSequence[float] | Floats


class Trader:
    """Moves tickers to target weights one by one: what :meth:`Account.rebalance` does, on plain numbers."""

    def __init__(self, account: Account) -> None:
        self._account = account
        costs = account.terms.costs
        self._priced = costs.slippage is None or not costs.slippage.uses_quantity
        self._free_of_fees = costs.commission is None
        self._single = account.fills.single
        #: Whether what a fill costs is known from the cell alone.
        self.is_plain = self._priced and self._free_of_fees

    def trade(
        self, bar: int, spendable: float, lots: _Lots, cash: float, cells: CellLists, low: int, high: int
    ) -> float:
        """Size on the close of ``bar``, fill at the next open.

        Args:
            bar: row decided on.
            spendable: what weights are fractions of, in micros.
            lots: positions, shape ``(N,)``; changed in place.
            cash: in micros.
            cells: tickers with a target, those from ``low`` to ``high`` (exclusive) are meant; columns rise.

        Returns:
            cash after.
        """
        single = self._single
        if len(single) >= _PACK_AT:
            self._account.fills.pack()
        buys: list[_Buy] = []
        cost, is_plain = 0, self.is_plain
        columns, sizes, buy_prices, sell_prices = cells
        for cell in range(low, high):
            column = columns[cell]
            held = float(lots[column])
            wanted = int(sizes[cell] * spendable + LOT_SLACK) - held
            if wanted > 0.0:
                price = buy_prices[cell]
                buys.append((column, wanted, price))
                cost += round(wanted * price)
            elif wanted < 0.0:
                price = sell_prices[cell]
                if is_plain:
                    notional = round(wanted * price)
                    lots[column] = held + wanted
                    single += (column, bar, bar + 1, wanted, price, notional, 0.0)
                    cash -= notional
                else:
                    if not self._priced:
                        price = self._account.price(bar + 1, column, wanted)
                    cash -= self._book(bar, column, wanted, price, lots)
        if not buys:
            return cash
        if is_plain and cost <= cash:
            for column, wanted, price in buys:
                lots[column] += wanted
                single += (column, bar, bar + 1, wanted, price, round(wanted * price), 0.0)
            return cash - cost
        return self._buy(bar, buys, lots, cash)

    def _buy(self, bar: int, buys: list[_Buy], lots: _Lots, cash: float) -> float:
        """Fill a bar's buys, trimmed to cash where they cost more; returns cash after."""
        account = self._account
        if not self._priced:
            buys = [(column, wanted, account.price(bar + 1, column, wanted)) for column, wanted, _ in buys]
        kept = account.affordable(cash, [buy[1] for buy in buys], [buy[2] for buy in buys])
        for (column, wanted, price), got in zip(buys, kept, strict=True):
            if got != wanted:
                account.note_trimmed(bar + 1, bar, column, wanted - got, price)
            if got:
                cash -= self._book(bar, column, got, price, lots)
        return cash

    def _book(self, bar: int, column: int, wanted: float, price: float, lots: _Lots) -> float:
        """Note a fill; returns what it costs."""
        notional = round(wanted * price)
        fees = 0.0 if self._free_of_fees else self._account.fee(abs(wanted), price)
        lots[column] += wanted
        self._single += (column, bar, bar + 1, wanted, price, notional, fees)
        return notional + fees


def rebalance_few(
    account: Account,
    rows: NDArray[np.int64],
    edges: NDArray[np.int64],
    cells: CellLists,
) -> None:
    """A chunk of decisions of a portfolio of few tickers, without arrays in the loop.

    Args:
        rows: shape ``(K,)``: the cells' rows, rising; each cell can trade at the next row.
        edges: shape ``(B + 1,)``: cells ``edges[i]`` to ``edges[i+1]`` are those of the i-th bar.
        cells: K of them.
    """
    bars = rows[edges[:-1]]
    opening_lots, opening_cash = account.lots.copy(), account.cash
    trader, single = Trader(account), account.fills.single
    trade, is_plain = trader.trade, trader.is_plain
    unit, usable, cash = account.unit, account.usable, account.cash
    lots: list[float] = account.lots.tolist()
    held_after: list[float] = []
    cash_after: list[float] = []
    columns, sizes, buy_prices, sell_prices = cells
    closes = account.closes[bars].ravel().tolist()
    low = at = 0
    for bar, high in zip(bars.tolist(), edges[1:].tolist(), strict=True):
        value = 0.0
        for held in lots:
            value += closes[at] * held
            at += 1
        spendable = (value * unit + cash) * usable
        if spendable < 0.0:
            spendable = 0.0
        column = columns[low]
        wanted = int(sizes[low] * spendable + LOT_SLACK) - lots[column]
        price = buy_prices[low] if wanted > 0.0 else sell_prices[low]
        notional = round(wanted * price)
        if is_plain and high - low == 1:  # what most bars are
            if notional > cash:
                kept = account.affordable(cash, [wanted], [price])[0]
                account.note_trimmed(bar + 1, bar, column, wanted - kept, price)
                wanted, notional = kept, round(kept * price)
            if wanted:
                lots[column] += wanted
                cash -= notional
                single += (column, bar, bar + 1, wanted, price, notional, 0.0)
        else:
            cash = trade(bar, spendable, lots, cash, cells, low, high)
        low = high
        held_after += lots
        cash_after.append(cash)
    account.lots[:] = lots
    account.cash = cash
    # A row is worth what was held at its close: its own decision's fills count from the next row on.
    held_rows = np.concatenate([opening_lots, held_after]).reshape(len(bars) + 1, -1)
    spans = np.diff(bars, prepend=account.valued - 1, append=bars[-1])
    cash_rows = np.repeat(np.concatenate([[opening_cash], cash_after]), spans)
    account.take_values(int(bars[-1]) + 1, np.repeat(held_rows, spans, axis=0), cash_rows)
