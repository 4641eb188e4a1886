"""Idempotency keys: one name per thing that happened, so that it is booked once, whoever reports it how often."""

from __future__ import annotations

from datetime import date

#: Longest key that the books take; the rest of the column is for what :data:`PART_SEPARATOR` adds.
LONGEST_KEY = 180
#: Joins a key and the part of an entry that makes several rows; never in a key itself.
PART_SEPARATOR = "#"


def fill_key(broker: str, account: str, execution_id: str) -> str:
    """Of a fill: the broker's own execution id, which is unique within an account."""
    return _key("fill", broker, account, execution_id)


def late_fee_key(broker: str, account: str, execution_id: str) -> str:
    """Of commission that the broker reports after the fill."""
    return f"{fill_key(broker, account, execution_id)}:fee"


def activity_key(broker: str, account: str, activity_id: str) -> str:
    """Of a broker's non-trade activity (dividend, fee, interest, …)."""
    return _key("activity", broker, account, activity_id)


def capital_key(portfolio_id: str, reference: str) -> str:
    """Of a deposit, a withdrawal, or an adjustment by hand: the reference that the user gave."""
    return _key("capital", portfolio_id, reference)


def opening_key(portfolio_id: str) -> str:
    """Of the opening deposit."""
    return capital_key(portfolio_id, f"opening:{portfolio_id}")


def allocation_key(run_id: str, portfolio_id: str) -> str:
    """Of one portfolio's transfer in an allocation."""
    return _key("allocation", run_id, portfolio_id)


def split_key(ticker: str, ex_date: date, portfolio_id: str) -> str:
    """Of a split that the engine itself books on its ex-date."""
    return _key("split", ticker, ex_date.isoformat(), portfolio_id)


def dividend_key(ticker: str, ex_date: date, portfolio_id: str) -> str:
    """Of a dividend that the engine itself pays on its ex-date."""
    return _key("dividend", ticker, ex_date.isoformat(), portfolio_id)


def is_dividend(key: str) -> bool:
    """Whether the row of this key is a dividend that the engine booked; one that was owed is an adjustment."""
    return key.startswith("dividend:")


def part_key(key: str, part: str) -> str:
    """Of one row of an entry that makes several."""
    return f"{key}{PART_SEPARATOR}{part}"


def reversal_key(key: str) -> str:
    """Of the row that undoes the entry of this key: there is only one, so nothing is undone twice."""
    return part_key(key, "reversal")


def reference_of(key: str) -> str:
    """What a person calls an entry, by a row's key: the reference of moved capital, else the key of the entry."""
    entry = key.partition(PART_SEPARATOR)[0]
    kind, *parts = entry.split(":")
    return _unescaped(parts[1]) if kind == "capital" and len(parts) == 2 else entry


def is_reversal(key: str) -> bool:
    """Whether the row of this key undoes another."""
    return key.endswith(f"{PART_SEPARATOR}reversal")


def _unescaped(part: str) -> str:
    return part.replace("%23", PART_SEPARATOR).replace("%3A", ":").replace("%25", "%")


def _key(*parts: str) -> str:
    """Parts joined so that different parts never give one key."""
    return ":".join(part.replace("%", "%25").replace(":", "%3A").replace(PART_SEPARATOR, "%23") for part in parts)
