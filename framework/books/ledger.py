"""The ledger: the one way into the books. Nothing else writes trades, cash or positions.

A booking is one transaction: lock the portfolios in order of id, read their latest state, check, insert. Intents
(withdrawals, transfers) are refused when free cash would fall below zero; facts are always booked, and a balance below
zero is flagged. Booking time only moves forward within a portfolio, whatever the clocks do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from framework.books import checks
from framework.books.booking import Booking, Step
from framework.books.entries import Correction, Entry, Rename, Transfer
from framework.books.exact import exact
from framework.books.keys import part_key, reversal_key
from framework.books.open import Identity, read_identities
from framework.books.reads import Clock, lock, read_locked, rows_by_key
from framework.books.rows import COLUMNS
from framework.db.pool import Pool
from framework.db.queries import run
from framework.db.retry import retry
from framework.db.types import Connection
from framework.errors import DatabaseConflict

__all__ = ["Booked", "BookingResult", "Reserved", "book", "book_in", "lock"]

log = logging.getLogger(__name__)

#: Cash that open buys of a portfolio have spoken for, per portfolio; asked under the lock of the portfolios.
Reserved: TypeAlias = Callable[[Connection, Sequence[str]], Mapping[str, Decimal]]


@dataclass(frozen=True, slots=True)
class Booked:
    """What became of one entry.

    Attributes:
        entry: as given.
        already: it was in the books before, with the same content; nothing has changed.
        trade_ids: of its rows in ``trade_execution_logs``.
    """

    entry: Entry
    already: bool
    trade_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BookingResult:
    """What one call has booked.

    Attributes:
        entries: one item per entry, in their order.
        cash: balance afterwards of every portfolio concerned, in its currency.
        overdrawn: the portfolios whose cash is below zero now; they take no new buys until it is not.
        clock_stepped_back: the portfolios whose last booking was more than 5 s ahead of the clock.
    """

    entries: tuple[Booked, ...]
    cash: Mapping[str, Decimal]
    overdrawn: tuple[str, ...]
    clock_stepped_back: tuple[str, ...]


_NOTHING = BookingResult((), {}, (), ())


def book(
    pool: Pool, entries: Iterable[Entry], clock: Clock = None, *, reserved: Reserved | None = None
) -> BookingResult:
    """Book entries in one transaction, in order: all of them or none; what is in the books already is left as it is.

    A lost connection or a deadlock is tried again: keys make that safe. What was committed just before the connection
    was lost then counts as booked already.

    Args:
        pool: one connection is held meanwhile.
        entries: see :mod:`framework.books.entries`.
        clock: the engine's moment (aware), or one for each portfolio that has its own; ``None``: the database's clock.
        reserved: tells what open buys have spoken for; ``None``: nothing.

    Raises:
        InsufficientCash: an intent would leave free cash below zero.
        IdempotencyConflict: a key is booked with other content.
        BookingError: a portfolio that is not open, a missing rate, a transfer between currencies, modes, or accounts
            with real money, a balance that no column holds.
        DatabaseError: the server failed or cannot be reached.
    """
    wanted = tuple(entries)

    def once() -> BookingResult:
        with pool.transaction(isolation="read committed") as connection:
            return book_in(connection, wanted, clock, reserved=reserved)

    return retry(once) if wanted else _NOTHING


def book_in(
    connection: Connection,
    entries: Iterable[Entry],
    clock: Clock = None,
    *,
    reserved: Reserved | None = None,
) -> BookingResult:
    """As :func:`book`, in the caller's transaction (read committed), which must let every exception out.

    Unless the caller has locked all portfolios concerned (:func:`lock`) this must be its first statement. It may raise
    DatabaseConflict; the whole transaction is then to be done again.
    """
    wanted = tuple(entries)
    if not wanted:
        return _NOTHING
    for moment in clock.values() if isinstance(clock, Mapping) else (clock,):
        if moment is not None:
            checks.moment("clock", moment)
    booking = _begin(connection, wanted, clock)
    if reserved is not None:
        booking.reserve(reserved(connection, tuple(booking.accounts)))
    with exact():
        for entry in wanted:
            booking.add(entry)
    ids = _insert(connection, booking.steps)
    result = _result(booking, ids)
    for portfolio_id in result.clock_stepped_back:
        log.warning("clock stepped back: the last booking of portfolio %r is over 5 s ahead of it", portfolio_id)
    return result


def _begin(connection: Connection, entries: Sequence[Entry], clock: Clock) -> Booking:
    """Lock, then read what the booking must know."""
    portfolio_ids = {portfolio_id for entry in entries for portfolio_id in _portfolios(entry)}
    keys = [key for entry in entries for key in _keys(entry)]
    held = {pair for entry in entries for pair in _held(entry)}
    if any(isinstance(entry, Correction) for entry in entries):
        # What a correction undoes is known by its key only; its ticker is needed for the state.
        lock(connection, portfolio_ids)
        held |= {(row.portfolio_id, row.ticker) for _, row in rows_by_key(connection, keys).values()}
    locked = read_locked(connection, portfolio_ids, clock, held, keys)
    owners: dict[str, Identity] = {}
    if any(isinstance(entry, Transfer) for entry in entries):
        owners = {identity.portfolio_id: identity for identity in read_identities(connection, portfolio_ids)}
    return Booking(locked.accounts, rows_by_key(connection, locked.taken), owners)


def _insert(connection: Connection, steps: Sequence[Step]) -> dict[str, int]:
    """Write the rows; the id of each by its key."""
    if not steps:
        return {}
    asked: dict[str, list[object]] = {name: [getattr(step.row, name) for step in steps] for name in COLUMNS}
    asked["booked_at"] = [step.booked_at for step in steps]
    asked["session"] = [step.session for step in steps]
    asked["balance"] = [step.balance for step in steps]
    asked["base_currency"] = [step.base_currency for step in steps]
    asked["held"] = [step.held for step in steps]
    with connection.cursor() as cursor:
        run(cursor, "insert_booking", asked)
        ids = [row[0] for row in cursor.fetchall()]
    if len(ids) != len(steps):
        raise DatabaseConflict(
            "another booking has taken one of these keys at the same moment: "
            f"{', '.join(step.row.execution_id for step in steps)}; try again"
        )
    return dict(zip((step.row.execution_id for step in steps), ids, strict=True))


def _result(booking: Booking, ids: Mapping[str, int]) -> BookingResult:
    entries = tuple(
        Booked(made.entry, made.already, tuple(booking.id_of(key, ids) for key in made.keys)) for made in booking.made
    )
    cash = {account.portfolio_id: account.cash for account in booking.accounts.values()}
    overdrawn = tuple(portfolio_id for portfolio_id, balance in cash.items() if balance < 0)
    written = {step.row.portfolio_id for step in booking.steps}
    stepped_back = tuple(sorted(name for name in written if booking.accounts[name].stepped_back))
    return BookingResult(entries, cash, overdrawn, stepped_back)


def _portfolios(entry: Entry) -> tuple[str, ...]:
    if isinstance(entry, Transfer):
        return entry.portfolio_id, entry.to_portfolio_id
    return (entry.portfolio_id,)


def _held(entry: Entry) -> list[tuple[str, str]]:
    """Whose position in what the entry may change; of a correction, what its right entry does."""
    if isinstance(entry, Correction):
        return [] if entry.right is None else _held(entry.right)
    names = [getattr(entry, "ticker", None), getattr(entry, "new_ticker", None)]
    return [(entry.portfolio_id, name) for name in names if name is not None]


def _keys(entry: Entry) -> tuple[str, ...]:
    """Every key that the entry looks for."""
    if isinstance(entry, Transfer | Rename):
        return part_key(entry.key, "out"), part_key(entry.key, "in")
    if isinstance(entry, Correction):
        return entry.key, reversal_key(entry.key), *(() if entry.right is None else (entry.right.key,))
    return (entry.key,)
