"""Orders one by one: what waits for its bar, what lapses, and fills where the arrays' short cut does not apply.

Quantity orders, orders with a price, targets on tickers without a bar, and anything decided while an order waits go
through here. Where in a bar an order trades is said in :mod:`framework.engine.matching`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from framework.data.slots import Delays
from framework.engine import order_rules
from framework.engine.account import Account
from framework.engine.matching import (
    CLOSE,
    INSIDE,
    OPEN,
    Bar,
    Match,
    Waiting,
    after_split,
    at_open,
    held_to_limit,
    match,
    match_close,
    triggers,
)
from framework.engine.order_rules import CANCELLED, CAPPED, NO_RATE, REPLACED, Review, Trade, Witness
from framework.model.money import MICRO, MIN_PRICE, cut, to_micro
from framework.model.orders import MARKET, OrderTerms
from framework.model.panel import Floats
from framework.trading.context import OrderRequest
from framework.trading.splits import NOTHING_LEFT

#: In micros.
_LOWEST = MIN_PRICE * MICRO


class OrderBook:
    """The orders of one account between decision and end.

    The order of events in a bar: at the open, inside, at the close, and each time sells, then buys, in ticker order; of
    one ticker market orders first, then stops, then limits. Sells end where nothing more is held (``short not
    allowed``), buys where nothing more can be paid (``no cash``). Nobody knows which of two moments inside a bar came
    first: a buy there counts on the cash from before the sells there, a sell only on what was held before the buys.

    Args:
        account: whose orders.
        last_of_session: shape ``(T,)``: after which bars DAY orders lapse.
        waiting: what an earlier book left, to trade at ``next_bar`` at the earliest.
        next_bar: row.
        witness: told of fills and ends, beside the account's own lists.
        review: asked at the end of each decision.
        delays: where orders decided at each row trade at the earliest; default: in the next bar.
    """

    def __init__(
        self,
        account: Account,
        last_of_session: NDArray[np.bool_],
        waiting: Sequence[Waiting] = (),
        next_bar: int = 0,
        witness: Witness | None = None,
        review: Review | None = None,
        delays: Delays | None = None,
    ) -> None:
        self.account = account
        self.delays = delays
        self.waiting: list[Waiting] = list(waiting)
        #: Tickers that may have an order waiting; all others need not be searched for.
        self._busy = {order.column for order in self.waiting}
        self._last_of_session = last_of_session
        self._next_bar = next_bar
        self._witness = witness
        self.review = review
        #: How many orders it was sent.
        self._turn = 0
        #: Of each ticker, lots that may still be traded in the bar at hand.
        self._room: dict[int, float] = {}
        self._fields = (account.opens, account.highs, account.lows, account.closes)

    @property
    def knows_all(self) -> bool:
        """Whether every order must go through it: rules see them here, and it alone knows rates, slots and volumes."""
        terms = self.account.terms
        has_slots_or_cap = self.delays is not None or terms.costs.volume_cap is not None
        return self.review is not None or self.account.rates is not None or has_slots_or_cap

    # Decisions.

    def target_weights(self, bar: int, columns: NDArray[np.int64], weights: Floats) -> None:
        """Size target weights on the close of ``bar`` and queue the orders that reach them."""
        order_rules.check_weights(weights)
        spendable = self.account.spendable(bar)
        for column, weight in zip(columns.tolist(), weights.tolist(), strict=True):
            value = float(self.account.share_values[bar, column])
            if value == 0.0 and weight == 0.0:
                continue
            if value == 0.0:
                reason = NO_RATE if self.account.closes[bar, column] else "no price"
                self.account.note_unfilled(bar, column, np.nan, reason)
            elif weight < 0.0:
                self.account.note_unfilled(bar, column, np.nan, "short not allowed")
            else:
                self._reach(bar, column, cut(weight / (value * self.account.unit) * spendable), MARKET)

    def request(self, bar: int, order: OrderRequest) -> None:
        """Queue, or take back, what one call of a strategy asks for."""
        lots = cut(order.quantity * self.account.terms.lots_per_share)
        column = order.column
        held = float(self.account.lots[column])
        if order.is_cancel:
            self._cancel(bar, column, lambda waiting: True, CANCELLED)
        elif lots and not self.account.is_convertible(bar, column):
            self.account.note_unfilled(bar, column, lots, NO_RATE)
        elif order.is_target and lots >= 0.0:
            self._reach(bar, column, lots, order.terms)
        elif order.is_target or held + order_rules.on_its_way(self._of(column)) + lots < 0.0:
            self.account.note_unfilled(bar, column, lots, "short not allowed")
        elif lots:
            self._queue(Waiting(column, lots, bar, terms=order.terms))

    def close_decision(self, bar: int) -> None:
        """All that was decided on the close of ``bar`` is queued: let the review look at it."""
        if self.review is None:
            return
        new = [order for order in self.waiting if self._is_of(bar, order)]
        earlier = [order for order in self.waiting if not self._is_of(bar, order)]
        kept, refused = self.review(bar, new, earlier)
        self.waiting = [*earlier, *kept]
        for order, lots, reason in refused:
            self.account.note_unfilled(bar, order.column, lots, reason, order.decided)

    def cancel_all(self, bar: int, reason: str) -> None:
        """Take back whatever waits: the portfolio is halted at the close of ``bar``."""
        for order in self.waiting:
            self._end(bar, order, order.lots, reason)
        self.waiting = []

    def _reach(self, bar: int, column: int, target: float, terms: OrderTerms) -> None:
        """Order the difference to ``target``; what an earlier order will bring counts, unless it goes too far."""
        needed = target - float(self.account.lots[column])
        if waiting := self._of(column):
            if target < order_rules.resting_sells(waiting):
                self._cancel(bar, column, lambda order: not order.is_on_its_way and order.lots < 0.0, REPLACED)
            if terms.order_type != "market":
                self._cancel(bar, column, lambda order: order.is_target and order.terms != terms, REPLACED)
        coming = order_rules.on_its_way(self._of(column)) if waiting else 0.0
        if coming and (needed * coming <= 0.0 or abs(coming) > abs(needed)):
            self._cancel(bar, column, lambda order: order.is_on_its_way, REPLACED)
            coming = 0.0
        if needed != coming:
            self._queue(Waiting(column, needed - coming, bar, terms=terms, is_target=True))

    def _of(self, column: int) -> list[Waiting]:
        """The orders of a ticker, in the order in which they were decided."""
        return [order for order in self.waiting if order.column == column] if column in self._busy else []

    def _cancel(self, bar: int, column: int, is_meant: Callable[[Waiting], bool], reason: str) -> None:
        """Take back orders of a ticker; what is being decided at this bar was never sent, and nobody is told."""
        for order in filter(is_meant, self._of(column)):
            self.waiting.remove(order)
            if not self._is_of(bar, order):
                self._end(bar, order, order.lots, reason)

    def _queue(self, order: Waiting) -> None:
        """Send an order; what is asked of a ticker at one bar at the market is one order."""
        if order.terms.order_type == "market":
            for other in self._of(order.column):
                if other.terms == order.terms and self._is_of(order.decided, other):
                    self.waiting.remove(other)
                    order = replace(order, lots=order.lots + other.lots, is_target=order.is_target or other.is_target)
        if self.delays is not None:
            is_of_day = order.terms.time_in_force in ("DAY", "CLS")
            is_void = is_of_day and bool(self.delays.is_void[order.decided])
            order = replace(order, not_before=int(self.delays.first_bars[order.decided]), is_void=is_void)
        if order.lots:
            self._turn += 1
            self.waiting.append(replace(order, turn=self._turn))
            self._busy.add(order.column)
        self._next_bar = order.decided + 1

    @staticmethod
    def _is_of(bar: int, order: Waiting) -> bool:
        """Whether an order is being decided at this bar, and so was never sent."""
        return order.decided == bar and not order.order_id

    # Fills.

    def run_to(self, bar: int) -> None:
        """Let waiting orders trade in the bars up to ``bar``; splits and dividends are booked up to its open."""
        while self.waiting and self._next_bar <= bar:
            self._trade(self._next_bar)
            self._next_bar += 1
        self.account.open(bar)

    def end(self, last_bar: int) -> None:
        """Close the book after the last bar."""
        self.run_to(last_bar)
        for order in self.waiting:
            self._end(last_bar, order, order.lots, "end of data")
        self.waiting = []

    def arrival(self, bar: int, order: Waiting) -> float:
        """The market when ``order`` could first trade in ``bar``, where it fills: per share, before slippage."""
        found = self._match(bar, order)
        assert found is not None, "it fills in this bar"
        return found.price / MICRO

    def _trade(self, bar: int) -> None:
        self._room.clear()
        self.account.open(bar)
        if bar in self.account.corporate.splits:
            self._split(bar)
        trades, self.waiting = self._matched(bar)
        if trades:
            self.account.value_to(bar - 1)
            at_open, inside, at_close = (
                [self._within_volume(bar, side) for side in order_rules.sides(trades, when)]
                for when in (OPEN, INSIDE, CLOSE)
            )
            guards = [order_rules.late(trade) for trade in at_open[0] if not self._sell_at_open(bar, trade)]
            self._buy(bar, at_open[1], self.account.cash)
            cash = self.account.cash
            for trade in sorted(guards + inside[0], key=lambda trade: trade.order.column):
                self._sell(bar, trade)
            self._buy(bar, inside[1], min(cash, self.account.cash))
            for trade in at_close[0]:
                self._sell(bar, trade)
            self._buy(bar, at_close[1], self.account.cash)
        left, self.waiting = self.waiting, []
        for order in left:
            reason = None if order.not_before > bar else self._lapse(bar, order)
            if reason is None:
                self.waiting.append(order)
            else:
                self._end(bar, order, order.lots, reason)
        self._busy = {order.column for order in self.waiting}

    def _within_volume(self, bar: int, trades: list[Trade]) -> list[Trade]:
        """The trades, each cut to what is left of the part of the bar's volume that may be traded."""
        cap = self.account.terms.costs.volume_cap
        if cap is None:
            return trades
        cut_down = []
        for trade in trades:
            order, column = trade.order, trade.order.column
            if column not in self._room:
                shares = cap * np.nan_to_num(self.account.volumes.item(bar, column))
                self._room[column] = cut(float(shares * self.account.terms.lots_per_share))
            lots = float(np.copysign(min(abs(order.lots), self._room[column]), order.lots))
            self._room[column] -= abs(lots)
            if lots:
                cut_down.append(Trade(replace(order, lots=lots), trade.match, order.lots - lots))
            else:
                self._wait_on(order, order.lots)
        return cut_down

    def _wait_on(self, order: Waiting, rest: float) -> None:
        """Let so many lots of an order wait that the bar's volume has left; one that had a stop has none any more."""
        is_triggered = order.is_triggered or order.terms.stop_price is not None
        self.waiting.append(replace(order, lots=rest, is_capped=True, is_triggered=is_triggered))
        self.waiting.sort(key=lambda waiting: waiting.turn)

    def _split(self, bar: int) -> None:
        """Make orders of old shares, which are all that were decided before this bar, orders of new ones."""
        for split in self.account.corporate.splits[bar]:
            for order in self._of(split.column):
                new = after_split(order, split.ratio, self.account.closes.item(order.decided, split.column))
                at = self.waiting.index(order)
                self.waiting[at : at + 1] = [new] if new.lots else []
                if not new.lots:
                    self._end(bar, order, order.lots, NOTHING_LEFT)

    def _matched(self, bar: int) -> tuple[list[Trade], list[Waiting]]:
        """The orders that trade in this bar, in ticker order, and those that wait on."""
        trades, rest = [], []
        opens = self.account.opens[bar]
        for order in self.waiting:
            opening = opens.item(order.column)
            if order.is_void and order.not_before <= bar:
                self._end(bar, order, order.lots, "no bar")
                continue
            if opening != opening or order.not_before > bar:
                rest.append(order)
                continue
            found = self._match(bar, order)
            if found is None:
                is_triggered = triggers(order, self._prices(bar, order.column))
                rest.append(replace(order, is_triggered=True) if is_triggered else order)
            elif found.when != INSIDE and found.price < _LOWEST:
                self._end(bar, order, order.lots, "price too small")
            elif self.account.rates is not None and np.isnan(self.account.rate(bar, order.column)):
                self._end(bar, order, order.lots, NO_RATE)
            else:
                trades.append(Trade(order, found))
        trades.sort(key=order_rules.turn)
        return trades, rest

    def _match(self, bar: int, order: Waiting) -> Match | None:
        force = order.terms.time_in_force
        if force == "CLS":
            return match_close(order, self._prices(bar, order.column)) if self._last_of_session[bar] else None
        if force == "OPG" and not self._begins_session(bar):
            return None
        if order.terms.order_type == "market":
            return at_open(to_micro(self.account.opens.item(bar, order.column)))
        return match(order, self._prices(bar, order.column))

    def _begins_session(self, bar: int) -> bool:
        return bar == 0 or bool(self._last_of_session[bar - 1])

    def _prices(self, bar: int, column: int) -> Bar:
        prices = [field.item(bar, column) for field in self._fields]
        return Bar(*[to_micro(price) if price == price else price for price in prices])

    def _lapse(self, bar: int, order: Waiting) -> str | None:
        """Why an order ends that this bar left as it was; ``None``: it waits on."""
        force = order.terms.time_in_force
        if force == "GTC" or (force == "OPG" and not self._begins_session(bar)):
            return None
        opens = self.account.opens[max(0, order.decided + 1, order.not_before) : bar + 1, order.column]
        if force == "IOC" and opens[-1] == opens[-1]:
            return CAPPED if order.is_capped else "ioc"
        if force != "OPG" and not self._last_of_session[bar]:
            return None
        if order.is_capped:
            return CAPPED
        return "no bar" if np.isnan(opens).all() else "not reached"

    def _sell_at_open(self, bar: int, trade: Trade) -> bool:
        """Sell at the open, but for a stop or limit that guards shares which this very open may bring: that is late."""
        order = trade.order
        if order.terms.order_type != "market" and self.account.lots[order.column] < -order.lots:
            return False
        self._sell(bar, trade)
        return True

    def _sell(self, bar: int, trade: Trade) -> None:
        order = trade.order
        lots = max(order.lots, -float(self.account.lots[order.column]))
        if lots != order.lots:
            self._end(bar, order, order.lots - lots + trade.rest, "short not allowed")
        elif trade.rest:
            self._wait_on(order, trade.rest)
        if lots:
            self._book(bar, trade, lots, self._price(bar, trade, lots))

    def _buy(self, bar: int, trades: list[Trade], free: float) -> None:
        prices = [self._price(bar, trade, trade.order.lots) for trade in trades]
        rates = None
        if self.account.rates is not None:
            rates = [self.account.rate(bar, trade.order.column) for trade in trades]
        kept = self.account.affordable(free, [trade.order.lots for trade in trades], prices, rates)
        for trade, lots, price in zip(trades, kept, prices, strict=True):
            order = trade.order
            if lots != order.lots:  # then nothing of it waits on
                self.account.note_trimmed(bar, order.decided, order.column, order.lots - lots + trade.rest, price)
                if self._witness is not None:
                    self._witness.ended(order, order.lots - lots + trade.rest, "no cash")
            elif trade.rest:
                self._wait_on(order, trade.rest)
            if lots:
                self._book(bar, trade, lots, price)

    def _price(self, bar: int, trade: Trade, lots: float) -> float:
        """What a trade is done at, micros per lot."""
        order, found, _ = trade
        if not found.slips:
            return found.price / self.account.terms.lots_per_share
        at = None if found.when == OPEN else found.price / MICRO
        price = self.account.price(bar, order.column, lots, at)
        return held_to_limit(order, price, self.account.terms.lots_per_share)

    def _book(self, bar: int, trade: Trade, lots: float, price: float) -> None:
        account, order, found = self.account, trade.order, trade.match
        notional = account.converted(bar, order.column, float(round(lots * price)))
        fees = account.fee(abs(lots), price, account.rate(bar, order.column))
        fill = (order.column, order.decided, bar, lots, price, notional, fees)
        if found.when != OPEN:
            account.fills.later += (*fill, found.price / MICRO, found.when)
        else:
            account.fills.single += fill
        account.hold(order.column, lots)
        account.cash -= notional + fees
        if self._witness is not None:
            self._witness.filled(order, lots, price, fees)

    def _end(self, bar: int, order: Waiting, lots: float, reason: str) -> None:
        self.account.note_unfilled(bar, order.column, lots, reason, order.decided)
        if self._witness is not None:
            self._witness.ended(order, lots, reason)
