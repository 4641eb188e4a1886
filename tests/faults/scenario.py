"""What the engine does while faults hit it: prices, a scripted strategy, run configs; what its books say then.

Two portfolios trade three tickers for a few bars. Between them they have every kind of order that there is: buys that
are trimmed, orders that rest, lapse, trigger and are taken back, sizes that are refused, targets that are replaced.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2

TICKERS = ("AAA", "BBB", "CCC")
FIRST, LAST = date(2010, 3, 1), date(2010, 3, 8)

PLUGIN = '''\
"""Strategies that do as they are told, bar by bar."""

import os
import time

import numpy as np

from framework import Allocator, Strategy, hookimpl


class Tilting(Allocator):
    """Another split at every session, so that money moves each time."""

    def sessions(self):
        return 3

    def allocate(self, state):
        known = np.nan_to_num(state.returns)
        tilt = 0.1 * np.sign(np.add.reduce(known, axis=0)) if len(known) else np.zeros(len(state.equity))
        weights = 0.25 + 0.05 * (state.time.day % 3) + tilt
        return np.minimum(weights, 1.0 / len(weights)) * state.total


class Scripted(Strategy):
    """Everything that an order can be."""

    def on_bar(self, ctx):
        n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        told = [[ctx.tickers[end.ticker], end.quantity, end.reason] for end in ctx.lapsed]
        ctx.state["told"] = ctx.state.get("told", []) + told
        close = dict(zip(ctx.tickers, (float(x) for x in ctx.close)))
        if n == 1:
            ctx.target_weights({"AAA": 0.7, "BBB": 0.7})
            ctx.order("CCC", 50, limit=round(close["CCC"] * 0.5, 2), time_in_force="GTC")
        elif n == 2:
            ctx.order("CCC", 10, limit=round(close["CCC"] * 0.8, 2))
            ctx.order("BBB", -3)
            ctx.order("AAA", -100000)
        elif n == 3:
            ctx.cancel("CCC")
            ctx.target_weights({"AAA": 0.2})
            ctx.order("BBB", -5, stop=round(close["BBB"] * 0.5, 2), time_in_force="GTC")
        elif n == 4:
            ctx.order("CCC", 20, limit=round(close["CCC"] * 1.2, 2))
            ctx.order("AAA", 4, time_in_force="IOC", limit=round(close["AAA"] * 0.5, 2))
            ctx.order("CCC", 30, limit=round(close["CCC"] * 0.4, 2), time_in_force="GTC")
        elif n == 5:
            ctx.exit("BBB")
            ctx.order_target("AAA", 10)
        elif n == 6:
            ctx.cancel("CCC")
            ctx.target_weights({"BBB": 0.5, "CCC": 0.1})
        else:
            ctx.target_weights({"AAA": 0.1 * (n % 4), "CCC": 0.1 * (n % 3)})


class Swing(Strategy):
    """Another mix of weights at every bar."""

    def on_bar(self, ctx):
        n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        ctx.target_weights(np.array([0.1 + 0.2 * (n % 3), 0.3 * (n % 2), 0.25]))


class Weights(Strategy):
    """Weights from the prices alone."""

    def weights(self, panel):
        change = np.diff(panel.close, axis=0, prepend=panel.close[:1])
        return np.where(np.nan_to_num(change) > 0.0, 0.3, 0.05)


class Bad(Strategy):
    """Misbehaves at its third bar, in the way that is asked for; afterwards, or where told once, as Swing does."""

    how: str = "raise"
    flag: str = ""

    def on_bar(self, ctx):
        n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        if n == 3 and not (self.flag and os.path.exists(self.flag)):
            if self.flag:
                open(self.flag, "w").close()
            if not getattr(self, f"do_{self.how}")(ctx):
                return
        ctx.target_weights(np.array([0.1 + 0.2 * (n % 3), 0.3 * (n % 2), 0.25]))

    def do_raise(self, ctx):
        raise ZeroDivisionError("no \\x00 luck \\udcff")

    def do_leave(self, ctx):
        raise SystemExit(0)

    def do_interrupt(self, ctx):
        raise KeyboardInterrupt

    def do_shape(self, ctx):
        ctx.target_weights(np.zeros(7))

    def do_unknown(self, ctx):
        ctx.target_weights({"ZZZ": 0.5})

    def do_infinite(self, ctx):
        ctx.target_weights(np.array([np.inf, 0.1, 0.1]))

    def do_json(self, ctx):
        ctx.state["n"] = object()

    def do_nul(self, ctx):
        ctx.state["text"] = "\\x00"

    def do_deep(self, ctx):
        deep = ctx.state["deep"] = []
        for _ in range(100000):
            deep.append([])
            deep = deep[0]

    def do_nan(self, ctx):
        ctx.target_weights(np.full(3, np.nan))

    def do_hang(self, ctx):
        time.sleep(1.5)
        return True

    def do_sleep(self, ctx):
        time.sleep(1000)


@hookimpl
def register_strategies():
    return {"scripted": Scripted, "swing": Swing, "by_weights": Weights, "bad": Bad}


@hookimpl
def register_allocators():
    return {"tilting": Tilting}
'''

CONFIG = """\
name: faults
mode: paper
interval: {interval}
adjust: none
clock: {{start: {start}, end: {end}, seconds_per_day: 0}}
engine: {{check_lookback: false, lease_seconds: {lease}, send_timeout_seconds: {send}{more}}}
data_source: {{name: csv, params: {{path: prices-{interval}, name: faults}}}}
broker:
  name: paper
  params: {{commission: {{name: percent, rate: 0.001}}, slippage: {{name: bps, bps: 5}}}}
