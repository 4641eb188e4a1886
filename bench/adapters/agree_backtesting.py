"""The strategies of the comparison of final equities, in backtesting.py: one ticker, whole shares."""

import pandas as pd
from backtesting import Backtest, Strategy
from on_backtesting import is_up
from serve import serve


class Rules(Strategy):
    """Sizes in whole shares on equity at the close."""

    weight = 0.0
    rows = frozenset()

    def shares(self, price):
        """Whole shares that the weight buys."""
        return int(self.weight * self.equity / price + 1e-9)

    def reach(self, shares):
        """A market order for the difference."""
        difference = shares - self.position.size
        if difference > 0:
            self.buy(size=difference)
        elif difference < 0:
            self.sell(size=-difference)


class Cross(Rules):
    """SMA 20/50."""

    def init(self):
        """The signal, for all bars."""
        self._up = self.I(is_up, self.data.Close, 20, 50, plot=False)
        self._was_up = False

    def next(self):
        """Trade when it crosses."""
        up = self._up[-1] > 0.0
        if up != self._was_up:
            self._was_up = up
            self.reach(self.shares(self.data.Close[-1]) if up else 0)


class Rebalance(Rules):
    """Back to the weight at each end of a month."""

    def init(self):
        """No indicator."""

    def next(self):
        """On one of the rows."""
        if len(self.data) - 1 in self.rows:
            self.reach(self.shares(self.data.Close[-1]))


class Breakout(Rules):
    """A stop at the channel, placed anew at each close."""

    def init(self):
        """The last 20 highs and 10 lows; no NaN, so that it decides as soon as it can."""
        high, low = pd.Series(self.data.High), pd.Series(self.data.Low)
        self._high = self.I(lambda: high.rolling(20).max().fillna(0.0).to_numpy(), plot=False)
        self._low = self.I(lambda: low.rolling(10).min().fillna(0.0).to_numpy(), plot=False)

    def next(self):
        """Take back what rests, ask again."""
        for order in self.orders:
            order.cancel()
        if len(self.data) < 20:
            return
        if self.position:
            self.sell(size=self.position.size, stop=self._low[-1])
        else:
            self.buy(size=self.shares(self._high[-1]), stop=self._high[-1])


STRATEGIES = {"sma_cross": Cross, "rebalance": Rebalance, "breakout": Breakout}


def prepare(data, job):
    """The frame of the ticker."""
    columns = {name: getattr(data, name.lower())[:, 0] for name in ("Open", "High", "Low", "Close")}
    frame = pd.DataFrame(columns, index=pd.DatetimeIndex(data.stamps))

    def run(watch):
        ended = []
        for name in job["strategies"]:
            backtest = Backtest(frame, STRATEGIES[name], cash=job["cash"], commission=job["commission"])
            stats = backtest.run(weight=job["weight"], rows=frozenset(job["month_ends"]))
            ended.append(stats["Equity Final [$]"])
        return ended

    return run


if __name__ == "__main__":
    serve(prepare, "backtesting")
