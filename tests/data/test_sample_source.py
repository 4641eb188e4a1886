"""The shipped prices: what is in them, and the splits and dividends derived from them."""

import gzip
import io
import subprocess
import sys
import time
from datetime import date
from decimal import Decimal
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from framework.plugins.data_sources.sample import Sample, derived_actions

from framework.data.adjust import factors
from framework.data.calendars import outside_sessions
from framework.data.quality import check, merged
from framework.errors import SourceError


@pytest.fixture(scope="module")
def frame():
    """The shipped file, read independently."""
    raw = files("framework.plugins.data_sources").joinpath("sample/wiki_daily_2000_2013.csv.gz").read_bytes()
    return pd.read_csv(io.BytesIO(gzip.decompress(raw)), parse_dates=["Date"])


def everything(tickers):
    return Sample().bars(tickers, "1d", date.min, date.max)


def test_bars_are_the_file_as_traded(frame):
    bars = everything(Sample().tickers())
    assert [bars.tickers[code] for code in bars.code] == frame["Ticker"].tolist()
    assert (bars.timestamps == frame["Date"].to_numpy()).all()
    for name in ("open", "high", "low", "close", "volume"):
        assert (getattr(bars, name) == frame[name.capitalize()]).all()


def test_every_row_is_accepted_and_lies_in_a_session():
    bars = everything(Sample().tickers())
    kept, found, _ = check(bars)
    report = merged(found.values())
    assert len(kept) == len(bars) == report.rows == 12154
    assert report.lines() == []
    assert not outside_sessions("XNYS", "1d", np.unique(bars.timestamps)).any()


def test_range_and_choice_of_tickers():
    bars = Sample().bars(["MSFT", "FB"], "1d", date(2012, 5, 17), date(2012, 5, 18))
    got = sorted((bars.tickers[code], str(stamp)[:10]) for code, stamp in zip(bars.code, bars.timestamps, strict=True))
    assert got == [("FB", "2012-05-18"), ("MSFT", "2012-05-17"), ("MSFT", "2012-05-18")]


def test_splits_are_the_true_ones():
    splits = [action for action in Sample().corporate_actions(Sample().tickers()) if action.kind == "split"]
    assert [(split.ticker, str(split.ex_date), split.value) for split in splits] == [
        ("AAPL", "2000-06-21", 2),
        ("AAPL", "2005-02-28", 2),
        ("MSFT", "2003-02-18", 2),
    ]


def test_dividends_are_the_amounts_that_were_paid():
    dividends = [action for action in Sample().corporate_actions(["AAPL", "MSFT", "IBM"]) if action.kind == "dividend"]
    by_day = {(action.ticker, str(action.ex_date)): action.value for action in dividends}
    assert by_day["MSFT", "2004-11-15"] == Decimal("3.08")
    assert by_day["MSFT", "2003-02-19"] == Decimal("0.08")
    assert by_day["AAPL", "2012-08-09"] == Decimal("2.65")
    assert by_day["IBM", "2013-02-06"] == Decimal("0.85")
    # Boards declare whole cents: that each comes out as one shows that the derivation is the publisher's own.
    assert all(action.value == action.value.quantize(Decimal("0.01")) for action in dividends)
    assert len(dividends) == 3 + 37 + 52


def test_adjusting_gives_adj_close_up_to_a_constant(frame):
    for ticker, own in frame.groupby("Ticker"):
        days = own["Date"].to_numpy().astype("datetime64[D]")
        price, _ = factors(Sample().corporate_actions([ticker]), days, own["Close"].to_numpy())
        ratio = own["Close"].to_numpy() * price / own["Adj Close"].to_numpy()
        assert ratio.max() / ratio.min() - 1 < 1e-9


def test_a_dividend_of_half_the_price_is_no_split():
    days = np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]")
    close = np.array([10.0, 10.0, 10.1, 10.0])
    adjusted = close * [0.5, 0.5, 1.0, 1.0]
    (action,) = derived_actions("X", days, close, adjusted)
    assert (action.kind, action.ex_date, action.value) == ("dividend", date(2020, 1, 3), Decimal("10.1"))


@pytest.mark.parametrize(("step", "value"), [(1.5, "1.5"), (0.1, "0.1"), (0.05, "0.05"), (7.0, "7")])
def test_splits_and_reverse_splits(step, value):
    days = np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]")
    close = np.array([100.0, 100.0, 101.0 / step, 102.0 / step])
    adjusted = close * [1 / step, 1 / step, 1.0, 1.0]
    (action,) = derived_actions("X", days, close, adjusted)
    assert (action.kind, action.value) == ("split", Decimal(value))


def test_unknown_ticker_and_interval():
    with pytest.raises(SourceError, match=r"no ticker 'TSLA' \(it has AAPL, FB, GOOG, IBM, MSFT\)"):
        everything(["TSLA"])
    with pytest.raises(SourceError, match="'5min', set it to 1d"):
        Sample().bars(["IBM"], "5min", date.min, date.max)


def test_reading_takes_no_pandas():
    code = (
        "import sys; from datetime import date; from framework.plugins.data_sources.sample import Sample;"
        "Sample().bars(['IBM'], '1d', date.min, date.max); sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_reading_is_quick():
    Sample()  # the first use of a class builds its parameter model
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        everything(["IBM"])
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.1
