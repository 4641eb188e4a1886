"""The audit: proves the books by replaying the trades from zero, and names the first row that breaks them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from framework.books.open import portfolios
from framework.db.pool import Pool
from framework.db.queries import Row, fetch_all
from framework.db.types import Connection
from framework.errors import UsageError

#: Memory that one sort of the audit may take before it goes to disk; for the audit's transaction only.
_WORK_MEMORY = "SET LOCAL work_mem = '64MB'"
#: Each finds rows that break a rule, as the fields of a Finding.
_CHECKS = ("audit_trades", "audit_unlinked", "audit_keys", "audit_transfers", "audit_valuations")


@dataclass(frozen=True, slots=True)
class Finding:
    """A row that breaks the books.

    Attributes:
        portfolio_id: whose.
        trade_id: the row of ``trade_execution_logs`` that it belongs to, if there is one.
        book: the table.
        row_id: in that table; ``None``: it is about the book as a whole.
        column: what is wrong with it.
        expected: what the replay gives.
        found: what is there.
    """

    portfolio_id: str
    trade_id: int | None
    book: str
    row_id: int | None
    column: str
    expected: str
    found: str

    def __str__(self) -> str:
        row = "" if self.row_id is None else f" row {self.row_id}"
        trade = "" if self.trade_id is None or self.book == "trade_execution_logs" else f" (of trade {self.trade_id})"
        return f"{self.book}{row}{trade}: {self.column} should be {self.expected}, is {self.found}"


@dataclass(frozen=True, slots=True)
class PortfolioAudit:
    """One portfolio's proof.

    Attributes:
        portfolio_id: whose.
        currency: of the cash.
        trades: rows replayed.
        cash: what they add up to.
        positions: tickers held.
        findings: what breaks the books, the first row first; nothing: they are proven.
    """

    portfolio_id: str
    currency: str
    trades: int
    cash: Decimal
    positions: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The proof of several portfolios, of one moment.

    Attributes:
        portfolios: in order of id.
        unguarded: books whose protection against changes is missing or switched off.
    """

    portfolios: tuple[PortfolioAudit, ...]
    unguarded: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.unguarded and not any(each.findings for each in self.portfolios)


def audit(
    pool: Pool, portfolio_ids: Iterable[str] | None = None, progress: Callable[[str, float, float], None] | None = None
) -> AuditReport:
    """Replay portfolios from zero and compare every row, exactly, while work goes on.

    Args:
        pool: one connection is held meanwhile.
        portfolio_ids: whose books; ``None``: all.
        progress: is told "audit", how many checks are done, and how many there are.

    Raises:
        UsageError: there is no such portfolio.
    """
    asked = None if portfolio_ids is None else sorted(set(portfolio_ids))
    known = [identity.portfolio_id for identity in portfolios(pool)]
    ids = known if asked is None else asked
    if missing := [portfolio_id for portfolio_id in ids if portfolio_id not in known]:
        raise UsageError(f"there is no portfolio {missing[0]!r}; open are: {', '.join(known) or 'none'}")
    with pool.transaction(read_only=True, isolation="repeatable read") as connection:
        with connection.cursor() as cursor:
            cursor.execute(_WORK_MEMORY)
        found = _findings(connection, ids, progress or (lambda stage, done, total: None))
        unguarded = tuple(row[0] for row in fetch_all(connection, "audit_guards"))
        latest = fetch_all(connection, "audit_latest", {"portfolio_ids": ids})
    return AuditReport(tuple(_judge(row, found) for row in latest), unguarded)


def _findings(
    connection: Connection, portfolio_ids: list[str], progress: Callable[[str, float, float], None]
) -> list[Finding]:
    """What the checks find, in booking order; rows that belong to no trade come last."""
    found: list[Finding] = []
    for done, check in enumerate(_CHECKS):
        progress("audit", done, len(_CHECKS))
        found += [Finding(*row) for row in fetch_all(connection, check, {"portfolio_ids": portfolio_ids})]
    progress("audit", len(_CHECKS), len(_CHECKS))
    return sorted(found, key=lambda each: (each.trade_id is None, each.trade_id or 0, each.row_id or 0))


def _judge(row: Row, found: list[Finding]) -> PortfolioAudit:
    portfolio_id, trades, cash, latest_cash, positions, differs, currency = row
    findings = [finding for finding in found if finding.portfolio_id == portfolio_id]
    if cash != latest_cash:
        findings.append(
            Finding(portfolio_id, None, "cash_equity_book", None, "latest notional", str(cash), str(latest_cash))
        )
    if differs:
        ticker, _, values = differs.partition(": ")
        expected, _, is_there = values.partition(", ")
        findings.append(
            Finding(portfolio_id, None, "positions_book", None, f"latest quantity of {ticker}", expected, is_there)
        )
    return PortfolioAudit(portfolio_id, currency, trades, cash, positions, tuple(findings))
