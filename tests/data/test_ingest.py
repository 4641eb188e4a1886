"""The realtime ingestors against the stand-in, minute by minute of sessions of the past."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from framework.data.ingest import BarIngestor, Watch, distinct
from framework.data.load import ensure
from framework.data.quote_bars import QuoteIngestor, QuoteWatch
from framework.data.verify import Asked, verify
from framework.db.listen import Listener
from framework.engine.clock import SimulatedClock
from framework.errors import ConfigError, SourceError, SourceUnavailable
from framework.ingest_run import IngestRun

DAY = date(2008, 3, 12)  # a Wednesday; New York is four hours behind
OPEN = datetime(2008, 3, 12, 13, 30, tzinfo=UTC)
CLOSE = datetime(2008, 3, 12, 20, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def rows(pool, source="fmp", what="ticker, timestamp, open_price, high_price, low_price, close_price, volume"):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {what} FROM market_data WHERE source = %s ORDER BY ticker, timestamp", (source,))
        return cursor.fetchall()


def coverage(pool):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT ticker, start_date, end_date FROM market_data_coverage ORDER BY ticker")
        return cursor.fetchall()


def corrections(pool):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT timestamp, old_close, new_close FROM market_data_corrections ORDER BY id")
        return cursor.fetchall()


def live(fmp, ingestor, start, end, each=lambda now, poll: None):
    """Let the ingestor live from ``start`` to ``end``; the server's clock goes with it."""
    now = start
    while now <= end:
        fmp.change(now=now.isoformat())
        each(now, ingestor.poll(now))
        now = ingestor.next_due(now)


def official(pool, make, fmp, interval, tickers, start, end):
    """What the source has in the end, as rows of the database."""
    fmp.change(now=None)
    bars = make().bars(tickers, interval, start, end)
    return sorted(
        (bars.tickers[code], moment) for code, moment in zip(bars.code, bars.timestamps.tolist(), strict=True)
    )


def keys(pool):
    return [(row[0], row[1].astimezone(UTC).replace(tzinfo=None)) for row in rows(pool)]


@pytest.mark.parametrize(("interval", "step"), [("5min", 5), ("1h", 60)])
def test_bars_come_when_they_are_final_and_none_before(make, pool, fmp, interval, step):
    ingestor = BarIngestor(pool, make(), Watch(("AAPL", "IBM"), interval, "XNYS"))
    seen = {}

    def look(now, poll):
        for ticker, at, *values in rows(pool):
            if (ticker, at) not in seen:
                seen[ticker, at] = values
                ends = min(at + timedelta(minutes=step), CLOSE) if at >= OPEN else at
                assert ends + timedelta(minutes=5) <= now, "still settling"
                if at >= OPEN:
                    assert now - ends <= timedelta(minutes=6), "the first moment at which it is final"
            assert seen[ticker, at] == values, "what was written was final"

    live(fmp, ingestor, OPEN - timedelta(hours=1), CLOSE + timedelta(minutes=10), look)
    assert keys(pool) == official(pool, make, fmp, interval, ["AAPL", "IBM"], date(2008, 3, 11), DAY)
    assert coverage(pool) == [(ticker, date(2008, 3, 11), DAY) for ticker in ("AAPL", "IBM")]
    assert corrections(pool) == []


def test_a_bar_that_is_corrected_later_is_corrected_here(make, pool, fmp):
    ingestor = BarIngestor(pool, make(), Watch(("AAPL",), "1h", "XNYS"))
    live(fmp, ingestor, OPEN - timedelta(hours=1), OPEN + timedelta(hours=3))
    fmp.change(changed={"AAPL": {"2008-03-11": 1.01, "2008-03-12": 1.02}})
    polls = []
    live(fmp, ingestor, OPEN + timedelta(hours=4), OPEN + timedelta(hours=4), lambda now, poll: polls.append(poll))
    assert polls[0].corrected == len([row for row in rows(pool) if row[1] >= OPEN]) - polls[0].inserted
    assert "bars differed from what the source has now and were corrected" in polls[0].notes[0]
    live(fmp, ingestor, CLOSE, CLOSE + timedelta(minutes=10))
    old = {at: float(old) for at, old, _ in corrections(pool)}
    assert min(old) < OPEN, "yesterday's, with today's when the session is over"
    for _, at, _, _, _, close, _ in rows(pool):
        if at in old:
            assert float(close) / old[at] == pytest.approx(1.02 if at >= OPEN else 1.01, rel=1e-4)


