"""Where a ``--set key.path=value`` goes."""

from __future__ import annotations

import difflib
from typing import Any

from framework.config.model import Portfolio, RunConfig
from framework.config.tree import Keys, Spot, Tree, dotted

_EXAMPLE = "write key.path=value, such as portfolios.0.cash=50000 or strategy.params.fast=5"


def split(text: str) -> tuple[list[str], str]:
    """The key path and the value's text of one override.

    Raises:
        ValueError: it does not have the form ``key.path=value``.
    """
    path, equals, value = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise ValueError(f"{path!r} is not an override; {_EXAMPLE}")
    if not value.strip():
        raise ValueError(f"{path!r} has no value; write null for none, '' for an empty text")
    return keys, value


def targets(tree: Tree, keys: list[str]) -> list[Keys]:
    """The paths that ``keys`` mean: a portfolio's key alone means every portfolio.

    Raises:
        ValueError: a list is asked for an entry that it does not have.
    """
    if keys[0] not in RunConfig.model_fields and keys[0] in Portfolio.model_fields:
        portfolios = tree.data.get("portfolios")
        count = len(portfolios) if isinstance(portfolios, list) else 0
        return [_concrete(tree, ["portfolios", str(number), *keys]) for number in range(count)]
    return [_concrete(tree, keys)]


def _concrete(tree: Tree, keys: list[str]) -> Keys:
    found: Keys = ()
    value: Any = tree.data
    for key in keys:
        step: str | int = key
        if isinstance(value, list):
            step = _position(value, key, found)
            value = value[step]
        elif isinstance(value, dict):
            value = value.get(key)
        elif value is not None:
            raise ValueError(f"{dotted(found)} is a single value, so {dotted((*found, key))} cannot be set")
        found = (*found, step)
    return found


def _position(items: list[Any], key: str, path: Keys) -> int:
    """Index of a list's entry, by number or, for portfolios, by id."""
    if key.isdecimal() and int(key) < len(items):
        return int(key)
    ids = {str(item["id"]): number for number, item in enumerate(items) if isinstance(item, dict) and "id" in item}
    words = [name for name in ids if not name.isdecimal()]  # a number is always a position
    if key in words:
        return ids[key]
    near = difflib.get_close_matches(key, words, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    known = f", or an id: {', '.join(words)}" if words else ""
    raise ValueError(f"{dotted(path)} has no entry {key!r} (allowed: 0 to {len(items) - 1}{known}){hint}")


def put(tree: Tree, keys: Keys, value: Any, spots: dict[Keys, Spot]) -> None:
    """Set a value; sections that are missing on the way are made."""
    for length in range(1, len(keys)):
        parent = tree.get(keys[: length - 1])
        if parent.get(keys[length - 1]) is None if isinstance(parent, dict) else False:
            tree.put(keys[:length], {}, {keys[:length]: spots[keys]})
    tree.put(keys, value, spots)
