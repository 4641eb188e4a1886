"""What an order says beside its quantity: type, prices, how long it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from framework.errors import StrategyError
from framework.model.money import MICRO, MIN_PRICE, to_micro

OrderType = Literal["market", "limit", "stop", "stop_limit"]
TimeInForce = Literal["DAY", "GTC", "IOC", "OPG", "CLS"]

#: Largest price of an order; in micros it is still a whole number as float64.
MAX_PRICE = 1e9

#: Those that trade in an auction, or not at all.
AUCTIONS = ("OPG", "CLS")

_HAS_LIMIT, _HAS_STOP = ("limit", "stop_limit"), ("stop", "stop_limit")


def _check_word(what: str, word: str, allowed: tuple[str, ...]) -> None:
    if word not in allowed:
        raise StrategyError(f"{what} {word!r} of an order is not known; allowed: {', '.join(allowed)}")


def _price(name: str, price: object, order_type: str, types: tuple[str, ...]) -> float | None:
    """The price rounded to 1e-6, if the type has one."""
    if order_type not in types:
        if price is not None:
            raise StrategyError(f"a {order_type} order was given {name} price {price!r}; it has none")
        return None
    if price is None:
        raise StrategyError(f"a {order_type} order needs a {name} price")
    if isinstance(price, int | float | np.number) and MIN_PRICE <= price <= MAX_PRICE:
        return to_micro(float(price)) / MICRO
    allowed = f"a number from {MIN_PRICE} to {MAX_PRICE:.0f}"
    raise StrategyError(f"a {order_type} order was given {name} price {price!r}; allowed: {allowed}")


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """How an order trades.

    Attributes:
        order_type: ``market``; ``limit``: not worse than ``limit_price``; ``stop``: a market order once the price has
            reached ``stop_price``; ``stop_limit``: a limit order once it has.
        limit_price: per share, rounded to 1e-6; ``None`` for types without a limit.
        stop_price: per share, rounded to 1e-6; ``None`` for types without a stop.
        time_in_force: ``DAY``: until the end of the ticker's next session (intraday: of this one); ``GTC``: until it is
            filled or cancelled; ``IOC``: at the next bar's open or never; ``OPG``: at the open of the next session that
            begins, ``CLS``: at the close of the next that ends, or never. Neither has a stop.

    Raises:
        StrategyError: a price is missing, not meant for the type, or out of bounds; type or time in force is unknown.
    """

    order_type: OrderType = "market"
    limit_price: float | None = None
    stop_price: float | None = None
    time_in_force: TimeInForce = "DAY"

    def __post_init__(self) -> None:
        _check_word("order type", self.order_type, get_args(OrderType))
        _check_word("time in force", self.time_in_force, get_args(TimeInForce))
        if self.time_in_force in AUCTIONS and self.order_type in _HAS_STOP:
            raise StrategyError(
                f"a {self.order_type} order was given {self.time_in_force}; a stop waits for no auction"
            )
        limit = _price("limit", self.limit_price, self.order_type, _HAS_LIMIT)
        stop = _price("stop", self.stop_price, self.order_type, _HAS_STOP)
        object.__setattr__(self, "limit_price", limit)
        object.__setattr__(self, "stop_price", stop)

    @classmethod
    def of(cls, limit: float | None, stop: float | None, time_in_force: TimeInForce = "DAY") -> OrderTerms:
        """The terms whose type follows from which prices are given.

        Raises:
            StrategyError: as for the class.
        """
        if limit is None and stop is None and time_in_force == "DAY":
            return MARKET
        if limit is None:
            return cls("market" if stop is None else "stop", None, stop, time_in_force)
        return cls("limit" if stop is None else "stop_limit", limit, stop, time_in_force)

    @property
    def has_price(self) -> bool:
        """Whether it has a limit or a stop."""
        return self.order_type != "market"


#: A market order for the day.
MARKET = OrderTerms()
