"""A sweep: a config run many times with other values, and what came of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from framework.model.panel import Floats, Times

#: What a config's key can be set to.
Value = str | int | float | bool | None

#: ``refused``: the config is not valid with these values; ``failed``: the run raised.
Status = Literal["done", "refused", "failed"]

#: What a trial runs on: the whole range, or, walking forward, what a choice is made on and what it is tried on.
Part = Literal["whole", "train", "test"]


@dataclass(frozen=True)
class Axis:
    """One key that is varied.

    Attributes:
        key: path, as ``--set`` takes it, such as ``strategy.params.fast``.
        values: what it is set to, in the order given, all different.
    """

    key: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Window:
    """One step of a walk forward; all dates are exchange dates, included.

    Attributes:
        number: from 0, in order of time.
        train_start, train_end: what the choice is made on.
        test_start, test_end: what follows it, where the choice is tried.
    """

    number: int
    train_start: date
    train_end: date
    test_start: date
    test_end: date


@dataclass(frozen=True)
class Trial:
    """One run of the config.

    Attributes:
        values: one for each axis, in the order of the axes.
        start, end: exchange dates of the run, included.
        part: what it runs on.
        window: number of the window, where it walks forward.
    """

    values: tuple[Value, ...]
    start: date
    end: date
    part: Part = "whole"
    window: int | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a trial.

    Attributes:
        trial: which.
        status: how it ended.
        reason: why, where it is not ``done``.
        figures: of all portfolios together: every number of ``total`` in ``summary.json`` by its key, those of sections
            as ``risk.skew``; ``None``: undefined. Empty where it is not ``done``.
        seconds: that the run took.
        sessions: shape ``(S,)``, ``datetime64[D]``; kept for tests only.
        returns: shape ``(S,)``, session returns of all portfolios together, fractions; kept for tests only.
    """

    trial: Trial
    status: Status
    reason: str = ""
    figures: Mapping[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0
    sessions: Times | None = None
    returns: Floats | None = None


@dataclass(frozen=True, eq=False)
class Sweep:
    """All trials of a sweep.

    Attributes:
        name: the config's.
        axes: what is varied; the outcomes' values are in this order.
        method: how the trials were chosen, in words: ``grid of 460``, ``100 drawn at random of 460 (seed 1)``.
        objective: key of the figure that the best has the most of.
        start, end: exchange dates of the config, included.
        currency: of amounts; empty where there are several.
        outcomes: of every trial, in the order of the plan.
        windows: of a walk forward, in order of time; else none.
        seconds: from first to last.
        config: as resolved, without the varied values.
        versions: of this package, Python and the libraries that computed.
        notes: what a reader should know.
    """

    name: str
    axes: tuple[Axis, ...]
    method: str
    objective: str
    start: date
    end: date
    currency: str
    outcomes: tuple[Outcome, ...]
    windows: tuple[Window, ...]
    seconds: float
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    notes: tuple[str, ...]

    def done(self, part: Part) -> tuple[Outcome, ...]:
        """The outcomes of this part that have figures, in the order of the plan."""
        return tuple(each for each in self.outcomes if each.status == "done" and each.trial.part == part)

    def best(self, window: int | None = None) -> Outcome | None:
        """The trial with the most of the objective, on the whole range or on a window's training.

        The first of those that are equal; ``None``: no trial has the figure.
        """
        part: Part = "whole" if window is None else "train"
        return best_of([each for each in self.done(part) if each.trial.window == window], self.objective)


def best_of(outcomes: Iterable[Outcome], objective: str) -> Outcome | None:
    """The one with the most of a figure, the first of those that are equal; ``None``: none has the figure."""
    known = [(value, each) for each in outcomes if (value := each.figures.get(objective)) is not None]
    return max(known, key=lambda pair: pair[0])[1] if known else None