def test_a_running_session_is_nothing_to_complain_of(make, pool, fmp):
    live(fmp, BarIngestor(pool, make(), Watch(("AAPL",), "1h", "XNYS")), OPEN, OPEN + timedelta(hours=3))
    live(fmp, QuoteIngestor(pool, make(), quote_watch()), OPEN, OPEN + timedelta(minutes=3))
    found = verify(pool, Asked(calendar="XNYS"))
    assert found.bars > 10
    assert found.urgent() == ()


def test_an_outage_is_made_up_for(make, pool, fmp):
    ingestor = BarIngestor(pool, make(), Watch(("AAPL",), "5min", "XNYS"))
    live(fmp, ingestor, OPEN, OPEN + timedelta(hours=2))
    again = BarIngestor(pool, make(), Watch(("AAPL",), "5min", "XNYS"))  # a new process, two days later
    live(fmp, again, OPEN + timedelta(days=2, hours=2), OPEN + timedelta(days=2, hours=3))
    got = keys(pool)
    wanted = official(pool, make, fmp, "5min", ["AAPL"], date(2008, 3, 11), date(2008, 3, 14))
    newest = (OPEN + timedelta(days=2, hours=3) - timedelta(minutes=10)).replace(tzinfo=None)
    assert got == [key for key in wanted if key[1] <= newest]


def test_daily_bars_come_an_hour_after_the_close_and_late_ones_are_asked_for_again(make, pool, fmp):
    ingestor = BarIngestor(pool, make(), Watch(("AAPL", "IBM"), "1d", "XNYS", date(2008, 3, 3)))
    fmp.change(newest="2008-03-11")
    polls = []
    live(fmp, ingestor, OPEN, CLOSE + timedelta(minutes=62), lambda now, poll: polls.append((now, poll)))
    assert [now for now, _ in polls] == [OPEN, CLOSE + timedelta(minutes=60)]
    assert polls[-1][1].late == ("AAPL", "IBM")
    fmp.change(newest="2008-12-31")
    live(fmp, ingestor, ingestor.next_due(polls[-1][0]), CLOSE + timedelta(hours=2), lambda *each: polls.append(each))
    assert (polls[-1][0], polls[-1][1].inserted, polls[-1][1].late) == (CLOSE + timedelta(minutes=65), 2, ())
    assert ingestor.next_due(polls[-1][0]) == OPEN + timedelta(days=1) - timedelta(minutes=30)
    assert len(rows(pool)) == 2 * 8


def test_splits_are_known_before_the_open_of_their_day(make, pool, fmp):
    split_day = datetime(2005, 2, 28, 14, 30, tzinfo=UTC)
    ingestor = BarIngestor(pool, make(), Watch(("AAPL",), "1d", "XNYS"))
    live(fmp, ingestor, split_day - timedelta(days=3), split_day - timedelta(days=2))
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM corporate_actions")  # it was not announced yet
    live(fmp, ingestor, ingestor.next_due(split_day - timedelta(days=2)), split_day - timedelta(minutes=1))
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT ex_date FROM corporate_actions WHERE kind = 'split' AND value = 2")
        assert (date(2005, 2, 28),) in cursor.fetchall()


