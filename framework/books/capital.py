"""The capital manager: money that comes into a portfolio, leaves it, or goes to another; each once, by its reference.

Nothing is written here: what is asked becomes an entry of the ledger (:mod:`framework.books.ledger`), whose key is the
portfolio (of a transfer: the giving one) and the reference. So asking again changes nothing, whenever it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, TypeAlias

from framework.books import checks
from framework.books.entries import CashMovement, Transfer
from framework.books.exact import exact
from framework.books.journal import reserved
from framework.books.keys import capital_key, part_key
from framework.books.ledger import book_in, lock
from framework.books.open import require_open
from framework.books.reads import rows_by_key
from framework.books.rows import TradeRow
from framework.db.pool import Pool
from framework.db.queries import fetch_all
from framework.db.retry import retry
from framework.db.types import Connection
from framework.errors import BookingError, IdempotencyConflict
from framework.model.money import notional_decimal
from framework.model.rates import KnownRate

LONGEST_REFERENCE = 100
#: References that begin so are of opening deposits.
OPENING = "opening:"

_LIMIT = Decimal("1e15")

Kind: TypeAlias = Literal["deposit", "withdrawal", "transfer"]
#: Gives the rate from a currency to another at a moment; asked under the lock of the portfolio.
RateOf: TypeAlias = Callable[[Connection, str, str, datetime], KnownRate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capital:
    """Money to move.

    Attributes:
        kind: a ``deposit`` comes from outside, a ``withdrawal`` goes there; a ``transfer`` goes to another portfolio.
        portfolio_id: whose cash grows by a deposit, or shrinks by the others.
        amount: > 0 and < 1e15, at most 6 decimals, in ``currency``.
        reference: names the movement; the same again changes nothing.
        to_portfolio_id: who gets a transfer.
        currency: of the amount; ``None``: the portfolio's. Not of a transfer, which is in that of both.
        fx_rate: units of the portfolio's currency per unit of ``currency``; ``None``: the newest that is known.
        note: why, in words.
    """

    kind: Kind
    portfolio_id: str
    amount: Decimal
    reference: str
    to_portfolio_id: str | None = None
    currency: str | None = None
    fx_rate: Decimal | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, ("deposit", "withdrawal", "transfer"))
        checks.text("portfolio_id", self.portfolio_id, 64)
        checks.money("amount", self.amount)
        checks.positive("amount", self.amount)
        if self.amount >= _LIMIT:
            raise BookingError(f"amount was {self.amount}; allowed: less than {_LIMIT}. Nothing was booked.")
        checks.text("reference", self.reference, LONGEST_REFERENCE)
        if self.reference.startswith(OPENING):
            raise BookingError(
                f"reference was {self.reference!r}; allowed: one that does not begin with {OPENING!r}, which opening "
                "deposits have. Nothing was booked."
            )
        checks.note(self.note, needed=False)
        if self.to_portfolio_id is not None:
            checks.text("to_portfolio_id", self.to_portfolio_id, 64)
            checks.differ("to_portfolio_id", self.to_portfolio_id, self.portfolio_id)
        if self.currency is not None:
            checks.currency("currency", self.currency)
        checks.fx_rate(self.fx_rate)
        if (self.kind == "transfer") != (self.to_portfolio_id is not None):
            raise BookingError("a transfer needs to_portfolio_id, and nothing else has it. Nothing was booked.")
        if self.kind == "transfer" and (self.currency is not None or self.fx_rate is not None):
            raise BookingError(
                "a transfer has no currency and no fx_rate of its own: it is in the currency of both portfolios. "
                "Nothing was booked."
            )

    @property
    def portfolio_ids(self) -> tuple[str, ...]:
        """Whose cash it changes, the giving one first."""
        return (self.portfolio_id,) if self.to_portfolio_id is None else (self.portfolio_id, self.to_portfolio_id)

    @property
    def key(self) -> str:
        """Of its entry."""
        return capital_key(self.portfolio_id, self.reference)


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of it.

    Attributes:
        asked: as given.
        already: it was in the books before, the same; nothing has changed.
        at: when it happened (business time), UTC: of one that was booked before, what the books say.
        is_simulated: that is a moment of a simulated clock.
        currency: of the amount.
        base_currency: of the portfolios.
        notional: the amount in that, ≥ 0.
        fx_rate: units of ``base_currency`` per unit of ``currency``.
        known_rate: where that comes from; ``None``: it was given, or booked before, or there is only one currency.
        cash: balance of each portfolio now, the giving one first.
    """

    asked: Capital
    already: bool
    at: datetime
    is_simulated: bool
    currency: str
    base_currency: str
    notional: Decimal
    fx_rate: Decimal
    known_rate: KnownRate | None
    cash: Mapping[str, Decimal]


def move(pool: Pool, asked: Capital, rate_of: RateOf | None = None) -> Moved:
    """Book it, or see that it is booked.

    What was booked before is compared at its own moment and, where no rate is given, at its own rate. In a portfolio
    that lives on a simulated clock the money moves at the moment where its books stand.

    Args:
        pool: one connection is held meanwhile.
        asked: what to move.
        rate_of: where a rate comes from that is needed and not given; ``None``: nowhere, it has to be given.

    Raises:
        UsageError: a portfolio is not open; or whatever ``rate_of`` raises.
        IdempotencyConflict: the reference is in the books with other content; shows both.
        InsufficientCash: a withdrawal or transfer takes more than is free.
        BookingError: a transfer between currencies, modes or accounts with real money; a rate that is missing.
        DatabaseError: nothing was booked, or asking again will tell.
    """

    def once() -> Moved:
        with pool.transaction(isolation="read committed") as connection:
            giving = require_open(connection, asked.portfolio_ids)[asked.portfolio_id]
            return _move(connection, asked, giving.base_currency, rate_of)

    return retry(once)


