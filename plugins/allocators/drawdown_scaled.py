"""Less for what is losing."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import numpy as np

from framework import AllocationState, Allocator, ConfigError, Floats, Ge, Gt, Le, Lt, hookimpl

from . import _shared


class DrawdownScaled(_shared.Listed):
    """Equal or given weights, each cut while its portfolio is in a drawdown; what is cut stays with the master account.

    The drawdown d is that of the return index from its peak within the last ``lookback`` sessions. The weight is whole
    up to d = ``start``, ``floor_weight`` of it from d = ``stop`` on, and falls in a straight line between. ``weights``
    are by portfolio id, together at most 1, and then list the portfolios. Otherwise ``only`` does; empty: all of the
    run, and 1/N each. A session without a return counts as one of 0.
    """

    weights: dict[str, Annotated[float, Ge(0)]] = {}  # noqa: RUF012  # the default of a parameter; each object gets its own
    lookback: Annotated[int, Gt(0)] = 250
    start: Annotated[float, Ge(0), Lt(1)] = 0.05
    stop: Annotated[float, Gt(0), Le(1)] = 0.20
    floor_weight: Annotated[float, Ge(0), Le(1)] = 0.25

    def check(self) -> None:
        """The line must go down; either weights or a list."""
        super().check()
        if self.start >= self.stop:
            raise ConfigError(f"drawdown_scaled: 'start' was {self.start:g}, 'stop' {self.stop:g}; start must be below")
        if self.weights and self.only:
            raise ConfigError("drawdown_scaled: 'weights' list the portfolios already; leave out 'only'")
        if self.weights:
            _shared.check_weights("drawdown_scaled", self.weights)

    def listed(self) -> Collection[str]:
        """Those with a weight."""
        return self.weights or self.only

    def sessions(self) -> int:
        """The lookback."""
        return self.lookback

    def allocate(self, state: AllocationState) -> Floats:
        """Weight × what the drawdown leaves of it × total."""
        count = len(state.portfolios)
        given = np.array([self.weights[name] for name in state.portfolios]) if self.weights else None
        base = _shared.equal_weights(count) if given is None else given
        way = (_drawdowns(state.returns[-self.lookback :]) - self.start) / (self.stop - self.start)
        return _shared.money(base * (1.0 - (1.0 - self.floor_weight) * np.clip(way, 0.0, 1.0)), state.total)


def _drawdowns(returns: Floats) -> Floats:
    """1 − index / its peak at the end of returns ``(T, N)``, shape ``(N,)``, each in [0, 1]; the index begins at 1."""
    # A portfolio that lost more than it had is at 0, and stays there.
    index = np.multiply.accumulate(np.maximum(1.0 + np.where(np.isfinite(returns), returns, 0.0), 0.0), axis=0)
    index = np.vstack([np.ones(returns.shape[1]), index])
    drawdowns: Floats = 1.0 - index[-1] / np.maximum.reduce(index, axis=0)
    return drawdowns


@hookimpl
def register_allocators() -> dict[str, type[Allocator]]:
    """``drawdown_scaled``."""
    return {"drawdown_scaled": DrawdownScaled}
