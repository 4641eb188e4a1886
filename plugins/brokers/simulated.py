"""The simulated broker: names what trading costs; the simulator does the rest."""

from typing import Annotated

from annotated_types import Gt, Le

from framework import Broker, BrokerAccount, CommissionModel, Costs, Exchange, SlippageModel, hookimpl


class Simulated(Broker):
    """Fills at the next open, for the costs that its parameters name."""

    commission: CommissionModel | None = None
    slippage: SlippageModel | None = None
    #: Part of a bar's volume that a portfolio trades at most, above 0 and at most 1; what is over waits, or ends.
    volume_cap: Annotated[float, Gt(0), Le(1)] | None = None

    def costs(self) -> Costs:
        """The two models, and the part of the volume."""
        return Costs(self.commission, self.slippage, self.volume_cap)

    def connect(self, exchange: Exchange) -> BrokerAccount:
        """In a replay: an account that fills as the simulator does."""
        return exchange.paper_account(self.costs())


@hookimpl
def register_brokers() -> dict[str, type[Broker]]:
    """``simulated``."""
    return {"simulated": Simulated}
