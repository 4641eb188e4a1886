"""The market window of live portfolios, against full reads of the database."""

from datetime import UTC, date, datetime

import numpy as np
import pytest
from framework.plugins.data_sources.sample import Sample

from framework.data.feed import Feed
from framework.data.load import ensure
from framework.data.panels import panel_for
from framework.model.panel import FIELDS

TIMES = ("timestamps", "opens", "available", "session", "next_session")


def moment(time):
    return time.astype("datetime64[us]").item().replace(tzinfo=UTC)


def look(pool, feed, now):
    with pool.transaction(read_only=True, isolation="repeatable read") as connection:
        return feed.refresh(connection, now)


def assert_rows(window, loaded, start, stop):
    """The window holds rows ``start`` to ``stop`` of a loaded panel, bit by bit."""
    expected = loaded.panel.rows(start, stop)
    assert window.signal.tickers == expected.tickers
    for name in ("timestamps", *FIELDS):
        assert getattr(window.signal, name).tobytes() == getattr(expected, name).tobytes(), name
    clock = loaded.timeline.rows(start, stop)
    for name in TIMES:
        assert np.array_equal(getattr(window.timeline, name), getattr(clock, name)), name
    assert window.raw_close.tobytes() == loaded.raw_close[start:stop].tobytes()


@pytest.fixture
def sample(pool):
    ensure(pool, Sample(), Sample().tickers(), "1d", date.min, date.max)
    return pool


@pytest.mark.parametrize("mode", ["all", "splits"])
def test_a_replay_sees_the_rows_of_its_backtest_bit_by_bit(sample, mode):
    tickers, bars, end = ("MSFT", "FB", "AAPL", "IBM"), 60, date(2013, 2, 1)
    loaded = panel_for(sample, Sample(), tickers, "1d", "XNYS", mode, date(2004, 6, 1), end, warmup_bars=bars)
    feed = Feed(Sample(), ("GOOG", *tickers), "1d", "XNYS", mode, 80, adjusted_as_of=end, trade_adjusted=True)
    for row in range(loaded.first, len(loaded.panel)):
        window = look(sample, feed, moment(loaded.timeline.available[row])).window(tickers, bars)
        assert_rows(window, loaded, row + 1 - bars, row + 1)
        assert window.trade is window.signal
