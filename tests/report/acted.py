"""Results over splits and dividends: fills and actions as given, everything else follows from them, in plain Python."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from framework.model.panel import forward_fill
from framework.model.result import AppliedActions
from tests.report.conftest import make_result, make_trades

#: Before what else happens in a bar, in this order.
ORDER = ("split", "dividend", "fill")


def make_acted(events, **options):
    """A result of ``events``: (row, column, kind, amount), where a fill is of shares at the bar's open.

    A split is of new shares per old one; a dividend of money per share. They do nothing where nothing is held.
    """
    result = make_result(every=0, **options)
    panel, bars, size = result.panel, result.bars, len(result.panel.tickers)
    last = forward_fill(panel.close)
    held, money = np.zeros(size), result.opening_cash
    fills, actions, curve = [], [], []
    todo = sorted(events, key=lambda event: (event[0], ORDER.index(event[2])))
    for t in range(bars):
        while todo and todo[0][0] == t:
            _, column, kind, amount = todo.pop(0)
            if kind == "fill":
                price = round(float(last[t, column]), 6)
                notional = round(abs(amount) * price, 6)
                fees = round(notional * 0.001, 6)
                money = round(money - np.sign(amount) * notional - fees, 6)
                fills.append((column, max(t - 1, 0), t, amount, price, price, price, notional, fees))
                held[column] = round(held[column] + amount, 9)
            elif held[column]:
                change = round(held[column] * amount, 9) - held[column] if kind == "split" else 0.0
                cash = round(held[column] * amount, 6) if kind == "dividend" else 0.0
                actions.append((t, column, kind, amount, held[column], round(change, 9), cash))
                held[column] = round(held[column] + change, 9)
                money = round(money + cash, 6)
        worth = held * last[t]
        curve.append((money + worth.sum(), money, np.abs(worth).sum(), worth.sum()))
    equity, cash, gross, net = (np.array(column) for column in zip(*curve, strict=True))
    return replace(
        result,
        trades=make_trades(fills),
        actions=make_actions(actions),
        equity=equity,
        cash=cash,
        gross=gross,
        net=net,
    )


def make_actions(rows):
    """Actions as rows, in the order of the columns of ``AppliedActions``."""
    row, ticker, kind, value, held, change, cash = zip(*rows, strict=True) if rows else [()] * 7
    numbers = (np.array(column, dtype=np.float64) for column in (value, held, change, cash))
    return AppliedActions(np.array(row, np.int64), np.array(ticker, np.int64), tuple(kind), *numbers)
