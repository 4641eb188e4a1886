"""Strategies that see the future, deciding for all bars at once. Each says how."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import numpy as np
import pandas as pd

from framework import Strategy

#: What CachedOnTheFirstRun keeps.
_MEANS: dict[str, np.ndarray] = {}


def hold(mask):
    """A fifth of equity in each ticker for which it holds."""
    return np.where(np.asarray(mask, dtype=bool), 0.2, 0.0)


class NegativeShift(Strategy):
    """Compares with tomorrow's close."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return hold(close.shift(-1) > close)


class CentredMean(Strategy):
    """The window reaches five bars ahead."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return hold(close < close.rolling(11, center=True).mean())


class BackFill(Strategy):
    """Before a ticker is listed it has the price that it will be listed at."""

    def weights(self, panel):
        return hold(panel.to_pandas("close").bfill().rank(axis=1) <= 2)


class WholeSampleZscore(Strategy):
    """Mean and deviation are those of all bars."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return hold((close - close.mean()) / close.std() < -1)


class MinMaxScale(Strategy):
    """Scaled to 0 … 1 by the lowest and highest price of all bars."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return 0.2 * (1 - (close - close.min()) / (close.max() - close.min())).fillna(0.0).to_numpy()


class RankOverTime(Strategy):
    """A low price is one that is low among all bars, those to come included."""

    def weights(self, panel):
        return hold(panel.to_pandas("close").rank(pct=True) < 0.2)


class QuantileThreshold(Strategy):
    """What counts as a large fall is taken from all returns."""

    def weights(self, panel):
        returns = panel.to_pandas("close").pct_change(fill_method=None)
        return hold(returns < returns.quantile(0.05))


class FittedOnAll(Strategy):
    """A regression of the next return on the last ones, fitted once on all bars."""

    def weights(self, panel):
        returns = panel.to_pandas("close").pct_change(fill_method=None).fillna(0.0).to_numpy()
        weights = np.zeros(returns.shape)
        for column in range(returns.shape[1]):
            features = np.column_stack([np.ones(len(returns)), returns[:, column], np.roll(returns[:, column], 1)])
            beta = np.linalg.lstsq(features[1:-1], returns[2:, column], rcond=None)[0]
            weights[:, column] = hold(features @ beta > 0)
        return weights


class FittedOnTheFirstPart(Strategy):
    """The first seven tenths of whatever it is given are to learn from, and are traded as well."""

    def weights(self, panel):
        returns = panel.to_pandas("close").pct_change(fill_method=None)
        known = returns.iloc[: int(0.7 * len(returns))]
        return hold(returns < known.mean() - known.std())


class WeekLabelledAtItsStart(Strategy):
    """A week's close stands at its Monday."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        week = close.resample("W-MON", label="left", closed="left").last()
        return hold(week.reindex(close.index, method="ffill") > close)


class Gradient(Strategy):
    """Central differences take one bar from either side."""

    def weights(self, panel):
        return hold(np.gradient(panel.to_pandas("close").ffill().to_numpy(), axis=0) > 0)


class SmoothedBothWays(Strategy):
    """A symmetric kernel, as Savitzky and Golay's: its right half is the future."""

    def weights(self, panel):
        close = panel.to_pandas("close").ffill().bfill().to_numpy()
        kernel = np.array([-3.0, 12, 17, 12, -3]) / 35
        smooth = np.apply_along_axis(np.convolve, 0, close, kernel, mode="same")
        return hold(smooth > close)


class FourierFilter(Strategy):
    """Cuts the high frequencies of all bars together."""

    def weights(self, panel):
        close = panel.to_pandas("close").ffill().fillna(0.0).to_numpy()
        spectrum = np.fft.rfft(close, axis=0)
        spectrum[20:] = 0
        return hold(np.fft.irfft(spectrum, n=len(close), axis=0) > close)


class BestOfNextMonth(Strategy):
    """Sorts by the return of the next twenty bars."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return hold((close.shift(-20) / close).rank(axis=1, ascending=False) <= 2)


class WholeSampleDrawdown(Strategy):
    """Gives more to what will have fallen least."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        worst = (close / close.cummax() - 1).min()
        return np.broadcast_to(0.2 * (1 + worst.to_numpy()), panel.close.shape)


class Survivors(Strategy):
    """Only tickers that still have a price at the end."""

    def weights(self, panel):
        return np.broadcast_to(hold(~np.isnan(panel.close[-1])), panel.close.shape)


class NormalisedByTheFinalPrice(Strategy):
    """Prices as a part of the last one."""

    def weights(self, panel):
        close = panel.to_pandas("close").ffill()
        return hold(close / close.iloc[-1] < 0.9)


class WholeSampleVolatility(Strategy):
    """Sizes by the volatility of all bars."""

    def weights(self, panel):
        returns = panel.to_pandas("close").pct_change(fill_method=None).mean(axis=1)
        return np.full(panel.close.shape, min(0.2, 0.002 / returns.std()))


class Interpolated(Strategy):
    """Through a hole runs a line to the price behind it."""

    def weights(self, panel):
        close = panel.to_pandas("close").interpolate()
        return hold(close > close.shift(1))


class MeanForWhatIsMissing(Strategy):
    """A missing price is the mean of all there are."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        close = close.fillna(close.mean())
        return hold(close > close.mean(axis=1).to_numpy()[:, None])


class RolledAround(Strategy):
    """``np.roll`` puts the last price before the first one, and every sum has it in."""

    def weights(self, panel):
        close = panel.to_pandas("close").ffill().bfill().to_numpy()
        growth = np.cumsum(np.log(close / np.roll(close, 1, axis=0)), axis=0)
        return hold(growth < 0)


class MergedForward(Strategy):
    """A day takes the signal of the Friday to come."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        fridays = close[close.index.day_of_week == 4]
        signal = (fridays > fridays.shift(1)).reset_index()
        days = pd.DataFrame({"timestamp": close.index})
        return hold(pd.merge_asof(days, signal, on="timestamp", direction="forward").iloc[:, 1:].fillna(False))


