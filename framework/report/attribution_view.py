"""The comparison of live books with their backtest: in words, as tables, as ``comparison.csv``, as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from framework.report.attribution import Attribution
from framework.report.money_tables import Cells
from framework.report.tables import Column, moment, money, one_of, quantity
from framework.report.words import NOTHING, day, number

#: Differences that are listed one by one, the largest ones.
LISTED = 12

#: What each part of the difference is called, and what it means.
PARTS = {
    "decisions": ("Decisions", "more or fewer shares were decided"),
    "unfilled": ("Unfilled orders", "shares that were decided, and traded in one of the two only"),
    "fill_prices": ("Fill prices", "the same shares traded at other prices"),
    "costs": ("Costs", "fees of trades"),
    "held_at_start": ("Held at the start", "shares that only one of the two held when the period began"),
    "income_and_valuation": ("Income and valuation", "dividends, interest, and prices that positions are valued at"),
}


def document(comparison: Attribution) -> dict[str, Any]:
    """For ``summary.json``; money, positive where the books made more."""
    return {
        "live_profit": comparison.live_profit,
        "backtest_profit": comparison.backtest_profit,
        "difference": round(comparison.difference, 6) + 0.0,
        "parts": comparison.parts,
        "compared": len(comparison),
        "decided_otherwise": int((~comparison.is_same_decision).sum()),
        "filled_otherwise": int((~comparison.is_same_fill).sum()),
    }


def sentence(comparison: Attribution, currency: str) -> str:
    """The difference, and its largest part, in words."""
    live, other = number(comparison.live_profit, 2, signed=True), number(comparison.backtest_profit, 2, signed=True)
    text = f"The books made {live} {currency}, the backtest of the same time and config {other}"
    gap = comparison.difference
    if abs(gap) < 0.005:
        return f"{text}: no difference."
    name, amount = max(comparison.parts.items(), key=lambda part: abs(part[1]))
    more = "more" if gap > 0 else "less"
    return (
        f"{text}: {number(abs(gap), 2)} {more}. The largest part, {number(amount, 2, signed=True)}, is "
        f"{PARTS[name][0].lower()}: {PARTS[name][1]}."
    )


def counts(comparison: Attribution) -> str:
    """How many decisions and fills differ."""
    return (
        f"{len(comparison):,} pairs of decision and ticker: {int((~comparison.is_same_decision).sum()):,} decided "
        f"otherwise, {int((~comparison.is_same_fill).sum()):,} filled otherwise."
    )


def parts_table(comparison: Attribution) -> Cells:
    """The parts of the difference and their sum."""
    rows = [
        [PARTS[name][0], PARTS[name][1], number(amount, 2, signed=True)] for name, amount in comparison.parts.items()
    ]
    rows.append(["Difference", "books − backtest", number(comparison.difference, 2, signed=True)])
    return Cells(["Part", "What it is", "Amount"], rows, 2, frozenset({"Amount"}))


def largest_table(comparison: Attribution) -> Cells | None:
    """The decisions that differ most, in money; ``None``: none differs."""
    effect = _effect(comparison)
    size = np.abs(effect)
    chosen = np.flatnonzero(size >= 0.005)
    chosen = chosen[np.argsort(-size[chosen], kind="stable")][:LISTED]
    rows = []
    for row in chosen.tolist():
        pairs = (
            (comparison.wanted_live, comparison.wanted_backtest, 2),
            (comparison.traded_live, comparison.traded_backtest, 2),
            (comparison.price_live, comparison.price_backtest, 4),
            (comparison.fees_live, comparison.fees_backtest, 2),
        )
        cells = [f"{_plain(live[row], digits)} | {_plain(other[row], digits)}" for live, other, digits in pairs]
        bar = comparison.bar[row]
        when = NOTHING if np.isnat(bar) else _when(bar)
        rows.append(
            [when, comparison.names[comparison.ticker[row]], *cells, number(float(effect[row]), 2, signed=True)]
        )
    heads = ["Decided", "Ticker", "Shares decided", "Shares traded", "Price", "Fees", "Difference"]
    return Cells(heads, rows, 2, frozenset({"Difference"})) if rows else None


def _when(bar: np.datetime64) -> str:
    """The day of a bar, and its time where it is not the day's."""
    minute = bar.astype("datetime64[m]")
    return day(bar) if minute == bar.astype("datetime64[D]") else f"{day(bar)} {str(minute)[-5:]}"


def _plain(value: float, digits: int) -> str:
    text = number(float(value), digits)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _effect(comparison: Attribution) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return comparison.decisions + comparison.unfilled + comparison.fill_prices + comparison.costs


def columns(comparison: Attribution) -> list[Column]:
    """``comparison.csv``: a row for each decision and ticker.

    Shares and prices are on the scale of the backtest's adjusted prices, prices in the portfolio's currency. The last
    four are money, positive where the books made more.
    """
    found = [
        Column("decision_bar", comparison.bar, moment),
        Column("ticker", comparison.ticker, one_of(comparison.names)),
    ]
    for name, write in (("wanted", quantity), ("traded", quantity), ("price", money), ("fees", money)):
        for side in ("live", "backtest"):
            found.append(Column(f"{name}_{side}", getattr(comparison, f"{name}_{side}"), write))
    return [
        *found,
        *(Column(name, getattr(comparison, name), money) for name in ("decisions", "unfilled", "fill_prices", "costs")),
    ]
