"""What is suspect about bars seen together: each mistake is found under its code and under no other."""

from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from framework.plugins.data_sources.sample import Sample
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.model.bars import Bars, CorporateAction
from tests.data.series import look, minutes_from_standin, moments, scaled, sessions, walk, without

HOUR = np.timedelta64(1, "h")
DAY = np.timedelta64(1, "D")
CALENDARS = ("XNYS", "XTKS", "XLON", "24/7", "24/5", "FX")


def split(bars, row, value):
    return CorporateAction("AAA", bars.timestamps[row].item().date(), "split", Decimal(str(value)))


def stepped(bars, row, factor):
    """Prices from ``row`` on times ``factor``."""
    return scaled(bars, np.where(np.arange(len(bars)) >= row, factor, 1.0))


# --- what is well --------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    calendar=st.sampled_from(CALENDARS),
    interval=st.sampled_from(("1d", "1h", "30min", "5min", "1min")),
    first=st.integers(0, 300),
    sigma=st.sampled_from((0.001, 0.01, 0.03)),
)
def test_a_walk_on_the_calendar_is_clean(seed, calendar, interval, first, sigma):
    times = moments(first, 250 if interval == "1d" else 12, interval, calendar)
    sigma = sigma if interval == "1d" else sigma / 10
    assert look(walk(times, sigma, seed), interval, calendar) == (Counter(), {})


@pytest.mark.parametrize("ticker", ["AAPL", "FB", "GOOG", "IBM", "MSFT"])
def test_crashes_gaps_and_flash_crashes_of_real_stocks_are_clean(ticker):
    # AAPL lost 52 % on 2000-09-29, near enough to a split of 2 for 1; 2008 and 2010-05-06 are in here, too.
    bars = Sample().bars([ticker], "1d", date.min, date.max)
    bars = replace(bars, tickers=(ticker,), code=np.zeros(len(bars), dtype=np.int32))
    splits = [action for action in Sample().corporate_actions([ticker]) if action.kind == "split"]
    assert look(bars, splits=splits, known=sessions_of_sample()) == (Counter(), {})


def sessions_of_sample():
    from framework.data.calendars import covering

    return covering("XNYS", date(1999, 12, 1), date(2013, 6, 1))


def test_the_splits_of_the_sample_are_found_where_nobody_knows_of_them():
    for ticker, days in {"AAPL": 2, "MSFT": 1, "IBM": 0}.items():
        bars = Sample().bars([ticker], "1d", date.min, date.max)
        bars = replace(bars, tickers=(ticker,), code=np.zeros(len(bars), dtype=np.int32))
        expected = {"unadjusted split": days} if days else {}
        assert look(bars, known=sessions_of_sample())[0] == expected, ticker


def test_sixty_days_of_minutes_are_clean():
    splits = Sample().corporate_actions(["AAPL"])
    assert look(minutes_from_standin("AAPL", 60), "1min", splits=splits) == (Counter(), {})


# --- one mistake each ----------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    row=st.integers(1, 246),
    length=st.integers(1, 3),
    factor=st.sampled_from((0.01, 0.5, 0.7, 1.4, 2.0, 10.0, 100.0)),
    seed=st.integers(0, 1000),
)
def test_a_price_that_jumps_and_comes_back_is_a_spike(row, length, factor, seed):
    bars = walk(moments(0, 250), 0.01, seed)
    at = np.arange(len(bars))
    spiked = scaled(bars, np.where((at >= row) & (at < row + length), factor, 1.0))
    assert look(spiked) == (
        {"spike": length},
        {"spike": bars.timestamps[row : row + length].tolist()},
    )


def test_a_single_price_that_is_far_off_is_a_spike():
    bars = walk(moments(0, 250), 0.01)
    low = bars.low.copy()
    low[100] /= 10
    assert look(replace(bars, low=low))[0] == {"spike": 1}
    minutes = walk(moments(0, 3, "1min"), 0.0005)
    high = minutes.high.copy()
    high[700] *= 1.3
    assert look(replace(minutes, high=high), "1min")[0] == {"spike": 1}


