"""The arena of the fault suite, and its table: how many cases of each fault were tried, and how many failed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from framework.db.embedded import DATABASE, Embedded
from tests.faults.arena import Arena
from tests.faults.table import ROWS_TO, Row, lines


@pytest.fixture(scope="package")
def arena(server: Embedded, database_url: str) -> Iterator[Arena]:
    """Prices, configs, databases and engines."""
    with tempfile.TemporaryDirectory(prefix="engine-faults-") as folder:
        made = Arena(Path(folder), server, DATABASE)
        yield made
        made.close()


@pytest.fixture
def report(record_property):
    """Tell how many cases of a fault were tried, and fail with those that failed."""

    def tell(fault: str, cases: int, failures: list[str], note: str = "") -> None:
        record_property("fault", [fault, cases, len(failures), note])
        assert not failures, "\n".join(failure[:8000] for failure in failures[:10])

    return tell


def pytest_terminal_summary(terminalreporter):
    """Print the table; a file gets its rows where :mod:`tests.faults.__main__` has asked for them."""
    properties = [
        value
        for outcome in ("passed", "failed")
        for each in terminalreporter.stats.get(outcome, [])
        for name, value in getattr(each, "user_properties", ())
        if name == "fault" and getattr(each, "when", "") == "call"
    ]
    rows = [Row(*value) for value in properties]
    if rows:
        terminalreporter.section("faults")
        for line in lines(rows):
            terminalreporter.write_line(line)
    if ROWS_TO in os.environ:
        Path(os.environ[ROWS_TO]).write_text(json.dumps(properties))
