"""What pydantic found wrong with a config, in the user's words: file:line, key path, value, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from framework.config.model import RunConfig
from framework.config.tree import Keys, Tree, dotted

_LONGEST = 60


def explain(error: ValidationError, tree: Tree) -> Iterator[str]:
    """One line per problem; no value that came from the environment, and no secret, is shown."""
    for problem in error.errors(include_url=False):
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
        hint = f"; parameters of a plugin go under `params:` ({{name: …, params: {{{keys[-1]}: …}}}})"
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
