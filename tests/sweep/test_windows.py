"""The windows of a walk forward."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from framework.data.calendars import sessions
from framework.errors import UsageError
from framework.model.sweep import Window
from framework.sweep.windows import span_of, windows_of

DAY = timedelta(days=1)


def windows(start: str, end: str, train: str, test: str, *, anchored: bool = False) -> tuple[Window, ...]:
    spans = span_of("--train", train), span_of("--test", test)
    return windows_of(date.fromisoformat(start), date.fromisoformat(end), "XNYS", *spans, anchored=anchored)


def test_tests_follow_one_another_and_trainings_roll() -> None:
    found = windows("2005-01-03", "2009-06-30", "2y", "1y")
    assert [tuple(map(str, (w.train_start, w.train_end, w.test_start, w.test_end))) for w in found] == [
        ("2005-01-03", "2007-01-02", "2007-01-03", "2008-01-02"),
        ("2006-01-03", "2008-01-02", "2008-01-03", "2009-01-02"),
        ("2007-01-03", "2009-01-02", "2009-01-03", "2009-06-30"),
    ]


def test_anchored_trainings_grow() -> None:
    found = windows("2005-01-03", "2009-06-30", "2y", "1y", anchored=True)
    assert {window.train_start for window in found} == {date(2005, 1, 3)}
    assert [window.test_start for window in found] == [
        w.test_start for w in windows("2005-01-03", "2009-06-30", "2y", "1y")
    ]


def test_the_last_of_a_month_stays_the_last() -> None:
    found = windows("2008-10-31", "2009-06-30", "1m", "1m")
    assert [str(window.test_start) for window in found[:5]] == [
        "2008-11-30", "2008-12-30", "2009-01-30", "2009-02-28", "2009-03-30",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "3", "y", "0y", "-1y", "3 years", "1.5y", "101y", "99999m"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--train was"):
        span_of("--train", text)


def test_too_little_time_is_refused() -> None:
    with pytest.raises(UsageError, match="needs more than 5y of time, but the run is 2005-01-03 to 2009-06-30"):
        windows("2005-01-03", "2009-06-30", "5y", "1y")


@settings(deadline=None)
@given(
    some.dates(date(1995, 1, 1), date(2005, 1, 1)), some.integers(30, 3000),
    some.sampled_from(["1m", "20d", "6m", "1y", "30w"]), some.sampled_from(["1m", "5d", "3w", "6m", "1y"]),
    some.booleans(),
)  # fmt: skip
def test_no_test_sees_its_training_and_none_is_left_out(
    start: date, days: int, train: str, test: str, anchored: bool
) -> None:
    end = start + timedelta(days=days)
    try:
        found = windows(str(start), str(end), train, test, anchored=anchored)
    except UsageError:
        assert span_of("--train", train).after(start) > end - timedelta(days=5)
        return
    assert [window.number for window in found] == list(range(len(found)))
    assert found[0].train_start == start
    assert len(sessions("XNYS", found[-1].test_end, end)) <= 1
    for window in found:
        assert window.train_start <= window.train_end == window.test_start - DAY < window.test_start <= window.test_end
    for one, other in pairwise(found):  # an exchange may be closed for a week: 2001-09-11 to 14
        assert one.test_end < other.test_start
        assert len(sessions("XNYS", one.test_end, other.test_start)) <= 2
