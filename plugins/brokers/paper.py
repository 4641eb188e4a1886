"""The paper broker: real time or a simulated clock, no money; fills at the bars of the data source."""

from typing import Annotated

from annotated_types import Gt, Le

from framework import Broker, BrokerAccount, CommissionModel, Costs, Exchange, SlippageModel, hookimpl


class Paper(Broker):
    """Fills at the next open, for the costs that its parameters name; its orders are kept in the database."""

    commission: CommissionModel | None = None
    slippage: SlippageModel | None = None
    #: Part of a bar's volume that a portfolio trades at most, above 0 and at most 1; what is over waits, or ends.
    volume_cap: Annotated[float, Gt(0), Le(1)] | None = None

    def costs(self) -> Costs:
        """The two models, and the part of the volume."""
        return Costs(self.commission, self.slippage, self.volume_cap)

    def connect(self, exchange: Exchange) -> BrokerAccount:
        """An account of the engine's own."""
        return exchange.paper_account(self.costs())


@hookimpl
def register_brokers() -> dict[str, type[Broker]]:
    """``paper``."""
    return {"paper": Paper}
