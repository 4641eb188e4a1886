"""Strategies that don't see the future, however they look, deciding bar by bar. Each says why not."""

from __future__ import annotations

import numpy as np

from framework import Strategy


class CountsInState(Strategy):
    """What it remembers goes with the decision."""

    def on_bar(self, ctx):
        bars = ctx.state["bars"] = ctx.state.get("bars", 0) + 1
        if bars % 5 == 0:
            ctx.target_weights(np.where(ctx.close > ctx.open, 0.2, 0.0))


class StopsBelow(Strategy):
    """Stops and limits at prices that were, renewed at every bar."""

    def on_bar(self, ctx):
        past = ctx.history(10)
        for column, ticker in enumerate(ctx.tickers[:2]):
            ctx.cancel(ticker)
            if ctx.positions[column]:
                ctx.order(ticker, -1, stop=float(past.low[:, column].min()), time_in_force="GTC")
            else:
                ctx.order(ticker, 25, limit=float(0.99 * ctx.close[column]), time_in_force="GTC")


class CrossOfIndicators(Strategy):
    """Signals for all bars, computed in setup and read at the cursor."""

    def setup(self, ctx):
        self._up = ctx.indicator("ema", period=5) > ctx.indicator("ema", period=20)

    def on_bar(self, ctx):
        changed = self._up.changed.value
        if changed.any():
            ctx.target_weights(np.where(changed, self._up.value * 0.2, np.nan))


class ByItsPositions(Strategy):
    """Depends on all that was filled since the beginning."""

    def on_bar(self, ctx):
        rich = ctx.equity > 100_000.0
        for column, ticker in enumerate(ctx.tickers):
            if ctx.positions[column] and rich:
                ctx.exit(ticker)
            elif not rich and not np.isnan(ctx.close[column]):
                ctx.order(ticker, 3)


class AsksAgain(Strategy):
    """Looks at what came of its orders."""

    def on_bar(self, ctx):
        for order in ctx.lapsed:
            ctx.order_target(ctx.tickers[order.ticker], 20)
        if ctx.time.day % 3 == 0:
            ctx.order("LATE", 10, limit=float(np.nanmin(ctx.history(30).close)))


class MonthlyRebalance(Strategy):
    """The first bar of a month, by the month of the last one seen."""

    def on_bar(self, ctx):
        month = ctx.time.month
        if ctx.state.get("month") != month:
            ctx.state["month"] = month
            known = ~np.isnan(ctx.close)
            ctx.target_weights(np.where(known, 0.9 / max(1, known.sum()), 0.0))
