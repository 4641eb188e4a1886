"""Rows of ``trade_execution_logs``, and what each moves: the table of trading-rules 2, once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from framework.books.entries import Adjustment, Adopt, CashMovement, Fill, Rename, Side, Split, Transfer
from framework.books.exact import exact
from framework.books.keys import part_key, reversal_key
from framework.errors import BookingError
from framework.model.money import notional_decimal, quantity_decimal

CASH_SUFFIX = "_CASH"

_ZERO, _ONE = Decimal(0), Decimal(1)
#: Columns that tell how we saw it when we booked it, not what happened: a second report of the same may differ in them.
_NOT_CONTENT = {
    "trade": frozenset({"arrival_price", "decision_price", "slippage_bps", "fx_rate", "notional"}),
    "split": frozenset({"quantity", "side"}),
    "rename": frozenset({"quantity", "side"}),
}
_REVERSIBLE = {"trade", "deposit", "withdrawal", "dividend", "interest", "fee", "borrow", "tax", "adjustment"}
_INFINITE_BPS = Decimal("1e12")
_BPS_STEP = Decimal("1e-6")


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRow:
    """A row of ``trade_execution_logs``, named as its columns are; ``execution_id`` is the key.

    ``quantity`` and ``notional`` are ≥ 0, ``side`` gives the sign; ``notional`` and ``fees`` are in the portfolio's
    currency, prices and ``notional_local`` in ``currency``.
    """

    portfolio_id: str
    ticker: str
    exec_timestamp: datetime
    side: Side
    quantity: Decimal
    arrival_price: Decimal | None = None
    exec_price: Decimal
    slippage_bps: Decimal | None = None
    notional: Decimal
    notional_local: Decimal
    currency: str
    fx_rate: Decimal = _ONE
    kind: str
    fees: Decimal = _ZERO
    execution_id: str
    order_id: str | None = None
    for_ticker: str | None = None
    decision_price: Decimal | None = None
    note: str | None = None

    @property
    def sign(self) -> int:
        """+1 for BUY, −1 for SELL."""
        return 1 if self.side == "BUY" else -1

    @property
    def cash_change(self) -> Decimal:
        """What it adds to the cash, in the portfolio's currency."""
        if self.ticker.endswith(CASH_SUFFIX):
            return self.sign * self.notional
        if self.kind == "trade":
            return -self.sign * self.notional - self.fees
        return _ZERO

    @property
    def quantity_change(self) -> Decimal:
        """What it adds to the position in its ticker; money is no position."""
        return _ZERO if self.ticker.endswith(CASH_SUFFIX) else self.sign * self.quantity

    def differences(self, other: TradeRow) -> dict[str, tuple[Any, Any]]:
        """The columns in which two bookings of one key contradict each other, with both values.

        What follows from the moment of booking is not compared: the market and the exchange rate seen at a fill, the
        quantity that a split or rename met.
        """
        ignored = _NOT_CONTENT.get(self.kind, frozenset())
        return {
            name: (getattr(self, name), getattr(other, name))
            for name in COLUMNS
            if name not in ignored and getattr(self, name) != getattr(other, name)
        }


COLUMNS = tuple(field.name for field in fields(TradeRow))


def fill_row(entry: Fill, base_currency: str) -> TradeRow:
    """The row of a fill."""
    fx_rate = _rate(entry.currency, entry.fx_rate, base_currency, entry.key)
    local, notional = _notionals(entry.quantity, entry.price, fx_rate)
    return TradeRow(
        portfolio_id=entry.portfolio_id,
        ticker=entry.ticker,
        exec_timestamp=entry.at,
        side=entry.side,
        quantity=entry.quantity,
        arrival_price=entry.arrival_price,
        exec_price=entry.price,
        slippage_bps=_slippage_bps(entry.side, entry.price, entry.arrival_price),
        notional=notional,
        notional_local=local,
        currency=entry.currency,
        fx_rate=fx_rate,
        kind="trade",
        fees=entry.fees,
        execution_id=entry.key,
        order_id=entry.order_id,
        decision_price=entry.decision_price,
    )


def cash_row(entry: CashMovement, base_currency: str) -> TradeRow:
    """The row of a movement of money."""
    currency = entry.currency or base_currency
    fx_rate = _rate(currency, entry.fx_rate, base_currency, entry.key)
    row = _money(entry.portfolio_id, entry.key, entry.at, entry.kind, entry.amount, currency, fx_rate)
    return replace(row, for_ticker=entry.for_ticker, order_id=entry.order_id, note=entry.note)


def transfer_rows(entry: Transfer, base_currency: str) -> tuple[TradeRow, TradeRow]:
    """The two sides of a transfer, the giving one first."""
    gives = _money(
        entry.portfolio_id, part_key(entry.key, "out"), entry.at, "transfer", -entry.amount, base_currency, _ONE
    )
    gets = _money(
        entry.to_portfolio_id, part_key(entry.key, "in"), entry.at, "transfer", entry.amount, base_currency, _ONE
    )
    return replace(gives, note=entry.note), replace(gets, note=entry.note)


def split_row(entry: Split, base_currency: str, held: Decimal) -> TradeRow:
    """The row of a split of what is held; the note keeps the ratio."""
    with exact():
        change = quantity_decimal(held * entry.new / entry.old) - held
    note = f"split {entry.new.normalize():f}:{entry.old.normalize():f}"
    row = _shares(entry.portfolio_id, entry.key, entry.at, "split", entry.ticker, change, base_currency)
    return replace(row, note=note)


