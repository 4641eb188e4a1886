"""The SQL that the live benchmark compares the engine with is the engine's; no peer is left out silently."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

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


def test_a_peer_that_cannot_be_installed_says_why(tmp_path: Path) -> None:
    environments = import_module("bench.adapters.environments")
    inside, why = environments.interpreter(tmp_path, ("bt",), tmp_path / "no-python")
    assert inside is None
    assert "no-python" in why
    says = "print('ERROR: no such package'); print('a notice'); raise SystemExit(1)"
    assert environments.failure([sys.executable, "-c", says]) == "ERROR: no such package"
    assert environments.failure([sys.executable, "-c", "raise SystemExit(3)"]) == "exit code 3"
    assert environments.failure([sys.executable, "-c", ""]) is None


@pytest.mark.parametrize(
    ("seconds", "weights", "on_bar"),
    [(1.0, "NO", "NO"), (1.95, "yes, equal", "NO"), (2.5, "yes", "NO"), (4.1, "yes", "NO, equal"), (5.0, "yes", "yes")],
)
def test_a_difference_under_a_tenth_counts_as_equal(seconds: float, weights: str, on_bar: str) -> None:
    def line(median: float) -> dict[str, object]:
        run = {"cpu": median, "wall": median, "marks": {}, "equity": [1.0]}
        return {"version": "1", "runs": [run, run]}

    lines = {"weights": line(2.0), "on_bar": line(4.0), "bt": line(seconds), "vectorbt": {"version": "", "failed": "x"}}
    lines["backtrader"] = {"version": "1", "runs": [], "over": 600}
    judged = {each["name"]: each for each in import_module("bench.peers").judged("days", lines)}
    assert judged["bt"]["met"] == {"weights": weights, "on_bar": on_bar}
    assert judged["backtrader"]["met"] == {"weights": "yes", "on_bar": "yes"}
    assert judged["vectorbt"]["failed"] == "x"
