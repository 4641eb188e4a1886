"""Many portfolios in the live engine, beside the same SQL by bare threads and by pgbench."""

from __future__ import annotations

import json
import os
import pickle
import random
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cycle import FILE, Sent, SpyPool, as_script, cpu_seconds, statements
from live_books import BEFORE, DAYS, LOOKBACK, TICKERS, Books, Source, bars, known

from framework.data.coming import Coming
from framework.data.feed import Feed
from framework.db.bars import write_bars
from framework.db.pool import Pool
from framework.db.server_binaries import bin_folder
from framework.engine.decider import StrategyData
from framework.engine.leases import portfolio_lease
from framework.engine.live import LiveEngine
from framework.engine.runner import Events, Settings
from framework.errors import EmbeddedServerError

#: Bars per portfolio in a round.
ROUND_BARS = 3
#: Numbers of the portfolios of each side.
ENGINE, BARE, PGBENCH = 1000, 2000, 3000
_PATIENCE_SECONDS = 300.0


class Stepped:
    """A clock that stands still until it is told the time; who waits has an event, as on the real clock."""

    is_simulated = True

    def __init__(self, start: datetime) -> None:
        self._now, self.is_over = start, False
        self._lock = threading.Lock()
        self._sleepers: set[_Sleeper] = set()

    def now(self) -> datetime:
        """The time that was told last."""
        return self._now

    def step(self, now: datetime) -> None:
        """It is that late now."""
        self._now = now
        self._wake(now)

    def sleeper(self) -> _Sleeper:
        """For one thread."""
        made = _Sleeper(self)
        with self._lock:
            self._sleepers.add(made)
        return made

    def stop(self) -> None:
        """End all waits."""
        self.is_over = True
        self._wake(None)

    def forget(self, sleeper: _Sleeper) -> None:
        """It waits no more."""
        with self._lock:
            self._sleepers.discard(sleeper)

    def _wake(self, now: datetime | None) -> None:
        with self._lock:
            sleepers = tuple(self._sleepers)
        for sleeper in sleepers:
            if now is None or (sleeper.until is not None and sleeper.until <= now):
                sleeper.wake()


class _Sleeper:
    def __init__(self, clock: Stepped) -> None:
        self._clock, self._event = clock, threading.Event()
        self.until: datetime | None = None

    def wait(self, until: datetime | None) -> None:
        self.until = until
        if not self._clock.is_over and (until is None or until > self._clock.now()):
            self._event.wait()
        self._event.clear()

    def wake(self) -> None:
        self._event.set()

    def close(self) -> None:
        self._clock.forget(self)


