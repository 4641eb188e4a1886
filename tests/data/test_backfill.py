"""The backfill service: what it plans, what it costs, and when it asks again."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.data.backfill import _pieces, backfill, plan_backfill
from framework.data.load import follow
from framework.data.source import DataSource
from framework.db.market import Coverage, read_corporate_actions, read_coverage
from framework.model.bars import Bars, CorporateAction

NOW = datetime(2024, 3, 14, 12, tzinfo=UTC)  # a Thursday, before the open
CALENDAR = "XNYS"


class Api(DataSource):
    """Hours or days of XNYS at one price; counts what it is asked for."""

    price: float = 10.0
    batch_size = 2
    requests_for_actions = 2

    def check(self):
        self.asked, self.actions_of, self.known_actions = [], [], ()

    def key(self):
        return "api"

    def settle_of(self, interval):
        return timedelta(minutes=60 if interval == "1d" else 5)

    def requests_for(self, interval, start, end):
        return -(-((end - start).days + 1) // 30)

    def bars(self, tickers, interval, start, end):
        self.asked.append((tuple(tickers), start, end))
        days = np.arange(start, end + timedelta(days=1), dtype="datetime64[D]")
        times = days[np.is_busday(days)].astype("datetime64[us]")
        if interval == "1h":  # winter: 14:30 to 20:30, the last one half an hour
            first = times + np.timedelta64(14 * 60 + 30, "m")
            times = (first[:, None] + np.arange(7) * np.timedelta64(1, "h")).ravel()
        values = np.full(len(times) * len(tickers), self.price)
        code = np.repeat(np.arange(len(tickers), dtype=np.int32), len(times))
        return Bars(tuple(tickers), code, np.tile(times, len(tickers)), *[values] * 5)

    def corporate_actions(self, tickers):
        self.actions_of.append(tuple(tickers))
        return tuple(action for action in self.known_actions if action.ticker in tickers)


def plan(pool, source, tickers, interval, start, end=None, **more):
    return plan_backfill(pool, source, tickers, interval, CALENDAR, start, end, **({"now": NOW} | more))


def run(pool, source, tickers, interval, start, end=None, **more):
    return backfill(pool, source, tickers, interval, CALENDAR, start, end, **({"now": NOW} | more))


def stored(pool, what="timestamp"):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {what} FROM market_data ORDER BY ticker, timestamp")
        return [row[0] for row in cursor.fetchall()]


def test_the_plan_says_what_lacks_and_what_it_costs(pool):
    api = Api()
    found = plan(pool, api, ["A", "B", "C"], "1d", date(2024, 1, 1))
    assert found.end == date(2024, 3, 13)
    assert [(ask.tickers, ask.requests) for ask in found.asks] == [(("A", "B"), 2 * 3 + 2 * 2), (("C",), 3 + 2)]
    assert (found.requests, api.asked) == (15, [])
    run(pool, api, ["A", "B"], "1d", date(2024, 1, 1))
    assert [ask.tickers for ask in plan(pool, api, ["A", "B", "C"], "1d", date(2024, 1, 1)).asks] == [("C",)]
    earlier = plan(pool, api, ["A"], "1d", date(2023, 12, 1))
    assert earlier.requests == 2, "a month, and no splits and dividends, which were read today"


def test_a_backfill_does_what_its_plan_says(pool):
    api, steps = Api(), []
    found = plan(pool, api, ["A", "B"], "1h", date(2023, 6, 1))
    assert len(found.asks) == 2 * 4
    run(pool, api, ["A", "B"], "1h", date(2023, 6, 1), progress=steps.append)
    assert [(tickers, start, end) for tickers, start, end in api.asked] == [
        (ask.tickers, ask.start, ask.end) for ask in found.asks
    ]
    assert [step.done for step in steps] == list(range(1, 9))
    assert steps[-1].rows == len(stored(pool))
    assert {step.planned for step in steps} == {found.requests}
    assert [each for each in api.actions_of if each] == [("A",), ("B",)], "once, not with every piece"


def test_what_is_there_costs_nothing(pool):
    api = Api()
    run(pool, api, ["A", "B"], "1h", date(2024, 1, 2))
    api.asked.clear()
    api.actions_of.clear()
    assert plan(pool, api, ["A", "B"], "1h", date(2024, 1, 2)).asks == ()
    done = run(pool, api, ["A", "B"], "1h", date(2024, 1, 2))
    assert (api.asked, api.actions_of, done.loaded.tickers) == ([], [], ())


def test_splits_and_dividends_are_asked_for_once_a_day_while_new_ones_matter(pool):
    api = Api()
    run(pool, api, ["A", "B"], "1d", date(2024, 1, 2))
    api.asked.clear()
    split = CorporateAction("A", date(2024, 3, 15), "split", Decimal(2))
    api.known_actions = (split,)
    tomorrow = datetime(2024, 3, 15, 13, tzinfo=UTC)
    friday = run(pool, api, ["A", "B"], "1d", date(2024, 1, 2), date(2024, 3, 13), now=tomorrow)
    assert api.asked == []
    assert friday.loaded.inserted == 0
    with pool.connection() as connection:
        assert read_corporate_actions(connection, "api", ["A", "B"]) == (split,)
    api.actions_of.clear()
    run(pool, api, ["A", "B"], "1d", date(2024, 1, 2), date(2024, 3, 13), now=tomorrow + timedelta(hours=9))
    run(pool, api, ["A", "B"], "1d", date(2024, 1, 2), date(2024, 3, 13), now=tomorrow + timedelta(days=300))
    assert api.actions_of == []


def test_what_a_ticker_is_traded_in_is_kept_and_what_was_stated_stays(pool):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO instruments (ticker, currency, exchange) VALUES ('A', 'GBP', 'XLON')")
        run(pool, Api(), ["A", "B"], "1d", date(2024, 1, 2))
        cursor.execute("SELECT ticker, currency, exchange FROM instruments ORDER BY ticker")
        assert cursor.fetchall() == [("A", "GBP", "XLON"), ("B", "USD", None)]


def test_days_of_which_the_source_has_nothing_are_told(pool):
    class Young(Api):
        def bars(self, tickers, interval, start, end):
            return super().bars(tickers, interval, max(start, date(2024, 2, 1)), end)

    run(pool, Young(), ["A"], "1d", date(2024, 2, 1))
    note = "the source has no bar of A from 2024-01-02 to 2024-01-31; where that is wrong, ask --again"
    assert note in run(pool, Young(), ["A"], "1d", date(2024, 1, 2)).loaded.notes()
    assert run(pool, Young(), ["A"], "1d", date(2024, 1, 2)).loaded.notes() == []


def test_again_corrects_what_has_changed(pool):
    run(pool, Api(), ["A"], "1d", date(2024, 1, 2), date(2024, 2, 1))
    changed = Api(price=11.0)
    assert run(pool, changed, ["A"], "1d", date(2024, 1, 2), date(2024, 2, 1)).loaded.rows == 0
    done = run(pool, changed, ["A"], "1d", date(2024, 1, 10), date(2024, 1, 12), again=True)
    assert (done.loaded.corrected, done.loaded.inserted) == (3, 0)
    assert sorted(set(stored(pool, "close_price"))) == [10, 11]
    with pool.connection() as connection:
        found = read_coverage(connection, "api", "1d", ["A"])["A"]
    assert (found.start, found.end) == (date(2024, 1, 2), date(2024, 2, 1))
    run(pool, changed, ["A"], "1d", date(2024, 3, 1), date(2024, 3, 5), again=True)
    assert changed.asked[-1] == (("A",), date(2024, 2, 2), date(2024, 3, 5)), "what is covered stays one span"


def test_the_half_bar_at_the_close_is_final_with_its_session(pool):
    """Taken for an hour's, it would be left out at 16:05 and never asked for again, its day being loaded."""
    after = datetime(2024, 3, 8, 21, 5, tzinfo=UTC)
    run(pool, Api(), ["A"], "1h", date(2024, 3, 7), now=after)
    assert len(stored(pool)) == 14
    assert stored(pool)[-1] == datetime(2024, 3, 8, 20, 30, tzinfo=UTC)


