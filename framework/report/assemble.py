"""From what a simulation left to the accounts that reports are made from, and their total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from framework.errors import NotBuiltYet
from framework.model.master import MASTER
from framework.model.panel import Floats, forward_fill
from framework.model.result import AppliedActions, Ints, MasterResult, PortfolioResult, RunResult, Trades
from framework.report.account import TOTAL, Account, Accounts, Curve, Movements
from framework.report.actions import SPLIT, Actions
from framework.report.align import align, booked, by_row, cash_curve, joined, movements_of, part, union
from framework.report.fills import Changes, Fills, Lapsed
from framework.report.lots import LotTable, Splits, lots_of_fills


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
    known = _currencies(run.portfolios)
    singles = tuple(replace(single, currencies=tuple(known[name] for name in names)) for single in singles)
    return _added_up(singles, fills, run.master)


def account_of(result: PortfolioResult) -> Account:
    """The account of one portfolio's simulation, by itself, without a benchmark."""
    names = result.panel.tickers
    return _single(result, None, (result.portfolio_id,), names, _all_fills([result], names), 0)


def _currencies(results: Sequence[PortfolioResult]) -> dict[str, str]:
    """What each ticker's prices are in; the source knows one for each, whatever the portfolio."""
    found: dict[str, str] = {}
    for result in results:
        found |= zip(result.panel.tickers, result.currencies or repeat(result.currency), strict=False)
    return found


def _single(
    result: PortfolioResult,
    benchmark: PortfolioResult | None,
    ids: tuple[str, ...],
    names: tuple[str, ...],
    fills: Fills,
    number: int,
) -> Account:
    curve = _curve(result)
    rows = result.first + curve.ends
    traded = forward_fill(result.panel.close)
    seen = traded if result.adjusted_close is None else forward_fill(result.adjusted_close)
    rates = np.ones(traded.shape) if result.rates is None else result.rates.at_close
    worth = (traded * rates)[rows[-1]]
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
        closes=(seen * rates)[rows],
        fills=fills,
        lapsed=_lapsed(result, names, number),
        actions=_actions(result, number),
        movements=movements_of(result.portfolio_id, result.flows, _flow_rows(result)),
        contributions=_contributions(result.panel.tickers, result.trades, result.actions, worth),
        lots=_lots(result, names, fills, worth, number),
        changes=_changes(result, names, traded, rates),
        trimmed_fills=result.trimmed_fills,
        trimmed_notional=result.trimmed_notional,
        stale_closes=result.stale_closes,
        cells=result.bars * len(result.panel.tickers),
        simulation_seconds=result.simulation_seconds,
    )


def _lots(result: PortfolioResult, names: tuple[str, ...], fills: Fills, last_worth: Floats, number: int) -> LotTable:
    codes, splits = _codes(result.panel.tickers, names), _splits(result.actions)
    worth = np.full(len(names), np.nan)
    worth[codes] = last_worth
    rescaled = Splits(
        codes[result.actions.ticker[splits]],
        result.timeline.opens[result.actions.row[splits]],
        result.actions.change[splits],
    )
    return lots_of_fills(number, fills.ticker, fills.executed, fills.quantity, fills.notional, worth, rescaled)


def _splits(actions: AppliedActions) -> NDArray[np.bool_]:
    return np.array([kind == SPLIT for kind in actions.kind], dtype=np.bool_)


def _changes(result: PortfolioResult, names: tuple[str, ...], traded: Floats, rates: Floats) -> Changes:
    splits = _splits(result.actions)
    row = np.concatenate([result.actions.row[splits], result.trades.filled])
    column = np.concatenate([result.actions.ticker[splits], result.trades.ticker])
    return Changes.of(
        bar=result.timeline.timestamps[row],
        ticker=_codes(result.panel.tickers, names)[column],
        moved=np.concatenate([result.actions.change[splits], result.trades.quantity]),
        price=traded[row, column],
        rate=rates[row, column],
    )


def _actions(result: PortfolioResult, number: int) -> Actions:
    found = result.actions
    return Actions(
        at=result.timeline.opens[found.row],
        portfolio=np.full(len(found), number),
        ticker=np.array(result.panel.tickers, dtype=object)[found.ticker],
        kind=np.array(found.kind, dtype=object),
        value=found.value,
        held=found.held,
        change=found.change,
        cash=found.cash,
    )


def _added_up(singles: tuple[Account, ...], fills: Fills, master: MasterResult | None) -> Accounts:
    if master is None and len(singles) == 1:
        return Accounts(replace(singles[0], name=TOTAL, is_total=True), singles, (singles[0].curve,))
    onto = union([account.curve for account in singles])
    found = [part(account.curve, account.movements, onto) for account in singles]
    curves = [curve for curve, _ in found]
    movements = [replace(account.movements, row=row) for account, (_, row) in zip(singles, found, strict=True)]
    if master is None:
        made = _total(singles, fills, _sum(curves, movements, onto), joined(movements))
        return Accounts(made, singles, tuple(curves))
    own = movements_of(MASTER, master.flows, booked(master.flows.at, onto))
    cash = _master(master, own, joined(movements), onto)
    made = _total(singles, fills, _sum([*curves, cash], [*movements, own], onto), joined([*movements, own]))
    return Accounts(made, singles, tuple(curves), cash, master.allocations)


