"""The public API: what a plugin author imports. Names load on first use, so that ``import framework`` stays light."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from annotated_types import Ge, Gt, Le, Lt

    from framework.data.rest import RestSource
    from framework.data.source import DataSource
    from framework.errors import (
        AllocationError,
        BrokerError,
        BrokerUnavailable,
        ConfigError,
        DataError,
        DuplicateOrder,
        EngineError,
        OrderRejected,
        RiskRuleError,
        SourceError,
        SourceUnavailable,
        StrategyError,
        TickerUnavailable,
    )
    from framework.hookspecs import hookimpl
    from framework.model.bars import Bars, CorporateAction
    from framework.model.money import Number
    from framework.model.panel import Floats, Panel, Times
    from framework.model.quotes import Instrument, Quote, Quotes
    from framework.trading import indicators
    from framework.trading.allocator import AllocationState, Allocator
    from framework.trading.broker import Broker, BrokerAccount, BrokerOrder, Exchange, Execution, Report, Ticket
    from framework.trading.context import Context, SetupContext
    from framework.trading.costs import CommissionModel, Costs, SlippageModel, larger
    from framework.trading.indicator import Indicator
    from framework.trading.plugin import Plugin
    from framework.trading.proposal import Proposal
    from framework.trading.risk import RiskRule
    from framework.trading.rolling import recursive_memory
    from framework.trading.strategy import Strategy

__version__ = "0.1.0"

_HOME = {
    "AllocationError": "framework.errors",
    "AllocationState": "framework.trading.allocator",
    "Allocator": "framework.trading.allocator",
    "Bars": "framework.model.bars",
    "Broker": "framework.trading.broker",
    "BrokerAccount": "framework.trading.broker",
    "BrokerError": "framework.errors",
    "BrokerOrder": "framework.trading.broker",
    "BrokerUnavailable": "framework.errors",
    "CommissionModel": "framework.trading.costs",
    "ConfigError": "framework.errors",
    "Context": "framework.trading.context",
    "CorporateAction": "framework.model.bars",
    "Costs": "framework.trading.costs",
    "DataError": "framework.errors",
    "DataSource": "framework.data.source",
    "DuplicateOrder": "framework.errors",
    "EngineError": "framework.errors",
    "Exchange": "framework.trading.broker",
    "Execution": "framework.trading.broker",
    "Floats": "framework.model.panel",
    "Ge": "annotated_types",
    "Gt": "annotated_types",
    "Indicator": "framework.trading.indicator",
    "Instrument": "framework.model.quotes",
    "Le": "annotated_types",
    "Lt": "annotated_types",
    "Number": "framework.model.money",
    "OrderRejected": "framework.errors",
    "Panel": "framework.model.panel",
    "Plugin": "framework.trading.plugin",
    "Proposal": "framework.trading.proposal",
    "Quote": "framework.model.quotes",
    "Quotes": "framework.model.quotes",
    "Report": "framework.trading.broker",
    "RestSource": "framework.data.rest",
    "RiskRule": "framework.trading.risk",
    "RiskRuleError": "framework.errors",
    "SetupContext": "framework.trading.context",
    "SlippageModel": "framework.trading.costs",
    "SourceError": "framework.errors",
    "SourceUnavailable": "framework.errors",
    "Strategy": "framework.trading.strategy",
    "StrategyError": "framework.errors",
    "TickerUnavailable": "framework.errors",
    "Ticket": "framework.trading.broker",
    "Times": "framework.model.panel",
    "hookimpl": "framework.hookspecs",
    "indicators": "framework.trading",
    "larger": "framework.trading.costs",
    "recursive_memory": "framework.trading.rolling",
}

__all__ = [
    "AllocationError",
    "AllocationState",
    "Allocator",
    "Bars",
    "Broker",
    "BrokerAccount",
    "BrokerError",
    "BrokerOrder",
    "BrokerUnavailable",
    "CommissionModel",
    "ConfigError",
    "Context",
    "CorporateAction",
    "Costs",
    "DataError",
    "DataSource",
    "DuplicateOrder",
    "EngineError",
    "Exchange",
    "Execution",
    "Floats",
    "Ge",
    "Gt",
    "Indicator",
    "Instrument",
    "Le",
    "Lt",
    "Number",
    "OrderRejected",
    "Panel",
    "Plugin",
    "Proposal",
    "Quote",
    "Quotes",
    "Report",
    "RestSource",
    "RiskRule",
    "RiskRuleError",
    "SetupContext",
    "SlippageModel",
    "SourceError",
    "SourceUnavailable",
    "Strategy",
    "StrategyError",
    "TickerUnavailable",
    "Ticket",
    "Times",
    "hookimpl",
    "indicators",
    "larger",
    "recursive_memory",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'framework' has no public name {name!r}")
    if name == "indicators":
        return import_module("framework.trading.indicators")
    return getattr(import_module(home), name)
