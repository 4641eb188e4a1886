"""The bars of a run, as read from the database."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from framework.plugins.data_sources.csv_files import CsvFiles
from framework.plugins.data_sources.sample import Sample

from framework.data.load import ensure
from framework.data.panels import panel_for
from framework.errors import ConfigError, DataError


@pytest.fixture
def sample(pool):
    ensure(pool, Sample(), Sample().tickers(), "1d", date.min, date.max)
    return pool


def read(pool, tickers=("AAPL",), start=date(2005, 1, 3), end=date(2005, 12, 30), warmup=0, mode="all", **given):
    source = given.get("source") or Sample()
    return panel_for(
        pool, source, tickers, given.get("interval", "1d"), given.get("calendar", "XNYS"), mode, start, end, warmup
    )


def minutes(folder, stamps, ticker="A", **params):
    frame = pd.DataFrame({"timestamp": stamps, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1})
    frame.to_csv(folder / f"{ticker}.csv", index=False)
    source = CsvFiles(path=str(folder), **params)
    return source


def test_the_whole_sample_adjusted_is_adj_close_up_to_a_constant(sample):
    from framework.plugins.data_sources.sample import Sample as Source

    loaded = read(sample, ("MSFT", "AAPL", "IBM"), date(2000, 3, 1), date(2013, 3, 1))
    table = Source()._table
    for column, ticker in enumerate(loaded.panel.tickers):
        adjusted = table.cells[table.code == table.index(ticker), 5]
        ratio = loaded.panel.close[:, column] / adjusted
        assert ratio.max() / ratio.min() - 1 < 1e-9
    assert loaded.first == 0
    assert loaded.notes == ()
    assert len(loaded.timeline) == len(loaded.panel) == 3270


def test_no_false_loss_over_a_split(sample):
    raw = read(sample, mode="none").panel
    adjusted = read(sample, mode="splits").panel
    day = int(np.searchsorted(raw.timestamps, np.datetime64("2005-02-28")))
    assert raw.close[day, 0] / raw.close[day - 1, 0] == pytest.approx(44.86 / 88.99)
    assert adjusted.close[day, 0] / adjusted.close[day - 1, 0] == pytest.approx(2 * 44.86 / 88.99)
    assert adjusted.volume[day - 1, 0] == 2 * raw.volume[day - 1, 0]


def test_warmup_rows_lie_before_first(sample):
    loaded = read(sample, ("IBM", "AAPL"), warmup=250)
    assert loaded.first == 250
    assert str(loaded.panel.timestamps[250])[:10] == "2005-01-03"
    assert loaded.panel.tickers == ("IBM", "AAPL")
    assert str(loaded.panel.timestamps[-1])[:10] == "2005-12-30"


def test_warmup_reaches_back_only_as_far_as_there_are_bars(sample):
    loaded = read(sample, start=date(2000, 4, 3), end=date(2000, 5, 1), warmup=250)
    assert loaded.first == 23
    assert str(loaded.panel.timestamps[0])[:10] == "2000-03-01"


def test_warmup_of_a_young_ticker_is_that_of_the_old_one(sample):
    loaded = read(sample, ("FB", "IBM"), start=date(2012, 6, 1), end=date(2012, 7, 2), warmup=50)
    assert loaded.first == 50
    assert np.isnan(loaded.panel.close[0, 0])
    assert not np.isnan(loaded.panel.close[:, 1]).any()


def test_a_start_without_session_begins_with_the_next(sample):
    loaded = read(sample, start=date(2005, 1, 1), warmup=1)
    assert str(loaded.panel.timestamps[loaded.first])[:10] == "2005-01-03"


def test_a_silent_ticker_is_noted(sample):
    loaded = read(sample, ("FB", "IBM"))
    assert loaded.notes == ("FB has no bar in the range of the run; it has some from 2012-05-18 to 2013-03-01",)


def test_missing_sessions_are_noted(sample):
    with sample.connection() as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM market_data WHERE timestamp::date IN ('2005-02-01', '2005-02-02')")
        cursor.execute("DELETE FROM market_data WHERE timestamp::date = '2005-03-01' AND ticker = 'IBM'")
        cursor.execute("DELETE FROM market_data WHERE timestamp::date = '2005-01-03' AND ticker = 'MSFT'")
    loaded = read(sample, ("AAPL", "IBM", "MSFT"))
    assert loaded.notes == ("sessions of XNYS without a bar, between a ticker's first and last: AAPL 2, IBM 3, MSFT 2",)


def test_an_empty_range_says_what_there_is(sample):
    with pytest.raises(
        DataError,
        match=r"no 1d bar from 2014-01-02 to 2014-12-31; source sample has AAPL from 2000-03-01 to 2013-03-01",
    ):
        read(sample, start=date(2014, 1, 2), end=date(2014, 12, 31), warmup=100)


def test_a_ticker_that_was_never_loaded(pool):
    with pytest.raises(DataError, match="source sample has no 1d bar of AAPL in the database at all"):
        read(pool)


def test_an_unknown_calendar(sample):
    with pytest.raises(ConfigError, match="did you mean 'XNYS'"):
        read(sample, calendar="XNYSE")


def test_bars_outside_sessions_are_dropped_and_noted(pool, tmp_path):
    stamps = pd.date_range("2012-07-02T12:00", "2012-07-03T23:00", freq="30min", tz="UTC").strftime("%Y-%m-%dT%H:%MZ")
    source = minutes(tmp_path, stamps)
    ensure(pool, source, ["A"], "30min", date.min, date.max)
    loaded = read(pool, ("A",), date(2012, 7, 2), date(2012, 7, 3), source=source, interval="30min")
    assert len(loaded.panel) == 13 + 7  # a full session, and one that closed at 13:00
    assert str(loaded.panel.timestamps[-1])[:16] == "2012-07-03T16:30"
    (note,) = loaded.notes
    assert "bars outside the sessions of XNYS were dropped, the first at 2012-07-02T20:00 UTC" in note


def test_warmup_reaches_over_bars_outside_sessions(pool, tmp_path):
    stamps = pd.date_range("2012-06-01T00:00", "2012-07-03T23:55", freq="5min", tz="UTC").strftime("%Y-%m-%dT%H:%MZ")
    source = minutes(tmp_path, stamps)
    ensure(pool, source, ["A"], "5min", date.min, date.max)
    loaded = read(pool, ("A",), date(2012, 7, 3), date(2012, 7, 3), source=source, interval="5min", warmup=800)
    assert loaded.first == 800
    assert len(loaded.panel) == 800 + 42


def test_warmup_of_sparse_bars_reaches_further_than_the_calendar(pool, tmp_path):
    stamps = pd.date_range("2000-01-03", "2012-12-31", freq="W-WED").strftime("%Y-%m-%d")
    source = minutes(tmp_path, stamps)
    ensure(pool, source, ["A"], "1d", date.min, date.max)
    loaded = read(pool, ("A",), date(2012, 1, 4), date(2012, 12, 31), source=source, warmup=52)
    assert loaded.first == 52


def test_prices_that_are_adjusted_already_stay_and_are_noted(pool, tmp_path):
    source = minutes(tmp_path, ["2012-07-02", "2012-07-03"], prices="adjusted", name="done")
    ensure(pool, source, ["A"], "1d", date.min, date.max)
    loaded = read(pool, ("A",), date(2012, 7, 2), date(2012, 7, 3), source=source)
    assert loaded.notes == ("prices of csv:done were adjusted for splits and dividends before they were loaded",)
    assert loaded.actions == ()
