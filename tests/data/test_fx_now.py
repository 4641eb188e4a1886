"""The newest exchange rate that the database knows: which source, which pair, which bar."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from framework.data.currencies import Currencies
from framework.data.fx_now import newest_rate
from framework.errors import DataError, UsageError
from tests.data.test_currencies import Offering, bars_of, fill
from tests.data.test_feed import Fake, at, write

#: A Friday; a day of currencies ends at 17:00 New York, 22:00 UTC in winter.
FRIDAY = at("2024-01-05")


def rate(pool, now, source=None, foreign="EUR", currency="USD"):
    with pool.connection() as connection:
        return newest_rate(connection, foreign, currency, now, source and source.key())


def closes(pool, source, ticker, days, interval="1d"):
    """Bars whose closes are these; ``write`` takes prices of which a close is 1.25 times."""
    write(pool, source, [(ticker, time, close / 1.25) for time, close in days.items()], interval)


def test_the_newest_close_that_is_available_counts(pool):
    source = Fake()
    closes(pool, source, "EURUSD", {"2024-01-04": 1.1, "2024-01-05": 1.2})
    known = rate(pool, FRIDAY + timedelta(hours=22))
    assert (known.rate, known.source, known.ticker) == (Decimal("1.2"), source.key(), "EURUSD")
    assert (known.is_inverse, known.known_since) == (False, FRIDAY + timedelta(hours=22))
    before = rate(pool, FRIDAY + timedelta(hours=22, microseconds=-1))
    assert (before.rate, before.known_since) == (Decimal("1.1"), at("2024-01-04 22:00"))
    assert rate(pool, FRIDAY + timedelta(days=900)).rate == Decimal("1.2")
    with pytest.raises(
        DataError, match="no data source has a close of EURUSD or USDEUR that was available at 2024-01-04"
    ):
        rate(pool, at("2024-01-04 21:59"))


def test_one_over_the_inverse_pair_where_the_direct_one_is_missing(pool):
    source = Fake()
    closes(pool, source, "USDEUR", {"2024-01-04": 0.9375})
    known = rate(pool, FRIDAY)
    assert (known.rate, known.ticker, known.is_inverse) == (Decimal(repr(1 / 0.9375)), "USDEUR", True)
    assert rate(pool, FRIDAY, None, "USD", "EUR").rate == Decimal("0.9375")
    closes(pool, source, "EURUSD", {"2024-01-03": 1.25})
    assert (rate(pool, FRIDAY).rate, rate(pool, FRIDAY).ticker) == (Decimal("1.25"), "EURUSD")


def test_the_finest_news_of_several_intervals(pool):
    source = Fake()
    closes(pool, source, "EURUSD", {"2024-01-04": 1.1})
    closes(pool, source, "EURUSD", {"2024-01-05 10:00": 1.2, "2024-01-05 10:01": 1.3}, "1min")
    assert rate(pool, at("2024-01-05 10:00:59")).rate == Decimal("1.1")
    assert rate(pool, at("2024-01-05 10:01")).rate == Decimal("1.2")
    assert rate(pool, at("2024-01-05 10:01")).known_since == at("2024-01-05 10:01")
    closes(pool, source, "EURUSD", {"2024-01-05": 1.4})
    assert rate(pool, at("2024-01-05 21:59")).rate == Decimal("1.3")
    assert rate(pool, at("2024-01-05 22:00")).rate == Decimal("1.4")


def test_bars_outside_the_sessions_of_currencies_count_for_nothing(pool):
    source = Fake()
    closes(pool, source, "EURUSD", {"2024-01-05": 1.2, "2024-01-06": 9.0})  # a Saturday
    assert rate(pool, at("2024-01-09")).rate == Decimal("1.2")


def test_several_sources_have_to_be_chosen_from(pool):
    first, second, third = Fake(), Fake(), Fake()
    closes(pool, first, "EURUSD", {"2024-01-04": 1.1})
    closes(pool, second, "USDEUR", {"2024-01-04": 0.5})
    closes(pool, third, "EURGBP", {"2024-01-04": 0.8})
    with pytest.raises(UsageError) as caught:
        rate(pool, FRIDAY)
    assert "2 data sources have a rate from EUR to USD" in str(caught.value)
    assert f"{first.key()}, {second.key()}; choose one with --source" in str(caught.value)
    assert rate(pool, FRIDAY, first).rate == Decimal("1.1")
    assert rate(pool, FRIDAY, second).rate == 2
    with pytest.raises(DataError) as missing:
        rate(pool, FRIDAY, third)
    text = str(missing.value)
    assert f"data source {third.key()!r} has no close of EURUSD or USDEUR" in text
    assert f"(those that have one: {first.key()}, {second.key()})" in text
    assert "give --fx-rate (USD per EUR), or load one: engine data backfill --source NAME --tickers EURUSD" in text


def test_it_is_the_rate_that_a_run_of_the_same_source_has(pool):
    """The same rule, whoever asks: at any moment, of either pair, of daily bars and of minutes."""
    draw = random.Random(5)
    for pair, interval, step in (
        ("EURUSD", "1d", np.timedelta64(1, "D")),
        ("USDEUR", "1h", np.timedelta64(1, "h")),
    ):
        source = Offering(pair)
        fill(pool, source, pair, bars_of("2024-01-01", "2024-03-01", step, but=0.3), interval, seed=3)
        currencies = Currencies(source, interval)
        currencies.add("p", "USD", ["SAP"])
        live = currencies.live("p", 10)
        assert live is not None
        moments = sorted(at("2024-01-08") + timedelta(minutes=draw.randrange(60 * 24 * 60)) for _ in range(60))
        for now in moments:
            with pool.transaction(read_only=True, isolation="repeatable read") as connection:
                expected = live(connection, now).of("SAP", now)
            assert ("EUR", rate(pool, now, source).rate) == expected


def test_now_is_now(pool):
    source = Fake()
    closes(pool, source, "EURUSD", {"2024-01-04": 1.1})
    assert rate(pool, datetime.now(UTC)).known_since == at("2024-01-04 22:00")
