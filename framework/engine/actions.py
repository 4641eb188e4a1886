"""Splits and dividends of a live portfolio: booked by the engine itself, on prices as traded (trading-rules 3 and 8).

An action is due when the first bar of its ticker on or after the ex-date is known: with that bar prices are of the new
shares, and until then all is valued, decided and filled at prices of the old ones. It is booked before that bar trades,
is valued or is decided on, so shares and prices always go together. Adjusted prices take effect at the same bar
(:mod:`framework.data.adjust`). A split comes before a dividend of the same day, which is paid on the shares of that
day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from typing import TypeAlias

from framework.books import journal
from framework.books.entries import CashMovement, Split
from framework.books.exact import exact
from framework.books.keys import dividend_key, split_key
from framework.books.ledger import book_in, lock
from framework.books.open import Identity
from framework.books.reads import rows_by_key
from framework.data.coming import Coming
from framework.data.window import Market
from framework.db.market import read_corporate_actions
from framework.db.pool import Pool
from framework.db.queries import Row, execute, fetch_all, fetch_one
from framework.db.retry import retry
from framework.db.types import Connection
from framework.errors import BookingError
from framework.model.bars import CorporateAction
from framework.model.money import notional_decimal
from framework.trading.splits import NOTHING_LEFT, ratio_of, split_price

#: A ticker's currency, and its rate at a moment where that is not the portfolio's.
RateOf: TypeAlias = Callable[[str, datetime], tuple[str, Decimal | None]]

#: A source moves an ex-date by no more.
_MOVED_DAYS = 20


@dataclass(frozen=True)
class _Due:
    """An action with the session that it takes effect with, and when that opens."""

    action: CorporateAction
    session: date
    at: datetime

    @property
    def ticker(self) -> str:
        return self.action.ticker


class Actions:
    """The corporate actions of one portfolio.

    Args:
        pool: of the books.
        identity: of the portfolio.
        tickers: whose actions.
        source: of the actions; ``None``: prices are adjusted for them, and nothing is due ever.
        coming: the calendar.
        lots_per_share: what orders are cut to.
        clock: the engine's moment, for orders that end.
        booking_clock: the ledger's; gives ``None`` for the database's.
        rate_of: for dividends.
        on_act: is told what was booked, in words.
    """

    def __init__(
        self,
        pool: Pool,
        identity: Identity,
        tickers: Sequence[str],
        source: str | None,
        coming: Coming,
        lots_per_share: float,
        clock: Callable[[], datetime],
        booking_clock: Callable[[], datetime | None],
        rate_of: RateOf,
        on_act: Callable[[str], None],
    ) -> None:
        self._pool, self._identity, self._tickers, self._source = pool, identity, list(tickers), source
        self._coming, self._lot = coming, 1 / Decimal(int(lots_per_share))
        self._clock, self._booking_clock, self._rate_of, self._on_act = clock, booking_clock, rate_of, on_act
        #: Those that need not be looked at again.
        self._done: set[CorporateAction] = set()

    def due(self, connection: Connection, market: Market) -> tuple[CorporateAction, ...]:
        """The oldest actions that are not booked yet, all of one ex-date.

        Args:
            connection: to the books.
            market: what is known now.
        """
        if self._source is None:
            return ()
        asked = {"portfolio_id": self._identity.portfolio_id, "source": self._source, "tickers": self._tickers}
        rows = (CorporateAction(*row) for row in fetch_all(connection, "actions_since_opened", asked))
        new = [each for each in rows if each not in self._done]
        newest = market.last_sessions({each.ticker for each in new})
        keys = {each: self._key(each) for each in new if each.ex_date <= newest.get(each.ticker, date.min)}
        booked = rows_by_key(connection, list(keys.values()))
        self._done.update(each for each, key in keys.items() if key in booked)
        left = [each for each in keys if each not in self._done]
        return tuple(each for each in left if each.ex_date == left[0].ex_date)

    def book(self, actions: Sequence[CorporateAction]) -> bool:
        """Book actions that are due, each in a transaction of its own; orders filled before them must be booked.

        Returns:
            whether all are booked; not, where the broker has filled more of an order than is booked: settle first.

        Raises:
            BookingError: a split became known too late, or a rate is missing.
        """
        for action in actions:
            due = _Due(action, *self._coming.opening(action.ex_date))
            once = self._split if action.kind == "split" else self._dividend
            text = self._in_transaction(once, due)
            if text is None:
                return False
            self._done.add(action)
            if text:
                self._on_act(text)
        return True

    def _key(self, action: CorporateAction) -> str:
        make = split_key if action.kind == "split" else dividend_key
        return make(action.ticker, action.ex_date, self._identity.portfolio_id)

    def _in_transaction(self, work: Callable[[Connection, _Due], str | None], due: _Due) -> str | None:
        """Under the portfolio's lock, once; "" where there is nothing to do."""

        def once() -> str | None:
            with self._pool.transaction(isolation="read committed") as connection:
                lock(connection, [self._identity.portfolio_id])
                if rows_by_key(connection, [self._key(due.action)]):
                    return ""
                self._refuse_moved(connection, due)
                return work(connection, due)

        return retry(once)

    def _refuse_moved(self, connection: Connection, due: _Due) -> None:
        """Refuse an action that may be a booked one whose day its source has changed: it would be booked twice."""
        action = due.action
        assert self._source is not None, "without a source nothing is due"
        stated = {
            each.ex_date
            for each in read_corporate_actions(connection, self._source, [action.ticker])
            if each.kind == action.kind
        }
        near = [action.ex_date + timedelta(days=n) for n in range(-_MOVED_DAYS, _MOVED_DAYS + 1)]
        keys = {self._key(replace(action, ex_date=day)): day for day in near if day not in stated}
        for key in rows_by_key(connection, list(keys)):
            raise BookingError(
                f"portfolio {self._identity.portfolio_id}: the {action.kind} of {action.ticker} of {keys[key]} is "
                f"booked; its source states it no longer, but one of {action.ex_date} ({_plain(action.value)}). Where "
                "it is the same, set is_ignored of the new row of corporate_actions; where it is another, add the old "
                "one there again"
            )

    def _held(self, connection: Connection, due: _Due) -> tuple[Decimal, bool]:
        """Shares held when the session opened, after splits of the day; whether shares have come or gone since."""
        asked = {"portfolio_id": self._identity.portfolio_id, "ticker": due.ticker, "at": due.at}
        row = fetch_one(connection, "shares_at", asked)
        assert row is not None, "it is a sum"
        return row[0], row[1]

    # Dividends.

    def _dividend(self, connection: Connection, due: _Due) -> str:
        held, _ = self._held(connection, due)
        with exact():
            amount = notional_decimal(held, due.action.value)
        if not amount:
            return ""
        currency, fx_rate = self._rate_of(due.ticker, due.at)
        entry = CashMovement(
            portfolio_id=self._identity.portfolio_id,
            key=self._key(due.action),
            at=due.at,
            session=due.session,
            kind="dividend" if amount > 0 else "adjustment",
            amount=amount,
            currency=currency,
            fx_rate=fx_rate,
            for_ticker=due.ticker,
            note=None if amount > 0 else f"dividend of {due.ticker} on shares sold short",
        )
        book_in(connection, [entry], self._booking_clock())
        paid = f"{amount:,.2f} {currency} for {_plain(held)} shares"
        return f"dividend of {due.ticker} of {due.action.ex_date}: {paid}"

    # Splits.

    def _split(self, connection: Connection, due: _Due) -> str | None:
        held, has_moved = self._held(connection, due)
        if has_moved and held:
            raise self._too_late(due, held)
        if has_moved:
            return ""  # what is held was bought since, as new shares
        orders = self._orders(connection, due)
        if orders is None:
            return None
        ratio = ratio_of(due.action)
        entry = Split(
            portfolio_id=self._identity.portfolio_id,
            key=self._key(due.action),
            at=due.at,
            session=due.session,
            ticker=due.ticker,
            new=Decimal(ratio.numerator),
            old=Decimal(ratio.denominator),
        )
        book_in(connection, [entry], self._booking_clock())
        changes = [_rescaled(order, ratio, self._lot) for order in orders]
        self._rewrite(connection, [each for each in changes if each.is_left])
        self._end(connection, [each for each in changes if not each.is_left])
        words = "".join(f"; {each.words}" for each in changes)
        return f"{due.ticker} split {ratio.numerator} for {ratio.denominator} on {due.action.ex_date}{words}"

    def _orders(self, connection: Connection, due: _Due) -> list[_Order] | None:
        """Orders of old shares that may still trade; ``None``: what they have filled is not booked yet.

        Without a bar on the day, prices and orders are of old shares until the next.

        The journal's rows are locked first, so that a request of one of them has left by now, or leaves no more.
        """
        # A daily bar is named by its day, others by when they begin.
        begins = datetime.combine(due.session, time(), UTC) if self._coming.is_daily else due.at
        asked = {"portfolio_id": self._identity.portfolio_id, "ticker": due.ticker, "from": begins}
        asked |= {"source": self._source, "bar_interval": self._coming.interval}
        orders = [_Order(*row) for row in fetch_all(connection, "lock_orders_before", asked)]
        ids = [order.order_id for order in orders]
        at_broker = {row[0]: row for row in self._paper_orders(connection, ids)}
        for order in orders:
            if order.order_id in at_broker:
                *_, filled, is_closed, _ = at_broker[order.order_id]
                if filled != order.filled or is_closed:
                    return None
        return orders

    def _paper_orders(self, connection: Connection, order_ids: list[str]) -> list[Row]:
        asked = {"account": self._identity.account, "order_ids": order_ids}
        return fetch_all(connection, "paper_orders", asked) if order_ids else []

    def _rewrite(self, connection: Connection, changes: Sequence[_Change]) -> None:
        if changes:
            asked = {
                "order_ids": [each.order.order_id for each in changes],
                "quantities": [each.quantity for each in changes],
                "limit_prices": [each.limit_price for each in changes],
                "stop_prices": [each.stop_price for each in changes],
                "decision_prices": [each.decision_price for each in changes],
            }
            execute(connection, "split_orders", asked)
            execute(connection, "paper_split", asked)

    def _end(self, connection: Connection, changes: Sequence[_Change]) -> None:
        for each in changes:
            order = each.order
            execute(connection, "paper_cancel", {"account": self._identity.account, "order_id": order.order_id})
            end = journal.End(order.order_id, order.quantity - order.filled, NOTHING_LEFT, order.filled > 0)
            journal.settle(connection, [end], self._clock())

    def _too_late(self, due: _Due, held: Decimal) -> BookingError:
        split, portfolio_id = due.action, self._identity.portfolio_id
        return BookingError(
            f"portfolio {portfolio_id} held {_plain(held)} {split.ticker} when it was split on {split.ex_date} "
            f"({_plain(split.value)} for 1), and has traded it since, while the split is not in its books: it became "
            "known too late to tell which shares are old and which new, and nothing is guessed. Nothing was done. If "
            "there was no such split, set is_ignored of its row of corporate_actions; else begin anew under another "
            "portfolio id (the old books stay as they are)"
        )


