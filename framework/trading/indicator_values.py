"""Indicators as a strategy reads them, and what it derives from them: for the whole panel at once, read at a cursor.

Deriving is elementwise, or looks one bar back: a row depends on rows up to itself only, like those of the indicators.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from framework.errors import StrategyError
from framework.model.panel import Floats

Scalar = TypeVar("Scalar", np.float64, np.bool_)
Mask = NDArray[np.bool_]


class Cursor:
    """The row that a strategy stands on; shared by its context and its indicators."""

    __slots__ = ("row",)

    def __init__(self, row: int = 0) -> None:
        self.row = row


class _Rows(Generic[Scalar]):
    """A row per bar, readable up to the current one; arithmetic gives :class:`IndicatorValues`, computed at once."""

    __slots__ = ("_cursor", "_rows")
    #: Arrays leave operators to us: ``array * values`` is ours as well.
    __array_ufunc__ = None
    #: What stands before the first bar.
    _nothing: ClassVar[float] = np.nan

    def __init__(self, rows: NDArray[Scalar], cursor: Cursor) -> None:
        rows.setflags(write=False)
        self._rows: NDArray[Scalar] = rows
        self._cursor = cursor

    @property
    def value(self) -> NDArray[Scalar]:
        """Values at the current bar, shape ``(N,)`` over ``ctx.tickers``; read-only."""
        row: NDArray[Scalar] = self._rows[self._cursor.row]
        return row

    @property
    def previous(self) -> NDArray[Scalar]:
        """Values one bar ago, shape ``(N,)``; before the first bar NaN, of a signal False."""
        row = self._cursor.row
        return self._rows[row - 1] if row else np.full_like(self._rows[0], self._nothing)

    def history(self, bars: int) -> NDArray[Scalar]:
        """The last ``bars`` rows including the current one (fewer at the beginning), shape ``(≤ bars, N)``."""
        row = self._cursor.row
        rows: NDArray[Scalar] = self._rows[max(0, row + 1 - bars) : row + 1]
        return rows

    def __bool__(self) -> bool:
        raise StrategyError(
            f"{type(self).__name__} stands for all bars and is neither true nor false: take its .value (or .any of a "
            "signal) at the current bar; combine signals by &, | and ~"
        )

    def __add__(self, other: Operand) -> IndicatorValues:
        return self._computed(np.add, self, other)

    def __radd__(self, other: Operand) -> IndicatorValues:
        return self._computed(np.add, other, self)

    def __sub__(self, other: Operand) -> IndicatorValues:
        return self._computed(np.subtract, self, other)

    def __rsub__(self, other: Operand) -> IndicatorValues:
        return self._computed(np.subtract, other, self)

    def __mul__(self, other: Operand) -> IndicatorValues:
        return self._computed(np.multiply, self, other)

    def __rmul__(self, other: Operand) -> IndicatorValues:
        return self._computed(np.multiply, other, self)

    def __truediv__(self, other: Operand) -> IndicatorValues:
        return self._computed(np.divide, self, other)

    def __rtruediv__(self, other: Operand) -> IndicatorValues:
        return self._computed(np.divide, other, self)

    def _computed(self, function: np.ufunc, left: Operand, right: Operand) -> IndicatorValues:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            rows = function(self._operand(left), self._operand(right), dtype=np.float64)
        return IndicatorValues(rows, self._cursor)

    def _operand(self, other: Operand) -> NDArray[Any]:
        """Another's rows, or a constant for all bars: a number, or one per ticker."""
        if isinstance(other, _Rows):
            if other._cursor is not self._cursor:
                raise StrategyError("indicators of two strategies can't be combined: declare both in one setup")
            rows: NDArray[Any] = other._rows
            return rows
        constant = np.asarray(other, dtype=np.float64)
        if constant.shape not in ((), self._rows.shape[1:]):
            raise StrategyError(
                f"an indicator was combined with an array of shape {constant.shape}; allowed: another indicator, "
                f"a number, or one number per ticker, shape {self._rows.shape[1:]}"
            )
        return constant


class IndicatorValues(_Rows[np.float64]):
    """An indicator computed for the whole panel, readable up to the current bar; NaN where there is no value yet.

    ``+ - * /`` and ``> >= < <=`` work on all bars at once: with another indicator, a number, or an array of one number
    per ticker. Used in ``setup`` they cost next to nothing; in ``on_bar`` they would be computed again at every bar.
    A comparison is False where either side is NaN.
    """

    __slots__ = ()

    def __gt__(self, other: Operand) -> Signal:
        return self._compared(np.greater, other)

    def __ge__(self, other: Operand) -> Signal:
        return self._compared(np.greater_equal, other)

    def __lt__(self, other: Operand) -> Signal:
        return self._compared(np.less, other)

    def __le__(self, other: Operand) -> Signal:
        return self._compared(np.less_equal, other)

    def _compared(self, function: np.ufunc, other: Operand) -> Signal:
        return Signal(function(self._rows, self._operand(other)), self._cursor)


class Signal(_Rows[np.bool_]):
    """Yes or no per bar and ticker, as a comparison of indicators gives it: ``self.up = fast > slow``.

    ``& | ^ ~`` work on all bars at once. In arithmetic it counts as 1 and 0: ``up * 0.1`` are weights.
    """

    __slots__ = ("_some",)
    _nothing = False

    def __init__(self, rows: Mask, cursor: Cursor) -> None:
        super().__init__(rows, cursor)
        self._some: list[bool] | None = None

    @property
    def any(self) -> bool:
        """Whether it holds for any ticker at the current bar."""
        if self._some is None:
            self._some = np.any(self._rows, axis=1).tolist()
        return self._some[self._cursor.row]

    @property
    def changed(self) -> Signal:
        """Where it is not what it was one bar ago; before the first bar it was False."""
        rows = self._rows.copy()
        rows[1:] ^= self._rows[:-1]
        return Signal(rows, self._cursor)

    def __and__(self, other: Signal) -> Signal:
        return Signal(self._rows & self._operand(other), self._cursor)

    def __or__(self, other: Signal) -> Signal:
        return Signal(self._rows | self._operand(other), self._cursor)

    def __xor__(self, other: Signal) -> Signal:
        return Signal(self._rows ^ self._operand(other), self._cursor)

    def __invert__(self) -> Signal:
        return Signal(~self._rows, self._cursor)


#: What an indicator can be combined with.
Operand = _Rows[np.float64] | _Rows[np.bool_] | float | Floats
