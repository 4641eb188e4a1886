"""The simulator with currencies, once more for the tests: plain Python and Decimal, one ticker at a time."""

from decimal import Decimal, localcontext

from tests.engine.reference import Book, micro


class Converting(Book):
    """A book whose prices are converted: what a fill costs is rounded in its own currency, then in the book's."""

    def __init__(self, *terms):
        super().__init__(*terms)
        self.rates = []

    def money(self, ticker, quantity, price):
        return micro(micro(quantity * price) * self.rates[ticker])

    def cost(self, buys):
        notionals = [self.money(ticker, quantity, price) for ticker, quantity, price in buys if quantity]
        return sum((notional + micro(notional * self.rate) for notional in notionals), Decimal(0))

    def trade(self, bar, ticker, quantity, price):
        notional = self.money(ticker, quantity, price)
        self.cash -= notional + micro(abs(notional) * self.rate)
        self.held[ticker] = self.held.get(ticker, Decimal(0)) + quantity
        self.trades.append((bar, ticker, quantity, price, self.rates[ticker], notional))

    def trim(self, buys):
        scale = self.cash / self.cost(buys)
        buys = [[t, self.cut(q * scale) if self.cash > 0 else Decimal(0), p] for t, q, p in buys]
        while (missing := self.cost(buys) - self.cash) > 0 and any(q for _, q, _ in buys):
            largest = max(buys, key=lambda buy: (self.money(*buy), -buy[0]))
            gap = missing / (self.lot * largest[2] * self.rates[largest[0]])
            steps = 1 if self.lot == 1 and gap < 1000 else int(gap) + 1
            largest[1] = max(Decimal(0), largest[1] - steps * self.lot)
        return buys


def run(opens, closes, at_open, at_close, weights, cash, lot, buffer, rate, slippage):
    """Rows of Decimals (None: no bar, no rate, or leave).

    Returns trades (bar, ticker, quantity, price, fx rate, notional), equity and cash at each close, and what was
    refused for want of a rate (bar, ticker).
    """
    with localcontext() as context:
        context.prec = 60
        book, last, orders, equity, money, refused = Converting(cash, lot, rate, slippage), {}, [], [], [], []
        for bar, wanted in enumerate(weights):
            book.rates = at_open[bar]
            book.fill(bar, orders, opens[bar])
            last.update({ticker: close for ticker, close in enumerate(closes[bar]) if close is not None})
            worth = {t: close * at_close[bar][t] for t, close in last.items() if at_close[bar][t] is not None}
            value = book.cash + sum((q * worth[t] for t, q in book.held.items() if q), Decimal(0))
            equity.append(value)
            money.append(book.cash)
            orders = []
            for ticker, weight in enumerate(wanted):
                if weight is None or (ticker not in worth and weight == 0):
                    continue
                if ticker in last and ticker not in worth:
                    refused.append((bar, ticker))
                elif weight >= 0 and ticker in worth:
                    target = book.cut(max(value, Decimal(0)) * (1 - buffer) * weight / worth[ticker])
                    orders.append((ticker, target - book.held.get(ticker, Decimal(0))))
        return book.trades, equity, money, refused
