"""What a strategy asks for at each bar, and where two runs of it ask for different things.

Different means by more than rounding: a sum over other bars may end in other last bits, and no trade differs by these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from framework.engine.schedule import decision_rows, gather_missed
from framework.engine.simulator import Simulation, simulate
from framework.errors import EngineError, StrategyError
from framework.model.money import MICRO
from framework.model.panel import Floats
from framework.trading.context import Context, Cursor, OrderRequest, SetupContext
from framework.trading.strategy import Strategy, style

#: Weights, quantities and prices that differ by less than this part of their size are the same.
ROUNDING = 1e-8

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked for at one bar: weights of shape ``(N,)`` (NaN: leave; None: no weights), and orders."""

    weights: Floats | None = None
    orders: tuple[OrderRequest, ...] = ()

    def bits(self) -> tuple[bytes, tuple[OrderRequest, ...]]:
        """Equal where exactly the same is asked for."""
        return b"" if self.weights is None else self.weights.tobytes(), self.orders


NOTHING = Asked()


@dataclass(frozen=True)
class Difference:
    """Where two runs ask for different things: row and column of the panel."""

    row: int
    column: int


@dataclass(frozen=True, eq=False)
class Decisions:
    """All that a run asks for.

    Attributes:
        weights: of the style that decides for all bars at once, shape ``(T, N)``; None: it is the other one.
        by_row: of the style that decides bar by bar.
    """

    weights: Floats | None = None
    by_row: dict[int, Asked] = field(default_factory=dict)

    @cached_property
    def scale(self) -> float:
        """The largest weight asked for anywhere: rounding is measured by it."""
        if self.weights is not None:
            return largest([self.weights])
        return largest(asked.weights for asked in self.by_row.values())

    def changing(self, first: int) -> Ints:
        """The rows after ``first`` at which something else is asked for than at the row before."""
        if self.weights is not None:
            unequal = _differ(self.weights[first + 1 :], self.weights[first:-1], self.scale).any(axis=1)
            return np.flatnonzero(unequal) + first + 1
        before = {row: self.by_row.get(row - 1, NOTHING) for row in self.by_row if row > first}
        found = [row for row, asked in before.items() if different_columns(asked, self.by_row[row], self.scale)]
        return np.array(sorted(found), dtype=np.int64)

    def first_difference(self, other: Decisions, first: int, last: int) -> Difference | None:
        """The first place, from row ``first`` to row ``last``, at which another run asks for something else."""
        if self.weights is not None and other.weights is not None:
            rows = slice(first, last + 1)
            places = np.argwhere(_differ(self.weights[rows], other.weights[rows], self.scale))
            return Difference(first + int(places[0, 0]), int(places[0, 1])) if len(places) else None
        for row in sorted(row for row in {*self.by_row, *other.by_row} if first <= row <= last):
            mine, others = (decisions.by_row.get(row, NOTHING) for decisions in (self, other))
            columns = different_columns(mine, others, self.scale)
            if columns:
                return Difference(row, columns[0])
        return None


def largest(weights: Iterable[Floats | None]) -> float:
    """The largest weight, by size, of some arrays; 0: there is none."""
    known = (np.abs(array[np.isfinite(array)]).max(initial=0.0) for array in weights if array is not None)
    return float(max(known, default=0.0))


def different_columns(a: Asked, b: Asked, scale: float) -> list[int]:
    """The columns, rising, for which two askings of one bar differ."""
    if a.bits() == b.bits():  # nearly always
        return []
    found: set[int] = set()
    known = b.weights if a.weights is None else a.weights
    if known is not None:
        mine, others = (np.full(known.shape, np.nan) if asked.weights is None else asked.weights for asked in (a, b))
        found.update(np.flatnonzero(_differ(mine, others, scale)).tolist())
    for column in {order.column for order in (*a.orders, *b.orders)}:
        if not _same_orders(orders_of(a, column), orders_of(b, column)):
            found.add(column)
    return sorted(found)


def orders_of(asked: Asked, column: int) -> list[OrderRequest]:
    """The orders of one ticker, in the order in which they were asked for."""
    return [order for order in asked.orders if order.column == column]