portfolios:
  - id: a
    cash: 100000
    tickers: [AAA, BBB, CCC]
    lookback: 5
    cash_buffer: 0
    strategy: scripted
  - id: b
    cash: 50000
    tickers: [CCC, AAA, BBB]
    lookback: 5
    lots: fractional
    strategy: {second}
"""

ALLOCATOR = """\
allocator: {name: tilting, schedule: daily, min_transfer: 10}
master: {cash: 30000}
"""

COPY = """\
  - {{id: c{number}, cash: 10000, tickers: [AAA, BBB, CCC], lookback: 5, lots: fractional, strategy: {strategy}}}
"""

PARAMETERS = {
    "interval": "1d",
    "start": FIRST,
    "end": LAST,
    "lease": 30,
    "send": 10,
    "second": "swing",
}


def write_workspace(folder: Path) -> None:
    """Prices, and the strategies, for any number of configs."""
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "scripted.py").write_text(PLUGIN)
    for interval, times in (("1d", _days()), ("1h", _hours())):
        prices = folder / f"prices-{interval}"
        prices.mkdir()
        for number, ticker in enumerate(TICKERS):
            (prices / f"{ticker}.csv").write_text(_csv(number, times))


def write_config(
    folder: Path, name: str, copies: int = 0, more: str = "", allocator: str = "", **parameters: Any
) -> Path:
    """A run config; see ``PARAMETERS``. ``copies``: so many portfolios more; ``more``: keys of ``engine``."""
    path = folder / f"{name}.yaml"
    text = CONFIG.format(**PARAMETERS | {"more": more} | parameters)
    strategies = ("by_weights", "swing")
    path.write_text(
        text + "".join(COPY.format(number=n, strategy=strategies[n % 2]) for n in range(copies)) + allocator
    )
    return path


def _days() -> list[str]:
    """Weekdays, with enough of them before and after."""
    day, found = date(2010, 2, 8), []
    while day < date(2010, 4, 1):
        if day.weekday() < 5 and day != date(2010, 2, 15):
            found.append(day.isoformat())
        day += timedelta(days=1)
    return found


def _hours() -> list[str]:
    opens = [datetime.fromisoformat(day).replace(hour=14, minute=30, tzinfo=UTC) for day in _days()]
    # From 14 March on New York is an hour closer; nothing here trades then.
    return [
        (at + timedelta(hours=hour)).isoformat() for at in opens if at.date() < date(2010, 3, 12) for hour in range(7)
    ]


def _csv(number: int, times: list[str]) -> str:
    """A random walk; the third ticker has holes."""
    draw = np.random.default_rng(number)
    close = 40.0 * (number + 1) * np.exp(np.cumsum(draw.normal(0, 0.02, len(times))))
    open_ = close * np.exp(draw.normal(0, 0.01, len(times)))
    lines = ["timestamp,open,high,low,close,volume"]
    for n, at in enumerate(times):
        if number == 2 and n % 7 == 4:
            continue
        high, low = max(open_[n], close[n]) * 1.01, min(open_[n], close[n]) * 0.99
        lines.append(f"{at},{open_[n]:.4f},{high:.4f},{low:.4f},{close[n]:.4f},{1000 + 100 * n}")
    return "\n".join(lines) + "\n"


# What must not depend on faults: everything but booking times, and numbers that the database draws.
_READ = {
    "decisions": "SELECT portfolio_id, due_at, kind, bar_timestamp, valid_until, state::text, window_hash "
    "FROM decisions ORDER BY portfolio_id, due_at",
    "orders": "SELECT portfolio_id, due_at, intent, order_id, ticker, side, quantity, state, reason, filled, unfilled, "
    "order_type, limit_price, stop_price, time_in_force FROM orders ORDER BY portfolio_id, due_at, intent",
    "trades": "SELECT portfolio_id, kind, ticker, side, quantity, exec_price, arrival_price, decision_price, notional, "
    "fees, CASE WHEN kind = 'trade' THEN exec_timestamp END, order_id, execution_id FROM trade_execution_logs "
    "ORDER BY portfolio_id, id",
    "positions": "SELECT DISTINCT ON (portfolio_id, ticker) portfolio_id, ticker, quantity FROM positions_book "
    "ORDER BY portfolio_id, ticker, updated_at DESC, position_id DESC",
    "cash": "SELECT DISTINCT ON (portfolio_id) portfolio_id, notional FROM cash_equity_book "
    "ORDER BY portfolio_id, timestamp DESC, id DESC",
    "valuations": "SELECT portfolio_id, bar_timestamp, equity, notional, realised, unrealised, income, costs "
    "FROM pnl_book ORDER BY portfolio_id, bar_timestamp",
    "allocations": "SELECT run_id, due_at, total, portfolio_id, equity, target, transfer, shortfall, is_limit "
    "FROM allocations JOIN allocation_targets USING (run_id) ORDER BY run_id, portfolio_id",
}

Outcome = dict[str, list[tuple[Any, ...]]]


#: Connections of each thread that it asks by: most of a case's time would go into making them.
_kept = threading.local()


def ask(url: str, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """The rows of a statement, in autocommit."""
    connection = _connection(url)
    try:
        return _rows(connection, statement, parameters)
    except psycopg2.Error as error:
        if not connection.closed and error.pgcode is not None:
            raise
        forget(url)
        return _rows(_connection(url), statement, parameters)  # the session had been ended


def _connection(url: str) -> Any:
    kept: dict[str, Any] = vars(_kept)
    if url not in kept or kept[url].closed:
        if len(kept) > 3:
            forget(*kept)
        kept[url] = psycopg2.connect(url)
        kept[url].autocommit = True
    return kept[url]


def _rows(connection: Any, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def forget(*urls: str) -> None:
    """Close what this thread keeps of these databases, so that they can be copied."""
    for url in urls:
        if url in vars(_kept):
            vars(_kept).pop(url).close()


def outcome(url: str) -> Outcome:
    """How the books stand."""
    return {name: ask(url, statement) for name, statement in _READ.items()}


def difference(found: Outcome, expected: Outcome) -> str | None:
    """The first difference, in words."""
    for name, rows in expected.items():
        for mine, right in zip(found[name], rows, strict=False):
            if mine != right:
                return f"{name}: {mine} instead of {right}"
        if len(found[name]) != len(rows):
            return f"{name}: {len(found[name])} rows instead of {len(rows)}"
    return None


def expire_leases(url: str) -> None:
    """As if the time of all leases had passed."""
    ask(url, "UPDATE leases SET expires_at = clock_timestamp() - interval '1 hour' WHERE released_at IS NULL")


def until_alone(url: str, seconds: float = 20) -> None:
    """Wait until the server has ended all sessions of this database: those of a dead engine, and our own."""
    deadline = time.monotonic() + seconds
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while ask(url, others) != [(0,)]:
        assert time.monotonic() < deadline, "sessions of a dead engine are still there"
        time.sleep(0.01)
    forget(url)
