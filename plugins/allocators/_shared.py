"""What the bundled allocators share: whom they list, what is known of returns, how weights become money."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from framework import AllocationState, Allocator, ConfigError, Floats, Ge

Mask = NDArray[np.bool_]
#: Weights may add up to this much over 1; less is float noise.
NOISE = 1e-9
#: A volatility per session up to this is none. Books are kept to 1e-6, and the returns of a portfolio that stands still
#: swing by what that leaves of them; dividing by it would give it everything.
STILL = 1e-9


class Listed(Allocator):
    """Base of allocators that may be kept to some of the run's portfolios: ``only`` names them; empty: all."""

    only: tuple[str, ...] = ()

    def check(self) -> None:
        """Nobody is listed twice."""
        twice = sorted({name for name in self.only if self.only.count(name) > 1})
        if twice:
            raise ConfigError(f"'only' lists {', '.join(map(repr, twice))} more than once; list each portfolio once")

    def listed(self) -> Collection[str]:
        """The ids that the config names; none: all of the run."""
        return self.only

    def portfolios(self, offered: Sequence[str]) -> Sequence[str]:
        """The ids that the config names, or all."""
        return in_order(self.listed() or offered, offered)


class FromReturns(Listed):
    """Base of allocators that weigh by past returns.

    A portfolio with fewer than ``minimum`` returns among the last ``lookback`` sessions, or whose return never changes,
    cannot be weighed: it gets its base weight, which is that of an equal split, and the others share what is left.
    """

    lookback: Annotated[int, Ge(2)] = 60
    minimum: Annotated[int, Ge(2)] = 20

    def check(self) -> None:
        """So many returns must be able to be there."""
        super().check()
        if self.minimum > self.lookback:
            raise ConfigError(f"'minimum' was {self.minimum}, 'lookback' {self.lookback}; minimum must not be above it")

    def sessions(self) -> int:
        """The lookback."""
        return self.lookback

    def allocate(self, state: AllocationState) -> Floats:
        """Base weights; those that can be weighed share what theirs add up to."""
        returns = finite(state.returns[-self.lookback :])
        weights = self.base(state)
        known = self.known(returns)
        if known.any():
            weights[known] = np.add.reduce(weights[known]) * self.shares(state, returns[:, known], known)
        return money(weights, state.total)

    def base(self, state: AllocationState) -> Floats:
        """Weights ``(N,)``, together 1, of portfolios of which nothing is known."""
        return equal_weights(len(state.portfolios))

    def known(self, returns: Floats) -> Mask:
        """Which portfolios can be weighed, ``(N,)``, by returns ``(T, N)``."""
        return known_alone(returns, self.minimum)

    def shares(self, state: AllocationState, returns: Floats, known: Mask) -> Floats:
        """Of the ``M`` portfolios that can be weighed: shape ``(M,)``, each ≥ 0, together at most 1. Define this.

        Args:
            state: of all ``N``.
            returns: shape ``(T, M)``, theirs.
            known: shape ``(N,)``, which they are.
        """
        raise NotImplementedError(f"{type(self).__name__} must define shares(state, returns, known)")


def in_order(listed: Collection[str], offered: Sequence[str]) -> list[str]:
    """``listed`` in the order of ``offered``; then, for the engine to refuse, what is not on offer."""
    strangers = [name for name in listed if name not in offered]
    return [name for name in offered if name in listed] + strangers


def check_weights(owner: str, weights: Mapping[str, float]) -> None:
    """Fixed weights: at least one, together at most 1.

    Raises:
        ConfigError: names the sum.
    """
    if not weights:
        raise ConfigError(f"{owner}: 'weights' was empty; give at least one portfolio a weight, as in {{\"1\": 0.5}}")
    total = math.fsum(weights.values())
    if not total <= 1.0 + NOISE:
        raise ConfigError(
            f"{owner}: 'weights' add up to {total:.10g}; allowed: at most 1 (what is left stays in the master account)"
        )


def equal_weights(count: int) -> Floats:
    """1/N for each."""
    return np.full(count, 1.0 / max(count, 1))


def money(weights: Floats, total: float) -> Floats:
    """Target values of weights, which rounding may have taken a little over 1; 0 where there is nothing to give out."""
    return weights * (max(total, 0.0) / max(1.0, math.fsum(weights)))


def finite(returns: Floats) -> Floats:
    """A copy, with NaN for what is no number."""
    return np.where(np.isfinite(returns), returns, np.nan)


def complete(returns: Floats) -> Floats:
    """The rows that have every column."""
    return returns[~np.isnan(returns).any(axis=1)]


def centred(returns: Floats) -> Floats:
    """Returns ``(T, N)`` less the mean of their column; 0 in the place of NaN."""
    known = ~np.isnan(returns)
    # The order of a sum follows the layout in memory, and columns picked from a matrix come in another one.
    values = np.ascontiguousarray(np.where(known, returns, 0.0))
    means = np.add.reduce(values, axis=0) / np.maximum(np.count_nonzero(known, axis=0), 1)
    return np.where(known, values - means, 0.0)


def deviations(returns: Floats) -> Floats:
    """Sample standard deviation (ddof 1) per column of what is not NaN, summed in a fixed order; 0 for fewer than two.

    Args:
        returns: shape ``(T, N)``.

    Returns:
        shape ``(N,)``.
    """
    degrees = np.count_nonzero(~np.isnan(returns), axis=0) - 1
    variances: Floats = np.add.reduce(centred(returns) ** 2, axis=0) / np.maximum(degrees, 1)
    return np.sqrt(variances)


def moves(returns: Floats) -> Mask:
    """Which columns have a volatility at all, ``(N,)``."""
    return np.asarray(deviations(returns) > STILL)


def known_alone(returns: Floats, minimum: int) -> Mask:
    """Which columns have ``minimum`` returns, and returns that change."""
    return np.asarray(np.count_nonzero(~np.isnan(returns), axis=0) >= minimum) & moves(returns)


def known_together(returns: Floats, minimum: int) -> Mask:
    """Which columns have ``minimum`` rows in common, and returns that change in them.

    Where the rows are too few, the columns with the fewest returns leave first, all of them that tie, so that the
    order of columns decides nothing.
    """
    known = known_alone(returns, minimum)
    counts = np.count_nonzero(~np.isnan(returns), axis=0)
    while known.any():
        window = complete(returns[:, known])
        fewest = counts[known] == counts[known].min()
        leaving = fewest if len(window) < minimum else ~moves(window)
        if not leaving.any():
            break
        known[np.flatnonzero(known)[leaving]] = False
    return known
