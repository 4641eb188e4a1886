"""Who is told what a live portfolio does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from framework.books.journal import Decision, LiveOrder
from framework.books.open import Identity
from framework.books.state import Valuation
from framework.engine.gateway import Filled


@dataclass(frozen=True)
class Watcher:
    """Who is told what a worker does; each call comes after the commit that it speaks of."""

    filled: Callable[[Identity, Filled], None] = lambda identity, filled: None
    ended: Callable[[Identity, LiveOrder, str | None], None] = lambda identity, order, reason: None
    #: With the number of moments of the schedule that were missed before it.
    decided: Callable[[Identity, Decision, int], None] = lambda identity, decision, missed: None
    valued: Callable[[Identity, Valuation], None] = lambda identity, valuation: None
    #: A risk rule that was asked again has halted the portfolio.
    halted: Callable[[Identity, str], None] = lambda identity, reason: None
    #: A split, a dividend, or an allocation: what was done, or not, in words.
    acted: Callable[[Identity, str], None] = lambda identity, text: None
