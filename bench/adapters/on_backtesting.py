"""backtesting.py: one ticker at a time, each with 1/N of the cash; its statistics, which it always makes, count."""

import warnings

import pandas as pd
from backtesting import Backtest, Strategy
from serve import CASH, serve

#: Shares are whole: with a million times the cash they are millionths.
SCALE = 1e6
#: A buy is not cut to what cash allows but refused as a whole, so half may be borrowed.
MARGIN = 0.5


def is_up(close, fast, slow):
    """1 where the fast average is above the slow one; no NaN, so that it decides from the first bar on."""
    close = pd.Series(close)
    return (close.rolling(fast).mean() > close.rolling(slow).mean()).to_numpy(float)


class Cross(Strategy):
    """Buys with all its equity where the fast average comes above the slow one, sells where it falls below."""

    fast = 20
    slow = 50

    def init(self):
        """The signal, for all bars."""
        self._up = self.I(is_up, self.data.Close, self.fast, self.slow, plot=False)
        self._was_up = False

    def next(self):
        """One bar."""
        up = self._up[-1] > 0.0
        if up != self._was_up:
            self._was_up = up
            if up:
                self.buy(size=int(self.equity / self.data.Close[-1]))
            else:
                self.position.close()


def prepare(data, job):
    """A backtest per ticker."""
    warnings.simplefilter("ignore")
    index = pd.DatetimeIndex(data.stamps)
    backtests = []
    for number in range(len(data.names)):
        columns = {name: getattr(data, name.lower())[:, number] for name in ("Open", "High", "Low", "Close")}
        frame = pd.DataFrame(columns, index=index)
        backtests.append(Backtest(frame, Cross, cash=CASH * SCALE / len(data.names), margin=MARGIN))

    def run(watch):
        ended = []
        for fast, slow in job["pairs"]:
            watch.start()
            found = [backtest.run(fast=fast, slow=slow) for backtest in backtests]
            watch.stop()
            ended.append(sum(stats["Equity Final [$]"] for stats in found) / SCALE)
        return ended

    return run


if __name__ == "__main__":
    serve(prepare, "backtesting")
