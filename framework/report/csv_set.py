"""The CSV files that a run leaves, for a portfolio or for the total.

Every number can be recomputed from ``trades.csv`` and the bars. All files are the same, byte for byte, when the same
config runs again on the same data and version.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from framework.model.timeline import stamp
from framework.report import metrics
from framework.report.account import Account, Accounts
from framework.report.tables import (
    Column,
    date,
    exact,
    integer,
    moment,
    money,
    one_of,
    quantity,
    ratio,
    text,
    write_table,
)

#: Windows of ``rolling.csv``, sessions.
WINDOWS = (30, 90, 180)


def equity(account: Account) -> list[Column]:
    """``equity.csv``: value at each bar's close; drawdown of the return index, a fraction ≤ 0.

    ``flow`` is the money that came in (negative: went out) since the row before, and is in this row's equity: a row's
    return is equity ÷ (equity of the row before + flow) − 1. Transfers are flows of a portfolio, not of the total.
    """
    curve = account.curve
    return [
        Column("timestamp", curve.timestamps, moment),
        Column("equity", curve.equity, money),
        Column("cash", curve.cash, money),
        Column("gross", curve.gross, money),
        Column("net", curve.net, money),
        Column("drawdown", curve.drawdown, ratio),
        Column("flow", curve.flows, money),
    ]


def flows(account: Account) -> list[Column]:
    """``flows.csv``: every movement of money; in is positive, ``0`` is the master account.

    Of the total both sides of a transfer are here, so that amounts of transfers add up to 0. What was booked after the
    last value is here, too, and in no figure and no row of ``equity.csv``.
    """
    moved = account.movements
    return [
        Column("timestamp", moved.at, moment),
        Column("portfolio_id", np.array(moved.portfolio, dtype=object), text),
        Column("kind", np.array(moved.kind, dtype=object), text),
        Column("amount", moved.amount, money),
        Column("reference", np.array(moved.reference, dtype=object), text),
    ]


def trades(account: Account) -> list[Column]:
    """``trades.csv``: the columns of ``trade_execution_logs``, and the bar decided on.

    ``exec_timestamp`` is the open of the bar it filled in, ``decision_bar`` the label of the bar decided on;
    ``slippage_bps`` is positive where the fill was worse than ``arrival_price``. Prices and ``notional_local`` are in
    ``currency``; ``notional``, ``notional_local`` × ``fx_rate``, and fees are in the account's.
    A simulated order has no ``order_id``, and a trade no ``for_ticker``: these stay empty.
    """
    fills = account.fills
    if fills.execution_id is None or fills.order_id is None:
        execution = Column("execution_id", fills.id, lambda ids: [f"sim-{number}" for number in ids.tolist()])
        order = Column("order_id", np.zeros(len(fills), dtype=np.int64), one_of(("",)))
    else:
        execution = Column("execution_id", fills.execution_id, text)
        order = Column("order_id", fills.order_id, text)
    same = np.zeros(len(fills), dtype=np.int64)
    size = np.abs(fills.quantity)
    portfolio, ticker = one_of(account.portfolios), one_of(account.names)
    return [
        Column("id", fills.id, integer),
        Column("portfolio_id", fills.portfolio, portfolio),
        Column("ticker", fills.ticker, ticker),
        Column("exec_timestamp", fills.executed, moment),
        Column("side", (fills.quantity < 0).astype(np.int64), one_of(("BUY", "SELL"))),
        Column("quantity", size, quantity),
        Column("arrival_price", fills.arrival_price, money),
        Column("exec_price", fills.price, money),
        Column("slippage_bps", fills.slippage_bps, money),
        Column("notional", fills.notional, money),
        Column("notional_local", fills.notional_local, money),
        Column("currency", fills.ticker, one_of(account.currencies)),
        Column("fx_rate", fills.fx_rate, exact),
        Column("kind", same, one_of(("trade",))),
        Column("fees", fills.fees, money),
        execution,
        order,
        Column("for_ticker", same, one_of(("",))),
        Column("decision_price", fills.decision_price, money),
        Column("decision_bar", fills.decided, moment),
    ]


def positions(account: Account) -> list[Column]:
    """``positions.csv``: what is held after each bar in which it changed, by fills or a split; price is its close.

    The price is in the ticker's currency, the value in the account's.
    """
    found = account.changes
    return [
        Column("timestamp", found.bar, moment),
        Column("ticker", found.ticker, one_of(account.names)),
        Column("quantity", found.quantity, quantity),
        Column("price", found.price, money),
        Column("value", found.quantity * found.price * found.rate, money),
    ]


def actions(account: Account) -> list[Column]:
    """``actions.csv``: splits and dividends of what was held, and renames (a row for either name).

    ``timestamp`` is the open of the bar, before anything filled there. ``value`` is new shares per old one, or money
    per share in the ticker's currency, empty where that is not known; ``held`` are signed shares before it, ``change``
    those that it brought, ``cash`` is money that it brought, in the account's currency, negative where it was owed.
    """
    found = account.actions
    return [
        Column("timestamp", found.at, moment),
        Column("portfolio_id", found.portfolio, one_of(account.portfolios)),
        Column("ticker", found.ticker, text),
        Column("kind", found.kind, text),
        Column("value", found.value, quantity),
        Column("held", found.held, quantity),
        Column("change", found.change, quantity),
        Column("cash", found.cash, money),
    ]


def lots(account: Account) -> list[Column]:
    """``lots.csv``: FIFO lots, the closed ones in the order of closing, then those that are held (``closed`` is empty).

    ``cost`` and ``value`` are in the account's currency, with the sign of ``quantity`` and without fees; ``value`` is
    what closing brought, or the worth at the last close; ``profit`` is value − cost, ``days`` the time between.
    """
    own = account.lots
    days = np.where(own.is_closed, (own.closed - own.opened) / np.timedelta64(1, "D"), np.nan)
    return [
        Column("portfolio_id", own.portfolio, one_of(account.portfolios)),
        Column("ticker", own.ticker, one_of(account.names)),
        Column("opened", own.opened, moment),
        Column("closed", own.closed, moment),
        Column("quantity", own.quantity, quantity),
        Column("cost", own.cost, money),
        Column("value", own.value, money),
        Column("profit", own.profit, money),
        Column("days", days, money),
    ]


def returns_monthly(account: Account) -> list[Column]:
    """``returns_monthly.csv``: compounded return of each calendar month, a fraction."""
    months, returns = metrics.compounded(account.curve.sessions, account.curve.returns, "M")
    return [Column("month", months, date), Column("return", returns, ratio)]


def rolling(account: Account) -> list[Column]:
    """``rolling.csv``: figures of the last 30, 90 and 180 sessions; empty until the window is full."""
    columns = [Column("date", account.curve.sessions, date)]
    for window in WINDOWS:
        figures = metrics.rolling(account.curve.returns, window, account.curve.sessions_per_year)
        columns += [
            Column(f"return_{window}", figures.total_return, ratio),
            Column(f"volatility_{window}", figures.volatility, ratio),
            Column(f"sharpe_{window}", figures.sharpe, ratio),
        ]
    return columns


def risk(account: Account) -> list[Column]:
    """``risk.csv``: annualised volatility of each ticker's session returns, and their correlations."""
    returns = metrics.price_returns(account.closes)
    volatility = metrics.column_volatility(returns, account.curve.sessions_per_year)
    related = metrics.correlation(returns)
    return [
        Column("ticker", np.arange(len(account.tickers)), one_of(account.tickers)),
        Column("volatility", volatility, ratio),
        *(Column(f"corr_{ticker}", related[:, i], ratio) for i, ticker in enumerate(account.tickers)),
    ]


