"""Allocations in the books: what portfolios are worth and what moves for it, in one transaction, once per run id."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from framework.books import checks
from framework.books.entries import Transfer
from framework.books.journal import reserved
from framework.books.keys import allocation_key
from framework.books.ledger import book_in, lock
from framework.db.pool import Pool
from framework.db.queries import Row, execute, fetch_all, fetch_one
from framework.db.retry import retry
from framework.db.types import Connection
from framework.errors import AllocationError, BookingError, IdempotencyConflict
from framework.model.master import MASTER
from framework.model.money import MICRO, exact_decimal
from framework.model.panel import Floats
from framework.trading.allocation import Allocation, AllocationPlan, Standing, past_returns, plan_allocation

_sum = np.add.reduce


@dataclass(frozen=True, eq=False)
class Marks:
    """What a portfolio's tickers are worth.

    Attributes:
        tickers: names of the ``N`` columns.
        values: shape ``(N,)``: a share's price in the portfolio's currency; 0 where it has none.
        is_fresh: shape ``(N,)``: whether the price is of the newest session.
        lots_per_share: how the portfolio counts its shares.
    """

    tickers: tuple[str, ...]
    values: Floats
    is_fresh: NDArray[np.bool_]
    lots_per_share: float


@dataclass(frozen=True, eq=False)
class History:
    """Sessions whose returns an allocator wants to see.

    Attributes:
        sessions: shape ``(T,)``, ``datetime64[D]``, rising.
        starts: of these and earlier sessions, rising: no bar of a session is labelled before.
        dates: of ``starts``.
        until: bars labelled from here on are of later sessions.
    """

    sessions: NDArray[np.datetime64]
    starts: tuple[datetime, ...]
    dates: NDArray[np.datetime64]
    until: datetime


@dataclass(frozen=True, eq=False)
class Request:
    """An allocation that is to be made.

    Attributes:
        allocation: the allocator and its terms.
        run_id: it happens once under this.
        at: the moment that it is due.
        session: exchange date.
        priced_on: exchange date of the newest session that has ended; prices have to be of it.
        marks: by portfolio.
        history: what the allocator sees of the past.
        made_by: who makes it, for whoever looks.
    """

    allocation: Allocation
    run_id: str
    at: datetime
    session: date
    priced_on: date
    marks: Mapping[str, Marks]
    history: History
    made_by: str


@dataclass(frozen=True, slots=True)
class Share:
    """What an allocation is for one portfolio; money in its currency, ``transfer`` to it is positive."""

    portfolio_id: str
    equity: Decimal
    target: Decimal
    transfer: Decimal
    shortfall: Decimal


@dataclass(frozen=True, slots=True)
class Allocated:
    """An allocation, made or proposed.

    Attributes:
        run_id: see :class:`Request`.
        total: what could be given out.
        shares: per portfolio that the allocator lists.
        already: it had been made before; nothing has changed now.
    """

    run_id: str
    total: Decimal
    shares: tuple[Share, ...]
    already: bool = False


def allocate(pool: Pool, request: Request, clock: datetime | None = None) -> Allocated:
    """Make an allocation: all its transfers in one transaction, or none; one that was made before stays as it is.

    Args:
        pool: one connection is held meanwhile.
        request: with prices that were read before.
        clock: the engine's moment (aware); ``None``: the database's clock.

    Raises:
        AllocationError: a held ticker has no price of the session, or the allocator failed.
        IdempotencyConflict: the run id was taken for other portfolios.
        BookingError: a portfolio is not open, or of another currency.
        DatabaseError: the server failed or cannot be reached.
    """
    if clock is not None:
        checks.moment("clock", clock)

    def once() -> Allocated:
        with pool.transaction(isolation="read committed") as connection:
            lock(connection, [MASTER, *request.allocation.terms.portfolios])
            made = _made(connection, request)
            if made is not None:
                return made
            standing, plan = _planned(connection, request)
            _book(connection, request, standing, plan, clock)
            return _told(request, standing, plan)

    return retry(once)


def propose(pool: Pool, request: Request) -> Allocated:
    """What :func:`allocate` would do now; nothing is written.

    Raises:
        AllocationError, BookingError, DatabaseError: as there.
    """
    with pool.transaction(read_only=True, isolation="repeatable read") as connection:
        made = _made(connection, request)
        return made or _told(request, *_planned(connection, request))


def read_allocation(connection: Connection, run_id: str) -> Allocated | None:
    """An allocation that was made; ``None``: it was not."""
    rows = fetch_all(connection, "allocation", {"run_id": run_id})
    if not rows:
        return None
    return Allocated(run_id, rows[0][2], tuple(Share(*row[3:]) for row in rows), already=True)


def _made(connection: Connection, request: Request) -> Allocated | None:
    """The allocation, where it was made before."""
    made = read_allocation(connection, request.run_id)
    theirs = set() if made is None else {share.portfolio_id for share in made.shares}
    ours = set(request.allocation.terms.portfolios)
    if made is not None and theirs != ours:
        raise IdempotencyConflict(
            f"the allocation {request.run_id!r} was made for the portfolios {', '.join(sorted(theirs))}, not for "
            f"{', '.join(sorted(ours))}; nothing moved. Give one of the configs another name, or this "
            "allocation another --reference"
        )
    return made


def read_limit(connection: Connection, portfolio_id: str) -> Decimal | None:
    """What a portfolio's own targets are sized on at most: what the last allocation has left; ``None``: no limit."""
    row = fetch_one(connection, "allocation_limit", {"portfolio_id": portfolio_id})
    return None if row is None else row[0]


