"""Bringing bars from a source into the database."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from framework.plugins.data_sources.csv_files import CsvFiles
from framework.plugins.data_sources.sample import Sample

from framework.data.load import ensure
from framework.data.source import DataSource
from framework.db.market import read_corporate_actions, read_coverage
from framework.errors import DataError, SourceError
from framework.model.bars import Bars, CorporateAction

ZERO_OF_C = "C 2020-01-02 00:00 UTC (open 0, high 0, low 0, close 0)"
START, END = date(2010, 1, 4), date(2010, 12, 31)


class Feed(DataSource):
    """A source that is no file: one bar per day at ``price``, with a record of what it was asked for."""

    price: float = 10.0
    batch_size = 2
    _asked: tuple = ()
    _actions: tuple = ()

    def key(self):
        return "feed"

    def bars(self, tickers, interval, start, end):
        self._asked = (*self._asked, (*tickers, str(start), str(end)))
        days = np.arange(start, end + timedelta(days=1), dtype="datetime64[D]").astype("datetime64[us]")
        values = np.full(len(days) * len(tickers), self.price)
        code = np.repeat(np.arange(len(tickers), dtype=np.int32), len(days))
        return Bars(tuple(tickers), code, np.tile(days, len(tickers)), *[values] * 5)

    def corporate_actions(self, tickers):
        return tuple(action for action in self._actions if action.ticker in tickers)


def load(pool, source, tickers, start=START, end=END, interval="1d", progress=None, now=None):
    return ensure(pool, source, tickers, interval, start, end, progress, now)


def rows(pool, what="ticker, timestamp::date, close_price"):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {what} FROM market_data ORDER BY ticker, timestamp")
        return cursor.fetchall()


def coverage(pool, source, tickers):
    with pool.connection() as connection:
        found = read_coverage(connection, source.key(), "1d", tickers)
    return {ticker: (str(row.start), str(row.end)) for ticker, row in found.items()}


def csv(folder, text=None, **bars):
    """A csv source over one file of one-price bars: ticker → {day of January 2020: close}."""
    lines = [f"2020-01-{day:02},{t},{p},{p},{p},{p},1" for t, days in bars.items() for day, p in days.items()]
    header = "timestamp,ticker,open,high,low,close,volume\n"
    (folder / "p.csv").write_text(header + "\n".join(lines) if text is None else text)
    made = CsvFiles(path="p.csv", name="mine")
    made.bind(folder)
    return made


def test_the_sample_loads_complete_and_once(pool):
    tickers = ["AAPL", "MSFT", "FB"]
    seen = []
    report = load(pool, Sample(), tickers, progress=lambda done, total: seen.append((done, total)))
    assert report.tickers == tuple(tickers)
    assert report.inserted == 3270 + 3270 + 196
    assert report.notes() == []
    assert seen == [(3, 3)]
    assert coverage(pool, Sample(), tickers)["FB"] == ("2012-05-18", "2013-03-01")
    with pool.connection() as connection:
        stored = read_corporate_actions(connection, "sample", tickers)
    assert stored == tuple(sorted(Sample().corporate_actions(tickers), key=lambda a: (a.ticker, a.ex_date, a.kind)))
    again = load(pool, Sample(), tickers)
    assert (again.tickers, again.inserted) == ((), 0)
    more = load(pool, Sample(), ["IBM", *tickers])
    assert more.tickers == ("IBM",)


def test_stored_prices_are_those_of_the_file(pool):
    load(pool, Sample(), ["MSFT"])
    bars = Sample().bars(["MSFT"], "1d", date.min, date.max)
    stored = rows(pool, "open_price, high_price, low_price, close_price, volume")
    for index, name in enumerate(("open", "high", "low", "close", "volume")):
        assert [float(row[index]) for row in stored] == getattr(bars, name).tolist()


def test_a_feed_is_asked_only_for_what_is_lacking(pool):
    feed = Feed()
    load(pool, feed, ["A", "B", "C"], date(2020, 1, 10), date(2020, 1, 20))
    load(pool, feed, ["A", "B", "C"], date(2020, 1, 12), date(2020, 1, 15))
    assert feed._asked == (("A", "B", "2020-01-10", "2020-01-20"), ("C", "2020-01-10", "2020-01-20"))
    feed._asked = ()
    load(pool, feed, ["A"], date(2020, 1, 1), date(2020, 1, 25))
    assert feed._asked == (("A", "2020-01-01", "2020-01-09"), ("A", "2020-01-21", "2020-01-25"))
    assert coverage(pool, feed, ["A", "B"]) == {"A": ("2020-01-01", "2020-01-25"), "B": ("2020-01-10", "2020-01-20")}
    assert len(rows(pool)) == 25 + 11 + 11


def test_a_later_span_brings_what_lies_between(pool):
    feed = Feed()
    load(pool, feed, ["A"], date(2020, 1, 1), date(2020, 1, 5))
    load(pool, feed, ["A"], date(2020, 2, 1), date(2020, 2, 5))
    assert feed._asked[-1] == ("A", "2020-01-06", "2020-02-05")
    assert coverage(pool, feed, ["A"]) == {"A": ("2020-01-01", "2020-02-05")}


def test_spans_of_two_loaders_that_do_not_touch_are_never_stated_as_one(pool):
    """While one loader reads from its source, another states a span far away."""

    class Slow(Feed):
        def bars(self, tickers, interval, start, end):
            load(pool, Feed(), tickers, date(2020, 3, 1), date(2020, 3, 5))
            return super().bars(tickers, interval, start, end)

    load(pool, Slow(), ["A"], date(2020, 1, 1), date(2020, 1, 5))
    assert coverage(pool, Feed(), ["A"]) == {"A": ("2020-01-01", "2020-01-05")}
    load(pool, Feed(), ["A"], date(2020, 2, 1), date(2020, 2, 5))
    assert len(rows(pool)) == 36 + 5


def test_a_bar_that_a_feed_gives_differently_is_corrected_and_told(pool):
    load(pool, Feed(), ["A"], date(2020, 1, 1), date(2020, 1, 2))
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM market_data_coverage")
    report = load(pool, Feed(price=11), ["A"], date(2020, 1, 2), date(2020, 1, 3))
    assert (report.inserted, report.corrected, report.removed) == (1, 1, 0)
    assert [row[2] for row in rows(pool)] == [10, 11, 11]
    (note,) = report.notes()
    assert "1 stored bars differed from what the source has now and were corrected" in note
    assert "A 2020-01-02 00:00 UTC: stored 10 10 10 10 10, offered 11 11 11 11 11" in note


def test_a_changed_file_is_read_again_and_replaces(pool, tmp_path):
    load(pool, csv(tmp_path, A={1: 10, 2: 11, 3: 12}, B={1: 5}), ["A", "B"])
    report = load(pool, csv(tmp_path, A={1: 10, 2: 11.5, 4: 13}, B={1: 5}), ["A", "B"])
    assert (report.inserted, report.unchanged, report.corrected, report.removed) == (1, 2, 1, 1)
    assert [(row[0], row[1].day, float(row[2])) for row in rows(pool)] == [
        ("A", 1, 10),
        ("A", 2, 11.5),
        ("A", 4, 13),
        ("B", 1, 5),
    ]
    notes = " ".join(report.notes())
    assert "1 stored bars differed from what the source has now and were corrected" in notes
    assert "A 2020-01-02 00:00 UTC: stored 11 11 11 11 1, offered 11.5 11.5 11.5 11.5 1" in notes
    assert "1 stored bars are no longer in the changed file and were removed" in notes
    assert load(pool, csv(tmp_path, A={1: 10, 2: 11.5, 4: 13}, B={1: 5}), ["A", "B"]).tickers == ()


def test_a_file_that_only_grew_adds_its_bars(pool, tmp_path):
    load(pool, csv(tmp_path, A={1: 10}), ["A"])
    report = load(pool, csv(tmp_path, A={1: 10, 2: 11}), ["A"])
    assert (report.inserted, report.unchanged, report.corrected, report.removed) == (1, 1, 0, 0)
    assert report.notes() == []


def test_duplicates_in_a_file(pool, tmp_path):
    text = "timestamp,ticker,open,high,low,close,volume\n" + "\n".join(
        [
            "2020-01-01,A,10,10,10,10,1",
            "2020-01-01,A,10,10,10,10,1",
            "2020-01-02,A,11,11,11,11,1",
            "2020-01-02,A,9,9,9,9,1",
        ]
    )
    report = load(pool, csv(tmp_path, text), ["A"])
    assert [float(row[2]) for row in rows(pool)] == [10, 11]
    assert report.quality.counts == {"duplicate": 1, "conflicting duplicate": 1}
    shown = "A 2020-01-02 00:00 UTC (kept open 11, high 11, low 11, close 11; left out open 9, high 9, low 9, close 9)"
    assert any(shown in note for note in report.notes())


def test_bad_rows_are_left_out_and_said(pool, tmp_path):
    report = load(pool, csv(tmp_path, A={1: 10, 2: -11, 3: "nan", 4: 0}), ["A"])
    assert report.inserted == 1
    assert report.quality.counts == {"price not positive": 2, "missing price": 1}
    assert len(report.notes()) == 2


def test_bad_rows_are_said_by_every_run_in_the_same_words(pool, tmp_path):
    text = "timestamp,ticker,open,high,low,close,volume\n" + "\n".join(
        [f"2020-01-0{day},{name},{price},9,1,5,{day / 2}" for name in "AB" for day, price in ((1, 5), (2, -1), (3, 50))]
        + ["2020-01-02,C,1,1,1,1,1"]
    )
    first = load(pool, csv(tmp_path, text), ["A", "B", "C"])
    assert [note.split(":")[0] for note in first.notes()] == [
        "2 of 7 rows refused",
        "2 of 7 rows refused",
        "2 of 7 rows kept",
    ]
    again = load(pool, csv(tmp_path, text), ["A", "B", "C"])
    assert (again.tickers, again.notes()) == ((), first.notes())
    assert load(pool, csv(tmp_path, text), ["C"]).notes() == []
    (line,) = [note for note in load(pool, csv(tmp_path, text), ["B", "C", "B"]).notes() if "kept" in note]
    assert line == (
        "1 of 4 rows kept: the volume is not whole; stored rounded to whole shares; "
        "first: B 2020-01-01 00:00 UTC (volume 0.5)"
    )
    mended = load(pool, csv(tmp_path, A={1: 5}, B={1: 5}), ["A"])
    assert mended.quality.lines() == []
    assert load(pool, csv(tmp_path, A={1: 5}, B={1: 5}), ["A", "B"]).quality.lines() == []


def test_bad_rows_of_a_feed_add_up_over_its_spans(pool):
    class Bad(Feed):
        def bars(self, tickers, interval, start, end):
            bars = super().bars(tickers, interval, start, end)
            return replace(bars, volume=np.full(len(bars), 0.5))

    load(pool, Bad(), ["A"], date(2020, 1, 10), date(2020, 1, 12))
    report = load(pool, Bad(), ["A"], date(2020, 1, 9), date(2020, 1, 14))
    assert report.notes()[0].startswith("6 of 6 rows kept: the volume is not whole")
    assert report.notes()[0].count("UTC") == 3
    assert load(pool, Bad(), ["A"], date(2020, 1, 11), date(2020, 1, 11)).notes() == report.notes()


def test_two_loaders_of_one_span_tell_its_bad_rows_once(pool):
    """While one loader reads from its source, another loads the same."""

    class Bad(Feed):
        def bars(self, tickers, interval, start, end):
            bars = super().bars(tickers, interval, start, end)
            return replace(bars, volume=np.full(len(bars), 0.5))

    class Slow(Bad):
        def bars(self, tickers, interval, start, end):
            load(pool, Bad(), tickers, start, end + timedelta(days=1))
            return super().bars(tickers, interval, start, end)

    report = load(pool, Slow(), ["A"], date(2020, 1, 1), date(2020, 1, 5))
    assert report.notes()[0].startswith("6 of 6 rows kept")
    assert coverage(pool, Bad(), ["A"]) == {"A": ("2020-01-01", "2020-01-06")}


def test_a_ticker_without_any_usable_row_is_an_error_that_says_why(pool, tmp_path):
    with pytest.raises(DataError, match=r"no usable bar of A\. 2 of 2 rows refused: a price is zero or negative"):
        load(pool, csv(tmp_path, A={1: -10, 2: -11}, B={1: 1}), ["A", "B"])
    assert rows(pool) == []


def test_an_unknown_ticker_is_an_error(pool, tmp_path):
    with pytest.raises(SourceError, match="no ticker 'APPL'"):
        load(pool, Sample(), ["APPL"])
    with pytest.raises(SourceError, match="no ticker 'AB'; did you mean 'A'"):
        load(pool, csv(tmp_path, A={1: 1}), ["AB"])


def test_a_source_that_gives_more_than_it_was_asked_for(pool):
    class Sloppy(Feed):
        def bars(self, tickers, interval, start, end):
            return replace(super().bars(tickers, interval, start, end), tickers=("OTHER",))

    with pytest.raises(SourceError, match=r"asked for A and gave bars of OTHER"):
        load(pool, Sloppy(), ["A"])


def test_minutes_loaded_as_hours_are_refused(pool, tmp_path):
    (tmp_path / "A.csv").write_text(
        "timestamp,open,high,low,close,volume\n2020-01-02T14:30:00Z,1,1,1,1,1\n2020-01-02T14:31:00Z,1,1,1,1,1\n"
    )
    source = CsvFiles(path="A.csv")
    source.bind(tmp_path)
    with pytest.raises(DataError, match="set interval to what the source holds"):
        load(pool, source, ["A"], interval="1h")


def test_corporate_actions_that_a_source_takes_back_are_gone(pool):
    feed = Feed()
    feed._actions = (
        CorporateAction("A", date(2020, 1, 2), "split", Decimal(2)),
        CorporateAction("A", date(2020, 1, 3), "dividend", Decimal("0.1")),
        CorporateAction("B", date(2020, 1, 3), "split", Decimal(3)),
    )
    load(pool, feed, ["A", "B"], date(2020, 1, 1), date(2020, 1, 5))
    changed = CorporateAction("A", date(2020, 1, 3), "dividend", Decimal("0.2"))
    feed._actions = (changed,)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    load(pool, feed, ["A"], date(2020, 1, 1), date(2020, 1, 6), now=tomorrow)
    with pool.connection() as connection:
        stored = read_corporate_actions(connection, "feed", ["A", "B"])
    assert stored == (changed, CorporateAction("B", date(2020, 1, 3), "split", Decimal(3)))


def test_what_was_committed_before_an_interruption_stays_and_a_rerun_completes(pool):
    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(pool, Feed(), ["A", "B", "C", "D", "E"], progress=interrupt)
    assert {row[0] for row in rows(pool)} == {"A", "B"}
    feed = Feed()
    report = load(pool, feed, ["A", "B", "C", "D", "E"])
    assert report.tickers == ("C", "D", "E")
    assert len(rows(pool)) == 5 * 362


def test_one_big_file_is_committed_in_parts(pool, tmp_path, monkeypatch):
    monkeypatch.setattr("framework.data.load.BARS_PER_TRANSACTION", 3)
    source = csv(tmp_path, A={1: 1, 2: 2}, B={1: 1}, C={1: 1, 2: 0}, D={1: 1, 2: 1, 3: 1, 4: 1}, E={1: 1})
    seen = []

    def interrupt(done, total):
        seen.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(pool, source, list("ABCDE"), progress=interrupt)
    assert seen == [(2, 5), (3, 5)]
    assert {row[0] for row in rows(pool)} == {"A", "B", "C"}
    report = load(pool, source, list("ABCDE"))
    assert report.tickers == ("D", "E")
    assert len(rows(pool)) == 9
    assert report.notes() == ["1 of 10 rows refused: a price is zero or negative; first: " + ZERO_OF_C]


def test_a_failure_in_the_middle_of_a_batch_leaves_nothing_of_it(pool, monkeypatch):
    def fail(*args):
        raise RuntimeError("out of luck")

    with monkeypatch.context() as patch:
        patch.setattr("framework.data.store.write_coverage", fail)
        with pytest.raises(RuntimeError):
            load(pool, Feed(), ["A"])
    assert rows(pool) == []
    assert load(pool, Feed(), ["A"]).inserted == 362


def test_a_killed_loader_leaves_whole_batches(pool, database):
    code = """
        import sys, time
        from datetime import date
        from framework.data.load import ensure
        from framework.db.pool import Pool
        from framework.plugins.data_sources.sample import Sample
        Sample.batch_size = 1
        def progress(done, total):
            print(done, flush=True)
            if done == 2:
                time.sleep(60)
        ensure(Pool(sys.argv[1]), Sample(), ["AAPL", "MSFT", "IBM"], "1d", date(2000, 1, 1), date(2013, 1, 1), progress)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), database], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        assert [child.stdout.readline(), child.stdout.readline()] == ["1\n", "2\n"]
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert {row[0] for row in rows(pool)} == {"AAPL", "MSFT"}
    assert load(pool, Sample(), ["AAPL", "MSFT", "IBM"]).tickers == ("IBM",)
    assert len(rows(pool)) == 3 * 3270


