"""What is refused, mended and said of bars before they are stored."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from framework.data import quality
from framework.data.quality import QualityReport, check_spacing, merged
from framework.errors import DataError
from framework.model.bars import Bars
from framework.model.quality import MENDED, REFUSED

DAY = np.timedelta64(86400_000_000, "us")


def bars(*rows, tickers=("AAA", "BBB")):
    """Rows of (code, day, open, high, low, close, volume)."""
    table = np.array(rows, dtype=float).reshape(-1, 7).T
    stamps = np.datetime64("2020-01-01", "us") + table[1].astype(int) * DAY
    return Bars(tickers, table[0].astype(np.int32), stamps, *table[2:])


def check(given):
    """The kept bars, and what was found of all tickers together."""
    kept, found, _ = quality.check(given)
    return kept, merged(found.values())


GOOD = (0, 1, 10, 12, 9, 11, 100)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ((0, 2, 10, 12, 9, np.nan, 100), "missing price"),
        ((0, 2, np.inf, np.inf, 9, 10, 100), "missing price"),
        ((0, 2, 10, 12, 0, 11, 100), "price not positive"),
        ((0, 2, -10, 12, -10, 11, 100), "price not positive"),
        ((0, 2, 1e10, 1e10, 1e10, 1e10, 100), "price too large"),
        ((0, 2, 10, 9, 12, 10, 100), "high below low"),
        ((0, 2, 10, 12, 9, 12.1, 100), "outside range"),
        ((0, 2, 8, 12, 9, 11, 100), "outside range"),
        ((0, 2, 10, 12, 9, 11, -1), "negative volume"),
        ((0, 2, 10, 12, 9, 11, 1e19), "volume too large"),
        (GOOD, "duplicate"),
        ((0, 1, 10, 12, 9, 11.5, 100), "conflicting duplicate"),
    ],
)
def test_a_bad_row_is_refused_counted_and_named(row, code):
    kept, report = check(bars(GOOD, row))
    assert len(kept) == 1
    assert kept.close[0] == 11
    assert report.counts == {code: 1}
    assert (report.rows, report.refused, report.accepted) == (2, 1, 1)
    (line,) = report.lines()
    assert line.startswith("1 of 2 rows refused: ")
    assert f"AAA 2020-01-{row[1] + 1:02} 00:00 UTC" in line


def test_absurd_dates_are_refused():
    given = bars(GOOD, GOOD, GOOD)
    stamps = np.array(["NaT", "0001-01-01", "2020-01-02"], dtype="datetime64[us]")
    kept, report = check(replace(given, timestamps=stamps))
    assert len(kept) == 1
    assert report.counts == {"absurd date": 2}
    assert "AAA without a date (open 10" in report.lines()[0]


def test_a_row_counts_once_under_what_is_worst():
    _, report = check(bars((0, 2, np.nan, 1, 2, -3, -1)))
    assert report.counts == {"missing price": 1}


def test_a_close_a_hair_outside_widens_the_range():
    kept, report = check(bars((0, 1, 10, 12, 9, 12.001, 100), (0, 2, 8.9999, 12, 9, 10, 100)))
    assert kept.high.tolist() == [12.001, 12]
    assert kept.low.tolist() == [9, 8.9999]
    assert report.counts == {"widened": 2}
    assert report.refused == 0
    assert report.lines()[0].startswith("2 of 2 rows kept: ")


def test_a_missing_volume_becomes_zero_and_is_said():
    kept, report = check(bars((0, 1, 10, 12, 9, 11, np.nan)))
    assert kept.volume.tolist() == [0]
    assert report.counts == {"no volume": 1}


def test_a_volume_that_is_not_whole_is_rounded_and_said():
    rows = [(0, day, 10, 12, 9, 11, volume) for day, volume in enumerate((0.4, 1.5, 2.5, 7, np.nan, 1e15 + 0.5))]
    kept, report = check(bars(*rows))
    assert kept.volume.tolist() == [0, 2, 2, 7, 0, 1e15]
    assert report.counts == {"fractional volume": 4, "no volume": 1}
    (line,) = [line for line in report.lines() if "whole" in line]
    assert line.startswith("4 of 6 rows kept: the volume is not whole; stored rounded")
    assert "AAA 2020-01-01 00:00 UTC (volume 0.4)" in line


def test_a_conflicting_duplicate_is_shown_against_the_bar_that_stays():
    other = (0, 1, 10, 12.000000000001, 9, 11.5, np.nan)
    _, report = check(bars(GOOD, (0, 2, 10, 12, 9, 11, 1), GOOD, other))
    (line,) = [line for line in report.lines() if "with other values" in line]
    assert line.endswith(
        "AAA 2020-01-02 00:00 UTC (kept high 12, close 11, volume 100; left out high 12.000000000001, close 11.5, "
        "volume nan)"
    )


def test_what_is_found_is_told_by_ticker():
    rows = [(0, 1, -1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1, 0.5), GOOD, (1, 2, -1, 1, 1, 1, 1), (1, 3, 1, 1, 1, 1, 1)]
    _, found, _ = quality.check(bars(*rows, tickers=("AAA", "BBB", "CCC")))
    assert {ticker: (report.rows, report.counts) for ticker, report in found.items()} == {
        "AAA": (2, {"price not positive": 1}),
        "BBB": (3, {"price not positive": 1, "fractional volume": 1}),
    }
    assert [example.ticker for example in merged(found.values()).examples] == ["AAA", "BBB", "BBB"]


def test_a_report_survives_being_stored():
    given = bars(GOOD, (0, 2, -1, 1, 1, 1, 1), (0, 3, 10, 12, 9, 11, 1.5), GOOD, (0, 1, 1, 1, 1, 1, 1))
    stamps = given.timestamps.copy()
    stamps[1] = np.datetime64("NaT", "us")
    _, found, _ = quality.check(replace(given, timestamps=stamps))
    report = found["AAA"]
    assert len(report.counts) == len(report.examples) == 4
    assert QualityReport.of("AAA", json.loads(json.dumps(report.stored()))) == report
    assert QualityReport.of("AAA", {}) == QualityReport()
    assert QualityReport.of("AAA", QualityReport(5).stored()) == QualityReport(5)


@pytest.mark.parametrize("year", ["-290000", "0001", "30000", "290000"])
def test_a_date_beyond_all_calendars_can_be_said(year):
    stamps = np.array([f"{year}-01-01"], dtype="datetime64[us]")
    _, report = check(replace(bars(GOOD), timestamps=stamps))
    assert report.counts == {"absurd date": 1}
    assert "AAA " in report.lines()[0]


def test_bars_come_out_by_ticker_and_time_the_first_of_a_key_kept():
    rows = [
        (1, 2, 5, 5, 5, 5, 1),
        (0, 2, 2, 2, 2, 2, 1),
        (1, 1, 4, 4, 4, 4, 1),
        (0, 2, 3, 3, 3, 3, 1),
        (0, 1, 1, 1, 1, 1, 1),
    ]
    kept, report = check(bars(*rows, (0, 2, 2, 2, 2, 2, 1)))
    assert kept.close.tolist() == [1, 2, 4, 5]
    assert report.counts == {"conflicting duplicate": 1, "duplicate": 1}


def test_rows_in_order_are_not_copied():
    given = bars((0, 1, 1, 1, 1, 1, 1), (0, 2, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1, 1))
    assert quality.check(given)[0] is given


def test_examples_stay_few_and_reports_add_up():
    bad = [(0, day, -1, 1, 1, 1, 1) for day in range(10)]
    _, one = check(bars(*bad))
    both = one.merged(one).merged(QualityReport())
    assert both.rows == 20
    assert both.counts == {"price not positive": 20}
    assert len(both.examples) == 3


def test_every_code_has_words():
    codes = [*REFUSED, *MENDED]
    report = QualityReport(9, Counter(codes))
    assert len(report.lines()) == len(set(codes)) == len(codes)


def test_nothing_at_all():
    kept, report = check(bars())
    assert len(kept) == 0
    assert report == QualityReport()


def test_bars_closer_than_their_interval_are_an_error():
    given = bars((0, 1, 1, 1, 1, 1, 1), (0, 2, 1, 1, 1, 1, 1), (1, 2, 1, 1, 1, 1, 1))
    check_spacing(given, "1d")
    minutes = Bars(
        ("AAA",), np.zeros(2, np.int32), np.array(["2020-01-02T14:30", "2020-01-02T14:31"], "M8[us]"), *[np.ones(2)] * 5
    )
    check_spacing(minutes, "1min")
    with pytest.raises(
        DataError, match=r"AAA has bars at 2020-01-02T14:30:00 and 2020-01-02T14:31:00 .* less than one 5min"
    ):
        check_spacing(minutes, "5min")


def test_bars_of_four_hours_lie_an_hour_closer_where_clocks_go_forward():
    # 2021-03-14 in New York: 20:00, 00:00, then 04:00, which is three hours later.
    times = np.array(["2021-03-14T01", "2021-03-14T05", "2021-03-14T08", "2021-03-14T12"], "M8[us]")
    given = Bars(("BTCUSD",), np.zeros(4, np.int32), times, *[np.ones(4)] * 5)
    check_spacing(given, "4h")
    with pytest.raises(DataError, match="less than one 1d apart"):
        check_spacing(given, "1d")
