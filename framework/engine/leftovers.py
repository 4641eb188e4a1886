"""What strategies leave behind in their modules, and how to have it as it was.

A variable of the module, a list on the class, the cache of a function: what one run puts there, the next one finds.
Runs that are to be compared must begin with the same.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from types import CellType, FunctionType, ModuleType
from typing import Any

import numpy as np

#: Brings one thing back to what it was.
Restore = Callable[[], None]

_CORE, _PLUGINS = "framework", "framework.plugins."
_Cached = type(lru_cache(len))


class Leftovers:
    """Remembers the state of modules: their variables, and all that is reached from these and may change.

    That is containers, arrays, classes and functions of the modules themselves, and objects of these classes. Of the
    state of other libraries, and of files, it knows nothing.
    """

    def __init__(self) -> None:
        self._modules: set[str] = set()
        self._seen: dict[int, object] = {}
        self._restores: list[Restore] = []

    def watch(self, cls: type) -> None:
        """Remember the modules of a class as they are now: its own, those of its bases, and their neighbours."""
        names = _modules_of(cls) - self._modules
        self._modules |= names
        for name in sorted(names):
            module = sys.modules.get(name)
            if module is not None:
                self._remember(module)

    def clear(self) -> None:
        """Bring everything back to what it was."""
        for restore in self._restores:
            restore()

    def _remember(self, module: ModuleType) -> None:
        waiting: list[object] = [module]
        while waiting:
            thing = waiting.pop()
            if id(thing) in self._seen:
                continue
            self._seen[id(thing)] = thing  # kept, or its id could come to be another's
            restore = _restore_of(thing)
            if restore is not None:
                self._restores.append(restore)
            waiting.extend(inner for inner in _inside(thing) if self._is_of_interest(inner))

    def _is_of_interest(self, thing: object) -> bool:
        if isinstance(thing, dict | list | set | deque | tuple | np.ndarray):
            return True
        if isinstance(thing, type | FunctionType | _Cached):
            return thing.__module__ in self._modules
        return type(thing).__module__ in self._modules


def _modules_of(cls: type) -> set[str]:
    """Names of the modules whose state a class may use, Python's and the core's left out."""
    found = {base.__module__ for base in cls.__mro__}
    package = cls.__module__.rpartition(".")[0]
    if package:
        found |= {name for name in list(sys.modules) if name.startswith(f"{package}.")}
    foreign = sys.stdlib_module_names | {_CORE}
    return {name for name in found if name.startswith(_PLUGINS) or name.partition(".")[0] not in foreign}


def _inside(thing: Any) -> Iterator[Any]:
    """What a thing consists of."""
    if isinstance(thing, dict):
        yield from thing.values()
    elif isinstance(thing, list | set | deque | tuple):
        yield from thing
    elif isinstance(thing, ModuleType | type):
        yield from vars(thing).values()
    else:
        if isinstance(thing, FunctionType):
            yield from (thing.__defaults__, thing.__kwdefaults__)
            yield from (cell.cell_contents for cell in thing.__closure__ or () if cell != CellType())
        yield getattr(thing, "__dict__", None)


def _restore_of(thing: Any) -> Restore | None:
    """What brings back the thing itself; None: it does not change."""
    if isinstance(thing, dict):
        return _container(thing, thing.update, dict(thing))
    if isinstance(thing, list | deque):
        return _container(thing, thing.extend, list(thing))
    if isinstance(thing, set):
        return _container(thing, thing.update, set(thing))
    if isinstance(thing, np.ndarray):
        return _array(thing) if thing.flags.writeable else None
    if isinstance(thing, ModuleType | type):
        return _names(thing)
    if isinstance(thing, _Cached):
        forget: Restore = thing.cache_clear
        return forget
    return None


def _container(thing: Any, fill: Callable[[Any], None], content: Any) -> Restore:
    def restore() -> None:
        thing.clear()
        fill(content)

    return restore


def _array(array: np.ndarray[Any, Any]) -> Restore:
    content = array.copy()

    def restore() -> None:
        array[...] = content

    return restore


def _names(owner: ModuleType | type) -> Restore:
    """Names one by one, as a thread of the module's may be using them."""
    content = dict(vars(owner))

    def restore() -> None:
        now = dict(vars(owner))
        with suppress(AttributeError, TypeError):  # an owner may have rules of its own
            for name in now.keys() - content.keys():
                delattr(owner, name)
            for name, value in content.items():
                if now.get(name, restore) is not value:
                    setattr(owner, name, value)

    return restore
