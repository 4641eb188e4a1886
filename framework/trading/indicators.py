"""Indicators as functions of arrays: ``(T, N)`` in, ``(T, N)`` out, a value per bar and ticker.

All of them look back only. NaN stands where there is no value yet (fewer bars than the window) or no bar so far.
A ticker with missing bars is computed on the bars that it has (see :func:`framework.trading.rolling.on_own_bars`).
``period`` counts bars. These are what ``ctx.indicator("name", …)`` computes, and what a ``weights`` strategy calls.
"""

from __future__ import annotations

import numpy as np

from framework.model.panel import Floats
from framework.trading.rolling import on_own_bars, recursive_mean, rolling_max, rolling_min, rolling_sum

__all__ = [
    "atr",
    "dma",
    "ema",
    "highest",
    "lowest",
    "rmi",
    "roc",
    "rsi",
    "shift",
    "sma",
    "std",
    "vwap",
    "zscore",
]


@on_own_bars
def sma(values: Floats, period: int) -> Floats:
    """Simple moving average of the last ``period`` bars."""
    out = rolling_sum(values, period)
    out /= period
    return out


@on_own_bars
def ema(values: Floats, period: int) -> Floats:
    """Exponential moving average, weight 2 / (period + 1), seeded by the first value."""
    return recursive_mean(values, 2.0 / (period + 1.0), 1)


@on_own_bars
def dma(values: Floats, period: int, displacement: int) -> Floats:
    """Displaced moving average: the simple average as it was ``displacement`` bars ago."""
    return shift(sma(values, period), displacement)


@on_own_bars
def roc(values: Floats, period: int) -> Floats:
    """Rate of change: value / value ``period`` bars ago − 1."""
    return values / shift(values, period) - 1.0


@on_own_bars
def std(values: Floats, period: int) -> Floats:
    """Sample standard deviation (divisor period − 1) of the last ``period`` bars, two-pass; needs period ≥ 2."""
    out = np.full(values.shape, np.nan)
    count = len(values) - period + 1
    block = max(16, 262144 // max(1, period * values.shape[1]))
    for start in range(0, max(0, count), block):
        rows = values[start : min(start + block, count) + period - 1]
        windows = np.lib.stride_tricks.sliding_window_view(rows, period, axis=0)
        out[start + period - 1 : start + period - 1 + len(windows)] = windows.std(axis=2, ddof=1)
    # The deviation of equal values is 0, not the rounding of their mean.
    out[rolling_max(values, period) == rolling_min(values, period)] = 0.0
    return out


@on_own_bars
def zscore(values: Floats, period: int) -> Floats:
    """(value − mean) / sample standard deviation over the last ``period`` bars; NaN where all values are equal."""
    spread = std(values, period)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0.0, (values - sma(values, period)) / spread, np.nan)


@on_own_bars
def highest(values: Floats, period: int) -> Floats:
    """Largest value of the last ``period`` bars, this one included."""
    return rolling_max(values, period)


@on_own_bars
def lowest(values: Floats, period: int) -> Floats:
    """Smallest value of the last ``period`` bars, this one included."""
    return rolling_min(values, period)


@on_own_bars
def rsi(values: Floats, period: int) -> Floats:
    """Relative strength index, 0 … 100, with Wilder's smoothing (New Concepts in Technical Trading Systems, 1978).

    100 where there was no loss, 50 where nothing moved; first value after ``period`` changes.
    """
    return rmi(values, period, 1)


@on_own_bars
def rmi(values: Floats, period: int, momentum: int) -> Floats:
    """Relative momentum index (Altman 1993): RSI of the change over ``momentum`` bars instead of one."""
    change = values - shift(values, momentum)
    gain = recursive_mean(np.maximum(change, 0.0), 1.0 / period, period)
    loss = recursive_mean(np.maximum(-change, 0.0), 1.0 / period, period)
    moved = gain + loss
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(moved == 0.0, 50.0, 100.0 * gain / moved)


@on_own_bars
def atr(close: Floats, high: Floats, low: Floats, period: int) -> Floats:
    """Average true range with Wilder's smoothing, in price units; first value after ``period`` true ranges."""
    before = shift(close, 1)
    spread = np.maximum(high, before) - np.minimum(low, before)
    return recursive_mean(spread, 1.0 / period, period)


@on_own_bars
def vwap(close: Floats, high: Floats, low: Floats, volume: Floats, period: int) -> Floats:
    """Volume-weighted mean of (high + low + close) / 3 over the last ``period`` bars; NaN where nothing traded."""
    shares = rolling_sum(volume, period)
    turnover = rolling_sum((high + low + close) / 3.0 * volume, period)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(shares > 0.0, turnover / shares, np.nan)


def shift(values: Floats, bars: int) -> Floats:
    """The values as they were ``bars`` rows ago (≥ 0); NaN in the first ``bars`` rows."""
    if bars < 0:
        raise ValueError(f"shift by {bars} bars would read the future; bars must be 0 or more")
    out = np.full(values.shape, np.nan)
    out[bars:] = values[: max(0, len(values) - bars)]
    return out
