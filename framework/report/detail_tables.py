"""The tear sheet's tables of risk, costs, lots, splits and dividends, as text."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from framework.report.account import Account
from framework.report.actions import DIVIDEND, SPLIT, Actions
from framework.report.lots import LotStats, LotTable
from framework.report.money_tables import Cells
from framework.report.words import NOTHING, day, number, percent

#: Held lots that are listed one by one, the largest ones.
LOTS_LISTED = 12

#: Tickers whose splits and dividends are listed, those that brought most.
ACTED_LISTED = 12

#: Splits of a ticker that are named, the latest ones.
SPLITS_NAMED = 3

#: A ratio of splits is of whole numbers up to this.
_LARGEST = 1000


def risk(account: Account) -> Cells:
    """What the key figures leave out: the shape of the returns, and how they go with the benchmark's."""
    shape, other = account.shape, account.relative
    rows = [
        ["Best session", percent(shape.best_session, 2, signed=True)],
        ["Worst session", percent(shape.worst_session, 2, signed=True)],
        ["Sessions that gained", percent(shape.gaining_share)],
        ["Value at risk, 5 %", percent(shape.value_at_risk, 2)],
        ["Mean of the worst 5 %", percent(shape.conditional_value_at_risk, 2)],
        ["Skew", number(shape.skew)],
        ["Kurtosis beyond normal", number(shape.kurtosis)],
        ["Tail ratio, 95 % ÷ 5 %", number(shape.tail_ratio)],
        ["Omega", number(shape.omega)],
        ["Stability of growth, R²", number(shape.stability)],
    ]
    if other is not None:
        rows += [
            ["Beta", number(other.beta)],
            ["Alpha a year", percent(other.alpha, 1, signed=True)],
            ["Tracking error a year", percent(other.tracking_error)],
            ["Information ratio, per session", number(other.information_ratio, 3)],
            ["Captured of gains", percent(other.up_capture, 0)],
            ["Captured of losses", percent(other.down_capture, 0)],
        ]
    return Cells(["Figure", "Value"], rows)


def costs(account: Account) -> Cells:
    """Fees, slippage and their sum: in money, of what was traded, and of what was made before them."""
    fills = account.fills
    traded = float(fills.notional.sum())
    fees, slipped = account.fees, float(fills.slippage.sum())
    before = account.curve.profit + fees + slipped
    rows = [
        [
            name,
            number(amount, 2),
            number(amount / traded * 1e4, 2) if traded > 0 else NOTHING,
            percent(amount / before if before > 0 else None),
        ]
        for name, amount in (("Fees", fees), ("Slippage", slipped), ("Together", fees + slipped))
    ]
    return Cells(["Costs", account.currency, "Of notional, bp", "Of profit before"], rows)


@dataclass(frozen=True)
class LotCells:
    """Closed lots in figures, the largest lots that are held, and a sentence on all of these."""

    closed: Cells | None
    held: Cells | None
    held_note: str


def lots(account: Account) -> LotCells | None:
    """``None``: there never was one."""
    own = account.lots
    if len(own) == 0:
        return None
    held = own.take(~own.is_closed)
    return LotCells(
        closed=None if own.stats is None else _closed(own.stats),
        held=_held(held, account) if len(held) else None,
        held_note=_held_note(held, account.currency),
    )


def _closed(stats: LotStats) -> Cells:
    cells = {
        "Closed": f"{stats.count:,}",
        "Gained": percent(stats.won),
        "Realised": number(stats.gains + stats.losses, 0, signed=True),
        "Gains ÷ losses": number(stats.profit_factor),
        "Mean gain": number(stats.mean_gain, 0),
        "Mean loss": number(stats.mean_loss, 0),
        "Largest gain": number(stats.largest_gain, 0),
        "Largest loss": number(stats.largest_loss, 0),
        "Held, days": number(stats.mean_days, 1),
    }
    return Cells(list(cells), [list(cells.values())], 0, frozenset({"Realised"}))


def _held(held: LotTable, account: Account) -> Cells:
    chosen = np.argsort(-np.abs(held.cost), kind="stable")[:LOTS_LISTED]
    rows = []
    for row in np.sort(chosen).tolist():
        shares = float(held.quantity[row])
        rows.append(
            [
                account.names[held.ticker[row]],
                day(held.opened[row]),
                f"{shares:,.9f}".rstrip("0").rstrip("."),
                number(float(held.cost[row]) / shares, 4),
                number(float(held.cost[row]), 2),
                number(float(held.value[row]), 2),
                number(float(held.profit[row]), 2, signed=True),
            ]
        )
    heads = ["Held lot", "Since", "Shares", "Cost of one", "Cost", "Worth", "Unrealised"]
    return Cells(heads, rows, 2, frozenset({"Unrealised"}))


def _held_note(held: LotTable, currency: str) -> str:
    profit = float(np.nansum(held.profit))
    count = f"{len(held):,} lots are" if len(held) > 1 else "One lot is"
    text = f"{count} held; unrealised: {number(profit, 2, signed=True)} {currency}."
    if len(held) > LOTS_LISTED:
        text += f" The {LOTS_LISTED} that cost most are listed."
    return text


@dataclass(frozen=True)
class ActedCells:
    """Splits and dividends by ticker, and a sentence on what is left out."""

    table: Cells
    note: str


def actions(account: Account) -> ActedCells | None:
    """``None``: there was none."""
    own = account.actions.take(account.actions.of(SPLIT) | account.actions.of(DIVIDEND))
    if len(own) == 0:
        return None
    names, code = np.unique(own.ticker.astype(str), return_inverse=True)
    received = np.bincount(code, own.cash)
    shown = np.argsort(-np.abs(received), kind="stable")[:ACTED_LISTED].tolist()
    rows = [_acted(str(names[i]), own.take(code == i)) for i in shown]
    heads = ["Ticker", "Dividends", "Payments", "Last paid", "Splits"]
    note = (
        f"The {ACTED_LISTED} of {len(names):,} tickers that brought most are listed." if len(shown) < len(names) else ""
    )
    return ActedCells(Cells(heads, rows, 1, frozenset({"Dividends"})), note)


def _acted(name: str, own: Actions) -> list[str]:
    """Of one ticker; what came to several portfolios at once counts once."""
    paid, splits = own.take(own.of(DIVIDEND)), own.take(own.of(SPLIT))
    ratios = list(
        dict.fromkeys(f"{_ratio(value)} on {day(at)}" for value, at in zip(splits.value, splits.at, strict=True))
    )
    more = [f"{len(ratios) - SPLITS_NAMED:,} earlier"] if len(ratios) > SPLITS_NAMED else []
    return [
        name or NOTHING,
        number(float(np.sum(paid.cash)), 2) if len(paid) else NOTHING,
        f"{len(np.unique(paid.at)):,}" if len(paid) else NOTHING,
        day(paid.at[-1]) if len(paid) else NOTHING,
        ", ".join([*ratios[-SPLITS_NAMED:], *more]) or NOTHING,
    ]


def _ratio(value: float) -> str:
    """``3 for 2``."""
    if not np.isfinite(value):
        return "split"
    ratio = Fraction(value).limit_denominator(_LARGEST)
    return f"{ratio.numerator} for {ratio.denominator}"
