"""When allocations are due and flows come, by the calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from framework.config.model import Flow
from framework.data.flow_dates import dated
from framework.data.moments import moments

SETTLE = timedelta(minutes=60)


def of(schedule: str, start: date, end: date, interval: str = "1d") -> list[tuple[str, str]]:
    found = moments("XNYS", interval, timedelta(0), schedule, start, end)
    return [(f"{due.at:%Y-%m-%d %H:%M}", due.slot) for due in found]


def test_a_month_ends_with_its_last_session_also_beyond_the_end_asked_for() -> None:
    # 2005-12-30 is the last session of December; 2006-01-20 is a Friday in the middle of January.
    assert of("monthly", date(2005, 11, 15), date(2006, 1, 20)) == [
        ("2005-11-30 21:00", "close"),
        ("2005-12-30 21:00", "close"),
    ]


def test_weeks_end_before_holidays() -> None:
    # Good Friday 2005-03-25: the week's last session is Thursday.
    assert of("weekly", date(2005, 3, 21), date(2005, 4, 1)) == [
        ("2005-03-24 21:00", "close"),
        ("2005-04-01 21:00", "close"),
    ]


def test_the_source_has_to_settle_first() -> None:
    (due,) = moments("XNYS", "1d", SETTLE, "daily", date(2005, 7, 5), date(2005, 7, 5))
    assert (due.at, due.session) == (datetime(2005, 7, 5, 21, 0, tzinfo=UTC), date(2005, 7, 5))


def test_every_bar_of_a_session_ends_with_its_close() -> None:
    found = of("every_bar", date(2005, 11, 25), date(2005, 11, 25), "1h")  # a half day: 9:30 to 13:00
    assert found == [
        ("2005-11-25 15:30", "15:30"),
        ("2005-11-25 16:30", "16:30"),
        ("2005-11-25 17:30", "17:30"),
        ("2005-11-25 18:00", "close"),
    ]
    assert of("every_bar", date(2005, 11, 25), date(2005, 11, 25)) == [("2005-11-25 18:00", "close")]


def days(start: date, end: date, **flow: object) -> list[str]:
    return [str(each.session) for each in dated([Flow(amount=5, **flow)], "XNYS", start, end)]  # type: ignore[arg-type]


def test_a_date_without_a_session_means_the_next() -> None:
    assert days(date(2005, 1, 3), date(2005, 12, 30), date=date(2005, 7, 2)) == ["2005-07-05"]
    assert days(date(2005, 1, 3), date(2005, 7, 3), date=date(2005, 7, 2)) == []  # it comes after the run
    assert days(date(2005, 1, 3), date(2005, 7, 3), date=date(2004, 12, 31)) == []


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("week", ["2005-03-21", "2005-03-28", "2005-04-04"]),
        ("month", ["2005-04-01"]),
        ("quarter", ["2005-04-01"]),
        ("year", []),
    ],
)
def test_periods_begin_after_the_start(every: str, expected: list[str]) -> None:
    assert days(date(2005, 3, 14), date(2005, 4, 8), every=every) == expected


def test_flows_of_a_session_keep_the_order_of_the_config() -> None:
    first = Flow(amount=5, date=date(2005, 4, 2), reference="a")
    found = dated([Flow(amount=3, every="month"), first], "XNYS", date(2005, 3, 1), date(2005, 5, 2))
    assert [(str(each.session), each.reference, each.amount) for each in found] == [
        ("2005-04-01", "flow 1 2005-04-01", 3.0),
        ("2005-04-04", "a", 5.0),
        ("2005-05-02", "flow 1 2005-05-01", 3.0),
    ]
    assert found[0].at == datetime(2005, 4, 1, 14, 30, tzinfo=UTC)
