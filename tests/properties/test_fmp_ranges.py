"""What the source ``fmp`` asks for: never a reversed range, never one that the API would cut."""

from __future__ import annotations

from datetime import date, timedelta
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framework.plugin_manager import PluginManager
from tests.standins.fmp_rows import MOST_ROWS, WINDOW_DAYS

SOURCE = PluginManager.load([], None).create("data source", "fmp", {"api_key": "x"})
STARTS = st.dates(date(1995, 1, 1), date(2026, 1, 1))
#: Each example asks from several threads.
UNHURRIED = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
#: A year of minutes is a few hundred requests.
LENGTHS = st.one_of(st.integers(-40, 400), st.integers(-10_000, 10_000))


def asked(work):
    """The ranges of the requests that some work makes, oldest first."""
    found = []

    def get(path, **params):
        if "from" in params:
            found.append((path, date.fromisoformat(params["from"]), date.fromisoformat(params["to"])))
        return [] if "from" in params else [{"symbol": "A", "currency": "USD"}]

    with patch.object(SOURCE, "get", get):
        work()
    return sorted(found)


@UNHURRIED
@given(st.sampled_from(sorted(SOURCE.spans)), STARTS, LENGTHS)
def test_a_range_is_asked_for_whole_in_ranges_that_come_whole(interval, start, days):
    if interval != "1d":
        days = min(days, 400)
    end = start + timedelta(days=days)
    found = asked(lambda: SOURCE.bars(["A"], interval, start, end))
    most = {"1h": "1hour", "4h": "4hour"}.get(interval, interval)
    for _, first, last in found:
        assert first <= last
        assert (last - first).days + 1 <= WINDOW_DAYS.get(most, MOST_ROWS)
        # Where a range begins and ends on one day, the API leaves out the first bar.
        assert interval == "1d" or first < last
    # Of intraday ranges the first day is not relied on.
    relied = [(first + timedelta(days=interval != "1d"), last) for _, first, last in found]
    covered = [first + timedelta(days=day) for first, last in relied for day in range((last - first).days + 1)]
    assert covered == [start + timedelta(days=day) for day in range(days + 1)]


@UNHURRIED
@given(STARTS, st.integers(-400, 10_000))
def test_the_adjusted_series_too(start, days):
    found = asked(lambda: SOURCE.adjusted_closes("A", start, start + timedelta(days=days)))
    assert all(first <= last and (last - first).days < MOST_ROWS for _, first, last in found)
    assert sum((last - first).days + 1 for _, first, last in found) == max(0, days + 1)
