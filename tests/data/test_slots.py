"""The slots of cron text, and the bars that they act on, against a plain walk through the moments."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.calendars import STEPS, covering, outside_sessions, timeline
from framework.data.coming import Coming
from framework.data.slots import Slots
from framework.errors import ConfigError
from framework.model.timeline import moment

START, END = date(2024, 2, 20), date(2024, 3, 26)  # the clocks of New York change on 10 March
TEXTS = (
    "0 16 * * *", "5 16 * * 1-5", "30 15 * * 1-5", "0 12 * * 3", "0 9 * * 1", "*/20 * * * *", "45 9-15/2 * * *",
    "0 20 L * *", "0 9 1,15 * *", "30 2 * * *", "0 0 * * *", "15 10 * * 2#1", "0 18 29 2 *",
)  # fmt: skip


def bars(calendar, interval):
    """Starts of the bars of the range."""
    known = covering(calendar, START, END)
    if interval == "1d":
        return known.dates.astype("datetime64[us]")
    step = np.timedelta64(STEPS[interval], "us")
    return np.concatenate([np.arange(first, last, step) for first, last in zip(known.opens, known.closes, strict=True)])


def walked(calendar, text, start, end):
    """Slots from ``start`` to ``end``, both included, one after the other."""
    known = covering(calendar, START - timedelta(days=5), END + timedelta(days=40))
    dates = set(known.dates.tolist())
    found = []
    for each in CronSim(text, (start - timedelta(seconds=1)).astimezone(known.zone)):
        if each > end:
            return found
        if each.date() in dates:
            found.append(each.astimezone(UTC))


@st.composite
def timelines(draw):
    """A calendar's bars with some missing, and a schedule on them."""
    calendar = draw(st.sampled_from(["XNYS", "XTKS", "24/7"]))
    interval = draw(st.sampled_from(["1d", "1h", "4h", "15min"] if calendar != "24/7" else ["1d", "4h"]))
    settle = timedelta(minutes=draw(st.sampled_from([0, 0, 5, 60])))
    times = bars(calendar, interval)
    times = times[~outside_sessions(calendar, interval, times)]  # not in a lunch break
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    times = times[rng.random(len(times)) > draw(st.sampled_from([0.0, 0.0, 0.2]))]
    slots = Coming(calendar, interval, settle).schedule(draw(st.sampled_from(TEXTS)))
    assert isinstance(slots, Slots)
    return slots, timeline(calendar, interval, times, settle)


@settings(deadline=None, max_examples=60)
@given(timelines())
def test_a_slot_acts_on_the_newest_bar_that_is_available(case):
    slots, clock = case
    rows, moments = slots.acting(clock)
    end = slots.next_bar(moment(clock.available[-1])) - timedelta(microseconds=1)
    expected: dict[int, datetime] = {}
    for slot in walked(slots.calendar, slots.text, moment(clock.available[0]), end):
        known = [row for row in range(len(clock)) if moment(clock.available[row]) <= slot]
        expected.setdefault(known[-1], slot)
    assert dict(zip(rows.tolist(), map(moment, moments), strict=True)) == expected


@settings(deadline=None, max_examples=60)
@given(timelines())
def test_its_orders_trade_in_the_first_bar_that_starts_at_it_or_after(case):
    slots, clock = case
    rows, moments = slots.acting(clock)
    found = slots.delays(clock)
    for row, slot in zip(rows.tolist(), moments, strict=True):
        later = [at for at in range(len(clock)) if at > row and clock.opens[at] >= slot]
        expected = later[0] if later else len(clock)
        assert (row + 1 if found is None else found.first_bars[row]) == expected


@settings(deadline=None, max_examples=40)
@given(timelines(), st.integers(0, 10_000))
def test_whoever_knows_only_the_past_finds_the_same(case, number):
    slots, clock = case
    rows, moments = slots.acting(clock)
    if not len(rows):
        return
    place = number % len(rows)
    now = moment(moments[place])
    seen = clock.rows(0, int(np.searchsorted(clock.available, moments[place], side="right")))
    then, _ = slots.acting(seen, now)
    assert then.tolist() == rows[: place + 1].tolist()
    assert then[-1] == len(seen) - 1
    before, _ = slots.acting(seen, now - timedelta(microseconds=1))
    assert before.tolist() == rows[:place].tolist()


def test_the_time_zone_is_the_calendars_and_the_dates_are_sessions():
    slots = Coming("XNYS", "1d").schedule("30 15 * * *")
    assert slots.after(datetime(2024, 3, 8, 20, 29, tzinfo=UTC)) == datetime(2024, 3, 8, 20, 30, tzinfo=UTC)
    # Then comes a weekend, and New York changes its clocks.
    assert slots.after(datetime(2024, 3, 8, 20, 30, tzinfo=UTC)) == datetime(2024, 3, 11, 19, 30, tzinfo=UTC)
    tokyo = Coming("XTKS", "1d").schedule("0 9 * * *")
    assert tokyo.at_or_after(datetime(2024, 1, 1, tzinfo=UTC)) == datetime(2024, 1, 4, tzinfo=UTC)


def test_where_clocks_change_cron_runs_once():
    days = [Coming("24/7", "1h").schedule("30 2 * * *"), Coming("FX", "1h").schedule("30 2 * * *")]
    assert [each.after(datetime(2024, 3, 8, 7, 0, tzinfo=UTC)).hour for each in days] == [2, 7]


def test_a_schedule_that_never_falls_on_a_session_is_refused():
    with pytest.raises(ConfigError, match=r"'0 12 \* \* 0' has no moment on a session of calendar XNYS"):
        Coming("XNYS", "1d").schedule("0 12 * * 0")


@pytest.mark.parametrize(
    ("text", "interval", "newest", "until"),
    [
        # After the close: until the end of the session in which its orders should fill.
        ("0 18 * * *", "1d", "2024-03-11", "2024-03-12T20:00"),
        # In the middle of a bar: the next slot that finds a newer bar comes first.
        ("0 12 * * *", "1d", "2024-03-11", "2024-03-13T16:00"),
        ("0 12 * * 2", "1d", "2024-03-11", "2024-03-13T20:00"),
        ("30 10,12 * * *", "1h", "2024-03-11T13:30", "2024-03-11T16:30"),
        ("30 10 * * *", "1h", "2024-03-11T13:30", "2024-03-11T20:00"),
    ],
)
def test_how_long_a_decision_holds(text, interval, newest, until):
    coming = Coming("XNYS", interval)
    clock = timeline("XNYS", interval, np.array([newest], dtype="datetime64[us]"))
    found = coming.valid_until(coming.schedule(text), clock)
    assert found == datetime.fromisoformat(until).replace(tzinfo=UTC)


def test_the_next_moment_is_a_bar_or_a_slot():
    coming = Coming("XNYS", "1d")
    at = datetime(2024, 3, 11, 12, tzinfo=UTC)
    assert coming.next_due("every_bar", at) == datetime(2024, 3, 11, 20, tzinfo=UTC)
    assert coming.next_due(coming.schedule("0 12 * * *"), at) == datetime(2024, 3, 11, 16, tzinfo=UTC)
    assert coming.next_due(coming.schedule("0 18 * * *"), at) == datetime(2024, 3, 11, 20, tzinfo=UTC)
