"""Numbers as people write them, and sentences that say what matters in a result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np

from framework.model.panel import Floats
from framework.report import metrics
from framework.report.account import Account

#: Stands for a figure that is undefined.
NOTHING = "–"

_NARROW_SPACE = "\u202f"
_MINUS = "\u2212"


def percent(value: float | None, digits: int = 1, signed: bool = False) -> str:
    """``0.1234`` → ``12.3 %``."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return number(value * 100.0, digits, signed) + _NARROW_SPACE + "%"


def number(value: float | None, digits: int = 2, signed: bool = False) -> str:
    """``-1234.5`` → ``−1,234.50``; a value that rounds to zero has no sign."""
    if value is None or not math.isfinite(value):
        return NOTHING
    shown = f"{abs(value):,.{digits}f}"
    if not shown.strip("0.,"):
        return shown
    sign = _MINUS if value < 0 else "+" if signed else ""
    return sign + shown


def short(value: float) -> str:
    """Four digits that count: ``252``, ``126.3``."""
    return f"{value:.4g}"


def day(value: np.datetime64) -> str:
    """``2005-01-03`` → ``3 Jan 2005``."""
    date = value.astype("datetime64[D]").item()
    return f"{date.day} {date:%b %Y}"


def span(start: date, end: date) -> str:
    """``3 Jan 2005 – 1 Mar 2013``."""
    return f"{day(np.datetime64(start, 'D'))} – {day(np.datetime64(end, 'D'))}"


def month(value: np.datetime64) -> str:
    """``2005-01`` → ``Jan 2005``."""
    return f"{value.astype('datetime64[D]').item():%b %Y}"


def headline(account: Account) -> str:
    """The result in one sentence."""
    if len(account.fills) == 0:
        return "It never traded."
    curve, figures = account.curve, account.curve.figures
    became = f"{_put_in(account)} became {number(float(curve.equity[-1]), 0)}"
    if not curve.opening:
        became += f" {account.currency}"
    is_long = len(curve.ends) >= curve.sessions_per_year
    if len(account.flows):
        weighted = f", {percent(account.money_weighted_return)} a year money-weighted" if is_long else ""
        return f"{became}: {percent(figures.total_return, signed=True)} time-weighted{weighted}."
    yearly = f", {percent(figures.cagr)} a year" if is_long else ""
    return f"{became}: {percent(figures.total_return, signed=True)} in all{yearly}."


def _put_in(account: Account) -> str:
    """What there was to work with: ``100,000 USD and 12 deposits of together 60,000, less a withdrawal of 5,000,``."""
    flows, opening = account.flows, account.curve.opening
    transfers = flows.sum("transfer")
    came = [
        _moves("deposit", flows.amount[flows.of("deposit")]),
        _moves("adopted position", flows.amount[flows.of("adopt")]),
        _transferred(max(transfers, 0.0)),
    ]
    went = [_moves("withdrawal", -flows.amount[flows.of("withdrawal")]), _transferred(min(transfers, 0.0))]
    there = f"{number(opening, 0)} {account.currency}" if opening else ""
    whole = listed([there, *came]) or number(0.0, 0)
    less = listed(went)
    told = f"{whole}, less {less}," if less else whole
    return told[0].upper() + told[1:]


def _moves(name: str, amounts: Floats) -> str:
    if len(amounts) == 0:
        return ""
    if len(amounts) == 1:
        return f"a {name} of {number(float(amounts[0]), 0)}"
    return f"{len(amounts):,} {name}s of together {number(float(np.sum(amounts)), 0)}"


def _transferred(amount: float) -> str:
    """Net of all transfers."""
    return f"{number(abs(amount), 0)} transferred {'in' if amount > 0 else 'out'}" if amount else ""


