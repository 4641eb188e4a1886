"""The strategies of the comparison of final equities, in backtrader: whole shares, the next open, stops."""

import backtrader as bt
from on_backtrader import Feed, columns_of
from serve import serve


class Rules(bt.Strategy):
    """Sizes in whole shares on equity at the close; what a child decides, it asks for by ``reach``."""

    params = (("weight", 0.0), ("rows", frozenset()))

    def shares(self, price):
        """Whole shares that the weight buys."""
        return int(self.p.weight * self.broker.getvalue() / price + 1e-9)

    def reach(self, data, shares):
        """A market order for the difference."""
        difference = shares - self.getposition(data).size
        if difference > 0:
            self.buy(data, size=difference)
        elif difference < 0:
            self.sell(data, size=-difference)


class Cross(Rules):
    """SMA 20/50."""

    def __init__(self):
        sma = bt.indicators.SimpleMovingAverage
        self._averages = {data: (sma(data.close, period=20), sma(data.close, period=50)) for data in self.datas}
        self._was_up = dict.fromkeys(self.datas, False)

    def next(self):
        """Trade what crossed."""
        for data, (fast, slow) in self._averages.items():
            up = fast[0] > slow[0]
            if up != self._was_up[data]:
                self._was_up[data] = up
                self.reach(data, self.shares(data.close[0]) if up else 0)


class Rebalance(Rules):
    """Back to the weights at each end of a month."""

    def next(self):
        """All tickers, on one of the rows."""
        if len(self) - 1 in self.p.rows:
            for data in self.datas:
                self.reach(data, self.shares(data.close[0]))


class Breakout(Rules):
    """A stop at the channel, placed anew at each close."""

    def __init__(self):
        self._channels = {
            data: (
                bt.indicators.Highest(data.high, period=20),
                bt.indicators.Lowest(data.low, period=10),
            )
            for data in self.datas
        }
        self._orders = []

    def next(self):
        """Take back what rests, ask again."""
        for order in self._orders:
            self.cancel(order)
        self._orders = []
        for data, (high, low) in self._channels.items():
            held = self.getposition(data).size
            if held:
                order = self.sell(data, size=held, exectype=bt.Order.Stop, price=low[0])
            else:
                order = self.buy(data, size=self.shares(high[0]), exectype=bt.Order.Stop, price=high[0])
            self._orders.append(order)


STRATEGIES = {"sma_cross": Cross, "rebalance": Rebalance, "breakout": Breakout}


def prepare(data, job):
    """The lines of all tickers."""
    lines = [columns_of(data, number) for number in range(len(data.names))]

    def run(watch):
        ended = []
        for name in job["strategies"]:
            cerebro = bt.Cerebro(stdstats=False)
            cerebro.broker.setcash(job["cash"])
            cerebro.broker.setcommission(commission=job["commission"])
            for ticker, columns in zip(data.names, lines, strict=True):
                cerebro.adddata(Feed(columns=columns, timeframe=bt.TimeFrame.Days), name=ticker)
            cerebro.addstrategy(STRATEGIES[name], weight=job["weight"], rows=frozenset(job["month_ends"]))
            cerebro.run()
            ended.append(cerebro.broker.getvalue())
        return ended

    return run


if __name__ == "__main__":
    serve(prepare, "backtrader")
