"""vectorbt: all bars at once, by ``Portfolio.from_orders`` with target percents; all pairs of a sweep in one call.

An order is on the row of its decision: valued at that close, filled at the next open. Counted with the equity curve, as
ours makes one; without it, see the mark.
"""

import numpy as np
import pandas as pd
import vectorbt as vbt
from serve import CASH, serve


def averages(close, periods):
    """Moving averages, shape ``(T, pairs, N)``; each period is computed once."""
    wanted = sorted(set(periods))
    values = vbt.MA.run(close, wanted).ma.to_numpy().reshape(len(close), len(wanted), -1)
    return values if len(periods) == 1 else values[:, [wanted.index(period) for period in periods]]


def prepare(data, job):
    """Frames of closes and next opens, repeated for each pair."""
    pairs, tickers = job["pairs"], len(data.names)
    index = pd.DatetimeIndex(data.stamps)
    close = pd.DataFrame(data.close, index=index, columns=data.names)
    following = np.concatenate((data.open[1:], np.full((1, tickers), np.nan)))
    columns = pd.MultiIndex.from_product([range(len(pairs)), data.names], names=["pair", "ticker"])
    closes = pd.DataFrame(np.tile(data.close, len(pairs)), index=index, columns=columns)
    opens = np.tile(following, len(pairs))
    groups = True if len(pairs) == 1 else np.repeat(np.arange(len(pairs)), tickers)

    def run(watch):
        watch.start()
        fast, slow = (averages(close, [pair[which] for pair in pairs]) for which in (0, 1))
        up = (fast > slow).reshape(len(close), -1)
        changed = up.copy()
        changed[1:] ^= up[:-1]
        changed[-1] = False
        size = np.where(changed, up / tickers, np.nan)
        portfolio = vbt.Portfolio.from_orders(
            closes,
            size=size,
            size_type="targetpercent",
            direction="longonly",
            price=opens,
            val_price=closes,
            init_cash=CASH,
            group_by=groups,
            cash_sharing=True,
            call_seq="default",
        )
        watch.mark("without the equity curve")
        value = portfolio.value()
        watch.stop()
        return np.atleast_1d(value.to_numpy()[-1])

    return run


if __name__ == "__main__":
    serve(prepare, "vectorbt")
