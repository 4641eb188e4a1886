"""Bars for computation: one float64 array per field, rows are bars, columns are tickers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, eq=False)
class Panel:
    """A rectangle of bars: ``T`` moments by ``N`` tickers.

    Attributes:
        tickers: the ``N`` column names, in the order that the config gave them ("ticker order" everywhere).
        timestamps: shape ``(T,)``, ``datetime64[us]``, UTC, strictly rising: the start of each bar; for daily bars
            the session's date at 00:00, a label.
        open, high, low, close: shape ``(T, N)``, float64, price per share; NaN where the ticker has no bar.
        volume: shape ``(T, N)``, float64, shares; NaN where the ticker has no bar.
        interval: ``1min 5min 15min 30min 1h 4h 1d``.

    All arrays are C-contiguous in rows and read-only, so a view may be handed to anyone.
    """

    tickers: tuple[str, ...]
    timestamps: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    interval: str = "1d"

    def __post_init__(self) -> None:
        shape = (len(self.timestamps), len(self.tickers))
        self.timestamps.setflags(write=False)
        for name in FIELDS:
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"panel field {name!r} has shape {array.shape}, expected {shape} (bars, tickers)")
            array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def nbytes(self) -> int:
        """Bytes held by the five fields."""
        return sum(getattr(self, name).nbytes for name in FIELDS)

    def rows(self, start: int, stop: int) -> Panel:
        """Bars ``start`` to ``stop`` (exclusive) as views; nothing is copied."""
        cut: dict[str, Any] = {name: getattr(self, name)[start:stop] for name in FIELDS}
        return replace(self, timestamps=self.timestamps[start:stop], **cut)

    def where(self, keep: NDArray[np.bool_]) -> Panel:
        """The bars where the mask ``keep``, shape ``(T,)``, is set (copies)."""
        kept: dict[str, Any] = {name: getattr(self, name)[keep] for name in FIELDS}
        return replace(self, timestamps=self.timestamps[keep], **kept)

    def select(self, tickers: Sequence[str]) -> Panel:
        """The same bars for some of the tickers, in the order asked for (copies unless nothing changes)."""
        if tuple(tickers) == self.tickers:
            return self
        columns = [self.tickers.index(ticker) for ticker in tickers]
        cut: dict[str, Any] = {name: np.ascontiguousarray(getattr(self, name)[:, columns]) for name in FIELDS}
        return replace(self, tickers=tuple(tickers), **cut)

    def to_pandas(self, field: str | None = None) -> pd.DataFrame:
        """A frame indexed by UTC time: one column per ticker for a ``field``, else ``(field, ticker)`` columns."""
        import pandas as pd

        index = pd.DatetimeIndex(self.timestamps, tz="UTC", name="timestamp")
        if field is not None:
            return pd.DataFrame(getattr(self, field), index=index, columns=list(self.tickers))
        frames: dict[str, Any] = {name: self.to_pandas(name) for name in FIELDS}
        joined: pd.DataFrame = pd.concat(frames, axis=1)
        return joined


def forward_fill(values: Floats) -> Floats:
    """Replace each NaN by the last value above it in its column; leading NaNs stay.

    Args:
        values: shape ``(T, N)``.

    Returns:
        ``values`` itself where nothing is missing, else a new array of the same shape.
    """
    missing = np.isnan(values)
    if not missing.any():
        return values
    rows = np.where(missing, 0, np.arange(len(values))[:, None])
    np.maximum.accumulate(rows, axis=0, out=rows)
    return np.take_along_axis(values, rows, axis=0)
