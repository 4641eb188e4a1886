"""Sessions, and when a bar trades and is known."""

import time
from datetime import date, datetime, timedelta
from threading import Thread
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from framework.data.calendars import check_calendar, outside_sessions, reading_span, sessions, timeline, warmup_start
from framework.errors import ConfigError, DataError

UTC = ZoneInfo("UTC")


def stamps(*texts):
    return np.array(texts, dtype="datetime64[us]")


def texts(array):
    return [str(value)[:16] for value in array]


def test_sessions_leave_out_weekends_and_holidays():
    got = sessions("XNYS", date(2001, 9, 7), date(2001, 9, 18))
    assert texts(got) == ["2001-09-07", "2001-09-10", "2001-09-17", "2001-09-18"]


def test_daily_bars_are_known_at_the_close_of_their_session():
    got = timeline("XNYS", "1d", stamps("2012-07-02", "2012-07-03", "2012-07-05"))
    assert texts(got.opens) == ["2012-07-02T13:30", "2012-07-03T13:30", "2012-07-05T13:30"]
    assert texts(got.available) == ["2012-07-02T20:00", "2012-07-03T17:00", "2012-07-05T20:00"]  # 3 July closed early
    assert texts(got.session) == ["2012-07-02", "2012-07-03", "2012-07-05"]
    assert texts(got.next_session) == ["2012-07-03", "2012-07-05", "2012-07-06"]


def test_settle_is_added_to_the_end():
    got = timeline("XNYS", "1d", stamps("2012-07-02"), timedelta(minutes=60))
    assert texts(got.available) == ["2012-07-02T21:00"]


def test_intraday_bars_are_known_at_their_end_cut_at_the_close():
    got = timeline("XNYS", "1h", stamps("2012-07-03T13:30", "2012-07-03T14:30", "2012-07-03T16:30", "2012-07-05T13:30"))
    assert texts(got.available) == ["2012-07-03T14:30", "2012-07-03T15:30", "2012-07-03T17:00", "2012-07-05T14:30"]
    assert texts(got.session) == ["2012-07-03"] * 3 + ["2012-07-05"]
    assert got.last_of_session().tolist() == [False, False, True, True]


def test_a_bar_that_reaches_into_the_session_opens_with_it():
    got = timeline("XNYS", "1h", stamps("2012-07-02T13:00"))
    assert texts(got.opens) == ["2012-07-02T13:30"]


@pytest.mark.parametrize(
    ("calendar", "interval", "stamp", "outside"),
    [
        ("XNYS", "1d", "2012-07-04", True),
        ("XNYS", "1d", "2012-07-05", False),
        ("XNYS", "1min", "2012-07-05T13:29", True),
        ("XNYS", "1min", "2012-07-05T13:30", False),
        ("XNYS", "1min", "2012-07-05T19:59", False),
        ("XNYS", "1min", "2012-07-05T20:00", True),
        ("XNYS", "1min", "2012-07-03T17:00", True),
        ("XNYS", "1min", "2012-07-04T15:00", True),
        ("XHKG", "1min", "2012-07-05T03:59", False),
        ("XHKG", "1min", "2012-07-05T04:00", True),  # lunch
        ("XHKG", "1min", "2012-07-05T04:59", True),
        ("XHKG", "1min", "2012-07-05T05:00", False),
        ("24/7", "1min", "2012-07-08T00:00", False),
        ("24/5", "1min", "2012-07-08T23:59", True),
        ("FX", "1min", "2012-07-08T20:59", True),
        ("FX", "1min", "2012-07-08T21:00", False),
    ],
)
def test_bars_outside_sessions(calendar, interval, stamp, outside):
    assert outside_sessions(calendar, interval, stamps(stamp)).tolist() == [outside]


def test_a_timeline_refuses_bars_outside_sessions():
    with pytest.raises(DataError, match=r"1d bar of 2012-07-04.* outside every session of calendar XNYS"):
        timeline("XNYS", "1d", stamps("2012-07-03", "2012-07-04"))


def test_sunday_evening_belongs_to_monday_in_foreign_exchange():
    got = timeline("FX", "1h", stamps("2012-07-08T21:00", "2012-07-09T20:00", "2012-07-09T21:00"))
    assert texts(got.session) == ["2012-07-09", "2012-07-09", "2012-07-10"]
    daily = timeline("FX", "1d", stamps("2012-01-09", "2012-07-09"))
    assert texts(daily.available) == ["2012-01-09T22:00", "2012-07-09T21:00"]  # 17:00 New York


#: The library itself uses what newer versions of pandas call deprecated.
library = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@library
@pytest.mark.parametrize("name", ["24/7", "24/5"])
def test_continuous_calendars_are_those_of_the_library(name):
    import exchange_calendars

    theirs = exchange_calendars.get_calendar(name, start="2012-01-01", end="2012-12-31")
    days = sessions(name, date(2012, 1, 1), date(2012, 12, 31))
    assert (days == theirs.sessions.to_numpy().astype("datetime64[D]")).all()
    got = timeline(name, "1d", days.astype("datetime64[us]"))
    assert (got.opens == theirs.opens.dt.tz_convert(None).to_numpy()).all()
    assert (got.available == theirs.closes.dt.tz_convert(None).to_numpy()).all()


