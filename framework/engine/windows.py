"""Do decisions depend on how much history is there? Compare those on the last bars alone with those on all history.

A backtest hands a strategy all bars up to each decision; paper and live hand it a window of the newest ones. Where the
two decide differently, the backtest is not of what will be traded.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from framework.engine.asked import Asked, different_columns, largest, orders_of, weights_on
from framework.engine.futures import shaken, window
from framework.engine.lookahead import newest, spread
from framework.engine.schedule import decision_rows, gather_missed
from framework.engine.simulator import Simulation, simulate
from framework.errors import EngineError, StrategyError
from framework.model.panel import Floats
from framework.trading.context import Context, Cursor, OrderRequest, SetupContext
from framework.trading.strategy import Strategy, style

#: At how many bars decisions are compared.
BARS = 50
#: A longer window is recommended if it was compared with more history than it has at this many bars at least.
ENOUGH = 10

Ints = NDArray[np.int64]
#: What is asked for on all history, and on the window alone.
Pair = tuple[Asked, Asked]


@dataclass(frozen=True)
class Windows:
    """How decisions on a window compare with those on all history.

    Attributes:
        bars: how many the window has.
        tried: at how many bars decisions were compared, each with more history than the window has.
        differing: at how many of them they differ.
        worst: where and by how much they differ most, in words; empty: nowhere.
        enough: bars of the smallest of some longer windows that decides as all history does; None: none was found.
        longest: bars of the longest window that was tried for that.
    """

    bars: int
    tried: int
    differing: int = 0
    worst: str = ""
    enough: int | None = None
    longest: int = 0

    def describe(self) -> str:
        """The comparison, and what to do, in words."""
        if not self.tried:
            return f"nothing to compare: there is no more history than the {self.bars} bars that a decision sees"
        if not self.differing:
            return f"the last {self.bars} bars decide as all history does (compared at {self.tried} bars)"
        found = (
            f"on the last {self.bars} bars, which is all that paper and live see, it decides otherwise than on all "
            f"history, at {self.differing} of {self.tried} bars compared ({self.differing / self.tried:.0%}); most "
            f"{self.worst}. "
        )
        if self.enough is not None:
            return found + f"With `lookback: {self.enough - 1}` it decides the same at all of them"
        if self.longest > self.bars:
            return found + (
                f"No `lookback` up to {self.longest - 1} is enough, and there is too little history to try longer "
                "ones; where it depends on all history, or keeps something outside of ctx.state, none ever is"
            )
        return found + "Raise `lookback` (there is too little history to tell how far)"


def compare_windows(job: Simulation, make_strategy: Callable[[], Strategy], bars: int) -> Windows:
    """Compare the decisions on the last ``bars`` bars with those on all history of a simulation.

    Each is decided with the account, the state and the news of orders that the strategy has there with all history, by
    a fresh object, as paper and live do.

    Args:
        job: the simulation; its own strategy object is not used.
        make_strategy: a fresh strategy object with the same parameters.
        bars: of the window, the newest included.

    Raises:
        StrategyError: the strategy fails on all history, or on a window.
    """
    job = newest(job)
    decided = decision_rows(job.schedule, job.timeline, job.first)
    rows = decided[decided + 1 > bars]
    if not len(rows):
        return Windows(bars, 0)
    rows = spread(rows, BARS)
    differing = _differing(job, make_strategy, bars, rows)
    if not differing:
        return Windows(bars, len(rows))
    enough: int | None = None
    longest, longer = bars, _twice(bars)
    while enough is None and (rows + 1 > longer).sum() >= ENOUGH:
        longest, longer = longer, _twice(longer)
        if not _differing(job, make_strategy, longest, rows):
            enough = longest
    return Windows(bars, len(rows), len(differing), _worst(job, differing), enough, longest)


def _twice(bars: int) -> int:
    """Bars of the window with a lookback twice as long; the newest bar is none of the lookback's."""
    return 1 + max(1, 2 * (bars - 1))


def _differing(job: Simulation, make_strategy: Callable[[], Strategy], bars: int, rows: Ints) -> dict[int, Pair]:
    """The rows at which the decisions differ, by more than rounding explains."""
    found = _unequal(_pairs(job, make_strategy, bars, rows))
    if not found:
        return {}
    try:
        still = _unequal(_pairs(shaken(job), make_strategy, bars, rows))
    except EngineError:  # prices as these it does not take: the differences stand as they are
        return found
    return {row: pair for row, pair in found.items() if row in still}


def _unequal(pairs: dict[int, Pair]) -> dict[int, Pair]:
    scale = largest(asked.weights for pair in pairs.values() for asked in pair)
    return {row: pair for row, pair in pairs.items() if different_columns(*pair, scale)}


def _pairs(job: Simulation, make_strategy: Callable[[], Strategy], bars: int, rows: Ints) -> dict[int, Pair]:
    """What is asked for at each of the rows."""
    decided = decision_rows(job.schedule, job.timeline, job.first)
    if style(make_strategy()) == "on_bar":
        beside = _Beside(job, make_strategy, bars, iter(decided.tolist()), set(rows.tolist()))
        simulate(replace(job, strategy=beside))
        return beside.pairs
    whole = gather_missed(weights_on(job, make_strategy()), decided)
    before = dict(zip(decided[1:].tolist(), decided[:-1].tolist(), strict=True))
    pairs = {}
    for row in rows.tolist():
        start = max(0, row + 1 - bars)
        last = row - start
        with _naming(job, row, bars):
            alone = weights_on(window(job, start, row + 1), make_strategy())
        # What missed decisions have asked for counts, as the last decision was the one before.
        since = [max(before[row] - start, -1), last] if row in before else [last]
        pairs[row] = Asked(whole[row]), Asked(gather_missed(alone, np.array(since))[last])
    return pairs


