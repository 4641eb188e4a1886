"""Fixed weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from framework import AllocationState, Allocator, Floats, Ge, hookimpl

from . import _shared


class DailyAllocator(Allocator):
    """Brings each listed portfolio back to a fixed weight.

    ``weights`` are fractions of what may be given out, by portfolio id, together at most 1. Portfolios that it does not
    list are left alone, and what the weights leave over stays with the master account.
    """

    weights: dict[str, Annotated[float, Ge(0)]]

    def check(self) -> None:
        """At least one weight, together at most 1."""
        _shared.check_weights("daily", self.weights)

    def portfolios(self, offered: Sequence[str]) -> Sequence[str]:
        """Those with a weight, also one that is not on offer: the engine refuses it by name."""
        return _shared.in_order(self.weights, offered)

    def allocate(self, state: AllocationState) -> Floats:
        """Weight × total."""
        return _shared.money(np.array([self.weights[name] for name in state.portfolios]), state.total)


@hookimpl
def register_allocators() -> dict[str, type[Allocator]]:
    """``daily``."""
    return {"daily": DailyAllocator}