@dataclass(frozen=True, slots=True)
class _Order:
    """A row of the journal; numbers of old shares."""

    order_id: str
    side: str
    quantity: Decimal
    filled: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    decision_price: Decimal | None


@dataclass(frozen=True, slots=True)
class _Change:
    """What a split makes of an order: what has filled stays as it was, the rest is of new shares."""

    order: _Order
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    decision_price: Decimal | None
    lost: Decimal

    @property
    def is_left(self) -> bool:
        """Whether anything may still trade."""
        return self.quantity > self.order.filled

    @property
    def words(self) -> str:
        """For people."""
        order, lost = self.order, f" (a lot is cut: {_plain(self.lost)} less)" if self.lost else ""
        rest = f"order {order.side} {_plain(order.quantity - order.filled)}"
        if not self.is_left:
            return f"{rest} ended: {NOTHING_LEFT}"
        return f"{rest} is of {_plain(self.quantity - order.filled)} now{lost}"


def _rescaled(order: _Order, ratio: Fraction, lot: Decimal) -> _Change:
    def price(before: Decimal | None) -> Decimal | None:
        return None if before is None else split_price(before, ratio)

    with exact():
        whole = (order.quantity - order.filled) * ratio.numerator / ratio.denominator
        rest = (whole / lot).to_integral_value(ROUND_DOWN) * lot
        prices = price(order.limit_price), price(order.stop_price), price(order.decision_price)
        return _Change(order, order.filled + rest, *prices, lost=whole - rest)


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