def _master(master: MasterResult, own: Movements, others: Movements, onto: Curve) -> Curve:
    """The master account's cash: what a portfolio got, the master gave at the row where that counts, and vice versa."""
    moved = _transfers(others)
    outside = ~_transfers(own)
    flows = by_row(own.amount[outside], own.row[outside], len(onto))
    flows -= by_row(others.amount[moved], others.row[moved], len(onto))
    return cash_curve(master.opening_cash, flows, onto)


def _sum(curves: Sequence[Curve], movements: Sequence[Movements], onto: Curve) -> Curve:
    """The total of aligned curves; only money from and to the outside is a flow of it."""
    every = joined(movements)
    outside = ~_transfers(every)
    flows = by_row(every.amount[outside], every.row[outside], len(onto))
    return replace(align(curves, onto), flows=flows)


def _transfers(movements: Movements) -> NDArray[np.bool_]:
    return movements.of("transfer")


def _total(singles: tuple[Account, ...], fills: Fills, curve: Curve, movements: Movements) -> Account:
    benchmarks = [account.benchmark for account in singles if account.benchmark is not None]
    tickers = tuple(dict.fromkeys(ticker for account in singles for ticker in account.tickers))
    return replace(
        singles[0],
        name=TOTAL,
        is_total=True,
        strategies=tuple(dict.fromkeys(name for account in singles for name in account.strategies)),
        curve=curve,
        benchmark=align(benchmarks, curve) if len(benchmarks) == len(singles) else None,
        benchmark_name=", ".join(dict.fromkeys(account.benchmark_name for account in singles)),
        tickers=tickers,
        closes=_joined_closes(singles, tickers, curve.sessions),
        fills=fills,
        lapsed=_joined_lapsed([account.lapsed for account in singles]),
        actions=Actions.joined([account.actions for account in singles]),
        movements=movements,
        contributions={
            ticker: sum(account.contributions.get(ticker, 0.0) for account in singles) for ticker in tickers
        },
        trimmed_fills=sum(account.trimmed_fills for account in singles),
        trimmed_notional=sum(account.trimmed_notional for account in singles),
        lots=LotTable.joined([account.lots for account in singles]),
        changes=Changes.joined([account.changes for account in singles]),
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
        by_row(result.flows.amount, _flow_rows(result), result.bars),
        result.timeline.opens[result.first],
        np.maximum.accumulate(result.timeline.available[rows]),
    )


def _flow_rows(result: PortfolioResult) -> Ints:
    """Row of the curve that first holds each flow: money of the warm-up is there before the first bar that counts."""
    return np.clip(result.flows.row - result.first, 0, result.bars)


def _contributions(
    tickers: Sequence[str], trades: Trades, actions: AppliedActions, last_worth: Floats
) -> dict[str, float]:
    """Profit of each ticker, in ticker order: cash of its fills and dividends + what is still held × its last worth."""
    codes, size = np.concatenate([trades.ticker, actions.ticker]), len(tickers)
    cash = np.bincount(codes, np.concatenate([trades.cash, actions.cash]), size)
    held = np.round(np.bincount(codes, np.concatenate([trades.quantity, actions.change]), size), 9)
    worth = np.where(held != 0.0, held * last_worth, 0.0)
    return dict(zip(tickers, (cash + worth).tolist(), strict=True))


def _all_fills(results: Sequence[PortfolioResult], names: tuple[str, ...]) -> Fills:
    parts = [_fills(result, names, i) for i, result in enumerate(results)]
    names_of = [name for name in Fills.__dataclass_fields__ if getattr(parts[0], name) is not None]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names_of}
    order = np.lexsort((joined["sequence"], joined["portfolio"], joined["executed"]))
    fills = Fills(**joined).take(order)
    return replace(fills, id=np.arange(1, len(fills) + 1))


def _fills(result: PortfolioResult, names: tuple[str, ...], number: int) -> Fills:
    trades, timeline = result.trades, result.timeline
    ones = np.ones(len(trades))
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
        fx_rate=ones if trades.fx_rate is None else trades.fx_rate,
        notional_local=trades.notional if trades.notional_local is None else trades.notional_local,
    )


def _codes(own: Sequence[str], names: Sequence[str]) -> Ints:
    position = {name: i for i, name in enumerate(names)}
    return np.array([position[ticker] for ticker in own], dtype=np.int64)


def _lapsed(result: PortfolioResult, names: tuple[str, ...], number: int) -> Lapsed:
    orders = result.unfilled
    bars = np.fromiter((order.bar for order in orders), dtype=np.int64, count=len(orders))
    decided = np.array(result.unfilled_decided, dtype=np.int64)
    columns = np.fromiter((order.ticker for order in orders), dtype=np.int64, count=len(orders))
    return Lapsed(
        timestamp=result.timeline.timestamps[bars],
        decided=result.timeline.timestamps[decided],
        portfolio=np.full(len(orders), number),
        ticker=_codes(result.panel.tickers, names)[columns],
        quantity=np.fromiter((order.quantity for order in orders), dtype=np.float64, count=len(orders)),
        reason=tuple(order.reason for order in orders),
    )


def _joined_lapsed(parts: Sequence[Lapsed]) -> Lapsed:
    joined = Lapsed(
        np.concatenate([part.timestamp for part in parts]),
        np.concatenate([part.decided for part in parts]),
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
