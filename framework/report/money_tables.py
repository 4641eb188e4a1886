"""The tear sheet's tables of portfolios, of money that came and went, and of allocations, as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from framework.model.master import MASTER
from framework.model.panel import Floats
from framework.model.result import AllocationResult
from framework.model.timeline import stamp
from framework.report.account import TOTAL, Account, Accounts, Curve, Movements
from framework.report.words import NOTHING, day, number, percent

#: Most movements, and most allocations, that are listed one by one, the latest ones.
MOVEMENTS_LISTED, ALLOCATIONS_LISTED = 12, 6

#: Most portfolios whose part of each allocation gets a column.
COLUMNS_MOST = 6


@dataclass(frozen=True)
class Cells:
    """A table as text: ``heads`` of its columns, ``rows`` under them, and from which column on numbers stand.

    The first ``left`` columns are words; ``signed`` are those whose losses are marked.
    """

    heads: list[str]
    rows: list[list[str]]
    left: int = 1
    signed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Money:
    """What a page tells of money that came and went: a sentence, tables, and notes of what they leave out."""

    movements: Cells | None
    movements_note: str
    allocations: Cells | None
    allocations_note: str


def portfolios(made: Accounts) -> Cells | None:
    """A row for each portfolio, the master account and the total; ``None`` where a portfolio is all there is.

    All stand as they were at the total's last value, so that they add up to it.
    """
    if made.is_single:
        return None
    whole = float(made.total.curve.equity[-1])
    movements = made.total.movements
    rows = [
        _row((account.name, ", ".join(account.strategies)), account, curve, movements.of_portfolio(account.name), whole)
        for account, curve in zip(made.portfolios, made.parts, strict=True)
    ]
    if made.master is not None:
        rows.append(_row((MASTER, "master, cash"), None, made.master, movements.of_portfolio(MASTER), whole))
    rows.append(_row((TOTAL, ""), made.total, made.total.curve, made.total.outside, whole))
    has_moved = made.master is not None or len(movements) > 0
    left_out = set() if has_moved else {"In and out", "Transfers", "Money-weighted"}
    return _table(rows, left_out if made.total.actions.dividends else {*left_out, "Dividends"})


def _row(
    words: tuple[str, str], account: Account | None, curve: Curve, movements: Movements, whole: float
) -> dict[str, str]:
    """Of a portfolio, of the total, or of the master account, which is no account with figures."""
    final = float(curve.equity[-1])
    outside = movements.take(movements.row < len(curve)).sum("deposit", "withdrawal")
    transfers = number(float(np.sum(curve.flows)) - outside, 0, signed=True)
    figures = None if account is None else account.curve.figures
    return {
        "Portfolio": words[0],
        "Strategy": words[1],
        "Opening": number(curve.opening, 0),
        "In and out": number(outside, 0, signed=True),
        "Transfers": NOTHING if account is not None and account.is_total else transfers,
        "Dividends": NOTHING if account is None else number(account.actions.dividends, 0),
        "Profit": NOTHING if account is None else number(curve.profit, 0, signed=True),
        "Final equity": number(final, 0),
        "Share": percent(final / whole if whole > 0 else None),
        "Return": percent(None if figures is None else figures.total_return, signed=True),
        "Money-weighted": percent(None if account is None else account.money_weighted_return, signed=True),
        "Max drawdown": percent(None if figures is None else figures.max_drawdown),
    }


def _table(rows: list[dict[str, str]], left_out: set[str]) -> Cells:
    heads = [head for head in rows[0] if head not in left_out]
    return Cells(heads, [[row[head] for head in heads] for row in rows], 2, frozenset({"Profit", "Return"}))


def money(account: Account, made: Accounts) -> Money | None:
    """What came and went at one account; ``None``: nothing did, and it was in no allocation."""
    movements, note = _movements(account)
    allocations = [each for each in made.allocations if account.is_total or account.name in each.portfolios]
    if movements is None and not allocations:
        return None
    table = None
    if allocations:
        shown = allocations[: -ALLOCATIONS_LISTED - 1 : -1]
        table = _of_all(shown, made) if account.is_total else _of_one(shown, account.name)
    return Money(movements, note, table, _allocations_note(account, allocations))


def _movements(account: Account) -> tuple[Cells | None, str]:
    """Deposits and withdrawals, the latest first, and a sentence on all of them."""
    every = account.movements.take(~account.movements.of("transfer"))
    if len(every) == 0:
        return None, ""
    shown = every.take(np.arange(len(every))[: -MOVEMENTS_LISTED - 1 : -1])
    several = account.is_total
    rows = []
    for i in range(len(shown)):
        late = " (after the last value)" if shown.row[i] >= len(account.curve) else ""
        whose = [shown.portfolio[i]] if several else []
        amount = number(float(shown.amount[i]), 2, signed=True)
        rows.append([day(shown.at[i]), *whose, shown.kind[i] + late, shown.reference[i], amount])
    heads = ["Date", *(["Portfolio"] if several else []), "Kind", "Reference", "Amount"]
    return Cells(heads, rows, len(heads) - 1), _movements_note(account, every)


def _movements_note(account: Account, every: Movements) -> str:
    came, went = account.flows.sum("deposit"), -account.flows.sum("withdrawal")
    text = f"{number(came, 0)} {account.currency} came in, {number(went, 0)} went out."
    if len(every) > MOVEMENTS_LISTED:
        text += f" The latest {MOVEMENTS_LISTED} of {len(every):,} movements are listed; all are in flows.csv."
    if (every.row >= len(account.curve)).any():
        text += " What came after the last value is in no figure."
    return text


def _allocations_note(account: Account, allocations: list[AllocationResult]) -> str:
    if not allocations:
        return ""
    own = [_own(each, account) for each in allocations]
    moved = sum(float(np.abs(transfer).sum()) for transfer, _ in own)
    times = f"{len(own):,} allocations" if len(own) > 1 else "One allocation"
    short = [float(shortfall.sum()) for _, shortfall in own if shortfall.any()]
    whose = "the portfolios" if account.is_total else "this portfolio"
    text = f"{times} moved {number(moved, 0)} {account.currency} between {whose} and the master account."
    if short:
        where = f"At {len(short):,} there" if len(own) > 1 else "There"
        text += f" {where} was less to give than was due: {number(sum(short), 0)} in all."
    if len(own) > ALLOCATIONS_LISTED:
        text += f" The latest {ALLOCATIONS_LISTED} are listed; all are in allocations.csv."
    return text


def _own(allocation: AllocationResult, account: Account) -> tuple[Floats, Floats]:
    if account.is_total:
        return allocation.transfer, allocation.shortfall
    mine = np.array([portfolio == account.name for portfolio in allocation.portfolios])
    return allocation.transfer[mine], allocation.shortfall[mine]


def _of_all(allocations: list[AllocationResult], made: Accounts) -> Cells:
    """What each portfolio got at each, if they are few, else what moved."""
    names = [account.name for account in made.portfolios]
    rows = []
    for each in allocations:
        got = dict(zip(each.portfolios, each.transfer.tolist(), strict=True))
        moved = [number(got.get(name), 0, signed=True) for name in names]
        if len(names) > COLUMNS_MOST:
            moved = [number(float(np.abs(each.transfer).sum()), 0)]
        short = number(float(each.shortfall.sum()), 0)
        rows.append([day(stamp(each.at)), *moved, short, number(each.master_cash, 0)])
    heads = names if len(names) <= COLUMNS_MOST else ["Moved"]
    return Cells(["Date", *heads, "Short", "Master cash"], rows)


def _of_one(allocations: list[AllocationResult], name: str) -> Cells:
    columns: dict[str, Callable[[AllocationResult, int], float]] = {
        "Equity before": lambda each, i: each.equity[i],
        "Target": lambda each, i: each.target[i],
        "Transfer": lambda each, i: each.transfer[i],
        "Short": lambda each, i: each.shortfall[i],
    }
    rows = []
    for each in allocations:
        i = each.portfolios.index(name)
        cells = [number(float(of(each, i)), 0, signed=head == "Transfer") for head, of in columns.items()]
        rows.append([day(stamp(each.at)), *cells])
    return Cells(["Date", *columns], rows)
