"""Sweeps for the reports to be made from: trials with invented figures, in no time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date
from itertools import product
from typing import Any

import numpy as np

from framework.model.sweep import Axis, Outcome, Part, Sweep, Trial, Value, Window
from framework.report import metrics

START, END = date(2005, 1, 3), date(2012, 12, 31)

FAST = Axis("strategy.params.fast", (5, 10, 20, 40))
SLOW = Axis("strategy.params.slow", (50, 100, 200))

Values = tuple[Value, ...]


def sessions_between(start: date, end: date) -> Any:
    """Weekdays, both included."""
    days = np.arange(np.datetime64(start, "D"), np.datetime64(end, "D") + 1)
    return days[np.is_busday(days)]


def figures_of(returns: Any, **others: Any) -> dict[str, float | None]:
    """What a summary would say of these returns."""
    return {
        **asdict(metrics.figures(returns)),
        **{f"risk.{key}": value for key, value in asdict(metrics.shape(returns)).items()},
        "sessions": float(len(returns)),
        "sessions_per_year": 252.0,
        "trades": float(len(returns) // 10),
        "fees": 1234.5,
        "exposure": 0.8,
        "turnover": 3.25,
        "final_equity": 1e6 * (1 + metrics.total_return(returns)),
        "engine_seconds": float(np.random.default_rng().random()),
        **others,
    }


def outcome(
    values: Values,
    *,
    seed: int = 0,
    mean: float = 3e-4,
    start: date = START,
    end: date = END,
    part: Part = "whole",
    window: int | None = None,
    **others: Any,
) -> Outcome:
    """A trial that went well: random returns around a mean, the most of which all trials of a time have in common."""
    sessions = sessions_between(start, end)
    market, own = (np.random.default_rng(each).normal(0, 1, len(sessions)) for each in (start.year, 1000 + seed))
    returns = mean + 0.0095 * market + 0.001 * own
    kept = {"sessions": sessions, "returns": returns} if part == "test" else {}
    trial = Trial(values, start, end, part, window)
    return Outcome(trial, "done", figures=figures_of(returns, **others), seconds=0.5, **kept)


def lost(values: Values, status: Any, reason: str, part: Part = "whole", window: int | None = None) -> Outcome:
    """A trial without figures."""
    return Outcome(Trial(values, START, END, part, window), status, reason)


def sweep(outcomes: Sequence[Outcome], axes: Sequence[Axis] = (FAST, SLOW), **changes: Any) -> Sweep:
    """A sweep of these trials."""
    made: dict[str, Any] = {
        "name": "demo",
        "axes": tuple(axes),
        "method": f"grid of {len(outcomes)}",
        "objective": "sharpe",
        "start": START,
        "end": END,
        "currency": "USD",
        "outcomes": tuple(outcomes),
        "windows": (),
        "seconds": 12.3,
        "config": {"name": "demo", "mode": "backtest"},
        "versions": {"portfolio-engine": "0.1.0", "python": "3.11.9"},
        "notes": ("Prices are adjusted for splits and dividends.",),
    }
    return Sweep(**(made | changes))


def good_at(values: Values) -> float:
    """A mean return that is highest near fast 20, slow 100."""
    numbers = [value for value in values if isinstance(value, int | float)]
    return 6e-4 - 4e-4 * sum(abs(np.log(v / wanted)) for v, wanted in zip(numbers, (20, 100, 1), strict=False)) / 2


def grid(*axes: Axis, mean: Callable[[Values], float] = good_at, **changes: Any) -> Sweep:
    """Every combination of the axes' values, by default of two with four and three values."""
    axes = axes or (FAST, SLOW)
    every = product(*(axis.values for axis in axes))
    outcomes = [outcome(values, seed=seed, mean=mean(values)) for seed, values in enumerate(every)]
    return sweep(outcomes, axes, **changes)


def years(count: int) -> tuple[Window, ...]:
    """Windows of three years of training and one of test."""
    first = START.year
    return tuple(
        Window(
            n,
            date(first + n, 1, 1),
            date(first + n + 2, 12, 31),
            date(first + n + 3, 1, 1),
            date(first + n + 3, 12, 31),
        )
        for n in range(count)
    )


def walk(count: int = 5, *axes: Axis, mean: Callable[[Values], float] = good_at, **changes: Any) -> Sweep:
    """A walk forward: in each window every combination is trained, and the best is tested."""
    axes, windows, outcomes = axes or (FAST, SLOW), years(count), []
    for window in windows:
        n, trained = window.number, []
        for i, values in enumerate(product(*(axis.values for axis in axes))):
            span: dict[str, Any] = {"start": window.train_start, "end": window.train_end}
            trained.append(outcome(values, seed=100 * n + i, mean=mean(values), part="train", window=n, **span))
        best = sweep(trained, axes, windows=windows).best(n)
        assert best is not None
        values, span = best.trial.values, {"start": window.test_start, "end": window.test_end}
        outcomes += [*trained, outcome(values, seed=999 + n, mean=mean(values) / 2, part="test", window=n, **span)]
    return sweep(outcomes, axes, windows=windows, **changes)
