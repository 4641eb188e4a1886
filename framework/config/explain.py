"""What pydantic found wrong with a config, in the user's words: file:line, key path, value, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from framework.config.model import RunConfig
from framework.config.tree import Keys, Tree, dotted, shown

_LONGEST = 60


def explain(error: ValidationError, tree: Tree) -> list[str]:
    """One line per problem, in the file's order; no value from the environment, and no secret, is shown."""
    found = [problem for problem in error.errors(include_url=False) if not _follows(problem)]
    return list(_lines(sorted(found, key=lambda problem: _line_number(tree, problem["loc"])), tree))


def _follows(problem: Any) -> bool:
    """Whether it only repeats another: a list is too short because its entries were refused."""
    return problem["type"] == "too_short" and bool(problem["input"])


def _line_number(tree: Tree, keys: Keys) -> int:
    number = tree.locate(keys).rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def _lines(problems: Iterable[Any], tree: Tree) -> Iterator[str]:
    for problem in problems:
        keys = tuple(problem["loc"])
        shown = repr(tree.show(keys, problem["input"]))
        if len(shown) > _LONGEST:
            shown = shown[:_LONGEST] + "…"
        yield line(tree, keys, _reason(problem, keys, shown))


def line(tree: Tree, keys: Keys, text: str) -> str:
    """``file:line: key.path: text``."""
    return f"{tree.locate(keys)}: {dotted(keys)}: {text}" if keys else f"{tree.locate(keys)}: {text}"


def _reason(problem: Any, keys: Keys, shown: str) -> str:
    kind = problem["type"]
    if kind == "extra_forbidden":
        return _unknown(keys)
    if kind == "missing":
        return "is required and missing"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"was {shown}; allowed: a mapping with the keys {', '.join(_allowed(keys)) or '(any)'}"
    if kind in ("tuple_type", "list_type"):
        return f"was {shown}; allowed: a list"
    if kind == "string_type":
        return f"was {shown}; allowed: text (a number or a word such as true needs quotes)"
    if kind == "too_short":
        return f"was {shown}; needs at least one entry"
    if kind == "literal_error":
        return f"was {shown}; allowed: {problem['ctx']['expected']}{_nearest_literal(problem)}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"was {shown}; {message[0].lower()}{message[1:]}"


def _nearest_literal(problem: Any) -> str:
    options = [word.strip("' ") for word in problem["ctx"]["expected"].replace(" or ", ",").split(",")]
    return nearest(str(problem["input"]), options)


def _unknown(keys: Keys) -> str:
    allowed = _allowed(keys[:-1])
    hint = nearest(str(keys[-1]), allowed)
    if "params" in allowed and not hint:
        hint = f"; parameters of a plugin go under `params:` ({{name: …, params: {{{shown(keys[-1])}: …}}}})"
    return f"is not a key here{hint} (allowed: {', '.join(allowed)})"


def nearest(word: str, options: list[str]) -> str:
    """``; did you mean …?``, or nothing where no option comes near."""
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _allowed(keys: Keys) -> list[str]:
    """Names of the keys of the section under ``keys``."""
    section: Any = RunConfig
    for key in keys:
        if isinstance(key, str) and isinstance(section, type) and issubclass(section, BaseModel):
            field = section.model_fields.get(key)
            section = _section(field.annotation) if field else None
    is_model = isinstance(section, type) and issubclass(section, BaseModel)
    return list(section.model_fields) if is_model else []


def _section(annotation: Any) -> Any:
    """The model inside an annotation such as ``tuple[Annotated[Portfolio, …], ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section(part))), None)
