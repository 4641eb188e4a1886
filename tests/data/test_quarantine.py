"""What is left out of market_data and kept apart, and when it leaves quarantine."""

import re
from datetime import date, timedelta

import numpy as np
import pytest
from framework.plugins.data_sources.csv_files import CsvFiles

from framework.cli.main import run_command
from framework.data.load import ensure
from framework.data.source import DataSource
from framework.db.quarantine import list_quarantine, put
from framework.errors import DataError
from framework.model.bars import Bars
from framework.model.quality import REFUSED, SUSPECT, check_policies, policy_of

HEADER = "timestamp,ticker,open,high,low,close,volume\n"
GOOD = "2020-01-{:02},A,10,12,9,11,100\n"


def csv(folder, *lines, policies=None):
    (folder / "p.csv").write_text(HEADER + "".join(lines))
    made = CsvFiles(path="p.csv", name="mine")
    made.bind(folder, policies)
    return made


def load(pool, source, start=date(2020, 1, 1), end=date(2020, 1, 31)):
    return ensure(pool, source, ["A"], "1d", start, end)


def held(pool):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT code, CASE WHEN isfinite(timestamp) THEN (timestamp AT TIME ZONE 'UTC')::date::text END,"
            " open_price, close_price, volume FROM market_data_quarantine ORDER BY code, timestamp"
        )
        return cursor.fetchall()


def stored(pool):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM market_data")
        return cursor.fetchone()[0]


def test_rows_that_cannot_be_stored_are_kept_apart_with_their_values(pool, tmp_path):
    lines = ["2020-01-02,A,0,0,0,0,0\n", "2020-01-03,A,10,9,12,10,7\n", "2020-01-06,A,10,12,9,13,-5\n"]
    again = [GOOD.format(7), GOOD.format(7), "2020-01-07,A,10,12,9,11.5,100\n"]
    report = load(pool, csv(tmp_path, *lines, *again))
    assert (report.inserted, report.quality.refused) == (1, 5)
    expected = [
        ("conflicting duplicate", "2020-01-07", 10, 11.5, 100),
        ("high below low", "2020-01-03", 10, 10, 7),
        ("outside range", "2020-01-06", 10, 13, -5),
        ("price not positive", "2020-01-02", 0, 0, 0),
    ]
    assert held(pool) == expected
    load(pool, csv(tmp_path, *lines, *again, GOOD.format(8)))
    assert held(pool) == expected, "the same row again is one row"
    (first, *_) = list_quarantine(pool, "csv:mine", None, [])
    assert (first.ticker, first.code, first.rows, str(first.first)[:10]) == (
        "A",
        "conflicting duplicate",
        1,
        "2020-01-07",
    )


def test_a_missing_price_and_an_absurd_date_can_be_kept(pool):
    stamps = np.array(["NaT", "0001-01-01", "294000-01-01", "2020-01-01"], dtype="datetime64[us]")
    values = np.array([np.nan, np.inf, -np.inf, 1e300])
    bars = Bars(("A",), np.zeros(4, dtype=np.int32), stamps, *[values] * 5)
    for _ in range(2):
        with pool.transaction() as connection:
            put(connection, "s", "1d", "absurd date", bars)
    rows = held(pool)
    assert [row[1] for row in rows] == [None, None, None, "2020-01-01"]
    assert sorted(map(str, (row[2] for row in rows))) == ["-inf", "1e+300", "inf", "nan"]


def test_what_a_changed_file_has_right_or_not_at_all_leaves_quarantine(pool, tmp_path):
    load(pool, csv(tmp_path, GOOD.format(2), "2020-01-03,A,0,0,0,0,0\n", "2020-01-06,A,-1,1,1,1,1\n"))
    assert len(held(pool)) == 2
    load(pool, csv(tmp_path, GOOD.format(2), GOOD.format(3), "2020-01-06,A,-1,1,1,1,1\n"))
    assert [row[1] for row in held(pool)] == ["2020-01-06"]
    load(pool, csv(tmp_path, GOOD.format(2)))
    assert held(pool) == []


@pytest.mark.parametrize(("policy", "rows"), [("refuse", 0), ("quarantine", 1)])
def test_the_policy_of_a_code_can_be_chosen(pool, tmp_path, policy, rows):
    bad = "2020-01-03,A,0,0,0,0,0\n"
    load(pool, csv(tmp_path, GOOD.format(2), bad, policies={"price not positive": policy}))
    assert len(held(pool)) == rows
    assert stored(pool) == 1


