"""Plugins by kind and name: loaded once, checked one by one, then fixed for the life of the process."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, get_args

import pluggy

from framework import hookspecs
from framework.errors import ConfigError, EngineError, PluginError
from framework.plugin_loading import OWN_DISTRIBUTION, Failure, Provider, Source, guarded, import_all, sources
from framework.trading.plugin import Plugin, parameters

#: From keys below a place in a config to ``file:line: key.path``.
Where = Callable[..., str]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """A kind of plugin: its name, its registration hook, and the base class (``module:Class``) that all share."""

    name: str
    hook: str
    base: str

    def base_class(self) -> type[Plugin]:
        """The base class."""
        module, _, name = self.base.partition(":")
        cls: type[Plugin] = getattr(import_module(module), name)
        return cls


KINDS = (
    Kind("strategy", "register_strategies", "framework.trading.strategy:Strategy"),
    Kind("data source", "register_data_sources", "framework.data.source:DataSource"),
    Kind("allocator", "register_allocators", "framework.trading.allocator:Allocator"),
    Kind("broker", "register_brokers", "framework.trading.broker:Broker"),
    Kind("risk rule", "register_risk_rules", "framework.trading.risk:RiskRule"),
    Kind("commission model", "register_commission_models", "framework.trading.costs:CommissionModel"),
    Kind("slippage model", "register_slippage_models", "framework.trading.costs:SlippageModel"),
    Kind("indicator", "register_indicators", "framework.trading.indicator:Indicator"),
)
_KIND_BY_NAME = {kind.name: kind for kind in KINDS}
EVENTS = (
    "backtest_finished",
    "cycle_finished",
    "engine_started",
    "engine_stopped",
    "fill_booked",
    "order_refused",
    "portfolio_halted",
    "transfer_booked",
)


@dataclass(frozen=True)
class Registered:
    """One plugin on offer: ``version`` is its distribution's, ``path`` the file of the module that registered it."""

    kind: str
    name: str
    cls: type[Any]
    provider: str
    origin: str
    version: str | None
    path: Path | None

    @property
    def source_hash(self) -> str:
        """SHA-256 of the file that holds the class, in hex: which code took a decision.

        Raises:
            PluginError: the class has no file that can be read.
        """
        try:
            return hashlib.sha256(Path(inspect.getfile(self.cls)).read_bytes()).hexdigest()
        except (OSError, TypeError) as error:
            raise PluginError(f"{self.kind} {self.name!r}: the source of its class cannot be read: {error}") from None


