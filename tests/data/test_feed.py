"""The market window of live portfolios, against full reads of the database."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count, pairwise

import numpy as np
import pytest
from framework.plugins.data_sources.sample import Sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framework.data import feed as feed_module
from framework.data import feed_bars
from framework.data.adjust import adjust
from framework.data.calendars import outside_sessions, timeline
from framework.data.feed import OVERLAP, Feed
from framework.data.load import ensure
from framework.data.panels import panel_for
from framework.data.source import DataSource
from framework.db.bars import fingerprint, read_panel, write_bars
from framework.db.market import read_corporate_actions, write_corporate_actions
from framework.errors import DataError
from framework.model.bars import Bars, CorporateAction
from framework.model.panel import FIELDS

BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
_numbers = count(1)


class Fake(DataSource):
    """A source of a test's own: each has its own rows in ``market_data``."""

    def __init__(self, kind="traded", settle=timedelta(0)):
        self._key, self._kind, self.settle = f"fake:{next(_numbers)}", kind, settle

    def key(self):
        return self._key

    def price_kind(self):
        return self._kind


def naive(text):
    return datetime.fromisoformat(text)


def at(text):
    return naive(text).replace(tzinfo=UTC)


def moment(time):
    return time.astype("datetime64[us]").item().replace(tzinfo=UTC)


def write(pool, source, rows, interval="1d"):
    """Insert (ticker, time, price) in one statement."""
    tickers = tuple(sorted({ticker for ticker, *_ in rows}))
    code = np.array([tickers.index(ticker) for ticker, *_ in rows], dtype=np.int32)
    times = np.array([np.datetime64(time, "us") for _, time, _ in rows])
    price = np.array([price for *_, price in rows], dtype=float)
    bars = Bars(tickers, code, times, price, price * 1.5, price * 0.5, price * 1.25, np.rint(price * 100))
    with pool.transaction() as connection:
        return write_bars(connection, source.key(), interval, bars)


def execute(pool, source, statement, **given):
    with pool.transaction() as connection, connection.cursor() as cursor:
        cursor.execute(statement, {"source": source.key(), **given})
        return cursor.rowcount


def correct(pool, source, ticker, time, price, interval="1d"):
    return execute(
        pool,
        source,
        "UPDATE market_data SET close_price = %(price)s, open_price = %(price)s, low_price = 0.01, high_price = 9999 "
        "WHERE source = %(source)s AND ticker = %(ticker)s AND bar_interval = %(interval)s "
        "AND timestamp = %(time)s::timestamp AT TIME ZONE 'UTC'",
        ticker=ticker,
        time=time,
        price=price,
        interval=interval,
    )


def act(pool, source, *actions):
    with pool.transaction() as connection:
        return write_corporate_actions(
            connection,
            source.key(),
            (),
            [
                CorporateAction(ticker, date.fromisoformat(day), kind, Decimal(value))
                for ticker, day, kind, value in actions
            ],
        )


def look(pool, feed, now):
    with pool.transaction(read_only=True, isolation="repeatable read") as connection:
        return feed.refresh(connection, now)


def full_read(pool, source, tickers, interval, calendar, mode, bars, now):
    """What a window must hold, read the long way: signal, trade, clock."""
    panel = read_panel(pool, source.key(), tickers, interval, BEGINNING, now)
    keep = ~outside_sessions(calendar, interval, panel.timestamps)
    rows = {name: getattr(panel, name)[keep] for name in FIELDS}
    panel = type(panel)(panel.tickers, panel.timestamps[keep], *rows.values(), interval=interval)
    clock = timeline(calendar, interval, panel.timestamps, source.settle)
    known = int((clock.available <= np.datetime64(now.replace(tzinfo=None), "us")).sum())
    panel, clock = panel.rows(0, known), clock.rows(0, known)
    signal = panel
    if source.price_kind() == "traded" and known:
        with pool.connection() as connection:
            signal = adjust(panel, read_corporate_actions(connection, source.key(), tickers), mode, clock.session)
    first = max(0, known - bars)
    return signal.rows(first, known), panel.rows(first, known), clock.rows(first, known)


def assert_panel(found, expected):
    assert found.tickers == expected.tickers
    assert found.interval == expected.interval
    for name in ("timestamps", *FIELDS):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name


