"""The bars store: what is written comes back, the first bar of a key stays, bad bars are named."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framework.db.bars import _Received, fingerprint, read_panel, write_bars
from framework.db.market import (
    Coverage,
    read_corporate_actions,
    read_coverage,
    read_versions,
    write_corporate_actions,
    write_coverage,
)
from framework.db.queries import fetch_all, sql
from framework.errors import DatabaseError, DataError
from framework.model.bars import Bars, CorporateAction
from framework.model.panel import FIELDS

START, END = datetime(1990, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)


def make_bars(rows: list[tuple[str, str, float, float, float, float, float]]) -> Bars:
    tickers = tuple(dict.fromkeys(row[0] for row in rows))
    columns = [np.array([row[k] for row in rows], dtype=float) for k in range(2, 7)]
    code = np.array([tickers.index(row[0]) for row in rows], dtype=np.int32)
    times = np.array([row[1] for row in rows], dtype="datetime64[us]")
    return Bars(tickers, code, times, *columns)


def nth_day(number: int) -> str:
    return str(np.datetime64("2020-01-01") + np.timedelta64(number, "D"))


def flat(ticker: str, day: str, price: float, volume: float = 10) -> tuple:
    return (ticker, day, price, price, price, price, volume)


def store(pool, bars, source="sample", interval="1d"):
    with pool.transaction() as connection:
        return write_bars(connection, source, interval, bars)


def load(pool, tickers, source="sample", interval="1d", start=START, end=END):
    return read_panel(pool, source, tickers, interval, start, end)


def test_bars_come_back_as_a_panel_with_columns_in_the_order_asked(pool):
    report = store(
        pool,
        make_bars(
            [
                ("B", "2020-01-03", 10.5, 11, 10, 10.25, 300),
                ("A", "2020-01-02", 1.5, 2.5, 1.25, 2, 100),
                ("A", "2020-01-03", 2, 3, 1, 2.5, 200),
            ]
        ),
    )
    assert (report.inserted, report.identical, report.conflicting) == (3, 0, 0)
    panel = load(pool, ["B", "none", "A"])
    assert panel.tickers == ("B", "none", "A")
    assert panel.timestamps.astype("datetime64[D]").astype(str).tolist() == ["2020-01-02", "2020-01-03"]
    np.testing.assert_array_equal(panel.open, [[np.nan, np.nan, 1.5], [10.5, np.nan, 2]])
    np.testing.assert_array_equal(panel.high, [[np.nan, np.nan, 2.5], [11, np.nan, 3]])
    np.testing.assert_array_equal(panel.low, [[np.nan, np.nan, 1.25], [10, np.nan, 1]])
    np.testing.assert_array_equal(panel.close, [[np.nan, np.nan, 2], [10.25, np.nan, 2.5]])
    np.testing.assert_array_equal(panel.volume, [[np.nan, np.nan, 100], [300, np.nan, 200]])


def test_no_bars_give_a_panel_without_rows(pool):
    panel = load(pool, ["A", "B"])
    assert panel.close.shape == (0, 2)
    assert store(pool, make_bars([])).inserted == 0


def test_both_ends_are_included_and_source_and_interval_are_kept_apart(pool):
    days = [flat("A", f"2020-01-0{d}", d) for d in range(1, 6)]
    store(pool, make_bars(days))
    store(pool, make_bars([flat("A", "2020-01-02", 99)]), source="csv:x")
    store(pool, make_bars([flat("A", "2020-01-02", 77)]), interval="1h")
    start, end = datetime(2020, 1, 2, tzinfo=UTC), datetime(2020, 1, 4, tzinfo=UTC)
    assert load(pool, ["A"], start=start, end=end).close[:, 0].tolist() == [2, 3, 4]
    assert load(pool, ["A"], source="csv:x").close[:, 0].tolist() == [99]
    assert load(pool, ["A"], interval="1h").close[:, 0].tolist() == [77]


def corrections(pool):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT ticker, timestamp::date::text, old_close, old_volume, new_close, new_volume "
                       "FROM market_data_corrections ORDER BY id")  # fmt: skip
        return cursor.fetchall()


def test_a_bar_that_has_changed_is_corrected_and_what_it_was_is_kept(pool):
    store(pool, make_bars([flat("A", "2020-01-02", 1), flat("A", "2020-01-03", 2)]))
    changed = make_bars([flat("A", "2020-01-02", 1), flat("A", "2020-01-03", 2.5), flat("A", "2020-01-04", 3)])
    report = store(pool, changed)
    assert (report.inserted, report.identical, report.corrected, report.removed) == (1, 1, 1, 0)
    assert load(pool, ["A"]).close[:, 0].tolist() == [1, 2.5, 3]
    (example,) = report.examples
    assert (example.ticker, example.timestamp) == ("A", datetime(2020, 1, 3, tzinfo=UTC))
    assert example.stored == (Decimal(2),) * 4 + (10,)
    assert example.offered == (Decimal("2.5"),) * 4 + (10,)
    assert "A 2020-01-03 00:00 UTC: stored 2 2 2 2 10, offered 2.5" in str(example)
    assert corrections(pool) == [("A", "2020-01-03", 2, 10, Decimal("2.5"), 10)]
    assert store(pool, changed).identical == 3
    assert len(corrections(pool)) == 1


def test_of_complete_tickers_what_is_not_there_any_more_is_removed_and_kept(pool):
    store(pool, make_bars([flat("A", "2020-01-02", 1), flat("A", "2020-01-03", 2), flat("B", "2020-01-02", 5)]))
    store(pool, make_bars([flat("A", "2020-01-02", 1)]), interval="1h")
    with pool.transaction() as connection:
        part = make_bars([flat("A", "2020-01-03", 2), flat("B", "2020-01-03", 6)])
        report = write_bars(connection, "sample", "1d", part, complete=["A"])
    assert (report.inserted, report.identical, report.removed) == (1, 1, 1)
    assert load(pool, ["A", "B"]).close[:, 1].tolist() == [5, 6]
    assert corrections(pool) == [("A", "2020-01-02", 1, 10, None, None)]


def test_a_change_by_plain_sql_is_kept_too_and_nobody_rewrites_what_was_kept(pool):
    store(pool, make_bars([flat("A", "2020-01-02", 1), flat("A", "2020-01-03", 2)]))
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE market_data SET volume = 11 WHERE timestamp = '2020-01-02'")
        cursor.execute("UPDATE market_data SET volume = 11 WHERE timestamp = '2020-01-02'")
        cursor.execute("DELETE FROM market_data WHERE timestamp = '2020-01-03'")
        for statement in ("UPDATE market_data_corrections SET old_volume = 1", "DELETE FROM market_data_corrections"):
            with pytest.raises(psycopg2.Error, match="append-only"):
                cursor.execute(statement)
    assert corrections(pool) == [("A", "2020-01-02", 1, 10, 1, 11), ("A", "2020-01-03", 2, 10, None, None)]


def test_bars_that_another_transaction_adds_at_the_same_time_are_there_once(pool):
    """Who has looked and found nothing may still meet the other's bars."""
    bars = make_bars([flat("A", nth_day(day), 1) for day in range(50)])
    started, reports = threading.Event(), []

    def other():
        started.set()
        reports.append(store(pool, bars))

    with pool.transaction() as connection:
        write_bars(connection, "sample", "1d", bars.take(np.arange(10, 50)))
        thread = threading.Thread(target=other)
        thread.start()
        started.wait()
        time.sleep(0.3)  # it waits for these rows now
    thread.join()
    assert (reports[0].inserted, reports[0].identical) == (10, 40)
    assert len(load(pool, ["A"]).close) == 50