def _differ(a: Floats, b: Floats, scale: float) -> NDArray[np.bool_]:
    """Where two arrays of weights differ; NaN is like NaN only."""
    with np.errstate(invalid="ignore"):
        unlike: NDArray[np.bool_] = (a != b) & ~(np.abs(a - b) <= ROUNDING * scale)
    return unlike & ~(np.isnan(a) & np.isnan(b))


def _same_orders(a: Sequence[OrderRequest], b: Sequence[OrderRequest]) -> bool:
    return len(a) == len(b) and all(map(_same_order, a, b))


def _same_order(a: OrderRequest, b: OrderRequest) -> bool:
    one, other = a.terms, b.terms
    if (a.is_target, a.is_cancel, one.order_type, one.time_in_force) != (
        b.is_target,
        b.is_cancel,
        other.order_type,
        other.time_in_force,
    ):
        return False
    # Prices are cut to millionths, where rounding can tip one over.
    return (
        _near(a.quantity, b.quantity, 0.0)
        and _near(one.limit_price or 0.0, other.limit_price or 0.0, 1.5 / MICRO)
        and _near(one.stop_price or 0.0, other.stop_price or 0.0, 1.5 / MICRO)
    )


def _near(a: float, b: float, step: float) -> bool:
    return abs(a - b) <= ROUNDING * max(abs(a), abs(b)) + step


# --- asking ----------------------------------------------------------------------------------------------------------


def ask(job: Simulation, strategy: Strategy, last: int | None = None) -> Decisions:
    """Run a strategy and note what it asks for.

    Args:
        job: what it runs on; its own strategy object is not used.
        strategy: a fresh object.
        last: the last row that is of interest: a strategy that decides bar by bar is not asked beyond.

    Raises:
        StrategyError: the strategy failed, or returned weights of the wrong shape; names portfolio and strategy.
    """
    decided = decision_rows(job.schedule, job.timeline, job.first)
    if style(strategy) == "weights":
        weights = np.full(job.panel.close.shape, np.nan)
        weights[decided] = gather_missed(weights_on(job, strategy), decided)[decided]
        return Decisions(weights)
    by_row: dict[int, Asked] = {}

    def note(row: int, weights: Floats | None, orders: list[OrderRequest]) -> None:
        by_row[row] = Asked(None if weights is None else weights.copy(), tuple(orders))

    until = _Until(strategy, iter(decided.tolist()), len(job.panel) if last is None else last)
    with suppress(_EnoughError):
        simulate(replace(job, strategy=until, on_decision=note))
    return Decisions(by_row=by_row)


def weights_on(job: Simulation, strategy: Strategy) -> Floats:
    """The weights that a strategy decides on for all bars at once.

    Raises:
        StrategyError: as for :func:`ask`.
    """
    who = f"portfolio {job.portfolio_id}: strategy {job.strategy_name!r}"
    try:
        strategy.setup(SetupContext(job.panel, job.make_indicator, Cursor()))
        weights: Floats = np.array(strategy.weights(job.panel), dtype=np.float64)
    except EngineError:
        raise
    except Exception as error:
        raise StrategyError(f"{who} failed: {type(error).__name__}: {error}") from error
    if weights.shape != job.panel.close.shape:
        expected = f"expected {job.panel.close.shape} (bars, tickers)"
        raise StrategyError(f"{who} returned weights of shape {weights.shape}, {expected}")
    return weights


class _EnoughError(BaseException):
    """Nothing after this is of interest; no exception that a strategy failed."""


class _Until(Strategy):
    """A strategy that is asked up to a row."""

    def __init__(self, strategy: Strategy, rows: Iterator[int], last: int) -> None:
        self._strategy, self._rows, self._last = strategy, rows, last

    def setup(self, ctx: SetupContext) -> None:
        self._strategy.setup(ctx)

    def on_bar(self, ctx: Context) -> None:
        if next(self._rows) > self._last:
            raise _EnoughError
        self._strategy.on_bar(ctx)
