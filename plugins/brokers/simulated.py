"""The simulated broker: names what trading costs; the simulator does the rest."""

from framework import Broker, BrokerAccount, CommissionModel, Costs, Exchange, SlippageModel, hookimpl


class Simulated(Broker):
    """Fills at the next open, for the costs that its parameters name."""

    commission: CommissionModel | None = None
    slippage: SlippageModel | None = None

    def costs(self) -> Costs:
        """The two models."""
        return Costs(self.commission, self.slippage)

    def connect(self, exchange: Exchange) -> BrokerAccount:
        """In a replay: an account that fills as the simulator does."""
        return exchange.paper_account(self.costs())


@hookimpl
def register_brokers() -> dict[str, type[Broker]]:
    """``simulated``."""
    return {"simulated": Simulated}
