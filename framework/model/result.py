"""What a simulation leaves, as arrays: the one thing that reports are made from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats, Panel, Times
from framework.model.rates import Rates
from framework.model.timeline import Timeline

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trades:
    """``K`` fills in booking order, a column each.

    Attributes:
        ticker: column of the panel.
        decided: row of the panel on whose close the order was decided.
        filled: row of the panel in whose bar it filled.
        quantity: shares, signed (+ buy, − sell).
        arrival_price: price at which the order could first trade, before slippage (the bar's open).
        decision_price: the close decided on.
        price: price paid or received, to 1e-6; like the two before in the ticker's currency.
        notional: |quantity| × price, to 1e-6, ≥ 0, in the portfolio's currency.
        fees: commission, to 1e-6, in the portfolio's currency.
        fx_rate: units of the portfolio's currency per unit of the ticker's; None: all are 1.
        notional_local: |quantity| × price, to 1e-6, ≥ 0, in the ticker's currency; None: as ``notional``.
    """

    ticker: Ints
    decided: Ints
    filled: Ints
    quantity: Floats
    arrival_price: Floats
    decision_price: Floats
    price: Floats
    notional: Floats
    fees: Floats
    fx_rate: Floats | None = None
    notional_local: Floats | None = None

    def __len__(self) -> int:
        return len(self.ticker)

    @property
    def cash(self) -> Floats:
        """Signed cash of each fill, shape ``(K,)``: −(notional + fees) for buys, notional − fees for sells."""
        return -np.sign(self.quantity) * self.notional - self.fees


class Unfilled(NamedTuple):
    """An order, or the rest of one, that ended without a fill.

    ``bar`` and ``ticker`` are row and column of the panel; ``quantity`` is signed shares, NaN if it was never sized.
    """

    bar: int
    ticker: int
    quantity: float
    reason: str


@dataclass(frozen=True, eq=False)
class Flows:
    """``F`` movements of money into and out of one portfolio, in order of time.

    Attributes:
        row: shape ``(F,)``: row of the panel whose value is the first to hold it; the number of rows where it came
            after the last value. Of the master account, which has no panel: -1.
        at: shape ``(F,)``, ``datetime64[us]`` UTC: when it was booked.
        amount: shape ``(F,)``: money, to 1e-6; in is positive.
        kind: of each: ``deposit``, ``withdrawal``, or ``transfer`` (from or to the master account).
        reference: of each: what a deposit or withdrawal is known by, the run id of an allocation.
    """

    row: Ints
    at: Times
    amount: Floats
    kind: tuple[str, ...]
    reference: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def none(cls) -> Flows:
        """No movement at all."""
        return cls(np.empty(0, np.int64), np.empty(0, "datetime64[us]"), np.empty(0), (), ())


@dataclass(frozen=True, eq=False)
class AppliedActions:
    """``A`` splits and dividends that met a position, in booking order; shape ``(A,)`` each.

    Attributes:
        row: of the panel at whose open they were booked, before anything filled there.
        ticker: column of the panel.
        kind: of each: ``split`` or ``dividend``.
        value: of a split, new shares per old one; of a dividend, money per share, in the ticker's currency.
        held: signed shares before it.
        change: signed shares that it brought; 0 for a dividend.
        cash: money that it brought, to 1e-6, in the portfolio's currency; 0 for a split.
    """

    row: Ints
    ticker: Ints
    kind: tuple[str, ...]
    value: Floats
    held: Floats
    change: Floats
    cash: Floats

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def none(cls) -> AppliedActions:
        """None at all."""
        rows, numbers = np.empty(0, np.int64), np.empty(0)
        return cls(rows, rows, (), numbers, numbers, numbers, numbers)


@dataclass(frozen=True, eq=False)
class AllocationResult:
    """One allocation of a run.

    Attributes:
        run_id: its idempotency key.
        at: when, aware UTC.
        portfolios: ids of the ``N`` that the allocator lists.
        equity: shape ``(N,)``: before it.
        target: shape ``(N,)``: what each was to be worth.
        transfer: shape ``(N,)``: what moved, in is positive.
        shortfall: shape ``(N,)``: what a portfolio should have given beyond that, ≥ 0.
        master_cash: of the master account, afterwards.
    """

    run_id: str
    at: datetime
    portfolios: tuple[str, ...]
    equity: Floats
    target: Floats
    transfer: Floats
    shortfall: Floats
    master_cash: float


@dataclass(frozen=True, eq=False)
class MasterResult:
    """The master account of a run: cash only.

    Attributes:
        opening_cash: before the first bar.
        flows: deposits and withdrawals at the master itself, and its side of the transfers.
        allocations: all of them, in order of time.
    """

    opening_cash: float
    flows: Flows
    allocations: tuple[AllocationResult, ...]


@dataclass(frozen=True, eq=False)
class PortfolioResult:
    """One portfolio's simulation.

    Attributes:
        portfolio_id: as in the config.
        strategy: its registered name.
        currency: of cash, equity and fees.
        opening_cash: before the first bar.
        panel: the bars it traded at, with the warm-up before ``first``.
        timeline: of the same rows.
        first: row of the first bar that counts (``start``); ``T`` below is the number of rows from there on.
        equity: shape ``(T,)``: cash + Σ position × last close (× rate), at each bar's close.
        cash: shape ``(T,)``.
        gross: shape ``(T,)``: Σ |position × last close|.
        net: shape ``(T,)``: Σ position × last close.
        trades: the fills.
        unfilled: every order that ended otherwise, in order of time.
        unfilled_decided: row of the panel that each of these was decided on.
        trimmed_fills: how many buys were cut because cash did not suffice.
        trimmed_notional: their missing notional, in the portfolio's currency.
        stale_closes: count of (bar, held ticker) valued at an older close for want of a bar.
        simulation_seconds: strategy, indicators and simulator together.
        notes: what a reader should know of this run: a halt, limits that prices have passed.
        rates: to ``currency``, of the panel's rows; None: all tickers are in it.
        currencies: of each ticker, where there are ``rates``.
        flows: money that came and went after the opening. ``equity`` of a bar is before the allocation at its close.
        actions: the splits and dividends of what was held.
        adjusted_close: shape ``(rows of the panel, N)``: closes as the strategy saw them; None: those of ``panel``.
    """

    portfolio_id: str
    strategy: str
    currency: str
    opening_cash: float
    panel: Panel
    timeline: Timeline
    first: int
    equity: Floats
    cash: Floats
    gross: Floats
    net: Floats
    trades: Trades
    unfilled: tuple[Unfilled, ...]
    trimmed_fills: int
    trimmed_notional: float
    stale_closes: int
    simulation_seconds: float
    notes: tuple[str, ...] = ()
    rates: Rates | None = None
    currencies: tuple[str, ...] = ()
    flows: Flows = field(default_factory=Flows.none)
    unfilled_decided: tuple[int, ...] = ()
    actions: AppliedActions = field(default_factory=AppliedActions.none)
    adjusted_close: Floats | None = None

    @property
    def bars(self) -> int:
        """How many bars were simulated, warm-up excluded."""
        return len(self.equity)

    @property
    def overdrawn_bars(self) -> int:
        """At how many bars cash was below zero: facts, such as fees beyond a sale's proceeds, are always booked."""
        return int(np.count_nonzero(self.cash < 0.0))

    def remarks(self) -> tuple[str, ...]:
        """What a reader of the figures should know: whether cash was below zero, and the notes of the run."""
        if not self.overdrawn_bars:
            return self.notes
        lowest = float(self.cash.min())
        overdrawn = (
            f"portfolio {self.portfolio_id}: cash was below zero at {self.overdrawn_bars} bars, lowest {lowest:,.2f}: "
            "fees were higher than what cash and sales gave"
        )
        return (overdrawn, *self.notes)

    def reasons(self) -> dict[str, int]:
        """How many orders ended without a fill, by reason."""
        return dict(sorted(Counter(order.reason for order in self.unfilled).items()))


@dataclass(frozen=True, eq=False)
class RunResult:
    """All portfolios of a run and what a reader must know to believe it.

    Attributes:
        name: of the run, from the config.
        portfolios: in the order of the config.
        benchmarks: per portfolio id, the benchmark's own simulation, if one is configured.
        prices: ``traded`` or ``adjusted``: what was traded at.
        fill: the fill rule in words.
        costs: commission and slippage in words.
        config: as resolved (defaults filled in, secrets removed).
        versions: of this package, Python and the libraries that computed.
        fingerprint: hash of the bars that were used.
        notes: what a reader should know (refused rows, stale data, parts not simulated).
        load_seconds: from asking for the bars to the panels being ready.
        master: the master account; None: the run has no allocator.
    """

    name: str
    portfolios: tuple[PortfolioResult, ...]
    benchmarks: dict[str, PortfolioResult]
    prices: str
    fill: str
    costs: str
    config: dict[str, Any]
    versions: dict[str, str]
    fingerprint: str
    notes: tuple[str, ...]
    load_seconds: float
    master: MasterResult | None = None


@dataclass(frozen=True)
class Ending:
    """How a portfolio stands when its engine has stopped; money in its currency.

    Attributes:
        portfolio_id: which.
        currency: of the money.
        cash: latest balance.
        equity, profit: of its latest valuation; ``None``: it was never valued.
        positions: shares by ticker, none that are zero.
        trades, decisions: how many this run has made.
        failures: cycles of this run that failed.
    """

    portfolio_id: str
    currency: str
    cash: Decimal
    equity: Decimal | None
    profit: Decimal | None
    positions: dict[str, Decimal]
    trades: int
    decisions: int
    failures: int
