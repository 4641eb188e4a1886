"""Does a strategy see the future? Cut it off, change it, and compare what is decided before.

Every bar's decision must be the same whether the bars after it exist or not, and whatever they hold.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framework.engine.asked import Decisions, Difference, ask
from framework.engine.futures import between, cut_off, mixed, shaken, turned
from framework.engine.leftovers import Leftovers
from framework.engine.schedule import decision_rows
from framework.engine.simulator import Simulation
from framework.errors import EngineError, LookaheadError, StrategyError
from framework.trading.indicator import Indicator
from framework.trading.strategy import Strategy

#: How many moments are tried: spread over all decisions, and over those that change something; in holes, and before the
#: first bars of tickers.
SPREAD, DECIDED, HOLES = 12, 8, (3, 2)
#: A check looks at no more than this many of the newest cells (bars × tickers).
MOST_CELLS = 2_000_000

#: Why a second run may decide otherwise.
_LEFT = (
    "what an earlier run left in its module or on its class; keep nothing there that depends on the bars, and in "
    "ctx.state what must be remembered from bar to bar"
)

Ints = NDArray[np.int64]
#: Makes another future of a simulation.
Future = Callable[[Simulation], Simulation]


@dataclass(frozen=True)
class Looked:
    """What a check that found nothing has tried.

    Attributes:
        moments: bars after which the future was cut off, and changed.
        runs: how often the strategy was run.
        failed: changed futures on which the strategy failed, so that nothing could be compared; and why the first did.
    """

    moments: int
    runs: int = 0
    failed: int = 0
    reason: str = ""

    def describe(self, strategy: str) -> str:
        """What is known of a strategy of that name now, in words."""
        if not self.moments:
            return f"lookahead in {strategy} not tried: no decision has a bar after it"
        said = f"no lookahead in {strategy} (future cut off and changed at {self.moments} bars, {self.runs} runs"
        return f"{said}; on {self.failed} changed futures it failed: {self.reason})" if self.failed else f"{said})"


def check_lookahead(job: Simulation, make_strategy: Callable[[], Strategy]) -> Looked:
    """Compare a strategy's decisions with the future cut off, and with other futures.

    Args:
        job: the simulation to check; its own strategy object is not used.
        make_strategy: a fresh strategy object with the same parameters.

    Raises:
        LookaheadError: names strategy, bar and ticker of a decision that changed with the future.
        StrategyError: it fails where it has no future; or it does not decide the same twice on the same bars.
    """
    job = newest(job)
    rows = _moments(job)
    if not len(rows):
        return Looked(0)
    trial = _Trial(job, make_strategy)
    try:
        left_something = trial.begin(int(rows[0]))
        rows = _chosen(job, rows, trial.whole.changing(job.first))
        for turn, row in enumerate(rows.tolist()):
            trial.cut_off(row)
            trial.change(row, partial(turned, row=row))
            trial.change(row, partial(mixed, row=row, turn=turn))
        if left_something is not None:  # said last: that it looks ahead is the worse of the two
            raise left_something
    finally:
        trial.leftovers.clear()
    return Looked(len(rows), trial.runs, len(trial.failed), trial.failed[0] if trial.failed else "")


def newest(job: Simulation) -> Simulation:
    """The job on its newest bars, where there are more than a check should take time for."""
    most = max(2, MOST_CELLS // max(1, len(job.panel.tickers)))
    skip = max(0, len(job.panel) - most)
    if not skip:
        return job
    return between(job, skip, len(job.panel))


def spread(rows: Ints, most: int) -> Ints:
    """Some of the rows, evenly, first and last included."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, num=min(most, len(rows))).astype(np.int64))]


