"""Small paper runs for tests: prices of a spring, strategies that are plain functions of the test.

What a test's functions are called by lies in :data:`ACTS`, :data:`RULES` and :data:`ACCOUNTS`, under the names that the
run config gives; the engine's threads are threads of the test's own process.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from framework import app
from framework.config.load import load
from framework.engine.clock import RealClock
from framework.trading.broker import BrokerAccount
from tests.faults.scenario import ask

#: By name: what a strategy does at its n-th bar; what a risk rule says; what a broker's account is.
ACTS: dict[str, Callable[[Any, int], None]] = {}
RULES: dict[str, Callable[[Any], None]] = {}
ACCOUNTS: dict[str, BrokerAccount] = {}

PLUGIN = '''\
"""Plugins that do what the test says."""

import numpy as np

from framework import Allocator, Broker, Costs, RiskRule, Strategy, hookimpl

from tests.engine.runs import ACCOUNTS, ACTS, RULES


class Acts(Strategy):
    """Does what the test's function of this name does; counts its bars, and keeps what it is told."""

    act: str = "a"

    def on_bar(self, ctx):
        n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        told = [[ctx.tickers[end.ticker], end.quantity, end.reason] for end in ctx.lapsed]
        ctx.state["told"] = [*ctx.state.get("told", []), *([[n, told]] if told else [])]
        ACTS[self.act](ctx, n)


class Rule(RiskRule):
    """Says what the test's function says."""

    def review(self, proposal):
        RULES["rule"](proposal)


class Fixed(Allocator):
    """Fixed weights, by id."""

    weights: dict[str, float]

    def allocate(self, state):
        return np.array([self.weights.get(name, 0.0) for name in state.portfolios]) * state.total


class StandIn(Broker):
    """An account that the test has made."""

    def costs(self):
        return Costs()

    def connect(self, exchange):
        return ACCOUNTS["stand_in"]


class RealMoney(StandIn):
    """The same, and it moves money."""

    real_money = True


@hookimpl
def register_strategies():
    return {"acts": Acts}


@hookimpl
def register_risk_rules():
    return {"rule": Rule}


@hookimpl
def register_allocators():
    return {"fixed": Fixed}


@hookimpl
def register_brokers():
    return {"stand_in": StandIn, "real_money": RealMoney}
