"""The disk for the logs is full: what the engine says is lost, and it trades on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.arena import each

FULL = "/dev/full"


@pytest.mark.parametrize("where", ["stderr", pytest.param("all", marks=pytest.mark.slow)])
def test_a_full_disk_for_the_logs(arena, report, where):
    cases: list[dict[str, Any]] = [{"stderr": FULL}]
    if where == "all":
        cases = [{"stdout": FULL}, {"stderr": FULL}, {"stdout": FULL, "stderr": FULL}]
        cases += [{"file_limit": limit} for limit in (0, 1, 50, 100, 300, 1000, 2000, 4000)]

    def run(case: dict[str, Any]) -> str | None:
        with arena.database(arena.config) as database:
            status, said = arena.run(database, arena.config, **case)
            # Words for stdout that cannot be written are an error, once everything is done.
            if status not in ((0, 1) if "stdout" in case or "file_limit" in case else (0,)):
                return f"the engine ended with {status}: {said}"
            return arena.differs(database, arena.config)

    count, failures = each(cases, run)
    report(f"full disk for {'stdout, stderr, a limit of size' if where == 'all' else where}", count, failures)