def test_two_who_correct_the_same_bars_at_once_agree(pool):
    days = [f"2020-01-{day:02}" for day in range(1, 31)]
    store(pool, make_bars([flat(ticker, day, 1) for ticker in "AB" for day in days]))
    offered = [make_bars([flat(ticker, day, price) for ticker in "AB" for day in days]) for price in (2, 3)]
    threads = [threading.Thread(target=store, args=(pool, bars)) for bars in offered]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    closes = load(pool, ["A", "B"]).close
    assert len(np.unique(closes)) == 1
    assert closes[0, 0] in (2, 3)
    assert len(corrections(pool)) == 120


def test_duplicates_within_one_load_are_judged_the_same_way(pool):
    report = store(
        pool,
        make_bars(
            [
                flat("B", "2020-01-02", 5),
                flat("A", "2020-01-02", 1),
                flat("A", "2020-01-02", 1),
                flat("A", "2020-01-02", 1.5),
                flat("A", "2020-01-01", 7),
            ]
        ),
    )
    assert (report.inserted, report.identical, report.conflicting) == (3, 1, 1)
    assert report.examples[0].offered[3] == Decimal("1.5")
    assert load(pool, ["A"]).close[:, 0].tolist() == [7, 1]


def test_writing_twice_in_one_transaction_works(pool):
    with pool.transaction() as connection:
        write_bars(connection, "sample", "1d", make_bars([flat("A", "2020-01-02", 1)]))
        report = write_bars(connection, "sample", "1d", make_bars([flat("A", "2020-01-02", 1)]))
    assert report.identical == 1


