"""What is suspect is said when it is loaded."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from framework.data.backfill import backfill
from framework.data.source import DataSource
from framework.data.verify import Asked, verify
from framework.model.bars import Bars
from tests.data.series import minutes_from_standin, without

NOW = datetime(2013, 6, 1, tzinfo=UTC)
MINUTES = minutes_from_standin("IBM", 5)


class Ready(DataSource):
    """Gives the bars that it was given."""

    def of(self, bars: Bars) -> Ready:
        self._bars = bars
        return self

    def key(self):
        return "ready"

    def bars(self, tickers, interval, start, end):
        days = self._bars.timestamps.astype("datetime64[D]")
        return self._bars.take((days >= np.datetime64(start)) & (days <= np.datetime64(end)))


def load(pool, bars, policies=None):
    source = Ready().of(bars)
    source.bind(Path(), policies or {})
    return backfill(pool, source, ["IBM"], "1min", "XNYS", date(2005, 1, 3), date(2005, 1, 7), now=NOW).loaded


def count(pool, table):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


def spoiled():
    """A spike in the middle, and ten minutes of the second day gone."""
    high, close = MINUTES.high.copy(), MINUTES.close.copy()
    high[1000] = close[1000] = close[1000] * 2
    return without(Bars(**{**vars(MINUTES), "high": high, "close": close}), np.arange(500, 510))


def test_sound_bars_are_nothing_to_speak_of(pool):
    found = load(pool, MINUTES)
    assert (found.inserted, found.suspect) == (5 * 390, {})


def test_what_is_suspect_is_counted_with_examples_and_kept(pool):
    found = load(pool, spoiled())
    assert {code: seen.count for code, seen in found.suspect.items()} == {"missing minutes": 10, "spike": 1}
    assert count(pool, "market_data") == 5 * 390 - 10
    spike, missing = sorted(found.suspicions())
    assert missing.startswith("10 × missing minutes of IBM: ")
    assert spike.startswith("1 × spike of IBM: the price leaves its neighbours")


def test_a_policy_for_what_is_suspect_acts_in_verify_only(pool):
    """Where loads are cut must not decide which bars there are."""
    load(pool, spoiled(), {"spike": "quarantine"})
    assert count(pool, "market_data") == 5 * 390 - 10
    verify(pool, Asked(calendar="XNYS", policies={"spike": "quarantine"}))
    assert (count(pool, "market_data"), count(pool, "market_data_quarantine")) == (5 * 390 - 11, 1)
