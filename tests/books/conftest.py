"""Books to write into."""

from __future__ import annotations

import pytest

from framework.books.ledger import book
from framework.db.pool import Pool
from tests.books.cases import cash, open_


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
