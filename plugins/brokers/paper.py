"""The paper broker: real time or a simulated clock, no money; fills at the bars of the data source."""

from framework import Broker, BrokerAccount, CommissionModel, Costs, Exchange, SlippageModel, hookimpl


class Paper(Broker):
    """Fills at the next open, for the costs that its parameters name; its orders are kept in the database."""

    commission: CommissionModel | None = None
    slippage: SlippageModel | None = None

    def costs(self) -> Costs:
        """The two models."""
        return Costs(self.commission, self.slippage)

    def connect(self, exchange: Exchange) -> BrokerAccount:
        """An account of the engine's own."""
        return exchange.paper_account(self.costs())


@hookimpl
def register_brokers() -> dict[str, type[Broker]]:
    """``paper``."""
    return {"paper": Paper}