@pytest.mark.parametrize("interval", ["1d", "5min"])
@pytest.mark.parametrize("ratio", [1.5, 2, 3, 4, 5, 7, 10, 20])
@pytest.mark.parametrize("is_reverse", [False, True])
def test_a_split_that_nobody_knows_of_is_found_and_a_known_one_is_not(interval, ratio, is_reverse):
    times = moments(0, 250 if interval == "1d" else 10, interval)
    bars = walk(times, 0.01 if interval == "1d" else 0.001)
    row = 120 if interval == "1d" else 5 * 78
    shares = 1 / ratio if is_reverse else ratio
    bars = replace(bars, volume=np.where(np.arange(len(bars)) >= row, bars.volume * shares, bars.volume))
    opens = bars.open.copy()
    opens[row] = bars.close[row - 1]
    given = stepped(replace(bars, open=opens), row, ratio if is_reverse else 1 / ratio)
    assert look(given, interval)[0] == {"unadjusted split": 1}
    known = split(bars, row, 1 / Decimal(str(ratio)) if is_reverse else ratio)
    assert look(given, interval, splits=[known]) == (Counter(), {})


def test_a_crash_by_half_is_no_split():
    bars = walk(moments(0, 250), 0.01)
    crashed = stepped(bars, 120, 0.5)
    volume = np.where(np.arange(250) == 120, bars.volume * 15, bars.volume)
    assert look(replace(crashed, volume=volume)) == (Counter(), {})


def test_a_split_of_rows_that_are_adjusted_already_has_no_effect():
    bars = walk(moments(0, 250), 0.01)
    assert look(bars, splits=[split(bars, 120, 2)])[0] == {"split without effect": 1}
    assert look(bars, splits=[split(bars, 120, "1.05")])[0] == {}, "too small to tell"
    assert look(bars, splits=[split(bars, 0, 2)])[0] == {}, "before the first bar nobody can see it"


def test_pence_that_become_pounds_are_found():
    assert look(stepped(walk(moments(0, 250), 0.01), 120, 0.01))[0] == {"currency mismatch": 1}
    assert look(stepped(walk(moments(0, 250), 0.01), 120, 100))[0] == {"currency mismatch": 1}


@settings(max_examples=20, deadline=None)
@given(row=st.integers(1, 200), length=st.integers(1, 5))
def test_a_bar_that_repeats_is_stale(row, length):
    bars = walk(moments(0, 250), 0.01)
    at = np.arange(len(bars))
    copied = np.where((at >= row) & (at < row + length), row - 1, at)
    given = replace(bars.take(copied), timestamps=bars.timestamps)
    assert look(given) == ({"stale": length}, {"stale": bars.timestamps[row : row + length].tolist()})