def rename_rows(entry: Rename, base_currency: str, held: Decimal) -> tuple[TradeRow, TradeRow]:
    """Out of the old ticker, into the new one; each row names the other in ``for_ticker``."""
    out, into = (part_key(entry.key, part) for part in ("out", "in"))
    leaves = _shares(entry.portfolio_id, out, entry.at, "rename", entry.ticker, -held, base_currency)
    comes = _shares(entry.portfolio_id, into, entry.at, "rename", entry.new_ticker, held, base_currency)
    return replace(leaves, for_ticker=entry.new_ticker), replace(comes, for_ticker=entry.ticker)


def adopt_row(entry: Adopt, base_currency: str) -> TradeRow:
    """The row of an adopted position; ``arrival_price`` carries the cost."""
    fx_rate = _rate(entry.currency, entry.fx_rate, base_currency, entry.key)
    row = _shares(entry.portfolio_id, entry.key, entry.at, "adopt", entry.ticker, entry.quantity, entry.currency)
    return replace(row, arrival_price=entry.cost, fx_rate=fx_rate, note=entry.note)


def adjustment_row(entry: Adjustment, base_currency: str) -> TradeRow:
    """The row of an adjusted quantity; ``arrival_price`` carries what a share counts for."""
    fx_rate = _rate(entry.currency, entry.fx_rate, base_currency, entry.key)
    row = _shares(entry.portfolio_id, entry.key, entry.at, "adjustment", entry.ticker, entry.change, entry.currency)
    return replace(row, arrival_price=entry.price, fx_rate=fx_rate, note=entry.note)


def reversal_row(wrong: TradeRow, at: datetime, note: str) -> TradeRow:
    """The row that takes back all that ``wrong`` did: the other side, fees and slippage negated."""
    if wrong.kind not in _REVERSIBLE or (wrong.kind == "adjustment" and not wrong.ticker.endswith(CASH_SUFFIX)):
        raise BookingError(
            f"the entry {wrong.execution_id!r} is a {wrong.kind} of {wrong.ticker}, which cannot be reversed; "
            "undo a transfer by a transfer back, a changed quantity by an adjustment. Nothing was booked."
        )
    return replace(
        wrong,
        exec_timestamp=at,
        side="SELL" if wrong.side == "BUY" else "BUY",
        fees=-wrong.fees,
        slippage_bps=None if wrong.slippage_bps is None else -wrong.slippage_bps,
        execution_id=reversal_key(wrong.execution_id),
        note=note,
    )


def _money(
    portfolio_id: str, key: str, at: datetime, kind: str, amount: Decimal, currency: str, fx_rate: Decimal
) -> TradeRow:
    local, notional = _notionals(abs(amount), _ONE, fx_rate)
    return TradeRow(
        portfolio_id=portfolio_id,
        ticker=f"{currency}{CASH_SUFFIX}",
        exec_timestamp=at,
        side="BUY" if amount > 0 else "SELL",
        quantity=abs(amount),
        exec_price=_ONE,
        notional=notional,
        notional_local=local,
        currency=currency,
        fx_rate=fx_rate,
        kind=kind,
        execution_id=key,
    )


def _shares(
    portfolio_id: str, key: str, at: datetime, kind: str, ticker: str, change: Decimal, currency: str
) -> TradeRow:
    """A quantity that changes without money."""
    return TradeRow(
        portfolio_id=portfolio_id,
        ticker=ticker,
        exec_timestamp=at,
        side="SELL" if change < 0 else "BUY",
        quantity=abs(change),
        exec_price=_ZERO,
        notional=_ZERO,
        notional_local=_ZERO,
        currency=currency,
        kind=kind,
        execution_id=key,
    )


def _notionals(quantity: Decimal, price: Decimal, fx_rate: Decimal) -> tuple[Decimal, Decimal]:
    """quantity × price, and that × fx_rate; each rounded once."""
    with exact():
        local = notional_decimal(quantity, price)
        return local, local if fx_rate == _ONE else notional_decimal(local, fx_rate)


def _rate(currency: str, given: Decimal | None, base_currency: str, key: str) -> Decimal:
    """The rate to the portfolio's currency: 1 for its own, stated for any other."""
    if currency == base_currency:
        if given not in (None, _ONE):
            raise BookingError(
                f"the entry {key!r} is in {currency}, the portfolio's own currency, but its fx_rate was {given}; "
                "leave it out. Nothing was booked."
            )
        return _ONE
    if given is None:
        raise BookingError(
            f"the entry {key!r} is in {currency}, the portfolio in {base_currency}, and no fx_rate was given; "
            f"give {base_currency} per {currency}. Nothing was booked."
        )
    return given


def _slippage_bps(side: Side, price: Decimal, arrival: Decimal | None) -> Decimal | None:
    """Hundredths of a percent that the price was worse than on arrival, to 1e-6; negative: better."""
    if not arrival:
        return None
    with exact():
        worse = (price - arrival) if side == "BUY" else (arrival - price)
        bps = (worse / arrival * 10_000).quantize(_BPS_STEP)
    return bps if abs(bps) < _INFINITE_BPS else None
