"""How a portfolio of a config would have decided on the history that there is: for checks, before anything trades."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

from framework.config.model import Portfolio
from framework.errors import ConfigError, DataError, StrategyError
from framework.plan import Plan
from framework.runs import NOMINAL_CASH, panel_of

if TYPE_CHECKING:
    from framework.db.pool import Pool
    from framework.engine.simulator import Simulation
    from framework.engine.windows import Windows

#: What a decision's window is compared with: history of so many of them, where there is so much.
_WINDOWS_OF_HISTORY = 4

_log = logging.getLogger(__name__)


def history_of(plan: Plan, pool: Pool, portfolio: Portfolio) -> Simulation:
    """A portfolio's simulation on the bars that are in the database.

    Raises:
        DataError: there are none.
    """
    # Of what trades, history is all there is for some windows; of a backtest, what the backtest has.
    warmup = None if plan.config.mode == "backtest" else _WINDOWS_OF_HISTORY * (plan.warmup_bars(portfolio) + 1)
    data = panel_of(plan, pool, portfolio, *_newest_dates(plan, pool, portfolio), warmup_bars=warmup)
    job = plan.job(portfolio, data, plan.strategy(portfolio), portfolio.strategy.name, portfolio.schedule)
    if not job.terms.opening_cash:  # an allocation opens it: without money it could not decide much
        job = replace(job, terms=replace(job.terms, opening_cash=NOMINAL_CASH))
    return job


def _newest_dates(plan: Plan, pool: Pool, portfolio: Portfolio) -> tuple[date | None, date | None]:
    """What a check in real time looks at: the newest month that is there, as today may have no bar or no session."""
    from framework.db.queries import fetch_all

    config = plan.config
    if config.clock is not None or config.start is not None:
        return None, None
    asked = {"source": plan.source.key(), "bar_interval": config.interval, "tickers": list(portfolio.tickers)}
    with pool.connection() as connection:
        newest = max((row[2].date() for row in fetch_all(connection, "stored_range", asked)), default=plan.end)
    return newest - timedelta(days=30), newest


def lookback_of(plan: Plan, portfolio: Portfolio, job: Simulation) -> Windows:
    """Whether a portfolio decides on the window that paper and live see as on all history.

    Raises:
        StrategyError: the strategy fails.
    """
    from framework.engine.windows import compare_windows

    return compare_windows(job, lambda: plan.strategy(portfolio), plan.warmup_bars(portfolio) + 1)


def require_lookback(plan: Plan, pool: Pool, announce: Callable[[str], None]) -> None:
    """Refuse portfolios that would decide otherwise than their backtests.

    Where that cannot be told, for want of bars or because a strategy fails, it is said, and the engine deals with it.

    Raises:
        ConfigError: names portfolio, bar and ticker, and the lookback that is enough, if one was found.
    """
    for number, portfolio in enumerate(plan.config.portfolios):
        began = time.perf_counter()
        try:
            found = lookback_of(plan, portfolio, history_of(plan, pool, portfolio))
        except (DataError, StrategyError) as error:
            announce(f"Note: the lookback of portfolio {portfolio.id} could not be checked: {error}")
            continue
        _log.debug("lookback of portfolio %s compared in %.3f s", portfolio.id, time.perf_counter() - began)
        if found.differing:
            raise ConfigError(
                f"{plan.loaded.place('portfolios', number, 'lookback')()}: portfolio {portfolio.id}: "
                f"{found.describe()}. Nothing was started; engine.check_lookback: false trades it as it is"
            )
