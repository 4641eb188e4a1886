"""The functions that are compiled; only who uses them imports this, as it needs the extra ``fast``.

They are compiled once a machine and kept beside this file, where that can be written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from framework.model.money import LOT_SLACK, MICRO


@njit(cache=True)
def total(values: Any, start: int, count: int) -> Any:
    """The sum of up to 128 values, in the order in which NumPy adds them: eight at a time."""
    found = 0.0
    if count < 8:
        for i in range(start, start + count):
            found += values[i]
        return found
    r0, r1, r2, r3 = values[start], values[start + 1], values[start + 2], values[start + 3]
    r4, r5, r6, r7 = values[start + 4], values[start + 5], values[start + 6], values[start + 7]
    whole = count - count % 8
    for i in range(start + 8, start + whole, 8):
        r0 += values[i]
        r1 += values[i + 1]
        r2 += values[i + 2]
        r3 += values[i + 3]
        r4 += values[i + 4]
        r5 += values[i + 5]
        r6 += values[i + 6]
        r7 += values[i + 7]
    found = ((r0 + r1) + (r2 + r3)) + ((r4 + r5) + (r6 + r7))
    for i in range(start + whole, start + count):
        found += values[i]
    return found


@njit(cache=True)
def worth(closes: Any, row: int, lots: Any, products: Any, sums: Any, parts: Any, unit: float, cash: float) -> Any:
    """Cash and what is held at the closes of a row, in micros.

    ``products`` and ``sums`` are room to work in; ``parts`` is of :func:`framework.engine.kernel.parts_of`. There is no
    recursion in it: compiled functions that call themselves crash when they come from numba's cache.
    """
    for column in range(len(lots)):
        products[column] = closes[row, column] * lots[column]
    top = -1
    for part in range(len(parts)):
        top += 1
        sums[top] = total(products, parts[part, 0], parts[part, 1])
        for _ in range(parts[part, 2]):
            top -= 1
            sums[top] = sums[top] + sums[top + 1]
    return sums[0] * unit + cash


@njit(cache=True)
def run(
    bars: Any, edges: Any, begin: int, stop: int, ticker: Any, size: Any, buy: Any, sell: Any, clean: Any, closes: Any,
    lots: Any, cash: float, unit: float, usable: float, limit: float, lots_per_share: float, charges: Any, parts: Any,
    out_lots: Any, out_notional: Any, out_fees: Any, equity: Any, cash_rows: Any, valued: int,
) -> Any:  # fmt: skip
    """See :func:`framework.engine.kernel.run_fast`; the first bar that was not done, cash, rows valued."""
    products, sums = np.empty(len(lots)), np.empty(64)
    rate, amount, fixed, minimum = charges
    is_charged = rate != 0.0 or amount != 0.0 or fixed != 0.0 or minimum != 0.0
    for bar in range(begin, stop):
        row, low, high = bars[bar], edges[bar], edges[bar + 1]
        for cell in range(low, high):
            if not clean[cell]:
                return bar, cash, valued
        for each in range(valued, row + 1):
            equity[each] = worth(closes, each, lots, products, sums, parts, unit, cash)
            cash_rows[each] = cash
        valued = max(valued, row + 1)
        spendable = min(equity[row], limit) * usable
        if not spendable > 0.0:
            spendable = 0.0
        spent, charged, has_buys = 0.0, 0.0, False
        for cell in range(low, high):
            wanted = np.trunc(size[cell] * spendable + LOT_SLACK) - lots[ticker[cell]]
            price = sell[cell] if wanted < 0.0 else buy[cell]
            notional = np.rint(wanted * price)
            out_lots[cell], out_notional[cell] = wanted, notional
            spent += notional
            has_buys = has_buys or wanted > 0.0
            if is_charged:
                fees = 0.0
                if wanted != 0.0:
                    fees = abs(notional) / MICRO * rate + abs(wanted) / lots_per_share * amount + fixed
                    fees = max(fees, minimum)
                out_fees[cell] = np.rint(fees * MICRO)
                charged += out_fees[cell]
        after = cash - spent - charged
        if after < 0.0 and has_buys:
            for cell in range(low, high):
                out_lots[cell] = out_notional[cell] = out_fees[cell] = 0.0
            return bar, cash, valued
        cash = after
        for cell in range(low, high):
            lots[ticker[cell]] += out_lots[cell]
            if out_lots[cell] < 0.0:
                buy[cell] = sell[cell]
    return stop, cash, valued
