"""Absurd entries are refused when they are made, by name; keys never collide."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.books import keys
from framework.books.entries import Adjustment, Adopt, Rename, Split
from framework.errors import BookingError
from tests.books.cases import AT, DAY, D, cash, fill, transfer

COMMON: dict[str, Any] = {"portfolio_id": "1", "key": "k", "at": AT, "session": DAY}

WRONG_FILLS: dict[str, list[Any]] = {
    "quantity": [0.5, 1, D(0), D(-1), D("NaN"), D("sNaN"), D("Infinity"), D("1E+18"), D("1e-10"), None],
    "price": [1.0, D(-1), D("NaN"), D("1e-7"), D("1E+18"), None],
    "fees": [D("NaN"), D("1e-7"), 1, D("1E+18"), D("-1E+18")],
    "side": ["buy", "", None], "ticker": ["", "USD_CASH", "A\x00B", "A" * 65, "\ud800", 7],
    "currency": ["usd", "US", "USDT", "", None, "ÄÖÜ"], "fx_rate": [D(0), D(-1), D("NaN"), D("1e-13"), 1.1, D("1E+12"),
                                                                     D("1." + "1" * 30)],
    "key": ["", "a#b", "k" * 181, "a\nb", None], "portfolio_id": ["", "p" * 65, None],
    "at": [datetime(2024, 1, 1), DAY, None, datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)],  # noqa: DTZ001
    "session": [AT, "2024-01-01", None], "order_id": ["", "o" * 65], "arrival_price": [D("NaN"), 1.0, D(-1)],
    "decision_price": [D("1e-7")],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG_FILLS.items() for value in values])
def test_an_absurd_fill_is_refused_by_name(name, value):
    with pytest.raises(BookingError, match=rf"{name} was .*; allowed: .*Nothing was booked"):
        replace(fill(), **{name: value})


@pytest.mark.parametrize(
    ("kind", "amount", "allowed"),
    [
        ("deposit", "-1", "above 0"), ("dividend", "-1", "above 0"), ("adopt", "-1", "above 0"),
        ("withdrawal", "1", "below 0"), ("fee", "1", "below 0"), ("borrow", "1", "below 0"), ("tax", "1", "below 0"),
        ("interest", "0", "any amount but 0"), ("adjustment", "0", "any amount but 0"), ("deposit", "0", "above 0"),
    ],
)  # fmt: skip
def test_money_goes_the_way_of_its_kind(kind, amount, allowed):
    with pytest.raises(BookingError, match=f"amount of a {kind} was .*{allowed}"):
        cash(amount, kind)


def test_other_absurd_entries_are_refused():
    for wrong in (
        lambda: cash("1", "gift"),
        lambda: cash("1", "transfer"),
        lambda: cash("1", "adjustment", note=None),
        lambda: cash("1", note="n" * 501),
        lambda: cash("1", for_ticker="USD_CASH"),
        lambda: transfer("0"),
        lambda: transfer("-1"),
        lambda: transfer("1", target="1"),
        lambda: Split(**COMMON, ticker="A", new=D(0)),
        lambda: Split(**COMMON, ticker="A", new=D(1), old=D(-1)),
        lambda: Rename(**COMMON, ticker="A", new_ticker="A"),
        lambda: Adopt(**COMMON, ticker="A", quantity=D(0), cost=D(1), currency="USD"),
        lambda: Adopt(**COMMON, ticker="A", quantity=D(1), cost=D(-1), currency="USD"),
        lambda: Adjustment(**COMMON, ticker="A", change=D(0), currency="USD", note="n"),
        lambda: Adjustment(**COMMON, ticker="A", change=D(1), currency="USD", note=""),
    ):
        with pytest.raises(BookingError, match="allowed"):
            wrong()


parts = st.text(st.sampled_from("ab:%#/3A"), min_size=1, max_size=6)


@given(st.tuples(parts, parts, parts), st.tuples(parts, parts, parts))
def test_different_things_have_different_keys(one, other):
    # fmt: off
    made = [keys.fill_key(*one), keys.late_fee_key(*one), keys.activity_key(*one), keys.capital_key(*one[:2]),
            keys.allocation_key(*one[:2]), keys.split_key(one[0], date(2024, 1, 2), one[1]), keys.opening_key(one[0])]
    # fmt: on
    assert len(set(made)) == len(made)
    assert not any("#" in key for key in made)
    assert (keys.fill_key(*one) == keys.fill_key(*other)) == (one == other)
    assert keys.late_fee_key(*one) != keys.fill_key(*other)


def test_no_other_code_writes_the_books():
    """Everything that moves cash or positions goes through the ledger, valuations through value()."""
    root = Path(__file__).parents[2]
    book = r"(trade_execution_logs|cash_equity_book|positions_book|pnl_book)"
    writes = re.compile(rf"(INSERT\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE|COPY|MERGE\s+INTO)\s+(ONLY\s+)?{book}", re.I)
    queries = [file for file in (files("framework.sql") / "queries").iterdir() if file.name.endswith(".sql")]
    assert {file.name for file in queries if writes.search(file.read_text())} == {
        "insert_booking.sql", "insert_valuation.sql"
    }  # fmt: skip
    code = [path for folder in ("framework", "plugins") for path in (root / folder).rglob("*.py")]
    named = {
        path.relative_to(root).as_posix()
        for path in code
        if re.search(rf"[\"'](insert_booking|insert_valuation|{book})[\"']", path.read_text("utf-8"))
    }
    assert named == {"framework/books/ledger.py", "framework/books/valuation.py", "framework/books/audit.py"}
    assert not [path for path in code if writes.search(path.read_text("utf-8"))]


def test_the_smallest_and_the_largest_numbers_are_taken():
    assert fill(quantity="999999999999999999.999999999", price="0.000001").quantity < Decimal("1e18")
    assert cash("0.000001").amount == D("1e-6")
