"""A cycle without orders of one portfolio, beside its SQL alone."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Sequence
from typing import Any

from cycle import Sent, SpyPool
from live_books import BEFORE, DAYS, LOOKBACK, TICKERS, Books, Source, bars, known

from framework.books.journal import read_books_id
from framework.data.coming import Coming
from framework.data.feed import Feed
from framework.db.bars import write_bars
from framework.db.pool import Pool
from framework.engine.leases import portfolio_lease, require_lease
from framework.engine.worker import Worker


def one_cycle(books: Books, pool: SpyPool, cycles: int) -> dict[str, Any]:
    """A cycle and its SQL alone, medians in milliseconds, after a tenth of warming up."""
    ours, theirs = (books.open(name, TICKERS) for name in ("one-ours", "one-bare"))
    leases = books.leases.acquire([portfolio_lease(each.identity.portfolio_id) for each in (ours, theirs)])
    source = Source(name="one")
    feed, coming = Feed(source, TICKERS, "1d", "XNYS", "all", LOOKBACK), Coming("XNYS", "1d")
    now = known(BEFORE)
    lease = leases[portfolio_lease("one-ours")]
    worker = Worker(
        ours,
        pool,
        feed,
        coming,
        lambda: now,
        lambda: now,
        read_books_id(pool),
        lambda connection: require_lease(connection, lease),
    )
    with books.pool.transaction() as connection:
        write_bars(connection, "one", "1d", bars(TICKERS, DAYS[:BEFORE]))
    taken: dict[str, list[float]] = {"cycle": [], "cpu": [], "sql": []}
    warm = max(3, cycles // 10)
    for day in range(BEFORE, BEFORE + warm + cycles):
        with books.pool.transaction() as connection:
            write_bars(connection, "one", "1d", bars(TICKERS, DAYS[day : day + 1]))
        now, pool.sent = known(day), {}
        worked, began = time.thread_time(), time.perf_counter()
        worker.cycle()
        ended, cpu = time.perf_counter(), time.thread_time() - worked
        (sent,) = pool.sent.values()
        pool.sent = None
        replayed = replay(books.pool, sent)
        if day >= BEFORE + warm:
            for name, value in (("cycle", ended - began), ("cpu", cpu), ("sql", replayed)):
                taken[name].append(value * 1e3)
    with books.pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT portfolio_id, count(*) FROM decisions GROUP BY 1")
        assert dict(cursor.fetchall()) == {"one-ours": warm + cycles, "one-bare": warm + cycles}
    found = {f"{name}_ms": statistics.median(values) for name, values in taken.items()}
    return found | {"statements": len(sent), "cycle_ratio": found["cycle_ms"] / found["sql_ms"]}


def replay(pool: Pool, sent: Sequence[Sent]) -> float:
    """Send the same for the portfolio ``one-bare``; seconds."""
    asked = [(query, _instead(parameters)) for query, parameters in sent]
    with pool.connection() as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT max(id) FROM trade_execution_logs WHERE portfolio_id = 'one-bare'")
        (own,) = cursor.fetchone()
        for _, parameters in asked:
            if parameters and "newest_trade" in parameters:
                parameters["newest_trade"] = own
        began = time.perf_counter()
        for query, parameters in asked:
            cursor.execute(query, parameters)
            if cursor.description:
                cursor.fetchall()
        return time.perf_counter() - began


def _instead(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"^(portfolio:)?one-ours$", r"\1one-bare", value)
    if isinstance(value, dict):
        return {name: _instead(each) for name, each in value.items()}
    return [_instead(each) for each in value] if isinstance(value, list) else value
