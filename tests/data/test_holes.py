"""Holes in the loading of market data that were found once: late bars, odd rows, moved actions, slow plans, stops."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from framework.data.backfill import backfill
from framework.data.http import HttpClient
from framework.data.ingest import BarIngestor, Watch
from framework.data.rate_limit import RateLimit
from framework.data.shared_limit import SharedRateLimit
from framework.data.source import DataSource
from framework.data.verify import Asked, verify
from framework.db.market import coverage_of
from framework.errors import EngineError
from framework.model.bars import Bars, CorporateAction


def bars(ticker, rows):
    t = np.array([r[0] for r in rows], "datetime64[us]")
    p = np.array([r[1] for r in rows], float)
    return Bars(
        (ticker,), np.zeros(len(rows), np.int32), t, open=p, high=p, low=p, close=p, volume=np.full(len(rows), 5.0)
    )


class Toy(DataSource):
    def setup(self, data, actions=()):
        self.data, self.actions, self.asked, self.actions_asked = data, list(actions), [], 0
        return self

    def key(self):
        return "toy"

    def bars(self, tickers, interval, start, end):
        self.asked.append((tuple(tickers), start, end))
        out = []
        for t in tickers:
            rows = [r for r in self.data.get(t, []) if start <= np.datetime64(r[0], "D").item() <= end]
            out.append(bars(t, rows))
        return Bars.joined(out)

    def corporate_actions(self, tickers):
        self.actions_asked += 1
        return tuple(a for a in self.actions if a.ticker in tickers)


def days(first, count, price=10.0):
    return [(str(np.busday_offset(first, n, roll="forward")), price + n / 10) for n in range(count)]


def minutes(day, first, count):
    start = np.datetime64(f"{day}T{first}")
    return [(str(start + np.timedelta64(n, "m")), 10.0 + n / 100) for n in range(count)]


def test_a_session_that_came_in_part_is_asked_for_again(pool):
    # XNYS 2024-06-04, 13:30 to 20:00 UTC; the source is late: it has the bars until 19:30 only.
    all_of = minutes("2024-06-04", "13:30", 390)
    toy = Toy().setup({"A": all_of[:360]})
    backfill(pool, toy, ["A"], "1min", "XNYS", date(2024, 6, 4), now=datetime(2024, 6, 4, 20, 10, tzinfo=UTC))
    toy.data["A"] = all_of + minutes("2024-06-05", "13:30", 390)
    backfill(pool, toy, ["A"], "1min", "XNYS", date(2024, 6, 4), now=datetime(2024, 6, 5, 20, 10, tzinfo=UTC))
    found = verify(pool, Asked(calendar="XNYS"))
    with pool.connection() as c, c.cursor() as cur:
        cur.execute("select count(*) from market_data")
        n = cur.fetchone()[0]
    print(n, toy.asked, coverage_of(pool, "toy", "1min", ["A"]), found.found)
    assert n == 780


def test_one_bad_bar_of_one_ticker_does_not_end_the_ingestor(pool):
    a = minutes("2024-06-04", "13:30", 10)
    toy = Toy().setup({"A": a, "B": [("2024-06-04T13:30", float("nan"))]})
    ingestor = BarIngestor(pool, toy, Watch(("A", "B"), "1min", "XNYS"))
    toy.data["A"] += minutes("2024-06-03", "13:30", 390)
    ingestor.poll(datetime(2024, 6, 4, 13, 32, tzinfo=UTC))


def test_what_lies_before_a_monday_does_not_undo_it(pool):
    toy = Toy().setup({"A": days("2024-05-01", 24)})  # to 2024-06-03, a Monday
    now = datetime(2024, 6, 4, 12, tzinfo=UTC)
    backfill(pool, toy, ["A"], "1d", "XNYS", date(2024, 6, 3), now=now)
    backfill(pool, toy, ["A"], "1d", "XNYS", date(2024, 5, 1), now=now)
    print(coverage_of(pool, "toy", "1d", ["A"]))
    toy.asked.clear()
    backfill(pool, toy, ["A"], "1d", "XNYS", date(2024, 5, 1), now=now)
    assert toy.asked == []


@pytest.mark.parametrize("key", [" SECRET", "SECRET\n"])
def test_no_error_shows_the_key(key):
    client = HttpClient("http://127.0.0.1:1", {"apikey": key}, RateLimit(600), lambda s, t: None, patience_seconds=0.1)
    with pytest.raises(EngineError) as error:
        client.get("x", {})
    assert "SECRET" not in str(error.value)


def test_both_feeds_of_one_key_share_a_limit(make, pool):
    one = make()
    other = make()
    other.feed = "quotes"
    assert one._shared_limit(pool)._key_hash == other._shared_limit(pool)._key_hash


@pytest.mark.parametrize(("per_minute", "threads"), [(3, 8), (5, 16)])
def test_slow_places_are_never_given_twice(pool, per_minute, threads):
    limit = SharedRateLimit(pool, "x", per_minute)
    places = []
    for _ in range(threads):  # as threads do that wait for their places outside the lock
        limit._reserve(1)
        places.append(limit._next)
    gaps = np.diff(places)
    print(np.round(gaps, 2))
    assert min(gaps) > 1.0


def test_actions_are_read_again_before_the_open(pool):
    # B was delisted: it stays late, so that its session is asked for every hour, over midnight UTC, too.
    toy = Toy().setup({"A": days("2024-05-20", 11), "B": days("2024-05-20", 9)})  # A to 06-03
    ingestor = BarIngestor(pool, toy, Watch(("A", "B"), "1d", "XNYS"))
    now, end = datetime(2024, 6, 3, 20, 30, tzinfo=UTC), datetime(2024, 6, 4, 13, 30, tzinfo=UTC)
    told = False
    while now < end:
        if now > datetime(2024, 6, 4, 8, tzinfo=UTC) and not told:
            toy.actions.append(CorporateAction("A", date(2024, 6, 4), "split", Decimal(4)))
            told = True
        ingestor.poll(now)
        now = ingestor.next_due(now)
    with pool.connection() as c, c.cursor() as cur:
        cur.execute("select ticker, ex_date, kind from corporate_actions")
        found = cur.fetchall()
    assert found


def test_again_from_further_back_asks_once(pool):
    toy = Toy().setup({"A": minutes("2024-06-03", "13:30", 390)})
    now = datetime(2024, 6, 4, 12, tzinfo=UTC)
    backfill(pool, toy, ["A"], "1min", "XNYS", date(2024, 5, 1), now=now)
    toy.asked.clear()
    backfill(pool, toy, ["A"], "1min", "XNYS", date(2022, 5, 1), now=now, again=True)
    print([a[1:] for a in toy.asked])
    assert sum((e - s).days + 1 for _, s, e in toy.asked) < 800


def test_a_split_that_was_added_by_hand_stays(pool):
    # verify's advice for "unadjusted split": add the split to corporate_actions
    toy = Toy().setup({"A": days("2024-05-01", 23)})
    backfill(pool, toy, ["A"], "1d", "XNYS", date(2024, 5, 1), now=datetime(2024, 6, 4, 12, tzinfo=UTC))
    with pool.connection() as c, c.cursor() as cur:
        cur.execute(
            "insert into corporate_actions (source, ticker, ex_date, kind, value) "
            "values ('toy', 'A', '2024-05-20', 'split', 4)"
        )
    backfill(pool, toy, ["A"], "1d", "XNYS", date(2024, 5, 1), now=datetime(2024, 6, 5, 12, tzinfo=UTC))
    with pool.connection() as c, c.cursor() as cur:
        cur.execute("select count(*) from corporate_actions")
        assert cur.fetchone()[0] == 1


def test_a_busy_server_does_not_end_the_ingestor():
    from framework.data.ingest import Poll
    from framework.engine.clock import RealClock
    from framework.errors import DatabaseBusy
    from framework.ingest_run import IngestRun

    class Once:
        def __init__(self):
            self.n = 0

        def describe(self):
            return "x"

        def next_due(self, after):
            return after + timedelta(milliseconds=10)

        def poll(self, now):
            self.n += 1
            if self.n == 1:
                raise DatabaseBusy("too many clients already; make room, and it goes on")
            run.stop()
            return Poll()

    run = IngestRun([Once()], RealClock(datetime.now(UTC)), print)
    run.run()


def test_the_second_sigterm_or_a_stop_ends_a_long_catch_up(pool):
    import threading
    import time

    from framework.engine.clock import RealClock
    from framework.ingest_run import IngestRun, StoppedError

    class Slow(Toy):
        batch_size = 1

        def bars(self, *a):
            time.sleep(0.5)
            return super().bars(*a)

    names = tuple(f"T{n}" for n in range(12))
    toy = Slow().setup({n: days("2024-05-01", 23) for n in names})
    clock = RealClock(datetime(2024, 6, 4, 12, tzinfo=UTC))

    def checkpoint():
        if clock.is_over:
            raise StoppedError("stopped")

    ingestor = BarIngestor(pool, toy, Watch(names, "1d", "XNYS", date(2024, 5, 1)), checkpoint)
    run = IngestRun([ingestor], clock, print)
    threading.Timer(0.7, run.stop).start()
    began = time.monotonic()
    run.run()
    assert time.monotonic() - began < 3


def test_a_bar_that_is_corrected_while_it_is_checked_stays(pool):
    data = days("2024-05-01", 20)
    good = data[10]
    data[10] = (good[0], 500.0)
    toy = Toy().setup({"A": data})
    now = datetime(2024, 6, 4, 12, tzinfo=UTC)
    backfill(pool, toy, ["A"], "1d", "XNYS", date(2024, 5, 1), now=now)

    def meanwhile(done, total):
        toy.data["A"][10] = good
        backfill(pool, toy, ["A"], "1d", "XNYS", date(2024, 5, 1), now=now, again=True)

    verify(pool, Asked(calendar="XNYS", policies={"spike": "quarantine"}), meanwhile)
    with pool.connection() as c, c.cursor() as cur:
        cur.execute("select count(*) from market_data")
        assert cur.fetchone()[0] == 20


def test_two_writers_of_one_key(pool):
    import threading

    from framework.db.bars import write_bars

    done = threading.Event()
    out = []

    def other():
        with pool.transaction() as c:
            out.append(write_bars(c, "x", "1d", bars("A", days("2024-05-01", 30, 20.0))))
        done.set()

    with pool.transaction() as c:
        write_bars(c, "x", "1d", bars("A", days("2024-05-10", 3, 10.0)))
        t = threading.Thread(target=other)
        t.start()
        assert not done.wait(1)
    t.join()
    assert (out[0].inserted, out[0].corrected) == (27, 3)
