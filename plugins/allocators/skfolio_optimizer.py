"""Any optimiser of skfolio, by name. The library is an extra, and is imported when such an allocator is made."""

from __future__ import annotations

import copy
import difflib
import inspect
import re
from collections.abc import Collection, Mapping
from enum import Enum
from importlib import import_module
from typing import Any

import numpy as np

from framework import AllocationError, AllocationState, Allocator, ConfigError, Floats, hookimpl

from . import _shared

#: Where skfolio's estimators are.
MODULES = ("optimization", "prior", "moments", "distance", "cluster", "seriation", "uncertainty_set")
MEASURES = ("RiskMeasure", "ExtraRiskMeasure", "RatioMeasure", "PerfMeasure")
#: Estimators that cannot be used, and why.
UNFIT = {
    "BenchmarkTracker": "needs the returns of a benchmark, which an allocator is not given",
    "Random": "draws its weights, and an allocation must come out the same again",
    "SyntheticData": "draws its scenarios, and an allocation must come out the same again",
}
#: Options that hold values by portfolio id. skfolio overlooks ids that it does not know.
BY_PORTFOLIO = (
    "groups", "management_fees", "max_weights", "min_weights", "previous_weights", "risk_budget", "target_weights",
    "transaction_costs",
)  # fmt: skip
#: How near a solver comes.
PRECISION = 1e-6


class SkfolioAllocator(_shared.FromReturns):
    """Weights by the optimiser of skfolio whose class is named ``optimizer``.

    ``options`` are the arguments of its class. Members of enums are given by name (``risk_measure: CVAR``), and other
    estimators of skfolio as ``{name: LedoitWolf, params: {…}}``. It is fitted to those of the last ``lookback``
    sessions in which all portfolios have returns. A portfolio with fewer than ``minimum`` returns, or without
    volatility, gets 1/N, and the others share what is left. ``only`` names the portfolios; empty: all of the run.
    """

    optimizer: str
    options: dict[str, Any] = {}  # noqa: RUF012  # the default of a parameter; each object gets its own

    def check(self) -> None:
        """Make the optimiser, which allocations then copy."""
        super().check()
        self._model = _made(_picked("optimizer", self.optimizer, _classes("optimization")), self.options)

    def allocate(self, state: AllocationState) -> Floats:
        """As the optimiser says."""
        for option in BY_PORTFOLIO:
            _check_ids(option, self.options.get(option), state.portfolios)
        return super().allocate(state)

    def known(self, returns: Floats) -> _shared.Mask:
        """Those with enough sessions in common."""
        return _shared.known_together(returns, self.minimum)

    def shares(self, state: AllocationState, returns: Floats, known: _shared.Mask) -> Floats:
        """The weights of the fitted optimiser; all to one that is alone."""
        import pandas as pd

        if returns.shape[1] == 1:
            return np.ones(1)
        names = [name for name, is_known in zip(state.portfolios, known, strict=True) if is_known]
        model = copy.deepcopy(self._model)
        room = float(np.add.reduce(self.base(state)[known])) * state.total
        if room > 0.0 and model.get_params(deep=False).get("previous_weights", 0.0) is None:
            # So that costs and limits of turnover are counted from what is there.
            model.set_params(previous_weights=np.maximum(state.equity[known], 0.0) / room)
        try:
            weights = model.fit(pd.DataFrame(_shared.complete(returns), columns=names)).weights_
        except Exception as error:
            text = f"skfolio: {self.optimizer} found no weights for {len(names)} portfolios"
            raise AllocationError(f"{text}: {type(error).__name__}: {error}") from error
        return _usable(self.optimizer, names, weights)


def _usable(optimizer: str, names: list[str], weights: Any) -> Floats:
    """The weights that an optimiser gave, if they can be an allocation; what its solver leaves is rounded off.

    Raises:
        AllocationError: there is not one for each portfolio, one is short, or together they are more than 1.
    """
    if weights is None or np.shape(weights) != (len(names),) or not np.isfinite(weights).all():
        raise AllocationError(f"skfolio: {optimizer} gave the weights {weights!r}; allowed: one number per portfolio")
    lowest = int(np.argmin(weights))
    if weights[lowest] < -PRECISION:
        raise AllocationError(
            f"skfolio: {optimizer} gave portfolio {names[lowest]!r} the weight {weights[lowest]:g}; a portfolio cannot "
            f"be short, so set min_weights to 0 or more"
        )
    kept: Floats = np.maximum(weights, 0.0)
    total = float(np.add.reduce(kept))
    if total > 1.0 + PRECISION:
        raise AllocationError(
            f"skfolio: {optimizer} gave weights that add up to {total:.6g}; allowed: at most 1, so set budget (or "
            f"max_budget) to 1 or less"
        )
    return kept / max(1.0, total)


