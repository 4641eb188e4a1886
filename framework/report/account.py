"""What a report is about: one portfolio, or all of them added up, in the same shape.

Everything else in this package reads :class:`Account` and never the simulator's own result, so the same reports can
later be made from the live books.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from framework.errors import NotBuiltYet
from framework.model.panel import Floats, Times, forward_fill
from framework.model.result import Ints, PortfolioResult, RunResult
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
        return metrics.figures(self.returns)


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
        mark: close that the position is valued at after the fill's bar.
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

    def __len__(self) -> int:
        return len(self.id)

    @property
    def cash(self) -> Floats:
        """Signed cash of each fill: −(notional + fees) for buys, notional − fees for sells."""
        return -np.sign(self.quantity) * self.notional - self.fees

    @property
    def slippage_bps(self) -> Floats:
        """How much worse than the arrival price each fill was, basis points; negative is better."""
        return np.sign(self.quantity) * (self.price / self.arrival_price - 1.0) * 1e4

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
        """How many ended by each reason, most frequent first."""
        counted = Counter(self.reason)
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
        closes: shape ``(S, N)``, last known close of each ticker at each session's end; NaN before its first.
        fills, lapsed: orders that traded, and that did not.
        trimmed_fills, trimmed_notional, stale_closes: as in ``model.result.PortfolioResult``.
        cells: bars × tickers that were simulated.
        simulation_seconds: strategy, indicators and simulator.
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
    trimmed_fills: int
    trimmed_notional: float
    stale_closes: int
    cells: int
    simulation_seconds: float

    @cached_property
    def turnover(self) -> float | None:
        """Notional traded a year ÷ mean equity."""
        traded = float(np.sum(self.fills.notional))
        return metrics.turnover(traded, self.curve.equity, len(self.curve.ends))

    @cached_property
    def exposure(self) -> float | None:
        """Mean gross ÷ equity over the bars."""
        return metrics.exposure(self.curve.gross, self.curve.equity)

    @cached_property
    def fees(self) -> float:
        """Σ fees, money."""
        return round(float(np.sum(self.fills.fees)), 6)

    @cached_property
    def contributions(self) -> dict[str, float]:
        """Profit by ticker, money, in ticker order: Σ signed cash of its fills + what is still held × last close.

        They add up to the account's profit.
        """
        size = len(self.names)
        cash = np.bincount(self.fills.ticker, weights=self.fills.cash, minlength=size)
        held = np.round(np.bincount(self.fills.ticker, weights=self.fills.quantity, minlength=size), 9)
        column = {ticker: i for i, ticker in enumerate(self.names)}
        result = {}
        for ticker, price in zip(self.tickers, self.closes[-1], strict=True):
            code = column[ticker]
            worth = float(held[code]) * float(price) if held[code] != 0.0 else 0.0
            result[ticker] = float(cash[code]) + worth
        return result


@dataclass(frozen=True, eq=False)
class Accounts:
    """A run as reports see it: the total, and each portfolio in the order of the config."""

    total: Account
    portfolios: tuple[Account, ...]


def accounts(run: RunResult) -> Accounts:
    """The accounts of a run.

    Raises:
        NotBuiltYet: the portfolios are in different currencies, which can't be added up yet.
    """
    currencies = sorted({result.currency for result in run.portfolios})
    if len(currencies) != 1:
        raise NotBuiltYet(
            f"portfolios in several currencies ({', '.join(currencies) or 'none'}) can't be added up in one report "
            "yet; run the portfolios of each currency in a config of their own"
        )
    ids = tuple(result.portfolio_id for result in run.portfolios)
    names = tuple(dict.fromkeys(ticker for result in run.portfolios for ticker in result.panel.tickers))
    fills = _all_fills(run.portfolios, names)
    singles = tuple(
        _single(result, run.benchmarks.get(result.portfolio_id), ids, names, fills.take(fills.portfolio == i), i)
        for i, result in enumerate(run.portfolios)
    )
    return Accounts(_total(singles, fills), singles)


def _single(
    result: PortfolioResult,
    benchmark: PortfolioResult | None,
    ids: tuple[str, ...],
    names: tuple[str, ...],
    fills: Fills,
    number: int,
) -> Account:
    curve = _curve(result)
    closes = forward_fill(result.panel.close)[result.first + curve.ends]
    return Account(
        name=result.portfolio_id,
        strategies=(result.strategy,),
        currency=result.currency,
        portfolios=ids,
        names=names,
        curve=curve,
        benchmark=None if benchmark is None else align([_curve(benchmark)], curve),
        benchmark_name="" if benchmark is None else benchmark.strategy,
        tickers=result.panel.tickers,
        closes=closes,
        fills=fills,
        lapsed=_lapsed(result, names, number),
        trimmed_fills=result.trimmed_fills,
        trimmed_notional=result.trimmed_notional,
        stale_closes=result.stale_closes,
        cells=result.bars * len(result.panel.tickers),
        simulation_seconds=result.simulation_seconds,
    )


def _total(singles: tuple[Account, ...], fills: Fills) -> Account:
    if len(singles) == 1:
        return replace(singles[0], name=TOTAL)
    curves = [account.curve for account in singles]
    curve = align(curves, _union(curves))
    benchmarks = [account.benchmark for account in singles if account.benchmark is not None]
    tickers = tuple(dict.fromkeys(ticker for account in singles for ticker in account.tickers))
    return replace(
        singles[0],
        name=TOTAL,
        strategies=tuple(dict.fromkeys(name for account in singles for name in account.strategies)),
        curve=curve,
        benchmark=align(benchmarks, curve) if len(benchmarks) == len(singles) else None,
        benchmark_name=", ".join(dict.fromkeys(account.benchmark_name for account in singles)),
        tickers=tickers,
        closes=_joined_closes(singles, tickers, curve.sessions),
        fills=fills,
        lapsed=_joined_lapsed([account.lapsed for account in singles]),
        trimmed_fills=sum(account.trimmed_fills for account in singles),
        trimmed_notional=sum(account.trimmed_notional for account in singles),
        stale_closes=sum(account.stale_closes for account in singles),
        cells=sum(account.cells for account in singles),
        simulation_seconds=sum(account.simulation_seconds for account in singles),
    )


def _curve(result: PortfolioResult) -> Curve:
    rows = slice(result.first, result.first + result.bars)
    return Curve(
        result.opening_cash,
        result.timeline.timestamps[rows],
        result.timeline.session[rows],
        result.equity,
        result.cash,
        result.gross,
        result.net,
    )


def _union(curves: Sequence[Curve]) -> Curve:
    """A curve of zeros over every moment that any of ``curves`` has."""
    every = np.concatenate([curve.timestamps for curve in curves])
    timestamps, first = np.unique(every, return_index=True)
    session = np.concatenate([curve.session for curve in curves])[first]
    nothing = np.zeros(len(timestamps))
    return Curve(0.0, timestamps, session, nothing, nothing, nothing, nothing)


def align(curves: Sequence[Curve], onto: Curve) -> Curve:
    """The sum of ``curves`` at the moments of ``onto``.

    Between its own bars a curve keeps its last values; before its first it is worth its opening cash.
    """
    sums = {name: np.zeros(len(onto)) for name in ("equity", "cash", "gross", "net")}
    for curve in curves:
        row = np.searchsorted(curve.timestamps, onto.timestamps, side="right")
        for name, values in sums.items():
            before = curve.opening if name in ("equity", "cash") else 0.0
            values += np.concatenate(([before], getattr(curve, name)))[row]
    return Curve(sum(curve.opening for curve in curves), onto.timestamps, onto.session, **sums)


def _all_fills(results: Sequence[PortfolioResult], names: tuple[str, ...]) -> Fills:
    parts = [_fills(result, names, i) for i, result in enumerate(results)]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Fills.__dataclass_fields__}
    order = np.lexsort((joined["sequence"], joined["portfolio"], joined["executed"]))
    fills = Fills(**joined).take(order)
    return replace(fills, id=np.arange(1, len(fills) + 1))


def _fills(result: PortfolioResult, names: tuple[str, ...], number: int) -> Fills:
    trades, timeline = result.trades, result.timeline
    close = forward_fill(result.panel.close)
    sequence = np.arange(1, len(trades) + 1)
    return Fills(
        id=sequence,
        portfolio=np.full(len(trades), number),
        sequence=sequence,
        ticker=_codes(result.panel.tickers, names)[trades.ticker],
        executed=timeline.opens[trades.filled],
        bar=timeline.timestamps[trades.filled],
        decided=timeline.timestamps[trades.decided],
        quantity=trades.quantity,
        arrival_price=trades.arrival_price,
        decision_price=trades.decision_price,
        price=trades.price,
        notional=trades.notional,
        fees=trades.fees,
        mark=close[trades.filled, trades.ticker],
    )


def _codes(own: Sequence[str], names: Sequence[str]) -> Ints:
    position = {name: i for i, name in enumerate(names)}
    return np.array([position[ticker] for ticker in own], dtype=np.int64)


def _lapsed(result: PortfolioResult, names: tuple[str, ...], number: int) -> Lapsed:
    orders = result.unfilled
    bars = np.fromiter((order.bar for order in orders), dtype=np.int64, count=len(orders))
    columns = np.fromiter((order.ticker for order in orders), dtype=np.int64, count=len(orders))
    return Lapsed(
        timestamp=result.timeline.timestamps[bars],
        portfolio=np.full(len(orders), number),
        ticker=_codes(result.panel.tickers, names)[columns],
        quantity=np.fromiter((order.quantity for order in orders), dtype=np.float64, count=len(orders)),
        reason=tuple(order.reason for order in orders),
    )


def _joined_lapsed(parts: Sequence[Lapsed]) -> Lapsed:
    joined = Lapsed(
        np.concatenate([part.timestamp for part in parts]),
        np.concatenate([part.portfolio for part in parts]),
        np.concatenate([part.ticker for part in parts]),
        np.concatenate([part.quantity for part in parts]),
        tuple(reason for part in parts for reason in part.reason),
    )
    return joined.take(np.lexsort((joined.portfolio, joined.timestamp)))


def _joined_closes(singles: Sequence[Account], tickers: tuple[str, ...], sessions: NDArray[np.datetime64]) -> Floats:
    """Last closes at ``sessions`` of every ticker; one that several portfolios have is taken from the first."""
    columns: dict[str, Floats] = {}
    for account in singles:
        row = np.searchsorted(account.curve.sessions, sessions, side="right")
        for i, ticker in enumerate(account.tickers):
            if ticker not in columns:
                columns[ticker] = np.concatenate(([np.nan], account.closes[:, i]))[row]
    return np.stack([columns[ticker] for ticker in tickers], axis=1)
