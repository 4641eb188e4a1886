"""Floors for the backtest benchmark: the same rules in the barest code, with nothing kept but the final equity.

Floor (a): signals for all bars at once, then one Python loop over the bars where a target changes. It sizes on the
close, fills at the next open, sells before buys, trims buys to cash, and rounds like the engine, but keeps no trades,
no equity curve, and knows no costs, gaps, sessions or orders that wait.
Floor (b): a Python loop that reads two array items per bar and calls an empty function.
"""

import numpy as np

LOTS = 1e9


def window_sum(x, period):
    """Sum over ``period`` rows, by doubling (the fastest that bare NumPy does here; a running sum is slower)."""
    count, span, window, done, result = len(x) - period + 1, 1, x, 0, None
    while True:
        if period & span:
            result = window[:count] if result is None else result[:count] + window[done : done + count]
            done += span
        if done == period:
            return result
        window = window[:-span] + window[span:]
        span *= 2


def crossings(close, fast, slow):
    """(row, column, is_up) of every change of signal."""
    up = np.zeros(close.shape, dtype=bool)
    up[slow - 1 :] = window_sum(close, fast)[slow - fast :] / fast > window_sum(close, slow) / slow
    changed = up.copy()
    changed[1:] = up[1:] != up[:-1]
    rows, columns = np.nonzero(changed[:-1])
    return rows, columns, up[rows, columns]


def floor_a(opens, close, fast=20, slow=50, cash=1e6):
    """Final equity, in currency."""
    run = _one_ticker if close.shape[1] == 1 else _many_tickers
    return run(opens, close, *crossings(close, fast, slow), cash * 1e6) / 1e6


def _many_tickers(opens, close, rows, columns, up, cash):
    unit = 1e6 / LOTS
    weights = up / (close.shape[1] * unit) / close[rows, columns]
    prices = np.rint(opens[rows + 1, columns] * 1e6) / LOTS
    held = np.zeros(close.shape[1])
    edges = np.concatenate(([0], np.flatnonzero(np.diff(rows)) + 1, [len(rows)])).tolist()
    bars = rows[edges[:-1]].tolist()
    for bar, low, high in zip(bars, edges[:-1], edges[1:], strict=True):
        which = columns[low:high]
        equity = cash + np.add.reduce(close[bar] * held) * unit
        target = np.trunc(weights[low:high] * equity + 1e-9)
        lots = target - held[which]
        after = cash - np.add.reduce(np.rint(lots * prices[low:high]))
        if after < 0.0:
            lots, after = _trim(cash, lots, prices[low:high])
            held[which] += lots
        else:
            held[which] = target
        cash = after
    return cash + np.add.reduce(close[-1] * held) * unit


def _trim(cash, lots, prices):
    sells, buys = np.minimum(lots, 0.0), np.maximum(lots, 0.0)
    cash -= np.add.reduce(np.rint(sells * prices))
    buys = np.trunc(buys * (cash / np.add.reduce(np.rint(buys * prices))) + 1e-9)
    while (left := cash - np.add.reduce(np.rint(buys * prices))) < 0.0:
        largest = np.argmax(np.rint(buys * prices))
        buys[largest] -= int(-left / prices[largest]) + 1
    return sells + buys, left


def _one_ticker(opens, close, rows, columns, up, cash):
    unit, held = 1e6 / LOTS, 0.0
    closes = close[rows, 0].tolist()
    prices = (np.rint(opens[rows + 1, 0] * 1e6) / LOTS).tolist()
    for is_up, last, price in zip(up.tolist(), closes, prices, strict=True):
        if is_up:
            lots = int((cash + held * last * unit) / (last * unit) + 1e-9) - held
            cost = round(lots * price)
            if cost > cash:
                lots = int(lots * (cash / cost) + 1e-9)
                while (cost := round(lots * price)) > cash:
                    lots -= int((cost - cash) / price) + 1
            held += lots
            cash -= cost
        else:
            cash += round(held * price)
            held = 0.0
    return cash + held * float(close[-1, 0]) * unit


def nothing():
    """What floor (b) calls."""


def floor_b(opens, close):
    """The last two items read."""
    a, b = opens[:, 0], close[:, 0]
    first = second = 0.0
    for row in range(len(a)):
        first = a[row]
        second = b[row]
        nothing()
    return first, second
