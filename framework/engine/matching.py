"""Where an order trades in a bar, if it does. Pure rules on one order and four prices; the book of orders uses them.

A bar tells four prices and not their order, so of the ways in which it may have gone the rules take one that does not
flatter the trader: a gap fills at the open; a touched limit fills at the limit and never better; a stop fills at the
stop and slips; and a stop-limit that is triggered inside the bar fills there only if it did on every path.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from math import inf
from typing import NamedTuple

from framework.books.exact import exact
from framework.model.money import to_micro
from framework.model.orders import MARKET, OrderTerms
from framework.trading.splits import split_order, split_price


@dataclass(frozen=True, slots=True)
class Waiting:
    """A sized order between decision and end.

    Attributes:
        column: its ticker.
        lots: signed, not 0.
        decided: row of the bar on whose close it was decided; it trades in later ones.
        order_id: its name in a journal, if any.
        terms: type, prices, time in force.
        is_triggered: its stop was reached in an earlier bar: a market or limit order by now.
        is_target: made to reach a target.
        not_before: row of the first bar in which it may trade; 0: the one after it was decided.
        is_void: its session has no bar any more in which it could trade: it ends there.
        turn: rising with the time at which it was sent: of what is left of some, the earlier goes first.
        is_capped: a bar's volume has left a rest of it, which this is.
        split_close: the close that it was decided on as a price of today's shares; None: there was no split since.
    """

    column: int
    lots: float
    decided: int
    order_id: str = ""
    terms: OrderTerms = MARKET
    is_triggered: bool = False
    is_target: bool = False
    not_before: int = 0
    is_void: bool = False
    turn: int = 0
    is_capped: bool = False
    split_close: float | None = None

    @property
    def is_on_its_way(self) -> bool:
        """Whether later targets count on it: market orders and those of targets; else it rests at its price."""
        return self.is_target or self.terms.order_type == "market"


def after_split(order: Waiting, ratio: Fraction, close: float) -> Waiting:
    """An order of old shares as one of new ones; of 0 lots where nothing is left.

    Args:
        order: before it.
        ratio: new shares for old ones.
        close: that the order was decided on.
    """

    def price(old: float | None) -> float | None:
        return None if old is None else float(split_price(Decimal(repr(old)), ratio))

    with exact():
        terms = order.terms
        terms = replace(terms, limit_price=price(terms.limit_price), stop_price=price(terms.stop_price))
        decided_on = price(close if order.split_close is None else order.split_close)
        return replace(order, lots=split_order(order.lots, ratio), terms=terms, split_close=decided_on)


class Bar(NamedTuple):
    """One ticker's bar, in micros per share."""

    open: float
    high: float
    low: float
    close: float

    def mirrored(self) -> Bar:
        """The bar upside down: a sell in one is a buy in the other."""
        return Bar(-self.open, -self.low, -self.high, -self.close)


#: When in a bar something trades, in this order.
OPEN, INSIDE, CLOSE = 0, 1, 2


class Match(NamedTuple):
    """Where an order trades.

    Attributes:
        price: before slippage, micros per share: a price that the bar has seen.
        when: ``OPEN``, ``INSIDE`` (at a moment that the bar does not tell) or ``CLOSE``.
        slips: whether slippage is added; a limit is still kept.
    """

    price: float
    when: int
    slips: bool


def at_open(price: float) -> Match:
    """A trade at the open, which is at ``price``."""
    return Match(price, OPEN, slips=True)


def match(order: Waiting, bar: Bar) -> Match | None:
    """Where an order trades in a bar; ``None``: nowhere. A price that is touched counts as reached.

    Buys, and sells upside down:

    - market: at the open, with slippage.
    - limit: at the open if that is at the limit or below, with slippage up to the limit; else at the limit if the low
      is.
    - stop: at the open if that is at the stop or above; else at the stop if the high is; both with slippage.
    - stop-limit, triggered at the open or in an earlier bar: as a limit order.
    - stop-limit, triggered inside: only if the close is at the limit or below, since it comes after the trigger
      whatever the path; at the worst price within the limit that the bar has seen.

    What is IOC or OPG trades at the open only; what is CLS at the close, in :func:`match_close`.
    """
    if order.terms.order_type == "market":
        return at_open(bar.open)
    side = 1.0 if order.lots > 0.0 else -1.0
    found = _match_buy(order, bar if side > 0.0 else bar.mirrored(), side)
    if found is None or (found.when != OPEN and order.terms.time_in_force in ("IOC", "OPG")):
        return None
    return found._replace(price=side * found.price)


def match_close(order: Waiting, bar: Bar) -> Match | None:
    """Where an order for the closing auction trades in a session's last bar: at the close, if its limit allows it."""
    limit = order.terms.limit_price
    if limit is not None and (bar.close > to_micro(limit) if order.lots > 0.0 else bar.close < to_micro(limit)):
        return None
    return Match(bar.close, CLOSE, slips=True)


def _match_buy(order: Waiting, bar: Bar, side: float) -> Match | None:
    """The rules of :func:`match` for an order with prices; the bar of a sell is upside down, and so are its prices."""
    terms = order.terms
    # Without a stop it is reached from the beginning.
    stop = -inf if terms.stop_price is None else side * to_micro(terms.stop_price)
    limit = inf if terms.limit_price is None else side * to_micro(terms.limit_price)
    if terms.order_type == "stop":
        if bar.open >= stop or order.is_triggered:
            return at_open(bar.open)
        return Match(stop, INSIDE, slips=True) if bar.high >= stop else None
    if bar.open < stop and not order.is_triggered:
        is_certain = bar.high >= stop and bar.close <= limit
        return Match(min(limit, bar.high), INSIDE, slips=False) if is_certain else None
    if bar.open <= limit:
        return at_open(bar.open)
    return Match(limit, INSIDE, slips=False) if bar.low <= limit else None


def triggers(order: Waiting, bar: Bar) -> bool:
    """Whether a bar reaches the stop of a stop-limit order."""
    if order.terms.order_type != "stop_limit" or order.terms.stop_price is None:
        return False
    stop = to_micro(order.terms.stop_price)
    return bar.high >= stop if order.lots > 0.0 else bar.low <= stop


def held_to_limit(order: Waiting, price: float, lots_per_share: float) -> float:
    """A price after slippage (micros per lot) that is not worse than the order's limit, if it has one."""
    if order.terms.limit_price is None:
        return price
    limit = to_micro(order.terms.limit_price) / lots_per_share
    return min(price, limit) if order.lots > 0.0 else max(price, limit)