UNUSABLE = (
    (("BAD", "2020-01-02", 1, 1, -1, 1, 10), "low -1"),
    (("BAD", "2020-01-02", 1, 1, 0, 1, 10), "low 0"),
    (("BAD", "2020-01-02", np.nan, 1, 1, 1, 10), "open nan"),
    (("BAD", "2020-01-02", 1, np.inf, 1, 1, 10), "high inf"),
    (("BAD", "2020-01-02", 1, 9.3e9, 1, 1, 10), "high 9300000000"),
    (("BAD", "2020-01-02", 1, 0.5, 1, 1, 10), "high 0.5"),
    (("BAD", "2020-01-02", 1, 2, 1, 3, 10), "close 3"),
    (("BAD", "2020-01-02", 1, 1, 1, 1, -5), "volume -5"),
    (("BAD", "2020-01-02", 1, 1, 1, 1, np.nan), "volume nan"),
    (("BAD", "2020-01-02", 1, 1, 1, 1, 1e300), "volume 1e"),
    (("BAD", "2020-01-02", 1e-10, 1e-10, 1e-10, 1e-10, 1), "low 1e-10"),
    (("BAD", "NaT", 1, 1, 1, 1, 1), "NaT"),
)


def test_a_bar_that_cannot_be_stored_is_named_and_nothing_is_written(pool):
    for row, why in UNUSABLE:
        with pytest.raises(DataError, match=r"1 bars cannot be stored, first: BAD") as error:
            store(pool, make_bars([flat("A", "2020-01-02", 1), row]))
        assert why in str(error.value)
    assert len(load(pool, ["A"])) == 0


def test_writing_outside_a_transaction_is_refused(pool):
    bars = make_bars([flat("A", "2020-01-02", 1)])
    with pool.connection() as connection, pytest.raises(ValueError, match=r"pool\.transaction"):
        write_bars(connection, "sample", "1d", bars)


def test_an_unknown_interval_and_naive_or_repeated_requests_are_refused(pool):
    with pytest.raises(ValueError, match="1min"):
        store(pool, make_bars([flat("A", "2020-01-02", 1)]), interval="2h")
    with pytest.raises(ValueError, match="distinct"):
        load(pool, ["A", "A"])
    with pytest.raises(ValueError, match="aware"):
        load(pool, ["A"], start=datetime(2020, 1, 1))  # noqa: DTZ001


def test_odd_names_are_data_not_sql(pool):
    names = ["BRK.B", "a'b", 'q"x', "50%s", "%(x)s", "ß€", "x\\y", "a\tb"]
    store(pool, make_bars([flat(name, "2020-01-02", k + 1) for k, name in enumerate(names)]))
    assert load(pool, names).close[0].tolist() == list(range(1, 9))


prices = st.floats(1e-6, 8_000_000, allow_nan=False)
bar = st.tuples(
    st.sampled_from(["A", "B", "C", "DD"]), st.integers(0, 40), st.lists(prices, min_size=4, max_size=4),
    st.integers(0, 2**52),
)  # fmt: skip


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(bar, min_size=1, max_size=60), st.permutations(["A", "B", "C", "DD", "none"]))
def test_any_bars_come_back_rounded_to_1e_9_first_one_kept(pool, rows, tickers):
    rows = [(t, nth_day(d), sorted(p)[1], max(p), min(p), sorted(p)[2], v) for t, d, p, v in rows]
    with pool.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE market_data")
        report = write_bars(connection, "sample", "1d", make_bars(rows))
    expected: dict[tuple[str, str], tuple] = {}
    for row in rows:
        expected.setdefault(row[:2], row)
    assert report.inserted == len(expected)
    assert report.inserted + report.identical + report.conflicting == len(rows)
    panel = load(pool, tickers)
    assert panel.timestamps.astype("datetime64[D]").astype(str).tolist() == sorted({k[1] for k in expected})
    seen = 0
    for i, day in enumerate(panel.timestamps.astype("datetime64[D]").astype(str)):
        for j, ticker in enumerate(tickers):
            got = [getattr(panel, name)[i, j] for name in FIELDS]
            row = expected.get((ticker, day))
            if row is None:
                assert np.isnan(got).all()
                continue
            seen += 1
            exact = [float(Decimal(p).quantize(Decimal("1e-9"))) for p in row[2:6]]
            assert got == [*exact, row[6]]
    assert seen == len(expected)


