"""What the capital manager shows: what each portfolio has, and what money was moved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from framework.books.exact import exact
from framework.books.journal import reserved
from framework.books.keys import is_reversal, reference_of
from framework.books.open import read_identities, require_open
from framework.db.pool import Pool
from framework.db.queries import Row, fetch_all
from framework.model.money import price_decimal

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Balance:
    """What a portfolio has, in its currency.

    Attributes:
        cash: latest balance.
        reserved: of it, what open buys have spoken for.
        equity: of the latest valuation, made at ``valued_at``; ``None``: it was never valued.
    """

    portfolio_id: str
    mode: str
    currency: str
    cash: Decimal
    reserved: Decimal
    equity: Decimal | None
    valued_at: datetime | None

    @property
    def free(self) -> Decimal:
        """What may be withdrawn or transferred; below zero: nothing."""
        with exact():
            return self.cash - self.reserved


@dataclass(frozen=True, slots=True)
class Total:
    """What the portfolios of one mode and currency have together."""

    mode: str
    currency: str
    cash: Decimal
    reserved: Decimal

    @property
    def free(self) -> Decimal:
        """What may be withdrawn or transferred."""
        with exact():
            return self.cash - self.reserved


@dataclass(frozen=True, slots=True)
class Past:
    """A deposit, withdrawal or transfer that is booked.

    Attributes:
        trade_id: its row in ``trade_execution_logs``.
        booked_at: booking time.
        at: business time.
        is_reversal: it undoes the entry of this reference.
        other_portfolio_id: at the other end of a transfer.
        change: of the cash, signed, in the portfolio's currency.
        amount: the same in ``currency``.
        fx_rate: units of the portfolio's currency per unit of ``currency``.
        balance: cash afterwards; ``None``: it moved none.
    """

    trade_id: int
    booked_at: datetime
    at: datetime
    kind: str
    reference: str
    is_reversal: bool
    other_portfolio_id: str | None
    change: Decimal
    amount: Decimal
    currency: str
    fx_rate: Decimal
    balance: Decimal | None
    note: str | None


def balances(pool: Pool, portfolio_ids: Iterable[str] | None = None) -> tuple[Balance, ...]:
    """What each portfolio has (all, or those of these ids), of one moment, in order of id.

    Raises:
        UsageError: one is not open.
    """
    with pool.transaction(read_only=True, isolation="repeatable read") as connection:
        ids = [each.portfolio_id for each in read_identities(connection, None)]
        if portfolio_ids is not None:
            ids = list(portfolio_ids)
            require_open(connection, ids)
        # Whole micros already, but a division in the database has added zeros.
        held = {name: price_decimal(value) for name, value in reserved(connection, ids).items()}
        rows = fetch_all(connection, "capital_balances", {"portfolio_ids": ids})
    return tuple(
        Balance(name, mode, currency, cash, held.get(name, _ZERO), equity, valued_at and valued_at.astimezone(UTC))
        for name, mode, currency, cash, equity, valued_at in rows
    )


def totals(found: Iterable[Balance]) -> tuple[Total, ...]:
    """What portfolios have together, exact, by mode and currency: paper money and real money are no sum."""
    sums: dict[tuple[str, str], Total] = {}
    with exact():
        for each in found:
            kind = each.mode, each.currency
            before = sums.get(kind, Total(*kind, _ZERO, _ZERO))
            sums[kind] = Total(*kind, before.cash + each.cash, before.reserved + each.reserved)
    return tuple(sums[kind] for kind in sorted(sums))


def history(pool: Pool, portfolio_id: str, limit: int) -> tuple[Past, ...]:
    """The newest deposits, withdrawals and transfers of a portfolio, at most ``limit``, newest first.

    Raises:
        UsageError: it is not open.
    """
    with pool.transaction(read_only=True, isolation="repeatable read") as connection:
        require_open(connection, [portfolio_id])
        return tuple(
            map(_past, fetch_all(connection, "capital_history", {"portfolio_id": portfolio_id, "rows": limit}))
        )


def _past(row: Row) -> Past:
    trade_id, booked_at, at, kind, key, other, side, notional, local, currency, fx_rate, balance, note = row
    sign = 1 if side == "BUY" else -1
    return Past(
        trade_id,
        booked_at.astimezone(UTC),
        at.astimezone(UTC),
        kind,
        reference_of(key),
        is_reversal(key),
        other,
        sign * notional,
        sign * local,
        currency,
        fx_rate,
        balance,
        note,
    )
