"""The broker interface. In a backtest a broker gives its costs; sending orders comes with paper and live."""

from __future__ import annotations

from typing import ClassVar

from framework.errors import ConfigError
from framework.trading.costs import Costs
from framework.trading.plugin import Plugin


class Broker(Plugin):
    """Where orders go."""

    kind = "broker"

    #: Whether orders at this broker move real money.
    real_money: ClassVar[bool] = False

    def costs(self) -> Costs:
        """Commission and slippage that a simulation of this broker charges.

        Raises:
            ConfigError: this broker cannot be simulated.
        """
        raise ConfigError(
            f"broker {type(self).__name__} cannot be used in a backtest: it declares no costs. "
            "Use the broker 'simulated', or define costs() on the class."
        )
