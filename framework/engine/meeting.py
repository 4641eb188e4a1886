"""Where the threads of a backtest's portfolios meet for an allocation: one works it out while all others wait."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from framework.data.flow_dates import DatedFlow
from framework.data.moments import Due
from framework.engine.account import Account
from framework.engine.backtest import StoppedError
from framework.engine.matching import Waiting
from framework.engine.orders import OrderBook
from framework.errors import AllocationError
from framework.model.money import MICRO, rate_decimal, shares_decimal, to_micro
from framework.model.panel import Floats, Panel
from framework.model.result import AllocationResult, Flows, MasterResult
from framework.model.timeline import Timeline
from framework.trading.allocation import (
    AllocationPlan,
    AllocationTerms,
    Standing,
    past_returns,
    plan_allocation,
    run_id,
)
from framework.trading.allocator import Allocator

if TYPE_CHECKING:
    from framework.engine.review import BacktestReview

Dates = NDArray[np.datetime64]

#: Micros beyond which a float64 does not hold every whole number.
_EXACT = 2**53
#: What the market may move until an order without a limit fills; as in the query ``reserved_cash``.
_RESERVE = Decimal("1.005")


class Flow(NamedTuple):
    """Money that came (positive) or went.

    ``row``: the first bar whose value holds it; ``at``: when it was booked; ``kind``: ``deposit``, ``withdrawal`` or
    ``transfer``; ``reference``: what it is known by, the run id of an allocation.
    """

    row: int
    at: datetime
    micros: float
    kind: str
    reference: str


class Seat:
    """One portfolio as a meeting sees it.

    Args:
        account: its money.
        book: its orders.
        review: its risk rules, which may have halted it.
        panel: its bars.
        timeline: of the same rows.
        first: row of its first bar that counts.
    """

    def __init__(
        self,
        account: Account,
        book: OrderBook,
        review: BacktestReview | None,
        panel: Panel,
        timeline: Timeline,
        first: int,
    ) -> None:
        self.account, self.book = account, book
        self._review, self._panel, self._timeline, self._first = review, panel, timeline, first
        self._ends = np.flatnonzero(timeline.last_of_session())
        self.row = first - 1

    def reserved(self) -> float:
        """What open buys have spoken for, in micros."""
        buys = [order for order in self.book.waiting if order.lots > 0.0]
        return float(-(-sum(map(self._cost, buys), Decimal(0)) // 1)) if buys else 0.0

    def _cost(self, order: Waiting) -> Decimal:
        account, limit = self.account, order.terms.limit_price
        shares = shares_decimal(order.lots, account.terms.lots_per_share)
        if account.rates is not None:
            shares *= rate_decimal(account.rates.at_close.item(order.decided, order.column))
        if limit is not None:
            return shares * Decimal(round(limit * MICRO))
        decided_on = order.split_close or account.closes.item(order.decided, order.column)
        return shares * Decimal(round(decided_on * MICRO)) * _RESERVE

    def equity(self) -> float:
        """At the close of the row it stands at, with all that has come since; in micros."""
        return self.account.worth(self.row) if self.row >= self._first else self.account.cash

    def is_halted(self) -> bool:
        """Whether a risk rule has halted it."""
        return self._review is not None and self._review.halted_by is not None

    def unpriced(self, session: np.datetime64) -> str | None:
        """The first held ticker without a price of this session, or a fresh rate; ``None``: all have both."""
        first = int(np.searchsorted(self._timeline.session, session))
        closes, rates = self._panel.close[first : self.row + 1], self.account.rates
        for column in np.flatnonzero(self.account.lots).tolist():
            is_rate_old = rates is not None and rates.is_old is not None and bool(rates.is_old[self.row, column])
            if is_rate_old or np.isnan(closes[:, column]).all():
                return self._panel.tickers[column]
        return None

    def returns(self, wanted: Dates) -> Floats:
        """Of these sessions; see :func:`past_returns`."""
        if self.row < self._first:
            return np.full(len(wanted), np.nan)
        self.account.catch_up()
        ends = self._ends[(self._ends >= self._first) & (self._ends < self.row)]
        rows = np.append(ends, self.row)[-len(wanted) - 1 :]
        sessions, values = self._timeline.session[rows], self.account.equity[rows]
        money_in = self.account.money_in(rows)
        return past_returns(sessions, values, money_in, wanted)


class Meeting:
    """The portfolios that an allocator lists, and the master account, in one backtest.

    Args:
        name: of the allocator, for run ids.
        allocator: decides.
        terms: hold whatever it decides; their ``portfolios`` are who meets.
        dues: the moments, in order.
        sessions: all of the run, for the history that the allocator wants.
        opening_cash: of the master account.
        flows: of the master account, in order.
    """

    def __init__(
        self,
        name: str,
        allocator: Allocator,
        terms: AllocationTerms,
        dues: Sequence[Due],
        sessions: Dates,
        opening_cash: float,
        flows: Sequence[DatedFlow],
    ) -> None:
        self.dues = tuple(dues)
        self._name, self._allocator, self._terms, self._sessions = name, allocator, terms, sessions
        self._seats: dict[str, Seat] = {}
        self._due = 0
        self._barrier = threading.Barrier(len(terms.portfolios), self._allocate)
        self._opening_cash, self._cash, self._coming = opening_cash, to_micro(opening_cash), list(flows)
        self._flows: list[Flow] = []
        self._allocations: list[AllocationResult] = []
        self._stopped: list[str] = []
        self._refused: list[str] = []

    def sit_down(self, portfolio_id: str, seat: Seat) -> None:
        """A portfolio will come to every meeting."""
        self._seats[portfolio_id] = seat

    def meet(self, seat: Seat, row: int, number: int) -> None:
        """Wait for all others, and until the allocation is done.

        Args:
            seat: who comes.
            row: of its panel, whose close it is valued at.
            number: of the meeting, from 0.

        Raises:
            StoppedError: another portfolio will not come any more.
            AllocationError: the allocator failed; raised in one thread only.
        """
        seat.row, self._due = row, number
        try:
            self._barrier.wait()
        except threading.BrokenBarrierError:
            raise StoppedError("another portfolio of the allocation has stopped") from None

    def leave(self) -> None:
        """A portfolio will not come any more: nobody is to wait for it."""
        self._barrier.abort()

    def result(self) -> MasterResult:
        """What became of the master account, after the last meeting."""
        self._take_flows(None)
        flows = Flows(
            row=np.full(len(self._flows), -1),
            at=np.array([flow.at.replace(tzinfo=None) for flow in self._flows], dtype="datetime64[us]"),
            amount=np.array([flow.micros / MICRO for flow in self._flows]),
            kind=tuple(flow.kind for flow in self._flows),
            reference=tuple(flow.reference for flow in self._flows),
        )
        return MasterResult(self._opening_cash, flows, tuple(self._allocations))

    def notes(self) -> tuple[str, ...]:
        """The allocations that could not be made, and the withdrawals that were refused."""
        left_out = [] if len(self._stopped) < 2 else [f"{len(self._stopped)} allocations in all were not made"]
        return (*self._stopped[:1], *left_out, *self._refused)

    # While all wait.

    def _allocate(self) -> None:
        due = self.dues[self._due]
        self._take_flows(due)
        seats = [self._seats[name] for name in self._terms.portfolios]
        session = np.datetime64(due.session, "D")
        for name, seat in zip(self._terms.portfolios, seats, strict=True):
            unpriced = seat.unpriced(session)
            if unpriced is not None:
                self._stopped.append(
                    f"the allocation of {due.session} was not made: portfolio {name} holds {unpriced}, which has no "
                    "price of that session"
                )
                return
        try:
            plan = plan_allocation(self._allocator, self._terms, self._standing(seats, session), due.at)
        except AllocationError as error:
            raise AllocationError(f"allocator {self._name} at the close of {due.session}: {error}") from error
        self._move(plan, seats, due)

    def _standing(self, seats: Sequence[Seat], session: np.datetime64) -> Standing:
        count = self._allocator.sessions()
        known = self._sessions[: int(np.searchsorted(self._sessions, session, side="right"))]
        wanted = known[-count:] if count else known[:0]
        cash = np.array([seat.account.cash for seat in seats])
        return Standing(
            equity=np.rint([seat.equity() for seat in seats]),
            cash=cash,
            free=cash - np.array([seat.reserved() for seat in seats]),
            master_cash=self._cash,
            returns=np.stack([seat.returns(wanted) for seat in seats], axis=1),
            halted=np.array([seat.is_halted() for seat in seats]),
        )

    def _move(self, plan: AllocationPlan, seats: Sequence[Seat], due: Due) -> None:
        name = run_id(self._name, due.session, due.slot)
        before = self._all_cash(seats)
        equity = [seat.equity() for seat in seats]
        for column in plan.order:
            seat, micros = seats[column], float(plan.transfer[column])
            seat.account.move(seat.row, Flow(seat.row + 1, due.at, micros, "transfer", name))
            self._cash -= micros
            self._flows.append(Flow(-1, due.at, -micros, "transfer", name))
        if self._all_cash(seats) != before < _EXACT:
            raise AllocationError(f"the allocation {name} changed the cash of all portfolios together; this is a bug")
        for column, seat in enumerate(seats):
            is_short = self._terms.reduces and plan.shortfall[column] > 0.0
            seat.account.limit = float(plan.target[column]) if is_short else np.inf
        self._allocations.append(
            AllocationResult(
                run_id=name,
                at=due.at,
                portfolios=self._terms.portfolios,
                equity=np.array(equity) / MICRO,
                target=plan.target / MICRO,
                transfer=plan.transfer / MICRO,
                shortfall=plan.shortfall / MICRO,
                master_cash=self._cash / MICRO,
            )
        )

    def _all_cash(self, seats: Sequence[Seat]) -> int:
        return int(self._cash) + sum(int(seat.account.cash) for seat in seats)

    def _take_flows(self, due: Due | None) -> None:
        """Book what came to the master account, or left it, up to this moment; ``None``: all."""
        while self._coming and (due is None or self._coming[0].at <= due.at):
            flow = self._coming.pop(0)
            micros = to_micro(flow.amount)
            if self._cash + micros < 0.0:
                self._refused.append(
                    f"the withdrawal of {-flow.amount:,.2f} from the master account on {flow.session} "
                    f"({flow.reference}) was refused: it had {self._cash / MICRO:,.2f}"
                )
                continue
            self._cash += micros
            kind = "deposit" if micros > 0.0 else "withdrawal"
            self._flows.append(Flow(-1, flow.at, micros, kind, flow.reference))
