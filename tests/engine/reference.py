"""An independent simulator for the tests: plain Python and Decimal, one bar and one ticker at a time."""

import math
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

MICRO, SLACK = Decimal("0.000001"), Decimal("1e-9")


def micro(value):
    return value.quantize(MICRO, ROUND_HALF_EVEN)


def split(quantity, ratio, step):
    """Shares times a ratio (a Fraction), towards zero to whole steps."""
    return math.trunc(Fraction(quantity) * ratio / Fraction(step)) * step


@dataclass
class Book:
    cash: Decimal
    lot: Decimal
    rate: Decimal
    slippage: Decimal
    held: dict = field(default_factory=dict)
    trades: list = field(default_factory=list)

    def cut(self, shares):
        return (shares / self.lot + SLACK).to_integral_value("ROUND_DOWN") * self.lot

    def cost(self, buys):
        return sum((micro(q * p) + micro(micro(q * p) * self.rate) for _, q, p in buys if q), Decimal(0))

    def trade(self, bar, ticker, quantity, price):
        notional = micro(quantity * price)
        self.cash -= notional + micro(abs(notional) * self.rate)
        self.held[ticker] = self.held.get(ticker, Decimal(0)) + quantity
        self.trades.append((bar, ticker, quantity, price))

    def trim(self, buys):
        scale = self.cash / self.cost(buys)
        buys = [[t, self.cut(q * scale) if self.cash > 0 else Decimal(0), p] for t, q, p in buys]
        while (missing := self.cost(buys) - self.cash) > 0 and any(q for _, q, _ in buys):
            largest = max(buys, key=lambda buy: (micro(buy[1] * buy[2]), -buy[0]))
            steps = 1 if self.lot == 1 else int(missing / (self.lot * largest[2])) + 1
            largest[1] = max(Decimal(0), largest[1] - steps * self.lot)
        return buys

    def act(self, ticker, kind, value, orders):
        """A split or a dividend before the open; what it makes of the orders that wait."""
        held = self.held.get(ticker, Decimal(0))
        if kind == "dividend":
            self.cash += micro(held * value)
            return orders
        self.held[ticker] = split(held, value, Decimal("1e-9"))
        lots = [(each, split(q, value, self.lot)) for each, q in orders]
        return [new if new[0] == ticker else old for old, new in zip(orders, lots, strict=True)]

    def fill(self, bar, orders, opens):
        priced = []
        for ticker, quantity in orders:
            if quantity and opens[ticker] is not None:
                worse = 1 + self.slippage / 10000 * (1 if quantity > 0 else -1)
                priced.append((ticker, quantity, micro(opens[ticker] * worse)))
        for ticker, quantity, price in [order for order in priced if order[1] < 0]:
            self.trade(bar, ticker, quantity, price)
        buys = [order for order in priced if order[1] > 0]
        for ticker, quantity, price in self.trim(buys) if self.cost(buys) > self.cash else buys:
            if quantity:
                self.trade(bar, ticker, quantity, price)


def run(opens, closes, weights, cash, lot, buffer, rate, slippage, acts=()):
    """Rows of Decimals (None: no bar, or leave). Returns trades and the equity at each close.

    ``acts``: of (row, ticker, kind, value), in order.
    """
    with localcontext() as context:
        context.prec = 60
        book, last, orders, equity = Book(cash, lot, rate, slippage), {}, [], []
        for bar, (open_row, close_row, wanted) in enumerate(zip(opens, closes, weights, strict=True)):
            for _, ticker, kind, of_one in [act for act in acts if act[0] == bar]:
                orders = book.act(ticker, kind, of_one, orders)
            book.fill(bar, orders, open_row)
            last.update({ticker: close for ticker, close in enumerate(close_row) if close is not None})
            value = book.cash + sum((q * last[ticker] for ticker, q in book.held.items() if q), Decimal(0))
            equity.append(value)
            orders = []
            for ticker, weight in enumerate(wanted):
                if weight is not None and weight >= 0 and ticker in last:
                    target = book.cut(max(value, Decimal(0)) * (1 - buffer) * weight / last[ticker])
                    orders.append((ticker, target - book.held.get(ticker, Decimal(0))))
        return book.trades, equity