class PluginManager:
    """What is installed. Made by :meth:`load` before the first thread starts; nothing is added later."""

    def __init__(
        self,
        registered: Mapping[tuple[str, str], tuple[Registered, ...]],
        failures: tuple[Failure, ...],
        observers: tuple[tuple[str, pluggy.PluginManager], ...],
    ) -> None:
        self._registered = dict(registered)
        self._failures = failures
        self._observers = {
            event: [(name, getattr(hooks.hook, event)) for name, hooks in observers if _implements(hooks, event)]
            for event in EVENTS
        }
        self._lock = Lock()
        self._event_failures: Counter[tuple[str, str]] = Counter()

    @classmethod
    def load(cls, plugin_dirs: Sequence[Path] = (), only: Sequence[str] | None = None) -> PluginManager:
        """Import and check every plugin that can be found.

        Args:
            plugin_dirs: folders of drop-in files.
            only: providers to import besides the bundled ones (entry point, distribution, or file name);
                ``None``: all.

        Raises:
            PluginError: ``only`` names a provider that is not there. A plugin that fails to load raises nothing:
                it is in :meth:`failures`.
        """
        loading = _Loading()
        for source in _chosen(list(sources(plugin_dirs)), only):
            for provider, module in import_all(source):
                loading.add(provider, module)
        manager = cls(loading.registered, tuple(loading.failures), tuple(loading.observers))
        _log.debug("plugins loaded: %d, failed: %d", len(loading.registered), len(loading.failures))
        return manager

    def listing(self) -> tuple[Registered, ...]:
        """Every plugin on offer, by kind (in the order of ``KINDS``) and name; both, where two share a name."""
        order = [kind.name for kind in KINDS]
        keys = sorted(self._registered, key=lambda key: (order.index(key[0]), key[1]))
        return tuple(item for key in keys for item in self._registered[key])

    def failures(self) -> tuple[Failure, ...]:
        """Every provider that could not be loaded, and why."""
        return self._failures

    def get(self, kind: str, name: str) -> Registered:
        """The plugin of that kind and name.

        Raises:
            PluginError: there is none (the nearest names and what failed to load are listed), or there are two.
        """
        kind = kind_named(kind).name
        found = self._registered.get((kind, name), ())
        if len(found) == 1:
            return found[0]
        if found:
            places = " and ".join(f"{item.provider} ({item.path or item.origin})" for item in found)
            raise PluginError(f"{kind} {name!r} is offered twice, by {places}; rename or remove one of them")
        raise PluginError(self._unknown(kind, name))

    def _unknown(self, kind: str, name: str) -> str:
        names = sorted(other for found, other in self._registered if found == kind)
        near = difflib.get_close_matches(name, names, n=3)
        text = f"there is no {kind} {name!r}"
        if near:
            text += f"; did you mean {' or '.join(map(repr, near))}?"
        text += f" (installed: {', '.join(names) or 'none'})"
        if self._failures:
            failed = "; ".join(f"{item.provider.describe()}: {item.reason}" for item in self._failures)
            text += f". Failed to load: {failed}"
        return text

    def create(self, kind: str, name: str, params: Mapping[str, Any] | None = None, where: str | Where = "") -> Any:
        """An instance of the plugin with these parameters, checked against its class.

        A parameter whose annotation is a plugin class (``CommissionModel | None``) takes a plugin by name:
        ``{name: percent, rate: 0.0005}`` or ``{name: percent, params: {rate: 0.0005}}``.

        Args:
            kind: such as ``strategy`` or ``data source``.
            name: as registered.
            params: by name.
            where: the place that asks for it; errors begin with it. A text, or a function from the keys below that
                place (``("name",)``, ``("params", "fast")``) to a text: ``LoadedConfig.place``.

        Raises:
            ConfigError: a parameter is unknown, missing or wrong.
            PluginError: there is no such plugin, or its own code failed.
        """
        place = where if callable(where) else lambda *keys: where
        return self._create(kind_named(kind), name, params or {}, place)

    def _create(self, kind: Kind, name: str, params: Mapping[str, Any], place: Where) -> Any:
        with _placed(place, "name"):
            registered = self.get(kind.name, name)
        hints = parameters(registered.cls)
        values = {
            key: self._nested(hints.get(key), value, partial(place, "params", key)) for key, value in params.items()
        }
        try:
            return registered.cls(**values)
        except EngineError as error:
            with _placed(place, *_blamed(str(error), params)):
                raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            text = f"{kind.name} {name!r} of {registered.provider} could not be made from its parameters: {reason}"
            with _placed(place):
                raise PluginError(text) from error

    def _nested(self, hint: Any, value: Any, place: Where) -> Any:
        """A parameter's value; where the class wants a plugin and was given its name, that plugin."""
        base = _plugin_class(hint)
        ours = base is not None and any(kind.name == base.kind for kind in KINDS)
        if base is None or not ours or not isinstance(value, (str, Mapping)):
            return value
        with _placed(place):
            name, params, beside = _reference(base.kind, value)
        # parameters beside `name:` stand one level higher than those under `params:`
        return self._create(kind_named(base.kind), name, params, partial(_without_params, place) if beside else place)

    def notify(self, event: str, **facts: Any) -> None:
        """Tell every plugin that observes ``event``, one by one; a failure is counted and logged, never raised."""
        for provider, hook in self._observers[event]:
            try:
                hook(**facts)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # foreign code may raise anything
                with self._lock:
                    self._event_failures[provider, event] += 1
                _log.warning("plugin %s failed in %s: %s: %s", provider, event, type(error).__name__, error)
                _log.debug("traceback of %s in %s", provider, event, exc_info=True)

    def event_failures(self) -> dict[tuple[str, str], int]:
        """How often each (provider, event) has failed."""
        with self._lock:
            return dict(self._event_failures)


class _Loading:
    """What has been loaded so far."""

    def __init__(self) -> None:
        self.registered: dict[tuple[str, str], tuple[Registered, ...]] = {}
        self.failures: list[Failure] = []
        self.observers: list[tuple[str, pluggy.PluginManager]] = []

    def add(self, provider: Provider, module: Any | Failure) -> None:
        """Take in one imported module: all that it registers, or, if anything is wrong with it, nothing."""
        found = module if isinstance(module, Failure) else guarded(provider, lambda: _checked(provider, module))
        if isinstance(found, Failure):
            self.failures.append(found)
            return
        hooks, items = found
        self.observers.append((provider.name, hooks))
        for item in items:
            key = (item.kind, item.name)
            self.registered[key] = (*self.registered.get(key, ()), item)


