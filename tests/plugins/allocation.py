"""States for allocators: read-only, as the engine hands them over."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from framework import AllocationState
from framework.plugin_manager import PluginManager

MANAGER = PluginManager.load()
NAN = float("nan")


def frozen(values):
    array = np.array(values)
    array.flags.writeable = False
    return array


def state(returns, total=1000.0, equity=None, portfolios=None):
    """Of as many portfolios as ``returns`` has columns; ``1``, ``2`` … unless they are named."""
    returns = np.asarray(returns, dtype=float)
    count = returns.shape[1]
    equity = np.full(count, total / (count + 1)) if equity is None else np.asarray(equity, dtype=float)
    names = tuple(str(number + 1) for number in range(count)) if portfolios is None else tuple(portfolios)
    return AllocationState(
        time=datetime(2024, 5, 3, 20, 0, tzinfo=UTC),
        portfolios=names,
        equity=frozen(equity),
        cash=frozen(equity),
        master_cash=total - float(equity.sum()),
        total=total,
        returns=frozen(returns),
        floors=frozen(np.zeros(count)),
        caps=frozen(np.ones(count)),
        halted=frozen(np.zeros(count, dtype=np.bool_)),
    )


def make(name, **params):
    return MANAGER.create("allocator", name, params)


def weights(name, returns, **params):
    """What each portfolio gets of a total of 1."""
    return make(name, **params).allocate(state(returns, total=1.0))


def returns_with(covariance, rows=60, seed=7):
    """Returns ``(rows, N)`` whose sample covariance is exactly this, but for rounding."""
    drawn = np.random.default_rng(seed).normal(size=(rows, len(covariance)))
    drawn -= drawn.mean(axis=0)
    whitened = drawn @ np.linalg.inv(np.linalg.cholesky(np.cov(drawn, rowvar=False))).T
    return whitened @ np.linalg.cholesky(np.asarray(covariance)).T


def covariance_of(sigma, correlation):
    """With the same correlation between any two, or with a matrix of them."""
    sigma = np.asarray(sigma, dtype=float)
    matrix = np.full((len(sigma), len(sigma)), correlation) if np.isscalar(correlation) else np.array(correlation)
    np.fill_diagonal(matrix, 1.0)
    return matrix * np.outer(sigma, sigma)