def test_a_ticker_that_is_not_to_be_had_does_not_keep_the_others(make, pool, fmp):
    fmp.set(restricted=["MSFT"])
    ingestor, polls = BarIngestor(pool, make(), Watch(("AAPL", "MSFT", "XXXX"), "1h", "XNYS")), []
    live(fmp, ingestor, OPEN, OPEN + timedelta(hours=2), lambda now, poll: polls.append(poll))
    assert sorted(polls[0].unavailable) == ["MSFT", "XXXX"]
    assert {row[0] for row in rows(pool)} == {"AAPL"}
    asked = [each for each in fmp.requests() if "XXXX" in each]
    assert len(asked) < 5, "not with every look"


def test_engines_are_told_of_new_bars(make, pool, fmp, database):
    listener = Listener(database, ["engine_bars"])
    BarIngestor(pool, make(), Watch(("AAPL",), "1h", "XNYS")).poll(OPEN)
    assert [each.payload for each in listener.wait(5)] == ["fmp 1h"]
    listener.close()


def test_watches_of_one_calendar_and_interval_are_one():
    found = distinct([
        Watch(("A", "B"), "1d", "XNYS", date(2020, 1, 1)),
        Watch(("B", "C"), "1d", "XNYS", date(2019, 1, 1)),
        Watch(("A",), "1h", "XNYS"),
    ])  # fmt: skip
    assert found == [Watch(("A", "B", "C"), "1d", "XNYS", date(2019, 1, 1)), Watch(("A",), "1h", "XNYS")]


# Quotes.


def quote_watch(**more):
    given = {"tickers": ("AAPL", "IBM"), "exchange": None, "interval": "1min", "calendar": "XNYS",
             "every": timedelta(seconds=20)}  # fmt: skip
    return QuoteWatch(**(given | more))


def made_of_quotes(pool):
    return {(row[0], row[1]): tuple(map(float, row[2:])) for row in rows(pool, "fmp:quotes")}


def test_quotes_become_bars_of_a_source_of_their_own(make, pool, fmp):
    ingestor = QuoteIngestor(pool, make(), quote_watch())
    live(fmp, ingestor, OPEN - MINUTE, OPEN + timedelta(minutes=12))
    made = made_of_quotes(pool)
    assert rows(pool) == []
    assert {at for _, at in made} == {OPEN + n * MINUTE for n in range(12)}
    fmp.change(now=None)
    exact = make().bars(["AAPL"], "1min", DAY, DAY)
    for row in range(2, 10):
        opened, high, low, close, volume = made["AAPL", OPEN + row * MINUTE]
        assert exact.low[row] <= low <= opened <= high <= exact.high[row]
        assert low <= close <= high
        assert 0 <= volume <= 3 * exact.volume[row]


def test_a_kill_neither_loses_nor_doubles_a_minute(make, pool, fmp):
    end = OPEN + timedelta(minutes=4)
    live(fmp, QuoteIngestor(pool, make(), quote_watch()), OPEN - MINUTE, end)
    undisturbed = made_of_quotes(pool)
    assert len(undisturbed) == 2 * 4
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE market_data, market_data_provisional")
    source = make()
    now, ingestor = OPEN - MINUTE, QuoteIngestor(pool, source, quote_watch())
    while now <= end:
        fmp.change(now=now.isoformat())
        ingestor.poll(now)
        now = ingestor.next_due(now)
        ingestor = QuoteIngestor(pool, source, quote_watch())  # all that it knew is gone
    assert made_of_quotes(pool) == undisturbed