def _moments(job: Simulation) -> Ints:
    """The rows after which the future may be cut off."""
    # Cut at decision rows: whether a bar is its session's last is itself told by the bar after it.
    rows = decision_rows(job.schedule, job.timeline, job.first)
    # And where there is some history: on its very first bars a strategy may rightly not know what to do.
    return rows[(rows < len(job.panel) - 1) & (rows >= len(job.panel) // 10)]


def _chosen(job: Simulation, rows: Ints, deciding: Ints) -> Ints:
    """Those that are tried, rising."""
    missing = np.isnan(job.panel.close)
    begun = np.logical_or.accumulate(~missing, axis=0)
    goes_on = np.logical_or.accumulate(~missing[::-1], axis=0)[::-1]
    holes = [np.flatnonzero((missing & goes_on & where).any(axis=1)) for where in (begun, ~begun)]
    wanted = [spread(rows, SPREAD)]
    wanted += [
        spread(np.intersect1d(rows, some), most)
        for some, most in ((deciding, DECIDED), *zip(holes, HOLES, strict=True))
    ]
    chosen = np.unique(np.concatenate(wanted))
    is_kept = [row in decision_rows(job.schedule, job.timeline.rows(0, row + 1), job.first) for row in chosen]
    return chosen[np.array(is_kept, dtype=np.bool_)]


class _Trial:
    """One strategy on one simulation, and its runs on other futures.

    Attributes:
        whole: what it decides on all bars.
        runs: how often it was run.
        failed: why it failed on changed futures.
    """

    def __init__(self, job: Simulation, make_strategy: Callable[[], Strategy]) -> None:
        self._who = f"portfolio {job.portfolio_id}: strategy {job.strategy_name!r}"
        self._make = make_strategy
        self.leftovers = Leftovers()
        self.leftovers.watch(type(make_strategy()))
        self._job = replace(job, make_indicator=self._watched(job.make_indicator))
        self._shaken: tuple[Simulation, Decisions] | None = None
        self.whole = Decisions()
        self.runs = 0
        self.failed: list[str] = []

    def _watched(self, make: Callable[[str, dict[str, Any]], Indicator]) -> Callable[[str, dict[str, Any]], Indicator]:
        def watched(name: str, params: dict[str, Any]) -> Indicator:
            made = make(name, params)
            self.leftovers.watch(type(made))
            return made

        return watched

    def _run(self, job: Simulation, last: int | None = None, *, is_clean: bool = True) -> Decisions:
        """What a fresh object decides, up to row ``last``; nothing is left of earlier runs unless asked for."""
        if is_clean:
            self.leftovers.clear()
        self.runs += 1
        return ask(job, self._make(), last)

    def begin(self, row: int) -> StrategyError | None:
        """Run it on all bars; and again, right after a run on those up to a row.

        Returns:
            what is to be said where it decides otherwise then, for what the run before has left behind.

        Raises:
            StrategyError: it failed; or it decides otherwise whatever runs before.
        """
        self.whole = self._run(self._job)
        self._on_first(row, self._job)
        last = len(self._job.panel)
        try:
            again = self._run(self._job, is_clean=False)
        except Exception as error:  # noqa: BLE001  # foreign code may raise anything
            return StrategyError(
                f"{self._who} runs on all {last} bars, but fails on them right after a run on the first {row + 1}: "
                f"{self._told(error)}. It depends on {_LEFT}"
            )
        found = self._differs(again, last)
        if found is None:
            return None
        by_chance = self._differs(self._run(self._job), last)
        if by_chance is not None:
            raise self._not_twice(
                by_chance,
                "random numbers without a seed of their own, the time of day, or something outside of the engine; seed "
                "random numbers by the bar's date",
            )
        return self._not_twice(found, _LEFT)

    def _not_twice(self, found: Difference, why: str) -> StrategyError:
        return StrategyError(
            f"{self._who} does not decide the same twice on the same bars: {self._place(found)} a second run asks for "
            f"something else. It depends on {why}"
        )

    def cut_off(self, row: int) -> None:
        """Compare with the future cut off after a row.

        Raises:
            LookaheadError: a decision changed.
            StrategyError: it failed.
        """
        found = self._differs(self._on_first(row, self._job), row)
        if found is not None and self._is_confirmed(row, partial(self._on_first, row)):
            raise self._error(found, "cut off", row)

    def change(self, row: int, future: Future) -> None:
        """Compare with another future after a row.

        Raises:
            LookaheadError: a decision changed.
        """
        try:
            found = self._differs(self._on_future(row, future, self._job), row)
            if found is not None and self._is_confirmed(row, partial(self._on_future, row, future)):
                raise self._error(found, "changed", row)
        except LookaheadError:
            raise
        except Exception as error:  # noqa: BLE001  # no strategy must cope with bars that never were
            self.failed.append(self._told(error))

    def _on_first(self, row: int, job: Simulation) -> Decisions:
        try:
            return self._run(cut_off(job, row))
        except Exception as error:
            raise StrategyError(
                f"{self._who} runs on all {len(job.panel)} bars but fails on the first {row + 1} of them, which is "
                f"what it would have had then: {self._told(error)}"
            ) from error

    def _on_future(self, row: int, future: Future, job: Simulation) -> Decisions:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return self._run(future(job), row)

    def _differs(self, other: Decisions, last: int) -> Difference | None:
        return self.whole.first_difference(other, self._job.first, last)

    def _is_confirmed(self, row: int, run: Callable[[Simulation], Decisions]) -> bool:
        """Whether there is a difference still when all prices are shaken a little: then it was no rounding."""
        try:
            if self._shaken is None:
                job = shaken(self._job)
                self._shaken = job, self._run(job)
            job, whole = self._shaken
            return whole.first_difference(run(job), job.first, row) is not None
        except Exception:  # noqa: BLE001  # prices as these it does not take: the difference stands as it is
            return True

    def _told(self, error: Exception) -> str:
        if isinstance(error, EngineError):
            return str(error).removeprefix(f"{self._who} ")
        return f"{type(error).__name__}: {error}"

    def _place(self, found: Difference) -> str:
        return f"for {self._job.panel.tickers[found.column]} at bar {self._bar(found.row)}"

    def _bar(self, row: int) -> str:
        return str(np.datetime_as_string(self._job.panel.timestamps[row], unit="m"))

    def _error(self, found: Difference, how: str, row: int) -> LookaheadError:
        return LookaheadError(
            f"{self._who} looks ahead: its decision {self._place(found)} changes when the bars after "
            f"{self._bar(row)} are {how}. A decision may use bars up to its own only: look for a negative shift, a "
            "fill backwards, or a mean, scale or fit over all bars"
        )
