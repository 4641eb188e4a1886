"""``report.html``: one file that holds everything, opens offline, and is fit to be shown.

Text and tables are rendered here; charts and the list of trades are drawn by the page's own script from packed data, so
that ten years and 20,000 trades stay below 3 MB.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from framework.report import attribution_view, detail_tables, metrics
from framework.report.account import Account, Accounts, Curve
from framework.report.attribution import Attribution
from framework.report.basis import Basis
from framework.report.charts import TRADES_SHOWN, page_data, shown
from framework.report.files import replacing
from framework.report.money_tables import money, portfolios
from framework.report.page import month_rows, render_page
from framework.report.summary import finite
from framework.report.words import NOTHING, day, headline, number, paragraphs, percent, short

#: Most tickers listed one by one under "where the result came from".
TICKERS_LISTED = 12


@dataclass(frozen=True)
class Figure:
    """A key figure: its name, its text, a note and the benchmark's text below it, and what it means."""

    name: str
    value: str
    benchmark: str = ""
    meaning: str = ""
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """A ticker's part of the result: ``left`` and ``width`` of its bar in percent, and the text beside it."""

    name: str
    amount: str
    share: str
    left: float
    width: float
    gain: bool


def write_tear_sheet(basis: Basis, made: Accounts, path: Path, comparison: Attribution | None = None) -> None:
    """Write the tear sheet of a run or of live books; the file appears whole or not at all."""
    page = render(basis, made, comparison)
    with replacing(path) as file:
        file.write(page.encode())


def render(basis: Basis, made: Accounts, comparison: Attribution | None = None) -> str:
    """The page's text. All that comes from the config or the data is escaped."""
    accounts = shown(made)
    return render_page(
        "tear_sheet.html.j2",
        page_data(made),
        basis=basis,
        total=made.total,
        period=f"{day(made.total.curve.sessions[0])} – {day(made.total.curve.sessions[-1])}",
        accounts=[_account(account, made) for account in accounts],
        portfolios=portfolios(made),
        comparison=None if comparison is None else _compared(comparison, made.total.currency),
        has_flows=any(len(account.flows) for account in accounts),
        per_year=_per_year(accounts),
        trades_shown=TRADES_SHOWN,
        config=json.dumps(finite(dict(basis.config)), indent=2, ensure_ascii=False) if basis.config else "",
    )


def _compared(comparison: Attribution, currency: str) -> dict[str, Any]:
    return {
        "sentence": attribution_view.sentence(comparison, currency),
        "parts": attribution_view.parts_table(comparison),
        "counts": attribution_view.counts(comparison),
        "largest": attribution_view.largest_table(comparison),
    }


def _per_year(accounts: Sequence[Account]) -> str:
    """Sessions a year of all accounts: ``252``, or ``252, 300.1 or 365`` where their calendars differ."""
    counts = sorted(account.curve.sessions_per_year for account in accounts)
    *others, last = dict.fromkeys(short(count) for count in counts)
    return f"{', '.join(others)} or {last}" if others else last


def _account(account: Account, made: Accounts) -> dict[str, Any]:
    return {
        "name": account.name,
        "strategies": ", ".join(account.strategies),
        "lead": headline(account),
        "words": paragraphs(account),
        "figures": _figures(account),
        "drawdowns": _drawdowns(account.curve),
        "months": _months(account.curve),
        "bars": _bars(account),
        "trades": len(account.fills),
        "risk": detail_tables.risk(account),
        "costs": detail_tables.costs(account),
        "has_slippage": bool(np.isfinite(account.fills.slippage_bps).any()),
        "lots": detail_tables.lots(account),
        "actions": detail_tables.actions(account),
        "lapsed": account.lapsed.by_reason(),
        "benchmark": account.benchmark_name,
        "money": money(account, made),
    }


