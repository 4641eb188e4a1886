"""Between the order journal and a broker account: sends, cancels, recovers what is in doubt, books what was executed.

Every step is committed before the next, and each can be done again: a request carries an id of its own, a fill the
broker's execution id. Whatever moment an engine dies at, :meth:`Gateway.settle` of the next one finds out how the
orders stand and goes on from there (trading-rules 6).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from framework.books import journal
from framework.books.entries import Fill
from framework.books.journal import Guard, LiveOrder, as_decimal
from framework.books.keys import fill_key
from framework.books.ledger import BookingResult, book_in, lock
from framework.books.open import Identity
from framework.db.pool import Pool
from framework.db.queries import execute, fetch_one
from framework.db.retry import retry
from framework.errors import BrokerError, DuplicateOrder, OrderRejected
from framework.trading.broker import BrokerAccount, BrokerOrder, Execution, Report, Ticket

_ZERO = Decimal(0)
#: The reason of orders that were sized on an order being taken back, which has then filled after all.
SIZED_WRONGLY = "an order taken back had filled"
#: The reason of orders whose decision was over before they could leave.
NOT_SENT_IN_TIME = "expired: not sent in time"
#: How long after the commit that allows it a request may leave: others wait longer before they take over.
LEAVES_WITHIN_SECONDS = 2.0
#: Polls in a row at most; what is left then comes with the next cycle.
_MOST_POLLS = 20


@dataclass(frozen=True)
class Filled:
    """A fill that was booked, for those who watch."""

    fill: Fill
    cash: Decimal


class Gateway:
    """Carries out the journal of one portfolio at its broker account.

    Args:
        pool: of the books.
        account: at the broker.
        identity: of the portfolio.
        clock: the engine's moment, for the journal and for what is still valid.
        booking_clock: the ledger's clock; gives ``None`` for the database's.
        guard: makes sure that this engine may send.
        on_fill, on_end: are told what was booked, and which orders ended.
        rate_of: a ticker's currency, and its rate at a moment where that is not the portfolio's; by default, it is.
    """

    def __init__(
        self,
        pool: Pool,
        account: BrokerAccount,
        identity: Identity,
        clock: Callable[[], datetime],
        booking_clock: Callable[[], datetime | None],
        guard: Guard | None = None,
        on_fill: Callable[[Filled], None] = lambda filled: None,
        on_end: Callable[[LiveOrder, str | None], None] = lambda order, reason: None,
        rate_of: Callable[[str, datetime], tuple[str, Decimal | None]] | None = None,
    ) -> None:
        self._pool, self._account, self._identity = pool, account, identity
        self._clock, self._booking_clock, self._guard = clock, booking_clock, guard
        self._on_fill, self._on_end = on_fill, on_end
        self._rate_of = rate_of or (lambda ticker, at: (identity.base_currency, None))
        #: Whether an order was left between sending and answer, to be looked at again soon; the caller resets it.
        self.is_in_doubt = False
        #: Since when (monotonic) an order has been in doubt that is no longer wanted.
        self._doubted: dict[str, float] = {}

    def settle(self, orders: Sequence[LiveOrder]) -> bool:
        """Find out how orders that may have been sent stand, book what was executed, take back, end what is over.

        Returns:
            whether the books or the journal have changed.

        Raises:
            BrokerError: no answer, or an answer that cannot be right; nothing is assumed then.
        """
        sent = [order for order in orders if order.state != "planned"]
        if not sent:
            return False
        booked = {order.order_id: order.filled for order in sent}
        report, changed = self._collect(sent, booked)
        leaving = [order for order in sent if order.cancel_reason is not None and _is_there(order, report)]
        for order in leaving:
            self._account.cancel(order.order_id)
        if leaving:
            report, _ = self._collect(sent, booked)
            changed = True
        # Booked by an engine that was paused, say, after these orders were read.
        changed |= any(_is_ahead(report.orders.get(order.order_id), order) for order in sent)
        changed |= self._drop_wrongly_sized(orders, report)
        for order in sent:
            if order.state == "sending":
                changed |= self._resolve(order, report.orders.get(order.order_id))
        return changed

    def send(self, orders: Sequence[LiveOrder]) -> bool:
        """Send what is planned and still valid; what expired ends.

        Args:
            orders: all that have not ended. Where one is still being taken back, later ones of its ticker wait.

        Returns:
            whether any order has ended.
        """
        leaving = {order.ticker for order in orders if order.cancel_reason is not None}
        has_ended = False
        for order in orders:
            if order.state == "planned" and order.ticker not in leaving:
                has_ended |= self._send(order)
        return has_ended

    def cancel(self, orders: Iterable[LiveOrder], reason: str) -> bool:
        """Want orders cancelled; those never sent end at once, the others once :meth:`settle` has seen it done.

        Returns:
            whether there were any of which it was not wanted yet.
        """
        wanted = {order.order_id: reason for order in orders if order.cancel_reason is None}
        journal.cancel(self._pool, self._identity.portfolio_id, wanted, self._clock())
        return bool(wanted)

    def end(self, orders: Sequence[LiveOrder], reasons: Mapping[str, str]) -> None:
        """End planned orders, by id with the reason: they will not be sent."""
        for order in orders:
            if order.state == "planned" and order.order_id in reasons:
                self._end(order, reasons[order.order_id])

    def _drop_wrongly_sized(self, orders: Sequence[LiveOrder], report: Report) -> bool:
        """End what was planned on the word of a cancel that came too late; the strategy is told, and decides again."""
        filled = {
            order.ticker
            for order in orders
            if order.cancel_reason is not None and _has_filled_since(order, report.orders.get(order.order_id))
        }
        wrong = {order.order_id: SIZED_WRONGLY for order in orders if order.ticker in filled}
        self.end(orders, wrong)
        return bool(wrong)

    # Sending.

    def _send(self, order: LiveOrder) -> bool:
        """Send an order, unless something forbids it at this moment; whether it has ended."""
        began = journal.begin_sending(self._pool, order.order_id, self._clock(), self._guard)
        if began is None:
            if order.valid_until > self._clock():
                return False  # held back, by a halt say: it stays planned until then
            self._end(order, NOT_SENT_IN_TIME)
            return True
        if time.monotonic() - began > LEAVES_WITHIN_SECONDS:
            self.is_in_doubt = True
            return False  # this process was paused, and others may have found its orders by now: in doubt
        try:
            self._account.submit(_ticket(order))
        except DuplicateOrder:
            self.is_in_doubt = True
            return False  # an earlier request has arrived after all: the next settle compares it with ours
        except OrderRejected as error:
            self._end(order, f"rejected: {error}"[:200])
            return True
        journal.mark_open(self._pool, order.order_id)
        return False

    def _resolve(self, order: LiveOrder, found: BrokerOrder | None) -> bool:
        """What became of an order whose request may have left: it is there, it is sent again, or it never was."""
        if found is not None:
            self._compare(order, found)
            if not found.is_closed:
                journal.mark_open(self._pool, order.order_id)
            return True
        is_over = order.cancel_reason is not None or order.valid_until <= self._clock()
        if not is_over:
            return self._account.unique_client_ids and self._send(order)
        # By this process's own clock: whatever the others say, the broker has had that long to tell of it.
        since = self._doubted.setdefault(order.order_id, time.monotonic())
        if time.monotonic() - since < self._account.in_doubt_seconds:
            return False
        self._end(order, order.cancel_reason or NOT_SENT_IN_TIME)
        return True

    def _compare(self, order: LiveOrder, found: BrokerOrder) -> None:
        mine, theirs = _ticket(order), found.ticket
        if (mine.ticker, mine.side, mine.quantity, mine.order_type) != (
            theirs.ticker,
            theirs.side,
            theirs.quantity,
            theirs.order_type,
        ):
            raise BrokerError(
                f"the broker has another order under our id {order.order_id}: {theirs}; the journal has {mine}. "
                "Nothing is traded until that is settled: engine halt, then compare with the broker"
            )

    def _end(self, order: LiveOrder, reason: str) -> None:
        left = max(_ZERO, order.quantity - order.filled)
        ended = journal.End(order.order_id, left, reason, order.filled > 0)
        journal.end(self._pool, self._identity.portfolio_id, [ended], self._clock())
        self._on_end(order, reason)

    # Booking.

    def _collect(self, orders: Sequence[LiveOrder], booked: dict[str, Decimal]) -> tuple[Report, bool]:
        """Poll and book until nothing new comes; the last report, and whether anything was booked or ended.

        ``booked`` are the shares booked so far of the orders that have not ended; it is kept up to date.
        """
        has_booked = False
        for _ in range(_MOST_POLLS):
            place = self._place()
            report = self._account.poll(place, [order.order_id for order in orders])
            has_booked |= self._book(place, report, orders, booked)
            if report.place == place or not report.executions:
                break
        return report, has_booked

    def _place(self) -> str:
        with self._pool.connection() as connection:
            asked = {"broker": self._identity.broker, "account": self._identity.account}
            row = fetch_one(connection, "account_place", asked)
        return str(row[0]) if row else ""

    def _book(self, place: str, report: Report, orders: Sequence[LiveOrder], booked: dict[str, Decimal]) -> bool:
        """Executions, their orders and how far the account is booked: one transaction."""
        known = {order.order_id: order for order in orders}
        fills = [self._fill(execution, known.get(execution.order_id)) for execution in report.executions]
        if not fills and not _over(report, booked):
            return False

        def once() -> tuple[BookingResult, dict[str, Decimal]]:
            with self._pool.transaction(isolation="read committed") as connection:
                lock(connection, [self._identity.portfolio_id])
                result = book_in(connection, fills, self._booking_clock())
                new = [fill for fill, entry in zip(fills, result.entries, strict=True) if not entry.already]
                sums = _sums(new)
                journal.add_fills(connection, sums)
                after = {order_id: shares + sums.get(order_id, _ZERO) for order_id, shares in booked.items()}
                ends = [_end_of(known[order_id], report) for order_id in _over(report, after)]
                journal.settle(connection, ends, self._clock())
                if report.place != place:
                    asked = {"broker": self._identity.broker, "account": self._identity.account}
                    execute(connection, "move_account_place", {**asked, "before": place, "place": report.place})
                return result, after

        result, after = retry(once)
        for entry in result.entries:
            if not entry.already and isinstance(entry.entry, Fill):
                self._on_fill(Filled(entry.entry, result.cash[entry.entry.portfolio_id]))
        booked.update(after)
        for order_id in _over(report, after):
            del booked[order_id]
            found = report.orders[order_id]
            self._on_end(replace(known[order_id], filled=found.filled), found.reason)
        return True

    def _fill(self, execution: Execution, order: LiveOrder | None) -> Fill:
        identity = self._identity
        currency, fx_rate = self._rate_of(execution.ticker, execution.executed_at)
        return Fill(
            portfolio_id=identity.portfolio_id,
            key=fill_key(identity.broker, identity.account, execution.execution_id),
            at=execution.executed_at,
            session=execution.session,
            ticker=execution.ticker,
            side=execution.side,
            quantity=execution.quantity,
            price=execution.price,
            currency=currency,
            fx_rate=fx_rate,
            fees=execution.fees,
            arrival_price=execution.arrival_price,
            decision_price=None if order is None else order.decision_price,
            order_id=execution.order_id,
        )


def _ticket(order: LiveOrder) -> Ticket:
    terms = order.terms
    return Ticket(
        order.order_id,
        order.ticker,
        order.side,
        order.quantity,
        terms.order_type,
        as_decimal(terms.limit_price),
        as_decimal(terms.stop_price),
        terms.time_in_force,
    )


def _over(report: Report, booked: Mapping[str, Decimal]) -> list[str]:
    """The orders that are final: closed, and all that the broker says they have filled is booked."""
    closed = {order_id: order.filled for order_id, order in report.orders.items() if order.is_closed}
    return [order_id for order_id, shares in booked.items() if order_id in closed and shares >= closed[order_id]]


def _is_there(order: LiveOrder, report: Report) -> bool:
    found = report.orders.get(order.order_id)
    return found is not None and not found.is_closed


def _is_ahead(found: BrokerOrder | None, order: LiveOrder) -> bool:
    return found is not None and (found.is_closed or found.filled != order.filled)


def _has_filled_since(order: LiveOrder, found: BrokerOrder | None) -> bool:
    return found is not None and found.filled > order.filled


def _end_of(order: LiveOrder, report: Report) -> journal.End:
    """The end of an order, as the broker tells it; a cancel that we wanted keeps our reason."""
    found = report.orders[order.order_id]
    left = max(_ZERO, order.quantity - found.filled)
    reason = None if left == 0 else order.cancel_reason or found.reason or "ended at the broker without a reason"
    return journal.End(order.order_id, left, reason, found.filled > 0)


def _sums(fills: Iterable[Fill]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for fill in fills:
        if fill.order_id is not None:
            sums[fill.order_id] = sums.get(fill.order_id, _ZERO) + fill.quantity
    return sums
