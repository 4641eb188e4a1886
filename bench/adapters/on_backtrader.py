"""backtrader: ``Cerebro`` with preloaded data, indicators computed at once (``runonce``), no observers.

Counted from the construction of the strategy on, which is after the load of the bars.
"""

from array import array

import backtrader as bt
import numpy as np
from serve import CASH, serve

#: A buy is not cut to what cash allows but refused as a whole, so a little may be borrowed.
LEVERAGE = 2.0
ORDINAL_OF_1970 = 719163


class Feed(bt.feeds.DataBase):
    """Bars that are arrays already."""

    params = (("columns", None),)

    def preload(self):
        """Hand the columns over as they are."""
        for name, values in self.p.columns.items():
            getattr(self.lines, name).array = values
        self.home()


class Cross(bt.Strategy):
    """Buys 1/N of equity where the fast average comes above the slow one, sells where it falls below."""

    params = (("fast", 20), ("slow", 50), ("watch", None))

    def __init__(self):
        self.p.watch.start()
        sma = bt.indicators.SimpleMovingAverage
        self._averages = [
            (sma(data.close, period=self.p.fast), sma(data.close, period=self.p.slow)) for data in self.datas
        ]
        self._is_up = [False] * len(self.datas)

    def next(self):
        """One bar of all tickers."""
        is_up, changed = self._is_up, []
        for number, (fast, slow) in enumerate(self._averages):
            if (fast[0] > slow[0]) != is_up[number]:
                is_up[number] = not is_up[number]
                changed.append(number)
        if changed:
            share = self.broker.getvalue() / len(is_up)
            for number in changed:
                data = self.datas[number]
                if is_up[number]:
                    self.buy(data, size=share / data.close[0])
                else:
                    self.close(data)


def columns_of(data, number):
    """The lines of one ticker."""
    days = data.stamps.astype("int64") / 86_400e6 + ORDINAL_OF_1970
    zeros = np.zeros(len(days))
    found = {name: getattr(data, name)[:, number] for name in ("open", "high", "low", "close")}
    found |= {"datetime": days, "volume": zeros + 1e5, "openinterest": zeros}
    return {name: array("d", np.ascontiguousarray(values).tobytes()) for name, values in found.items()}


def prepare(data, job):
    """The lines of all tickers."""
    frame = bt.TimeFrame.Days if job["interval"] == "1d" else bt.TimeFrame.Minutes
    lines = [columns_of(data, number) for number in range(len(data.names))]

    def run(watch):
        ended = []
        for fast, slow in job["pairs"]:
            cerebro = bt.Cerebro(stdstats=False)
            cerebro.broker.setcash(CASH)
            cerebro.broker.setcommission(commission=0.0, leverage=LEVERAGE)
            cerebro.broker.set_checksubmit(False)
            for name, columns in zip(data.names, lines, strict=True):
                cerebro.adddata(Feed(columns=columns, timeframe=frame), name=name)
            cerebro.addstrategy(Cross, fast=fast, slow=slow, watch=watch)
            cerebro.run()
            watch.stop()
            ended.append(cerebro.broker.getvalue())
        return ended

    return run


if __name__ == "__main__":
    serve(prepare, "backtrader")
