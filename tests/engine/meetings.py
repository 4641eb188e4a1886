"""Several portfolios of a test, run in threads as a backtest runs them, with an allocator."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import numpy as np

from framework import Allocator
from framework.data.flow_dates import DatedFlow
from framework.data.moments import Due
from framework.engine.agenda import Interruptions
from framework.engine.backtest import run_threads
from framework.engine.meeting import Meeting
from framework.engine.simulator import simulate
from framework.model.timeline import moment
from framework.trading.allocation import AllocationTerms


class Fixed(Allocator):
    """Fixed fractions of the total, in the order of the portfolios."""

    weights: tuple[float, ...]

    def allocate(self, state):
        return np.array(self.weights) * state.total


class Watching(Fixed):
    """Keeps what it is shown."""

    seen: int = 5

    def check(self):
        self.states = []

    def sessions(self):
        return self.seen

    def allocate(self, state):
        self.states.append(state)
        return super().allocate(state)


def terms_of(count, *, buffers=None, **changes):
    return AllocationTerms(
        portfolios=tuple(str(number) for number in range(count)),
        floors=np.zeros(count),
        caps=np.ones(count),
        buffers=np.zeros(count) if buffers is None else np.array(buffers),
        **changes,
    )


def meeting_of(clock, rows, allocator, terms, master=0.0, flows=()):
    """A meeting at the close of these rows of a clock with a bar a session."""
    dues = [Due(moment(clock.available[row]), clock.session[row].item(), "close") for row in rows]
    return Meeting("test/fixed", allocator, terms, dues, np.unique(clock.session), master, flows)


def flow(clock, row, amount, reference="f"):
    """Money before the bar of a row."""
    at = clock.opens[row].astype("datetime64[us]").item().replace(tzinfo=UTC)
    return DatedFlow(at, clock.session[row].item(), amount, reference)


def run_together(jobs, meeting, flows=None):
    """The results of simulations that meet, in order."""
    flows = flows or [()] * len(jobs)

    def task(job):
        def work(checkpoint):
            try:
                return simulate(job)
            except BaseException:
                meeting.leave()
                raise

        return work

    tasks = {}
    for number, (job, own) in enumerate(zip(jobs, flows, strict=True)):
        met = replace(job, portfolio_id=str(number), interruptions=Interruptions(tuple(own), meeting))
        tasks[str(number)] = task(met)
    return run_threads(tasks)
