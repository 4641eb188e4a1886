"""Checks of what entries are made of; each raises a BookingError that says the field, the value and what is allowed."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import NoReturn

from framework.books.exact import exact
from framework.books.keys import LONGEST_KEY, PART_SEPARATOR
from framework.errors import BookingError

_LIMIT = Decimal("1e18")
_FX_LOWEST, _FX_LIMIT, _FX_DIGITS = Decimal("1e-12"), Decimal("1e12"), 30
_STEPS = {6: Decimal("1e-6"), 9: Decimal("1e-9")}
_CURRENCY = re.compile(r"[A-Z]{3}")
#: Booking time never goes back, so a clock gone mad would spoil the books for good.
_LAST_YEAR = 2200


def text(name: str, value: str, longest: int) -> None:
    """A printable text, not empty, of at most ``longest`` characters."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        _refuse(name, value, f"1 to {longest} printable characters")


def key(value: str) -> None:
    """An idempotency key."""
    text("key", value, LONGEST_KEY)
    if PART_SEPARATOR in value:
        _refuse("key", value, f"a text without {PART_SEPARATOR!r}, which the ledger uses itself")


def note(value: str | None, needed: bool, longest: int = 500) -> None:
    """Words for people."""
    if value is not None or needed:
        text("note", value or "", longest)


def ticker(name: str, value: str) -> None:
    """An instrument; ``<CCY>_CASH`` stands for money, which no position is made of."""
    text(name, value, 64)
    if value.endswith("_CASH"):
        _refuse(name, value, "an instrument; money is booked as a CashMovement")


def currency(name: str, value: str) -> None:
    """Three capital letters."""
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        _refuse(name, value, "three capital letters such as USD")


def moment(name: str, value: datetime) -> None:
    """An aware time that a book can hold."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        _refuse(name, value, "a datetime with time zone (UTC)")
    if not 1900 <= value.year <= _LAST_YEAR:
        _refuse(name, value, f"a time from 1900 to {_LAST_YEAR}")


def day(name: str, value: date) -> None:
    """A date that is no datetime."""
    if not isinstance(value, date) or isinstance(value, datetime):
        _refuse(name, value, "a date")


def money(name: str, value: Decimal) -> None:
    """A finite Decimal in whole micros."""
    _decimal(name, value, 6)


def price(name: str, value: Decimal) -> None:
    """A finite Decimal in whole micros, not negative."""
    _decimal(name, value, 6)
    if value < 0:
        _refuse(name, value, "a price of at least 0")


def quantity(name: str, value: Decimal) -> None:
    """A finite Decimal of at most nine decimals."""
    _decimal(name, value, 9)


def fx_rate(value: Decimal | None) -> None:
    """A positive rate, or none."""
    if value is None:
        return
    if not isinstance(value, Decimal) or not value.is_finite() or not _FX_LOWEST <= value < _FX_LIMIT:
        _refuse("fx_rate", value, f"a Decimal from {_FX_LOWEST} to below {_FX_LIMIT}")
    if len(value.as_tuple().digits) > _FX_DIGITS:
        _refuse("fx_rate", value, f"at most {_FX_DIGITS} digits")


def positive(name: str, value: Decimal) -> None:
    """Above zero."""
    if value <= 0:
        _refuse(name, value, "more than 0")


def not_zero(name: str, value: Decimal) -> None:
    """Any but zero."""
    if value == 0:
        _refuse(name, value, "a number other than 0")


def sign(kind: str, amount: Decimal, *, may_come: bool, may_go: bool) -> None:
    """The amount goes the way that its kind allows."""
    if amount == 0 or (amount > 0 and not may_come) or (amount < 0 and not may_go):
        way = "any amount but 0" if may_come and may_go else "an amount above 0" if may_come else "an amount below 0"
        _refuse(f"amount of a {kind}", amount, way)


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """One of some words."""
    if value not in allowed:
        _refuse(name, value, ", ".join(allowed))


def differ(name: str, value: str, other: str) -> None:
    """Two names that must not be the same."""
    if value == other:
        _refuse(name, value, f"another than {other!r}")


def same(name: str, value: str, other: str) -> None:
    """Two names that must be the same."""
    if value != other:
        _refuse(name, value, f"{other!r}")


def _decimal(name: str, value: Decimal, places: int) -> None:
    if not isinstance(value, Decimal) or not value.is_finite() or not -_LIMIT < value < _LIMIT:
        _refuse(name, value, f"a finite Decimal between -{_LIMIT} and {_LIMIT}")
    with exact():
        rounded = value.quantize(_STEPS[places])
    if value != rounded:
        _refuse(name, value, f"at most {places} decimals; round it with framework.model.money")


def _refuse(name: str, value: object, allowed: str) -> NoReturn:
    raise BookingError(f"{name} was {value!r}; allowed: {allowed}. Nothing was booked.")
