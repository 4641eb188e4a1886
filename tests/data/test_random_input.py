"""Random bars through files, checks and the database, against rules written row by row."""

import math
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from framework.plugins.data_sources.csv_files import CsvFiles
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framework.data.load import ensure
from framework.data.panels import panel_for
from framework.data.quality import check, merged
from framework.model.bars import Bars

DAYS = np.arange("2020-01-01", "2020-02-01", dtype="datetime64[D]")

prices = st.one_of(
    st.integers(90, 110).map(float),
    st.floats(99.9, 100.1),
    st.sampled_from([0.0, -1.0, math.nan, math.inf, 1e-12, 9.2e9]),
)
volumes = st.sampled_from([0.0, 1.0, 0.5, 2.25, 1e6, -1.0, math.nan, 1e19])
tickers, days = st.sampled_from(["A", "B", "NA"]), st.integers(0, 6)


def ordered(ticker, day, quotes, volume):
    """A bar that is one: low and high hold open and close."""
    low, first, second, high = sorted(quotes)
    return ticker, day, first, high, low, second, volume


good = st.builds(
    ordered,
    tickers,
    days,
    st.lists(st.integers(98, 102).map(float), min_size=4, max_size=4),
    st.sampled_from([0.0, 7.0]),
)
bar = st.one_of(good, good, st.tuples(tickers, days, prices, prices, prices, prices, volumes))
bars = st.lists(bar, min_size=1, max_size=30)


def judged(rows):
    """What becomes of rows: (kept bars by key, count of each code), one row at a time."""
    kept, counts = {}, Counter()
    for ticker, day, o, h, low, c, v in rows:
        quotes = [o, h, low, c]
        if not all(map(math.isfinite, quotes)):
            code = "missing price"
        elif min(quotes) < 5e-10:
            code = "price not positive"
        elif max(quotes) >= 9.2e9:
            code = "price too large"
        elif h < low:
            code = "high below low"
        elif min(o, c) * 1.001 < low or max(o, c) > h * 1.001:
            code = "outside range"
        elif v < 0:
            code = "negative volume"
        elif v > 4e18:
            code = "volume too large"
        elif (ticker, day) in kept:
            same = all(a == b or (a != a and b != b) for a, b in zip(kept[ticker, day], (o, h, low, c, v), strict=True))
            code = "duplicate" if same else "conflicting duplicate"
        else:
            kept[ticker, day] = (o, h, low, c, v)
            continue
        counts[code] += 1
    for key, (o, h, low, c, v) in kept.items():
        wide = (o, max(h, o, c), min(low, o, c), c, 0.0 if math.isnan(v) else float(round(v)))
        counts["widened"] += (wide[1], wide[2]) != (h, low)
        counts["no volume"] += math.isnan(v)
        counts["fractional volume"] += not math.isnan(v) and v != int(v)
        kept[key] = wide
    return kept, +counts


def as_bars(rows):
    names = ("A", "B", "NA")
    code = np.array([names.index(row[0]) for row in rows], dtype=np.int32)
    stamps = DAYS[[row[1] for row in rows]].astype("datetime64[us]") if rows else np.empty(0, "datetime64[us]")
    return Bars(names, code, stamps, *np.array([row[2:] for row in rows], dtype=float).reshape(-1, 5).T)


@given(st.lists(bar, max_size=30))
def test_the_checks_are_those_of_the_rule(rows):
    kept, found, _ = check(as_bars(rows))
    report = merged(found.values())
    expected, counts = judged(rows)
    got = {
        (kept.tickers[code], int((stamp.astype("datetime64[D]") - DAYS[0]).astype(int))): values
        for code, stamp, *values in zip(
            kept.code, kept.timestamps, kept.open, kept.high, kept.low, kept.close, kept.volume, strict=True
        )
    }
    assert {key: tuple(values) for key, values in got.items()} == expected
    assert list(got) == sorted(expected)
    assert report.counts == counts
    assert report.accepted == len(expected)
    assert len(report.lines()) == len(counts)


def frame_of(rows):
    table = pd.DataFrame(rows, columns=["ticker", "timestamp", "open", "high", "low", "close", "volume"])
    table["timestamp"] = DAYS[table["timestamp"].to_numpy(dtype=int)].astype(str)
    return table


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(bar, min_size=1, max_size=30), st.lists(bar, min_size=1, max_size=30), st.sampled_from(["csv", "parquet"])
)
def test_a_file_and_its_changed_self_end_in_the_panel(pool, first, second, suffix):
    """Whatever a file held before, after the load the panel is what the file's usable rows say now."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"p.{suffix}"
        for rows in (first, second):
            frame = frame_of(rows)
            frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
            expected, _ = judged(rows)
            names = sorted({ticker for ticker, _ in expected})
            source = CsvFiles(path=str(path))
            if not names:
                continue
            ensure(pool, source, names, "1d", date.min, date.max)
            loaded = panel_for(pool, source, names, "1d", "24/7", "all", date(2020, 1, 1), date(2020, 1, 31))
            assert_same(loaded.panel, names, expected)


def assert_same(panel, tickers, expected):
    days = sorted({day for _, day in expected})
    assert (panel.timestamps == DAYS[days].astype("datetime64[us]")).all()
    for field, name in enumerate(("open", "high", "low", "close", "volume")):
        wanted = [[expected.get((ticker, day), [math.nan] * 5)[field] for ticker in tickers] for day in days]
        np.testing.assert_allclose(getattr(panel, name), wanted, rtol=0, atol=1e-9)