@dataclass
class Fleet:
    """The live engine with many portfolios of ten tickers; the same portfolios twice more for the others."""

    books: Books
    pool: SpyPool
    url: str
    size: int
    day: int = BEFORE
    #: A cycle as the engine sends it.
    sent: list[Sent] = field(default_factory=list)
    #: When the portfolio's cycle at this day's bar ended.
    ended: dict[str, float] = field(default_factory=dict)
    #: Per portfolio, seconds from the bar to the end of its cycle.
    waits: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chosen, opened = random.Random(7), {}
        own = [chosen.sample(TICKERS, 10) for _ in range(self.size)]
        for first in (ENGINE, BARE, PGBENCH):
            opened[first] = [self.books.open(f"bench-{first + n}", tickers) for n, tickers in enumerate(own)]
        names = [portfolio_lease(each.identity.portfolio_id) for first in (BARE, PGBENCH) for each in opened[first]]
        self.books.leases.acquire(names)
        with self.books.pool.transaction() as connection:
            write_bars(connection, "many", "1d", bars(TICKERS, DAYS))
        with self.books.pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute("ANALYZE")
            cursor.execute("SELECT max(id) FROM trade_execution_logs")
            self.last_trade = cursor.fetchone()[0]
        self._all_ended = threading.Event()
        self._clock = Stepped(known(self.day))
        self._engine = LiveEngine(
            "bench",
            "",
            opened[ENGINE],
            self.pool,
            self.url,
            Feed(Source(name="many"), TICKERS, "1d", "XNYS", "all", LOOKBACK),
            Coming("XNYS", "1d"),
            self._clock,
            Settings(),
            Events(cycled=self._cycled, failed=self._failed),
        )

    def _cycled(self, portfolio_id: str, data: StrategyData) -> None:
        # One thread each, so that no portfolio is added twice; a cycle without a new bar (woken early) does not count.
        if data.now == self._clock.now() and portfolio_id not in self.ended:
            self.ended[portfolio_id] = time.perf_counter()
            if len(self.ended) == self.size:
                self._all_ended.set()

    def _failed(self, portfolio_id: str, error: BaseException, stopped: bool) -> None:
        print(f"portfolio {portfolio_id}: {error}", file=sys.stderr)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The engine runs meanwhile; two bars are done when the body begins."""
        thread = threading.Thread(target=self._engine.run, name="engine")
        thread.start()
        try:
            self._await()
            self.bars(1)
            yield
        finally:
            self._engine.stop()
            thread.join()

    def bars(self, count: int) -> float:
        """Let so many bars come, one after the other; seconds until every portfolio has done its cycles."""
        seconds = 0.0
        for _ in range(count):
            self.ended.clear()
            self._all_ended.clear()
            self.day += 1
            began = time.perf_counter()
            self._clock.step(known(self.day))
            self._await()
            seconds += max(self.ended.values()) - began
            for name, at in self.ended.items():
                self.waits.setdefault(name, []).append(at - began)
        return seconds

    def _await(self) -> None:
        if not self._all_ended.wait(_PATIENCE_SECONDS):
            raise SystemExit(f"{len(self.ended)} of {self.size} portfolios had their cycle in {_PATIENCE_SECONDS} s")

    def script(self) -> str:
        """One cycle's SQL; every portfolio's is the same, but for the first that reads bars ahead for all."""
        self.pool.sent = sent = {}
        self.bars(1)
        self.pool.sent = None
        with self.books.pool.connection() as connection:
            scripts = {
                as_script(connection, own): own
                for name, own in sent.items()
                if name.startswith("portfolio-") and not any("read_versions" in query for query, _ in own)
            }
        if len(scripts) != 1:
            raise SystemExit(f"{len(scripts)} different cycles instead of one:\n\n" + "\n\n".join(scripts))
        ((script, self.sent),) = scripts.items()
        return script


def many(fleet: Fleet, rounds: int, write: bool) -> dict[str, Any]:
    """Engine, bare threads and pgbench in turns; a round more than asked for comes first, to warm up."""
    rates: dict[str, list[float]] = {"engine": [], "bare": [], "pgbench": []}
    cpu: dict[str, float] = {"engine": 0.0, "bare": 0.0}
    program, before = find_pgbench(), {}
    with fleet.running():
        script = fleet.script()
        if write:
            FILE.write_text(script)
        if not FILE.exists() or script != FILE.read_text():
            raise SystemExit(f"the engine sends something else than {FILE}; run again with --write, see git diff")
        cycles = ROUND_BARS * fleet.size
        for number in range(rounds + 1):
            if number == 1:
                fleet.waits.clear()
                cpu = dict.fromkeys(cpu, 0.0)
                rates = {name: [] for name in rates}
                before = standing(fleet.books.pool)
            worked = cpu_seconds()
            rates["engine"].append(cycles / fleet.bars(ROUND_BARS))
            cpu["engine"] += cpu_seconds() - worked
            seconds, worked = bare(fleet, number)
            rates["bare"].append(cycles / seconds)
            cpu["bare"] += worked
            if program is not None:
                rates["pgbench"].append(pgbench(program, fleet, number, cycles))
        after = standing(fleet.books.pool)
        stats = fleet.pool.stats()
    means = [statistics.fmean(waits) for waits in fleet.waits.values()]
    every = [wait for waits in fleet.waits.values() for wait in waits]
    return {
        "portfolios": fleet.size,
        "cycles": rounds * cycles,
        "statements": len(statements()),
        "engine_per_second": statistics.median(rates["engine"]),
        "bare_per_second": statistics.median(rates["bare"]),
        "pgbench_per_second": statistics.median(rates["pgbench"]) if program else None,
        "of_bare": ratio(rates["engine"], rates["bare"]),
        "of_pgbench": ratio(rates["engine"], rates["pgbench"]) if program else None,
        "engine_cpu_ms": cpu["engine"] / rounds / cycles * 1e3,
        "bare_cpu_ms": cpu["bare"] / rounds / cycles * 1e3,
        "median_wait_ms": statistics.median(every) * 1e3,
        "worst_wait": max(every) / statistics.median(every),
        "worst_mean_wait": max(means) / statistics.median(means),
        "before": before,
        "after": after,
        "pool_opened": stats.opened,
        "pool_timeouts": stats.timeouts,
    }


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def bare(fleet: Fleet, number: int) -> tuple[float, float]:
    """A round of bare psycopg2 in a process of its own: seconds, processor seconds."""
    asked = {"first": BARE, "portfolios": fleet.size, "threads": fleet.size, "connections": 6, "cycles": ROUND_BARS}
    asked |= {"base": 4_000_000_000 + number * 1000}
    options = [text for name, value in asked.items() for text in (f"--{name}", str(value))]
    program = [sys.executable, str(FILE.with_name("cycle.py")), fleet.url, *options]
    done = subprocess.run(program, check=True, input=pickle.dumps(fleet.sent), stdout=subprocess.PIPE)
    found = json.loads(done.stdout)
    return found["seconds"], found["cpu_seconds"]


def find_pgbench() -> Path | None:
    """The embedded server's, or one that is installed."""
    try:
        own = bin_folder() / "pgbench"
    except EmbeddedServerError:
        own = None
    if own is not None and own.exists():
        return own
    found = shutil.which("pgbench")
    return None if found is None else Path(found)


def pgbench(program: Path, fleet: Fleet, number: int, cycles: int) -> float:
    """A round of pgbench: transactions, which are cycles here, per second."""
    asked = {"first": PGBENCH, "portfolios": fleet.size, "base": 4_000_000_000 + number * 100_000}
    given = [f"-D{name}={value}" for name, value in (asked | {"after": fleet.last_trade}).items()]
    each = -(-cycles // 6)
    command = [str(program), "-n", "-c6", "-j2", f"-t{each}", "-f", str(FILE), *given, fleet.url]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = re.search(r"tps = ([\d.]+)", done)
    if found is None or f"processed: {each * 6}/" not in done:
        raise SystemExit(f"pgbench did not do its {each * 6} transactions:\n{done}")
    return float(found[1])


def standing(pool: Pool) -> dict[str, float]:
    """Memory of this process in MB, and its connections to the database."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portfolio-engine'")
        return {"rss_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6, "connections": cursor.fetchone()[0]}
