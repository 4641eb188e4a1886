"""Books to write into."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from framework.books.ledger import book
from framework.db.embedded import APP, DATABASE, Embedded, url
from framework.db.pool import Pool
from framework.db.server_files import locate
from tests.books.cases import ask, cash, open_

BOOKS = (
    "trade_execution_logs",
    "cash_equity_book",
    "positions_book",
    "pnl_book",
    "allocations",
    "allocation_targets",
)
NAME = "test_books"


def empty(admin: Pool) -> None:
    """Empty the books, as only a superuser can who means it."""
    off, on = (
        "; ".join(f"ALTER TABLE {table} {what} TRIGGER {table}_append_only" for table in BOOKS)
        for what in ("DISABLE", "ENABLE ALWAYS")
    )
    ask(admin, f"{off}; TRUNCATE portfolios, {', '.join(BOOKS)} RESTART IDENTITY CASCADE; {on}; SELECT 1")


@pytest.fixture(scope="package")
def shared(server: Embedded, database_url: str) -> Iterator[tuple[str, Pool]]:
    """The URL of a database for all tests of this folder that leave it whole, and a superuser's pool on it."""
    creator = Pool(server.admin_url(), 1, 1)
    ask(creator, f"CREATE DATABASE {NAME} TEMPLATE {DATABASE} OWNER {APP}", fetch=False)
    admin = Pool(server.admin_url(NAME), 1, 1)
    socket = locate(server.workspace).socket()
    assert socket is not None
    yield url(socket, APP, NAME), admin
    admin.close()
    ask(creator, f"DROP DATABASE {NAME} WITH (FORCE)", fetch=False)
    creator.close()


@pytest.fixture
def database(shared: tuple[str, Pool]) -> str:
    """URL of the shared database, its books empty; making one per test would take ten times as long."""
    address, admin = shared
    empty(admin)
    return address


@pytest.fixture
def books(pool: Pool) -> Pool:
    """A pool on a database with the open, empty portfolios 1 and 2 in USD."""
    open_(pool, "1", "2")
    return pool


@pytest.fixture
def funded(books: Pool) -> Pool:
    """As ``books``, with 10000 in portfolio 1."""
    book(books, [cash("10000", key="start")])
    return books
