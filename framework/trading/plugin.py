"""What every plugin class shares: parameters declared as annotated class attributes."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, ClassVar, get_origin, get_type_hints

from framework.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

#: Parameters of such names are not shown.
_SECRET = re.compile(r"key|secret|token|password", re.IGNORECASE)


class Plugin:
    """Base of strategies, data sources, brokers, cost models.

    A parameter is an annotated attribute of the class, with a default or without one (then it is required)::

        class SmaCross(Strategy):
            fast: Annotated[int, Gt(0)] = 20
            slow: Annotated[int, Gt(0)] = 50

    ``SmaCross(fast=10)`` checks names, types and bounds and sets the attributes. Names that begin with ``_`` and
    ``ClassVar`` annotations are not parameters. Rules between parameters go into :meth:`check`.
    """

    #: What a user calls this kind of plugin, in messages.
    kind: ClassVar[str] = "plugin"

    _parameters: ClassVar[dict[str, Any]]
    _params_model: ClassVar[Any]

    def __init__(self, **params: Any) -> None:
        for name, value in validated(type(self), params).items():
            setattr(self, name, value)
        self.check()

    def check(self) -> None:
        """Check parameters against each other. Override; raise ``ConfigError`` with what to change."""

    def params(self) -> dict[str, Any]:
        """The parameters as they stand, by name."""
        return {name: getattr(self, name) for name in parameters(type(self))}

    def __repr__(self) -> str:
        values = {name: "…" if _SECRET.search(name) else value for name, value in self.params().items()}
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        return f"{type(self).__name__}({shown})"


def parameters(cls: type[Plugin]) -> dict[str, Any]:
    """The declared parameters of a plugin class: name → annotation (with its ``Annotated`` bounds).

    They are worked out once and kept on the class, as the model is: every decision makes a strategy and its indicators.
    """
    if "_parameters" not in vars(cls):
        cls._parameters = _declared(cls)
    return cls._parameters


def _declared(cls: type[Plugin]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__annotations__" in vars(base):
            hints.update(dict.fromkeys(vars(base)["__annotations__"]))
    resolved = get_type_hints(cls, include_extras=True)
    return {
        name: resolved[name]
        for name in hints
        if not name.startswith("_") and get_origin(resolved[name]) is not ClassVar
    }


def params_model(cls: type[Plugin]) -> type[BaseModel]:
    """The pydantic model of a plugin class's parameters; unknown names are refused."""
    if "_params_model" not in vars(cls):
        cls._params_model = _model(cls)
    model: type[BaseModel] = cls._params_model
    return model


def _model(cls: type[Plugin]) -> type[BaseModel]:
    from pydantic import ConfigDict, create_model

    fields: dict[str, Any] = {name: (hint, getattr(cls, name, ...)) for name, hint in parameters(cls).items()}
    # An id or a ticker written without quotes (7203) arrives as a number; its text is what was meant.
    config = ConfigDict(
        extra="forbid", arbitrary_types_allowed=True, protected_namespaces=(), coerce_numbers_to_str=True
    )
    return create_model(f"{cls.__name__}Params", __config__=config, **fields)


def validated(cls: type[Plugin], params: dict[str, Any]) -> dict[str, Any]:
    """Check ``params`` against the declaration of ``cls`` and fill in defaults.

    Raises:
        ConfigError: names the class, the parameter, the value, what is allowed, and the nearest name.
    """
    from pydantic import ValidationError

    try:
        model = params_model(cls)(**params)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(cls, problem) for problem in error.errors())) from None
    return {name: getattr(model, name) for name in parameters(cls)}


def _explain(cls: type[Plugin], problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else "?"
    owner = f"{cls.kind} {cls.__name__}"
    if problem["type"] == "extra_forbidden":
        allowed = list(parameters(cls))
        near = difflib.get_close_matches(name, allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{owner} has no parameter {name!r} (it has: {', '.join(allowed) or 'none'}){hint}"
    if problem["type"] == "missing":
        return f"{owner} needs the parameter {name!r}, which has no default"
    return f"{owner}: parameter {name!r} was {problem['input']!r}: {problem['msg']}"