def _figures(account: Account) -> list[Figure]:
    own = account.curve.figures
    other = None if account.benchmark is None else account.benchmark.figures

    def both(name: str, key: str, show: Any, meaning: str) -> Figure:
        return Figure(name, show(getattr(own, key)), "" if other is None else show(getattr(other, key)), meaning)

    def times(value: float | None) -> str:
        return NOTHING if value is None else f"{number(value, 1)}×"

    final = number(float(account.curve.equity[-1]), 0)
    theirs = "" if account.benchmark_equity is None else number(float(account.benchmark_equity[-1]), 0)
    profit, weighted = _notes(account)
    growth = "growth over the whole time" + (", whatever money came or went" if profit else "")
    yearly = f"compound annual growth rate, {short(account.curve.sessions_per_year)} sessions a year"
    return [
        Figure("Final equity", final, theirs, f"{account.currency}, cash and positions at the last close", profit),
        both("Total return", "total_return", percent, growth),
        replace(both("Return a year", "cagr", percent, yearly), note=weighted),
        both("Volatility", "volatility", percent, "standard deviation of session returns, annualised"),
        both("Sharpe", "sharpe", number, "mean ÷ standard deviation of session returns, annualised, risk-free 0"),
        both("Sortino", "sortino", number, "as Sharpe, counting only losses as risk"),
        both("Max drawdown", "max_drawdown", percent, "deepest fall below an earlier high, at sessions' closes"),
        both("Calmar", "calmar", number, "return a year ÷ max drawdown"),
        Figure("Exposure", percent(account.exposure), "", "mean of gross positions ÷ equity"),
        Figure("Turnover", times(account.turnover), "", "bought and sold a year ÷ mean equity"),
        Figure("Trades", f"{len(account.fills):,}", "", "fills"),
        Figure("Fees", number(account.fees, 0), "", f"{account.currency}, commission"),
    ]


def _notes(account: Account) -> tuple[str, str]:
    """Profit and money-weighted return, where money came or went: without, they are what the figures say anyway."""
    if len(account.flows) == 0:
        return "", ""
    profit = f"{number(account.curve.profit, 0, signed=True)} profit"
    return profit, f"{percent(account.money_weighted_return)} money-weighted"


def _drawdowns(curve: Curve) -> list[dict[str, str]]:
    rows = []
    for fall in metrics.worst_drawdowns(metrics.return_index(curve.returns)):
        end = len(curve.sessions) - 1 if fall.recovery is None else fall.recovery
        rows.append(
            {
                "depth": percent(fall.depth),
                "peak": day(curve.sessions[max(fall.peak, 0)]),
                "trough": day(curve.sessions[fall.trough]),
                "recovery": "not yet" if fall.recovery is None else day(curve.sessions[fall.recovery]),
                "length": f"{end - max(fall.peak, 0):,}",
            }
        )
    return rows


def _months(curve: Curve) -> list[dict[str, Any]]:
    """Rows of the heat map, one a year: twelve cells and the year's return."""
    months, returns = metrics.compounded(curve.sessions, curve.returns, "M")
    years, yearly = metrics.compounded(curve.sessions, curve.returns, "Y")
    return month_rows(months, returns, years, yearly)


def _bars(account: Account) -> list[Bar]:
    """The tickers that mattered most, the largest gain first, and all others in one."""
    made = {ticker: value for ticker, value in account.contributions.items() if abs(value) >= 0.005}
    profit = sum(made.values())
    largest = sorted(made, key=lambda ticker: -abs(made[ticker]))
    listed = {ticker: made[ticker] for ticker in largest[:TICKERS_LISTED]}
    others = largest[TICKERS_LISTED:]
    ordered = sorted(listed.items(), key=lambda item: -item[1])
    if others:
        ordered.append((f"{len(others):,} others", sum(made[ticker] for ticker in others)))
    low = min([0.0, *(value for _, value in ordered)])
    width = max([0.0, *(value for _, value in ordered)]) - low or 1.0
    return [_bar(name, value, profit, low, width) for name, value in ordered]


def _bar(name: str, value: float, profit: float, low: float, width: float) -> Bar:
    left = round((min(value, 0.0) - low) / width * 100, 2)
    share = percent(value / abs(profit), 0, signed=True) if abs(profit) >= 0.01 else NOTHING
    return Bar(name, number(value, 0, signed=True), share, left, round(abs(value) / width * 100, 2), value >= 0)
