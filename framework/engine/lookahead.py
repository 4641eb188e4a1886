"""Does a strategy see the future? Cut it off, change it, and compare what is decided before.

Every bar's decision must be the same whether the bars after it exist or not, and whatever they hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from framework.engine.schedule import decision_rows
from framework.engine.simulator import Simulation, simulate
from framework.errors import EngineError, LookaheadError, StrategyError
from framework.model.panel import FIELDS, Floats, Panel
from framework.trading.context import Cursor, OrderRequest, SetupContext
from framework.trading.strategy import Strategy, style

#: How many moments are tried.
CUTS = 12
#: A check looks at no more than this many of the newest cells (bars × tickers).
MOST_CELLS = 2_000_000


@dataclass(frozen=True)
class Difference:
    """The first decision that changed with the future: its row and column."""

    row: int
    column: int


#: What was decided on: weights by row for one style; weights and orders by row for the other.
Decisions = dict[int, tuple[Floats | None, tuple[OrderRequest, ...]]] | Floats


def check_lookahead(job: Simulation, make_strategy: Callable[[], Strategy], cuts: int = CUTS) -> int:
    """Compare a strategy's decisions with the future cut off, and with another future.

    Args:
        job: the simulation to check; its own strategy object is not used.
        make_strategy: a fresh strategy object with the same parameters.
        cuts: how many moments to try, spread over the bars that count, the newest included.

    Returns:
        how many moments were tried.

    Raises:
        LookaheadError: names strategy, bar and ticker of the first decision that changed.
    """
    job = _newest(job)
    # Cut at decision rows: whether a bar is its session's last is itself told by the bar after it.
    rows = decision_rows(job.schedule, job.timeline, job.first)
    # And where there is some history: on its very first bars a strategy may rightly not know what to do.
    rows = rows[(rows < len(job.panel) - 1) & (rows >= len(job.panel) // 10)]
    if not len(rows):
        return 0
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, num=min(cuts, len(rows))).astype(np.int64))]
    rows = rows[[row in decision_rows(job.schedule, job.timeline.rows(0, row + 1), job.first) for row in rows]]
    whole = _decisions(job, make_strategy())
    for row in rows.tolist():
        for how, panel in (("cut off", _copy(job.panel.rows(0, row + 1))), ("changed", _other_future(job.panel, row))):
            other = _decisions_on(job, panel, make_strategy(), row)
            found = _difference(whole, other, row)
            if found is not None:
                raise _error(job, found, how, row)
    return len(rows)


def _error(job: Simulation, found: Difference, how: str, row: int) -> LookaheadError:
    decided, last = (np.datetime_as_string(job.panel.timestamps[at], unit="m") for at in (found.row, row))
    return LookaheadError(
        f"portfolio {job.portfolio_id}: strategy {job.strategy_name!r} looks ahead: its decision for "
        f"{job.panel.tickers[found.column]} at bar {decided} changes when the bars after {last} are {how}. "
        "A decision may use bars up to its own only: look for a negative shift, a fill backwards, "
        "or a mean, scale or fit over all bars"
    )


def _newest(job: Simulation) -> Simulation:
    """The job on its newest bars, where there are more than a check should take time for."""
    most = max(2, MOST_CELLS // max(1, len(job.panel.tickers)))
    skip = max(0, len(job.panel) - most)
    if not skip:
        return job
    panel, clock = job.panel.rows(skip, len(job.panel)), job.timeline.rows(skip, len(job.panel))
    rates = None if job.rates is None else job.rates.rows(skip, len(job.panel))
    first = max(0, job.first - skip)
    return replace(job, panel=panel, timeline=clock, raw_close=job.raw_close[skip:], first=first, rates=rates)


def _decisions(job: Simulation, strategy: Strategy) -> Decisions:
    if style(strategy) == "weights":
        strategy.setup(SetupContext(job.panel, job.make_indicator, Cursor()))
        return np.asarray(strategy.weights(job.panel), dtype=np.float64)
    asked: dict[int, tuple[Floats | None, tuple[OrderRequest, ...]]] = {}

    def note(row: int, weights: Floats | None, orders: list[OrderRequest]) -> None:
        asked[row] = (None if weights is None else weights.copy(), tuple(orders))

    simulate(replace(job, strategy=strategy, on_decision=note))
    return asked


def _decisions_on(job: Simulation, panel: Panel, strategy: Strategy, row: int) -> Decisions:
    clock, raw = job.timeline.rows(0, len(panel)), job.raw_close[: len(panel)].copy()
    rates = None if job.rates is None else job.rates.rows(0, len(panel))
    try:
        return _decisions(replace(job, panel=panel, timeline=clock, raw_close=raw, rates=rates), strategy)
    except Exception as error:
        what = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
        raise StrategyError(
            f"portfolio {job.portfolio_id}: strategy {job.strategy_name!r} runs on all {len(job.panel)} bars but "
            f"fails on the first {row + 1} of them, which is what it would have had then: {what}"
        ) from error


def _difference(whole: Decisions, other: Decisions, row: int) -> Difference | None:
    """The first decision up to ``row`` that is not the same in both."""
    if isinstance(whole, np.ndarray) and isinstance(other, np.ndarray):
        return _first_unequal(whole[: row + 1], other[: row + 1])
    assert isinstance(whole, dict)
    assert isinstance(other, dict)
    for at in sorted(bar for bar in {*whole, *other} if bar <= row):
        found = _unequal_asking(whole.get(at, (None, ())), other.get(at, (None, ())))
        if found is not None:
            return Difference(at, found)
    return None


def _first_unequal(a: Floats, b: Floats) -> Difference | None:
    if a.shape != b.shape:
        return Difference(min(len(a), len(b)) - 1, 0)
    unequal = np.argwhere(~((a == b) | (np.isnan(a) & np.isnan(b))))
    return Difference(*unequal[0].tolist()) if len(unequal) else None


def _unequal_asking(
    a: tuple[Floats | None, tuple[OrderRequest, ...]], b: tuple[Floats | None, tuple[OrderRequest, ...]]
) -> int | None:
    """Column of the first difference between two askings of one bar."""
    weights = [asked[0] for asked in (a, b) if asked[0] is not None]
    if len(weights) == 1:
        return int(np.flatnonzero(~np.isnan(weights[0]))[0]) if not np.isnan(weights[0]).all() else None
    if len(weights) == 2:
        found = _first_unequal(weights[0][None, :], weights[1][None, :])
        if found is not None:
            return found.column
    different = set(a[1]) ^ set(b[1])
    return min(order.column for order in different) if different else None


def _copy(panel: Panel) -> Panel:
    """The panel in memory of its own: a view would still lead to the bars that were cut off."""
    return replace(panel, **{name: getattr(panel, name).copy() for name in FIELDS})


def _other_future(panel: Panel, row: int) -> Panel:
    """The panel with the bars after ``row`` replaced: the same bars in reverse order, at half the price."""
    changed = {}
    for name in FIELDS:
        values = getattr(panel, name).copy()
        after = values[row + 1 :][::-1].copy()
        values[row + 1 :] = after if name == "volume" else after / 2.0
        changed[name] = values
    return replace(panel, **changed)