@library
@pytest.mark.parametrize("name", ["XNYS", "XHKG", "CMES", "XTKS"])
def test_labels_agree_with_a_search_session_by_session(name):
    import exchange_calendars

    theirs = exchange_calendars.get_calendar(name, start="2012-03-01", end="2012-03-20")
    spans = [
        (day.date(), theirs.session_open(day).to_pydatetime(), theirs.session_close(day).to_pydatetime())
        for day in theirs.sessions
    ]
    every = np.arange("2012-03-06T00:00", "2012-03-13T00:00", 5, dtype="datetime64[m]").astype("datetime64[us]")
    trading = {minute.to_pydatetime() for minute in theirs.minutes if minute.minute % 5 == 0}
    inside = ~outside_sessions(name, "5min", every)
    got = timeline(name, "5min", every[inside])
    labels = dict(zip(every[inside].tolist(), got.session.tolist(), strict=True))
    for moment in every.tolist():
        aware = moment.replace(tzinfo=UTC)
        expected = next((day for day, start, end in spans if start <= aware < end), None)
        assert (aware in trading) == (moment in labels)
        if moment in labels:
            assert labels[moment] == expected


def test_reading_spans():
    assert reading_span("XNYS", "1d", date(2012, 7, 1), date(2012, 7, 4)) == (
        datetime(2012, 7, 2, tzinfo=UTC),
        datetime(2012, 7, 3, tzinfo=UTC),
    )
    first, last = reading_span("XTKS", "5min", date(2012, 7, 2), date(2012, 7, 2))
    assert first < datetime(2012, 7, 2, 0, 0, tzinfo=UTC) < last < datetime(2012, 7, 2, 6, 0, tzinfo=UTC)
    assert first > datetime(2012, 7, 1, 23, 55, tzinfo=UTC)
    with pytest.raises(DataError, match="no session from 2012-07-07 to 2012-07-08"):
        reading_span("XNYS", "1d", date(2012, 7, 7), date(2012, 7, 8))


def test_warmup_reaches_back_by_bars():
    assert warmup_start("XNYS", "1d", date(2012, 7, 5), 2) == date(2012, 7, 2)
    assert warmup_start("XNYS", "1d", date(2012, 7, 5), 0) == date(2012, 7, 5)
    assert warmup_start("XNYS", "1h", date(2012, 7, 5), 4) == date(2012, 7, 2)  # three full hours on the 3rd
    assert warmup_start("XTKS", "1d", date(1997, 2, 3), 10_000) == date(1997, 1, 6)


def test_a_calendar_of_few_years_says_so():
    with pytest.raises(ConfigError, match=r"'XTKS' knows the sessions from 1997-01-06 to"):
        sessions("XTKS", date(1985, 1, 1), date(1990, 1, 1))


@pytest.mark.parametrize(
    ("name", "near"), [("xnys", "'XNYS'"), ("XNYSE", "'XNYS'"), ("NYSE2", "'NYSE'"), ("24-7", "24/7")]
)
def test_an_unknown_calendar_names_the_nearest(name, near):
    with pytest.raises(ConfigError, match=f"calendar '{name}' is unknown") as caught:
        check_calendar(name)
    assert near in str(caught.value)


@pytest.mark.parametrize(("start", "end"), [(date(1, 1, 1), date(2000, 1, 1)), (date(2000, 1, 1), date(9999, 1, 1))])
def test_absurd_dates(start, end):
    with pytest.raises(DataError, match="years 1900 to 2100"):
        sessions("XNYS", start, end)


def test_a_span_that_ends_before_it_starts():
    with pytest.raises(DataError, match="2000-01-02 to 2000-01-01 is empty"):
        sessions("XNYS", date(2000, 1, 2), date(2000, 1, 1))


def test_no_bars_at_all():
    assert len(timeline("XNYS", "1min", stamps())) == 0
    assert len(outside_sessions("XNYS", "1min", stamps())) == 0


def test_threads_that_need_the_same_calendar_build_it_once(monkeypatch):
    from framework.data import calendars

    builds = []
    real = calendars._exchange
    monkeypatch.setattr(calendars, "_exchange", lambda *args: (builds.append(args), real(*args))[1])
    calendars._built.cache_clear()
    threads = [Thread(target=sessions, args=("XAMS", date(2012, 1, 1), date(2012, 2, 1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1


def test_a_million_minutes_are_labelled_in_well_under_a_second():
    every = np.datetime64("2005-01-03", "us") + np.arange(1_000_000) * np.timedelta64(60_000_000, "us")
    outside_sessions("XNYS", "1min", every[:1])  # builds the calendar
    started = time.perf_counter()
    timeline("XNYS", "1min", every[~outside_sessions("XNYS", "1min", every)])
    assert time.perf_counter() - started < 1