class Feed(DataSource):
    """A source that is no file; ``_zero`` is the day whose prices are zero."""

    _zero: str = "2020-01-03"

    def key(self):
        return "feed"

    def bars(self, tickers, interval, start, end):
        days = np.arange(start, end + timedelta(days=1), dtype="datetime64[D]").astype("datetime64[us]")
        values = np.where(days == np.datetime64(self._zero), 0.0, 10.0)
        return Bars(("A",), np.zeros(len(days), dtype=np.int32), days, *[values] * 5)


def test_a_row_that_is_accepted_later_leaves_quarantine(pool):
    feed = Feed()
    load(pool, feed, date(2020, 1, 2), date(2020, 1, 6))
    load(pool, feed, date(2020, 1, 2), date(2020, 1, 9))
    assert [row[1] for row in held(pool)] == ["2020-01-03"], "other dates do not matter"
    with pool.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM market_data_coverage")
    feed._zero = "2019-01-01"
    load(pool, feed, date(2020, 1, 2), date(2020, 1, 6))
    assert held(pool) == []


def test_a_bar_that_a_check_took_out_stays_out_until_its_values_change(pool):
    feed = Feed()
    load(pool, feed, date(2020, 1, 4), date(2020, 1, 10))
    with pool.transaction() as connection, connection.cursor() as cursor:
        put(connection, "feed", "1d", "spike", feed.bars(["A"], "1d", date(2020, 1, 7), date(2020, 1, 7)))
        cursor.execute("DELETE FROM market_data WHERE timestamp = '2020-01-07Z'")
        cursor.execute("DELETE FROM market_data_coverage")
    report = load(pool, feed, date(2020, 1, 4), date(2020, 1, 10))
    assert (report.inserted, report.quality.counts["in quarantine"]) == (0, 1)
    assert [row[:2] for row in held(pool)] == [("spike", "2020-01-07")]
    with pool.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE market_data_quarantine SET close_price = 99; DELETE FROM market_data_coverage")
    assert load(pool, feed, date(2020, 1, 4), date(2020, 1, 10)).inserted == 1
    assert held(pool) == []


def test_a_load_that_fails_leaves_nothing_in_quarantine(pool, tmp_path, monkeypatch):
    from framework.data import store as module

    def fail(*_):
        raise DataError("full")

    monkeypatch.setattr(module, "write_coverage", fail)
    with pytest.raises(DataError, match="full"):
        load(pool, csv(tmp_path, GOOD.format(2), "2020-01-03,A,0,0,0,0,0\n"))
    assert held(pool) == []


def test_every_code_has_a_policy_and_only_suspect_bars_can_be_left_in():
    assert {policy_of({}, code) for code in SUSPECT} == {"warn"}
    assert {code for code in REFUSED if policy_of({}, code) == "refuse"} == {
        "not asked for",
        "duplicate",
        "in quarantine",
    }
    assert policy_of({"spike": "refuse"}, "spike") == "refuse"
    assert not set(REFUSED) & set(SUSPECT)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"spyke": "warn"}, "there is no code 'spyke'; did you mean 'spike'?"),
        ({"spike": "drop"}, "'spike' cannot be 'drop'; allowed: warn or quarantine or refuse"),
        ({"missing session": "refuse"}, "'missing session' cannot be 'refuse'; allowed: warn"),
        ({"price not positive": "warn"}, "cannot be 'warn'; allowed: refuse or quarantine"),
        ({"in quarantine": "refuse"}, "there is no code 'in quarantine'"),
    ],
)
def test_a_wrong_policy_says_what_is_allowed(given, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        check_policies(given)


def test_a_backfill_is_told_its_policies(pool, database, tmp_path, monkeypatch, capfd):
    csv(tmp_path, GOOD.format(2), "2020-01-03,A,0,0,0,0,0\n")
    monkeypatch.chdir(tmp_path)
    ask = ["data", "backfill", "--source", "csv", "--param", "path=p.csv", "--tickers", "A", "--start", "2020-01-01"]
    assert run_command([*ask, "--policy", "price not positive=refuse", "--url", database]) == 0
    assert (stored(pool), held(pool)) == (1, [])
    assert run_command([*ask, "--policy", "price not positive=warn", "--url", database]) == 2
    assert "cannot be 'warn'; allowed: refuse or quarantine" in capfd.readouterr().err
