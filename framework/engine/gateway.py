"""Between the order journal and a broker account: sends, cancels, recovers what is in doubt, books what was executed.

Every step is committed before the next, and each can be done again: a request carries an id of its own, a fill the
broker's execution id. Whatever moment an engine dies at, :meth:`Gateway.settle` of the next one finds out how the
orders stand and goes on from there (trading-rules 6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
    ) -> None:
        self._pool, self._account, self._identity = pool, account, identity
        self._clock, self._booking_clock, self._guard = clock, booking_clock, guard
        self._on_fill, self._on_end = on_fill, on_end

    def settle(self, orders: Sequence[LiveOrder]) -> bool:
        """Find out how orders that may have been sent stand, book what was executed, end what is over.

        Returns:
            whether the books or the journal have changed.

        Raises:
            BrokerError: no answer, or an answer that cannot be right; nothing is assumed then.
        """
        sent = [order for order in orders if order.state != "planned"]
        if not sent:
            return False
        for order in sent:
            if order.cancel_reason is not None and order.state == "open":
                self._account.cancel(order.order_id)
        place = self._place()
        report = self._account.poll(place, [order.order_id for order in sent])
        changed = self._book(place, report, sent)
        self._drop_wrongly_sized(orders, report)
        for order in sent:
            if order.state == "sending":
                changed |= self._resolve(order, report.orders.get(order.order_id))
        return changed

    def send(self, orders: Sequence[LiveOrder]) -> None:
        """Send what is planned and still valid; what expired ends.

        Args:
            orders: all that have not ended. Where one is still being taken back, later ones of its ticker wait.
        """
        leaving = {order.ticker for order in orders if order.cancel_reason is not None}
        for order in orders:
            if order.state != "planned" or order.ticker in leaving:
                continue
            if not self._try_to_send(order):
                self._expire(order)

    def cancel(self, orders: Iterable[LiveOrder], reason: str) -> None:
        """Want orders cancelled; those never sent end at once, the others once :meth:`settle` has seen it done."""
        wanted = {order.order_id: reason for order in orders if order.cancel_reason is None}
        journal.cancel(self._pool, self._identity.portfolio_id, wanted, self._clock())

    def _drop_wrongly_sized(self, orders: Sequence[LiveOrder], report: Report) -> None:
        """End what was planned on the word of a cancel that came too late; the strategy is told, and decides again."""
        filled = {
            order.ticker
            for order in orders
            if order.cancel_reason is not None and _has_filled_since(order, report.orders.get(order.order_id))
        }
        for order in orders:
            if order.state == "planned" and order.ticker in filled:
                self._end(order, SIZED_WRONGLY)

    # Sending.

    def _try_to_send(self, order: LiveOrder) -> bool:
        """Whether the request has left (and was answered, or is in doubt); the commit before it says that it may."""
        if not journal.begin_sending(self._pool, order.order_id, self._clock(), self._guard):
            return False
        try:
            self._account.submit(_ticket(order))
        except DuplicateOrder:
            pass  # an earlier request has arrived after all: the next settle compares it with ours
        except OrderRejected as error:
            self._end(order, f"rejected: {error}"[:200])
            return True
        journal.mark_open(self._pool, order.order_id)
        return True

    def _expire(self, order: LiveOrder) -> None:
        """End an order that may not leave any more. One that is only held back (a halt) stays planned until then."""
        if order.valid_until <= self._clock():
            self._end(order, NOT_SENT_IN_TIME)

    def _resolve(self, order: LiveOrder, found: BrokerOrder | None) -> bool:
        """What became of an order whose request may have left: it is there, it is sent again, or it never was."""
        if found is not None:
            self._compare(order, found)
            if not found.is_closed:
                journal.mark_open(self._pool, order.order_id)
            return True
        if self._account.unique_client_ids and order.cancel_reason is None and self._try_to_send(order):
            return True
        waited = (self._clock() - (order.sent_at or self._clock())).total_seconds()
        is_over = order.cancel_reason is not None or order.valid_until <= self._clock()
        if is_over and waited >= self._account.in_doubt_seconds:
            self._end(order, order.cancel_reason or NOT_SENT_IN_TIME)
            return True
        return False

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
        left = order.quantity - order.filled
        ended = journal.End(order.order_id, left, reason, order.filled > 0)
        journal.end(self._pool, self._identity.portfolio_id, [ended], self._clock())
        self._on_end(order, reason)

    # Booking.

    def _place(self) -> str:
        with self._pool.connection() as connection:
            asked = {"broker": self._identity.broker, "account": self._identity.account}
            row = fetch_one(connection, "account_place", asked)
        return str(row[0]) if row else ""

    def _book(self, place: str, report: Report, orders: Sequence[LiveOrder]) -> bool:
        """Executions, their orders and how far the account is booked: one transaction."""
        known = {order.order_id: order for order in orders}
        fills = [self._fill(execution, known.get(execution.order_id)) for execution in report.executions]
        over = [order for order in orders if _is_over(report.orders.get(order.order_id))]
        if not fills and not over:
            return False

        def once() -> BookingResult:
            with self._pool.transaction(isolation="read committed") as connection:
                lock(connection, [self._identity.portfolio_id])
                result = book_in(connection, fills, self._booking_clock())
                new = [fill for fill, booked in zip(fills, result.entries, strict=True) if not booked.already]
                journal.add_fills(connection, _sums(new))
                journal.settle(connection, [_end_of(order, report) for order in over], self._clock())
                if report.place != place:
                    asked = {"broker": self._identity.broker, "account": self._identity.account}
                    execute(connection, "move_account_place", {**asked, "before": place, "place": report.place})
                return result

        result = retry(once)
        for booked in result.entries:
            if not booked.already and isinstance(booked.entry, Fill):
                self._on_fill(Filled(booked.entry, result.cash[booked.entry.portfolio_id]))
        for order in over:
            self._on_end(order, report.orders[order.order_id].reason)
        return True

    def _fill(self, execution: Execution, order: LiveOrder | None) -> Fill:
        identity = self._identity
        return Fill(
            portfolio_id=identity.portfolio_id,
            key=fill_key(identity.broker, identity.account, execution.execution_id),
            at=execution.executed_at,
            session=execution.session,
            ticker=execution.ticker,
            side=execution.side,
            quantity=execution.quantity,
            price=execution.price,
            currency=identity.base_currency,
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


def _is_over(order: BrokerOrder | None) -> bool:
    return order is not None and order.is_closed


def _has_filled_since(order: LiveOrder, found: BrokerOrder | None) -> bool:
    return found is not None and found.filled > order.filled


def _end_of(order: LiveOrder, report: Report) -> journal.End:
    """The end of an order, as the broker tells it; a cancel that we wanted keeps our reason."""
    found = report.orders[order.order_id]
    left = order.quantity - found.filled
    reason = None if left == 0 else order.cancel_reason or found.reason or "ended at the broker without a reason"
    return journal.End(order.order_id, left, reason, found.filled > 0)


def _sums(fills: Iterable[Fill]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for fill in fills:
        if fill.order_id is not None:
            sums[fill.order_id] = sums.get(fill.order_id, _ZERO) + fill.quantity
    return sums