# What the books say.


def _planned(connection: Connection, request: Request) -> tuple[Standing, AllocationPlan]:
    allocation = request.allocation
    ids = allocation.terms.portfolios
    found = fetch_all(connection, "allocation_state", {"portfolio_ids": [MASTER, *ids]})
    rows = {row[0]: row for row in found}
    _check(rows, (MASTER, *ids), allocation.currency)
    spoken_for = reserved(connection, (MASTER, *ids))
    free = {name: rows[name][2] - spoken_for.get(name, Decimal(0)) for name in (MASTER, *ids)}
    standing = Standing(
        equity=np.rint([_equity(rows[name], request.marks[name], request.priced_on) for name in ids]),
        cash=np.array([_micros(rows[name][2]) for name in ids]),
        free=np.array([_micros(free[name]) for name in ids]),
        master_cash=_micros(free[MASTER]),
        returns=_returns(connection, ids, request.history),
        halted=np.array([rows[name][5] for name in ids]),
    )
    return standing, plan_allocation(allocation.allocator, allocation.terms, standing, request.at)


def _check(rows: Mapping[str, Row], wanted: Sequence[str], currency: str) -> None:
    for name in wanted:
        if name not in rows:
            raise BookingError(
                f"there is no portfolio {name!r} in the books; open it first (engine portfolio open). Nothing moved."
            )
        if rows[name][1] != currency:
            raise BookingError(
                f"portfolio {name!r} is in {rows[name][1]}, and the allocation is in {currency}; money moves between "
                "portfolios of one currency only. Nothing moved."
            )


def _equity(row: Row, marks: Marks, session: date) -> float:
    """Cash + Σ position × price in micros, in the order of the simulator's sum."""
    columns = {ticker: column for column, ticker in enumerate(marks.tickers)}
    lots = np.zeros(len(columns))
    for ticker, quantity in zip(row[3], row[4], strict=True):
        column = columns.get(ticker)
        if column is None or not marks.is_fresh[column] or not marks.values[column] > 0.0:
            raise AllocationError(
                f"portfolio {row[0]} holds {ticker}, which has no price of {session}; the allocation is not made"
            )
        lots[column] = float(quantity * int(marks.lots_per_share))
    return float(_sum(marks.values * lots)) * (MICRO / marks.lots_per_share) + _micros(row[2])


def _returns(connection: Connection, portfolio_ids: Sequence[str], history: History) -> Floats:
    """Shape ``(T, N)``; see :func:`past_returns`."""
    wanted = len(history.sessions)
    if not wanted:
        return np.empty((0, len(portfolio_ids)))
    starts = list(history.starts)
    asked = {"portfolio_ids": list(portfolio_ids), "starts": starts, "until": history.until, "sessions": wanted + 1}
    values: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    for name, number, equity, money_in in fetch_all(connection, "allocation_values", asked):
        values[name].append((number - 1, float(equity), float(money_in)))
    return np.stack([_returns_of(values[name], history, wanted) for name in portfolio_ids], axis=1)


def _returns_of(values: Sequence[tuple[int, float, float]], history: History, wanted: int) -> Floats:
    if not values:
        return np.full(wanted, np.nan)
    numbers, equity, money_in = zip(*values, strict=True)
    return past_returns(history.dates[list(numbers)], np.array(equity), np.array(money_in), history.sessions)


# What is written.


def _book(
    connection: Connection, request: Request, standing: Standing, plan: AllocationPlan, clock: datetime | None
) -> None:
    told = _told(request, standing, plan)
    transfers = [_transfer(request, told.shares[column]) for column in plan.order]
    book_in(connection, transfers, clock, reserved=reserved)
    limits = request.allocation.terms.reduces
    execute(
        connection,
        "insert_allocation",
        {
            "run_id": request.run_id,
            "allocator": request.allocation.name,
            "due_at": request.at,
            "session": request.session,
            "booked_at": clock,
            "total": told.total,
            "made_by": request.made_by,
            "portfolio_ids": [share.portfolio_id for share in told.shares],
            "equity": [share.equity for share in told.shares],
            "target": [share.target for share in told.shares],
            "transfer": [share.transfer for share in told.shares],
            "shortfall": [share.shortfall for share in told.shares],
            "is_limit": [limits and share.shortfall > 0 for share in told.shares],
        },
    )


def _transfer(request: Request, share: Share) -> Transfer:
    gives = share.transfer < 0
    return Transfer(
        portfolio_id=share.portfolio_id if gives else MASTER,
        to_portfolio_id=MASTER if gives else share.portfolio_id,
        key=allocation_key(request.run_id, share.portfolio_id),
        at=request.at,
        session=request.session,
        amount=abs(share.transfer),
        note=f"allocation {request.run_id}",
    )


def _told(request: Request, standing: Standing, plan: AllocationPlan) -> Allocated:
    columns = (standing.equity, plan.target, plan.transfer, plan.shortfall)
    money = [[exact_decimal(value, MICRO) for value in column.tolist()] for column in columns]
    rows = zip(request.allocation.terms.portfolios, *money, strict=True)
    return Allocated(request.run_id, exact_decimal(plan.total, MICRO), tuple(Share(*row) for row in rows))


def _micros(money: Decimal) -> float:
    return float(money * int(MICRO))
