"""A config as plain data that remembers, for each key path, where it was written and what must not be shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Keys = tuple[str | int, ...]

_SECRET_KEY = re.compile(r".[_-]key$|api_?key|key_?id|secret|passw|token|credential", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(\w+://[^:/@\s]*):[^@/\s]+@")
_URL_PARAMETER = re.compile(r"([?&](?:password|api_?key|token|secret)=)[^&\s#]+", re.IGNORECASE)
MASK = "***"
#: Shorter values are not searched for in messages: replacing each "1" would garble them.
_SHORTEST_REDACTED = 4


def dotted(keys: Iterable[str | int]) -> str:
    """A key path as users write it: ``portfolios.0.cash``."""
    return ".".join(map(shown, keys))


def shown(key: str | int) -> str:
    """A key in a message: as it is, quoted where it holds what would garble a terminal."""
    text = str(key)
    return text if text.isprintable() else repr(text)


def is_secret(keys: Keys) -> bool:
    """Whether the value under this path is a secret by its name."""
    return any(isinstance(key, str) and _SECRET_KEY.search(key) for key in keys)


def mask_url(text: str) -> str:
    """``text`` with the passwords of URLs replaced by ``***``."""
    return _URL_PARAMETER.sub(rf"\g<1>{MASK}", _URL_PASSWORD.sub(rf"\g<1>:{MASK}@", text))


@dataclass(frozen=True)
class Spot:
    """Where a value was written, and its text with the ``${NAME}`` still in it where the environment filled it."""

    where: str
    shown: str | None = None


@dataclass(frozen=True)
class Tree:
    """Plain data (dict, list, str, int, float, bool, None), with a :class:`Spot` for each key path."""

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    spots: dict[Keys, Spot] = field(default_factory=dict)
    #: Secret text → what to show instead.
    hidden: dict[str, str] = field(default_factory=dict)

    def copy(self) -> Tree:
        """One that can be changed without changing this one."""
        return Tree(self.file, _copied(self.data), dict(self.spots), dict(self.hidden))

    def locate(self, keys: Keys) -> str:
        """``file:line`` of the path, or of the nearest part above it that was written down."""
        for length in range(len(keys), -1, -1):
            if keys[:length] in self.spots:
                return self.spots[keys[:length]].where
        return self.file

    def get(self, keys: Keys) -> Any:
        """The value under the path, which must exist."""
        value: Any = self.data
        for key in keys:
            value = value[key]
        return value

    def put(self, keys: Keys, value: Any, spots: dict[Keys, Spot]) -> None:
        """Set the value under a path whose parent exists; ``spots`` replace those at and under it."""
        parent = self.get(keys[:-1])
        parent[keys[-1]] = value
        for old in [old for old in self.spots if old[: len(keys)] == keys]:
            del self.spots[old]
        self.spots.update(spots)

    def hide(self, value: str, shown: str) -> None:
        """Remember that ``value`` must never be shown."""
        if len(value) >= _SHORTEST_REDACTED:
            self.hidden[value] = shown

    def redact(self, text: str) -> str:
        """``text`` without any value that came from the environment, any secret, or any password of a URL."""
        for value in sorted(self.hidden, key=len, reverse=True):
            text = text.replace(value, self.hidden[value])
        return mask_url(text)

    def show(self, keys: Keys, value: Any) -> Any:
        """``value``, which stands under ``keys``, as it may be shown; containers item by item."""
        if isinstance(value, dict):
            return {key: self.show((*keys, key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.show((*keys, number), item) for number, item in enumerate(value)]
        spot = self.spots.get(keys)
        if spot is not None and spot.shown is not None:
            return mask_url(spot.shown)
        if value is not None and is_secret(keys):
            return MASK
        return mask_url(value) if isinstance(value, str) else value


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
