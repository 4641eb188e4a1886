"""The data source ``csv``: what it reads, and what it says about files that are wrong."""

import gzip
from datetime import date

import numpy as np
import pandas as pd
import pytest
from framework.plugins.data_sources.csv_files import CsvFiles

from framework.errors import ConfigError, SourceError

DAILY = """timestamp,ticker,open,high,low,close,volume
2020-01-02,AAA,10,11,9,10.5,1000
2020-01-03,AAA,10.5,12,10,11,2000
2020-01-02,NA,1,2,0.5,1.5,10
"""


def source(folder, path, **params):
    made = CsvFiles(path=path, **params)
    made.bind(folder)
    return made


def write(folder, name, text):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def everything(made, tickers, interval="1d"):
    return made.bars(tickers, interval, date.min, date.max)


def rows(bars):
    stamps = bars.timestamps.astype(str)
    return sorted(
        (bars.tickers[code], stamp[:19], close)
        for code, stamp, close in zip(bars.code, stamps, bars.close, strict=True)
    )


def refused(folder, text, *, tickers=("AAA",), interval="1d", **params):
    write(folder, "p.csv", text)
    with pytest.raises(SourceError) as caught:
        everything(source(folder, "p.csv", **params), tickers, interval)
    return str(caught.value)


def test_a_file_with_several_tickers_one_of_them_called_na(tmp_path):
    write(tmp_path, "p.csv", DAILY)
    made = source(tmp_path, "p.csv")
    assert made.tickers() == ("AAA", "NA")
    assert rows(everything(made, ["NA"])) == [("NA", "2020-01-02T00:00:00", 1.5)]
    assert len(everything(made, ["AAA", "NA"])) == 3


def test_a_folder_takes_the_ticker_from_the_file_name(tmp_path):
    text = "Date,Open,High,Low,Close,Adj Close,Volume\n2020-01-02,1,2,1,2,1.9,5\n"
    write(tmp_path, "px/BRK.B.csv", text)
    write(tmp_path, "px/AAA.CSV", text)
    write(tmp_path, "px/notes.txt", "no data")
    write(tmp_path, "px/.hidden.csv", "no data")
    made = source(tmp_path, "px")
    assert made.tickers() == ("AAA", "BRK.B")
    assert rows(everything(made, ["BRK.B"])) == [("BRK.B", "2020-01-02T00:00:00", 2.0)]


def test_a_glob_of_files_each_with_a_part(tmp_path):
    write(tmp_path, "a-2020.csv", DAILY)
    write(tmp_path, "a-2021.csv", DAILY.replace("2020", "2021"))
    assert len(everything(source(tmp_path, "a-*.csv"), ["AAA"])) == 4


def test_column_names_ignore_case_order_and_extra_columns(tmp_path):
    write(tmp_path, "p.csv", " Volume ,x,CLOSE,low,high,OPEN,Symbol,Date\n5,?,2,1,3,1.5,AAA,2020-01-02\n")
    bars = everything(source(tmp_path, "p.csv"), ["AAA"])
    assert [bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0]] == [1.5, 3, 1, 2, 5]


def test_a_byte_order_mark_and_windows_line_ends(tmp_path):
    (tmp_path / "p.csv").write_bytes(b"\xef\xbb\xbf" + DAILY.replace("\n", "\r\n").encode())
    assert len(everything(source(tmp_path, "p.csv"), ["AAA"])) == 2


@pytest.mark.parametrize("kind", ["text", "dates", "naive", "aware"])
def test_parquet(tmp_path, kind):
    frame = pd.read_csv(write(tmp_path, "p.csv", DAILY), keep_default_na=False)
    if kind == "dates":
        frame["timestamp"] = pd.to_datetime(frame["timestamp"]).dt.date
    elif kind != "text":
        frame["timestamp"] = pd.to_datetime(frame["timestamp"]).dt.tz_localize(
            None if kind == "naive" else "America/New_York"
        )
    frame.to_parquet(tmp_path / "p.parquet")
    assert rows(everything(source(tmp_path, "p.parquet"), ["AAA"])) == rows(
        everything(source(tmp_path, "p.csv"), ["AAA"])
    )


def test_parquet_indexed_by_time_with_the_ticker_in_the_file_name(tmp_path):
    index = pd.DatetimeIndex(["2020-01-02 14:30", "2020-01-02 14:31"], tz="UTC", name="timestamp")
    frame = pd.DataFrame({"open": [1, 2], "high": [1, 2], "low": [1, 2], "close": [1, 2], "volume": [0, 1]}, index)
    frame.to_parquet(tmp_path / "AAA.parquet")
    got = everything(source(tmp_path, "AAA.parquet"), ["AAA"], "1min")
    assert rows(got) == [("AAA", "2020-01-02T14:30:00", 1.0), ("AAA", "2020-01-02T14:31:00", 2.0)]


