"""Less for what swings more."""

from __future__ import annotations

import numpy as np

from framework import AllocationState, Allocator, Floats, hookimpl

from . import _shared


class InverseVolatility(_shared.FromReturns):
    """Weights in proportion to 1/σ, σ the sample standard deviation of the last ``lookback`` sessions' returns.

    A portfolio with fewer than ``minimum`` returns in them, or without volatility, gets 1/N, and the others share what
    is left. ``only`` names the portfolios; empty: all of the run.
    """

    def shares(self, state: AllocationState, returns: Floats, known: _shared.Mask) -> Floats:
        """1/σ, scaled to a sum of 1."""
        sigma = _shared.deviations(returns)
        inverse: Floats = sigma.min() / sigma
        return inverse / float(np.add.reduce(inverse))


@hookimpl
def register_allocators() -> dict[str, type[Allocator]]:
    """``inverse_volatility``."""
    return {"inverse_volatility": InverseVolatility}