def test_prices_above_nine_million_are_read_as_the_nearest_float(pool):
    rng = np.random.default_rng(3)
    values = np.round(rng.uniform(9e6, 9.1e9, 200), 3)
    store(pool, make_bars([flat("A", nth_day(k), v) for k, v in enumerate(values)]))
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT close_price FROM market_data ORDER BY timestamp")
        exact = [float(row[0]) for row in cursor.fetchall()]
    assert load(pool, ["A"]).close[:, 0].tolist() == exact
    np.testing.assert_allclose(exact, values, rtol=1e-15)


def test_stored_prices_carry_no_trailing_zeros(pool):
    store(pool, make_bars([flat("A", "2020-01-02", 1.5), flat("A", "2020-01-03", 100)]))
    with pool.connection() as connection:
        rows = fetch_all(
            connection,
            "market_data",
            {"source": "sample", "bar_interval": "1d", "tickers": ["A"], "start": START, "end": END},
        )
    assert [str(row[3]) for row in rows] == ["1.5", "100"]


def test_the_fingerprint_is_of_the_bars(pool):
    store(pool, make_bars([flat("A", "2020-01-02", 1), flat("B", "2020-01-03", 2)]))
    one = fingerprint(load(pool, ["A", "B"]))
    assert fingerprint(load(pool, ["A", "B"])) == one
    assert fingerprint(load(pool, ["B", "A"])) != one
    assert fingerprint(load(pool, ["A"])) != one
    store(pool, make_bars([flat("A", "2020-01-03", 3)]))
    assert fingerprint(load(pool, ["A", "B"])) != one


def test_two_loads_of_the_same_bars_at_once_neither_deadlock_nor_lose(pool):
    days = [nth_day(k) for k in range(400)]
    forward = [flat(t, d, 5) for t in ("A", "B", "C") for d in days]
    backward = [flat(t, d, 5) for t in ("C", "B", "A") for d in reversed(days)]
    reports, barrier = [], threading.Barrier(4)

    def work(rows):
        barrier.wait()
        reports.append(store(pool, make_bars(rows)))

    threads = [threading.Thread(target=work, args=(rows,)) for rows in (forward, backward) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(report.inserted for report in reports) == 1200
    assert sum(report.identical for report in reports) == 3600


def test_every_kind_of_change_raises_the_version(pool):
    def version():
        with pool.connection() as connection:
            return read_versions(connection, "sample", "1d", ["A", "B"])

    assert version() == {}
    store(pool, make_bars([flat("A", "2020-01-02", 1)]))
    assert version() == {"A": 1}
    store(pool, make_bars([flat("A", "2020-01-02", 1)]))
    assert version() == {"A": 1}, "nothing was written, nothing changed"
    statements = [
        ("UPDATE market_data SET volume = 11", {"A": 2}),
        ("UPDATE market_data SET ticker = 'B'", {"A": 3, "B": 1}),
        ("DELETE FROM market_data", {"A": 3, "B": 2}),
        ("TRUNCATE market_data", {"A": 4, "B": 3}),
    ]
    for statement, expected in statements:
        with pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(statement)
        assert version() == expected, statement


def test_coverage_is_replaced_and_goes_with_the_transaction(pool):
    first = Coverage("A", date(2020, 1, 1), date(2020, 6, 30), "abc", {"rows": 3, "found": {"a code": ["ü", None]}})
    with pool.transaction() as connection:
        write_coverage(connection, "csv:x", "1d", [first, Coverage("B", date(2020, 1, 1), date(2020, 1, 1))])
    wider = Coverage("A", date(2019, 1, 1), date(2020, 12, 31), "def")
    with pytest.raises(ZeroDivisionError), pool.transaction() as connection:
        write_coverage(connection, "csv:x", "1d", [wider]), 1 / 0
    with pool.connection() as connection:
        assert read_coverage(connection, "csv:x", "1d", ["A", "Z"]) == {"A": first}
    with pool.transaction() as connection:
        write_coverage(connection, "csv:x", "1d", [wider])
        assert read_coverage(connection, "csv:x", "1d", ["A"]) == {"A": wider}
        assert read_coverage(connection, "csv:x", "1h", ["A"]) == {}


def test_corporate_actions_come_back_exact_and_once(pool):
    split = CorporateAction("AAPL", date(2005, 2, 28), "split", Decimal(2))
    dividend = CorporateAction("AAPL", date(2004, 11, 15), "dividend", Decimal("0.012345678912"))
    with pool.transaction() as connection:
        assert write_corporate_actions(connection, "sample", ["AAPL"], [split, dividend]) == ()
        assert write_corporate_actions(connection, "sample", ["MSFT"], []) == ()
        assert read_corporate_actions(connection, "sample", ["AAPL", "X"]) == (dividend, split)
        assert read_corporate_actions(connection, "other", ["AAPL"]) == ()
        changed = CorporateAction("AAPL", dividend.ex_date, "dividend", Decimal("0.02"))
        assert write_corporate_actions(connection, "sample", ["AAPL"], [changed]) == (dividend, split)
        assert read_corporate_actions(connection, "sample", ["AAPL"]) == (changed,)


def test_actions_of_somebodys_own_and_ignored_ones_outlive_what_the_source_states(pool):
    stated = CorporateAction("A", date(2005, 2, 28), "split", Decimal(2))
    with pool.transaction() as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO corporate_actions (source, ticker, ex_date, kind, value) "
            "VALUES ('feed', 'A', '2005-02-28', 'split', 3), ('feed', 'A', '2006-02-28', 'split', 4)"
        )
        write_corporate_actions(connection, "feed", ["A", "B"], [stated, replace(stated, ticker="B")])
        cursor.execute("UPDATE corporate_actions SET is_ignored = true WHERE ticker = 'B'")
        write_corporate_actions(connection, "feed", ["A", "B"], [replace(stated, ticker="B")])
        found = read_corporate_actions(connection, "feed", ["A", "B"])
    assert [(each.ticker, each.ex_date.year, each.value) for each in found] == [("A", 2005, 3), ("A", 2006, 4)]


