"""What a report is about: one portfolio, or all of them added up, in the same shape.

Everything else in this package reads :class:`Account` and never the simulator's own result, so the same reports can
later be made from the live books.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats, Times
from framework.model.result import Ints
from framework.report import metrics

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
    """

    opening: float
    timestamps: Times
    session: NDArray[np.datetime64]
    equity: Floats
    cash: Floats
    gross: Floats
    net: Floats

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
        """Session returns, shape ``(S,)``."""
        return metrics.period_returns(self.equity[self.ends], self.opening)

    @cached_property
    def drawdown(self) -> Floats:
        """Fall of the return index below its peak at each bar, shape ``(T,)``."""
        return metrics.drawdown(metrics.return_index(metrics.period_returns(self.equity, self.opening)))

    @cached_property
    def figures(self) -> metrics.Figures:
        """The key figures of the session returns."""
        return metrics.figures(self.returns, self.sessions_per_year)


@dataclass(frozen=True, eq=False)
class Fills:
    """``K`` fills in the order of the run's trade log, shape ``(K,)`` each.

    Attributes:
        id: from 1, in the order of the whole run.
        portfolio: index into the run's portfolios.
        sequence: from 1, in the order of the portfolio.
        ticker: index into the run's tickers.
        executed: when it traded; ``bar`` and ``decided`` are the labels of the bars it filled in and was decided on.
        quantity: shares, signed.
        arrival_price, decision_price, price, notional, fees: as in ``model.result.Trades``.
        mark: close that the position is valued at after the fill's bar, in the ticker's currency; ``mark_rate`` is its
            rate to the account's.
        fx_rate, notional_local: as in ``model.result.Trades``, in numbers for own currencies, too.
    """

    id: Ints
    portfolio: Ints
    sequence: Ints
    ticker: Ints
    executed: Times
    bar: Times
    decided: Times
    quantity: Floats
    arrival_price: Floats
    decision_price: Floats
    price: Floats
    notional: Floats
    fees: Floats
    mark: Floats
    mark_rate: Floats
    fx_rate: Floats
    notional_local: Floats

    def __len__(self) -> int:
        return len(self.id)

    @property
    def cash(self) -> Floats:
        """Signed cash of each fill: −(notional + fees) for buys, notional − fees for sells."""
        return -np.sign(self.quantity) * self.notional - self.fees

    @property
    def slippage_bps(self) -> Floats:
        """How much worse than the arrival price each fill was, basis points; negative is better; NaN if that was 0."""
        ratio = np.full(len(self), np.nan)
        np.divide(self.price, self.arrival_price, out=ratio, where=self.arrival_price > 0)
        return np.sign(self.quantity) * (ratio - 1.0) * 1e4

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Fills:
        """The fills at ``index`` (positions or a mask), in that order."""
        return Fills(**{name: getattr(self, name)[index] for name in self.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class Lapsed:
    """``U`` orders, or rests of orders, that ended without a fill, in order of time; shape ``(U,)`` each."""

    timestamp: Times
    portfolio: Ints
    ticker: Ints
    quantity: Floats
    reason: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.reason)

    def take(self, index: NDArray[np.intp]) -> Lapsed:
        """The orders at ``index``, in that order."""
        reasons = tuple(self.reason[i] for i in index.tolist())
        return Lapsed(self.timestamp[index], self.portfolio[index], self.ticker[index], self.quantity[index], reasons)

    def by_reason(self) -> dict[str, int]:
        """How many ended by each reason, most frequent first; of ``max_weight: 0.52 > 0.5`` the word counts."""
        counted = Counter(reason.partition(":")[0] for reason in self.reason)
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, eq=False)
class Account:
    """One portfolio, or the total.

    Attributes:
        name: the portfolio's id, or ``total``.
        strategies: of the portfolios in it.
        currency: of all money.
        portfolios: ids of the whole run, that ``fills.portfolio`` points into.
        names: tickers of the whole run, that ``fills.ticker`` points into.
        curve: value over time.
        benchmark: the benchmark's, at the same bars, where there is one; ``benchmark_name`` says what it is.
        tickers: its own ``N`` tickers.
        closes: shape ``(S, N)``, last known close of each ticker at each session's end, in ``currency``; NaN before its
            first.
        fills, lapsed: orders that traded, and that did not.
        contributions: profit by ticker, money; together they are the account's profit.
        trimmed_fills, trimmed_notional, stale_closes: as in ``model.result.PortfolioResult``.
        cells: bars × tickers that were simulated.
        simulation_seconds: strategy, indicators and simulator.
        currencies: of the prices of each of ``names``.
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
    contributions: dict[str, float]
    trimmed_fills: int
    trimmed_notional: float
    stale_closes: int
    cells: int
    simulation_seconds: float
    currencies: tuple[str, ...] = ()

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
    """A run as reports see it: the total, and each portfolio in the order of the config."""

    total: Account
    portfolios: tuple[Account, ...]