def _check_ids(option: str, values: Any, portfolios: Collection[str]) -> None:
    strangers = [str(name) for name in values if str(name) not in portfolios] if isinstance(values, Mapping) else []
    if strangers:
        raise AllocationError(
            f"skfolio: {option!r} names portfolio {strangers[0]!r}, which is not allocated to"
            f"{_nearest(strangers[0], portfolios)} (allowed: {', '.join(portfolios)})"
        )


# --- from names to estimators --------------------------------------------------------------------------------------


def _module(name: str) -> Any:
    try:
        return import_module(f"skfolio.{name}")
    except ImportError as error:
        raise ConfigError(
            f"allocator skfolio needs the library skfolio, which cannot be imported ({error}); "
            f"pip install 'portfolio-engine[optimize]'"
        ) from error


def _classes(module: str) -> dict[str, type[Any]]:
    """The estimators of a module by name. Bases are left out unasked: some warn when they are looked at."""
    home = _module(module)
    found = {name: getattr(home, name) for name in home.__all__ if not name.startswith("Base")}
    return {
        name: cls
        for name, cls in found.items()
        if inspect.isclass(cls) and hasattr(cls, "get_params") and not inspect.isabstract(cls)
    }


def _picked(option: str, name: str, found: Mapping[str, type[Any]]) -> type[Any]:
    fit = sorted(found.keys() - UNFIT.keys())
    if name in fit:
        return found[name]
    wrong = UNFIT.get(name, f"skfolio does not have here{_nearest(name, fit)}")
    raise ConfigError(f"skfolio: {option!r} was {name!r}, which {wrong} (allowed: {', '.join(fit)})")


def _nearest(word: str, words: Collection[str]) -> str:
    near = difflib.get_close_matches(word, list(words), n=3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def _made(cls: type[Any], options: Mapping[str, Any]) -> Any:
    """An estimator with these arguments; one that draws numbers always draws the same."""
    arguments = inspect.signature(cls).parameters
    for name in options:
        if name not in arguments:
            text = f"skfolio: {cls.__name__} has no option {name!r}{_nearest(name, arguments)}"
            raise ConfigError(f"{text} (allowed: {', '.join(arguments)})")
    try:
        model = cls(**{name: _value(name, value, arguments[name]) for name, value in options.items()})
    except TypeError as error:
        raise ConfigError(f"skfolio: 'options' do not make a {cls.__name__}: {error}") from error
    unset = [name for name, value in model.get_params().items() if value is None]
    return model.set_params(**dict.fromkeys([name for name in unset if name.endswith(("random_state", "seed"))], 0))


def _value(name: str, value: Any, argument: inspect.Parameter) -> Any:
    """An option as skfolio takes it."""
    if isinstance(value, str) and isinstance(argument.default, Enum):
        return _member(name, value, argument)
    if isinstance(value, str) and name.endswith("_estimator"):
        return _estimator(name, {"name": value})
    return _nested(name, value)


def _nested(name: str, value: Any) -> Any:
    """A value in which estimators may be named, at any depth."""
    if isinstance(value, Mapping):
        if isinstance(value.get("name"), str) and set(value) <= {"name", "params"}:
            return _estimator(name, value)
        return {str(key): _nested(name, item) for key, item in value.items()}
    return [_nested(name, item) for item in value] if isinstance(value, list) else value


def _estimator(option: str, reference: Mapping[str, Any]) -> Any:
    found = {name: cls for module in MODULES for name, cls in _classes(module).items()}
    return _made(_picked(option, reference["name"], found), reference.get("params") or {})


def _member(name: str, text: str, argument: inspect.Parameter) -> Any:
    """The member of an enum that a text names, in capitals or not."""
    kinds: list[Any] = [type(argument.default)]
    measures = _module("measures")
    if isinstance(argument.default, measures.BaseMeasure):
        # "RiskMeasure | ExtraRiskMeasure", or "skt.Measure", which is any.
        words = re.findall(r"\w+", str(argument.annotation))
        kinds = [getattr(measures, kind) for kind in MEASURES if kind in words or "Measure" in words]
    members = {member: value for kind in kinds for member, value in kind.__members__.items()}
    if text.upper() not in members:
        near = _nearest(text.upper(), members)
        raise ConfigError(f"skfolio: {name!r} was {text!r}{near} (allowed: {', '.join(members)})")
    return members[text.upper()]


@hookimpl
def register_allocators() -> dict[str, type[Allocator]]:
    """``skfolio``."""
    return {"skfolio": SkfolioAllocator}
