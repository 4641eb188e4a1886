"""What ``--param KEY=VALUES`` means, and which combinations of values are tried."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from framework.config.load import values_of
from framework.errors import ConfigError, UsageError
from framework.model.sweep import Axis, Value

#: Most values of one key, and most trials of a sweep.
MOST_VALUES, MOST_TRIALS = 10_000, 1_000_000

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER}):({_NUMBER}):({_NUMBER})\s*")
_EXAMPLE = "write KEY=5,10,20 or KEY=5:50:5 (from 5 to 50 in steps of 5), such as strategy.params.fast=5:50:5"


@dataclass(frozen=True)
class Combinations:
    """Which values are tried together.

    Attributes:
        values: one tuple for each trial, with a value for each axis.
        method: how they were chosen, in words.
    """

    values: tuple[tuple[Value, ...], ...]
    method: str


def axis_of(text: str) -> Axis:
    """The axis that a ``KEY=VALUES`` speaks of.

    Raises:
        UsageError: it is none.
    """
    key, equals, spec = text.partition("=")
    key = key.strip()
    if not equals or not key or not spec.strip():
        raise UsageError(f"--param was {text!r}; {_EXAMPLE}")
    found = _RANGE.fullmatch(spec)
    values = _range(text, *found.groups()) if found else _list(text, spec)
    if len(set(values)) < len(values):
        twice = next(value for number, value in enumerate(values) if value in values[:number])
        raise UsageError(f"--param {key}: {twice!r} is there twice; each value once")
    return Axis(key, values)


def axes_of(texts: Sequence[str]) -> tuple[Axis, ...]:
    """The axes of all ``--param``.

    Raises:
        UsageError: one is wrong, or a key is varied twice, or nothing is.
    """
    if not texts:
        raise UsageError(f"a sweep needs at least one --param; {_EXAMPLE}")
    axes = tuple(axis_of(text) for text in texts)
    for number, axis in enumerate(axes):
        if axis.key in [other.key for other in axes[:number]]:
            raise UsageError(f"--param {axis.key} is there twice; give it all its values at once")
    return axes


def _range(text: str, first: str, last: str, step: str) -> tuple[Value, ...]:
    low, high, by = Decimal(first), Decimal(last), Decimal(step)
    if by == 0 or (high - low) * by < 0:
        raise UsageError(f"--param was {text!r}: a step of {step} does not lead from {first} to {last}; {_EXAMPLE}")
    count = int((high - low) / by) + 1
    if count > MOST_VALUES:
        raise UsageError(f"--param was {text!r}: these are {count:,} values; allowed: {MOST_VALUES:,}")
    # Steps are taken in decimals: 0.1:0.5:0.1 has no 0.30000000000000004.
    steps = [low + number * by for number in range(count)]
    whole = all(re.fullmatch(r"[-+]?\d+", part) for part in (first, last, step))
    return tuple(int(value) if whole else float(value) for value in steps)


def _list(text: str, spec: str) -> tuple[Value, ...]:
    try:
        values = values_of(spec, "--param")
    except ConfigError as error:
        raise UsageError(f"--param was {text!r}: {error}; {_EXAMPLE}") from error
    if len(values) > MOST_VALUES:
        raise UsageError(f"--param has {len(values):,} values; allowed: {MOST_VALUES:,}")
    return tuple(values)


def combinations(axes: Sequence[Axis], draw: int | None, seed: int) -> Combinations:
    """All combinations of the axes' values, or some of them drawn at random, each at most once.

    Args:
        axes: the last varies fastest.
        draw: how many to draw; ``None``: all.
        seed: of the draw; the same one draws the same.

    Raises:
        UsageError: there are too many, or fewer than one to draw.
    """
    sizes = [len(axis.values) for axis in axes]
    total = math.prod(sizes)
    if draw is not None and draw < 1:
        raise UsageError(f"--random was {draw}; allowed: 1 or more")
    wanted = total if draw is None else min(draw, total)
    if wanted > MOST_TRIALS:
        raise UsageError(f"these are {wanted:,} trials; allowed: {MOST_TRIALS:,}. Draw some of them with --random")
    if draw is None or draw >= total:
        return Combinations(tuple(itertools.product(*(axis.values for axis in axes))), f"grid of {total:,}")
    drawn = sorted(random.Random(seed).sample(range(total), wanted))
    chosen = tuple(_combination(axes, sizes, number) for number in drawn)
    return Combinations(chosen, f"{wanted:,} drawn at random of {total:,} (seed {seed})")


def _combination(axes: Sequence[Axis], sizes: Sequence[int], number: int) -> tuple[Value, ...]:
    """Of the grid, the one with this number."""
    places = []
    for size in reversed(sizes):
        number, place = divmod(number, size)
        places.append(place)
    return tuple(axis.values[place] for axis, place in zip(axes, reversed(places), strict=True))


def overrides_of(axes: Sequence[Axis], values: Sequence[Value]) -> list[str]:
    """The values of a trial as ``--set`` takes them."""
    return [f"{axis.key}={_yaml(value)}" for axis, value in zip(axes, values, strict=True)]


def _yaml(value: Value) -> str:
    """A value as YAML reads it back; text in quotes, or ``5`` would become a number."""
    if not isinstance(value, str):
        return json.dumps(value)
    plain = (each if each.isprintable() and each not in '"\\' else f"\\U{ord(each):08x}" for each in value)
    return f'"{"".join(plain)}"'
