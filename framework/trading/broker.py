"""The broker interface: what a broker charges, and one account at it as the engine uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import ClassVar, Literal, Protocol

from framework.errors import ConfigError
from framework.model.orders import OrderType, TimeInForce
from framework.trading.costs import Costs
from framework.trading.plugin import Plugin

Side = Literal["BUY", "SELL"]


@dataclass(frozen=True, slots=True)
class Ticket:
    """An order as a broker is given it.

    Attributes:
        order_id: our own id of it; a broker that takes the same id twice makes one order of it.
        ticker: what to trade.
        side: BUY or SELL.
        quantity: shares, > 0.
        order_type, limit_price, stop_price, time_in_force: see :class:`framework.model.orders.OrderTerms`.
    """

    order_id: str
    ticker: str
    side: Side
    quantity: Decimal
    order_type: OrderType = "market"
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce = "DAY"


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order as the broker has it.

    Attributes:
        ticket: what it was given.
        filled: shares filled so far.
        is_closed: it will not trade any more.
        reason: why it, or the rest of it, closed without a fill.
    """

    ticket: Ticket
    filled: Decimal
    is_closed: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill that a broker reports.

    Attributes:
        execution_id: the broker's own, unique within the account.
        order_id: our id of the order.
        ticker, side, quantity, price: what traded.
        fees: in the account's currency.
        arrival_price: the market when the order could first trade; ``None``: not known.
        executed_at: when, by the broker.
        session: the exchange date that it belongs to.
    """

    execution_id: str
    order_id: str
    ticker: str
    side: Side
    quantity: Decimal
    price: Decimal
    fees: Decimal
    arrival_price: Decimal | None
    executed_at: datetime
    session: date


@dataclass(frozen=True, slots=True)
class Report:
    """What an account tells when it is polled.

    Attributes:
        executions: those after the place asked for, in the order in which they are to be booked.
        place: where to go on from next time.
        orders: those asked for that the broker knows, by order id; never ahead of ``executions``: an order's
            ``filled`` counts only what was reported by now.
    """

    executions: tuple[Execution, ...]
    place: str
    orders: dict[str, BrokerOrder]


class BrokerAccount(Protocol):
    """One account at a broker. Every method may raise ``BrokerUnavailable``: nothing is known then."""

    #: Whether the broker makes one order of two requests with one id; only then is a request in doubt sent again.
    unique_client_ids: bool
    #: After how many seconds an order that the broker does not know was never received.
    in_doubt_seconds: float

    def submit(self, ticket: Ticket) -> None:
        """Send an order.

        Raises:
            DuplicateOrder: the broker has an order of this id already.
            OrderRejected: it will not take it, and says why.
        """

    def cancel(self, order_id: str) -> None:
        """Ask to cancel what is left of an order; whether it worked is told by :meth:`poll`."""

    def poll(self, place: str, order_ids: Sequence[str]) -> Report:
        """Executions after ``place`` (empty: from the beginning), and how some orders stand."""


class Exchange(Protocol):
    """What the engine offers a broker that fills orders itself."""

    def paper_account(self, costs: Costs) -> BrokerAccount:
        """An account that fills at the bars of the data source, with these costs; it lives in the database."""


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

    def connect(self, exchange: Exchange) -> BrokerAccount:
        """The account that a portfolio trades in.

        Args:
            exchange: for brokers that fill orders themselves; others need nothing of it.

        Raises:
            ConfigError: this broker takes no orders.
        """
        raise ConfigError(
            f"broker {type(self).__name__} takes no orders; for mode paper use the broker 'paper', or define "
            "connect() on the class."
        )
