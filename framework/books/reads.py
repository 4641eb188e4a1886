"""What the ledger and the valuation read, under the lock of the portfolios that they are about to write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from framework.books.booking import Account
from framework.books.open import how_to_open
from framework.books.rows import COLUMNS, TradeRow
from framework.db.failures import translated
from framework.db.queries import Row, fetch_all, sql
from framework.db.types import Connection
from framework.errors import BookingError

#: How long a booking waits for another one of the same portfolio; one takes milliseconds.
LOCK_SECONDS = 30
#: A client that is silent for so long while it holds a lock loses its transaction: before others give up waiting.
SILENCE_SECONDS = 15

#: The engine's moment: one for all portfolios, or each its own (those without one: the database's); ``None``: the
#: database's.
Clock: TypeAlias = datetime | Mapping[str, datetime] | None

_BATCH = 20_000


@dataclass(frozen=True, slots=True)
class Locked:
    """Portfolios as they are under their lock.

    Attributes:
        accounts: by portfolio id.
        taken: those of the keys asked for that are in the books.
    """

    accounts: dict[str, Account]
    taken: tuple[str, ...]


def lock(connection: Connection, portfolio_ids: Iterable[str]) -> None:
    """Lock portfolios until the transaction ends, in order of id; the first statement of whatever books later.

    Raises:
        BookingError: one is not open.
        DatabaseError: somebody has held one of them for 30 s.
    """
    asked = sorted(set(portfolio_ids))
    found = _in_one_round_trip(connection, ("lock_portfolios",), {"portfolio_ids": asked})
    _require_open(asked, (row[0] for row in found))


def read_locked(
    connection: Connection,
    portfolio_ids: Iterable[str],
    clock: Clock = None,
    held: Iterable[tuple[str, str]] = (),
    keys: Iterable[str] = (),
) -> Locked:
    """Lock portfolios as :func:`lock` does and read them, in one round trip.

    Args:
        connection: in a transaction that is read committed.
        portfolio_ids: which.
        clock: see :data:`Clock`.
        held: pairs (portfolio id, ticker): the positions that are needed.
        keys: idempotency keys to look for.
    """
    asked, pairs = sorted(set(portfolio_ids)), sorted(set(held))
    parameters = {
        "portfolio_ids": asked,
        "owners": [owner for owner, _ in pairs],
        "tickers": [ticker for _, ticker in pairs],
        "keys": sorted(set(keys)),
    }
    found = _in_one_round_trip(connection, ("lock_portfolios", "booking_state"), parameters)
    _require_open(asked, (row[0] for row in found))
    *_, taken, isolation = found[0]
    if isolation != "read committed":
        # A snapshot from before the lock would not see the booking that the lock has waited for.
        raise BookingError(
            f"the transaction of a booking was {isolation}; it has to be read committed. Nothing was booked."
        )
    return Locked({row[0]: _account(row, clock) for row in found}, tuple(taken))


def rows_by_key(connection: Connection, keys: Sequence[str]) -> dict[str, tuple[int | None, TradeRow]]:
    """The rows that hold these keys, with their ids."""
    found = fetch_all(connection, "trades_by_key", {"keys": list(keys)}) if keys else []
    return {row.execution_id: (row_id, row) for row_id, row in map(_trade, found)}


def rows_after(connection: Connection, portfolio_id: str, last_id: int) -> Iterator[tuple[int, TradeRow]]:
    """A portfolio's rows after a known one, with their ids, in booking order; some thousands in memory at a time."""
    while True:
        asked = {"portfolio_id": portfolio_id, "after": last_id, "rows": _BATCH}
        found = fetch_all(connection, "trades_after", asked)
        yield from map(_trade, found)
        if len(found) < _BATCH:
            return
        last_id = found[-1][0]


def _in_one_round_trip(connection: Connection, names: Sequence[str], parameters: Mapping[str, Any]) -> list[Row]:
    """Run statements one after the other, each on a snapshot of its own; the rows of the last one."""
    settings = f"lock_timeout = '{LOCK_SECONDS}s'", f"idle_in_transaction_session_timeout = '{SILENCE_SECONDS}s'"
    statements = [*(f"SET LOCAL {setting}" for setting in settings), *map(sql, names)]
    with translated(f"query {' and '.join(map(repr, names))}"), connection.cursor() as cursor:
        cursor.execute("; ".join(statements), parameters)
        return cursor.fetchall()


def _require_open(asked: Sequence[str], found: Iterable[str]) -> None:
    missing = sorted(set(asked) - set(found))
    if missing:
        raise BookingError(
            f"there is no portfolio {missing[0]!r} in the books; open it first ({how_to_open(missing[0])}). "
            "Nothing was booked."
        )


def _account(row: Row, clock: Clock) -> Account:
    portfolio_id, currency, now, last_booked_at, cash, tickers, quantities, *_ = row
    moment = clock.get(portfolio_id) if isinstance(clock, Mapping) else clock
    positions = dict(zip(tickers, quantities, strict=True))
    return Account(portfolio_id, currency, moment or now, last_booked_at, cash, positions)


def _trade(values: Row) -> tuple[int, TradeRow]:
    return values[0], TradeRow(**dict(zip(COLUMNS, values[1:], strict=True)))