class _Beside(Strategy):
    """A strategy, and beside it at some rows a fresh object that is given the window only."""

    def __init__(
        self,
        job: Simulation,
        make_strategy: Callable[[], Strategy],
        bars: int,
        decided: Iterator[int],
        rows: set[int],
    ) -> None:
        self._job, self._make, self._bars, self._decided, self._rows = job, make_strategy, bars, decided, rows
        self._strategy = make_strategy()
        self.pairs: dict[int, Pair] = {}

    def setup(self, ctx: SetupContext) -> None:
        self._strategy.setup(ctx)

    def on_bar(self, ctx: Context) -> None:
        row = next(self._decided)
        alone = self._on_window(row, ctx) if row in self._rows else None
        self._strategy.on_bar(ctx)
        if alone is not None:
            weights = None if ctx.asked_weights is None else ctx.asked_weights.copy()
            self.pairs[row] = Asked(weights, tuple(ctx.asked_orders)), alone

    def _on_window(self, row: int, ctx: Context) -> Asked:
        seen = window(self._job, max(0, row + 1 - self._bars), row + 1)
        cursor = Cursor(len(seen.panel) - 1)
        with _naming(self._job, row, self._bars):
            strategy = self._make()
            strategy.setup(SetupContext(seen.panel, seen.make_indicator, cursor))
            own = Context(seen.panel, seen.timeline, seen.trade.close, cursor, _AsItIs(ctx), seen.portfolio_id)
            own.state = copy.deepcopy(ctx.state)
            own.lapsed = tuple(order._replace(bar=cursor.row) for order in ctx.lapsed)
            strategy.on_bar(own)
        return Asked(own.asked_weights, tuple(own.asked_orders))


class _AsItIs:
    """The account as another context has it, whatever row is asked for."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def cash_at(self, bar: int) -> float:
        return self._ctx.cash

    def equity_at(self, bar: int) -> float:
        return self._ctx.equity

    def shares_at(self, bar: int) -> Floats:
        return self._ctx.positions

    def share_values_at(self, bar: int) -> Floats:
        return self._ctx.share_values


@contextmanager
def _naming(job: Simulation, row: int, bars: int) -> Iterator[None]:
    """Whatever the strategy raises says that it had the window only."""
    try:
        yield
    except Exception as error:
        what = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
        raise StrategyError(
            f"portfolio {job.portfolio_id}: strategy {job.strategy_name!r} fails at bar {_bar(job, row)} on the last "
            f"{bars} bars, which is all that paper and live would give it there: {what}"
        ) from error


# --- in words --------------------------------------------------------------------------------------------------------


def _worst(job: Simulation, differing: dict[int, Pair]) -> str:
    """The largest difference, with bar and ticker."""
    scale = largest(asked.weights for pair in differing.values() for asked in pair)
    places = [(row, column) for row, pair in differing.items() for column in different_columns(*pair, scale)]
    row, column = max(places, key=lambda place: _size(job, place[0], place[1], differing[place[0]]))
    whole, alone = (_described(asked, column) for asked in differing[row])
    return f"for {job.panel.tickers[column]} at bar {_bar(job, row)}: {alone} instead of {whole}"


def _size(job: Simulation, row: int, column: int, pair: Pair) -> float:
    """How large a difference is: as a part of equity, for orders of the money at the beginning."""
    one, other = (_weight(asked, column) + _ordered(job, row, column, asked) for asked in pair)
    return abs(one - other)


def _weight(asked: Asked, column: int) -> float:
    return 0.0 if asked.weights is None or np.isnan(asked.weights[column]) else float(asked.weights[column])


def _ordered(job: Simulation, row: int, column: int, asked: Asked) -> float:
    shares = sum(order.quantity for order in orders_of(asked, column))
    price = np.nan_to_num(job.panel.close[row, column])
    return float(shares * price / (job.terms.opening_cash or 1.0))


def _described(asked: Asked, column: int) -> str:
    parts = [_order(order) for order in orders_of(asked, column)]
    if asked.weights is not None and not np.isnan(asked.weights[column]):
        parts.insert(0, f"{asked.weights[column]:.6g} of equity")
    return " and ".join(parts) or "nothing"


def _order(order: OrderRequest) -> str:
    if order.is_cancel:
        return "a cancellation"
    terms = order.terms
    text = f"{'a target of ' if order.is_target else ''}{order.quantity:.6g} shares"
    for word, price in (("limit", terms.limit_price), ("stop", terms.stop_price)):
        if price is not None:
            text += f" {word} {price:.6g}"
    return text if terms.time_in_force == "DAY" else f"{text} {terms.time_in_force}"


def _bar(job: Simulation, row: int) -> str:
    return str(np.datetime_as_string(job.panel.timestamps[row], unit="m"))
