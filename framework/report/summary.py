"""``summary.json``: what a script reads of a run."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from framework.model.master import MASTER
from framework.model.result import RunResult
from framework.report.account import Account, Accounts, Movements
from framework.report.assemble import accounts
from framework.report.basis import Basis, basis_of


def summary(run: RunResult, made: Accounts | None = None) -> dict[str, Any]:
    """The run in numbers, ready for JSON: keys in a fixed order, ``None`` for what is undefined, never NaN.

    Args:
        run: of the engine.
        made: its accounts, where the caller has them already.

    Returns:
        ``total`` and, under ``portfolios``, each portfolio by id, with the same keys; then ``master``, the cash account
        of an allocator (``None`` without one), and what applies to all.
    """
    made, basis = made or accounts(run), basis_of(run)

    def told(account: Account) -> dict[str, Any]:
        return section(account, made, basis) | performance(account, run.load_seconds)

    numbers: dict[str, Any] = finite(
        {
            "name": run.name,
            "total": told(made.total),
            "portfolios": {account.name: told(account) for account in made.portfolios},
            "master": _master(made),
            **grounds(basis),
        }
    )
    return numbers


def grounds(basis: Basis) -> dict[str, Any]:
    """What applies to all: where the numbers come from."""
    return {
        "prices": basis.prices,
        "fill": basis.fills,
        "costs": basis.costs,
        "notes": list(basis.notes),
        "fingerprint": basis.data,
        "versions": dict(basis.versions),
        "config": dict(basis.config),
    }


def performance(account: Account, load_seconds: float) -> dict[str, Any]:
    """How fast it was simulated."""
    seconds = account.simulation_seconds
    return {
        "engine_seconds": seconds,
        "load_seconds": load_seconds,
        "rows_per_second": account.cells / seconds if seconds > 0 else None,
    }


def section(account: Account, made: Accounts, basis: Basis) -> dict[str, Any]:
    """The figures of one portfolio or of the total.

    ``initial_equity`` + ``net_flows`` (deposits − withdrawals) + ``transfers`` + ``profit`` = ``final_equity``. Money
    that was booked after the last value is in none of them; ``flows_after_end`` says how much that was.
    ``dividends``, received less owed, are part of the profit; ``splits`` counts those of positions.
    """
    curve = account.curve
    return {
        "strategy": ", ".join(account.strategies),
        "currency": account.currency,
        "start": str(curve.sessions[0]),
        "end": str(curve.sessions[-1]),
        "bars": len(curve),
        "sessions": len(curve.sessions),
        "sessions_per_year": curve.sessions_per_year,
        "tickers": len(account.tickers),
        "trades": len(account.fills),
        "initial_equity": curve.opening,
        "final_equity": round(float(curve.equity[-1]), 6),
        **flows(account),
        "profit": curve.profit,
        **asdict(curve.figures),
        "money_weighted_return": account.money_weighted_return,
        "turnover": account.turnover,
        "fees": account.fees,
        "dividends": account.actions.dividends,
        "splits": account.actions.splits,
        "exposure": account.exposure,
        "benchmark": _benchmark(account),
        "risk": asdict(account.shape),
        "against_benchmark": None if account.relative is None else asdict(account.relative),
        "lots": None if account.lots.stats is None else asdict(account.lots.stats),
        "allocations": _allocations(account, made),
        "prices": basis.prices,
        "fill": basis.fills,
        "costs": basis.costs,
        "trimmed_fills": account.trimmed_fills,
        "trimmed_notional": round(account.trimmed_notional, 6),
        "stale_closes": account.stale_closes,
        "unfilled": account.lapsed.by_reason(),
    }


def flows(account: Account) -> dict[str, float]:
    """Money that came and went, for ``summary.json``; withdrawals are ≥ 0, transfers net: in is positive.

    Deposits are with what adopted positions had cost.
    """
    moved, late = account.flows, account.outside.take(account.outside.row >= len(account.curve))
    return {**_gross(moved), "transfers": moved.sum("transfer"), "flows_after_end": late.sum()}


def _gross(moved: Movements) -> dict[str, float]:
    deposits, withdrawals = moved.sum("deposit", "adopt"), 0.0 - moved.sum("withdrawal")
    return {"deposits": deposits, "withdrawals": withdrawals, "net_flows": round(deposits - withdrawals, 6)}


def _benchmark(account: Account) -> dict[str, Any] | None:
    """Figures of the benchmark itself, and what the account's money would be worth in it."""
    if account.benchmark is None or account.benchmark_equity is None:
        return None
    return {
        "final_equity": round(float(account.benchmark_equity[-1]), 6),
        **asdict(account.benchmark.figures),
        "money_weighted_return": account.benchmark_money_weighted_return,
    }


def _allocations(account: Account, made: Accounts) -> dict[str, Any] | None:
    """How many there were (of a portfolio: with it), what they moved, and Σ of what was short; None: no allocator."""
    if made.master is None:
        return None
    whose = account.portfolios if account.is_total else (account.name,)
    listed = [np.isin(each.portfolios, whose) for each in made.allocations]
    every = [(each, own) for each, own in zip(made.allocations, listed, strict=True) if own.any()]
    return {
        "count": len(every),
        "moved": round(float(sum(np.abs(each.transfer[own]).sum() for each, own in every)), 6),
        "shortfall": round(float(sum(each.shortfall[own].sum() for each, own in every)), 6),
    }


def _master(made: Accounts) -> dict[str, Any] | None:
    """The master account up to the total's last value: opening_cash + net_flows + transfers = final_cash."""
    if made.master is None:
        return None
    curve = made.master
    own = made.total.movements.of_portfolio(MASTER)
    outside = _gross(own.take((own.row < len(curve)) & ~own.of("transfer")))
    came = float(np.sum(curve.flows))
    return {
        "opening_cash": curve.opening,
        **outside,
        "transfers": round(came - outside["net_flows"], 6),
        "final_cash": round(float(curve.cash[-1]), 6),
        "flows_after_end": round(own.sum() - came, 6),
    }


def finite(value: Any) -> Any:
    """A copy that JSON can hold: NaN and infinity become ``None``, NumPy values plain ones, other things text."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, np.generic):
        return finite(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
