"""Modules are brought back to what they were, whatever a run has left in them; objects stay the same objects."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from framework.engine.leftovers import Leftovers

MODULE = """
from collections import OrderedDict, deque
from functools import lru_cache

import numpy as np

count = 0
rows = [1, [2]]
table = {"a": {"b": 1}}
recent = deque([1, 2], maxlen=2)
names = {"x"}
values = np.zeros(3)
pair = (1, [2])
ordered = OrderedDict(a=1, b=2)


class Store:
    def __init__(self):
        self.kept = {}


store = Store()


class Strategy:
    seen = []

    def spoil(self):
        global count, values_of_mine
        count += 1
        values_of_mine = "new"
        rows.append(3)
        rows[1].append(4)
        table["a"]["b"] = 2
        table["c"] = 3
        recent.append(9)
        names.add("y")
        values[:] = 7.0
        pair[1].clear()
        ordered.move_to_end("a")
        store.kept["k"] = 1
        store.later = 1
        Strategy.seen.append(1)
        Strategy.fresh = 1
        Strategy.seen = None
        remember()
        cached(3)
        told.count = 5


def remember(kept=[]):
    kept.append(1)
    return len(kept)


@lru_cache
def cached(number):
    return number, count


def counter():
    inner = []

    def told():
        inner.append(1)
        return len(inner)

    return told


told = counter()
"""


def make(name, code):
    module = ModuleType(name)
    exec(code, vars(module))
    return module


@pytest.fixture
def module(monkeypatch):
    module = make("spoilt", MODULE)
    monkeypatch.setitem(sys.modules, "spoilt", module)
    return module


def told_of(module):
    """All that can change, read."""
    return repr(
        (
            {name: value for name, value in vars(module).items() if isinstance(value, int | str | list | dict | set)}
            | {"__builtins__": None},
            list(module.recent),
            module.values.tolist(),
            module.pair,
            list(module.ordered),
            vars(module.store),
            {name: value for name, value in vars(module.Strategy).items() if name in ("seen", "fresh")},
            module.cached.cache_info().currsize,
            vars(module.told),
        )
    )


def test_everything_is_as_it_was(module):
    before, things = told_of(module), {name: id(value) for name, value in vars(module).items()}
    leftovers = Leftovers()
    leftovers.watch(module.Strategy)
    for _ in range(2):
        module.Strategy().spoil()
        module.told()
        assert told_of(module) != before
        leftovers.clear()
        assert told_of(module) == before
        assert {name: id(value) for name, value in vars(module).items()} == things
    assert module.remember() == 1
    assert module.told() == 1


def test_neighbours_in_a_package_count_and_the_core_does_not(module, monkeypatch):
    for name in ("acme", "acme.helpers", "acme.alpha", "acmeother"):
        code = "kept = {}\nclass Mine: pass\nMine.__module__ = __name__"
        monkeypatch.setitem(sys.modules, name, make(name, code))
    modules = sys.modules
    leftovers = Leftovers()
    leftovers.watch(modules["acme.alpha"].Mine)
    for name in ("acme.helpers", "acme.alpha", "acmeother"):
        modules[name].kept["x"] = 1
    leftovers.clear()
    assert [len(modules[name].kept) for name in ("acme.helpers", "acme.alpha", "acmeother")] == [0, 0, 1]


def test_a_class_of_the_core_has_nothing_to_watch(monkeypatch):
    from framework.trading import strategy

    leftovers = Leftovers()
    leftovers.watch(strategy.Strategy)
    monkeypatch.setattr(strategy, "left", 1, raising=False)
    leftovers.clear()
    assert strategy.left == 1


def test_what_is_watched_later_is_remembered_as_it_is_then(module):
    leftovers = Leftovers()
    module.rows.append(5)
    leftovers.watch(module.Strategy)
    module.rows.append(6)
    leftovers.watch(module.Strategy)
    leftovers.clear()
    assert module.rows == [1, [2], 5]
