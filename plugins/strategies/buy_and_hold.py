"""Buy once and hold: equal weights, each ticker at its first bar. The default benchmark."""

from typing import Annotated

import numpy as np

from framework import Context, Ge, Strategy, hookimpl


class BuyAndHold(Strategy):
    """Buys each ticker once, at the first bar that it has once there is money, and never trades again.

    An order that found no bar is asked for again at the next; one that cash did not cover is not.
    """

    weight: Annotated[float, Ge(0)] | None = None  # of equity per ticker; default 1/N

    def on_bar(self, ctx: Context) -> None:
        """Ask for the tickers that have a bar and were not bought yet."""
        asked = ctx.state.setdefault("asked", [])
        for order in ctx.lapsed:
            ticker = ctx.tickers[order.ticker]
            if order.reason == "no bar" and ticker in asked:
                asked.remove(ticker)
        if len(asked) == len(ctx.tickers) or ctx.equity <= 0.0:
            return
        share = 1.0 / len(ctx.tickers) if self.weight is None else self.weight
        close = ctx.close
        new = [
            column for column, ticker in enumerate(ctx.tickers) if ticker not in asked and not np.isnan(close[column])
        ]
        if new:
            weights = np.full(len(ctx.tickers), np.nan)
            weights[new] = share
            ctx.target_weights(weights)
            asked.extend(ctx.tickers[column] for column in new)


@hookimpl
def register_strategies() -> dict[str, type[Strategy]]:
    """``buy_and_hold``."""
    return {"buy_and_hold": BuyAndHold}
