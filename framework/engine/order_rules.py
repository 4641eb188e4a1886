"""Around the book of orders: who is told, who is asked, and small rules on what counts together and in which turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from framework.engine.matching import INSIDE, Match, Waiting
from framework.errors import StrategyError
from framework.model.panel import Floats

#: Largest weight: a hundred thousand percent of equity is a mistake.
MAX_WEIGHT = 1000.0
#: Why an order ends that a later target takes back.
REPLACED = "replaced"
#: Why an order ends of which the bar's volume left a rest.
CAPPED = "volume cap"
#: Why an order ends that the strategy takes back.
CANCELLED = "cancelled"
#: Why an order ends in a currency without an exchange rate yet.
NO_RATE = "no fx rate"
#: Who of one ticker trades first at one moment: those with the worse price.
_RANK = {"market": 0, "stop": 1, "stop_limit": 1, "limit": 2}


class Trade(NamedTuple):
    """An order that a bar reaches; ``rest``: lots of it that the bar's volume leaves, beside those of ``order``."""

    order: Waiting
    match: Match
    rest: float = 0.0


#: The orders to send (``dataclasses.replace(order, lots=…)`` where they shrink), and what was taken from which: order,
#: signed lots, reason.
Reviewed = tuple[Sequence[Waiting], Sequence[tuple[Waiting, float, str]]]


class Witness(Protocol):
    """Who is told what becomes of each waiting order: a journal."""

    def filled(self, order: Waiting, lots: float, price: float, fees: float) -> None:
        """It filled, in full or in part: signed lots, micros per lot, micros."""

    def ended(self, order: Waiting, lots: float, reason: str) -> None:
        """It, or the rest of it, ended without a fill."""


class Review(Protocol):
    """Looks at a whole decision before its orders count as sent: risk rules."""

    def __call__(self, bar: int, new: Sequence[Waiting], earlier: Sequence[Waiting]) -> Reviewed:
        """What to do with the orders decided on the close of ``bar`` (there may be none), beside earlier open ones."""


def turn(trade: Trade) -> int:
    """Ticker order; of one ticker by rank."""
    return trade.order.column * len(_RANK) + _RANK[trade.order.terms.order_type]


def on_its_way(orders: Sequence[Waiting]) -> float:
    """Signed lots of those that later targets count on."""
    return sum(order.lots for order in orders if order.is_on_its_way)


def resting_sells(orders: Sequence[Waiting]) -> float:
    """Lots of a position that resting sells hold. A stop and a limit may guard the same ones: they count once."""
    sells = [order for order in orders if order.lots < 0.0 and not order.is_on_its_way]
    stops = sum(order.lots for order in sells if order.terms.stop_price is not None)
    return -min(stops, sum(order.lots for order in sells) - stops)


def sides(trades: list[Trade], when: int) -> tuple[list[Trade], list[Trade]]:
    """Sells and buys of one moment."""
    chosen = [trade for trade in trades if trade.match.when == when]
    return [trade for trade in chosen if trade.order.lots < 0.0], [trade for trade in chosen if trade.order.lots > 0.0]


def late(trade: Trade) -> Trade:
    """A trade at the open, after all others there."""
    return trade._replace(match=trade.match._replace(when=INSIDE))


def check_weights(weights: Floats) -> None:
    """Refuse target weights that cannot be meant.

    Raises:
        StrategyError: one is infinite, or beyond ``MAX_WEIGHT`` either way.
    """
    wrong = weights[np.abs(weights) > MAX_WEIGHT]
    if len(wrong):
        raise StrategyError(
            f"target_weights was given {wrong[0]}; a weight is a fraction of equity, at most {MAX_WEIGHT:.0f}"
        )
