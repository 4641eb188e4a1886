"""Our adjustment against the series that the source itself adjusts."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest

from framework.data.adjustment_check import AdjustmentDifference, compare_adjusted, difference
from framework.data.backfill import backfill

FIRST, LAST = date(2000, 3, 1), date(2013, 3, 1)
NOW = datetime(2013, 6, 1, tzinfo=UTC)
TICKERS = ["AAPL", "MSFT", "IBM"]


def series(*closes, first="2020-01-01"):
    return np.datetime64(first, "D") + np.arange(len(closes)), np.array(closes, float)


def test_adjusted_closes_agree_with_the_sources_own(make, pool):
    backfill(pool, make(), TICKERS, "1d", "XNYS", FIRST, LAST, now=NOW)
    found = compare_adjusted(pool, make(), TICKERS, FIRST, LAST)
    assert [each.ticker for each in found] == TICKERS
    assert min(each.days for each in found) == 3270
    assert max(each.largest for each in found) < 1e-4


@pytest.mark.parametrize(
    ("statement", "ticker", "day"),
    [
        ("DELETE FROM corporate_actions WHERE ticker = 'AAPL' AND ex_date = '2005-02-28'", "AAPL", date(2005, 2, 28)),
        ("DELETE FROM corporate_actions WHERE ticker = 'MSFT' AND ex_date = '2004-11-15'", "MSFT", date(2004, 11, 15)),
    ],
)
def test_an_action_that_is_lacking_is_found_with_its_date(make, pool, statement, ticker, day):
    backfill(pool, make(), TICKERS, "1d", "XNYS", FIRST, LAST, now=NOW)
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.rowcount == 1
    worst = max(compare_adjusted(pool, make(), TICKERS, FIRST, LAST), key=lambda each: each.largest)
    assert (worst.ticker, worst.breaks_at) == (ticker, day)
    assert worst.largest > 0.05


def test_a_ticker_that_was_never_loaded_has_nothing_to_compare(make, pool):
    assert compare_adjusted(pool, make(), ["AAPL"], FIRST, LAST) == (AdjustmentDifference("AAPL"),)


def test_a_source_without_such_a_series_is_not_compared(pool):
    from framework.plugins.data_sources.sample import Sample

    assert compare_adjusted(pool, Sample(), ["AAPL"], FIRST, LAST) == ()


def test_a_common_factor_is_no_difference():
    found = difference("A", series(10, 11, 12), series(5, 5.5, 6))
    assert (found.days, found.largest, found.day) == (3, 0.0, None)


def test_rounding_to_cents_is_no_difference_and_more_is():
    ours = 3.0 + np.arange(100) * 0.001234567
    assert difference("A", series(*ours), series(*np.round(ours, 2))).largest < 1e-4
    wrong = np.round(ours, 2)
    wrong[40] += 0.02
    found = difference("A", series(*ours), series(*wrong))
    assert found.largest > 1e-3
    assert found.day == date(2020, 2, 10)


def test_only_days_that_both_have_count():
    found = difference("A", series(10, 11, 12), series(11, 12, 13, first="2020-01-02"))
    assert (found.days, found.largest) == (2, 0.0)
    assert difference("A", series(1, 2), series(1, 2, first="2021-01-01")).days == 0
    assert difference("A", series(), series(1, 2)).days == 0
