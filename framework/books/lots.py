"""FIFO lots: what was earned, what is held at which cost, and where a portfolio's profit comes from.

Rows are taken in booking order, one after the other, so that going on from yesterday's lots gives what starting from
zero would. realised + unrealised + income − costs = equity − money put in, exactly: money is in whole micros, and
a part of a lot takes its share of the cost rounded to one, while the rest of the lot keeps the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from framework.books.exact import exact
from framework.books.keys import part_key
from framework.books.rows import CASH_SUFFIX, TradeRow
from framework.errors import DataError

_ZERO, _ONE = Decimal(0), Decimal(1)
_MICRO_STEP, _NANO_STEP = Decimal("1e-6"), Decimal("1e-9")
#: Kinds by which money (or what it bought) comes and goes without being profit.
_FLOWS = {"deposit", "withdrawal", "transfer", "adopt"}
_COSTS = {"fee", "borrow", "tax"}
_INTO = part_key("", "in")


@dataclass(slots=True)
class Lot:
    """Shares bought (or sold short) at once.

    Attributes:
        quantity: what is left of them, signed.
        cost: what that cost, in the portfolio's currency, with the sign of the quantity.
        opened: id of the trade row that opened it; lots are in this order.
    """

    quantity: Decimal
    cost: Decimal
    opened: int


class Closed(NamedTuple):
    """A lot, or a part of one, that a later row has closed; money in the portfolio's currency.

    Attributes:
        ticker: under which it was held then.
        quantity: of what was closed, with the sign of the lot.
        cost: what that had cost, with the sign of the quantity.
        value: what closing it brought (paid, for a short), with the sign of the quantity; value − cost is the profit.
        opened, closed: ids of the trade rows.
    """

    ticker: str
    quantity: Decimal
    cost: Decimal
    value: Decimal
    opened: int
    closed: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A price to value a position at: per share, in the instrument's currency, and its rate to the portfolio's."""

    price: Decimal
    fx_rate: Decimal = _ONE


@dataclass(frozen=True, slots=True)
class Profit:
    """A portfolio's profit since it was opened, and its parts; all in its currency.

    realised + unrealised + income − costs = notional = equity − money in.
    """

    equity: Decimal
    notional: Decimal
    realised: Decimal
    unrealised: Decimal
    income: Decimal
    costs: Decimal


