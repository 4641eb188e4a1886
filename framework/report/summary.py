"""``summary.json``: what a script reads of a run."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from framework.model.result import RunResult
from framework.report.account import Account, Accounts, Curve
from framework.report.assemble import accounts


def summary(run: RunResult, made: Accounts | None = None) -> dict[str, Any]:
    """The run in numbers, ready for JSON: keys in a fixed order, ``None`` for what is undefined, never NaN.

    Args:
        run: of the engine.
        made: its accounts, where the caller has them already.

    Returns:
        ``total`` and, under ``portfolios``, each portfolio by id, with the same keys; then what applies to all.
    """
    made = made or accounts(run)
    numbers: dict[str, Any] = finite(
        {
            "name": run.name,
            "total": section(made.total, run),
            "portfolios": {account.name: section(account, run) for account in made.portfolios},
            "prices": run.prices,
            "fill": run.fill,
            "costs": run.costs,
            "notes": list(run.notes),
            "fingerprint": run.fingerprint,
            "versions": run.versions,
            "config": run.config,
        }
    )
    return numbers


def section(account: Account, run: RunResult) -> dict[str, Any]:
    """The figures of one portfolio or of the total."""
    curve = account.curve
    seconds = account.simulation_seconds
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
        **asdict(curve.figures),
        "turnover": account.turnover,
        "fees": account.fees,
        "exposure": account.exposure,
        "benchmark": _benchmark(account.benchmark),
        "prices": run.prices,
        "fill": run.fill,
        "trimmed_fills": account.trimmed_fills,
        "trimmed_notional": round(account.trimmed_notional, 6),
        "stale_closes": account.stale_closes,
        "unfilled": account.lapsed.by_reason(),
        "engine_seconds": seconds,
        "load_seconds": run.load_seconds,
        "rows_per_second": account.cells / seconds if seconds > 0 else None,
    }


def _benchmark(curve: Curve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    return {"final_equity": round(float(curve.equity[-1]), 6), **asdict(curve.figures)}


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
