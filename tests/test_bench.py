"""The SQL that the live benchmark compares the engine with is the engine's."""

from __future__ import annotations

import re
from pathlib import Path

from framework.db.queries import sql

CYCLE = Path(__file__).parents[1] / "bench" / "cycle.sql"
WRITE = "python bench/live.py --write --portfolios 3 --rounds 1 --cycles 5 --fills 20"


def test_the_cycle_of_the_live_benchmark_has_the_queries_as_they_are() -> None:
    # What is sent, and in which order, only a run of the benchmark can tell: it stops where that is something else.
    found = {}
    for statement in re.split(r"(?: \\)?;\s", CYCLE.read_text("utf-8")):
        named = re.match(r"/\* (\w+) \*/", statement.strip())
        if named:
            found[named[1]] = statement.strip()
    assert {"feed_changes", "portfolio_state", "lock_portfolios", "insert_valuation", "insert_decision"} <= set(found)
    for name, text in found.items():
        query = sql(name).replace("%%", "%")
        pattern = ".*?".join(map(re.escape, re.split(r"%\(\w+\)s", query)))
        assert re.fullmatch(pattern, text, re.DOTALL), f"sql/queries/{name}.sql has changed: {WRITE}"