def assert_clock(found, expected):
    for name in ("timestamps", "opens", "available", "session", "next_session"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


def assert_window(window, signal, trade, clock):
    assert_panel(window.signal, signal)
    assert_panel(window.trade, trade)
    assert_clock(window.timeline, clock)
    assert window.fingerprint() == fingerprint(signal)


@pytest.fixture
def rows_read(monkeypatch):
    """Counts what the feed's statements bring: bars by ``feed_bars``, and how often each ran."""
    seen = Counter()

    def spied(fetch):
        def spy(connection, name, parameters=None):
            found = fetch(connection, name, parameters)
            seen[name] += 1
            if name == "feed_bars":
                seen["bars"] += sum(len(row[2] or b"") // 56 for row in found)
            return found

        return spy

    monkeypatch.setattr(feed_bars, "fetch_all", spied(feed_bars.fetch_all))
    monkeypatch.setattr(feed_module, "fetch_one", spied(feed_module.fetch_one))
    return seen


# Replays: as the panel of the backtest.


@pytest.fixture
def sample(pool):
    ensure(pool, Sample(), Sample().tickers(), "1d", date.min, date.max)
    return pool


def assert_replays(pool, feed, loaded, tickers, bars, rows):
    for row in rows:
        window = look(pool, feed, moment(loaded.timeline.available[row])).window(tickers, bars)
        cut = slice(max(0, row + 1 - bars), row + 1)
        assert_panel(window.signal, loaded.panel.rows(cut.start, cut.stop))
        assert_clock(window.timeline, loaded.timeline.rows(cut.start, cut.stop))
        assert_panel(window.trade, loaded.trade.rows(cut.start, cut.stop))


@pytest.mark.parametrize(
    ("mode", "start", "end"),
    [("all", "2004-06-01", "2013-02-01"), ("splits", "2000-04-03", "2005-06-01"), ("none", "2012-04-02", "2013-02-01")],
)
def test_a_replay_sees_the_rows_of_its_backtest(sample, mode, start, end):
    tickers, bars, end = ("MSFT", "FB", "AAPL", "IBM"), 60, date.fromisoformat(end)
    held = [ticker for ticker in tickers if not (ticker == "FB" and end.year < 2012)]
    loaded = panel_for(sample, Sample(), held, "1d", "XNYS", mode, date.fromisoformat(start), end, warmup_bars=bars)
    feed = Feed(Sample(), ("GOOG", *tickers), "1d", "XNYS", mode, 80, adjusted_as_of=end)
    last = len(loaded.panel)
    rows = [*range(loaded.first, min(loaded.first + 350, last)), *range(loaded.first + 350, last, 11), last - 1]
    assert_replays(sample, feed, loaded, held, bars, rows)
    backwards = sorted(random.Random(1).sample(range(loaded.first, last), 12), reverse=True)
    assert_replays(sample, feed, loaded, held, bars, backwards)


# The clocks of New York change on the 10th.
MARCH = [f"2024-03-{day:02}T12:00" for day in (4, 5, 6, 7, 8, 11, 12, 13)]


def test_a_replay_of_minutes_with_gaps(pool):
    source, dice, tickers = Fake(settle=timedelta(minutes=5)), random.Random(7), ("A", "B", "C")
    minutes = [
        (ticker, start + timedelta(minutes=5 * step), 10 + dice.random())
        for start in map(naive, MARCH)
        for step in range(120)
        for ticker in tickers
        if dice.random() < 0.6 and not (ticker == "B" and start.day in (6, 7))
    ]
    write(pool, source, minutes, "5min")
    act(
        pool,
        source,
        ("A", "2024-03-06", "split", "2"),
        ("A", "2024-03-06", "dividend", "0.3"),
        ("B", "2024-03-06", "dividend", "0.1"),  # B trades again on the 8th
        ("B", "2024-03-08", "split", "0.1"),
        ("C", "2024-03-12", "dividend", "0.7"),
        ("C", "2024-03-13", "dividend", "0.9"),  # after the end of the run
    )
    bars, end = 100, date(2024, 3, 12)
    for held in (tickers, ("C", "A"), ("B",)):
        loaded = panel_for(pool, source, held, "5min", "XNYS", "all", date(2024, 3, 5), end, warmup_bars=bars)
        assert len(loaded.notes) >= 1  # bars outside sessions are dropped
        feed = Feed(source, tickers, "5min", "XNYS", "all", bars, adjusted_as_of=end)
        assert_replays(pool, feed, loaded, held, min(bars, loaded.first + 1), range(loaded.first, len(loaded.panel)))
        late = look(pool, feed, at("2024-03-14")).window(held, 10)
        assert_panel(late.signal, loaded.panel.rows(len(loaded.panel) - 10, len(loaded.panel)))


@pytest.mark.parametrize(
    ("calendar", "times", "first"),
    [
        # From half past: the bar of 23:30 belongs to the day that ends in it.
        ("24/7", [naive("2024-03-04T00:30") + timedelta(hours=n) for n in range(72)], date(2024, 3, 4)),
        # After the first day only bars of the evening, which are dropped, until the third.
        (
            "XNYS",
            [
                *(naive("2024-03-04T15:00") + timedelta(minutes=30 * n) for n in range(6)),
                *(naive("2024-03-05T22:00") + timedelta(minutes=15 * n) for n in range(9)),
                *(naive("2024-03-06T15:00") + timedelta(minutes=30 * n) for n in range(6)),
            ],
            date(2024, 3, 4),
        ),
    ],
)
def test_a_replay_knows_with_which_bar_an_action_takes_effect(pool, calendar, times, first):
    source, end = Fake(), date(2024, 3, 6)
    write(pool, source, [("A", time, 10.0 + n) for n, time in enumerate(times)], "1h")
    act(pool, source, ("A", "2024-03-05", "dividend", "1"))
    loaded = panel_for(pool, source, ["A"], "1h", calendar, "all", first, end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed_module, "SLACK", 2)
        feed = Feed(source, ["A"], "1h", calendar, "all", 3, adjusted_as_of=end)
        assert_replays(pool, feed, loaded, ["A"], 3, range(len(loaded.panel)))


# Live: what is known now.


DAYS = [naive("2024-01-01") + timedelta(days=n) for n in range(364)]
SESSIONS = [day for day in DAYS if not outside_sessions("XNYS", "1d", np.array([day], dtype="datetime64[us]"))[0]]
CLOSE = timedelta(hours=21, minutes=30)  # after the close of XNYS, winter or summer


def after(session):
    return (SESSIONS[session] + CLOSE).replace(tzinfo=UTC)


def daily(source, *, bars=20, tickers=("A", "B"), mode="all", **given):
    return Feed(source, tickers, "1d", "XNYS", mode, bars, **given)


@pytest.fixture
def hundred(pool):
    """A source with the bars of 100 sessions of A and B."""
    source = Fake()
    write(pool, source, [(t, SESSIONS[n], 10 + n / 8 + k) for n in range(100) for k, t in enumerate("AB")])
    return source


def assert_live(pool, source, feed, now, tickers=("A", "B"), bars=20, mode="all"):
    window = look(pool, feed, now).window(tickers, bars)
    assert_window(window, *full_read(pool, source, tickers, "1d", "XNYS", mode, bars, now))
    return window


def test_a_new_bar_is_read_with_a_few_before_it(pool, hundred, rows_read):
    feed = daily(hundred)
    first = assert_live(pool, hundred, feed, after(99))
    rows_read.clear()
    write(pool, hundred, [("A", SESSIONS[100], 11.0), ("B", SESSIONS[100], 12.0)])
    second = assert_live(pool, hundred, feed, after(100))
    assert rows_read == {"feed_changes": 1, "feed_bars": 1, "bars": 2 * (OVERLAP + 1)}
    assert second.generation > first.generation
    assert len(first.signal) == len(second.signal) == 20
    assert first.signal.timestamps[-1] == np.datetime64(SESSIONS[99], "us")


def test_nothing_new_costs_one_statement(pool, hundred, rows_read):
    feed = daily(hundred)
    first = assert_live(pool, hundred, feed, after(99))
    rows_read.clear()
    again = look(pool, feed, after(99) + timedelta(hours=3)).window(["A", "B"], 20)
    assert again is first
    assert rows_read == {"feed_changes": 1}


def test_only_the_ticker_that_changed_is_read(pool, hundred, rows_read):
    feed = daily(hundred)
    assert_live(pool, hundred, feed, after(99))
    rows_read.clear()
    write(pool, hundred, [("B", SESSIONS[100], 12.0)])
    window = assert_live(pool, hundred, feed, after(100))
    assert rows_read["bars"] == OVERLAP + 1
    assert np.isnan(window.signal.close[-1]).tolist() == [True, False]


@pytest.mark.parametrize(("back", "read"), [(1, OVERLAP), (OVERLAP, OVERLAP), (OVERLAP + 1, None), (19, None)])
def test_a_corrected_bar_is_seen_however_far_back(pool, hundred, rows_read, back, read):
    feed = daily(hundred)
    before = assert_live(pool, hundred, feed, after(99))
    seen = before.signal.close.tobytes()
    rows_read.clear()
    assert correct(pool, hundred, "A", SESSIONS[100 - back], 77.5) == 1
    window = assert_live(pool, hundred, feed, after(99))
    assert window.signal.close[-back, 0] == 77.5
    assert window.generation > before.generation
    assert before.signal.close.tobytes() == seen
    assert rows_read["bars"] == (read or OVERLAP + 20 + OVERLAP)


def test_a_correction_and_a_new_bar_at_once(pool, hundred):
    feed = daily(hundred)
    assert_live(pool, hundred, feed, after(99))
    correct(pool, hundred, "A", SESSIONS[85], 77.5)
    write(pool, hundred, [("A", SESSIONS[100], 11.0)])
    assert assert_live(pool, hundred, feed, after(100)).signal.close[4, 0] == 77.5


def test_one_statement_that_inserts_and_corrects(pool, hundred):
    feed = daily(hundred)
    assert_live(pool, hundred, feed, after(99))
    execute(
        pool,
        hundred,
        "INSERT INTO market_data (source, ticker, bar_interval, timestamp, open_price, high_price, low_price, "
        "close_price, volume) SELECT %(source)s, 'A', '1d', day AT TIME ZONE 'UTC', 5, 5, 5, 5, 5 "
        "FROM unnest(%(days)s) AS day ON CONFLICT (source, ticker, bar_interval, timestamp) "
        "DO UPDATE SET open_price = 5, low_price = 5, close_price = 5, high_price = 5",
        days=[SESSIONS[85], SESSIONS[100]],
    )
    assert (assert_live(pool, hundred, feed, after(100)).signal.close[[4, 19], 0] == 5).all()


@pytest.mark.parametrize("back", [1, 3, 12])
def test_a_late_bar_goes_between_the_others(pool, back):
    source = Fake()
    rows = [(t, SESSIONS[n], 10 + n / 8) for n in range(60) for t in "AB"]
    late = [row for row in rows if row[1] == SESSIONS[59 - back] and row[0] == "A"]
    write(pool, source, [row for row in rows if row not in late])
    feed = daily(source)
    assert np.isnan(assert_live(pool, source, feed, after(59)).signal.close[-1 - back, 0])
    assert_live(pool, source, feed, after(59), tickers=("A",))
    write(pool, source, late)
    assert not np.isnan(assert_live(pool, source, feed, after(59)).signal.close).any()
    assert_live(pool, source, feed, after(59), tickers=("A",))


def test_a_bar_before_all_others(pool):
    source = Fake()
    write(pool, source, [("A", SESSIONS[n], 10.0) for n in range(10, 16)])
    feed = daily(source)
    assert len(assert_live(pool, source, feed, after(15)).signal) == 6
    write(pool, source, [("A", SESSIONS[3], 9.0), ("A", SESSIONS[16], 9.0)])
    assert len(assert_live(pool, source, feed, after(16)).signal) == 8


def test_deleted_bars(pool, hundred):
    feed = daily(hundred)
    assert_live(pool, hundred, feed, after(99))
    gone = "DELETE FROM market_data WHERE source = %(source)s AND ticker = 'A'"
    execute(pool, hundred, f"{gone} AND timestamp = %(day)s", day=SESSIONS[98].replace(tzinfo=UTC))
    assert_live(pool, hundred, feed, after(99))
    execute(pool, hundred, f"{gone} AND timestamp > %(day)s", day=SESSIONS[60].replace(tzinfo=UTC))
    assert_live(pool, hundred, feed, after(99))
    execute(pool, hundred, gone)
    assert_live(pool, hundred, feed, after(99))
    write(pool, hundred, [("A", SESSIONS[99], 3.0)])
    assert_live(pool, hundred, feed, after(99))


def test_a_ticker_without_bars_is_a_column_of_nan(pool, hundred):
    feed = daily(hundred, tickers=("A", "NEW", "B"))
    window = assert_live(pool, hundred, feed, after(99), tickers=("NEW", "A"))
    assert np.isnan(window.signal.close[:, 0]).all()
    assert len(assert_live(pool, hundred, feed, after(99), tickers=("NEW",)).signal) == 0
    write(pool, hundred, [("NEW", SESSIONS[99], 5.0)])
    assert assert_live(pool, hundred, feed, after(99), tickers=("NEW", "A")).signal.close[-1, 0] == 6.25
    assert len(assert_live(pool, hundred, feed, after(99), tickers=("NEW",)).signal) == 1


def test_a_feed_of_nothing(pool):
    feed = daily(Fake(), tickers=("A",))
    window = look(pool, feed, after(9)).window(["A"], 5)
    assert window.signal.close.shape == (0, 1)
    assert len(window.timeline) == 0


def test_a_bar_is_seen_when_it_is_available_not_before(pool):
    source = Fake(settle=timedelta(minutes=60))
    write(pool, source, [("A", SESSIONS[n], 10.0) for n in range(5)])
    feed = daily(source, tickers=("A",))
    known = datetime(2024, 1, 4, 22, tzinfo=UTC)  # XNYS closes at 21:00 UTC
    assert len(assert_live(pool, source, feed, known, tickers=("A",)).signal) == 3
    assert len(assert_live(pool, source, feed, known - timedelta(microseconds=1), tickers=("A",)).signal) == 2
    assert len(assert_live(pool, source, feed, known, tickers=("A",)).signal) == 3
    assert len(assert_live(pool, source, feed, at("2023-12-31"), tickers=("A",)).signal) == 0


def test_a_clock_that_jumps(pool, rows_read):
    source, dice = Fake(), random.Random(3)
    write(pool, source, [(t, SESSIONS[n], 10 + n % 9) for n in range(250) for t in "AB" if dice.random() < 0.9])
    act(pool, source, ("A", "2024-03-15", "split", "3"), ("B", "2024-08-15", "dividend", "0.4"))
    feed = daily(source, bars=7)
    for session in (40, 41, 249, 3, 248, 120, 119, 0, 51, 53, 249):
        assert_live(pool, source, feed, after(session), bars=7)
    rows_read.clear()
    assert_live(pool, source, feed, after(248), bars=7)
    assert not rows_read["bars"]


def test_going_back_far_reads_only_what_is_needed_there(pool, rows_read, monkeypatch):
    monkeypatch.setattr(feed_module, "SLACK", 30)
    source = Fake()
    write(pool, source, [("A", SESSIONS[n], 10.0) for n in range(250)])
    feed = daily(source, bars=7, tickers=("A",))
    assert_live(pool, source, feed, after(249), bars=7, tickers=("A",))
    rows_read.clear()
    assert_live(pool, source, feed, after(50), bars=7, tickers=("A",))
    assert rows_read["bars"] <= 7 + OVERLAP + 30


def test_adjusted_bars_are_carried_on_only_as_long_as_they_are_true(pool, hundred):
    act(pool, hundred, ("A", SESSIONS[90].strftime("%Y-%m-%d"), "dividend", "1.5"))
    feed = daily(hundred)
    first = assert_live(pool, hundred, feed, after(98))
    second = assert_live(pool, hundred, feed, after(99))
    assert (first.signal.close[1:] == second.signal.close[:-1]).all()
    correct(pool, hundred, "A", SESSIONS[90], 77.5)  # its close fixes the factor
    assert (assert_live(pool, hundred, feed, after(99)).signal.close[:10, 0] != second.signal.close[:10, 0]).all()
    act(pool, hundred, ("A", SESSIONS[95].strftime("%Y-%m-%d"), "split", "2"))
    assert_live(pool, hundred, feed, after(99))
    write(pool, hundred, [("A", SESSIONS[100], 11.0)])
    act(pool, hundred, ("A", SESSIONS[100].strftime("%Y-%m-%d"), "split", "2"))
    assert_live(pool, hundred, feed, after(100))
    assert_live(pool, hundred, feed, after(99))


def test_adjusted_bars_of_equal_prices_are_not_mistaken_for_each_other(pool):
    source = Fake()
    write(pool, source, [("A", SESSIONS[n], 10.0) for n in range(100)])
    act(pool, source, ("A", SESSIONS[90].strftime("%Y-%m-%d"), "split", "2"))
    feed = daily(source, tickers=("A",))
    before = assert_live(pool, source, feed, after(99), tickers=("A",))
    gone = "DELETE FROM market_data WHERE source = %(source)s AND timestamp = %(day)s"
    execute(pool, source, gone, day=SESSIONS[95].replace(tzinfo=UTC))
    window = assert_live(pool, source, feed, after(99), tickers=("A",))
    assert (window.trade.close == before.trade.close).all()
    assert (window.signal.close != before.signal.close).sum() == 1


def test_what_lies_ahead_is_read_in_pieces(pool, rows_read, monkeypatch):
    monkeypatch.setattr(feed_module, "SLACK", 30)
    source = Fake()
    write(pool, source, [("A", SESSIONS[n], 10 + n % 9) for n in range(250)])
    feed = daily(source, bars=7, tickers=("A",))
    for session in range(100, 250):
        assert_live(pool, source, feed, after(session), bars=7, tickers=("A",))
    assert rows_read["feed_bars"] < 15
    assert 150 <= rows_read["bars"] < 200
    assert len(feed._held.columns["A"].times) <= 7 + 3 * 30  # memory is bounded
    correct(pool, source, "A", SESSIONS[249], 77.5)
    assert assert_live(pool, source, feed, after(249), bars=7, tickers=("A",)).signal.close[-1, 0] == 77.5


@pytest.mark.parametrize("mode", ["all", "splits", "none"])
def test_actions_count_from_their_ex_date(pool, hundred, mode):
    act(pool, hundred, ("A", "2024-05-01", "split", "2"), ("B", "2024-05-06", "dividend", "0.5"))
    feed = daily(hundred, mode=mode)
    changed = 0
    for session in range(78, 92):
        window = assert_live(pool, hundred, feed, after(session), mode=mode)
        changed += (window.signal.close != window.trade.close).any()
        assert (window.signal is window.trade) == (window.signal.close == window.trade.close).all()
    assert changed == {"all": 9, "splits": 9, "none": 0}[mode]


def test_a_new_action_is_seen(pool, hundred):
    feed = daily(hundred)
    plain = assert_live(pool, hundred, feed, after(99))
    assert plain.signal is plain.trade
    act(pool, hundred, ("A", SESSIONS[90].strftime("%Y-%m-%d"), "split", "2"))
    split = assert_live(pool, hundred, feed, after(99))
    assert split.signal.close[0, 0] == plain.signal.close[0, 0] / 2
    assert split.generation > plain.generation
    execute(pool, hundred, "UPDATE corporate_actions SET value = 4 WHERE source = %(source)s")
    assert assert_live(pool, hundred, feed, after(99)).signal.close[0, 0] == plain.signal.close[0, 0] / 4
    execute(pool, hundred, "DELETE FROM corporate_actions WHERE source = %(source)s")
    assert_panel(assert_live(pool, hundred, feed, after(99)).signal, plain.signal)


def test_a_split_of_a_ticker_that_does_not_trade_yet_waits_for_its_bar(pool, hundred):
    write(pool, hundred, [("A", SESSIONS[100], 50.0)])
    act(pool, hundred, ("B", SESSIONS[100].strftime("%Y-%m-%d"), "split", "2"))
    feed = daily(hundred)
    window = assert_live(pool, hundred, feed, after(100))
    assert window.signal is window.trade
    write(pool, hundred, [("B", SESSIONS[101], 5.0)])
    assert (assert_live(pool, hundred, feed, after(101)).signal.close[:-1, 1] != 0).all()


def test_prices_that_are_adjusted_already_stay(pool):
    source = Fake(kind="adjusted")
    write(pool, source, [("A", SESSIONS[n], 10.0) for n in range(9)])
    act(pool, source, ("A", SESSIONS[5].strftime("%Y-%m-%d"), "split", "2"))
    window = assert_live(pool, source, daily(source, tickers=("A",)), after(8), tickers=("A",))
    assert window.signal is window.trade


def test_bars_outside_sessions_are_dropped_and_do_not_count(pool, rows_read):
    source = Fake()
    start = naive("2024-06-03")
    night = [("A", start + timedelta(minutes=15 * step), 10 + step % 5) for step in range(96 * 4)]
    write(pool, source, night, "15min")
    feed = Feed(source, ["A"], "15min", "XNYS", "all", 60)
    for now in (at("2024-06-06 21:00"), at("2024-06-06 18:07"), at("2024-06-04 13:29")):
        window = look(pool, feed, now).window(["A"], 60)
        assert_window(window, *full_read(pool, source, ["A"], "15min", "XNYS", "all", 60, now))
    for night, now in (("2024-06-07T03:00", at("2024-06-07 07:00")), ("2024-06-07T03:15", at("2024-06-07 07:00"))):
        write(pool, source, [("A", naive(night), 1.0)], "15min")
        rows_read.clear()
        window = look(pool, feed, now).window(["A"], 60)
        assert_window(window, *full_read(pool, source, ["A"], "15min", "XNYS", "all", 60, now))
    assert rows_read["bars"] == OVERLAP + 1


def test_a_stale_ticker_does_not_keep_old_rows_in_windows(pool):
    source = Fake()
    write(pool, source, [("OLD", SESSIONS[n], 10.0) for n in range(30)])
    write(pool, source, [("A", SESSIONS[n], 10.0) for n in range(200, 250)])
    feed = daily(source, tickers=("OLD", "A"))
    for tickers in (("OLD", "A"), ("A",), ("OLD",)):
        assert len(assert_live(pool, source, feed, after(249), tickers=tickers).signal) == 20


def test_prices_are_the_nearest_floats(pool):
    source, dice = Fake(), random.Random(11)
    prices = [dice.uniform(1e-3, 1e9) for _ in range(200)] + [6_000_000_000.123456789, 9_007_199.254740993]
    times = SESSIONS[: len(prices)]
    write(pool, source, [("A", time, price) for time, price in zip(times, prices, strict=True)])
    feed = daily(source, bars=250, tickers=("A",))
    assert_live(pool, source, feed, after(240), tickers=("A",), bars=250)


def test_windows_are_read_only_and_shared(pool, hundred):
    market = look(pool, daily(hundred), after(99))
    window = market.window(["A"], 5)
    assert market.window(("A",), 5) is window
    assert market.window(["A"], 6) is not window
    for array in (window.signal.close, window.trade.volume, window.trade.close, window.signal.timestamps):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]


def test_what_cannot_be_asked(pool, hundred):
    with pytest.raises(ValueError, match="bars of a feed must be 1 at least, was 0"):
        daily(hundred, bars=0)
    with pytest.raises(ValueError, match="distinct"):
        daily(hundred, tickers=("A", "A"))
    feed = daily(hundred)
    with pool.connection() as connection, pytest.raises(ValueError, match="aware"):
        feed.refresh(connection, naive("2024-01-01"))
    market = look(pool, feed, after(99))
    with pytest.raises(ValueError, match="bars was 21; this feed keeps 20"):
        market.window(["A"], 21)
    with pytest.raises(ValueError, match="distinct"):
        market.window([], 5)
    with pytest.raises(DataError, match="does not read C, D"):
        market.window(["A", "C", "D"], 5)


@pytest.mark.parametrize("now", [at("0001-01-01"), at("1800-06-01"), at("9999-12-31")])
def test_absurd_moments(pool, hundred, now):
    feed = daily(hundred)
    assert len(look(pool, feed, now).window(["A"], 20).signal) == (20 if now.year > 2024 else 0)
    assert_live(pool, hundred, feed, after(50))


def test_a_failed_reading_is_made_up_for(pool, hundred, monkeypatch):
    feed = daily(hundred)
    assert_live(pool, hundred, feed, after(99))
    write(pool, hundred, [("A", SESSIONS[100], 11.0)])

    def broken(*given):
        raise DataError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(feed_bars, "fetch_all", broken)
        with pytest.raises(DataError, match="broken"):
            look(pool, feed, after(100))
    assert_live(pool, hundred, feed, after(100))


def test_a_reader_of_an_older_moment_hides_nothing_from_those_of_a_newer(pool, hundred):
    feed = daily(hundred, bars=5)
    look(pool, feed, after(50))
    with pool.transaction(read_only=True, isolation="repeatable read") as old, old.cursor() as cursor:
        cursor.execute("SELECT 1")
        write(pool, hundred, [("A", SESSIONS[101], 11.0)])
        correct(pool, hundred, "B", SESSIONS[97], 77.5)
        look(pool, feed, after(50))
        feed.refresh(old, after(99) + timedelta(days=400))  # beyond what was read: reads in the old transaction
    assert_live(pool, hundred, feed, after(101), bars=5)


def test_many_threads_share_a_feed(pool):
    source, dice = Fake(), random.Random(5)
    write(pool, source, [(t, SESSIONS[n], 10 + n % 9) for n in range(200) for t in "ABC" if dice.random() < 0.9])
    act(pool, source, ("A", "2024-05-15", "split", "3"), ("B", "2024-08-15", "dividend", "0.4"))
    feed = daily(source, bars=9, tickers=("A", "B", "C"))
    subsets = (("A", "B", "C"), ("B",), ("C", "A"))

    def work(seed):
        own, kept = random.Random(seed), []
        for _ in range(25):
            session, tickers = own.randrange(20, 200), own.choice(subsets)
            window = look(pool, feed, after(session)).window(tickers, own.randint(1, 9))
            kept.append((session, tickers, window, window.fingerprint(), len(window.signal)))
        return kept

    with ThreadPoolExecutor(8) as threads:
        looked = [each for kept in threads.map(work, range(8)) for each in kept]
    assert len(looked) == 200
    for session, tickers, window, seen, rows in looked:
        assert window.fingerprint() == seen
        assert_window(window, *full_read(pool, source, tickers, "1d", "XNYS", "all", rows, after(session)))


def test_threads_while_bars_arrive(pool, hundred):
    feed = daily(hundred, bars=9)

    def reader(seed):
        generations = []
        for session in range(100, 140):
            market = look(pool, feed, after(session))
            window = market.window(["A", "B"], 9)
            assert window.timeline.available[-1] <= np.datetime64(after(session).replace(tzinfo=None), "us")
            generations.append(market.generation)
        return generations

    def writer():
        for session in range(100, 140):
            write(pool, hundred, [("A", SESSIONS[session], 5.0), ("B", SESSIONS[session], 6.0)])
            correct(pool, hundred, "A", SESSIONS[session - 20], session)

    with ThreadPoolExecutor(8) as threads:
        writing = threads.submit(writer)
        for generations in threads.map(reader, range(6)):
            assert all(one <= other for one, other in pairwise(generations))
        writing.result()
    assert_live(pool, hundred, feed, after(139), bars=9)


# Any sequence of changes, against full reads.

TICKERS = ("A", "B", "C")
slots = st.integers(0, 39)
bar = st.tuples(st.sampled_from(TICKERS), slots, st.integers(1, 9999).map(lambda cents: cents / 100))
action = st.tuples(st.sampled_from(TICKERS), slots, st.sampled_from(("split", "dividend")), st.sampled_from("1234"))
steps = st.one_of(
    st.tuples(st.just("insert"), st.lists(bar, min_size=1, max_size=12)),
    st.tuples(st.just("insert"), st.lists(bar, min_size=1, max_size=40)),
    st.tuples(st.just("correct"), bar),
    st.tuples(st.just("delete"), st.tuples(st.sampled_from(TICKERS), slots, slots)),
    st.tuples(st.just("act"), action),
    st.tuples(st.just("look"), slots, st.sampled_from((TICKERS, ("B", "A"), ("C",))), st.integers(1, 6)),
    st.tuples(st.just("look"), slots, st.just(TICKERS), st.just(6)),
)
START = naive("2024-06-13")  # days or half hours from here on; Juneteenth and a weekend follow


@pytest.mark.parametrize(("interval", "step"), [("1d", timedelta(days=1)), ("30min", timedelta(minutes=30))])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(steps, min_size=2, max_size=25))
def test_any_history_ends_as_a_full_read_does(pool, interval, step, script):
    source = Fake()
    feed = Feed(source, TICKERS, interval, "XNYS", "all", 6)
    start = START + (timedelta(hours=9) if interval != "1d" else timedelta(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed_module, "SLACK", 4)
        patch.setattr(feed_module, "OVERLAP", 2)
        patch.setattr(feed_module, "MARGIN", 1)
        for what, *given_ in [*script, ("look", 39, TICKERS, 6)]:
            if what == "insert":
                rows = {(ticker, start + slot * step): price for ticker, slot, price in given_[0]}
                write(pool, source, [(*key, price) for key, price in rows.items()], interval)
            elif what == "correct":
                ticker, slot, price = given_[0]
                correct(pool, source, ticker, start + slot * step, price, interval)
            elif what == "delete":
                ticker, first, last = given_[0]
                statement = (
                    "DELETE FROM market_data WHERE source = %(source)s AND ticker = %(ticker)s "
                    "AND timestamp BETWEEN %(first)s AND %(last)s"
                )
                span = [(start + slot * step).replace(tzinfo=UTC) for slot in (first, last)]
                execute(pool, source, statement, ticker=ticker, first=span[0], last=span[1])
            elif what == "act":
                ticker, slot, kind, value = given_[0]
                act(pool, source, (ticker, (start + slot * step).strftime("%Y-%m-%d"), kind, value))
            else:
                slot, tickers, bars = given_
                now = (start + slot * step + timedelta(hours=22 if interval == "1d" else 0)).replace(tzinfo=UTC)
                window = look(pool, feed, now).window(tickers, bars)
                assert_window(window, *full_read(pool, source, tickers, interval, "XNYS", "all", bars, now))
