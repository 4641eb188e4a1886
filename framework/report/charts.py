"""What the tear sheet's charts and trade table show, as plain data for the page's script."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats, Times
from framework.report import metrics
from framework.report.account import Account, Accounts, Curve
from framework.report.align import by_row
from framework.report.csv_set import WINDOWS
from framework.report.fills import Fills

#: Most bars that are drawn one by one; longer runs are drawn by sessions.
BARS_DRAWN = 4_000

#: Most trades that the page carries; the rest is in ``trades.csv``.
TRADES_SHOWN = 50_000


#: Most bars of a histogram.
BINS_MOST = 60

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
        "net": None if (curve.net == curve.gross).all() else _rounded(_share(curve.net, curve.equity)[rows], 4),
        "years": _years(account),
        "rolling": _rolling(account),
        "distribution": distribution(account),
        "turnover": monthly_turnover(account),
        "costs": _costs(account, rows),
        "slippage": _slippage(account.fills),
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
            # As many digits as are shown: these series are half of a page's data.
            "return": _rounded(figures.total_return, 3),
            "volatility": _rounded(figures.volatility, 3),
            "sharpe": _rounded(figures.sharpe, 2),
        }
    return {"date": account.curve.sessions.astype(str).tolist(), "windows": windows}


def distribution(account: Account) -> dict[str, Any]:
    """How often sessions returned how much: share of the sessions in each bin; the outer bins hold all beyond them."""
    returns = account.curve.returns[np.isfinite(account.curve.returns)]
    edges = bins(returns)
    theirs = None if account.benchmark is None else account.benchmark.returns
    return {
        "x": _rounded((edges[:-1] + edges[1:]) / 2, 6),
        "width": float(edges[1] - edges[0]),
        "own": _rounded(_shares(returns, edges), 5),
        "benchmark": None if theirs is None else _rounded(_shares(theirs[np.isfinite(theirs)], edges), 5),
    }


def bins(values: Floats) -> Floats:
    """Edges of equal bins, 0 among them, from about the lowest to the highest of all but the wildest hundredth.

    The bins are as wide as Freedman and Diaconis say (2 × interquartile range ÷ ∛n), but at most ``BINS_MOST`` many.
    """
    if len(values) == 0:
        return np.array([-0.5, 0.5])
    low, high = np.quantile(values, (0.005, 0.995))
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    first, third = np.quantile(values, (0.25, 0.75))
    width = max(2 * float(third - first) / len(values) ** (1 / 3), (high - low) / BINS_MOST)
    if not width > 0.0:
        width = max(abs(low), abs(high)) or 1.0
    edges: Floats = np.arange(np.floor(low / width), np.ceil(high / width) + 1) * width
    return edges if len(edges) > 1 else np.array([-width, 0.0, width])


def _shares(values: Floats, edges: Floats, weights: Floats | None = None) -> Floats:
    """Share of the values (of their weights) in each bin; what lies beyond the edges counts to the outer bins."""
    middles = (edges[:-1] + edges[1:]) / 2
    counts, _ = np.histogram(np.clip(values, middles[0], middles[-1]), edges, weights=weights)
    whole = float(counts.sum())
    shares: Floats = counts / whole if whole > 0 else counts.astype(np.float64)
    return shares


def monthly_turnover(account: Account) -> dict[str, Any]:
    """Notional traded in each month ÷ mean equity of that month."""
    curve, fills = account.curve, account.fills
    months = curve.session.astype("datetime64[M]")
    known, number = np.unique(months, return_inverse=True)
    mean = np.bincount(number, weights=curve.equity) / np.bincount(number)
    row = np.minimum(np.searchsorted(curve.timestamps, fills.bar), len(curve) - 1)
    traded: Floats = np.bincount(number[row], weights=fills.notional, minlength=len(known)).astype(np.float64)
    return {"month": known.astype(str).tolist(), "value": _rounded(_share(traded, mean), 4)}


def _costs(account: Account, rows: NDArray[np.intp]) -> dict[str, Any]:
    """What fees and slippage had come to at each of the drawn rows, money."""
    curve, fills = account.curve, account.fills
    row = np.searchsorted(curve.timestamps, fills.bar)
    fees = by_row(fills.fees, row, len(curve))
    slipped = by_row(fills.slippage, row, len(curve))
    return {"fees": _rounded(np.cumsum(fees)[rows], 2), "slippage": _rounded(np.cumsum(slipped)[rows], 2)}


def _slippage(fills: Fills) -> dict[str, Any] | None:
    """Share of the notional that traded so many basis points worse than on arrival; ``None``: no arrival is known."""
    known = np.isfinite(fills.slippage_bps)
    if not known.any():
        return None
    values, weights = fills.slippage_bps[known], fills.notional[known]
    edges = bins(values)
    return {
        "x": _rounded((edges[:-1] + edges[1:]) / 2, 4),
        "width": float(edges[1] - edges[0]),
        "share": _rounded(_shares(values, edges, weights), 5),
    }


def _share(part: Floats, whole: Floats) -> Floats:
    share = np.full(len(whole), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


def _times(times: Times) -> list[str]:
    dates = times.astype("datetime64[D]")
    exact = dates if (dates == times).all() else times.astype("datetime64[s]")
    return [str(time) for time in exact.astype(str).tolist()]


def _steps(times: Times) -> list[int]:
    """NaT, which is no time, as 0 seconds since 1970."""
    seconds = np.where(np.isnat(times), np.datetime64(0, "s"), times.astype("datetime64[s]")).astype(np.int64)
    steps: list[int] = np.diff(seconds, prepend=0).tolist()
    return steps


def _rounded(values: Floats, digits: int) -> list[float | None]:
    """Plain numbers, whole ones as integers (shorter as text); ``None`` for what is not finite."""
    shown = (np.round(values, digits) + 0.0).tolist()
    return [None if not isfinite(v) else int(v) if v.is_integer() else v for v in shown]
