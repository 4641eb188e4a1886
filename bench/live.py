"""What live trading costs on top of its SQL: fills, cycles, and 300 portfolios on a pool of six connections.

    python bench/live.py [--rounds 12] [--portfolios 300] [--url URL] [--json] [--write]

Four parts, each a ratio of two things done in turns in this run:

1. a fill (bench/ledger.py): one transaction, beside a bare psycopg2 transaction of the same statements;
2. a cycle without orders of a portfolio of 50 tickers, one new bar each: market feed, state, valuation, strategy,
   decision. Beside it, the statements that it sent, with their parameters, by bare psycopg2 for another portfolio;
3. the live engine with 300 portfolios of 10 tickers each, beside the same SQL (bench/cycle.sql, compared with what the
   engine sends; ``--write`` writes it anew) by 300 bare threads over six connections, and by pgbench with six clients;
4. of the engine's run: processor time, waits, memory, connections.

A cycle's wait is from the moment at which its bar is there to its end; all portfolios have their bar at once.
Without ``--url`` a throw-away embedded server is used, as durable as any (fsync on). To write bench/cycle.sql and no
more: ``python bench/live.py --write --portfolios 3 --rounds 1 --cycles 5 --fills 20``.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import ledger
from cycle import FILE, SpyPool
from live_books import Books
from live_many import ENGINE, Fleet, many
from live_one import one_cycle
from servers import server

from framework.books.audit import audit
from framework.db.database import upgrade
from framework.db.pool import Pool

#: Limits: at most, at most, at least, at least, at most, at most.
FILL, CYCLE, OF_BARE, OF_PGBENCH, WAIT, GROWTH_MB = 2.0, 3.0, 0.7, 0.4, 3.0, 16.0
#: Cycles over which memory must not grow.
ENOUGH = 10_000

#: What was measured, the figure, the limit, whether it holds.
Line = tuple[str, str, str, bool]


def measure(url: str, options: argparse.Namespace) -> dict[str, Any]:
    """All parts, on one server."""
    upgrade(url)
    quiet, spied = Pool(url), SpyPool(url, 1, 6)
    try:
        books, one_pool = Books(quiet), SpyPool(url)
        one = one_cycle(books, one_pool, options.cycles)
        one_pool.close()
        fill = ledger.measure(quiet, options.fills, 50)
        fleet = Fleet(books, spied, url, options.portfolios)
        found = {"fill": fill, "one": one, "many": many(fleet, options.rounds, options.write)}
        return found | {"audit_clean": audit(quiet, [f"bench-{ENGINE + n}" for n in range(3)]).clean}
    finally:
        quiet.close()
        spied.close()


def judge(found: dict[str, Any]) -> list[Line]:
    """The table."""
    fill, one = found["fill"], found["one"]
    return [
        (
            f"a fill: {fill['ours_median_ms']:.2f} ms, its statements bare {fill['bare_median_ms']:.2f} ms",
            f"{fill['ratio']:.2f}",
            f"≤ {FILL}",
            fill["ratio"] <= FILL and fill["audit_clean"],
        ),
        (
            f"a cycle, 50 tickers: {one['cycle_ms']:.2f} ms (processor {one['cpu_ms']:.2f}), "
            f"its {one['statements']} statements bare {one['sql_ms']:.2f} ms",
            f"{one['cycle_ratio']:.2f}",
            f"≤ {CYCLE}",
            one["cycle_ratio"] <= CYCLE,
        ),
        *_rates(found["many"]),
        *_constancy(found["many"]),
    ]


def _rates(all_: dict[str, Any]) -> list[Line]:
    on_top = all_["engine_cpu_ms"] - all_["bare_cpu_ms"]
    of_pgbench = all_["of_pgbench"]
    return [
        (
            f"{all_['portfolios']} portfolios, pool of 6: {all_['engine_per_second']:.0f} cycles/s "
            f"of {all_['statements']} statements, bare threads {all_['bare_per_second']:.0f}",
            f"{all_['of_bare']:.2f}",
            f"≥ {OF_BARE}",
            all_["of_bare"] >= OF_BARE,
        ),
        (
            "the same, pgbench with 6 clients: "
            + ("pgbench was not found" if of_pgbench is None else f"{all_['pgbench_per_second']:.0f}"),
            "not measured" if of_pgbench is None else f"{of_pgbench:.2f}",
            f"≥ {OF_PGBENCH}",
            of_pgbench is not None and of_pgbench >= OF_PGBENCH,
        ),
        (
            f"our processor time per cycle, ms (bare threads {all_['bare_cpu_ms']:.2f}, so {on_top:.2f} on top)",
            f"{all_['engine_cpu_ms']:.2f}",
            "",
            True,
        ),
    ]


def _constancy(all_: dict[str, Any]) -> list[Line]:
    before, after = all_["before"], all_["after"]
    grown = after["rss_mb"] - before["rss_mb"]
    same = after["connections"] == before["connections"]
    enough = "" if all_["cycles"] >= ENOUGH else f" (too few: {ENOUGH:,})"
    return [
        (
            f"longest wait for a cycle / median wait, {all_['median_wait_ms']:.0f} ms "
            f"(largest mean of a portfolio / median mean: {all_['worst_mean_wait']:.2f})",
            f"{all_['worst_wait']:.2f}",
            f"≤ {WAIT}",
            all_["worst_wait"] <= WAIT,
        ),
        (
            f"memory over {all_['cycles']:,} cycles{enough}, MB: {before['rss_mb']:.0f} to {after['rss_mb']:.0f}",
            f"{grown:+.1f}",
            f"≤ +{GROWTH_MB:.0f}",
            grown <= GROWTH_MB and not enough,
        ),
        (
            f"connections: {before['connections']:.0f} to {after['connections']:.0f}, opened by the pool",
            f"{all_['pool_opened']}",
            "≤ 6",
            same and all_["pool_opened"] <= 6 and not all_["pool_timeouts"],
        ),
    ]


def main() -> int:
    """Measure, print, and end with 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fills", type=int, default=500)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--portfolios", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--url")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write bench/cycle.sql as the engine sends it now")
    options = parser.parse_args()
    with server(options.url) as url:
        found = measure(url, options)
    table = judge(found)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print(FILE.read_text())
        print("| what | figure | limit | met |\n| --- | ---: | --- | --- |")
        for what, figure, limit, met in table:
            print(f"| {what} | {figure} | {limit} | {'yes' if met else 'NO'} |")
    return 0 if all(met for *_, met in table) and found["audit_clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
