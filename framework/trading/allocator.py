"""Allocators: the interface of one, and what it is handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats
from framework.trading.plugin import Plugin


@dataclass(frozen=True, eq=False)
class AllocationState:
    """What an allocator decides on: the portfolios that it lists, valued at one moment, in one currency.

    All arrays are read-only. ``N`` is the number of portfolios, ``T`` that of sessions.

    Attributes:
        time: the moment of the allocation, aware UTC.
        portfolios: their ids, in the order of the config.
        equity: shape ``(N,)``: cash + Σ position × price, before the allocation.
        cash: shape ``(N,)``: what of it is cash.
        master_cash: what the master account holds.
        total: what may be given out: (master cash + Σ equity) × (1 − the allocator's cash buffer).
        returns: shape ``(T, N)``, oldest first: returns of the last ``sessions`` sessions, without the effect of money
            that came or went; NaN where a portfolio had nothing to earn on yet. ``T`` is less where the history is.
        floors, caps: shape ``(N,)``: the least and the most of ``total`` that each may be given, as fractions. The
            engine applies them afterwards to whatever an allocator returns.
        halted: shape ``(N,)``: portfolios that neither give nor get; they count at their value.
    """

    time: datetime
    portfolios: tuple[str, ...]
    equity: Floats
    cash: Floats
    master_cash: float
    total: float
    returns: Floats
    floors: Floats
    caps: Floats
    halted: NDArray[np.bool_]


class Allocator(Plugin):
    """Decides how much money each portfolio is to be worth.

    It keeps nothing between allocations: all that it may depend on is in the state. It never moves money itself; the
    engine does, within what is free and in one transaction.
    """

    kind = "allocator"

    def portfolios(self, offered: Sequence[str]) -> Sequence[str]:
        """Which of the run's portfolios (ids in the order of the config) it allocates to; all, unless overridden.

        An id that is not on offer is refused by the engine, with the nearest one that is.
        """
        return offered

    def sessions(self) -> int:
        """How many sessions of returns it wants to see; none, unless overridden."""
        return 0

    def allocate(self, state: AllocationState) -> Floats:
        """Target values, shape ``(N,)``, money, each ≥ 0, together at most ``state.total``. Define this.

        What is not given out stays with the master account.
        """
        raise NotImplementedError(f"{type(self).__name__} must define allocate(state)")