@dataclass(slots=True)
class Lots:
    """The open lots of one portfolio and the sums so far; grows with :meth:`apply`. For one thread.

    Attributes:
        last_id: of the last trade row taken in.
        cash: replayed balance.
        money_in: deposits − withdrawals ± transfers + adopted money and positions at cost.
        realised: by closing lots, before fees.
        income: dividends, interest received, adjustments in the portfolio's favour.
        costs: trading fees, other fees, borrow, tax, interest paid, adjustments against the portfolio.
        open: lots per ticker, oldest first; a ticker that is flat is missing.
        on_close: is told of each lot, or part of one, that is closed; together their profits are ``realised``.
    """

    last_id: int = 0
    cash: Decimal = _ZERO
    money_in: Decimal = _ZERO
    realised: Decimal = _ZERO
    income: Decimal = _ZERO
    costs: Decimal = _ZERO
    open: dict[str, deque[Lot]] = field(default_factory=dict)
    on_close: Callable[[Closed], None] | None = None

    def apply(self, row_id: int, row: TradeRow) -> None:
        """Take in the next row of the portfolio.

        Raises:
            ValueError: rows don't come in booking order.
        """
        if row_id <= self.last_id:
            raise ValueError(f"trade row {row_id} came after {self.last_id}; give rows in order of id, each once")
        self.last_id = row_id
        with exact():
            self._take(row, row_id)

    def _take(self, row: TradeRow, row_id: int) -> None:
        self.cash += row.cash_change
        if row.ticker.endswith(CASH_SUFFIX):
            self._money(row)
        elif row.kind == "trade":
            self.costs += row.fees
            self.trade(row.ticker, row.quantity_change, row.sign * row.notional, row_id)
        elif row.kind == "split":
            self.split(row.ticker, row.quantity_change, row_id)
        elif row.kind == "rename":
            self._rename(row, row_id)
        else:
            self._in_kind(row, row_id)

    def quantities(self) -> dict[str, Decimal]:
        """What is held, signed, per ticker that is not flat."""
        return {ticker: sum((lot.quantity for lot in lots), _ZERO) for ticker, lots in self.open.items()}

    def profit(self, marks: Mapping[str, Mark]) -> Profit:
        """The profit with what is held valued at ``marks``.

        Raises:
            DataError: a held ticker has no mark.
        """
        with exact():
            worth = [_value(ticker, quantity, marks) for ticker, quantity in self.quantities().items()]
            value = sum(worth, _ZERO)
            cost = sum((lot.cost for lots in self.open.values() for lot in lots), _ZERO)
            equity = self.cash + value
            return Profit(equity, equity - self.money_in, self.realised, value - cost, self.income, self.costs)

    def _money(self, row: TradeRow) -> None:
        amount = row.cash_change
        if row.kind in _FLOWS:
            self.money_in += amount
        elif row.kind in _COSTS or (row.kind != "dividend" and amount < 0):
            self.costs -= amount
        else:
            self.income += amount

    def _in_kind(self, row: TradeRow, row_id: int) -> None:
        """Shares adopted (money in) or adjusted (profit or loss), at what the row says a share counts for."""
        worth = _rounded(row.quantity_change, (row.arrival_price or _ZERO) * row.fx_rate)
        if row.kind == "adopt":
            self.money_in += worth
        else:
            self.income += worth
        self.trade(row.ticker, row.quantity_change, worth, row_id)

    def trade(self, ticker: str, quantity: Decimal, value: Decimal, row_id: int, opened: int | None = None) -> None:
        """Close opposite lots, oldest first, then open one with the rest; cash and costs stay as they are.

        Args:
            ticker: of the shares.
            quantity: signed.
            value: what they cost or brought, in the portfolio's currency, with the sign of ``quantity``.
            row_id: of the trade row.
            opened: of the row that opened what is left as a lot, if not this one.
        """
        lots = self.open.setdefault(ticker, deque())
        rest = whole = abs(quantity)
        given = _ZERO
        while rest and lots and (lots[0].quantity > 0) != (quantity > 0):
            lot = lots[0]
            taken = min(rest, abs(lot.quantity))
            cost = _share(lot.cost, taken, abs(lot.quantity))
            rest -= taken
            # Cumulated, so that the parts add up to the whole whatever is rounded.
            upto = _share(value, whole - rest, whole)
            self._close(Closed(ticker, taken.copy_sign(lot.quantity), cost, given - upto, lot.opened, row_id))
            given = upto
            lot.cost -= cost
            lot.quantity -= taken.copy_sign(lot.quantity)
            if not lot.quantity:
                lots.popleft()
        value -= given
        if rest:
            lots.append(Lot(rest.copy_sign(quantity), value, row_id if opened is None else opened))
        elif not lots:
            del self.open[ticker]

    def split(self, ticker: str, change: Decimal, row_id: int) -> None:
        """Rescale the lots to the new total; cost and cash stay what they were.

        Args:
            ticker: of the shares.
            change: signed, of all that is held.
            row_id: of the trade row.
        """
        lots = self.open.pop(ticker, None)
        if lots is None:
            return
        before = sum((lot.quantity for lot in lots), _ZERO)
        after = before + change
        kept: deque[Lot] = deque()
        seen = given = cost = _ZERO
        for lot in lots:
            seen += lot.quantity
            cost += lot.cost
            # Cumulated, so that the parts add up to the whole whatever is rounded.
            upto = _share(after, seen, before, _NANO_STEP)
            if upto != given:
                kept.append(Lot(upto - given, cost, lot.opened))
                given, cost = upto, _ZERO
        if kept:
            kept[-1].cost += cost
            self.open[ticker] = kept
        else:
            self._close(Closed(ticker, before, cost, _ZERO, lots[0].opened, row_id))  # nothing is left of it

    def _close(self, closed: Closed) -> None:
        self.realised += closed.value - closed.cost
        if self.on_close is not None:
            self.on_close(closed)

    def _rename(self, row: TradeRow, row_id: int) -> None:
        """Move the lots when the row of the new ticker comes; what meets opposite lots there closes them at cost."""
        if row.for_ticker is None or not is_into(row):
            return
        for lot in self.open.pop(row.for_ticker, ()):
            self.trade(row.ticker, lot.quantity, lot.cost, row_id, lot.opened)
        if row.ticker in self.open:
            self.open[row.ticker] = deque(sorted(self.open[row.ticker], key=lambda lot: lot.opened))


def is_into(row: TradeRow) -> bool:
    """Of the two rows of a rename: whether it is that of the new ticker."""
    return row.execution_id.endswith(_INTO)


def replay(rows: Iterable[tuple[int, TradeRow]]) -> Lots:
    """The lots that a portfolio's trade rows, with their ids and in booking order, lead to."""
    lots = Lots()
    for row_id, row in rows:
        lots.apply(row_id, row)
    return lots


def _value(ticker: str, quantity: Decimal, marks: Mapping[str, Mark]) -> Decimal:
    if ticker not in marks:
        raise DataError(
            f"{ticker} is held ({quantity}) and no price was given to value it at; give its last close, however old, "
            "and flag it stale"
        )
    mark = marks[ticker]
    if not (mark.price.is_finite() and mark.fx_rate.is_finite() and mark.price >= 0 and mark.fx_rate > 0):
        raise DataError(
            f"{ticker} cannot be valued at {mark.price} × {mark.fx_rate}; "
            "a price is finite and at least 0, a rate above 0"
        )
    return _rounded(quantity, mark.price * mark.fx_rate)


def _rounded(quantity: Decimal, price: Decimal) -> Decimal:
    return (quantity * price).quantize(_MICRO_STEP, ROUND_HALF_EVEN)


def _share(whole: Decimal, part: Decimal, of: Decimal, step: Decimal = _MICRO_STEP) -> Decimal:
    """whole × part / of, rounded; all of it is all of it, unrounded."""
    if part == of:
        return whole
    return (whole * part / of).quantize(step, ROUND_HALF_EVEN)
