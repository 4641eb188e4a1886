"""One allocation, as arithmetic: what portfolios are to be worth, and what moves for it. The same in every mode.

Money is in whole micros here (float64, see :mod:`framework.model.money`); what moves is in whole cents. All that moves
goes through the master account: portfolios give to it first, then it gives to portfolios.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from framework.errors import AllocationError
from framework.model.money import MICRO
from framework.model.panel import Floats
from framework.trading.allocator import AllocationState, Allocator

#: Micros of a cent: what moves is a multiple of it.
CENT = 1e4
#: Targets may add up to so much more than there is, as a fraction: float noise.
NOISE = 1e-9
#: A share of what there is counts as the next cent so close below it: float noise must not cost one. Micros.
_SLACK = 10.0
#: Returns are handed over to so many decimals, so that no mode sees another last digit.
_RETURN_DECIMALS = 9

_sum = np.add.reduce


@dataclass(frozen=True, eq=False)
class AllocationTerms:
    """What holds for an allocation, whichever allocator decides.

    Attributes:
        portfolios: ids of the ``N`` that it is about.
        floors, caps: shape ``(N,)``: the least and the most of the total that each is given, as fractions.
        buffers: shape ``(N,)``: the fraction of its target that each keeps in cash when it gives.
        band: a portfolio whose weight differs by no more than this from its target's is left alone; a fraction of the
            total. One that is empty, or is to be emptied, never is.
        min_transfer: less than this does not move; micros.
        cash_buffer: fraction of the total that stays with the master account.
        reduces: what a portfolio could not give limits what it sizes its targets on.
    """

    portfolios: tuple[str, ...]
    floors: Floats
    caps: Floats
    buffers: Floats
    band: float = 0.0
    min_transfer: float = 0.0
    cash_buffer: float = 0.0
    reduces: bool = True


@dataclass(frozen=True, eq=False)
class Standing:
    """How the portfolios stand before an allocation; shape ``(N,)`` each, micros.

    Attributes:
        equity: cash + Σ position × price.
        cash: what of it is cash.
        free: cash less what open buys have spoken for.
        master_cash: of the master account.
        returns: shape ``(T, N)``, of sessions, oldest first; NaN where there is none.
        halted: portfolios that neither give nor get.
    """

    equity: Floats
    cash: Floats
    free: Floats
    master_cash: float
    returns: Floats
    halted: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class AllocationPlan:
    """What an allocation comes to; shape ``(N,)`` each, micros.

    Attributes:
        target: what each is to be worth.
        transfer: what moves, in whole cents; to the portfolio is positive.
        shortfall: what it should have given beyond that, ≥ 0.
        total: what could be given out.
    """

    target: Floats
    transfer: Floats
    shortfall: Floats
    total: float
    order: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        # Those that give come first, so that the master account never owes.
        columns = range(len(self.transfer))
        moves = [column for column in columns if self.transfer[column]]
        object.__setattr__(self, "order", tuple(sorted(moves, key=lambda column: self.transfer[column] > 0.0)))


@dataclass(frozen=True, eq=False)
class Allocation:
    """The allocator of a config.

    Attributes:
        name: of the config and the allocator: what its runs are known by.
        allocator: made and checked.
        terms: hold whatever it decides.
        schedule: when it acts.
        currency: of all money that it moves.
        wait_seconds: how long portfolios wait for an allocation that is due.
    """

    name: str
    allocator: Allocator
    terms: AllocationTerms
    schedule: str
    currency: str
    wait_seconds: float

    def limits(self, portfolio_id: str) -> bool:
        """Whether what a portfolio could not give limits what its own targets are sized on."""
        return self.terms.reduces and portfolio_id in self.terms.portfolios


def listed(allocator: Allocator, offered: Sequence[str]) -> tuple[str, ...]:
    """The portfolios that an allocator lists, in the order of the config.

    Raises:
        AllocationError: it names one that is not there, or none.
    """
    wanted = tuple(allocator.portfolios(tuple(offered)))
    for name in wanted:
        if name not in offered:
            near = difflib.get_close_matches(str(name), offered, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise AllocationError(
                f"it allocates to portfolio {name!r}, which the config does not have{hint} "
                f"(it has {', '.join(offered)})"
            )
    if not wanted:
        raise AllocationError("it lists no portfolio; leave the allocator out, or name one at least")
    return tuple(name for name in offered if name in wanted)


def run_id(allocator: str, session: date, slot: str) -> str:
    """What an allocation is known by: it happens once, whoever tries it how often."""
    return f"{allocator}:{session}:{slot}"


def past_returns(
    sessions: NDArray[np.datetime64], values: Floats, money_in: Floats, wanted: NDArray[np.datetime64]
) -> Floats:
    """Returns of sessions from the values at their ends (trading-rules 3): V / (V before + money in since) - 1.

    Args:
        sessions: shape ``(S,)``, rising: the last of those that there is a value of, ``T + 1`` at most. Where there are
            so many the first only begins the series; fewer are all that there ever were, and it began with nothing.
        values: shape ``(S,)``.
        money_in: shape ``(S,)``: all that had come in by then, less what went out.
        wanted: shape ``(T,)``, rising: the sessions that are asked for.

    Returns:
        shape ``(T,)``; NaN where there is no value, or was nothing to earn on.
    """
    if len(sessions) <= len(wanted):
        sessions = np.concatenate((sessions[:1], sessions))
        values, money_in = np.concatenate(([0.0], values)), np.concatenate(([0.0], money_in))
    base = values[:-1] + np.diff(money_in)
    returns = np.full(len(base), np.nan)
    np.divide(values[1:], base, out=returns, where=base > 0.0)
    found = np.full(len(wanted), np.nan)
    rows = np.searchsorted(wanted, sessions[1:])
    inside = rows < len(wanted)
    inside[inside] = wanted[rows[inside]] == sessions[1:][inside]
    found[rows[inside]] = returns[inside] - 1.0
    return found


def plan_allocation(allocator: Allocator, terms: AllocationTerms, standing: Standing, time: datetime) -> AllocationPlan:
    """Ask an allocator, keep what it says within the terms, and work out what moves.

    Args:
        allocator: its parameters checked.
        terms: see there.
        standing: valued at one moment.
        time: that moment, aware UTC.

    Raises:
        AllocationError: the allocator raised, or returned what cannot be; or the portfolios together owe money.
    """
    gross = standing.master_cash + float(_sum(standing.equity))
    if gross < 0.0:
        raise AllocationError(f"the portfolios and the master account together are worth {gross / MICRO:,.2f}")
    total = float(int(gross * (1.0 - terms.cash_buffer) / CENT)) * CENT
    if not total:
        nothing = np.zeros(len(standing.equity))
        return AllocationPlan(standing.equity, nothing, nothing, total)
    asked = _asked(allocator, _state(terms, standing, total, time))
    target = _limited(asked, terms, standing, total)
    transfer, shortfall = _transfers(target, terms, standing, gross - total, total)
    return AllocationPlan(target, transfer, shortfall, total)


def _state(terms: AllocationTerms, standing: Standing, total: float, time: datetime) -> AllocationState:
    state = AllocationState(
        time=time,
        portfolios=terms.portfolios,
        equity=standing.equity / MICRO,
        cash=standing.cash / MICRO,
        master_cash=standing.master_cash / MICRO,
        total=total / MICRO,
        returns=np.round(standing.returns, _RETURN_DECIMALS),
        floors=terms.floors.copy(),
        caps=terms.caps.copy(),
        halted=standing.halted.copy(),
    )
    for array in (state.equity, state.cash, state.returns, state.floors, state.caps, state.halted):
        array.setflags(write=False)
    return state


def _asked(allocator: Allocator, state: AllocationState) -> Floats:
    """What the allocator wants, in micros, checked."""
    try:
        answer = np.asarray(allocator.allocate(state), dtype=np.float64)
    except AllocationError:
        raise
    except Exception as error:
        raise AllocationError(f"allocate() failed: {type(error).__name__}: {error}") from error
    if answer.shape != state.equity.shape:
        raise AllocationError(f"allocate() returned shape {answer.shape}, expected {state.equity.shape} (portfolios)")
    wrong = ~((answer >= 0.0) & (answer < np.inf))
    if wrong.any():
        column = int(np.flatnonzero(wrong)[0])
        raise AllocationError(
            f"allocate() wants portfolio {state.portfolios[column]} to be worth {answer[column]}; allowed: 0 or more, "
            "finite"
        )
    wanted = float(_sum(answer))
    if wanted > state.total * (1.0 + NOISE):
        raise AllocationError(
            f"allocate() wants to give out {wanted:,.2f}, but there are {state.total:,.2f} in all; targets may add up "
            "to less, never to more"
        )
    return answer * MICRO


def _limited(asked: Floats, terms: AllocationTerms, standing: Standing, total: float) -> Floats:
    """The targets within floors and caps, and within what halted portfolios leave; whole cents."""
    weights = np.clip(asked / total, terms.floors, terms.caps)
    moving = ~standing.halted
    room = max(0.0, 1.0 - float(_sum(np.where(moving, 0.0, standing.equity))) / total)
    floors = np.where(moving, terms.floors, 0.0)
    if float(_sum(weights[moving])) > room:
        above, least = np.where(moving, weights - floors, 0.0), float(_sum(floors))
        if least > room:  # not even the floors can be kept
            above, floors = floors * (room / least), np.zeros(len(floors))
        else:
            above = above * ((room - least) / float(_sum(above)))
        weights = floors + above
    return np.where(moving, np.rint(weights * total / CENT) * CENT, standing.equity)


def _transfers(
    target: Floats, terms: AllocationTerms, standing: Standing, kept: float, total: float
) -> tuple[Floats, Floats]:
    """What moves for the targets, and what is missing.

    Args:
        target: of each.
        kept: what of the master's cash is its buffer.
        total: what the band is a fraction of.
    """
    wanted = target - standing.equity
    settled = (target == 0.0) | (standing.equity == 0.0)
    small = (np.abs(wanted) <= terms.band * total) & ~settled
    wanted = np.where(small | (np.abs(wanted) < max(CENT, terms.min_transfer)) | standing.halted, 0.0, wanted)
    may_give = np.maximum(0.0, standing.free - terms.buffers * target)
    gives = _moved(np.minimum(np.maximum(0.0, -wanted), may_give), terms, 0.0)
    shortfall = np.where(wanted < 0.0, _cents(-wanted - gives), 0.0)
    pool = max(0.0, standing.master_cash - kept) + float(_sum(gives))
    gets = np.maximum(0.0, wanted)
    asked = float(_sum(gets))
    if asked > pool:
        gets = gets * pool / asked
    gets = _moved(gets, terms, _SLACK)
    while float(_sum(gets)) > pool:  # the slack was too much
        gets[int(np.argmax(gets))] -= CENT
    return gets - gives, shortfall


def _moved(amounts: Floats, terms: AllocationTerms, slack: float) -> Floats:
    """In whole cents, and nothing that is too little to move."""
    cents = _cents(amounts + slack)
    return np.where(cents < terms.min_transfer, 0.0, cents)


def _cents(micros: Floats) -> Floats:
    """Cut to whole cents, towards zero."""
    return np.trunc(micros / CENT) * CENT
