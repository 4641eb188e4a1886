"""Replay: the live engine on a historical clock, in books of its own; it must end as the backtest did, to the cent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from framework.books.allocation import read_allocation
from framework.books.entries import CashMovement
from framework.books.keys import opening_key
from framework.books.ledger import book
from framework.books.open import Identity, open_portfolio
from framework.books.state import Valuation, read_portfolio
from framework.data.coming import Coming
from framework.data.feed import Feed
from framework.db.pool import Pool
from framework.db.queries import fetch_all, fetch_one
from framework.db.scratch import Scratch
from framework.engine.allocation_runner import AllocationRunner
from framework.engine.clock import Clock, SimulatedClock
from framework.engine.decider import Assignment
from framework.engine.live import LiveEngine
from framework.engine.runner import OUTAGES, Events
from framework.engine.simulator import Simulation
from framework.engine.watcher import Watcher
from framework.errors import ParityError
from framework.model.master import MASTER
from framework.model.money import rate_decimal
from framework.model.result import AllocationResult, MasterResult, PortfolioResult
from framework.model.timeline import moment
from framework.trading.broker import Broker, BrokerAccount, Exchange
from framework.trading.costs import Costs

_CENT = Decimal("0.01")


@dataclass(frozen=True)
class Replayed:
    """A portfolio that was replayed and found equal to its backtest."""

    portfolio_id: str
    trades: int
    cash: Decimal
    equity: Decimal


@dataclass(frozen=True, eq=False)
class Master:
    """The master account of a replay.

    Attributes:
        currency: of its cash.
        opening_cash: before the first bar.
        allocating: who allocates, on a clock.
    """

    currency: str
    opening_cash: float
    allocating: Callable[[Clock], AllocationRunner | None]


class PastBroker(Broker):
    """The broker of a replay, whichever the config names: nothing of the past is sent anywhere."""

    def __init__(self, costs: Costs) -> None:
        super().__init__()
        self._costs = costs

    def connect(self, exchange: Exchange) -> BrokerAccount:
        """An account that fills as the simulator does."""
        return exchange.paper_account(self._costs)


def replay(
    jobs: Sequence[Simulation],
    assignments: Sequence[Assignment],
    scratch: Scratch,
    feed: Feed,
    coming: Coming,
    progress: Callable[[str, int, int], None],
    master: Master | None = None,
    events: Sequence[datetime] = (),
) -> None:
    """Run portfolios through books of their own: the live engine, on a clock that stands at one bar after the other.

    Args:
        jobs: as backtested; each with a bar at least.
        assignments: the same, as the live engine runs them.
        scratch: books, empty.
        feed: of the market, adjusted as the panels of the backtests were.
        coming: the calendar.
        progress: is told (portfolio, bars done, bars in all); may raise, which ends the replay.
        master: the master account and who allocates; None: there is no allocator.
        events: moments of flows and allocations, which may lie before the first bar and after the last.

    Raises:
        EngineError: the first that a portfolio failed with.
    """
    opening = min([*events, *(moment(job.timeline.opens[job.first]) for job in jobs)]) - timedelta(seconds=1)
    for job, assignment in zip(jobs, assignments, strict=True):
        open_portfolio(scratch.pool, assignment.identity)
        _deposit(scratch.pool, job.portfolio_id, job.terms.opening_cash, opening)
    if master is not None:
        open_portfolio(scratch.pool, Identity(MASTER, "replay", "simulated", "master", master.currency))
        _deposit(scratch.pool, MASTER, master.opening_cash, opening)
    failures: list[BaseException] = []
    done = {job.portfolio_id: 0 for job in jobs}
    bars = {job.portfolio_id: len(job.panel) - job.first for job in jobs}

    def valued(identity: Identity, valuation: Valuation) -> None:
        done[identity.portfolio_id] += 1

    def failed(portfolio_id: str, error: BaseException, stopped: bool) -> None:
        if not isinstance(error, OUTAGES):
            failures.append(error)
            engine.stop()

    def idle() -> None:
        for name, count in done.items():
            progress(name, count, bars[name])

    starts = [moment(job.timeline.available[job.first]) for job in jobs]
    ends = [moment(job.timeline.available[-1]) for job in jobs]
    clock = SimulatedClock(min([*events, *starts]), max([*events, *ends]))
    engine = LiveEngine(
        "replay",
        "",
        assignments,
        scratch.pool,
        scratch.url,
        feed,
        coming,
        clock,
        events=Events(Watcher(valued=valued), failed=failed),
        allocating=None if master is None else master.allocating(clock),
    )
    engine.run(idle)
    if failures:
        raise failures[0]


def _deposit(pool: Pool, portfolio_id: str, cash: float, before: datetime) -> None:
    """The opening deposit, before all that happens."""
    if not cash:
        return
    deposit = CashMovement(
        portfolio_id=portfolio_id,
        key=opening_key(portfolio_id),
        at=before,
        session=before.date(),
        kind="deposit",
        amount=Decimal(repr(cash)),
    )
    book(pool, [deposit], before)


def compare(pool: Pool, backtest: PortfolioResult) -> Replayed:
    """Compare the books of a replay with the backtest: every trade exactly, cash and every equity to the cent.

    Raises:
        ParityError: names the first difference.
    """
    portfolio_id = backtest.portfolio_id
    with pool.connection() as connection:
        booked = fetch_all(connection, "replayed_trades", {"portfolio_id": portfolio_id})
        equity = [row[0] for row in fetch_all(connection, "replayed_equity", {"portfolio_id": portfolio_id})]
    expected = _trades(backtest)
    for number, (mine, theirs) in enumerate(zip(booked, expected, strict=False), start=1):
        if not _same(mine, theirs):
            raise _difference(portfolio_id, f"trade {number}", mine, theirs)
    if len(booked) != len(expected):
        raise _difference(portfolio_id, "the number of trades", len(booked), len(expected))
    if len(equity) != backtest.bars:
        raise _difference(portfolio_id, "the number of valuations", len(equity), backtest.bars)
    for found, value, stamp in zip(equity, backtest.equity, backtest.panel.timestamps[backtest.first :], strict=True):
        if abs(found - Decimal(repr(float(value)))) >= _CENT:
            raise _difference(portfolio_id, f"equity at {np.datetime_as_string(stamp, unit='m')}", found, value)
    cash, expected_cash = read_portfolio(pool, portfolio_id).cash or Decimal(0), _final_cash(backtest)
    if abs(cash - expected_cash) >= _CENT:
        raise _difference(portfolio_id, "cash", cash, expected_cash)
    return Replayed(portfolio_id, len(booked), cash, equity[-1] if equity else cash)


def _final_cash(result: PortfolioResult) -> Decimal:
    """At the end, with what an allocation at the last close has moved."""
    late = result.flows.amount[result.flows.row == len(result.panel)]
    last = result.cash[-1:].tolist() or [result.opening_cash]
    return sum((Decimal(repr(amount)) for amount in [*last, *late.tolist()]), Decimal(0))


def compare_allocations(pool: Pool, master: MasterResult) -> None:
    """Compare the allocations of a replay with those of the backtest: what moved, to the last digit.

    Raises:
        ParityError: names the first difference.
    """
    with pool.connection() as connection:
        for expected in master.allocations:
            made = read_allocation(connection, expected.run_id)
            found = {} if made is None else {share.portfolio_id: share.transfer for share in made.shares}
            theirs = {name: round(Decimal(repr(x)), 6) for name, x in _moved(expected).items()}
            if found != theirs:
                raise _difference(MASTER, f"the allocation {expected.run_id}", found, theirs)
        row = fetch_one(connection, "count_allocations")
    if row is not None and row[0] != len(master.allocations):
        raise _difference(MASTER, "the number of allocations", row[0], len(master.allocations))


def _moved(allocation: AllocationResult) -> dict[str, float]:
    return dict(zip(allocation.portfolios, allocation.transfer.tolist(), strict=True))


def _difference(portfolio_id: str, what: str, replayed: object, backtested: object) -> ParityError:
    return ParityError(
        f"portfolio {portfolio_id}: replay and backtest differ in {what}: the replay has {replayed}, the backtest "
        f"{backtested}. A strategy may keep something on itself between bars (use ctx.state), or decide on more "
        "bars than `lookback` gives it"
    )


def _trades(result: PortfolioResult) -> list[tuple[object, ...]]:
    trades, opens = result.trades, result.timeline.opens
    currencies = result.currencies or [result.currency] * len(result.panel.tickers)
    rates = np.ones(len(trades)) if trades.fx_rate is None else trades.fx_rate
    return [
        (
            result.panel.tickers[ticker],
            opens[filled].astype("datetime64[us]").item().replace(tzinfo=UTC),
            "BUY" if quantity > 0 else "SELL",
            *(round(Decimal(repr(abs(number))), 9) for number in (quantity, price, notional, fees)),
            currencies[ticker],
            rate_decimal(rate),
        )
        for ticker, filled, quantity, price, notional, fees, rate in zip(
            trades.ticker.tolist(),
            trades.filled.tolist(),
            trades.quantity.tolist(),
            trades.price.tolist(),
            trades.notional.tolist(),
            trades.fees.tolist(),
            rates.tolist(),
            strict=True,
        )
    ]


def _same(mine: Sequence[object], theirs: Sequence[object]) -> bool:
    """All exactly, but notional and fees to the cent: half a micro may round either way."""
    if [*mine[:5], *mine[7:]] != [*theirs[:5], *theirs[7:]]:
        return False
    return all(abs(a - b) < _CENT for a, b in zip(mine[5:7], theirs[5:7], strict=True))  # type: ignore[operator]