@pytest.mark.parametrize("zone", [None, "America/New_York", "UTC"])
def test_intraday_parquet_with_and_without_time_zone(tmp_path, zone):
    stamps = pd.DatetimeIndex(["2020-01-02 09:30", "2020-07-02 09:30"]).tz_localize(zone)
    frame = pd.DataFrame({"timestamp": stamps, "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1})
    frame.to_parquet(tmp_path / "AAA.parquet")
    made = source(tmp_path, "AAA.parquet", timezone=None if zone else "America/New_York")
    hours = ["09:30:00", "09:30:00"] if zone == "UTC" else ["14:30:00", "13:30:00"]
    assert [row[1][11:] for row in rows(everything(made, ["AAA"], "1min"))] == hours
    if zone is None:
        with pytest.raises(SourceError, match=r"row 1, column 'timestamp'.*time zone"):
            everything(source(tmp_path, "AAA.parquet"), ["AAA"], "1min")


def intraday(*stamps):
    return "timestamp,open,high,low,close,volume\n" + "".join(f"{stamp},1,1,1,1,1\n" for stamp in stamps)


def test_intraday_offsets_become_utc_across_a_change_of_the_clocks(tmp_path):
    write(
        tmp_path, "AAA.csv", intraday("2020-03-06T09:30:00-05:00", "2020-03-09 09:30:00-04:00", "2020-03-10T13:30:00Z")
    )
    got = everything(source(tmp_path, "AAA.csv"), ["AAA"], "1min")
    assert [row[1] for row in rows(got)] == ["2020-03-06T14:30:00", "2020-03-09T13:30:00", "2020-03-10T13:30:00"]


def test_intraday_times_without_offset_take_the_timezone(tmp_path):
    write(tmp_path, "AAA.csv", intraday("2020-03-06T09:30:00", "2020-03-09 09:30", "2020-03-10T13:30:00Z"))
    got = everything(source(tmp_path, "AAA.csv", timezone="America/New_York"), ["AAA"], "1min")
    assert [row[1] for row in rows(got)] == ["2020-03-06T14:30:00", "2020-03-09T13:30:00", "2020-03-10T13:30:00"]


@pytest.mark.parametrize("stamp", ["2020-03-06T09:30:00", "2020-03-06", "2020-03-06 09:30"])
def test_intraday_times_without_offset_are_refused(tmp_path, stamp):
    write(tmp_path, "AAA.csv", intraday("2020-03-05T09:30:00Z", stamp))
    with pytest.raises(SourceError, match=r"AAA.csv, line 3, column 'timestamp'.*time zone.*America/New_York"):
        everything(source(tmp_path, "AAA.csv"), ["AAA"], "1min")


def test_a_local_time_that_exists_twice_is_refused(tmp_path):
    write(tmp_path, "AAA.csv", intraday("2020-11-01T01:30:00"))
    with pytest.raises(SourceError, match=r"line 2.*exists once in America/New_York"):
        everything(source(tmp_path, "AAA.csv", timezone="America/New_York"), ["AAA"], "1min")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            DAILY.replace("2020-01-03", "03.01.2020"),
            ["line 3", "'timestamp'", "'03.01.2020'", "ISO 8601", "2013-02-28"],
        ),
        (DAILY.replace("2020-01-03", "2020-01-03x"), ["line 3", "'timestamp'", "'2020-01-03x'"]),
        (DAILY.replace("2020-01-03", ""), ["line 3", "'timestamp'", "''"]),
        (DAILY.replace("\n2020-01-03,AAA", "\n\n\n2020-01-33,AAA"), ["line 5", "'2020-01-33'"]),
        (DAILY.replace(",12,", ",twelve,"), ["line 3", "'high'", "'twelve' is not a number"]),
        (DAILY.replace("10,11,2000", "10,11"), []),  # a missing volume is a quality matter: read as none
        (DAILY.replace("volume\n", "vol\n"), ["line 1", "no column 'volume'", HEADER := "timestamp,ticker,open"]),
        (DAILY.replace(",", ";"), ["line 1", "separated by commas"]),
        ("", ["is empty", HEADER]),
        (DAILY.splitlines()[0], ["header and no rows"]),
        (DAILY.replace(",AAA,10.5", ",,10.5"), ["line 3", "'ticker'", "''"]),
        (DAILY.replace("2000", "2000,7,7,7"), ["line 3", "10 cells", "thousands"]),
        (DAILY.replace("1000", "1,000"), ["line 2", "8 cells", "thousands"]),
    ],
)
def test_what_is_said_of_a_wrong_file(tmp_path, text, parts):
    if not parts:
        write(tmp_path, "p.csv", text)
        assert np.isnan(everything(source(tmp_path, "p.csv"), ["AAA"]).volume).sum() == 1
        return
    message = refused(tmp_path, text)
    assert all(part in message for part in ["p.csv", *parts]), message


