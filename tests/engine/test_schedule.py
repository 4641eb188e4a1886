"""On which bars a portfolio decides."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from framework.engine.schedule import decision_rows, gather_missed
from framework.model.timeline import Timeline

# January 2005 on the New York exchange; the 17th was a holiday.
DAYS = np.array(
    ["2005-01-13", "2005-01-14", "2005-01-18", "2005-01-21", "2005-01-28", "2005-01-31", "2005-02-01"],
    dtype="datetime64[D]",
)
NEXT = np.array(
    ["2005-01-14", "2005-01-18", "2005-01-19", "2005-01-24", "2005-01-31", "2005-02-01", "2005-02-02"],
    dtype="datetime64[D]",
)
NAN = np.nan


def clock(days=DAYS, following=NEXT):
    moments = days.astype("datetime64[us]")
    return Timeline(moments, moments, moments, days, following)


def test_every_bar_from_the_first_that_counts():
    assert decision_rows("every_bar", clock(), 3).tolist() == [3, 4, 5, 6]


def test_daily_is_the_last_bar_of_each_session():
    days, following = np.repeat(DAYS[:2], 3), np.repeat(NEXT[:2], 3)
    assert decision_rows("daily", clock(days, following), 0).tolist() == [2, 5]


def test_weekly_is_the_last_session_of_the_calendars_week():
    assert decision_rows("weekly", clock(), 0).tolist() == [1, 3, 4]


def test_monthly_is_the_last_session_of_the_month_even_if_the_data_end_before():
    assert decision_rows("monthly", clock(), 0).tolist() == [5]
    assert decision_rows("monthly", clock(DAYS[:5], NEXT[:5]), 0).tolist() == []


def test_a_decision_makes_up_for_the_rows_since_the_last():
    weights = np.array([[0.1, NAN], [0.2, NAN], [NAN, 0.3], [NAN, NAN], [0.4, NAN]])
    found = gather_missed(weights, np.array([1, 3]))
    np.testing.assert_array_equal(found, [[NAN, NAN], [0.2, NAN], [NAN, NAN], [NAN, 0.3], [NAN, NAN]])


def test_the_first_decision_counts_only_its_own_row():
    weights = np.array([[0.1, 0.2], [NAN, 0.3], [NAN, NAN]])
    np.testing.assert_array_equal(gather_missed(weights, np.array([1]))[1], [NAN, 0.3])


def test_after_a_decision_older_than_the_window_all_of_it_counts():
    weights = np.array([[0.1, NAN], [NAN, NAN], [0.2, NAN], [NAN, 0.4]])
    np.testing.assert_array_equal(gather_missed(weights, np.array([-1, 3]))[3], [0.2, 0.4])
    np.testing.assert_array_equal(gather_missed(weights, np.array([-1, 1]))[1], [0.1, NAN])
    # As many rows as the window has from the first on, one of them before it: not every row decides.
    found = gather_missed(weights[:1], np.array([-1, 0]))
    np.testing.assert_array_equal(found, weights[:1])


@given(st.integers(0, 1000), st.lists(st.integers(0, 19), min_size=1, unique=True))
def test_it_is_what_a_plain_loop_finds(seed, rows):
    rng = np.random.default_rng(seed)
    weights = np.where(rng.random((20, 3)) < 0.7, np.nan, rng.random((20, 3)))
    rows = sorted(rows)
    found = gather_missed(weights, np.array(rows))
    for position, row in enumerate(rows):
        since = rows[position - 1] + 1 if position else row
        for column in range(3):
            values = [value for value in weights[since : row + 1, column] if not np.isnan(value)]
            np.testing.assert_equal(found[row, column], values[-1] if values else np.nan)