def listed(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; empty ones are left out."""
    *others, last = [part for part in parts if part] or [""]
    return f"{', '.join(others)} and {last}" if others else last


def paragraphs(account: Account) -> list[list[str]]:
    """What a reader should know next, as sentences: first what explains the result, then what it took."""
    if len(account.fills) == 0:
        parts: list[list[str]] = [[], [*_lapsed(account)]]
    else:
        parts = [
            [*_against_benchmark(account), *_where_from(account), *_worst_fall(account)],
            [*_months(account), *_actions(account), *_costs(account), *_lapsed(account)],
        ]
    return [part for part in parts if part]


def _against_benchmark(account: Account) -> Iterator[str]:
    if account.benchmark is None:
        return
    theirs = account.benchmark.figures.total_return
    gap = (account.curve.figures.total_return - theirs) * 100
    side = "ahead of" if gap > 0 else "behind"
    if abs(gap) < 0.05:
        yield f"The benchmark ({account.benchmark_name}) made as much: {percent(theirs, signed=True)}."
        return
    yield (
        f"That is {number(abs(gap), 1)} percentage points {side} the benchmark ({account.benchmark_name}), "
        f"which made {percent(theirs, signed=True)}."
    )


def _where_from(account: Account) -> Iterator[str]:
    made = account.contributions
    profit = sum(made.values())
    if len(made) < 2 or abs(profit) < 0.01:
        return
    word = "profit" if profit > 0 else "loss"
    top = max(made, key=lambda ticker: made[ticker] / profit)
    share, rest = made[top] / profit, profit - made[top]
    if share <= 1:
        yield f"{percent(share, 0)} of the {word} came from {top}."
        return
    verb = "lost" if profit > 0 else "made"
    yield (
        f"{top} alone brought {percent(share, 0)} of the {word}; the others together {verb} "
        f"{number(abs(rest), 0)} {account.currency}."
    )


def _worst_fall(account: Account) -> Iterator[str]:
    worst = metrics.worst_drawdowns(metrics.return_index(account.curve.returns), 1)
    if not worst:
        yield "It was never below an earlier high at a session's close."
        return
    fall, sessions = worst[0], account.curve.sessions
    end = f"made good by {day(sessions[fall.recovery])}" if fall.recovery is not None else "not made good by the end"
    yield (
        f"The worst fall was {percent(fall.depth)}, from {day(sessions[max(fall.peak, 0)])} "
        f"to {day(sessions[fall.trough])}, {end}."
    )


def _months(account: Account) -> Iterator[str]:
    months, returns = metrics.compounded(account.curve.sessions, account.curve.returns, "M")
    if len(months) < 6:
        return
    best, worst = int(np.argmax(returns)), int(np.argmin(returns))
    yield (
        f"{int(np.sum(returns > 0))} of {len(months)} months gained; the best was {month(months[best])} "
        f"({percent(float(returns[best]), signed=True)}), the worst {month(months[worst])} "
        f"({percent(float(returns[worst]), signed=True)})."
    )


def _actions(account: Account) -> Iterator[str]:
    received, splits = account.actions.dividends, account.actions.splits
    paid = f"Dividends {'brought' if received > 0 else 'cost'} {number(abs(received), 0)} {account.currency}"
    times = f"{splits:,} splits" if splits > 1 else "one split"
    if abs(received) >= 0.5:
        yield f"{paid}; {times} changed what was held." if splits else f"{paid}."
    elif splits:
        yield f"{times[0].upper()}{times[1:]} changed what was held."


def _costs(account: Account) -> Iterator[str]:
    fills = account.fills
    slipped = float(np.sum(fills.slippage))
    costs = account.fees + slipped
    if costs < 0.01:
        return
    profit = account.curve.profit + costs
    share = f", {percent(costs / profit)} of what it made before them" if profit > costs else ""
    yield (
        f"Trading cost {number(costs, 0)} {account.currency} "
        f"({number(account.fees, 0)} fees, {number(slipped, 0)} slippage){share}."
    )


def _lapsed(account: Account) -> Iterator[str]:
    if account.trimmed_fills:
        yield (
            f"{account.trimmed_fills:,} buys were cut because cash did not suffice "
            f"({number(account.trimmed_notional, 0)} {account.currency} not bought)."
        )
    if len(account.lapsed):
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in account.lapsed.by_reason().items())
        yield f"{len(account.lapsed):,} orders, or rests of orders, ended without a fill ({reasons})."
    if account.stale_closes:
        yield f"{account.stale_closes:,} times a position was valued at an older close, for want of a bar."