def test_two_who_poll_the_same_quotes_make_each_bar_once(make, pool, fmp):
    pair = [QuoteIngestor(pool, make(), quote_watch()) for _ in range(2)]
    now = OPEN
    while now <= OPEN + timedelta(minutes=3):
        fmp.change(now=now.isoformat())
        threads = [threading.Thread(target=each.poll, args=(now,)) for each in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        now += timedelta(seconds=20)
    assert len(made_of_quotes(pool)) == 2 * 3
    assert corrections(pool) == []


def test_the_last_minute_of_a_session_is_finished_and_then_nobody_asks(make, pool, fmp):
    ingestor = QuoteIngestor(pool, make(), quote_watch())
    live(fmp, ingestor, CLOSE - timedelta(minutes=3), CLOSE + timedelta(hours=3))
    assert max(at for _, at in made_of_quotes(pool)) == CLOSE - MINUTE
    assert ingestor.next_due(CLOSE + timedelta(hours=1)) == OPEN + timedelta(days=1)
    assert len(fmp.requests()) < 20


def test_a_whole_exchange_comes_in_one_request(make, pool, fmp):
    ingestor = QuoteIngestor(pool, make(), quote_watch(tickers=(), exchange="NASDAQ", interval="1h"))
    live(fmp, ingestor, OPEN + timedelta(minutes=55), OPEN + timedelta(minutes=62))
    assert {at for _, at in made_of_quotes(pool)} == {OPEN}, "hours begin at the open, as the official ones do"
    assert len({ticker for ticker, _ in made_of_quotes(pool)}) > 3
    assert {each.partition("?")[0] for each in fmp.requests()} == {"/stable/batch-exchange-quote"}


def test_a_config_may_name_the_bars_made_of_quotes(make, pool, fmp):
    source = make(feed="quotes")
    live(fmp, QuoteIngestor(pool, source, quote_watch()), OPEN, OPEN + timedelta(minutes=3))
    assert len(made_of_quotes(pool)) == 2 * 3
    fmp.set()
    ensure(pool, source, ["AAPL", "IBM"], "1min", DAY, DAY, now=CLOSE, calendar="XNYS")
    assert {each.partition("?")[0] for each in fmp.requests()} == {"/stable/splits", "/stable/dividends"}
    assert len(made_of_quotes(pool)) == 2 * 3
    with pytest.raises(SourceError, match="has no daily bars"):
        source.bars(["AAPL"], "1d", DAY, DAY)


def test_days_are_not_made_of_quotes(make, pool):
    with pytest.raises(ConfigError, match="cannot be made of quotes"):
        QuoteIngestor(pool, make(), quote_watch(interval="1d"))


# The service.


class Scripted:
    """An ingestor that does what it is told."""

    def __init__(self, *answers):
        self._answers, self.looks = list(answers), []

    def describe(self):
        return "nothing"

    def next_due(self, after):
        return after + timedelta(hours=1)

    def poll(self, now):
        from framework.data.ingest import Poll

        self.looks.append(now)
        answer = self._answers.pop(0) if self._answers else Poll()
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(*ingestors, hours=5, **more):
    lines = []
    clock = SimulatedClock(OPEN, OPEN + timedelta(hours=hours))
    return IngestRun(ingestors, clock, lines.append, **more), lines


def test_what_fails_for_the_moment_is_tried_again_soon():
    ingestor = Scripted(SourceUnavailable("gone"), SourceUnavailable("gone"))
    service, lines = run(ingestor)
    totals = service.run()
    assert totals.counts["failures"] == 2
    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(ingestor.looks)]
    assert 2 <= pauses[0] <= 5 <= pauses[1] <= 10
    assert pauses[2] == 3600
    assert any("failed, again at 13:30" in line and "gone" in line for line in lines)


@pytest.mark.parametrize("error", [SourceError("no"), ConfigError("no key"), ZeroDivisionError("oops")])
def test_what_cannot_mend_ends_all_of_them(error):
    other = Scripted()
    service, _ = run(Scripted(error), other, hours=10_000)
    with pytest.raises(Exception, match=str(error)):
        service.run()
    assert len(other.looks) < 10_000


def test_once_looks_once():
    ingestor = Scripted()
    service, _ = run(ingestor, once=True)
    assert service.run().counts["polls"] == len(ingestor.looks) == 1
