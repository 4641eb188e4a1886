"""Exact arithmetic for the books, whatever a strategy in the same thread has done to Decimal's context."""

from __future__ import annotations

from contextlib import AbstractContextManager
from decimal import ROUND_HALF_EVEN, Context, localcontext

#: A product of any quantity, price and rate has fewer digits than this, so it is exact before it is rounded, once.
_DIGITS = 100


def exact() -> AbstractContextManager[Context]:
    """For the body, Decimals have digits enough and round half to even."""
    return localcontext(Context(prec=_DIGITS, rounding=ROUND_HALF_EVEN))
