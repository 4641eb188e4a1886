"""Equal contributions to risk."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Annotated

import numpy as np

from framework import AllocationError, AllocationState, Allocator, ConfigError, Floats, Ge, Gt, Le, hookimpl

from . import _shared

#: How far a contribution to risk may be from its budget, as a fraction of it.
PRECISION = 1e-10
#: Sweeps over all portfolios after which the search is given up; ten or so are enough where nothing nearly cancels.
SWEEPS = 10_000


class RiskParity(_shared.FromReturns):
    """Each portfolio contributes the same to the variance of all together, or as ``budgets`` say.

    The covariance is that of the last ``lookback`` sessions in which all portfolios have returns, with correlations
    shrunk towards 0 by the fraction ``shrinkage``. ``budgets`` are shares of risk by portfolio id, in any unit; they
    then list the portfolios. Otherwise ``only`` does; empty: all of the run. A portfolio with fewer than ``minimum``
    returns, or without volatility, gets its share of the budgets (1/N) as weight, and the others share what is left.
    """

    shrinkage: Annotated[float, Ge(0), Le(1)] = 0.1
    budgets: dict[str, Annotated[float, Gt(0)]] = {}  # noqa: RUF012  # the default of a parameter; each object gets its own

    def check(self) -> None:
        """Either budgets or a list."""
        super().check()
        if self.budgets and self.only:
            raise ConfigError("risk_parity: 'budgets' list the portfolios already; leave out 'only'")
        if not math.isfinite(math.fsum(self.budgets.values())):
            raise ConfigError(f"risk_parity: 'budgets' were {self.budgets}; allowed: finite numbers above 0")

    def listed(self) -> Collection[str]:
        """Those with a budget."""
        return self.budgets or self.only

    def base(self, state: AllocationState) -> Floats:
        """The budgets, together 1."""
        if not self.budgets:
            return super().base(state)
        budgets = np.array([self.budgets[name] for name in state.portfolios])
        return budgets / float(np.add.reduce(budgets))

    def known(self, returns: Floats) -> _shared.Mask:
        """Those with enough sessions in common."""
        return _shared.known_together(returns, self.minimum)

    def shares(self, state: AllocationState, returns: Floats, known: _shared.Mask) -> Floats:
        """x ∝ y/σ, y the solution for the correlations."""
        window = _shared.complete(returns)
        sigma = _shared.deviations(window)
        budgets = self.base(state)[known]
        scaled = _solve(_correlations(window, sigma, self.shrinkage), budgets / np.add.reduce(budgets))
        weights: Floats = scaled * (sigma.min() / sigma)
        return weights / float(np.add.reduce(weights))


def _correlations(returns: Floats, sigma: Floats, shrinkage: float) -> Floats:
    """Sample correlations ``(M, M)`` of returns ``(T, M)``, those between different columns × (1 − shrinkage).

    Summed row by row, not by a matrix product: a BLAS gives other bits on another machine.
    """
    values = _shared.centred(returns) / sigma
    sums = [np.add.reduce(values * column[:, None], axis=0) for column in values.T]
    correlations = np.array(sums) * ((1.0 - shrinkage) / (len(values) - 1))
    np.fill_diagonal(correlations, 1.0)
    return correlations


def _solve(correlations: Floats, budgets: Floats) -> Floats:
    """The y > 0 with y_i (C y)_i = b_i: the least of ½ y'Cy − Σ b_i ln y_i (Spinu 2013), which is strictly convex.

    By cyclical coordinate descent (Griveau-Billion, Richard, Roncalli 2013, arXiv:1311.4057), on correlations and with
    a rescaling after each sweep (Choi, Chen 2022, arXiv:2203.00148). Each step solves one equation for its y_i, the
    others held: y_i² + p_i y_i = b_i with p_i = Σ_{j≠i} C_ij y_j, so y_i = (√(p_i² + 4 b_i) − p_i) / 2. The rescaling,
    y / √(y'Cy), is the best step along the ray through y. Both only go down, so it converges.

    Args:
        correlations: C, shape ``(M, M)``, 1 on the diagonal.
        budgets: b, shape ``(M,)``, each > 0, together 1.

    Raises:
        AllocationError: it did not come near enough: C is singular, or almost.
    """
    y = np.sqrt(budgets)
    for _ in range(SWEEPS):
        for i, budget in enumerate(budgets.tolist()):
            pull = float(np.add.reduce(correlations[i] * y) - y[i])
            root = math.sqrt(pull * pull + 4.0 * budget)
            # The same root, written so that nothing cancels.
            y[i] = 2.0 * budget / (root + pull) if pull > 0.0 else (root - pull) / 2.0
        risk = y * np.add.reduce(correlations * y, axis=1)
        variance = float(np.add.reduce(risk))
        if not variance > 0.0:
            break
        y /= math.sqrt(variance)
        if np.abs(risk / (variance * budgets) - 1.0).max() <= PRECISION:
            return y
    raise AllocationError(
        f"risk_parity: no weights of these {len(budgets)} portfolios give each its share of the risk: their returns "
        f"nearly cancel out, or there are fewer sessions than portfolios; raise 'shrinkage' (to 0.1) or 'lookback'"
    )


@hookimpl
def register_allocators() -> dict[str, type[Allocator]]:
    """``risk_parity``."""
    return {"risk_parity": RiskParity}