def test_of_a_running_session_only_final_bars_come_and_nothing_counts_as_loaded(pool):
    api = Api()
    run(pool, api, ["A"], "1h", date(2024, 3, 6), now=datetime(2024, 3, 8, 0, tzinfo=UTC))
    noon = datetime(2024, 3, 8, 17, 34, tzinfo=UTC)
    assert follow(pool, api, ["A"], "1h", CALENDAR, date(2024, 3, 8), noon).inserted == 2, "16:30 ended 4 minutes ago"
    assert follow(pool, api, ["A"], "1h", CALENDAR, date(2024, 3, 8), noon + timedelta(minutes=1)).inserted == 1
    with pool.connection() as connection:
        assert read_coverage(connection, "api", "1h", ["A"])["A"].end == date(2024, 3, 7)


def test_an_overlap_is_asked_for_with_new_days_only(pool):
    api = Api()
    first, last = date(2024, 3, 1), date(2024, 3, 12)
    for end in (last, last, date(2024, 3, 13)):
        run(pool, api, ["A"], "1d", first, end, overlap=timedelta(days=4))
    assert [(start, end) for _, start, end in api.asked] == [(first, last), (date(2024, 3, 9), date(2024, 3, 13))]


days = st.dates(date(2020, 1, 1), date(2022, 12, 31))


@given(days, days, st.none() | st.tuples(days, days))
def test_pieces_cover_a_span_once_and_each_touches_what_is_loaded_by_then(one, other, covered):
    low, high = min(one, other), max(one, other)
    known = None if covered is None else Coverage("A", min(covered), max(covered))
    if known is not None and not (high < known.start or known.end < low):
        return
    pieces = list(_pieces((low, high), known))
    assert all(first <= last for first, last in pieces), "never a reversed one"
    asked = sorted(day for first, last in pieces for day in (first.toordinal(), last.toordinal()))
    assert (asked[0], asked[-1]) == (low.toordinal(), high.toordinal())
    assert sum((last - first).days + 1 for first, last in pieces) == (high - low).days + 1
    for (first, last), (then, until) in pairwise(pieces):
        assert then == last + timedelta(days=1) or until == first - timedelta(days=1)


@pytest.mark.parametrize("interval", ["1d", "1h"])
def test_a_killed_backfill_ends_with_the_rows_of_an_undisturbed_one(pool, interval):
    class Killed(Exception):
        pass

    def kill(step):
        raise Killed

    for _ in range(20):
        try:
            run(pool, Api(), ["A", "B", "C"], interval, date(2023, 6, 1), progress=kill)
        except Killed:
            continue
        break
    else:
        raise AssertionError("it never got further")
    assert len(stored(pool)) == 3 * len(set(stored(pool)))
    assert len(set(stored(pool))) == len(Api().bars(["A"], interval, date(2023, 6, 1), date(2024, 3, 13)))