# One movement, under the lock of its portfolios.


def _move(connection: Connection, asked: Capital, base: str, rate_of: RateOf | None) -> Moved:
    lock(connection, asked.portfolio_ids)
    found = rows_by_key(connection, [asked.key, part_key(asked.key, "out"), part_key(asked.key, "in")])
    booked = [row for _, row in sorted(found.values(), key=lambda pair: pair[0] or 0)]
    if booked and (booked[0].kind == "transfer") != (asked.kind == "transfer"):
        raise _conflict(asked, base, booked)
    clock, at, is_simulated = _moment(connection, asked)
    at = (booked[0].exec_timestamp if booked else at).astimezone(UTC)
    fx_rate, known = _rate(connection, asked, base, booked, at, rate_of)
    entry = _entry(asked, at, fx_rate)
    try:
        result = book_in(connection, [entry], clock, reserved=reserved)
    except IdempotencyConflict as conflict:
        if not booked:
            raise
        raise _conflict(asked, base, booked) from conflict
    return Moved(
        asked,
        result.entries[0].already,
        at,
        is_simulated,
        asked.currency or base,
        base,
        _worth(asked.amount, fx_rate),
        fx_rate or Decimal(1),
        known,
        {name: result.cash[name] for name in asked.portfolio_ids},
    )


def _moment(connection: Connection, asked: Capital) -> tuple[Mapping[str, datetime], datetime, bool]:
    """The clock of each portfolio, when the money moves, and whether that is simulated: it is if one of them is."""
    rows = fetch_all(connection, "capital_moments", {"portfolio_ids": list(asked.portfolio_ids)})
    clock = {portfolio_id: moment for portfolio_id, moment, _ in rows}
    simulated = [moment for _, moment, is_simulated in rows if is_simulated]
    return clock, max(simulated or clock.values()), bool(simulated)


def _rate(
    connection: Connection, asked: Capital, base: str, booked: list[TradeRow], at: datetime, rate_of: RateOf | None
) -> tuple[Decimal | None, KnownRate | None]:
    """The rate to book at (``None``: none is needed), and where it comes from if it was looked up."""
    if asked.fx_rate is not None or asked.currency in (None, base):
        return asked.fx_rate, None
    if booked:
        return booked[0].fx_rate, None
    if rate_of is None or asked.currency is None:
        return None, None  # the ledger says what is missing
    known = rate_of(connection, asked.currency, base, at)
    return known.rate, known


def _worth(amount: Decimal, fx_rate: Decimal | None) -> Decimal:
    """The amount in the portfolio's currency, as the ledger rounds it."""
    with exact():
        return notional_decimal(amount, fx_rate or Decimal(1))


def _entry(asked: Capital, at: datetime, fx_rate: Decimal | None) -> CashMovement | Transfer:
    if asked.to_portfolio_id is not None:
        return Transfer(
            portfolio_id=asked.portfolio_id,
            to_portfolio_id=asked.to_portfolio_id,
            key=asked.key,
            at=at,
            session=at.date(),
            amount=asked.amount,
            note=asked.note,
        )
    if not _worth(asked.amount, fx_rate):
        raise BookingError(
            f"{asked.amount:f} {asked.currency} at the rate {fx_rate} is less than a millionth in the portfolio's "
            "currency, which the books cannot hold. Nothing was booked."
        )
    return CashMovement(
        portfolio_id=asked.portfolio_id,
        key=asked.key,
        at=at,
        session=at.date(),
        kind="deposit" if asked.kind == "deposit" else "withdrawal",
        amount=asked.amount if asked.kind == "deposit" else -asked.amount,
        currency=asked.currency,
        fx_rate=fx_rate,
        note=asked.note,
    )


def _conflict(asked: Capital, base: str, booked: list[TradeRow]) -> IdempotencyConflict:
    """Says what is in the books and what was asked, in words."""
    first, last = booked[0], booked[-1]
    to = last.portfolio_id if first.kind == "transfer" else None
    before = _words(first.kind, first.notional_local, first.currency, base, first.fx_rate, to, first.note)
    now = _words(
        asked.kind, asked.amount, asked.currency or base, base, asked.fx_rate, asked.to_portfolio_id, asked.note
    )
    booked_on = f"{first.exec_timestamp.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return IdempotencyConflict(
        f"the reference {asked.reference!r} of portfolio {asked.portfolio_id!r} is in the books as {before}, booked on "
        f"{booked_on}; asked for was {now}. Nothing was booked; if this is another one, give it a reference of its own"
    )


def _words(
    kind: str, amount: Decimal, currency: str, base: str, fx_rate: Decimal | None, to: str | None, note: str | None
) -> str:
    article = "an" if kind[0] in "aeiou" else "a"
    parts = [f"{article} {kind} of {amount.normalize():f} {currency}"]
    parts += [f"to portfolio {to!r}"] if to is not None else []
    parts += [f"at {fx_rate.normalize():f} {base} per {currency}"] if fx_rate is not None and fx_rate != 1 else []
    parts += [f"with the note {note!r}"] if note is not None else []
    return " ".join(parts)