'''

#: New York was closed on the 15th of February.
DAYS = [
    day
    for day in (date(2010, 2, 1) + timedelta(n) for n in range(60))
    if day.weekday() < 5 and day != date(2010, 2, 15)
]
#: The first day of the run, which decides at its start on the bar before; the bars that it lives through.
FIRST = date(2010, 3, 1)
CONFIG: dict[str, Any] = {
    "name": "live",
    "mode": "paper",
    "adjust": "none",
    "clock": {"start": FIRST, "end": date(2010, 3, 5), "seconds_per_day": 0},
    # What acts here counts its calls, and does not decide by the bars that it sees.
    "engine": {"lease_seconds": 30, "send_timeout_seconds": 10, "check_lookback": False},
    "data_source": {"name": "csv", "params": {"path": "prices", "name": "live"}},
    "broker": "paper",
}


def portfolio(name: str = "a", act: str | None = None, **more: Any) -> dict[str, Any]:
    """A section of the config."""
    made = {"id": name, "cash": 100_000, "tickers": ["AAA", "BBB"], "lookback": 5, "cash_buffer": 0}
    return made | {"strategy": {"name": "acts", "params": {"act": act or name}}} | more


def after(days: int, start: date = FIRST) -> date:
    """The day so many sessions later."""
    return DAYS[DAYS.index(start) + days]


def noon(day: date) -> datetime:
    """Before the session of that day; the one before is over."""
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


class Runs:
    """A workspace with prices, on a database."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database = folder, database
        (folder / "plugins").mkdir()
        (folder / "plugins" / "acts.py").write_text(PLUGIN)
        (folder / "prices").mkdir()
        self.prices("AAA", {})
        self.prices("BBB", {}, 50.0)

    def prices(self, ticker: str, known: Mapping[date, float], usual: float = 100.0, until: date = DAYS[-1]) -> None:
        """Daily bars that open and close at the price; high and low are one away."""
        lines = ["timestamp,open,high,low,close,volume"]
        for day in DAYS:
            if day <= until:
                price = known.get(day, usual)
                lines.append(f"{day},{price},{price + 1},{price - 1},{price},1000000")
        (self.folder / "prices" / f"{ticker}.csv").write_text("\n".join(lines) + "\n")

    def config(self, *portfolios: dict[str, Any], **sections: Any) -> Path:
        """A run config; a section ``None`` is left out."""
        written = {**CONFIG, **sections, "portfolios": list(portfolios)}
        if written["engine"]:
            written["engine"] = {"check_lookback": False, **written["engine"]}
        written = {name: section for name, section in written.items() if section is not None}
        path = self.folder / "c.yaml"
        path.write_text(yaml.safe_dump(written))
        return path

    def run(self, *portfolios: dict[str, Any], until: date | None = None, **sections: Any) -> list[str]:
        """Run to the end of the simulated clock; the lines that were announced."""
        if until is not None:
            sections["clock"] = {**CONFIG["clock"], **sections.get("clock", {}), "end": until}
        engine = Running(self.config(*portfolios, **sections))
        engine.join(60)
        return engine.said

    @contextmanager
    def running(self, *portfolios: dict[str, Any], **sections: Any) -> Iterator[Running]:
        """An engine by the real clock, or whichever the config says; it is stopped at the end of the block."""
        engine = Running(self.config(*portfolios, **{"clock": None, **sections}))
        try:
            yield engine
        finally:
            engine.stop()
        engine.join(60)

    # What came of it.

    def ask(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        return ask(self.database, statement, parameters)

    def trades(self, name: str = "a") -> list[tuple[str, str, int, float, str]]:
        """Ticker, side, shares, price, day."""
        return self.ask(
            "SELECT ticker, side, quantity::int, exec_price::float, exec_timestamp::date::text "
            "FROM trade_execution_logs WHERE portfolio_id = %s AND kind = 'trade' ORDER BY id",
            [name],
        )  # type: ignore[return-value]

    def orders(self, name: str = "a") -> list[tuple[str, str, int, str, str | None]]:
        """Ticker, side, shares, state, reason."""
        return self.ask(
            "SELECT ticker, side, quantity::int, state, reason FROM orders WHERE portfolio_id = %s "
            "ORDER BY due_at, intent",
            [name],
        )  # type: ignore[return-value]

    def decided(self, name: str = "a") -> list[str]:
        """The days of the bars that were decided on."""
        rows = self.ask(
            "SELECT to_char(bar_timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD') FROM decisions "
            "WHERE portfolio_id = %s AND kind = 'strategy' ORDER BY due_at",
            [name],
        )
        return [day for (day,) in rows]

    def state(self, name: str = "a") -> dict[str, Any]:
        """What the strategy remembers."""
        rows = self.ask(
            "SELECT state::text FROM decisions WHERE portfolio_id = %s AND kind = 'strategy' ORDER BY due_at", [name]
        )
        state: dict[str, Any] = json.loads(rows[-1][0])
        return state


class Running:
    """A run on a thread of its own."""

    def __init__(self, config: Path) -> None:
        self.said: list[str] = []
        self.error: BaseException | None = None
        self._stop: Callable[[], None] = lambda: None
        self._is_started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[config], daemon=True)
        self._thread.start()

    def _run(self, config: Path) -> None:
        try:
            app.trade(load(config, []), lambda *_: None, self.said.append, self._started)
        except BaseException as error:  # noqa: BLE001  # it is raised where the test waits
            self.error = error
        finally:
            self._is_started.set()

    def _started(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._is_started.set()

    def stop(self) -> None:
        """Ask it to end."""
        assert self._is_started.wait(60), "it does not start"
        self._stop()

    def join(self, seconds: float) -> None:
        """Wait until it has ended; its error, if it had one, is raised here."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            self.stop()
            raise AssertionError(f"the engine is still running after {seconds} s; it said {self.said}")
        if self.error is not None:
            raise self.error

    def heard(self, words: str) -> bool:
        """Whether it has said so."""
        return any(words in line for line in self.said)


class Travelling(RealClock):
    """Real time, in another year: the database's, moved by as much as the test says."""

    moved = timedelta(0)

    @classmethod
    def go(cls, to: datetime) -> None:
        """It is that late now; who sleeps has to be woken."""
        cls.moved = to - datetime.now(UTC)

    def now(self) -> datetime:
        return super().now() + Travelling.moved


def wait_for(is_so: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """Wait until something is so; what it is then."""
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return found
