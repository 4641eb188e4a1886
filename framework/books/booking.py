"""One booking as it is worked out: accounts as they were read, and the rows that the entries make of them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from framework.books import checks, rows
from framework.books.entries import Adjustment, Adopt, CashMovement, Correction, Entry, Fill, Rename, Split, Transfer
from framework.books.open import Identity
from framework.books.rows import TradeRow
from framework.errors import BookingError, IdempotencyConflict, InsufficientCash

#: A last booking so far ahead of the clock is no rounding of clocks: the clock was set back.
STEPPED_BACK = timedelta(seconds=5)

_TICK = timedelta(microseconds=1)
_ZERO = Decimal(0)
_LIMIT = Decimal("1e18")

Dated = tuple[TradeRow, date]


@dataclass(slots=True)
class Account:
    """A portfolio while entries are booked into it.

    Attributes:
        clock: the engine's moment, or the server's.
        last_booked_at: latest booking time in any of its books.
        cash: balance so far.
        positions: quantities so far of the tickers concerned; one that is missing was never held.
        stepped_back: whether the last booking was further ahead of the clock than clocks differ.
        reserved: of the cash, what open buys have spoken for.
    """

    portfolio_id: str
    base_currency: str
    clock: datetime
    last_booked_at: datetime | None
    cash: Decimal
    positions: dict[str, Decimal]
    reserved: Decimal = _ZERO
    stepped_back: bool = field(init=False)

    def __post_init__(self) -> None:
        self.stepped_back = self.last_booked_at is not None and self.last_booked_at - self.clock > STEPPED_BACK

    def next_time(self) -> datetime:
        """The clock, or just after the last booking where the clock is not past it."""
        if self.last_booked_at is None:
            return self.clock
        return max(self.clock, self.last_booked_at + _TICK)


@dataclass(frozen=True, slots=True)
class Step:
    """A trade row with what it leaves.

    Attributes:
        balance: cash afterwards; ``None``: it moves none.
        held: quantity of its ticker afterwards; ``None``: it moves none.
    """

    row: TradeRow
    session: date
    booked_at: datetime
    base_currency: str
    balance: Decimal | None
    held: Decimal | None


@dataclass(frozen=True, slots=True)
class Made:
    """An entry with the keys of its rows, and whether they were in the books before."""

    entry: Entry
    already: bool
    keys: tuple[str, ...]


@dataclass(slots=True)
class Booking:
    """Entries on their way into the books; :attr:`steps` is what has to be inserted.

    Args:
        accounts: by portfolio id, as read under the lock.
        known: rows that hold a key which some entry looks for, with their ids; grows with every entry.
        owners: whose books the portfolios of a transfer are, by id; without transfers nobody asks.
    """

    accounts: dict[str, Account]
    known: dict[str, tuple[int | None, TradeRow]]
    owners: Mapping[str, Identity] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)

    def reserve(self, reserved: Mapping[str, Decimal]) -> None:
        """Take note of the cash that open buys have spoken for."""
        for account in self.accounts.values():
            account.reserved = reserved.get(account.portfolio_id, _ZERO)

    def add(self, entry: Entry) -> None:
        """Work out one entry on what those before it have left.

        Raises:
            IdempotencyConflict, InsufficientCash, BookingError: see :func:`framework.books.ledger.book`.
        """
        if isinstance(entry, Transfer):
            _require_same_money(entry, self.owners[entry.portfolio_id], self.owners[entry.to_portfolio_id])
        dated = self._rows(entry)
        keys = tuple(row.execution_id for row, _ in dated)
        already = self._already(dated)
        self.made.append(Made(entry, already, keys))
        if already:
            return
        for row, session in dated:
            self._apply(row, session)
        if isinstance(entry, Transfer) or (isinstance(entry, CashMovement) and entry.kind == "withdrawal"):
            self._require_cash(entry, dated[0][0])

    def id_of(self, key: str, inserted: Mapping[str, int]) -> int:
        """The id of the row with this key, of before or inserted now."""
        row_id = self.known[key][0]
        return inserted[key] if row_id is None else row_id

    def _rows(self, entry: Entry) -> tuple[Dated, ...]:
        """The trade rows of an entry, each with its session."""
        account = self.accounts[entry.portfolio_id]
        if isinstance(entry, Correction):
            return self._correction_rows(entry)
        return tuple((row, entry.session) for row in _rows_of(entry, account, self.accounts))

    def _correction_rows(self, entry: Correction) -> tuple[Dated, ...]:
        if entry.key not in self.known:
            raise BookingError(
                f"no fill or movement of money is booked under the key {entry.key!r}, so it cannot be corrected; "
                "a transfer is undone by a transfer back. Nothing was booked."
            )
        wrong = self.known[entry.key][1]
        checks.same(f"the portfolio_id of a correction of {entry.key!r}", entry.portfolio_id, wrong.portfolio_id)
        replaced = "nothing" if entry.right is None else entry.right.key
        reversal = rows.reversal_row(wrong, entry.at, f"replaced by {replaced}; {entry.note or ''}".strip("; "))
        if entry.right is None:
            return ((reversal, entry.session),)
        return (reversal, entry.session), *self._rows(entry.right)

    def _already(self, dated: Sequence[Dated]) -> bool:
        """Whether all of these rows are in the books; some only, or others under their keys, is a conflict."""
        found = [self.known.get(row.execution_id) for row, _ in dated]
        if not any(found):
            return False
        for (row, _), booked in zip(dated, found, strict=True):
            if booked is None:
                raise _conflict(row.execution_id, {"booked": ("not at all, only other parts of it", "this part")})
            if differences := booked[1].differences(row):
                raise _conflict(row.execution_id, differences)
        return True

    def _apply(self, row: TradeRow, session: date) -> None:
        account = self.accounts[row.portfolio_id]
        booked_at = account.next_time()
        balance = held = None
        if change := row.cash_change:
            balance = account.cash = _bounded(account.cash + change, f"cash of portfolio {account.portfolio_id!r}")
        if change := row.quantity_change:
            before = account.positions.get(row.ticker, _ZERO)
            held = _bounded(before + change, f"{row.ticker} of portfolio {account.portfolio_id!r}")
            account.positions[row.ticker] = held
        account.last_booked_at = booked_at
        self.steps.append(Step(row, session, booked_at, account.base_currency, balance, held))
        self.known[row.execution_id] = (None, row)

    def _require_cash(self, entry: Transfer | CashMovement, row: TradeRow) -> None:
        """Refuse an intent, whose row is applied, where it took more than was free."""
        account = self.accounts[entry.portfolio_id]
        if account.cash - account.reserved < 0:
            what = "transfer" if isinstance(entry, Transfer) else "withdrawal"
            before = account.cash + row.notional
            taken, cash, reserved, free = (
                f"{value.normalize():f}"
                for value in (row.notional, before, account.reserved, before - account.reserved)
            )
            raise InsufficientCash(
                f"the {what} {entry.key!r} takes {taken} {account.base_currency} from portfolio "
                f"{entry.portfolio_id!r}, whose free cash is {free} (cash {cash}, of which {reserved} is reserved by "
                "open buys); take less, or free cash first. Nothing was booked."
            )


def _rows_of(
    entry: Fill | CashMovement | Transfer | Split | Rename | Adopt | Adjustment,
    account: Account,
    accounts: Mapping[str, Account],
) -> Iterable[TradeRow]:
    """What trading-rules 2 makes of each kind of entry."""
    base = account.base_currency
    match entry:
        case Fill():
            return (rows.fill_row(entry, base),)
        case CashMovement():
            return (rows.cash_row(entry, base),)
        case Transfer():
            other = accounts[entry.to_portfolio_id].base_currency
            if other != base:
                raise BookingError(
                    f"the transfer {entry.key!r} goes from portfolio {entry.portfolio_id!r} in {base} to "
                    f"{entry.to_portfolio_id!r} in {other}; withdraw and add with a stated rate. Nothing was booked."
                )
            return rows.transfer_rows(entry, base)
        case Split():
            return (rows.split_row(entry, base, account.positions.get(entry.ticker, _ZERO)),)
        case Rename():
            return rows.rename_rows(entry, base, account.positions.get(entry.ticker, _ZERO))
        case Adopt():
            return (rows.adopt_row(entry, base),)
        case Adjustment():
            return (rows.adjustment_row(entry, base),)


def _require_same_money(entry: Transfer, gives: Identity, gets: Identity) -> None:
    """Refuse to move money between modes, or between accounts with real money: that takes the brokers."""
    ends = f"the transfer {entry.key!r} goes from portfolio {gives.portfolio_id!r}"
    if gives.mode != gets.mode:
        raise BookingError(
            f"{ends}, which is {gives.mode}, to {gets.portfolio_id!r}, which is {gets.mode}; paper money never becomes "
            "real, nor real money paper: transfer between portfolios of one mode. Nothing was booked."
        )
    if gives.mode == "live" and (gives.broker, gives.account) != (gets.broker, gets.account):
        raise BookingError(
            f"{ends} in account {gives.account!r} of broker {gives.broker!r} to {gets.portfolio_id!r} in account "
            f"{gets.account!r} of {gets.broker!r}; the books cannot move money between accounts: move it at the "
            "brokers, withdraw it here and add it there (engine capital withdraw, add). Nothing was booked."
        )


def _bounded(value: Decimal, what: str) -> Decimal:
    """A sum that its column can hold; below the limit sums are exact."""
    if not -_LIMIT < value < _LIMIT:
        raise BookingError(f"{what} would be {value:.3E}; the books hold less than {_LIMIT}. Nothing was booked.")
    return value


def _conflict(key: str, differences: Mapping[str, tuple[Any, Any]]) -> IdempotencyConflict:
    """Says what is in the books and what was offered."""
    shown = ", ".join(
        f"{name} {_shown(booked)} (offered: {_shown(new)})" for name, (booked, new) in differences.items()
    )
    return IdempotencyConflict(
        f"the key {key!r} is in the books with other content: {shown}. Nothing was booked; if both happened, give the "
        "new one a key of its own; if the booked one was wrong, book a correction."
    )


def _shown(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S.%f%z}" if isinstance(value, datetime) else str(value)
