"""What the tear sheet's charts and trade table show, as plain data for the page's script."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats, Times
from framework.report import metrics
from framework.report.account import TOTAL, Account, Accounts, Fills
from framework.report.csv_set import WINDOWS

#: Most bars that are drawn one by one; longer runs are drawn by sessions.
BARS_DRAWN = 4_000

#: Most trades that the page carries; the rest is in ``trades.csv``.
TRADES_SHOWN = 50_000


def page_data(made: Accounts) -> dict[str, Any]:
    """Everything the page's script needs. Accounts are listed total first, without the total where it is alone."""
    fills = made.total.fills
    latest = np.arange(max(0, len(fills) - TRADES_SHOWN), len(fills))
    return {
        "accounts": [account_charts(account) for account in shown(made)],
        "trades": trade_columns(fills.take(latest)),
        "tickers": made.total.names,
        "portfolios": made.total.portfolios,
    }


def shown(made: Accounts) -> tuple[Account, ...]:
    """The accounts that get a page of their own: a single portfolio needs no total beside it."""
    return made.portfolios if len(made.portfolios) == 1 else (made.total, *made.portfolios)


def account_charts(account: Account) -> dict[str, Any]:
    """The series of one account's charts, as lists of equal length."""
    curve, rows = account.curve, drawn_rows(account)
    benchmark = account.benchmark
    return {
        "name": "All portfolios" if account.name == TOTAL else "Portfolio",
        "time": _times(curve.timestamps[rows]),
        "equity": _rounded(curve.equity[rows], 2),
        "benchmark": None if benchmark is None else _rounded(benchmark.equity[rows], 2),
        "drawdown": _rounded(curve.drawdown[rows], 5),
        "benchmark_drawdown": None if benchmark is None else _rounded(benchmark.drawdown[rows], 5),
        "gross": _rounded(_share(curve.gross, curve.equity)[rows], 4),
        "net": _rounded(_share(curve.net, curve.equity)[rows], 4),
        "years": _years(account),
        "rolling": _rolling(account),
    }


def drawn_rows(account: Account) -> NDArray[np.intp]:
    """Bars that are drawn: all, or the last of each session, or (few long sessions) evenly spaced ones."""
    curve = account.curve
    if len(curve) <= BARS_DRAWN:
        return np.arange(len(curve))
    if len(curve.ends) >= BARS_DRAWN // 10:
        return curve.ends
    return np.unique(np.linspace(0, len(curve) - 1, BARS_DRAWN).astype(np.intp))


def trade_columns(fills: Fills) -> dict[str, list[Any]]:
    """The trades as columns; times as seconds since 1970, each as the step from the one before."""
    return {
        "id": np.diff(fills.id, prepend=0).tolist(),
        "portfolio": fills.portfolio.tolist(),
        "ticker": fills.ticker.tolist(),
        "executed": _steps(fills.executed),
        "decided": _steps(fills.decided),
        "quantity": _rounded(fills.quantity, 9),
        "price": _rounded(fills.price, 4),
        "notional": _rounded(fills.notional, 2),
        "fees": _rounded(fills.fees, 2),
        "slippage": _rounded(fills.slippage_bps, 1),
    }


def _years(account: Account) -> dict[str, Any]:
    years, own = metrics.compounded(account.curve.sessions, account.curve.returns, "Y")
    theirs = None
    if account.benchmark is not None:
        theirs = _rounded(metrics.compounded(account.curve.sessions, account.benchmark.returns, "Y")[1], 5)
    return {"year": years.astype(str).tolist(), "return": _rounded(own, 5), "benchmark": theirs}


def _rolling(account: Account) -> dict[str, Any]:
    windows = {}
    for window in WINDOWS:
        figures = metrics.rolling(account.curve.returns, window, account.curve.sessions_per_year)
        windows[str(window)] = {
            "return": _rounded(figures.total_return, 4),
            "volatility": _rounded(figures.volatility, 4),
            "sharpe": _rounded(figures.sharpe, 3),
        }
    return {"date": account.curve.sessions.astype(str).tolist(), "windows": windows}


def _share(part: Floats, whole: Floats) -> Floats:
    share = np.full(len(whole), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


def _times(times: Times) -> list[str]:
    dates = times.astype("datetime64[D]")
    exact = dates if (dates == times).all() else times.astype("datetime64[s]")
    return [str(time) for time in exact.astype(str).tolist()]


def _steps(times: Times) -> list[int]:
    steps: list[int] = np.diff(times.astype("datetime64[s]").astype(np.int64), prepend=0).tolist()
    return steps


def _rounded(values: Floats, digits: int) -> list[float | None]:
    """Plain numbers, whole ones as integers (shorter as text); ``None`` for NaN."""
    shown = (np.round(values, digits) + 0.0).tolist()
    return [None if v != v else int(v) if v.is_integer() else v for v in shown]
