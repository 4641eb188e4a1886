"""Every hook that a plugin can implement, and the marker for its implementations.

A plugin is a module with functions named like the hooks below, each marked ``@hookimpl``. Registration hooks are
called once, when plugins are loaded, and return ``{name: class}``; the names are what a run config uses. Event
hooks observe: they are called one by one after the fact, and what they raise or return changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from framework.books.entries import Fill
    from framework.data.source import DataSource
    from framework.model.result import RunResult
    from framework.trading.allocator import Allocator
    from framework.trading.broker import Broker
    from framework.trading.costs import CommissionModel, SlippageModel
    from framework.trading.risk import RiskRule
    from framework.trading.strategy import Strategy

PROJECT = "portfolio_engine"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_strategies() -> Mapping[str, type[Strategy]]:
    """Strategies: what a config's ``portfolios[].strategy.name`` and ``report.benchmark`` can name."""
    raise NotImplementedError


@hookspec
def register_data_sources() -> Mapping[str, type[DataSource]]:
    """Data sources: what a config's ``data_source.name`` can name."""
    raise NotImplementedError


@hookspec
def register_allocators() -> Mapping[str, type[Allocator]]:
    """Allocators: what a config's ``allocator.name`` can name."""
    raise NotImplementedError


@hookspec
def register_brokers() -> Mapping[str, type[Broker]]:
    """Brokers: what a config's ``broker.name`` can name."""
    raise NotImplementedError


@hookspec
def register_risk_rules() -> Mapping[str, type[RiskRule]]:
    """Risk rules: what a config's ``portfolios[].risk[].name`` can name; they run in the order written there."""
    raise NotImplementedError


@hookspec
def register_commission_models() -> Mapping[str, type[CommissionModel]]:
    """Commission models: what a broker's ``params.commission.name`` can name."""
    raise NotImplementedError


@hookspec
def register_slippage_models() -> Mapping[str, type[SlippageModel]]:
    """Slippage models: what a broker's ``params.slippage.name`` can name."""
    raise NotImplementedError


@hookspec
def register_indicators() -> Mapping[str, Callable[..., Any]]:
    """Indicators: what a strategy's ``ctx.indicator(name, …)`` can name; functions or classes."""
    raise NotImplementedError


@hookspec
def order_refused(portfolio_id: str, ticker: str, quantity: float, reason: str) -> None:
    """A risk rule took an order, or part of it: ``quantity`` signed shares; the reason begins with the rule's name."""


@hookspec
def portfolio_halted(portfolio_id: str, reason: str) -> None:
    """A portfolio is halted from now on: by a risk rule, by an operator, or by the engine itself."""


@hookspec
def engine_started(name: str) -> None:
    """The live engine of a config (its name) is about to run its portfolios."""


@hookspec
def cycle_finished(portfolio_id: str, time: datetime) -> None:
    """A portfolio has done all that was due at this moment of the engine's clock."""


@hookspec
def fill_booked(portfolio_id: str, fill: Fill) -> None:
    """A fill is in the books: the transaction that booked it, and the end of its order, is committed."""


@hookspec
def transfer_booked(portfolio_id: str, amount: Decimal, reference: str) -> None:
    """An allocation has moved money to a portfolio (``amount`` > 0) from the master account, or back; it is committed.

    ``reference`` is the run id of the allocation.
    """


@hookspec
def engine_stopped(name: str) -> None:
    """The live engine of a config has ended all its threads."""


@hookspec
def backtest_finished(result: RunResult) -> None:
    """A backtest has ended and its report has been written; ``result`` is what the report was made from."""