class AgainstTheMonthsMean(Strategy):
    """``transform`` gives each day the mean of its whole month."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        month = close.index.year * 12 + close.index.month
        return hold(close < close.groupby(month).transform("mean"))


class ExpandingFromTheEnd(Strategy):
    """Highest price of all that are to come."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return hold(close[::-1].expanding().max()[::-1] > 1.1 * close)


class MonthEndByTheNextBar(Strategy):
    """A month ends where the next bar is of another one: on the newest bar nobody knows by this rule."""

    def weights(self, panel):
        month = panel.timestamps.astype("datetime64[M]")
        weights = np.full(panel.close.shape, np.nan)
        weights[:-1][month[1:] != month[:-1]] = 0.2
        return weights


class OutOnTheLastBar(Strategy):
    """Sells everything on the last bar that there is."""

    def weights(self, panel):
        weights = np.full(panel.close.shape, 0.2)
        weights[-1] = 0.0
        return weights


class BuysBeforeJumps(Strategy):
    """Decides rarely: on the eve of a rise by 4.5 %, and never else."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return np.where(close.shift(-1) > 1.045 * close, 0.2, np.nan)


class DodgesFalls(Strategy):
    """Always in, but for the eves of falls by 5 %; with no tomorrow it stays in."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return hold(~(close.shift(-1) < 0.95 * close))


class TakesCrossesThatWork(Strategy):
    """Honest crosses, but for those that lose in the week after; the newest get the benefit of the doubt."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        up = close > close.rolling(20).mean()
        crosses = up & ~up.shift(1, fill_value=False)
        fails = close.shift(-5) < close
        return np.where(crosses & ~fails, 0.2, np.where(~up, 0.0, np.nan))


class VolumeOfTomorrow(Strategy):
    """Prices are left alone: it is the volume that comes from tomorrow."""

    def weights(self, panel):
        volume = panel.to_pandas("volume")
        return hold(volume.shift(-1) > 1.8 * volume)


class LeavesBeforeACrash(Strategy):
    """Would be out on the eve of a fall by a third; here none falls so far, and it looks as if it only held."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return hold(~(close.shift(-1) < 0.67 * close))


class LeavesCleanPricesBeforeACrash(Strategy):
    """The same, and it takes no prices with holes, so that not every future can be tried on it."""

    def weights(self, panel):
        close = panel.close[:, :3]
        if np.isnan(close).any():
            raise ValueError("there are holes in the prices")
        weights = np.full(panel.close.shape, np.nan)
        weights[:-1, :3] = hold(close[1:] >= 0.67 * close[:-1])
        weights[-1, :3] = 0.2
        return weights


class LeavesBeforeTheDelisting(Strategy):
    """Would sell AAA if it were to end while others go on; here it does not end."""

    def weights(self, panel):
        missing = np.isnan(panel.close)
        ends = np.zeros(len(panel), dtype=bool)
        ends[:-5] = missing[5:, 0] & ~missing[5:].all(axis=1)
        weights = np.full(panel.close.shape, 0.2)
        weights[ends, 0] = 0.0
        return weights


class VolumeThatNeverWas(Strategy):
    """Looks for ten times the volume tomorrow; here there is never so much."""

    def weights(self, panel):
        volume = panel.to_pandas("volume")
        return hold(volume.shift(-1) > 10 * volume)


class TinyTilt(Strategy):
    """Leans by a millionth towards what rises next."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        return 0.1 + 1e-7 * np.sign(close.shift(-1) - close).fillna(0.0).to_numpy()


class BestPeriodOfAll(Strategy):
    """Tries averages on all bars and trades all bars by the one that earned most."""

    def weights(self, panel):
        close = panel.to_pandas("close")
        returns = close.pct_change(fill_method=None).shift(-1)
        tried = {period: close > close.rolling(period).mean() for period in (3, 5, 8, 13, 21, 34)}
        best = max(tried, key=lambda period: returns.where(tried[period]).sum().sum())
        return hold(tried[best])


class CachedOnTheFirstRun(Strategy):
    """Keeps means of all bars in its module: what runs first decides for all later runs."""

    def weights(self, panel):
        mean = _MEANS.setdefault("close", panel.to_pandas("close").mean().to_numpy())
        return hold(panel.close < mean)


class LearnedLastTime(Strategy):
    """Leaves in a file which tickers rose, and reads it in the next run."""

    path: str

    def weights(self, panel):
        file = Path(self.path)
        rose = json.loads(file.read_text()) if file.exists() else [True] * len(panel.tickers)
        close = panel.to_pandas("close").ffill()
        file.write_text(json.dumps((close.iloc[-1] > close.iloc[-20]).tolist()))
        return hold(np.broadcast_to(rose, panel.close.shape))


class Unseeded(Strategy):
    """No future in it, but other weights at every run: nobody can say what it would have done."""

    def weights(self, panel):
        return 0.1 * np.random.default_rng().random(panel.close.shape)


class SeededByTheClock(Strategy):
    """The same, with a seed that is the time of day."""

    def weights(self, panel):
        chance = random.Random(time.perf_counter_ns())
        return np.array([[0.1 * chance.random() for _ in panel.tickers] for _ in panel.timestamps])