def benchmark(account: Account) -> list[Column]:
    """``benchmark.csv``: the benchmark at the account's bars; no rows without one.

    The value is of the account's own money, with all that came and went, in the benchmark; the drawdown is of the
    benchmark's return index.
    """
    curve, worth = account.benchmark, account.benchmark_equity
    return [
        Column("timestamp", account.curve.timestamps if curve else account.curve.timestamps[:0], moment),
        Column("equity", np.empty(0) if worth is None else worth, money),
        Column("drawdown", curve.drawdown if curve else np.empty(0), ratio),
    ]


def unfilled(account: Account) -> list[Column]:
    """``unfilled.csv``: orders, or rests of them, that ended without a fill; quantity signed, empty if never sized.

    ``timestamp`` is the bar that they ended in, ``decision_bar`` the one that they were decided on.
    """
    lapsed = account.lapsed
    return [
        Column("timestamp", lapsed.timestamp, moment),
        Column("ticker", lapsed.ticker, one_of(account.names)),
        Column("quantity", lapsed.quantity, quantity),
        Column("reason", np.array(lapsed.reason, dtype=object), text),
        Column("portfolio_id", lapsed.portfolio, one_of(account.portfolios)),
        Column("decision_bar", lapsed.decided, moment),
    ]


def allocations(made: Accounts) -> list[Column]:
    """``allocations.csv``: a row for each allocation and portfolio; money, ``transfer`` in is positive.

    ``equity`` is before it, ``target`` what the portfolio was to be worth, ``shortfall`` what it should have given
    beyond its transfer. No rows where the run has no allocator.
    """
    every = made.allocations
    rows = [(each, portfolio) for each in every for portfolio in each.portfolios]
    times = np.array([stamp(each.at) for each, _ in rows], dtype="datetime64[us]")

    def column(name: str) -> Column:
        return Column(name, np.concatenate([np.empty(0), *(getattr(each, name) for each in every)]), money)

    return [
        Column("run_id", np.array([each.run_id for each, _ in rows], dtype=object), text),
        Column("timestamp", times, moment),
        Column("portfolio_id", np.array([portfolio for _, portfolio in rows], dtype=object), text),
        *(column(name) for name in ("equity", "target", "transfer", "shortfall")),
    ]


#: Every file of the set, by name.
TABLES: dict[str, Callable[[Account], list[Column]]] = {
    "equity.csv": equity,
    "trades.csv": trades,
    "positions.csv": positions,
    "returns_monthly.csv": returns_monthly,
    "rolling.csv": rolling,
    "risk.csv": risk,
    "benchmark.csv": benchmark,
    "unfilled.csv": unfilled,
    "flows.csv": flows,
    "lots.csv": lots,
    "actions.csv": actions,
}

#: Files that are of the whole run and stand beside the totals.
RUN_TABLES: dict[str, Callable[[Accounts], list[Column]]] = {"allocations.csv": allocations}


def write_csv_set(account: Account, folder: Path) -> None:
    """Write all files of the set into ``folder``, which exists."""
    for name, columns in TABLES.items():
        write_table(folder / name, columns(account))
