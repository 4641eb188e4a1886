"""What the tear sheet's charts and trade table show, as plain data for the page's script."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats, Times
from framework.report import metrics
from framework.report.account import Account, Accounts, Curve, Fills
from framework.report.csv_set import WINDOWS

#: Most bars that are drawn one by one; longer runs are drawn by sessions.
BARS_DRAWN = 4_000

#: Most trades that the page carries; the rest is in ``trades.csv``.
TRADES_SHOWN = 50_000


#: Most portfolios that are drawn one by one; the smaller ones are drawn as one.
PARTS_DRAWN = 8


def page_data(made: Accounts) -> dict[str, Any]:
    """Everything the page's script needs. Accounts are listed total first, without the total where it is alone."""
    fills = made.total.fills
    latest = np.arange(max(0, len(fills) - TRADES_SHOWN), len(fills))
    charts = [account_charts(account) for account in shown(made)]
    charts[0]["parts"] = None if made.is_single else part_charts(made)
    return {
        "accounts": charts,
        "trades": trade_columns(fills.take(latest)),
        "tickers": made.total.names,
        "portfolios": made.total.portfolios,
    }


def shown(made: Accounts) -> tuple[Account, ...]:
    """The accounts that get a page of their own: a portfolio that is alone needs no total beside it."""
    return made.portfolios if made.is_single else (made.total, *made.portfolios)


def account_charts(account: Account) -> dict[str, Any]:
    """The series of one account's charts, as lists of equal length."""
    curve, rows = account.curve, drawn_rows(account)
    benchmark, worth = account.benchmark, account.benchmark_equity
    return {
        "name": "All portfolios" if account.is_total else "Portfolio",
        "time": _times(curve.timestamps[rows]),
        "equity": _rounded(curve.equity[rows], 2),
        "benchmark": None if worth is None else _rounded(worth[rows], 2),
        "put_in": _rounded(put_in(curve)[rows], 2) if curve.flows.any() else None,
        "marks": marks(account, rows),
        "drawdown": _rounded(curve.drawdown[rows], 5),
        "benchmark_drawdown": None if benchmark is None else _rounded(benchmark.drawdown[rows], 5),
        "gross": _rounded(_share(curve.gross, curve.equity)[rows], 4),
        "net": _rounded(_share(curve.net, curve.equity)[rows], 4),
        "years": _years(account),
        "rolling": _rolling(account),
    }


def put_in(curve: Curve) -> Floats:
    """All the money that was put in by each bar, less what was taken out, shape ``(T,)``: above it is profit."""
    return curve.opening + np.cumsum(curve.flows)


def marks(account: Account, rows: NDArray[np.intp]) -> dict[str, list[Any]]:
    """Deposits and withdrawals on the curve: which of the drawn rows first holds them, and their sum there."""
    moved = account.flows.take(~account.flows.of("transfer"))
    places, number = np.unique(np.searchsorted(rows, moved.row), return_inverse=True)
    amounts = np.zeros(len(places))
    np.add.at(amounts, number, moved.amount)
    return {"place": places.tolist(), "amount": _rounded(amounts, 2)}


def part_charts(made: Accounts) -> list[dict[str, Any]]:
    """What the total is made of at its drawn rows: the largest portfolios, all others as one, the master's cash."""
    rows = drawn_rows(made.total)
    size = [float(np.mean(np.nan_to_num(np.abs(curve.equity), posinf=0.0))) for curve in made.parts]
    largest = sorted(np.argsort(size)[::-1][:PARTS_DRAWN].tolist())
    drawn = [{"name": made.portfolios[i].name, "values": _rounded(made.parts[i].equity[rows], 2)} for i in largest]
    others = [curve.equity for i, curve in enumerate(made.parts) if i not in largest]
    if others:
        drawn.append({"name": f"{len(others)} others", "values": _rounded(np.sum(others, axis=0)[rows], 2)})
    if made.master is not None:
        drawn.append({"name": "Master, cash", "values": _rounded(made.master.cash[rows], 2), "is_cash": True})
    return drawn


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