def kind_named(text: str) -> Kind:
    """The kind of that name, written ``data source``, ``data-source`` or ``data_source``; ``risk`` is enough.

    Raises:
        PluginError: there is no such kind.
    """
    if text in _KIND_BY_NAME:  # every decision asks so for its indicators
        return _KIND_BY_NAME[text]
    wanted = text.replace("-", " ").replace("_", " ").lower()
    for kind in KINDS:
        if wanted in (kind.name, kind.name.split()[0]):
            return kind
    names = [kind.name.replace(" ", "-") for kind in KINDS]
    near = difflib.get_close_matches(text, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise PluginError(f"there is no kind of plugin {text!r}{hint} (allowed: {', '.join(names)})")


def _chosen(found: list[Source], only: Sequence[str] | None) -> list[Source]:
    if only is None:
        return found
    known = {name for source in found for name in source.names}
    unknown = [name for name in only if name not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise PluginError(
            f"plugins: no provider is named {unknown[0]!r}{hint} (there are: {', '.join(sorted(known)) or 'none'})"
        )
    return [source for source in found if OWN_DISTRIBUTION in source.names or source.names & set(only)]


def _checked(provider: Provider, module: Any) -> tuple[pluggy.PluginManager, list[Registered]]:
    """The hooks of one module, in a hook manager of their own, and what they register."""
    hooks = pluggy.PluginManager(hookspecs.PROJECT)
    hooks.add_hookspecs(hookspecs)
    hooks.register(module, name=provider.name)
    callers = hooks.get_hookcallers(module) or []
    known = [kind.hook for kind in KINDS] + list(EVENTS)
    for caller in callers:
        if not caller.has_spec():
            near = difflib.get_close_matches(caller.name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise PluginError(f"there is no hook {caller.name!r}{hint} (hooks: {', '.join(known)})")
    hooks.check_pending()
    if not callers:
        unmarked = [name for name in known if callable(getattr(module, name, None))]
        text = f"{unmarked[0]} lacks the marker @hookimpl" if unmarked else f"write one of {', '.join(known)}"
        raise PluginError(f"it has no hook; {text}")
    items = [item for kind in KINDS for item in _registrations(provider, kind, hooks)]
    return hooks, items


def _registrations(provider: Provider, kind: Kind, hooks: pluggy.PluginManager) -> Iterator[Registered]:
    for result in getattr(hooks.hook, kind.hook)():
        if not isinstance(result, Mapping):
            raise PluginError(f"{kind.hook} returned {result!r}; it must return {{name: class}}")
        for name, cls in result.items():
            _check_class(kind, name, cls)
            yield Registered(kind.name, name, cls, provider.name, provider.origin, provider.version, provider.path)


def _check_class(kind: Kind, name: Any, cls: Any) -> None:
    if not isinstance(name, str) or not name:
        raise PluginError(f"{kind.hook} returned the name {name!r}; a name must be text")
    base = kind.base_class()
    if not isinstance(cls, type) or not issubclass(cls, base):
        raise PluginError(f"{kind.name} {name!r} is {cls!r}; it must be a subclass of {base.__name__}")
    parameters(cls)  # an annotation that cannot be resolved is the plugin's mistake, found here


def _implements(hooks: pluggy.PluginManager, event: str) -> bool:
    return bool(getattr(hooks.hook, event).get_hookimpls())


def _plugin_class(hint: Any) -> type[Plugin] | None:
    """The plugin class inside an annotation such as ``CommissionModel | None``, if there is one."""
    if isinstance(hint, type) and issubclass(hint, Plugin):
        return hint
    return next((found for part in get_args(hint) if (found := _plugin_class(part))), None)


def _reference(kind: str, value: str | Mapping[str, Any]) -> tuple[str, dict[str, Any], bool]:
    """A nested plugin from ``percent``, ``{name, …}`` or ``{name, params: {…}}``: name, parameters, how written."""
    if isinstance(value, str):
        return value, {}, True
    rest = dict(value)
    name = rest.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"needs `name:`, the {kind} to use")
    if "params" not in rest:
        return name, rest, True
    params = rest.pop("params")
    if rest or not isinstance(params, (dict, type(None))):
        raise ConfigError("write its parameters either beside `name:` or as a mapping under `params:`")
    return name, params or {}, False


def _without_params(place: Where, *keys: str) -> str:
    return place(*keys[1:]) if keys[:1] == ("params",) else place(*keys)


def _blamed(message: str, params: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of the first given parameter that an error speaks of."""
    named = [key for key in params if repr(key) in message]
    return ("params", min(named, key=lambda key: message.index(repr(key)))) if named else ()


@contextmanager
def _placed(place: Where, *keys: str) -> Iterator[None]:
    """Errors of the block begin with the place."""
    try:
        yield
    except EngineError as error:
        text = place(*keys)
        raise type(error)(f"{text}: {error}" if text else str(error)) from error
