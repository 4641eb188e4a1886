"""Workspaces for small paper runs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.engine import runs
from tests.engine.runs import Runs, Travelling
from tests.engine.stand_in import World


@pytest.fixture
def live(tmp_path, database, monkeypatch) -> Runs:
    """A workspace with prices and plugins; see :mod:`tests.engine.runs`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    for registry in (runs.ACTS, runs.RULES, runs.ACCOUNTS):
        registry.clear()
    return Runs(tmp_path, database)


@pytest.fixture
def travelling(monkeypatch) -> type[Travelling]:
    """The real clock goes in another year, and to where the test has it go."""
    monkeypatch.setattr("framework.live_books.RealClock", Travelling)
    monkeypatch.setattr(Travelling, "moved", timedelta(0))
    return Travelling


@pytest.fixture
def world(pool) -> World:
    """A portfolio with money at a broker account that does as it is told; see :mod:`tests.engine.stand_in`."""
    return World(pool)
