"""What a simulation has come to: an account that is done, as a result that reports are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from framework.engine.account import Account
from framework.model.money import MICRO
from framework.model.result import AppliedActions, Flows, PortfolioResult, Trades

if TYPE_CHECKING:
    from framework.engine.simulator import Simulation


def result_of(job: Simulation, account: Account, notes: tuple[str, ...], seconds: float) -> PortfolioResult:
    """The result of a simulation that has ended, with these notes, after so many seconds."""
    first = job.first
    equity, cash = account.equity[first:] / MICRO, account.cash_rows[first:] / MICRO
    invested = equity - cash  # never short: gross and net are the same
    splits = account.corporate.all_splits()
    lots_per_share = job.terms.lots_per_share
    trades = account.fills.trades(
        job.trade.open, account.closes, lots_per_share, job.rates, splits, has_parts=account.has_parts
    )
    actions = account.corporate.applied()
    ended = sorted(range(len(account.unfilled)), key=lambda number: account.unfilled[number].bar)
    return PortfolioResult(
        portfolio_id=job.portfolio_id,
        strategy=job.strategy_name,
        currency=job.currency,
        opening_cash=job.terms.opening_cash,
        panel=job.trade,
        timeline=job.timeline,
        first=first,
        equity=equity,
        cash=cash,
        gross=invested,
        net=invested,
        trades=trades,
        unfilled=tuple(account.unfilled[number] for number in ended),
        unfilled_decided=tuple(account.unfilled_decided[number] for number in ended),
        trimmed_fills=account.trimmed_fills,
        trimmed_notional=account.trimmed_micro / MICRO,
        stale_closes=_stale_closes(job, trades, actions) if account.has_gaps else 0,
        simulation_seconds=seconds,
        notes=notes,
        rates=job.rates,
        currencies=job.currencies,
        flows=_flows(account),
        actions=actions,
        adjusted_close=None if job.panel.close is job.trade.close else job.panel.close,
    )


def _flows(account: Account) -> Flows:
    flows = account.flows
    return Flows(
        row=np.array([flow.row for flow in flows], dtype=np.int64),
        at=np.array([flow.at.replace(tzinfo=None) for flow in flows], dtype="datetime64[us]"),
        amount=np.array([flow.micros / MICRO for flow in flows]),
        kind=tuple(flow.kind for flow in flows),
        reference=tuple(flow.reference for flow in flows),
    )


def _stale_closes(job: Simulation, trades: Trades, actions: AppliedActions) -> int:
    """How often a held ticker had no bar and was valued at its last close."""
    count = 0
    missing: NDArray[np.bool_] = np.isnan(job.trade.close[job.first :])
    for column in np.flatnonzero(np.any(missing, axis=0)):
        bought, split = trades.ticker == column, actions.ticker == column
        if bought.any():
            changed = np.concatenate([actions.row[split], trades.filled[bought]])
            order = np.argsort(changed, kind="stable")
            held = np.cumsum(np.concatenate([actions.change[split], trades.quantity[bought]])[order])
            rows = np.flatnonzero(missing[:, column]) + job.first
            at = np.searchsorted(changed[order], rows, side="right") - 1
            count += int(((at >= 0) & (np.abs(held[at]) > 1e-12)).sum())
    return count
