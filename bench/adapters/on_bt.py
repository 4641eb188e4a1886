"""bt: an algorithm of its own in the strategy's stack; signals by pandas for all bars at once.

What is decided on one date is traded on the next at a price that is given, the open.
"""

import bt
import numpy as np
import pandas as pd
from serve import CASH, serve


class Cross(bt.Algo):
    """Trades what was decided at the last date, then decides."""

    def __init__(self, names, opens, closes, up):
        super().__init__()
        changed = up.copy()
        changed[1:] ^= up[:-1]
        rows, columns = np.nonzero(changed)
        edges = np.concatenate(([0], np.flatnonzero(np.diff(rows)) + 1)) if len(rows) else np.empty(0, int)
        self._columns = dict(zip(rows[edges].tolist(), np.split(columns, edges[1:]), strict=False))
        self._names, self._opens, self._closes, self._up = names, opens, closes, up
        self._row, self._waiting = -1, []

    def __call__(self, target):
        """One date."""
        self._row = row = self._row + 1
        for number, quantity in self._waiting:
            target.children[self._names[number]].transact(quantity, price=self._opens[row, number])
        self._waiting = []
        if row in self._columns:
            share = target.value / len(self._names)
            for number in self._columns[row].tolist():
                if self._up[row, number]:
                    quantity = share / self._closes[row, number]
                else:
                    quantity = -target.children[self._names[number]].position
                if quantity:
                    self._waiting.append((number, quantity))
        return True


def prepare(data, job):
    """Frames of closes, and of a spread of nothing, without which no price can be given."""
    closes = pd.DataFrame(data.close, index=pd.DatetimeIndex(data.stamps), columns=data.names)
    spread = closes * 0.0

    def run(watch):
        ended = []
        for fast, slow in job["pairs"]:
            watch.start()
            up = (closes.rolling(fast).mean() > closes.rolling(slow).mean()).to_numpy()
            cross = Cross(data.names, data.open, data.close, up)
            backtest = bt.Backtest(
                bt.Strategy("cross", [cross], children=[bt.Security(name) for name in data.names]),
                closes,
                initial_capital=CASH,
                integer_positions=False,
                progress_bar=False,
                additional_data={"bidoffer": spread},
            )
            backtest.run()
            watch.stop()
            ended.append(backtest.strategy.values.iloc[-1])
        return ended

    return run


if __name__ == "__main__":
    serve(prepare, "bt")