def test_a_close_that_never_moves_is_stale_and_a_quiet_minute_is_not():
    bars = walk(moments(0, 250), 0.01)
    close = np.where((bars.timestamps > bars.timestamps[99]) & (bars.timestamps < bars.timestamps[130]), 50, bars.close)
    given = replace(bars, close=close, low=np.minimum(bars.low, close), high=np.maximum(bars.high, close))
    given = replace(given, open=bars.open)
    assert look(given)[0]["stale"] == 29
    minutes = walk(moments(0, 3, "1min"), 0.0005)
    prices = {
        name: np.where(np.arange(1170) // 3 % 50 == 0, 50.0, getattr(minutes, name)) for name in ("close", "open")
    }
    prices |= {"high": np.maximum(minutes.high, 50.0), "low": np.minimum(minutes.low, 50.0)}
    assert look(replace(minutes, **prices), "1min") == (Counter(), {})


@settings(max_examples=20, deadline=None)
@given(gone=st.sets(st.integers(1, 98), min_size=1, max_size=5), interval=st.sampled_from(("1d", "30min", "1h")))
def test_a_session_without_bars_is_missing(gone, interval):
    known = sessions().dates[:100]
    bars = walk(moments(0, 100, interval), 0.002)
    days = bars.timestamps.astype("datetime64[D]")
    assert look(without(bars, np.isin(days, known[sorted(gone)])), interval)[0] == {"missing session": len(gone)}


def test_minutes_that_are_missing_are_counted_and_the_ends_of_the_series_are_not():
    bars = walk(moments(0, 5, "1min"), 0.0005)
    assert look(without(bars, [400, 401, 1000]), "1min")[0] == {"missing minutes": 3}
    assert look(without(bars, [0, 1, 2, 1949]), "1min")[0] == {}


def test_half_days_and_lunch_breaks_are_no_gaps():
    known = sessions()
    half = int(np.flatnonzero(known.dates == np.datetime64("2005-11-25"))[0])
    bars = walk(moments(half - 2, 5, "1min"), 0.0005)
    assert len(bars) == 4 * 390 + 210
    assert look(bars, "1min") == (Counter(), {})
    tokyo = walk(moments(100, 3, "1min", "XTKS"), 0.0005)
    assert look(tokyo, "1min", "XTKS") == (Counter(), {})
    assert look(without(tokyo, [300, 301]), "1min", "XTKS")[0] == {"missing minutes": 2}


def test_a_bar_on_a_holiday_or_at_night_is_outside():
    bars = walk(moments(0, 30), 0.01)
    extra = np.datetime64("2004-01-19", "us")  # Martin Luther King
    with_extra = replace(bars, timestamps=np.sort(np.append(bars.timestamps[:-1], extra)))
    assert look(with_extra) == ({"outside session": 1}, {"outside session": [extra.item()]})
    minutes = walk(moments(0, 3, "1min"), 0.0005)
    night = minutes.timestamps[389] + 3 * HOUR
    assert look(walk(np.sort(np.append(minutes.timestamps, night)), 0.0005), "1min")[0] == {"outside session": 1}


def test_extended_hours_lie_outside_and_are_no_shift():
    known = sessions().between(0, 5)
    step = np.timedelta64(5, "m")
    days = zip(known.opens, known.closes, strict=True)
    times = np.concatenate([np.arange(opens - 5 * HOUR, closes + 4 * HOUR, step) for opens, closes in days])
    assert set(look(walk(times, 0.001), "5min")[0]) == {"outside session"}


# --- time zones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", ["1min", "5min", "30min", "1h"])
@pytest.mark.parametrize("hours", [-8, -5, -4, -1, 1, 4, 9])
def test_bars_some_hours_beside_the_session_are_in_the_wrong_time_zone(interval, hours):
    bars = walk(moments(0, 20, interval), 0.001)
    moved = replace(bars, timestamps=bars.timestamps + hours * HOUR)
    assert look(moved, interval)[0] == {"wrong time zone": len(bars)}


ZONES = {
    "XNYS": "America/New_York",
    "FX": "America/New_York",
    "XTKS": "Asia/Tokyo",
    "XLON": "Europe/London",
    "XBOM": "Asia/Kolkata",
    "XNZE": "Pacific/Auckland",
}


@pytest.mark.parametrize(("calendar", "zone"), ZONES.items())
def test_local_times_taken_for_utc_are_found(calendar, zone):
    monday = int(sessions(calendar).dates.searchsorted(np.datetime64("2004-06-07")))
    times = moments(monday, 15, "5min", calendar)
    offset = times[0].item().replace(tzinfo=ZoneInfo("UTC")).astimezone(ZoneInfo(zone)).utcoffset()
    moved = replace(walk(times, 0.001), timestamps=times + np.timedelta64(offset, "us"))
    found = look(moved, "5min", calendar)[0]
    assert set(found) == {"wrong time zone"}, found
    assert found["wrong time zone"] == len(times)


def test_a_clock_change_that_was_missed_is_found_for_the_part_of_the_year():
    bars = walk(moments(0, 120, "5min"), 0.001)
    late = bars.timestamps > np.datetime64("2004-04-04")
    moved = replace(bars, timestamps=np.where(late, bars.timestamps + HOUR, bars.timestamps))
    assert look(moved, "5min")[0] == {"wrong time zone": int(late.sum())}


def test_daily_bars_with_a_time_or_a_day_beside_are_in_the_wrong_time_zone():
    bars = walk(moments(0, 100), 0.01)
    for hours in (5, -2, 4):
        moved = replace(bars, timestamps=bars.timestamps + hours * HOUR)
        assert look(moved)[0] == {"wrong time zone": 100}
    monday = int(sessions().dates.searchsorted(np.datetime64("2004-03-01")))
    weeks = walk(moments(monday, 25), 0.01)
    for days in (-1, 1):
        assert set(look(replace(weeks, timestamps=weeks.timestamps + days * DAY))[0]) == {"wrong time zone"}


@pytest.mark.parametrize("hour", [0, 1])
def test_the_hour_that_autumn_repeats_is_not_lost_unsaid(hour):
    change = np.datetime64("2004-10-31T06:00", "us")  # New York
    bars = walk(moments(300, 8, "1min", "24/7"), 0.0005)
    gone = (bars.timestamps >= change + (hour - 1) * HOUR) & (bars.timestamps < change + hour * HOUR)
    assert gone.sum() == 60
    assert look(without(bars, gone), "1min", "24/7")[0] == {"repeated hour": 1}
    other = (bars.timestamps >= change + 9 * HOUR) & (bars.timestamps < change + 10 * HOUR)
    assert look(without(bars, other), "1min", "24/7")[0] == {"missing minutes": 60}


# --- where it is cut -----------------------------------------------------------------------------------------------


def spoiled(interval: str, calendar: str, count: int) -> Bars:
    """Some of each mistake."""
    bars = walk(moments(60, count, interval, calendar), 0.001)
    rng = np.random.default_rng(3)
    at = np.arange(len(bars))
    bars = stepped(bars, len(bars) // 3, 0.5)
    bars = scaled(bars, np.where(np.isin(at, rng.integers(0, len(bars), 20)), 3.0, 1.0))
    copied = np.where(np.isin(at, rng.integers(1, len(bars), 200)), at - 1, at)
    bars = replace(bars.take(copied), timestamps=bars.timestamps)
    days = bars.timestamps.astype("datetime64[D]")
    distinct = np.unique(days)
    gone = np.isin(days, rng.choice(distinct, len(distinct) // 20 + 1)) | (rng.uniform(size=len(bars)) < 0.01)
    late = np.isin(days, distinct[len(distinct) // 2 :])
    times = np.where(late, bars.timestamps + HOUR, bars.timestamps)
    return without(replace(bars, timestamps=times), gone)


@pytest.mark.parametrize(
    ("interval", "calendar", "count"),
    [("1d", "XNYS", 600), ("5min", "XNYS", 60), ("1h", "FX", 200), ("5min", "24/7", 40), ("1min", "XTKS", 20)],
)
def test_what_is_found_does_not_depend_on_where_it_is_cut(interval, calendar, count):
    bars = spoiled(interval, calendar, count)
    whole = look(bars, interval, calendar)
    assert len(whole[0]) >= 3, whole[0]
    for hours in (7, 24, 111, 1000, 5000):
        assert look(bars, interval, calendar, span=np.timedelta64(hours, "h")) == whole


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("interval", ["1d", "4h", "1min"])
def test_next_to_nothing_is_clean(count, interval):
    bars = walk(moments(0, 10, interval), 0.001)
    assert look(bars.take(np.arange(count)), interval) == (Counter(), {})


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_bars_make_it_fail_or_depend_on_the_cut(data):
    interval, calendar = data.draw(st.sampled_from(("1d", "4h", "1h", "1min"))), data.draw(st.sampled_from(CALENDARS))
    seconds = data.draw(st.lists(st.integers(0, 2 * 365 * 86400), min_size=1, max_size=60, unique=True))
    times = np.datetime64("2004-06-01", "us") + np.sort(seconds).astype("timedelta64[s]")
    count = len(times)
    price = st.one_of(st.sampled_from((1e-9, 1.0, 2.0, 9.1e9)), st.floats(1e-9, 9.1e9))
    close, other = (np.array(data.draw(st.lists(price, min_size=count, max_size=count))) for _ in range(2))
    volume = np.array(data.draw(st.lists(st.sampled_from((0.0, 1.0, 4e18)), min_size=count, max_size=count)))
    high, low = np.maximum(close, other), np.minimum(close, other)
    bars = Bars(("AAA",), np.zeros(count, dtype=np.int32), times, other, high, low, close, volume)
    day = date(2005, 1, data.draw(st.integers(1, 31)))
    value = data.draw(st.sampled_from(("0.000000000001", "0.5", "1", "2", "999999999999")))
    splits = [CorporateAction("AAA", day, kind, Decimal(value)) for kind in ("split", "dividend")]
    whole = look(bars, interval, calendar, splits)
    assert look(bars, interval, calendar, splits, span=np.timedelta64(1000, "h")) == whole