def test_loads_of_the_same_at_once_agree(pool, tmp_path):
    load(pool, csv(tmp_path, A={1: 10, 2: 11}, B={1: 5}), ["A", "B"])
    csv(tmp_path, A={1: 10, 2: 12, 3: 13}, B={1: 6})
    failures = []

    def again(tickers):
        source = CsvFiles(path="p.csv", name="mine")
        source.bind(tmp_path)
        try:
            load(pool, source, tickers)
        except Exception as error:  # noqa: BLE001  (handed to the test)
            failures.append(error)

    threads = [threading.Thread(target=again, args=(names,)) for names in (["A", "B"], ["B", "A"], ["B"], ["A"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [(row[0], row[1].day, float(row[2])) for row in rows(pool)] == [
        ("A", 1, 10),
        ("A", 2, 12),
        ("A", 3, 13),
        ("B", 1, 6),
    ]


def test_a_lost_connection_costs_a_retry(pool, monkeypatch):
    """The server ends the connection in the middle of a batch: the batch is done again."""
    from framework.data import store as module

    real, calls = module.write_coverage, []

    def once_lost(connection, *args):
        if not calls:
            with pool.connection() as other, other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        calls.append(1)
        real(connection, *args)

    monkeypatch.setattr(module, "write_coverage", once_lost)
    assert load(pool, Feed(), ["A"]).inserted == 362
    assert len(calls) == 2
    assert len(rows(pool)) == 362
