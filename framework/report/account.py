"""What a report is about: one portfolio, or all of them added up, in the same shape.

Everything else in this package reads :class:`Account` and never the simulator's own result or the books themselves, so
the same reports are made from backtests (:mod:`framework.report.assemble`) and from live books
(:mod:`framework.report.live_account`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats, Times
from framework.model.result import AllocationResult, Ints
from framework.report import metrics
from framework.report.actions import Actions
from framework.report.fills import Changes, Fills, Lapsed
from framework.report.lots import LotTable
from framework.report.money_weighted import YEAR, money_weighted_return

#: Name of the account that adds up all portfolios.
TOTAL = "total"


@dataclass(frozen=True, eq=False)
class Curve:
    """Value over time: one entry per bar, shape ``(T,)`` each, money in one currency.

    Attributes:
        opening: cash before the first bar.
        timestamps: the bars' labels, ``datetime64[us]`` UTC, strictly rising.
        session: ``datetime64[D]``, the exchange date each bar belongs to.
        equity, cash, gross, net: at each bar's close; gross is Σ |position × price|, net the signed sum.
        flows: money that came in (negative: went out) after the value before and is in this bar's: the base of a bar's
            return is the value before + flow.
        begun: when the first bar could be traded.
        moments: ``datetime64[us]`` UTC, when each value was known, never falling.
    """

    opening: float
    timestamps: Times
    session: NDArray[np.datetime64]
    equity: Floats
    cash: Floats
    gross: Floats
    net: Floats
    flows: Floats
    begun: np.datetime64
    moments: Times

    def __len__(self) -> int:
        return len(self.equity)

    @cached_property
    def ends(self) -> NDArray[np.intp]:
        """Row of the last bar of each session, shape ``(S,)``."""
        last = np.ones(len(self), dtype=np.bool_)
        last[:-1] = self.session[1:] != self.session[:-1]
        return np.flatnonzero(last)

    @cached_property
    def sessions(self) -> NDArray[np.datetime64]:
        """The exchange dates, shape ``(S,)``."""
        return self.session[self.ends]

    @cached_property
    def sessions_per_year(self) -> float:
        """How many sessions a year has by these dates: what all its figures are annualised with."""
        return metrics.sessions_per_year(self.sessions)

    @cached_property
    def returns(self) -> Floats:
        """Session returns, shape ``(S,)``, without the effect of money that came or went."""
        return metrics.session_returns(self.equity, self.opening, self.flows, self.ends)

    @cached_property
    def drawdown(self) -> Floats:
        """Fall of the return index below its peak at each bar, shape ``(T,)``."""
        returns = metrics.period_returns(self.equity, self.opening, self.flows)
        return metrics.drawdown(metrics.return_index(returns))

    @cached_property
    def profit(self) -> float:
        """Final equity − opening − all the money that came in, less what went out; money."""
        return round(float(self.equity[-1]) - self.opening - float(np.sum(self.flows)), 6)

    @cached_property
    def figures(self) -> metrics.Figures:
        """The key figures of the session returns."""
        return metrics.figures(self.returns, self.sessions_per_year)


@dataclass(frozen=True, eq=False)
class Movements:
    """``F`` movements of money, in order of time; shape ``(F,)`` each.

    Attributes:
        at: ``datetime64[us]`` UTC, when each was booked.
        portfolio: whose it is; ``0`` is the master account.
        kind, amount, reference: as in ``model.result.Flows``.
        row: of the account's curve, whose value is the first to hold it; the curve's length: it came after the last.
    """

    at: Times
    portfolio: tuple[str, ...]
    kind: tuple[str, ...]
    amount: Floats
    reference: tuple[str, ...]
    row: Ints

    def __len__(self) -> int:
        return len(self.amount)

    def of(self, *kinds: str) -> NDArray[np.bool_]:
        """Which are of these kinds, shape ``(F,)``."""
        return np.array([kind in kinds for kind in self.kind], dtype=np.bool_)

    def of_portfolio(self, name: str) -> Movements:
        """Those of one portfolio, or of the master account."""
        return self.take(np.array([whose == name for whose in self.portfolio], dtype=np.bool_))

    def sum(self, *kinds: str) -> float:
        """Σ of those of these kinds (all, if none is given), money; in is positive."""
        amounts = self.amount[self.of(*kinds)] if kinds else self.amount
        return round(float(np.sum(amounts)), 6)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Movements:
        """The movements at ``index`` (positions or a mask), in that order."""
        rows = np.arange(len(self))[index].tolist()
        portfolio, kind, reference = (
            tuple(values[row] for row in rows) for values in (self.portfolio, self.kind, self.reference)
        )
        return Movements(self.at[index], portfolio, kind, self.amount[index], reference, self.row[index])


@dataclass(frozen=True, eq=False)
class Account:
    """One portfolio, or the total.

    To the total, a transfer between its portfolios and the master account is no movement of money: what one gives, the
    other gets. To a portfolio it is.

    Attributes:
        name: the portfolio's id, or ``total``.
        strategies: of the portfolios in it.
        currency: of all money.
        portfolios: ids of the whole run, that ``fills.portfolio`` points into.
        names: tickers of the whole run, that ``fills.ticker`` points into.
        curve: value over time.
        benchmark: the benchmark's, at the same bars, where there is one, on capital that nothing is added to or taken
            from; ``benchmark_name`` says what it is.
        tickers: its own ``N`` tickers.
        closes: shape ``(S, N)``, last known close of each ticker at each session's end, in ``currency``, adjusted for
            splits and dividends as the strategy saw it; NaN before its first.
        fills, lapsed: orders that traded, and that did not; shares and prices as traded.
        actions: splits, dividends and renames of what was held.
        movements: of money; of the total, those of all portfolios and of the master account.
        contributions: profit by ticker, money; together they are the account's profit.
        trimmed_fills, trimmed_notional, stale_closes: as in ``model.result.PortfolioResult``.
        cells: bars × tickers that were simulated.
        simulation_seconds: strategy, indicators and simulator.
        currencies: of the prices of each of ``names``.
        lots: what was bought when, sold when, and earned.
        changes: of its positions.
        is_total: whether it adds up all portfolios; a portfolio may be called ``total``, too.
    """

    name: str
    strategies: tuple[str, ...]
    currency: str
    portfolios: tuple[str, ...]
    names: tuple[str, ...]
    curve: Curve
    benchmark: Curve | None
    benchmark_name: str
    tickers: tuple[str, ...]
    closes: Floats
    fills: Fills
    lapsed: Lapsed
    actions: Actions
    movements: Movements
    contributions: dict[str, float]
    trimmed_fills: int
    trimmed_notional: float
    stale_closes: int
    cells: int
    simulation_seconds: float
    lots: LotTable
    changes: Changes
    currencies: tuple[str, ...] = ()
    is_total: bool = False

    @cached_property
    def outside(self) -> Movements:
        """Its movements as it sees them: of the total, without the transfers, which stay inside it."""
        return self.movements if not self.is_total else self.movements.take(~self.movements.of("transfer"))

    @cached_property
    def flows(self) -> Movements:
        """Those of ``outside`` that figures count: up to its last value."""
        return self.outside.take(self.outside.row < len(self.curve))

    @cached_property
    def benchmark_equity(self) -> Floats | None:
        """What the same money, with all that came and went, was worth in the benchmark at each bar, shape ``(T,)``.

        Units of it are bought with the opening, and bought or sold whenever money comes or goes. Below 0: more was
        taken out than the benchmark would have made of it.
        """
        own, other = self.curve, self.benchmark
        if other is None or (own.opening == other.opening and not own.flows.any()):
            return None if other is None else other.equity
        return metrics.invested(metrics.period_returns(other.equity, other.opening), own.opening, own.flows)

    @cached_property
    def money_weighted_return(self) -> float | None:
        """Internal rate of return a year of the opening and all ``flows``; ``None`` if undefined."""
        return self._money_weighted(float(self.curve.equity[-1]))

    @cached_property
    def benchmark_money_weighted_return(self) -> float | None:
        """The same of the same money in the benchmark."""
        return None if self.benchmark_equity is None else self._money_weighted(float(self.benchmark_equity[-1]))

    def _money_weighted(self, final: float) -> float | None:
        begun, end = self.curve.begun, self.curve.moments[-1]
        times = np.concatenate(([begun], np.clip(self.flows.at, begun, end)))
        amounts = np.concatenate(([self.curve.opening], self.flows.amount))
        return money_weighted_return(amounts, (end - times) / YEAR, final)

    @cached_property
    def shape(self) -> metrics.Shape:
        """How its session returns are spread."""
        return metrics.shape(self.curve.returns, self.curve.sessions_per_year)

    @cached_property
    def relative(self) -> metrics.Relative | None:
        """How its session returns go with the benchmark's; ``None`` without one."""
        if self.benchmark is None:
            return None
        return metrics.relative(self.curve.returns, self.benchmark.returns, self.curve.sessions_per_year)

    @cached_property
    def turnover(self) -> float | None:
        """Notional traded a year ÷ mean equity."""
        traded = float(np.sum(self.fills.notional))
        return metrics.turnover(traded, self.curve.equity, len(self.curve.ends), self.curve.sessions_per_year)

    @cached_property
    def exposure(self) -> float | None:
        """Mean gross ÷ equity over the bars."""
        return metrics.exposure(self.curve.gross, self.curve.equity)

    @cached_property
    def fees(self) -> float:
        """Σ fees, money."""
        return round(float(np.sum(self.fills.fees)), 6)


@dataclass(frozen=True, eq=False)
class Accounts:
    """A run as reports see it.

    Attributes:
        total: all portfolios and the master account added up.
        portfolios: each of them, in the order of the config.
        parts: the curve of each portfolio at the total's moments.
        master: the curve of the master account's cash at the total's moments; ``None``: the run has no allocator.
        allocations: all of them, in order of time.
    """

    total: Account
    portfolios: tuple[Account, ...]
    parts: tuple[Curve, ...]
    master: Curve | None = None
    allocations: tuple[AllocationResult, ...] = ()

    @property
    def is_single(self) -> bool:
        """Whether one portfolio is all there is, so that the total is nothing else."""
        return len(self.portfolios) == 1 and self.master is None
