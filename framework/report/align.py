"""Curves of several accounts at the same moments, and money on its way between them.

Portfolios may have different bars: one trades at weekends, another's data has gaps. Between its own bars a portfolio
is worth what it was at the last of them, plus the money that has been booked since; at each of its own bars it is
worth what its own curve says. So a transfer is never in two places, nor in none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from framework.model.panel import Floats
from framework.model.result import Flows, Ints
from framework.report.account import Curve, Movements


def union(curves: Sequence[Curve]) -> Curve:
    """A curve of zeros over every moment that any of ``curves`` has."""
    every = np.concatenate([curve.timestamps for curve in curves])
    timestamps, first, number = np.unique(every, return_index=True, return_inverse=True)
    session = np.concatenate([curve.session for curve in curves])[first]
    # Bars of one label may be known at different times: the sum is known when all of them are.
    known = np.full(len(timestamps), np.iinfo(np.int64).min)
    np.maximum.at(known, number, np.concatenate([curve.moments for curve in curves]).astype(np.int64))
    moments = np.maximum.accumulate(known).astype("datetime64[us]")
    nothing = np.zeros(len(timestamps))
    begun = min(curve.begun for curve in curves)
    return Curve(0.0, timestamps, session, nothing, nothing, nothing, nothing, nothing, begun, moments)


def align(curves: Sequence[Curve], onto: Curve) -> Curve:
    """The sum of ``curves``, none of which has flows, at the moments of ``onto``.

    Between its own bars a curve keeps its last values; before its first it is worth its opening cash.
    """
    sums: dict[str, Any] = {name: np.zeros(len(onto)) for name in ("equity", "cash", "gross", "net")}
    for curve in curves:
        row = np.searchsorted(curve.timestamps, onto.timestamps, side="right")
        for name, values in sums.items():
            before = curve.opening if name in ("equity", "cash") else 0.0
            values += np.concatenate(([before], getattr(curve, name)))[row]
    opening = sum(curve.opening for curve in curves)
    return replace(onto, opening=opening, flows=np.zeros(len(onto)), **sums)


def arrivals(movements: Movements, curve: Curve, onto: Curve) -> tuple[Ints, Ints]:
    """From which row of ``onto`` on each movement of an account counts, and which row its own curve first holds it at.

    It counts from the first moment after its booking, but not before the last bar whose value is without it, and from
    the first bar whose value holds it at the latest. Both rows are the length of ``onto`` if that never comes; shape
    ``(F,)`` each.
    """
    own = np.append(np.searchsorted(onto.timestamps, curve.timestamps), len(onto))
    without = np.concatenate(([0], own[:-1] + 1))[movements.row]
    held = own[movements.row]
    return np.minimum(held, np.maximum(booked(movements.at, onto), without)), held


def booked(at: np.ndarray[tuple[int], np.dtype[np.datetime64]], onto: Curve) -> Ints:
    """Row of the first moment of ``onto`` after each time: what is booked at that very moment comes after its value."""
    return np.searchsorted(onto.moments, at, side="right").astype(np.int64)


def part(curve: Curve, movements: Movements, onto: Curve) -> tuple[Curve, Ints]:
    """An account's curve at the moments of ``onto``, and the row there from which on each of its movements counts."""
    rows, held = arrivals(movements, curve, onto)
    stepped = align([replace(curve, flows=np.zeros(len(curve)))], onto)
    flows = by_row(movements.amount, rows, len(onto))
    if not (rows < held).any():
        return replace(stepped, flows=flows), rows
    way = np.round(np.cumsum(flows - by_row(movements.amount, held, len(onto))), 6)
    return replace(stepped, flows=flows, equity=stepped.equity + way, cash=stepped.cash + way), rows


def cash_curve(opening: float, flows: Floats, onto: Curve) -> Curve:
    """The curve of an account that holds nothing but cash, from what comes (negative: goes) at each row of ``onto``."""
    cash = np.round(opening + np.cumsum(flows), 6)
    return replace(onto, opening=opening, equity=cash, cash=cash, flows=flows)


def by_row(amounts: Floats, rows: Ints, count: int) -> Floats:
    """Σ of amounts at each of the first ``count`` rows; those at later rows are left out."""
    sums = np.zeros(count + 1)
    np.add.at(sums, rows, amounts)
    return np.round(sums[:count], 6) + 0.0


def movements_of(portfolio: str, flows: Flows, row: Ints) -> Movements:
    """A result's flows, with their rows in the account's curve, in order of time."""
    whose = (portfolio,) * len(flows)
    found = Movements(flows.at, whose, flows.kind, flows.amount, flows.reference, row)
    return found.take(np.argsort(flows.at, kind="stable"))


def joined(parts: Sequence[Movements]) -> Movements:
    """Movements of several accounts in order of time; at the same time, in the order of the accounts."""
    every = Movements(
        np.concatenate([each.at for each in parts]),
        tuple(whose for each in parts for whose in each.portfolio),
        tuple(kind for each in parts for kind in each.kind),
        np.concatenate([each.amount for each in parts]),
        tuple(reference for each in parts for reference in each.reference),
        np.concatenate([each.row for each in parts]),
    )
    return every.take(np.argsort(every.at, kind="stable"))
