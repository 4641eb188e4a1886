"""What the live benchmark trades: made-up bars, portfolios that hold something, a strategy that asks for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from framework import SetupContext, Strategy
from framework.books.entries import Adopt, CashMovement
from framework.books.ledger import book
from framework.books.open import Identity, open_portfolio
from framework.data.calendars import sessions
from framework.data.source import DataSource
from framework.db.pool import Pool
from framework.engine.account import Terms
from framework.engine.decider import Assignment
from framework.engine.leases import Leases
from framework.model.bars import Bars
from framework.model.money import WHOLE
from framework.model.panel import Times
from framework.plugin_manager import PluginManager
from framework.trading.context import Context

DAYS = sessions("XNYS", date(2000, 1, 1), date(2012, 1, 1)).astype("datetime64[us]")
#: Bars that a decision sees, and bars that are there when a benchmark begins.
LOOKBACK, BEFORE = 100, 400
TICKERS = tuple(f"T{number:03}" for number in range(50))


class Source(DataSource):
    """A source that is only a key."""

    name: str

    def key(self) -> str:
        return self.name


class Idle(Strategy):
    """Looks at two averages and asks for nothing."""

    fast: int = 5
    slow: int = 20

    def setup(self, ctx: SetupContext) -> None:
        self._above = ctx.indicator("sma", period=self.fast) > ctx.indicator("sma", period=self.slow)

    def on_bar(self, ctx: Context) -> None:
        if self._above.any and ctx.equity < 0.0:
            raise AssertionError("equity was below zero")


def bars(tickers: Sequence[str], days: Times) -> Bars:
    """Made-up prices that move."""
    code = np.tile(np.arange(len(tickers), dtype=np.int32), len(days))
    price = np.round(50 + 20 * np.sin(np.arange(len(code)) * 0.37), 2)
    return Bars(tuple(tickers), code, np.repeat(days, len(tickers)), price, price, price, price, price * 100.0)


def known(day: int, hours: int = 23) -> datetime:
    """A moment at which the bar of a day is known."""
    moment: datetime = DAYS[day].item()
    return moment.replace(tzinfo=UTC) + timedelta(hours=hours)


class Books:
    """Portfolios with cash and positions, and assignments for them."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self._manager = pool, PluginManager.load()
        self._broker = self._manager.create("broker", "paper", {})
        self.leases = Leases(pool, "bench", 7200.0, 10.0)

    def open(self, name: str, tickers: Sequence[str]) -> Assignment:
        """A portfolio that holds some of every ticker."""
        identity = Identity(name, "paper", "paper", name)
        open_portfolio(self.pool, identity)
        at: dict[str, Any] = {
            "portfolio_id": name,
            "at": known(BEFORE - 10),
            "session": DAYS[BEFORE - 10].item().date(),
        }
        cash = CashMovement(key=f"{name}-cash", kind="deposit", amount=Decimal(1_000_000), **at)
        held = [
            Adopt(key=f"{name}-{t}", ticker=t, quantity=Decimal(100), cost=Decimal(50), currency="USD", **at)
            for t in tickers
        ]
        book(self.pool, [cash, *held], known(BEFORE - 10))
        return Assignment(
            identity=identity,
            tickers=tuple(tickers),
            make_strategy=lambda: Idle(fast=5, slow=20),
            strategy_name="idle",
            make_indicator=lambda kind, params: self._manager.create("indicator", kind, params),
            schedule="every_bar",
            lookback=LOOKBACK,
            terms=Terms(0.0, WHOLE, 0.005, self._broker.costs()),
            broker=self._broker,
            config_hash="0" * 64,
            code_hash="1" * 64,
        )