class Stop(Exception):
    """Stands for whatever ends a load half-way: Ctrl-C, no memory."""


def test_a_read_that_breaks_off_leaves_the_pool_whole(pool, monkeypatch):
    store(pool, make_bars([flat(ticker, nth_day(k), 5) for ticker in "ABCDEFGH" for k in range(500)]))

    def broken(self, data):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr("framework.db.bars._Received.write", broken)
        for _ in range(10):
            with pytest.raises(Stop):
                load(pool, list("ABCDEFGH"))
    assert load(pool, list("ABCDEFGH")).close.shape == (500, 8)
    stats = pool.stats()
    assert (stats.in_use, stats.waiting) == (0, 0)


def test_a_write_that_breaks_off_leaves_nothing_behind(pool, monkeypatch):
    bars = make_bars([flat("A", nth_day(k), 5) for k in range(2000)])
    read = []

    def broken(self, size=-1):
        read.append(size)
        if len(read) > 1:
            raise Stop
        return b"PGCOPY\n\xff\r\n\x00" + bytes(8)

    with monkeypatch.context() as patch:
        patch.setattr("framework.db.bars_write._Stream.read", broken)
        with pytest.raises((Stop, DatabaseError)):
            store(pool, bars)
    assert store(pool, bars).inserted == 2000
    assert (pool.stats().in_use, pool.stats().rolled_back) == (0, 0)


def test_bytes_may_come_in_any_pieces(pool):
    """psycopg2 hands over a row at a time; the protocol does not promise it."""
    store(pool, make_bars([flat(t, nth_day(k), k + 1) for t in "AB" for k in range(3)]))
    whole = load(pool, ["A", "none", "B"])
    pieces = []
    received = _Received(3)
    received.write = pieces.append  # type: ignore[method-assign]
    asked = {"source": "sample", "bar_interval": "1d", "tickers": ["A", "none", "B"], "start": START, "end": END}
    with pool.connection() as connection, connection.cursor() as cursor:
        statement = cursor.mogrify(sql("read_bars"), asked)
        cursor.copy_expert(b"COPY (" + statement + b") TO STDOUT (FORMAT binary)", received)
    stream = b"".join(pieces)
    for size in (1, 2, 3, 7, 19, 64, len(stream)):
        again = _Received(3)
        for at in range(0, len(stream), size):
            again.write(stream[at : at + size])
        assert fingerprint(again.panel(("A", "none", "B"), "1d")) == fingerprint(whole)
