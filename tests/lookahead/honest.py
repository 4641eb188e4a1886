"""Strategies that don't see the future, however they look, deciding for all bars at once. Each says why not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from framework import Strategy, indicators

#: What Remembered keeps.
_KNOWN: dict[bytes, float] = {}


def hold(mask):
    """A fifth of equity in each ticker for which it holds."""
    return np.where(np.asarray(mask, dtype=bool), 0.2, 0.0)


class LaggedShift(Strategy):
    """Shifts, but towards the past."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return hold(close > close.shift(1))


class ExpandingZscore(Strategy):
    """Scaled by all bars up to each, and no others."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return hold((close - close.expanding(20).mean()) / close.expanding(20).std() < -1)


class ExpandingRank(Strategy):
    """A rank among the bars so far."""

    def weights(self, panel):
        return hold(panel.to_pandas("close").expanding(20).rank(pct=True) < 0.2)


class RefittedRegression(Strategy):
    """A regression on all bars before, fitted anew every twenty bars."""

    def weights(self, panel):
        returns = panel.to_pandas("close").pct_change(fill_method=None).fillna(0.0).to_numpy()
        weights = np.zeros(returns.shape)
        for start in range(60, len(returns), 20):
            beta = np.linalg.lstsq(returns[: start - 1], returns[1:start], rcond=None)[0]
            rows = slice(start, start + 20)
            weights[rows] = hold(returns[rows] @ beta > 0)
        return weights


class LastWeek(Strategy):
    """Weeks, labelled at their end and shifted by one: what is known on Monday is last week's close."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        week = close.resample("W-FRI").last().shift(1)
        return hold(close > week.reindex(close.index, method="ffill"))


class RecursiveMean(Strategy):
    """Remembers everything, but only what was."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return hold(close > close.ewm(span=30, adjust=False).mean())


class WaitsForItsWindow(Strategy):
    """Asks for nothing until its window is full, and fills what is missing with what was."""

    def weights(self, panel):
        close = panel.to_pandas("close").ffill()
        mean = close.rolling(50).mean()
        return np.where(mean.isna(), np.nan, hold(close > mean))


class RankedAcrossTickers(Strategy):
    """Each bar's tickers among themselves."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return hold((close / close.shift(20)).rank(axis=1, ascending=False) <= 2)


class DemeanedAcrossTickers(Strategy):
    """Weights that add up to nothing are differences of larger numbers: rounding shows."""

    def weights(self, panel):
        returns = panel.to_pandas("close").pct_change(5, fill_method=None)
        return returns.sub(returns.mean(axis=1), axis=0).fillna(0.0).to_numpy()


class ByTheCalendar(Strategy):
    """Dates are known beforehand: in on Tuesdays, out on the last business day of a month."""

    def weights(self, panel):
        index = panel.to_pandas("close").index
        last = index.tz_localize(None) == index.tz_localize(None) + pd.offsets.BMonthEnd(0)
        held = (index.day_of_week == 1) & ~last
        return np.broadcast_to(np.where(held, 0.2, 0.0)[:, None], panel.close.shape)


class RandomByDate(Strategy):
    """Chance, but the same for each date at every run."""

    def weights(self, panel):
        days = panel.timestamps.astype("datetime64[D]").astype(int)
        return np.array([0.2 * np.random.default_rng(day).random(len(panel.tickers)) for day in days])


class FirstBarOfTheMonth(Strategy):
    """A month begins where the bar before is of another one."""

    def weights(self, panel):
        month = panel.timestamps.astype("datetime64[M]")
        weights = np.full(panel.close.shape, np.nan)
        weights[1:][month[1:] != month[:-1]] = 0.2
        return weights


class FastConvolution(Strategy):
    """A trailing mean by Fourier transform: all bars meet in it, and leave nothing but rounding."""

    def weights(self, panel):
        close = panel.to_pandas("close").ffill().bfill().iloc[:, :3].to_numpy()
        size = 2 * len(close)
        kernel = np.zeros(size)
        kernel[:10] = 0.1
        spectrum = np.fft.rfft(close, n=size, axis=0) * np.fft.rfft(kernel)[:, None]
        mean = np.fft.irfft(spectrum, n=size, axis=0)[: len(close)]
        weights = np.full(panel.close.shape, np.nan)
        # FLAT is exactly its mean for a fortnight: which of the two is larger there is the rounding's choice.
        weights[20:, :3] = hold(close > mean)[20:]
        return weights


