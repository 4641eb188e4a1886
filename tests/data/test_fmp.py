"""The source ``fmp`` against a server that has the API's traps, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import psycopg2
import pytest
from framework.plugins.data_sources.sample import Sample

from framework.cli.main import run_command
from framework.data.backfill import backfill, last_final_session
from framework.data.load import ensure
from framework.data.rest import spans_of
from framework.errors import ConfigError, DataError, SourceError, SourceUnavailable, TickerUnavailable
from framework.plugin_manager import PluginManager
from tests.standins.running import KEY

NOW = datetime(2013, 6, 1, tzinfo=UTC)


def stored(pool, ticker="AAPL"):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT timestamp, open_price, close_price, volume FROM market_data "
                       "WHERE source = 'fmp' AND ticker = %s ORDER BY timestamp", (ticker,))  # fmt: skip
        return cursor.fetchall()


def test_daily_bars_are_as_traded_oldest_first(make):
    bars = make().bars(["AAPL"], "1d", date(2005, 2, 24), date(2005, 3, 1))
    days = bars.timestamps.astype("datetime64[D]").astype(str).tolist()
    assert days == ["2005-02-24", "2005-02-25", "2005-02-28", "2005-03-01"]
    assert bars.close[1] / bars.close[2] == pytest.approx(2.0, rel=0.02), "the split of 2005-02-28 is not adjusted for"


def test_a_long_range_is_asked_for_in_parts_that_come_whole(make, fmp):
    expected = Sample().bars(["IBM"], "1d", date(1990, 1, 1), date(2013, 12, 31))
    bars = make().bars(["IBM"], "1d", date(1990, 1, 1), date(2013, 12, 31))
    assert len(bars) == len(expected)
    assert len([each for each in fmp.requests() if "historical" in each]) == 2


def test_intraday_times_are_new_yorks_and_the_first_minute_of_a_single_day_is_there(make):
    bars = make().bars(["AAPL"], "1min", date(2008, 3, 10), date(2008, 3, 10))  # after the clocks went forward
    assert (str(bars.timestamps[0]), len(bars)) == ("2008-03-10T13:30:00.000000", 390)
    bars = make().bars(["AAPL"], "1min", date(2008, 3, 3), date(2008, 3, 12))
    opens = bars.timestamps[np.diff(bars.timestamps, prepend=np.datetime64("1970", "us")) > np.timedelta64(1, "h")]
    assert [str(at)[11:16] for at in opens] == ["14:30"] * 5 + ["13:30"] * 3
    assert len(bars) == 8 * 390


@pytest.mark.parametrize(
    ("interval", "first", "count"), [("1h", "14:30", 7), ("4h", "14:30", 2), ("30min", "14:30", 13)]
)
def test_coarser_bars(make, interval, first, count):
    bars = make().bars(["MSFT"], interval, date(2008, 1, 3), date(2008, 1, 3))
    assert (str(bars.timestamps[0])[11:16], len(bars)) == (first, count)


def test_minutes_are_as_traded(make):
    before = make().bars(["AAPL"], "1h", date(2005, 2, 25), date(2005, 2, 25))
    day = make().bars(["AAPL"], "1d", date(2005, 2, 25), date(2005, 2, 25))
    assert before.open[0] == day.open[0]
    assert before.close[-1] == pytest.approx(day.close[0])


def given(*times):
    return [{"date": f"2024-11-03 {time}:00", "open": 1, "high": 1, "low": 1, "close": 1} for time in times]


@pytest.mark.parametrize(
    ("clock", "utc"),
    [
        (["00:30", "01:30", "01:30", "02:30"], ["04:30", "05:30", "06:30", "07:30"]),
        (["01:10", "01:59", "01:17", "02:00"], ["05:10", "05:59", "06:17", "07:00"]),  # no trade at 01:17 before
    ],
)
def test_the_hour_that_comes_twice_is_two_hours(make, clock, utc):
    bars = make().bars_of("BTCUSD", given(*clock), timezone="America/New_York")
    assert [str(at)[11:16] for at in bars.timestamps] == utc


def test_a_field_that_is_not_there_is_no_missing_price(make):
    with pytest.raises(SourceError, match=r"bars of BTCUSD that cannot be read: KeyError\('c'\)"):
        make().bars_of("BTCUSD", given("05:00"), fields={"close": "c"})


def test_the_evening_before_belongs_to_a_day_of_currencies(make, monkeypatch):
    """It was not there, or not final, when the day before was asked for."""
    source, asked = make(), []

    def answer(path, **params):
        asked.append(params)
        times = ["2024-03-05 16:59", "2024-03-05 17:00", "2024-03-05 23:59", "2024-03-06 00:00", "2024-03-07 12:00"]
        return [{"date": f"{time}:00", "open": 1, "high": 1, "low": 1, "close": 1} for time in reversed(times)]

    monkeypatch.setattr(source, "get", answer)
    bars = source.bars(["EURUSD"], "1min", date(2024, 3, 6), date(2024, 3, 6))
    assert [str(at)[5:16] for at in bars.timestamps] == ["03-05T22:00", "03-06T04:59", "03-06T05:00"]
    assert [(each["from"], each["to"]) for each in asked] == [("2024-03-05", "2024-03-06")]


def test_splits_and_dividends_are_those_of_the_sample(make):
    found = sorted(make().corporate_actions(["AAPL", "MSFT"]), key=lambda each: (each.ticker, each.ex_date, each.kind))
    expected = Sample().corporate_actions(["AAPL", "MSFT"])
    assert [(each.ticker, each.ex_date, each.kind) for each in found] == sorted(
        (each.ticker, each.ex_date, each.kind) for each in expected
    )
    assert ("AAPL", date(2005, 2, 28), "split", Decimal(2)) in [(f.ticker, f.ex_date, f.kind, f.value) for f in found]


def test_odd_actions(make, monkeypatch):
    source = make()
    rows = {
        "splits": [
            {"date": "2024-05-01", "numerator": 707, "denominator": 500, "splitType": "stock-split"},
            {"date": "2024-04-01", "numerator": 3, "denominator": 1, "splitType": "spin-off"},
        ],
        "dividends": [
            {"date": "2024-03-01", "dividend": 0.1},
            {"date": "2024-03-01", "dividend": 0.30000000000000004},
            {"date": "2024-02-01", "dividend": None},
        ],
    }
    monkeypatch.setattr(source, "get", lambda path, **params: rows[path])
    found = [(each.ex_date.month, each.value) for each in source.fetch_actions("X")]
    assert found == [(5, Decimal("1.414")), (3, Decimal("0.4"))]
    rows["splits"][0]["numerator"] = 0
    with pytest.raises(SourceError, match=r"X: FMP gave a row of it whose numerator cannot be used"):
        list(source.fetch_actions("X"))


def test_currencies(make, fmp):
    source = make()
    tickers = ("AAPL", "BRK-B", "EURUSD", "USDJPY")
    assert [source.currency(ticker) for ticker in tickers] == ["USD", "USD", "USD", "JPY"]
    assert fmp.requests() == [], "a run must not need the network for these"
    with pytest.raises(TickerUnavailable, match=r"knows no ticker 'BRK.B'; class shares .* hyphen: BRK-B"):
        source.currency("BRK.B")


REFUSALS = [
    ({"key": "other"}, ConfigError, r"does not know this API key; check FMP_API_KEY"),
    ({"restricted": ["AAPL"]}, TickerUnavailable, r"AAPL: the plan of this FMP key does not include it"),
    ({"fail": [302]}, SourceError, r"has moved \(HTTP 302\); set base_url"),
    ({"fail": [400]}, SourceError, r"refused the request \(HTTP 400\): it broke"),
    ({"fail": [402]}, SourceError, r"plan of this FMP key does not include this kind of data"),
    ({"fail": [403]}, SourceError, r"it has to end with /stable"),
    ({"fail": [404]}, SourceError, r"no such address \(HTTP 404\)"),
    ({"fail": [500] * 99}, SourceUnavailable, r"failed \(HTTP 500\): it broke \(tried \d+ times"),
]


@pytest.mark.parametrize(("told", "error", "said"), REFUSALS)
def test_what_the_api_refuses_is_told_with_what_to_do(make, fmp, told, error, said):
    fmp.set(**told)
    with pytest.raises(error, match=said) as caught:
        make(patience_seconds=1).bars(["AAPL"], "1d", date(2005, 1, 3), date(2005, 1, 10))
    assert KEY not in str(caught.value)
    assert not any(KEY in each or "/elsewhere" in each for each in fmp.requests())
    if error is not SourceUnavailable:
        assert len(fmp.requests()) == 1, "what cannot change is not asked again"


def test_the_old_api_is_told_of(make, fmp):
    source = make(base_url=fmp.url.replace("/stable", "/api/v3"))
    with pytest.raises(SourceError, match=r"has to end with /stable and was http://.*/api/v3"):
        source.bars(["AAPL"], "1d", date(2005, 1, 3), date(2005, 1, 10))


def test_passing_failures_are_tried_again(make, fmp):
    expected = make().bars(["AAPL"], "1d", date(2005, 1, 3), date(2005, 6, 1))
    fmp.set(fail=["503", "cut", "slow", "502"])
    bars = make(timeout_seconds=0.5, patience_seconds=60).bars(["AAPL"], "1d", date(2005, 1, 3), date(2005, 6, 1))
    assert bars.close.tolist() == expected.close.tolist()
    assert len(fmp.requests()) == 5


@pytest.mark.parametrize("fault", ["limit", "limit-in-200"])
def test_a_reached_limit_holds_all_requests_back(make, fmp, fault, monkeypatch):
    source = make()
    monkeypatch.setattr(sys.modules[type(source).__module__], "_MINUTE_LIMIT_SECONDS", 0.5)
    fmp.set(fail=[fault])
    began = time.monotonic()
    assert len(source.bars(["AAPL"], "1d", date(2005, 1, 3), date(2005, 1, 10)))
    assert time.monotonic() - began > 0.5
    fmp.set(fail=[fault] * 99)
    with pytest.raises(SourceUnavailable, match=r"limit of requests is reached: lower requests_per_minute"):
        make(patience_seconds=0).bars(["AAPL"], "1d", date(2005, 1, 3), date(2005, 1, 10))


def test_an_answer_that_trickles_is_given_up(make, fmp):
    fmp.set(fail=["trickle"], trickle_seconds=60)
    began = time.monotonic()
    source = make(timeout_seconds=0.4, patience_seconds=0)
    with pytest.raises(SourceUnavailable, match=r"was still answering after 2 s"):
        source.bars(["AAPL"], "1d", date(2005, 1, 3), date(2005, 1, 10))
    assert time.monotonic() - began < 20
    assert len(source.bars(["AAPL"], "1d", date(2005, 1, 3), date(2005, 1, 10))) == 6


def test_a_server_that_is_not_there(make):
    source = make(base_url="http://127.0.0.1:9/stable", patience_seconds=0)
    with pytest.raises(SourceUnavailable, match=r"http://127.0.0.1:9/stable/\S+ cannot be reached"):
        source.bars(["AAPL"], "1d", date(2005, 1, 3), date(2005, 1, 10))


def test_the_key_is_not_shown(make):
    assert KEY not in repr(make())
    assert "api_key='…'" in repr(make())


def test_without_a_key(monkeypatch):
    monkeypatch.delenv("FMP_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"there is no API key; set FMP_API_KEY"):
        PluginManager.load([], None).create("data source", "fmp", {})


def test_spans_cover_a_range_without_gap_or_overlap():
    spans = list(spans_of(date(2024, 1, 1), date(2024, 1, 10), 4))
    assert spans == [
        (date(2024, 1, 1), date(2024, 1, 4)),
        (date(2024, 1, 5), date(2024, 1, 8)),
        (date(2024, 1, 9), date(2024, 1, 10)),
    ]
    assert list(spans_of(date(2024, 1, 2), date(2024, 1, 1), 4)) == []


def test_a_backfill_goes_on_where_it_was_and_asks_for_nothing_twice(make, pool, fmp):
    done = backfill(pool, make(), ["AAPL", "IBM"], "1d", "XNYS", date(2005, 1, 1), date(2006, 1, 1), now=NOW)
    assert done.loaded.inserted == 2 * 252
    fmp.set()
    again = backfill(pool, make(), ["AAPL", "IBM"], "1d", "XNYS", date(2005, 1, 1), date(2006, 1, 1), now=NOW)
    assert (again.loaded.tickers, fmp.requests()) == ((), [])
    more = backfill(pool, make(), ["AAPL"], "1d", "XNYS", date(2004, 12, 1), date(2006, 2, 1), now=NOW)
    assert more.loaded.inserted == 22 + 21
    assert not any("from=2005" in each for each in fmp.requests())
    assert len(stored(pool)) == 252 + 22 + 21


def test_minutes_come_in_pieces_and_go_on_where_they_were(make, pool, monkeypatch):
    span = "AAPL", "1h", date(2008, 1, 2), date(2008, 12, 31)
    whole = make().bars([span[0]], *span[1:])
    source, pieces = make(), 0
    fetch = source.bars

    def few(*asked):
        nonlocal pieces
        pieces += 1
        if pieces == 3:
            raise SourceUnavailable("gone")
        return fetch(*asked)

    monkeypatch.setattr(source, "bars", few)
    with pytest.raises(SourceUnavailable, match="gone"):
        backfill(pool, source, [span[0]], span[1], "XNYS", *span[2:], now=NOW)
    kept = len(stored(pool))
    assert 0 < kept < len(whole)
    done = backfill(pool, make(), [span[0]], span[1], "XNYS", *span[2:], now=NOW)
    assert done.loaded.inserted == len(whole) - kept
    more = backfill(pool, make(), [span[0]], span[1], "XNYS", date(2007, 6, 1), span[3], now=NOW)
    assert more.loaded.inserted == len(make().bars([span[0]], span[1], date(2007, 6, 1), date(2008, 1, 1)))
    assert len(stored(pool)) == len(make().bars([span[0]], span[1], date(2007, 6, 1), span[3]))


@pytest.mark.parametrize("interval", ["1d", "1h"])
def test_a_session_that_the_source_does_not_have_yet_is_asked_for_again(make, pool, fmp, interval):
    evening = datetime(2005, 6, 10, 22, 0, tzinfo=UTC)
    asked = ["AAPL"], interval, "XNYS", date(2005, 6, 1), date(2005, 6, 10)
    fmp.set(newest="2005-06-09")
    backfill(pool, make(), *asked, now=evening)
    before = len(stored(pool))
    fmp.set()
    backfill(pool, make(), *asked, now=evening)
    assert len(stored(pool)) == before + (1 if interval == "1d" else 7)
    fmp.set()
    backfill(pool, make(), *asked, now=evening)
    assert fmp.requests() == []


def test_bars_that_may_still_change_or_were_not_asked_for_are_left_out(make, pool, monkeypatch):
    source = make()
    whole = source.bars(["AAPL"], "1h", date(2005, 6, 1), date(2005, 6, 10))
    monkeypatch.setattr(source, "bars", lambda *asked: whole)
    noon = datetime(2005, 6, 9, 16, 0, tzinfo=UTC)  # New York's noon: the bar of 10:30 ended half an hour ago
    done = ensure(pool, source, ["AAPL"], "1h", date(2005, 6, 8), date(2005, 6, 9), now=noon)
    times = [row[0] for row in stored(pool)]
    assert (times[0].day, times[-1]) == (7, datetime(2005, 6, 9, 14, 30, tzinfo=UTC))
    assert done.quality.counts["not asked for"] == len(whole) - len(times)


def test_a_ticker_of_which_everything_was_refused_is_not_taken_for_loaded(make, pool, monkeypatch):
    source = make()
    whole = source.bars(["AAPL"], "1d", date(2005, 6, 1), date(2005, 6, 10))
    monkeypatch.setattr(source, "bars", lambda *asked: replace(whole, close=np.full(len(whole), np.nan)))
    with pytest.raises(DataError, match=r"fmp has no usable bar of AAPL\. 8 of 8 rows refused: a price is missing"):
        ensure(pool, source, ["AAPL"], "1d", date(2005, 6, 1), date(2005, 6, 10), now=NOW)


@pytest.mark.parametrize("interval", ["1d", "5min"])
def test_a_ticker_that_nobody_knows_is_told_of_for_every_interval(make, pool, interval):
    done = backfill(pool, make(), ["XXXX"], interval, "XNYS", date(2005, 6, 1), date(2005, 6, 10), now=NOW)
    assert (list(done.unavailable), done.loaded.tickers) == (["XXXX"], ())


def test_tickers_that_are_not_to_be_had_do_not_keep_the_others(make, pool, fmp):
    fmp.set(restricted=["MSFT"])
    done = backfill(pool, make(), ["AAPL", "XXXX", "MSFT", "IBM"], "1d", "XNYS", date(2005, 1, 1), date(2005, 3, 1))
    assert done.loaded.tickers == ("AAPL", "IBM")
    assert sorted(done.unavailable) == ["MSFT", "XXXX"]
    assert len(stored(pool, "IBM")) == 40


def test_a_session_that_is_not_over_is_left_for_later(make, pool):
    noon = datetime(2008, 3, 12, 16, 0, tzinfo=UTC)
    done = backfill(pool, make(), ["AAPL"], "1min", "XNYS", date(2008, 3, 10), date(2008, 3, 12), now=noon)
    assert done.end == date(2008, 3, 11)
    assert done.loaded.inserted == 2 * 390
    source = make()
    after = datetime(2008, 3, 12, 20, 4, tzinfo=UTC)
    assert last_final_session("XNYS", source.settle_of("1min"), after) == date(2008, 3, 11)
    assert last_final_session("XNYS", source.settle_of("1min"), after.replace(minute=5)) == date(2008, 3, 12)
    with pytest.raises(DataError, match=r"nothing from 2008-03-12 on is final yet: .* 2008-03-11"):
        backfill(pool, make(), ["AAPL"], "1min", "XNYS", date(2008, 3, 12), None, now=noon)


def test_the_commands(fmp, database, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FMP_API_KEY", KEY)
    ask = ["data", "backfill", "--source", "fmp", "--param", f"base_url={fmp.url}", "--url", database]
    dates = ["--start", "2005-01-01", "--end", "2005-12-31"]
    assert run_command([*ask, "--tickers", "AAPL, IBM", *dates, "--dry-run"]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "AAPL, IBM: 2005-01-01 to 2005-12-31, 6 requests",
        "fmp: 6 requests, at least 0.0 min at 300 a minute",
    ]
    assert run_command([*ask, "--tickers", "AAPL", *dates, "--interval", "1min", "--dry-run", "--json"]) == 0
    planned = json.loads(capfd.readouterr().out)
    assert (planned["requests"], len(planned["asks"])) == (187, 5)
    assert fmp.requests() == []
    assert run_command([*ask, "--tickers", "AAPL, IBM", *dates]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("fmp: 504 bars of 2 tickers, 2005-01-01 to 2005-12-31, in ")
    assert run_command([*ask, "--tickers", "AAPL,IBM", *dates, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["inserted"] == 0
    assert run_command([*ask, "--tickers", "AAPL,IBM", *dates, "--dry-run"]) == 0
    assert capfd.readouterr().out == "nothing is lacking\n"
    assert run_command([*ask, "--tickers", "AAPL,XXXX", *dates]) == 1
    out, err = capfd.readouterr()
    assert "1 tickers are not to be had" in err
    assert "knows no ticker 'XXXX'" in err
    assert run_command(["data", "coverage", "--url", database]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "fmp          AAPL         1d     2005-01-01 to 2005-12-31",
        "fmp          IBM          1d     2005-01-01 to 2005-12-31",
    ]
    assert run_command(["data", "coverage", "--url", database, "--json", "--tickers", "IBM"]) == 0
    assert [each["ticker"] for each in json.loads(capfd.readouterr().out)] == ["IBM"]
    fmp.set(key="other")
    assert run_command([*ask, "--tickers", "MSFT", *dates]) == 2
    out, err = capfd.readouterr()
    assert "does not know this API key" in err
    assert KEY not in out + err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a config, or a data source"),
        (["--source", "fmp"], "with --source, say what"),
        (["--source", "fmp", "--tickers", "A", "--start", "2005-01-01", "--param", "x"], "it has to be KEY=VALUE"),
        (["c.yaml", "--tickers", "A"], "go with --source"),
        (["--source", "fmp", "--set", "a=1"], "--set changes a config"),
        (["--source", "fpm", "--tickers", "A", "--start", "2005-01-01"], "did you mean 'fmp'?"),
    ],
)
def test_wrong_usage_of_backfill(arguments, said, monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FMP_API_KEY", KEY)
    assert run_command(["data", "backfill", *arguments]) == 2
    assert said in capfd.readouterr().err


def test_a_config_is_backfilled_and_runs_without_asking_again(fmp, database, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("FMP_API_KEY", KEY)
    (tmp_path / "c.yaml").write_text(
        "name: c\nmode: backtest\nstart: 2005-01-03\nend: 2006-12-29\n"
        f"data_source: {{name: fmp, params: {{api_key: '${{FMP_API_KEY}}', base_url: '{fmp.url}'}}}}\n"
        "portfolios:\n  - {id: a, cash: 100000, tickers: [AAPL, IBM], lookback: 60, strategy: {name: sma_cross}}\n"
    )
    assert run_command(["data", "backfill", "c.yaml"]) == 0
    assert "bars of 2 tickers, 2004-" in capfd.readouterr().out
    fmp.set()
    assert run_command(["run", "c.yaml", "--json"]) == 0
    ours = json.loads(capfd.readouterr().out)["portfolios"]["a"]
    assert not any("historical" in each for each in fmp.requests())
    assert run_command(["run", "c.yaml", "--json", "--set", "data_source={name: sample}"]) == 0
    sample = json.loads(capfd.readouterr().out)["portfolios"]["a"]
    assert (ours["trades"], ours["final_equity"]) == (sample["trades"], sample["final_equity"])
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT source FROM market_data ORDER BY 1")
        assert cursor.fetchall() == [("fmp",), ("sample",)]


def test_ctrl_c_does_not_wait_for_an_answer(fmp, database, tmp_path):
    fmp.set(fail=[503] * 999)
    ask = [
        "-m",
        "framework",
        "data",
        "backfill",
        "--source",
        "fmp",
        "--param",
        f"base_url={fmp.url}",
        "--url",
        database,
    ]
    command = [sys.executable, *ask, "--tickers", "AAPL,IBM", "--start", "2005-01-01", "--end", "2005-12-31"]
    environment = {**os.environ, "FMP_API_KEY": KEY}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not fmp.requests():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 20, "patience is five minutes"
    assert process.returncode == 130
    assert "run the same command again to go on" in said
    assert KEY not in said
