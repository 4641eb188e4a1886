"""Read a run config: YAML with line numbers, ``${ENV}``, ``--set``, and errors that say file, line and key."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from framework.config import env, override, rules
from framework.config.explain import explain, line, nearest
from framework.config.model import RunConfig
from framework.config.tree import MASK, Keys, Spot, Tree, dotted, is_secret
from framework.errors import ConfigError, NotBuiltYet

_MAX_BYTES = 4_000_000
_MAX_NODES = 100_000
_MAX_SHOWN = 10
_STRING, _MAP, _LIST = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# YAML 1.2: no yes/no/on/off, no octal, no 1:30. ON and NO are tickers, 0700 is one too.
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]{0,30})")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]{0,30}(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,4})?")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _UnreadableError(Exception):
    """A YAML document that cannot be read any further."""

    text: str


class _Reader:
    """Turns the nodes of one YAML document into a :class:`Tree`, collecting every mistake on the way."""

    def __init__(self, tree: Tree, environment: Mapping[str, str], where: str | None = None) -> None:
        self.tree = tree
        self.environment = environment
        self.fixed_where = where
        self.problems: list[str] = []
        self.spots: dict[Keys, Spot] = {}
        self._open: set[int] = set()
        self._count = 0

    def where(self, mark: yaml.Mark) -> str:
        return self.fixed_where or f"{self.tree.file}:{mark.line + 1}"

    def problem(self, node: yaml.Node, keys: Keys, text: str) -> None:
        path = f"{dotted(keys)}: " if keys else ""
        self.problems.append(f"{self.where(node.start_mark)}: {path}{text}")

    def compose(self, text: str) -> yaml.Node | None:
        """The document's node tree; ``None`` for an empty one."""
        try:
            node: yaml.Node | None = yaml.compose(env.protect(text), Loader=yaml.BaseLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = self.where(mark) if mark else self.fixed_where or self.tree.file
            reason = env.restore(" ".join(part for part in (error.context, error.problem) if part))
            raise _UnreadableError(f"{place}: is not valid YAML: {reason}") from None
        except (yaml.YAMLError, ValueError) as error:
            raise _UnreadableError(f"{self.fixed_where or self.tree.file}: is not valid YAML: {error}") from None
        except RecursionError:
            raise _UnreadableError(f"{self.fixed_where or self.tree.file}: is nested too deeply") from None
        return node

    def value(self, node: yaml.Node, keys: Keys) -> Any:
        """The plain value of a node; remembers where it, and everything in it, was written."""
        self._count += 1
        if self._count > _MAX_NODES:
            raise _UnreadableError(
                f"{self.where(node.start_mark)}: has more than {_MAX_NODES:,} values (aliases count each time)"
            )
        if id(node) in self._open:
            raise _UnreadableError(
                f"{self.where(node.start_mark)}: {dotted(keys)}: is an alias of something that contains it"
            )
        self.spots[keys] = Spot(self.where(node.start_mark))
        if node.tag not in (_STRING, _MAP, _LIST):
            self.problem(node, keys, f"tag {node.tag!r} is not allowed; write the plain value")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, keys)
        self._open.add(id(node))
        try:
            return self._mapping(node, keys) if isinstance(node, yaml.MappingNode) else self._items(node, keys)
        finally:
            self._open.discard(id(node))

    def _items(self, node: yaml.Node, keys: Keys) -> list[Any]:
        return [self.value(item, (*keys, number)) for number, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[str, Any]:
        found: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.problem(key_node, keys, "a key must be plain text, not a list or a mapping")
                continue
            key = env.restore(key_node.value)
            if key == "<<":
                self.problem(key_node, keys, "merge keys (<<) are not supported; write the keys out")
            elif key in found:
                self.problem(key_node, (*keys, key), f"is written twice (first in line {lines[key]}); keep one")
            else:
                lines[key] = key_node.start_mark.line + 1
                found[key] = self.value(value_node, (*keys, key))
                self.spots[(*keys, key)] = Spot(self.where(key_node.start_mark), self.spots[(*keys, key)].shown)
        return found

    def _scalar(self, node: yaml.ScalarNode, keys: Keys) -> Any:
        text: str = node.value
        names = env.references(text)
        try:
            value = env.expand(text, self.environment)
        except ValueError as error:
            self.problem(node, keys, str(error))
            return None
        if names:
            shown = env.restore(text)
            self.spots[keys] = Spot(self.spots[keys].where, shown)
            for name in names:
                self.tree.hide(self.environment[name], f"${{{name}}}")
        elif is_secret(keys):
            self.tree.hide(value, MASK)
        # A value from the environment stays text: an API key made of digits is no number.
        return value if names or node.style is not None else plain(value)


def plain(text: str) -> str | int | float | bool | None:
    """An unquoted YAML scalar as a value, by the core schema of YAML 1.2; anything else is text."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text.replace("_", ""))
    # "007" and "0700" are text: as numbers they would lose their zeros
    if _FLOAT.fullmatch(text) and not re.fullmatch(r"[-+]?0[0-9_]+", text):
        return float(text.replace("_", ""))
    return text


@dataclass(frozen=True)
class LoadedConfig:
    """A run config that passed every check of shape, and where each of its values was written.

    Attributes:
        config: the values.
        path: the file, as it was given.
        resolved: the config with defaults filled in and secrets masked, ready for JSON.
        tree: the text's data and places.
    """

    config: RunConfig
    path: Path
    resolved: dict[str, Any]
    tree: Tree

    def locate(self, keys: str | Keys) -> str:
        """``file:line`` of a key path such as ``portfolios.0.strategy`` or ``("portfolios", 0, "strategy")``."""
        if isinstance(keys, str):
            keys = tuple(int(key) if key.isdecimal() else key for key in keys.split("."))
        return self.tree.locate(keys)

    def place(self, *keys: str | int) -> Callable[..., str]:
        """What ``PluginManager.create`` takes as ``where``: from keys below ``keys`` to ``file:line: key.path``."""
        return lambda *below: f"{self.tree.locate((*keys, *below))}: {dotted((*keys, *below))}"

    def redact(self, text: str) -> str:
        """``text`` with everything that this config must keep secret replaced."""
        return self.tree.redact(text)

    def plugin_dirs(self) -> tuple[Path, ...]:
        """Folders of drop-in plugins: ``plugins/`` beside the config and in the working folder, then ``plugin_dirs``.

        Raises:
            ConfigError: a folder that the config names does not exist.
        """
        folders = [folder for folder in (self.path.parent / "plugins", Path("plugins")) if folder.is_dir()]
        for number, name in enumerate(self.config.plugin_dirs):
            folder = self.path.parent / name
            if not folder.is_dir():
                keys: Keys = ("plugin_dirs", number)
                raise ConfigError(
                    line(self.tree, keys, f"there is no folder {str(folder)!r}; make it or remove the entry")
                )
            folders.append(folder)
        return tuple(dict.fromkeys(folder.resolve() for folder in folders))


def load(
    path: str | Path,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    text: str | None = None,
) -> LoadedConfig:
    """Read, fill in and check a run config.

    Args:
        path: the YAML file.
        overrides: ``key.path=value`` texts, applied in order.
        environment: what ``${NAME}`` reads; the process's own by default.
        text: what the file held when it was read before; by default it is read.

    Raises:
        ConfigError: the file cannot be read or is wrong: a line per mistake (the first ten), each with
            file, line, key path, value, what is allowed, and the nearest name.
        NotBuiltYet: it asks for documented parts that this version does not have.
    """
    return ConfigText(path, overrides, environment, text).loaded()


class ConfigText:
    """A run config whose text has been read once, to be filled in and checked with one set of values or many.

    Args:
        path, overrides, environment, text: as for :func:`load`.

    Raises:
        ConfigError: the text cannot be read, or an override has no place in it.
    """

    def __init__(
        self,
        path: str | Path,
        overrides: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> None:
        self._path = Path(path)
        self._environment = os.environ if environment is None else environment
        self._tree = Tree(str(path))
        _fail(_read_file(read_text(self._path) if text is None else text, self._tree, self._environment))
        for each in overrides:
            _fail(_override(self._tree, each, self._environment))

    def loaded(self, overrides: Sequence[str] = ()) -> LoadedConfig:
        """The config with further overrides, applied in order.

        Raises:
            ConfigError, NotBuiltYet: see :func:`load`.
        """
        tree = self._tree.copy()
        for each in overrides:
            _fail(_override(tree, each, self._environment))
        _database_url(tree, self._environment)
        try:
            config = RunConfig.model_validate(tree.data)
        except ValidationError as error:
            _fail(explain(error, tree))
            raise
        if rules.is_built(config.mode):  # what another mode would want of the rest is no help yet
            _fail([line(tree, keys, text) for keys, text in rules.problems(config)])
        missing = [line(tree, keys, f"{text} — not in this version yet") for keys, text in rules.unbuilt(config)]
        if missing:
            raise NotBuiltYet("\n".join(missing))
        resolved = tree.show((), config.model_dump(mode="json"))
        _log.debug("config %s read", self._path)
        return LoadedConfig(config, self._path, resolved, tree)


def _fail(problems: list[str]) -> None:
    if problems:
        more = [f"… and {len(problems) - _MAX_SHOWN} more"] if len(problems) > _MAX_SHOWN else []
        raise ConfigError("\n".join(problems[:_MAX_SHOWN] + more))


def values_of(text: str, where: str) -> list[Any]:
    """The plain values of a list as YAML writes it, without its brackets: ``5, 10, ema``.

    Args:
        text: of the list.
        where: what errors begin with.

    Raises:
        ConfigError: it is no such list.
    """
    tree = Tree(where)
    reader = _Reader(tree, {}, where)
    try:
        node = reader.compose(f"[{text}]")
        values = [] if node is None else reader.value(node, ())
    except _UnreadableError as stop:
        raise ConfigError(stop.text) from None
    _fail(reader.problems)
    if not isinstance(values, list) or any(isinstance(value, (list, dict)) for value in values):
        raise ConfigError(f"{where}: is not a list of plain values: {text!r}")
    return values


def _read_file(text: str, tree: Tree, environment: Mapping[str, str]) -> list[str]:
    reader = _Reader(tree, environment)
    try:
        node = reader.compose(text)
        data = {} if node is None else reader.value(node, ())
    except _UnreadableError as stop:
        return [*reader.problems, stop.text]
    if not reader.problems and (not isinstance(data, dict) or not data):
        held = f"a {type(data).__name__}" if data else "nothing"
        return [f"{tree.file}: must be a mapping of keys such as `name:` and `mode:`; it holds {held}"]
    if isinstance(data, dict):
        tree.data.update(data)
    tree.spots.update(reader.spots)
    return reader.problems


def read_text(path: Path) -> str:
    """The text of a config.

    Raises:
        ConfigError: it cannot be read, or is no text.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        near = nearest(path.name, [other.name for other in path.parent.glob("*.y*ml")]) if path.parent.is_dir() else ""
        raise ConfigError(f"there is no config {str(path)!r}{near}; `engine init` writes one to start from") from None
    except OSError as error:
        raise ConfigError(f"config {str(path)!r} cannot be read: {error.strerror}") from None
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"config {str(path)!r} is larger than {_MAX_BYTES:,} bytes; is it a run config?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{number}: is not UTF-8 text (byte {raw[error.start]:#04x})") from None


def _override(tree: Tree, text: str, environment: Mapping[str, str]) -> list[str]:
    reader = _Reader(tree, environment, "--set")
    try:
        keys, value_text = override.split(text)
        node = reader.compose(value_text)
        for target in override.targets(tree, keys):
            reader.spots = {}
            value = None if node is None else reader.value(node, target)
            if reader.problems:
                break
            override.put(tree, target, value, reader.spots)
    except ValueError as error:
        return [f"--set: {error}"]
    except _UnreadableError as stop:
        return [stop.text]
    return reader.problems


def _database_url(tree: Tree, environment: Mapping[str, str]) -> None:
    """``DATABASE_URL`` stands in where the config names no database."""
    section = tree.data.get("database") or {}
    if "DATABASE_URL" not in environment or not isinstance(section, dict) or "url" in section:
        return
    spot = Spot("environment", "${DATABASE_URL}")
    tree.data["database"] = section
    tree.put(("database", "url"), environment["DATABASE_URL"], {("database", "url"): spot})
    tree.hide(environment["DATABASE_URL"], "${DATABASE_URL}")
