"""Finds and imports plugin modules, each on its own: installed distributions, first-party modules, drop-in files."""

from __future__ import annotations

import hashlib
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module, metadata
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import CodeType
from typing import Any

GROUP = "portfolio_engine.plugins"
OWN_DISTRIBUTION = "portfolio-engine"
#: An entry-point module with this attribute lists further modules, each of which is imported on its own.
MODULES_ATTRIBUTE = "PLUGIN_MODULES"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Provider:
    """Who offers a plugin.

    Attributes:
        name: ``distribution:entry point`` or, for a drop-in, the file's name without ``.py``.
        origin: in words: ``built-in``, ``acme-alpha 1.2``, ``folder /home/me/plugins``.
        version: of the distribution; ``None`` for a drop-in.
        path: the module's file, where there is one.
    """

    name: str
    origin: str
    version: str | None = None
    path: Path | None = None

    def describe(self) -> str:
        """Name and place, for messages."""
        return f"{self.name} ({self.path or self.origin})"


@dataclass(frozen=True)
class Failure:
    """A provider that could not be loaded: why, in one line, and the traceback for who writes it."""

    provider: Provider
    reason: str
    trace: str = ""


@dataclass(frozen=True)
class Source:
    """Something that can be imported: ``names`` are those by which a config's ``plugins:`` may ask for it."""

    provider: Provider
    names: frozenset[str]
    load: Callable[[], Any]


def sources(plugin_dirs: Sequence[Path]) -> Iterator[Source]:
    """All that is there to import, nothing imported yet: distributions in the order of their names, then drop-ins."""
    entries = metadata.entry_points(group=GROUP)
    for entry in sorted(entries, key=lambda entry: (_distribution(entry)[0], entry.name)):
        distribution, version = _distribution(entry)
        own = distribution == OWN_DISTRIBUTION
        origin = "built-in" if own else f"{distribution} {version}"
        provider = Provider(f"{distribution}:{entry.name}", origin, version)
        yield Source(provider, frozenset({provider.name, entry.name, distribution}), entry.load)
    for folder in dict.fromkeys(folder.resolve() for folder in plugin_dirs):
        for path in sorted(folder.glob("*.py")):
            if not path.name.startswith("_") and not path.is_dir():
                provider = Provider(path.stem, f"folder {folder}", None, path)
                yield Source(provider, frozenset({path.stem}), partial(execute, path))


def _distribution(entry: metadata.EntryPoint) -> tuple[str, str]:
    if entry.dist is None:
        return "unknown", "?"
    return entry.dist.name, entry.dist.version


def import_all(source: Source) -> Iterator[tuple[Provider, Any | Failure]]:
    """Import a source and the modules that it lists; a module, or its failure, for each."""
    loaded = guarded(source.provider, source.load)
    if isinstance(loaded, Failure):
        yield source.provider, loaded
        return
    file = getattr(loaded, "__file__", None)
    provider = replace(source.provider, path=Path(file) if file else source.provider.path)
    listed = getattr(loaded, MODULES_ATTRIBUTE, None)
    if listed is None:
        yield provider, loaded
        return
    if not isinstance(listed, (tuple, list)) or not all(isinstance(name, str) for name in listed):
        yield provider, Failure(provider, f"{MODULES_ATTRIBUTE} was {listed!r}; it must be a tuple of module names")
        return
    for name in listed:
        yield _import_listed(provider, loaded.__name__, name)


def _import_listed(provider: Provider, package: str, name: str) -> tuple[Provider, Any | Failure]:
    module = guarded(provider, lambda: import_module(name, package))
    if isinstance(module, Failure):
        return provider, replace(module, reason=f"{name.lstrip('.')}: {module.reason}")
    return replace(provider, path=Path(module.__file__)), module


def guarded(provider: Provider, action: Callable[[], Any]) -> Any | Failure:
    """The result of a plugin's code, or what it raised, whatever that was: one plugin must not stop the others."""
    try:
        return action()
    except (Exception, SystemExit) as error:  # noqa: BLE001  # foreign code may raise anything
        _log.debug("plugin %s failed to load", provider.name, exc_info=True)
        return Failure(provider, _reason(error, provider.path), "".join(traceback.format_exception(error)))


def _reason(error: BaseException, path: Path | None) -> str:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return text  # names file and line itself
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if path is not None and frame.filename == str(path)]
    if not own:
        return text
    return f"{text} ({Path(own[-1].filename).name}, line {own[-1].lineno})"


class _FreshLoader(SourceFileLoader):
    """Compiles from the source each time: no stale bytecode, no ``__pycache__`` in the user's folder."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def execute(path: Path) -> Any:
    """Run a drop-in file as a module under a name of its own, known to ``sys.modules`` before its first line runs."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    name = f"_portfolio_engine_dropin_{digest}_{path.stem}"
    loader = _FreshLoader(name, str(path))
    spec = ModuleSpec(name, loader, origin=str(path))
    spec.has_location = True
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
