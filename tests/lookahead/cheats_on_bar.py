"""Strategies that see the future, deciding bar by bar. Each says how."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from framework import Strategy


class Peeks(Strategy):
    """Keeps the panel that setup has hidden away; ``ahead`` gives tomorrow's row of a field."""

    def setup(self, ctx):
        self._all = ctx._panel

    def ahead(self, ctx, field):
        row = int(np.searchsorted(self._all.timestamps, ctx.history(1).timestamps[0])) + 1
        return getattr(self._all, field)[min(row, len(self._all) - 1)]

    def on_bar(self, ctx):
        """Hold what closes higher tomorrow."""
        ctx.target_weights(np.where(self.ahead(ctx, "close") > ctx.close, 0.2, 0.0))


class IndicatorThatLooksAhead(Strategy):
    """Its own eyes are shut; the indicator's are not."""

    def setup(self, ctx):
        self._tomorrow = ctx.indicator("tomorrow")

    def on_bar(self, ctx):
        ctx.target_weights(np.where(self._tomorrow.value > ctx.close, 0.2, 0.0))


class RowsOfTheIndicator(Strategy):
    """An honest indicator, read behind its cursor."""

    def setup(self, ctx):
        self._mean = ctx.indicator("sma", period=10)

    def on_bar(self, ctx):
        rows, row = self._mean._rows, self._mean._cursor.row
        ctx.target_weights(np.where(rows[min(row + 5, len(rows) - 1)] > self._mean.value, 0.2, 0.0))


class ThroughTheBase(Strategy):
    """Climbs from the row that it is given to the array that the row is a view of."""

    def on_bar(self, ctx):
        whole = ctx.close.base
        row = int(np.flatnonzero((whole == ctx.close).any(axis=1))[-1])
        ctx.target_weights(np.where(whole[min(row + 1, len(whole) - 1)] > ctx.close, 0.2, 0.0))


class ThroughTheAccount(Strategy):
    """The simulator's account has the opens of all bars."""

    def on_bar(self, ctx):
        opens, row = ctx._account.opens, ctx._cursor.row
        ctx.target_weights(np.where(opens[min(row + 1, len(opens) - 1)] > ctx.close, 0.2, 0.0))


class SizesByTomorrow(Peeks):
    """Buys and sells when an honest strategy would; only how many shares is tomorrow's."""

    def on_bar(self, ctx):
        for column, ticker in enumerate(ctx.tickers[:2]):
            ctx.order_target(ticker, 100 + int(self.ahead(ctx, "close")[column] > ctx.close[column]))


class TwiceIfItRises(Peeks):
    """The same order once, or twice."""

    def on_bar(self, ctx):
        if ctx.time.day % 5:
            return
        for _ in range(1 + int(self.ahead(ctx, "close")[0] > ctx.close[0])):
            ctx.order(ctx.tickers[0], 10)


class LimitAtTomorrowsLow(Peeks):
    """The same orders on the same bars; the limit is the low that will be."""

    def on_bar(self, ctx):
        ctx.order("BBB", 10, limit=max(1.0, float(self.ahead(ctx, "low")[1])))


class GoodIfItWillBe(Peeks):
    """Nothing but the time in force is tomorrow's."""

    def on_bar(self, ctx):
        lasts = self.ahead(ctx, "low")[0] < 0.99 * ctx.close[0]
        ctx.order("AAA", 5, limit=float(0.99 * ctx.close[0]), time_in_force="GTC" if lasts else "DAY")


class CancelsInTime(Peeks):
    """Honest stops, taken back on the eve of what would trigger them."""

    def on_bar(self, ctx):
        if not ctx.positions[0]:
            ctx.order("AAA", 10)
        elif self.ahead(ctx, "low")[0] < 0.98 * ctx.close[0]:
            ctx.cancel("AAA")
        else:
            ctx.order("AAA", -1, stop=float(0.97 * ctx.close[0]), time_in_force="GTC")


class CachedOnTheClass(Strategy):
    """The first object notes on the class which days come before a rise; all later ones read it."""

    rises: ClassVar[dict[str, list[bool]]] = {}

    def setup(self, ctx):
        close = ctx._panel.close
        if not self.rises:
            up = np.vstack([close[1:] > close[:-1], np.zeros((1, close.shape[1]), dtype=bool)])
            self.rises.update(zip(map(str, ctx._panel.timestamps), up.tolist(), strict=True))

    def on_bar(self, ctx):
        rises = self.rises.get(str(ctx.history(1).timestamps[0]), [False] * len(ctx.tickers))
        ctx.target_weights(np.where(rises, 0.2, 0.0))


class LearnedOnTheClass(Strategy):
    """Counts on the class how often each ticker rose; a second run begins with what the first has counted."""

    rose: ClassVar[list[int]] = [0, 0]

    def on_bar(self, ctx):
        before = ctx.history(2).close
        for column in range(2):
            self.rose[column] += int(before[-1, column] > before[0, column])
        ctx.target_weights({ctx.tickers[int(self.rose[1] > self.rose[0])]: 0.3})