def test_bytes_that_are_not_text(tmp_path):
    (tmp_path / "p.csv").write_bytes(b"timestamp,ticker,open,high,low,close,volume\n2020-01-02,\xff\xfe,1,1,1,1,1\n")
    with pytest.raises(SourceError, match="UTF-8"):
        everything(source(tmp_path, "p.csv"), ["AAA"])


def test_a_truncated_archive(tmp_path):
    whole = gzip.compress((DAILY + "".join(f"2020-01-04,X{n},1,1,1,1,1\n" for n in range(20_000))).encode())
    for size in (len(whole) // 2, 20, 5):
        (tmp_path / "p.csv.gz").write_bytes(whole[:size])
        with pytest.raises(SourceError, match=r"p\.csv\.gz cannot be read"):
            everything(source(tmp_path, "p.csv.gz"), ["AAA"])


def test_bytes_that_are_not_parquet(tmp_path):
    (tmp_path / "p.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        everything(source(tmp_path, "p.parquet"), ["AAA"])


def test_intraday_bars_are_not_taken_for_daily_ones(tmp_path):
    message = refused(tmp_path, intraday("2020-03-06T14:30:00Z", "2020-03-06T14:31:00Z"), tickers=("p",))
    assert "line 3" in message
    assert "set interval" in message


def test_daily_bars_may_carry_a_time_of_day(tmp_path):
    write(tmp_path, "AAA.csv", intraday("2020-03-06T00:00:00-05:00", "2020-03-09T00:00:00-04:00"))
    got = everything(source(tmp_path, "AAA.csv"), ["AAA"])
    assert [row[1][:10] for row in rows(got)] == ["2020-03-06", "2020-03-09"]


def test_an_unknown_ticker_names_the_nearest(tmp_path):
    message = refused(tmp_path, DAILY, tickers=("AAB",))
    assert "no ticker 'AAB'; did you mean 'AAA'?" in message
    assert "AAA, NA" in message


def test_a_missing_file_names_the_nearest(tmp_path):
    write(tmp_path, "prices.csv", DAILY)
    with pytest.raises(SourceError, match=r"price.csv; did you mean 'prices.csv'\?"):
        everything(source(tmp_path, "price.csv"), ["AAA"])
    with pytest.raises(SourceError, match="no file matches"):
        everything(source(tmp_path, "x*.csv"), ["AAA"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"no file that ends with \.csv"):
        everything(source(tmp_path, "empty"), ["AAA"])


def test_the_range_is_kept(tmp_path):
    write(tmp_path, "p.csv", DAILY)
    got = source(tmp_path, "p.csv").bars(["AAA"], "1d", date(2020, 1, 3), date(2020, 1, 3))
    assert [row[1][:10] for row in rows(got)] == ["2020-01-03"]


def test_the_hash_changes_with_the_content_and_with_the_timezone(tmp_path):
    path = write(tmp_path, "p.csv", DAILY)
    first = source(tmp_path, "p.csv").content_hash("AAA", "1d")
    assert source(tmp_path, "p.csv").content_hash("AAA", "1d") == first
    assert source(tmp_path, "p.csv", timezone="UTC").content_hash("AAA", "1d") != first
    path.write_text(DAILY.replace("1000", "1001"))
    assert source(tmp_path, "p.csv").content_hash("AAA", "1d") != first


def test_keys_differ_by_path_and_take_a_name(tmp_path):
    one, two = source(tmp_path / "a", "p.csv"), source(tmp_path / "b", "p.csv")
    assert one.key().startswith("csv:p-")
    assert one.key() != two.key()
    assert source(tmp_path, "p.csv", name="mine").key() == "csv:mine"
    assert len(source(tmp_path, "x" * 200).key()) <= 64


def test_files_of_one_ticker_come_in_batches_of_bounded_size(tmp_path, monkeypatch):
    for name in "ABCD":
        write(tmp_path, f"px/{name}.csv", intraday("2020-03-06"))
    monkeypatch.setattr("framework.plugins.data_sources.csv_files.BATCH_BYTES", 130)
    made = source(tmp_path, "px")
    batches = made.batches(["A", "B", "C", "D"])
    assert [ticker for batch in batches for ticker in batch] == ["A", "B", "C", "D"]
    assert len(batches) == 2


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "a/b"}, "letters, digits"),
        ({"timezone": "America/NewYork"}, "did you mean 'America/New_York'"),
        ({"prices": "raw"}, "'traded' or 'adjusted'"),
        ({"pathh": "x"}, "did you mean 'path'"),
    ],
)
def test_wrong_parameters(params, message):
    with pytest.raises(ConfigError, match=message):
        CsvFiles(**{"path": "p.csv", **params})
