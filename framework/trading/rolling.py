"""Window and recursion kernels under the indicators: whole panels in a few vectorised passes.

Each value depends only on the bars of its own window and is summed in an order fixed by the window's length, so the
same bars give the same bits wherever the panel begins or ends. A running sum would be faster by a little, and would
let rounding errors from years ago decide today's cross.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from framework.model.panel import Floats

Kernel = TypeVar("Kernel", bound=Callable[..., Floats])

#: Weight of the seed below which a recursive indicator counts as having forgotten it (trading-rules 4).
SEED_WEIGHT = 1e-12


def rolling_sum(values: Floats, period: int) -> Floats:
    """Sum over the last ``period`` rows, by doubling: windows of 1, 2, 4 … rows, then those that make up ``period``.

    Args:
        values: shape ``(T, N)``.
        period: rows per window, ≥ 1.

    Returns:
        shape ``(T, N)``; NaN in the first ``period - 1`` rows and where a window holds a NaN.
    """
    return _doubling(values, period, np.add)


def rolling_max(values: Floats, period: int) -> Floats:
    """Largest of the last ``period`` rows; shapes and NaN as in :func:`rolling_sum`."""
    return _doubling(values, period, np.maximum)


def rolling_min(values: Floats, period: int) -> Floats:
    """Smallest of the last ``period`` rows; shapes and NaN as in :func:`rolling_sum`."""
    return _doubling(values, period, np.minimum)


def _doubling(values: Floats, period: int, combine: np.ufunc) -> Floats:
    count = len(values) - period + 1
    if count <= 0 or values.shape[1] == 0:
        return np.full(values.shape, np.nan)
    out = np.empty(values.shape)
    out[: period - 1] = np.nan
    block = max(256, 65536 // values.shape[1])
    for start in range(0, count, block):
        stop = min(start + block, count)
        result = _block(values[start : stop + period - 1], period, combine)
        out[start + period - 1 : stop + period - 1] = result
    return out


def _block(rows: Floats, period: int, combine: np.ufunc) -> Floats:
    """Windows that start at each of the first ``len(rows) - period + 1`` rows."""
    count = len(rows) - period + 1
    span, window = 1, rows  # window[i] covers rows i … i+span-1
    done, result = 0, rows  # result[i] covers rows i … i+done-1
    while True:
        if period & span:
            result = window[:count] if done == 0 else combine(result[:count], window[done : done + count])
            done += span
        if done == period:
            return result
        window = combine(window[:-span], window[span:])
        span *= 2


def recursive_mean(values: Floats, alpha: float, seed_bars: int) -> Floats:
    """Exponential mean ``y[t] = y[t-1] + alpha (x[t] - y[t-1])``, seeded by the plain mean of the first bars.

    Computed by doubling as a weighted window long enough that what lies before weighs less than one part in 2**53,
    which makes it independent of where the panel begins.

    Args:
        values: shape ``(T, N)``; NaN only above a column's first value.
        alpha: weight of the newest value, in (0, 1].
        seed_bars: how many of the first values are averaged into the seed, ≥ 1.

    Returns:
        shape ``(T, N)``; NaN before the seed is complete.
    """
    if values.size == 0:
        return values.copy()
    first = np.isnan(values).sum(axis=0)
    ready = first + seed_bars - 1
    row = np.arange(len(values))[:, None]
    terms = np.where(row > ready, alpha * values, 0.0)
    for column in np.flatnonzero(ready < len(values)):
        seed = values[first[column] : ready[column] + 1, column]
        terms[ready[column], column] = math.fsum(seed) / seed_bars
    decay, span = 1.0 - alpha, 1
    while span < len(values) and decay > 2.0**-60:
        terms[span:] = terms[span:] + decay * terms[:-span]
        decay, span = decay * decay, span * 2
    return np.where(row >= ready, terms, np.nan)


def recursive_memory(alpha: float, seed_bars: int) -> int:
    """Bars after which a recursive mean has forgotten its seed (weight below ``SEED_WEIGHT``)."""
    if alpha >= 1.0:
        return seed_bars
    return seed_bars + math.ceil(math.log(SEED_WEIGHT) / math.log1p(-alpha))


def on_own_bars(function: Kernel) -> Kernel:
    """Let a kernel see each ticker's own bars, without holes.

    A ticker that misses bars (a halt, a thin market, another holiday) is computed on the bars it has, and keeps its
    last value across a hole. NaN before a ticker's first bar are left to the kernel. Further array arguments of the
    shape of the first are cut alike.
    """

    @wraps(function)
    def wrapper(values: Floats, *args: Any, **kwargs: Any) -> Floats:
        present = ~np.isnan(values)
        if present.all():
            return function(values, *args, **kwargs)
        holed = _holed_columns(present)
        out = function(values, *args, **kwargs)
        for column in holed:
            rows = np.flatnonzero(present[:, column])
            cut = [_column(arg, values.shape, rows, column) for arg in args]
            own = function(values[rows, column][:, None], *cut, **kwargs)
            out[:, column] = np.nan
            # The value as of the ticker's last bar, be it a number or not.
            first, latest = rows[0], np.cumsum(present[:, column]) - 1
            out[first:, column] = own[latest[first:], 0]
        return out

    return cast(Kernel, wrapper)


def _holed_columns(present: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[int]:
    """Columns with a missing bar after their first one."""
    started = np.logical_or.accumulate(present, axis=0)
    return [int(column) for column in np.flatnonzero((started & ~present).any(axis=0))]


def _column(
    arg: object, shape: tuple[int, ...], rows: np.ndarray[tuple[int, ...], np.dtype[np.intp]], column: int
) -> object:
    if isinstance(arg, np.ndarray) and arg.shape == shape:
        return arg[rows, column][:, None]
    return arg
