"""The market feed against its own SQL: one new bar per ticker, and nothing new.

    python bench/feed.py [--tickers 50] [--bars 250] [--repeats 60] [--url URL] [--json]

Each round writes one bar per ticker, then refreshes the feed and cuts the window of all tickers; then does both again.
Limits: with new bars, all of it at most 2 x the time that its statements take; with none, under 1 ms of processor time.
Medians. Without ``--url`` a throw-away embedded server is used.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from servers import server

from framework.data import feed as feed_module
from framework.data import feed_bars
from framework.data.calendars import sessions
from framework.data.feed import Feed
from framework.data.source import DataSource
from framework.db.bars import write_bars
from framework.db.database import upgrade
from framework.db.market import write_corporate_actions
from framework.db.pool import Pool
from framework.model.bars import Bars, CorporateAction
from framework.model.panel import Times

LIMIT, IDLE_LIMIT_MS = 2.0, 1.0
WARMUP = 5


class Bench(DataSource):
    """A source that is only a key."""

    def key(self) -> str:
        return "bench"


class Watch:
    """Adds up the time that the feed's statements take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            started = time.perf_counter()
            try:
                return call(*given)
            finally:
                self.seconds += time.perf_counter() - started

        return run

    @contextmanager
    def on(self) -> Iterator[None]:
        """Watches the feed's reads meanwhile."""
        places = [
            (feed_bars, "fetch_all"),
            (feed_module, "fetch_one"),
            (feed_module, "read_versions"),
            (feed_module, "read_corporate_actions"),
        ]
        kept = [(place, name, getattr(place, name)) for place, name in places]
        for place, name, call in kept:
            setattr(place, name, self.timed(call))
        try:
            yield
        finally:
            for place, name, call in kept:
                setattr(place, name, call)


def bars(tickers: tuple[str, ...], days: Times) -> Bars:
    code = np.tile(np.arange(len(tickers), dtype=np.int32), len(days))
    price = 10 + np.arange(len(code)) % 7 + 0.01
    return Bars(tickers, code, np.repeat(days, len(tickers)), price, price, price, price, np.full(len(code), 500.0))


def measure(pool: Pool, tickers: tuple[str, ...], rows: int, repeats: int) -> dict[str, float]:
    days = sessions("XNYS", date(2000, 1, 1), date(2024, 1, 1)).astype("datetime64[us]")
    before = rows + 300
    last = before + WARMUP + repeats
    ex_dates = [day.item().date() for day in days[:last:63]]
    dividends = [CorporateAction(t, day, "dividend", Decimal("0.12")) for t in tickers for day in ex_dates]
    with pool.transaction() as connection:
        write_bars(connection, "bench", "1d", bars(tickers, days[:before]))
        write_corporate_actions(connection, "bench", (), dividends)
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    feed, watch = Feed(Bench(), tickers, "1d", "XNYS", "all", rows), Watch()
    measured = []
    for day in range(before, last):
        with pool.transaction() as connection:
            write_bars(connection, "bench", "1d", bars(tickers, days[day : day + 1]))
        now = days[day].item().replace(tzinfo=UTC) + timedelta(hours=23)
        with watch.on(), pool.transaction(read_only=True, isolation="repeatable read") as connection:
            taken = []
            for _ in range(2):
                watch.seconds, started, worked = 0.0, time.perf_counter(), time.thread_time()
                feed.refresh(connection, now).window(tickers, rows)
                taken += [time.perf_counter() - started, watch.seconds, time.thread_time() - worked]
            measured.append(taken)
    names = ("new_ms", "new_sql_ms", "new_cpu_ms", "idle_ms", "idle_sql_ms", "idle_cpu_ms")
    columns = zip(*measured[WARMUP:], strict=True)
    found = {name: statistics.median(column) * 1e3 for name, column in zip(names, columns, strict=True)}
    return found | {"ratio": statistics.median(row[0] / row[1] for row in measured[WARMUP:])}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tickers", type=int, default=50)
    parser.add_argument("--bars", type=int, default=250)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--url")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with server(asked.url) as url:
        upgrade(url)
        pool = Pool(url)
        try:
            tickers = tuple(f"T{number:03}" for number in range(asked.tickers))
            found = measure(pool, tickers, asked.bars, asked.repeats)
        finally:
            pool.close()
    if asked.json:
        print(json.dumps(found))
    else:
        print(f"{asked.tickers} tickers x {asked.bars} bars, medians of {asked.repeats}")
        print(
            f"one new bar each: {found['new_ms']:.2f} ms, of which SQL {found['new_sql_ms']:.2f} ms "
            f"(ratio {found['ratio']:.2f}, limit {LIMIT}); processor {found['new_cpu_ms']:.2f} ms"
        )
        print(
            f"nothing new: {found['idle_ms']:.2f} ms, of which SQL {found['idle_sql_ms']:.2f} ms; "
            f"processor {found['idle_cpu_ms']:.2f} ms (limit {IDLE_LIMIT_MS})"
        )
    return 0 if found["ratio"] <= LIMIT and found["idle_cpu_ms"] < IDLE_LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
