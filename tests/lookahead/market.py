"""The market that the corpus decides on: small, with all that real prices have: gaps, listings, delistings, halts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from framework import Indicator, Strategy
from framework.engine.account import Terms
from framework.engine.simulator import Simulation
from framework.model.panel import FIELDS, Panel
from framework.model.timeline import Timeline
from framework.plugin_manager import PluginManager
from framework.trading.costs import Costs

BARS, FIRST = 260, 40
TICKERS = ("AAA", "BBB", "FLAT", "LATE", "ENDS")

PLUGINS = PluginManager.load()


class Tomorrow(Indicator):
    """Looks ahead: the close of the bar after."""

    def compute(self, panel):
        return np.vstack([panel.close[1:], panel.close[-1:]])

    def memory(self):
        return 1


def make_indicator(name, params):
    return Tomorrow() if name == "tomorrow" else PLUGINS.create("indicator", name, params)


def market() -> tuple[Panel, Timeline]:
    """A year of days. FLAT does not move for a month, LATE is listed late and halts for a week, ENDS ends."""
    rng = np.random.default_rng(11)
    close = 40 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, (BARS, len(TICKERS))), axis=0))
    close[120:145, 2] = close[120, 2]
    opens = close * np.exp(rng.normal(0, 0.005, close.shape))
    values = {
        "open": opens,
        "high": np.maximum(opens, close) * 1.004,
        "low": np.minimum(opens, close) * 0.996,
        "close": close,
        "volume": rng.integers(1_000, 9_000, close.shape).astype(np.float64),
    }
    values = {name: np.round(values[name], 2) for name in FIELDS}
    for array in values.values():
        array[:70, 3] = array[151:156, 3] = array[200:, 4] = np.nan
    days: Any = np.busday_offset(np.datetime64("2010-01-04", "D"), np.arange(BARS + 1))
    label = days[:-1].astype("datetime64[us]")
    opens_at, known_at = (label + np.timedelta64(hours, "h") for hours in (14, 21))
    clock = Timeline(label, opens_at, known_at, days[:-1], days[1:])
    return Panel(TICKERS, label, **values), clock


def job(strategy: Strategy, **changes) -> Simulation:
    panel, clock = market()
    values = {
        "portfolio_id": "1",
        "strategy": strategy,
        "strategy_name": type(strategy).__name__,
        "panel": panel,
        "timeline": clock,
        "first": FIRST,
        "trade": panel,
        "schedule": "every_bar",
        "terms": Terms(100_000.0, 1.0, 0.005, Costs()),
        "make_indicator": make_indicator,
    }
    return Simulation(**{**values, **changes})


def strategies(module: ModuleType) -> list[type[Strategy]]:
    """The strategies that a module defines, in its order."""
    found = [each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == module.__name__]
    return [each for each in found if issubclass(each, Strategy)]


def maker(cls: type[Strategy], folder) -> Callable[[], Strategy]:
    """Makes objects of a strategy; one that keeps a file is given a place for it."""
    return (lambda: cls(path=str(folder / "kept"))) if "path" in cls.__annotations__ else cls
