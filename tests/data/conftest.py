"""The source ``fmp`` against its stand-in, in a process of its own."""

from __future__ import annotations

import pytest

from framework.plugin_manager import PluginManager
from tests.standins.running import KEY, StandIn


@pytest.fixture(scope="module")
def process():
    with StandIn() as server:
        yield server


@pytest.fixture
def fmp(process):
    process.set()
    return process


@pytest.fixture
def make(fmp):
    manager = PluginManager.load([], None)

    def make(**params):
        given = {"api_key": KEY, "base_url": fmp.url, "requests_per_minute": 60_000, "patience_seconds": 5} | params
        return manager.create("data source", "fmp", given)

    return make
