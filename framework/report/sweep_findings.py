"""What a finished sweep says: which values did best, what luck alone would have brought, and how choices did later."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from framework.model.panel import Floats, Times
from framework.model.result import Ints
from framework.model.sweep import Outcome, Status, Sweep, Value, Window
from framework.report import metrics
from framework.report.words import span

SHARPE = "sharpe"


@dataclass(frozen=True)
class Luck:
    """What is left of the best Sharpe ratio of many trials, given that it is the best of many.

    Attributes:
        trials: that have a Sharpe ratio, the best one among them.
        sharpe: of the best, annualised.
        expected: Sharpe ratio, annualised, that the best is expected to have where none has any skill.
        probability: that the best's true Sharpe ratio is above 0, a fraction; ``None``: undefined.
    """

    trials: int
    sharpe: float
    expected: float
    probability: float | None


@dataclass(frozen=True, eq=False)
class Standing:
    """How some values did.

    Attributes:
        values: in the order of the sweep's axes.
        figures: of their trial; of several trainings, the mean of those that have the figure.
        windows: how many windows chose them.
    """

    values: tuple[Value, ...]
    figures: dict[str, float | None]
    windows: int = 0


@dataclass(frozen=True, eq=False)
class Group:
    """Values that are seen together.

    Attributes:
        title: what people read; empty: all trials.
        standings: in the order of the plan.
        objective: what they are ranked by, the most first.
        luck: of the best; ``None``: there is no best, or it has no Sharpe ratio, or it is a mean.
    """

    title: str
    standings: tuple[Standing, ...]
    objective: str
    luck: Luck | None = None

    @cached_property
    def ranked(self) -> tuple[Standing, ...]:
        """The best first, of equals the first of the plan; at the end those without the objective."""

        def place(standing: Standing) -> float:
            value = standing.figures.get(self.objective)
            return math.inf if value is None else -value

        return tuple(sorted(self.standings, key=place))

    @property
    def best(self) -> Standing | None:
        """The first of the ranked; ``None``: no trial has the objective."""
        first = self.ranked[:1]
        return first[0] if first and first[0].figures.get(self.objective) is not None else None

    def known(self, key: str) -> list[float]:
        """The figures under a key, of those that have it."""
        return _known(key, [each.figures for each in self.standings])


@dataclass(frozen=True, eq=False)
class Step:
    """A window of a walk forward: what was chosen in its training, and how that did in the test.

    Attributes:
        window: which.
        chosen: the best of the training; ``None``: none has the objective.
        tested: the trial of the test, however it ended; ``None``: there was none.
    """

    window: Window
    chosen: Outcome | None
    tested: Outcome | None

    @property
    def values(self) -> tuple[Value, ...] | None:
        """What was chosen."""
        if self.tested is not None:
            return self.tested.trial.values
        return None if self.chosen is None else self.chosen.trial.values

    def train(self, key: str) -> float | None:
        """A figure of what was chosen, in the training."""
        return None if self.chosen is None else self.chosen.figures.get(key)

    def test(self, key: str) -> float | None:
        """The same figure in the test."""
        return None if self.tested is None else self.tested.figures.get(key)


@dataclass(frozen=True, eq=False)
class OutOfSample:
    """The returns of all tests, one after the other: what walking forward would have made.

    Attributes:
        sessions: shape ``(S,)``, ``datetime64[D]``, strictly rising.
        window: shape ``(S,)``, number of the window that each is of.
        returns: shape ``(S,)``, fractions.
    """

    sessions: Times
    window: Ints
    returns: Floats

    @cached_property
    def per_year(self) -> float:
        """Sessions a year, by the dates."""
        return metrics.sessions_per_year(self.sessions)

    @cached_property
    def figures(self) -> metrics.Figures:
        """The key figures of the returns."""
        return metrics.figures(self.returns, self.per_year)

    @cached_property
    def index(self) -> Floats:
        """What one unit of capital became, shape ``(S,)``."""
        return metrics.return_index(self.returns)

    @cached_property
    def probability(self) -> float | None:
        """That the true Sharpe ratio is above 0; nothing was chosen by these returns, so nothing is taken off."""
        sharpe, skew, kurtosis = self.figures.sharpe, metrics.skew(self.returns), metrics.kurtosis(self.returns)
        if sharpe is None or skew is None or kurtosis is None:
            return None
        return metrics.probabilistic_sharpe(sharpe / math.sqrt(self.per_year), len(self.returns), skew, kurtosis)


@dataclass(frozen=True)
class Lost:
    """Trials that have no figures for the same reason.

    Attributes:
        status: ``refused`` or ``failed``.
        reason: in words.
        count: how many.
        values: of the first of them.
    """

    status: Status
    reason: str
    count: int
    values: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Findings:
    """All that reports tell of a sweep.

    Attributes:
        sweep: the trials.
        groups: all trials as one; walking forward, the means over all trainings, then each training by itself.
        steps: of a walk forward, in order of time.
        tests: their returns; ``None``: it does not walk forward, or no test came to an end.
        lost: trials without figures, the most frequent reason first.
    """

    sweep: Sweep
    groups: tuple[Group, ...]
    steps: tuple[Step, ...]
    tests: OutOfSample | None
    lost: tuple[Lost, ...]

    @property
    def main(self) -> Group:
        """What the page shows first."""
        return self.groups[0]

    def count(self, status: Status) -> int:
        """Trials that ended so."""
        return sum(each.status == status for each in self.sweep.outcomes)


def find(sweep: Sweep) -> Findings:
    """Work out what the trials say."""
    steps = tuple(_step(sweep, window) for window in sweep.windows)
    return Findings(sweep, _groups(sweep, steps), steps, _stitched(sweep), _lost(sweep.outcomes))


# Groups of trials, and luck.


def _groups(sweep: Sweep, steps: Sequence[Step]) -> tuple[Group, ...]:
    if not sweep.windows:
        return (_group(sweep, "", sweep.done("whole"), sweep.best()),)
    trained = sweep.done("train")
    return (_means(sweep, trained, steps), *(_training(sweep, trained, step) for step in steps))


def _training(sweep: Sweep, trained: Sequence[Outcome], step: Step) -> Group:
    own = [each for each in trained if each.trial.window == step.window.number]
    return _group(sweep, span(step.window.train_start, step.window.train_end), own, step.chosen)


def _group(sweep: Sweep, title: str, outcomes: Sequence[Outcome], best: Outcome | None) -> Group:
    standings = tuple(Standing(each.trial.values, dict(each.figures)) for each in outcomes)
    return Group(title, standings, sweep.objective, None if best is None else _luck(best, outcomes))


def _means(sweep: Sweep, trained: Sequence[Outcome], steps: Sequence[Step]) -> Group:
    by_values: dict[tuple[Value, ...], list[Outcome]] = {}
    for each in trained:
        by_values.setdefault(each.trial.values, []).append(each)
    chosen = [step.values for step in steps]
    standings = tuple(
        Standing(values, _mean_figures([each.figures for each in those]), chosen.count(values))
        for values, those in by_values.items()
    )
    return Group("Mean of all trainings", standings, sweep.objective)


def _mean_figures(figures: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    keys = dict.fromkeys(key for each in figures for key in each)
    known = {key: _known(key, figures) for key in keys}
    return {key: math.fsum(values) / len(values) if values else None for key, values in known.items()}


def _known(key: str, figures: Sequence[Mapping[str, float | None]]) -> list[float]:
    return [value for each in figures if (value := each.get(key)) is not None]


def _luck(best: Outcome, outcomes: Sequence[Outcome]) -> Luck | None:
    """Every trial counts as independent of all others."""
    sharpes = [value for each in outcomes if (value := _session_sharpe(each)) is not None]
    own, year = _session_sharpe(best), math.sqrt(_per_year(best))
    if own is None:
        return None
    variance = float(np.var(sharpes, ddof=1)) if len(sharpes) > 1 else 0.0
    expected = metrics.expected_maximum_sharpe(len(sharpes), variance)
    assert expected is not None, "the best itself is one of them"
    sessions, skew, kurtosis = (best.figures.get(key) for key in ("sessions", "risk.skew", "risk.kurtosis"))
    probability = None
    if sessions is not None and skew is not None and kurtosis is not None:
        probability = metrics.deflated_sharpe(own, int(sessions), skew, kurtosis, len(sharpes), variance)
    return Luck(len(sharpes), own * year, expected * year, probability)


def _session_sharpe(outcome: Outcome) -> float | None:
    """The Sharpe ratio, not annualised."""
    sharpe = outcome.figures.get(SHARPE)
    return None if sharpe is None else sharpe / math.sqrt(_per_year(outcome))


def _per_year(outcome: Outcome) -> float:
    return outcome.figures.get("sessions_per_year") or metrics.SESSIONS_PER_YEAR


# Walking forward.


def _step(sweep: Sweep, window: Window) -> Step:
    tests = (each for each in sweep.outcomes if each.trial.part == "test" and each.trial.window == window.number)
    return Step(window, sweep.best(window.number), next(tests, None))


def _stitched(sweep: Sweep) -> OutOfSample | None:
    """The tests in order of time; of a session that two of them have, the earlier window's return counts."""
    sessions, windows, returns = [], [], []
    last = np.datetime64("0001-01-01", "D")
    for each in sorted(sweep.done("test"), key=lambda outcome: outcome.trial.window or 0):
        if each.sessions is None or each.returns is None:
            continue
        new = each.sessions > last
        if new.any():
            last = each.sessions[-1]
        sessions.append(each.sessions[new])
        returns.append(each.returns[new])
        windows.append(np.full(int(new.sum()), each.trial.window or 0, dtype=np.int64))
    if not sum(map(len, sessions)):
        return None
    return OutOfSample(np.concatenate(sessions), np.concatenate(windows), np.concatenate(returns))


# What has no figures.


def _lost(outcomes: Sequence[Outcome]) -> tuple[Lost, ...]:
    found: dict[tuple[Status, str], list[Outcome]] = {}
    for each in outcomes:
        if each.status != "done":
            found.setdefault((each.status, each.reason), []).append(each)
    lost = [Lost(status, reason, len(those), those[0].trial.values) for (status, reason), those in found.items()]
    return tuple(sorted(lost, key=lambda each: -each.count))
