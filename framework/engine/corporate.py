"""Splits and dividends of what a simulated portfolio holds, as the live engine books them (see ``engine.actions``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from framework.model.acting import Act, Acting
from framework.model.money import FRACTIONAL, MICRO, half_even, nano_shares
from framework.model.result import AppliedActions
from framework.trading.splits import ratio_of

if TYPE_CHECKING:
    from framework.engine.account import Account

#: Beyond every row.
NEVER = 1 << 62
#: A dividend per share has twelve decimals at most.
_PICO = 10**12
_NANO_PICO_PER_MICRO = 10**15


class Split(NamedTuple):
    """Of a ticker, at a row: new shares for old ones."""

    row: int
    column: int
    ratio: Fraction


class Corporate:
    """The splits and dividends that one account still has to book, and those that it has booked.

    Args:
        acting: of the account's panel.
        first: row of the first bar that counts; nothing is held before the one after it.
    """

    def __init__(self, acting: Acting, first: int) -> None:
        self._acts = [act for act in acting.acts if act.row > first]
        self._done = 0
        found: dict[int, list[Split]] = defaultdict(list)
        for act in self._acts:
            if act.action.kind == "split":
                found[act.row].append(Split(act.row, act.column, ratio_of(act.action)))
        #: Of each row that has any.
        self.splits: Mapping[int, list[Split]] = dict(found)
        #: Each with what was held before it, what it changed (nano shares), and what it brought (micros).
        self._applied: list[tuple[Act, int, int, float]] = []

    @property
    def next_row(self) -> int:
        """Row of the next action; ``NEVER``: there is none."""
        return self._acts[self._done].row if self._done < len(self._acts) else NEVER

    def book(self, account: Account) -> None:
        """Book the actions of the next row, whose open the account stands at."""
        row = self.next_row
        while self.next_row == row:
            act = self._acts[self._done]
            self._done += 1
            lots = account.lots.item(act.column)
            if lots:
                self._book(account, act, lots)

    def _book(self, account: Account, act: Act, lots: float) -> None:
        """In whole numbers, which say exactly what the Decimals of the books do."""
        held, value = nano_shares(lots, account.terms.lots_per_share), act.action.value
        if act.action.kind == "split":
            ratio = ratio_of(act.action)
            new = abs(held) * ratio.numerator // ratio.denominator * (1 if held > 0 else -1)
            lots = new / (FRACTIONAL / account.terms.lots_per_share)
            account.lots[act.column] = lots
            account.has_parts = account.has_parts or not lots.is_integer()
            self._applied.append((act, held, new - held, 0.0))
        else:
            local = half_even(held * int(value * _PICO), _NANO_PICO_PER_MICRO)
            micros = account.converted(act.ex_row, act.column, float(local))
            account.cash += micros
            self._applied.append((act, held, 0, micros))

    def all_splits(self) -> list[Split]:
        """In the order in which they act."""
        return [split for splits in self.splits.values() for split in splits]

    def applied(self) -> AppliedActions:
        """What was booked."""
        made = self._applied
        return AppliedActions(
            row=np.array([act.row for act, *_ in made], dtype=np.int64),
            ticker=np.array([act.column for act, *_ in made], dtype=np.int64),
            kind=tuple(act.action.kind for act, *_ in made),
            value=np.array([float(act.action.value) for act, *_ in made]),
            held=np.array([held / FRACTIONAL for _, held, _, _ in made]),
            change=np.array([change / FRACTIONAL for _, _, change, _ in made]),
            cash=np.array([micros / MICRO for *_, micros in made]),
        )