class FastConvolutionOfWeights(Strategy):
    """The same mean, and every weight has its rounding in it."""

    def weights(self, panel):
        close = panel.to_pandas("close").ffill().iloc[:, :3].to_numpy()
        size = 2 * len(close)
        kernel = np.zeros(size)
        kernel[:10] = 0.1
        spectrum = np.fft.rfft(close, n=size, axis=0) * np.fft.rfft(kernel)[:, None]
        weights = np.full(panel.close.shape, np.nan)
        weights[20:, :3] = 0.2 * (np.fft.irfft(spectrum, n=size, axis=0)[: len(close)] / close)[20:]
        return weights


class WarnedOfHoles(Strategy):
    """NumPy warns where a window is empty, which happens on the check's own bars only: nobody has to read that."""

    def weights(self, panel):
        weights = np.full(panel.close.shape, np.nan)
        for row in range(5, len(panel)):
            weights[row, :2] = hold(panel.close[row, :2] > np.nanmean(panel.close[row - 4 : row + 1, :2], axis=0))
        return weights


class LeastVariance(Strategy):
    """Inverts the covariance of the last sixty bars, of tickers that had them all."""

    def weights(self, panel):
        returns = panel.to_pandas("close").pct_change(fill_method=None).to_numpy()
        weights = np.full(returns.shape, np.nan)
        for row in range(60, len(returns), 5):
            window = returns[row - 59 : row + 1]
            known = ~np.isnan(window).any(axis=0)
            inverse = np.linalg.inv(np.cov(window[:, known], rowvar=False) + 1e-8 * np.eye(known.sum()))
            weights[row] = 0.0
            weights[row, known] = inverse.sum(axis=1) / inverse.sum()
        return weights


class HeldThroughHoles(Strategy):
    """Carries the last price forward through holes, and knows that a ticker has gone when it has gone."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        held = close.ffill(limit=5)
        return np.where(held.isna(), 0.0, hold(held > held.shift(10)))


class DrawdownSoFar(Strategy):
    """How far below the highest price until now."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return hold(close < 0.9 * close.cummax())


class MergedBackward(Strategy):
    """A day takes the signal of the Friday before."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        fridays = close[close.index.day_of_week == 4]
        signal = (fridays > fridays.shift(1)).reset_index()
        days = pd.DataFrame({"timestamp": close.index})
        return hold(pd.merge_asof(days, signal, on="timestamp", direction="backward").iloc[:, 1:].fillna(False))


class MonthToDate(Strategy):
    """Grouped by month, and within a month only what was."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        month = close.index.year * 12 + close.index.month
        return hold(close > close.groupby(month).transform("first"))


class Remembered(Strategy):
    """A cache in its module, but what it gives depends on nothing but what it is asked for."""

    def weights(self, panel):
        weights = np.full(panel.close.shape, np.nan)
        for row in range(10, len(panel)):
            window = panel.close[row - 10 : row + 1]
            key = window.tobytes()
            if key not in _KNOWN:
                _KNOWN[key] = float(np.nanmedian(window))
            weights[row] = hold(window[-1] < _KNOWN[key])
        return weights


class KnownFor60Bars(Strategy):
    """The universe grows as tickers get old enough."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return hold((close.notna().cumsum() >= 60) & close.notna())


class WantsCleanPrices(Strategy):
    """Refuses holes, where its tickers have none: that the check makes some is not its fault."""

    def weights(self, panel):
        close = panel.close[:, :2]
        if np.isnan(close).any():
            raise ValueError("there are holes in the prices")
        weights = np.full(panel.close.shape, np.nan)
        weights[:, :2] = hold(close > indicators.ema(close, 20))
        return weights


class VolumeBreakout(Strategy):
    """Volume against its mean until yesterday."""

    def weights(self, panel):
        volume = panel.to_pandas("volume")
        return hold(volume > 1.7 * volume.rolling(20).mean().shift(1))
