"""``engine data verify``: what is found in a database, said, taken out, and answered with an exit code."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from framework.plugins.data_sources.sample import Sample

from framework.cli.main import run_command
from framework.data.load import ensure
from framework.data.verify import Asked, verify
from framework.db.bars import write_bars
from framework.db.market import Coverage, write_corporate_actions, write_coverage
from framework.errors import ConfigError, DataError
from framework.model.bars import CorporateAction
from tests.data.series import moments, scaled, walk, without


def fill(pool, bars, interval="1d", source="feed", covered=None, actions=()):
    """Bars of one ticker as a source would have left them."""
    (ticker,) = bars.tickers
    start, end = covered or (bars.timestamps[0].item().date(), bars.timestamps[-1].item().date())
    with pool.transaction() as connection:
        write_bars(connection, source, interval, bars)
        write_coverage(connection, source, interval, [Coverage(ticker, start, end)])
        write_corporate_actions(connection, source, (), actions)


def count(pool, table="market_data"):
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


def counts(pool, **asked):
    return {code: seen.count for code, seen in verify(pool, Asked(**asked)).found.items()}


@pytest.fixture
def daily():
    return walk(moments(0, 250), 0.01)


def spiked(bars, row=100):
    return scaled(bars, np.where(np.arange(len(bars)) == row, 2.0, 1.0))


def test_the_sample_is_clean(pool):
    ensure(pool, Sample(), Sample().tickers(), "1d", date.min, date.max)
    steps = []
    found = verify(pool, Asked(currency=Sample().currency), lambda done, total: steps.append((done, total)))
    assert (found.found, found.series, found.bars, found.calendars) == ({}, 5, count(pool), {"XNYS": 5})
    assert steps[-1] == (5, 5)


def test_an_empty_database_is_clean_and_an_unknown_ticker_is_told(pool):
    assert verify(pool, Asked()).found == {}
    with pytest.raises(DataError, match="nothing of XXXX is in the database"):
        verify(pool, Asked(tickers=("XXXX",)))
    with pytest.raises(ConfigError, match="XNYZ"):
        verify(pool, Asked(calendar="XNYZ"))


def test_each_series_is_looked_at_by_itself(pool, daily):
    fill(pool, daily)
    fill(pool, replace(spiked(daily), tickers=("BBB",)))
    fill(pool, walk(moments(0, 5, "1min"), 0.0005), "1min")
    fill(pool, without(daily, [100]), source="other")
    found = verify(pool, Asked())
    assert {code: (seen.count, seen.tickers) for code, seen in found.found.items()} == {
        "missing session": (1, ("AAA",)),
        "spike": (1, ("BBB",)),
    }
    assert found.found["spike"].first[0].startswith(f"BBB {daily.timestamps[100].item():%Y-%m-%d} (open ")
    assert counts(pool, source="feed", tickers=("AAA",)) == {}
    assert counts(pool, source="other") == {"missing session": 1}
    assert verify(pool, Asked(interval="1min")).bars == 5 * 390


def test_long_series_of_minutes_are_read_in_pieces(pool, monkeypatch):
    bars = walk(moments(0, 40, "1min"), 0.0005)
    fill(pool, without(scaled(bars, np.where(np.arange(len(bars)) == 9000, 1.5, 1.0)), [5000, 5001]), "1min")
    expected = {"missing minutes": 2, "spike": 1}
    assert counts(pool) == expected
    for size in (1_000, 5_000, 20_000):
        monkeypatch.setattr("framework.data.verify._PIECE_BARS", size)
        assert counts(pool) == expected


def test_splits_are_those_of_the_database(pool, daily):
    opens = daily.open.copy()
    opens[100] = daily.close[99]
    halved = scaled(replace(daily, open=opens), np.where(np.arange(250) >= 100, 0.5, 1.0))
    split = CorporateAction("AAA", daily.timestamps[100].item().date(), "split", 2)
    fill(pool, halved)
    assert counts(pool) == {"unadjusted split": 1}
    fill(pool, halved, actions=[split])
    assert counts(pool) == {}
    fill(pool, halved, source="adjusted")
    fill(pool, daily, source="adjusted too", actions=[replace(split, ticker="AAA")])
    assert counts(pool, source="adjusted too") == {"split without effect": 1}


def test_what_counts_as_loaded_is_compared_with_what_is_there(pool, daily):
    first, last = (daily.timestamps[at].item().date() for at in (10, -1))
    fill(pool, daily, covered=(first, last))
    assert counts(pool) == {"outside coverage": 10}
    fill(pool, replace(daily, tickers=("BBB",)), covered=(date(2004, 1, 2), date(2005, 6, 1)))
    assert counts(pool, tickers=("BBB",)) == {"ends early": 1}
    with pool.transaction() as connection:
        write_coverage(connection, "feed", "1d", [Coverage("CCC", first, last)])
    assert counts(pool, tickers=("CCC",)) == {"covered without bars": 1}
    with pool.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM market_data_coverage WHERE ticker = 'BBB'")
    assert counts(pool, tickers=("BBB",)) == {"outside coverage": 250}


def test_minutes_that_lie_beside_their_session_are_still_covered(pool):
    bars = walk(moments(0, 5, "5min"), 0.001)
    covered = (bars.timestamps[0].item().date(), bars.timestamps[-1].item().date())
    fill(pool, replace(bars, timestamps=bars.timestamps + np.timedelta64(4, "h")), "5min", covered=covered)
    assert counts(pool) == {"wrong time zone": 5 * 78}


def test_the_sources_currency_is_that_of_instruments(pool, daily):
    fill(pool, daily)
    with pool.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO instruments VALUES ('AAA', 'GBP', 1, 'XNYS')")
    assert counts(pool, currency=lambda ticker: "GBP") == {}
    found = verify(pool, Asked(currency=lambda ticker: "USD"))
    assert found.found["currency mismatch"].first == ("AAA is in USD for the source, in GBP for instruments",)
    assert found.urgent() == ("currency mismatch",)


def test_the_calendar_is_that_of_instruments_or_of_a_pair(pool):
    tokyo = walk(moments(0, 20, "5min", "XTKS"), 0.001)
    fill(pool, tokyo, "5min")
    fill(pool, replace(walk(moments(0, 20, "1h", "FX"), 0.001), tickers=("EURUSD",)), "1h")
    assert verify(pool, Asked(tickers=("EURUSD",))).calendars == {"FX": 1}
    assert counts(pool, tickers=("EURUSD",)) == {}
    assert counts(pool, tickers=("AAA",)) != {}
    with pool.transaction() as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO instruments VALUES ('AAA', 'JPY', 1, 'XTKS'), ('EURUSD', 'USD', 1, 'NOWHERE')")
    assert counts(pool, tickers=("AAA",)) == {}
    assert verify(pool, Asked(tickers=("EURUSD",))).calendars == {"FX": 1}


def test_a_time_that_the_calendar_does_not_know_is_said(pool, daily):
    fill(pool, replace(daily, timestamps=daily.timestamps - np.timedelta64(365 * 10, "D")))
    found = verify(pool, Asked(calendar="XBOM"))
    assert list(found.unchecked) == ["feed AAA 1d"]


@pytest.mark.parametrize(("policy", "held"), [("quarantine", 1), ("refuse", 0)])
def test_a_policy_takes_suspect_bars_out_and_the_next_check_is_clean(pool, daily, policy, held):
    fill(pool, spiked(daily))
    assert counts(pool) == {"spike": 1}
    assert count(pool) == 250, "a check alone changes nothing"
    found = verify(pool, Asked(policies={"spike": policy}))
    assert found.found["spike"].taken_out == 1
    assert (count(pool), count(pool, "market_data_quarantine"), len(found.quarantine)) == (249, held, held)
    assert counts(pool) == {"missing session": 1}


def test_a_bar_under_two_codes_is_taken_out_once(pool, daily):
    bars = spiked(daily, 100)
    at = np.where(np.arange(250) == 101, 100, np.arange(250))
    fill(pool, replace(bars.take(at), timestamps=daily.timestamps))
    found = verify(pool, Asked(policies={"spike": "quarantine", "stale": "quarantine"}))
    assert sum(seen.taken_out for seen in found.found.values()) == 2
    assert (count(pool), count(pool, "market_data_quarantine")) == (248, 2)


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def engine(monkeypatch, tmp_path, capfd, database):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)

    def run(*arguments):
        capfd.readouterr()
        status = run_command(["data", "verify", *arguments])
        return status, *capfd.readouterr()

    return run


def test_the_command_says_what_it_found_and_ends_with_0_after_warnings(engine, pool, daily):
    assert engine()[0] == 0
    fill(pool, spiked(daily))
    status, out, _ = engine()
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("250 bars of 1 series, 1 against XNYS, in ")
    assert lines[1].startswith("warning: spike: 1 of AAA; first: AAA 2004-05-")
    assert "What to do: compare with another source" in lines[2]


def test_the_command_ends_with_1_where_something_has_to_be_done(engine, pool, daily):
    fill(pool, scaled(daily, np.where(np.arange(250) >= 100, 0.01, 1.0)))
    status, out, err = engine("--json")
    assert status == 1
    assert "to be acted upon: currency mismatch" in err
    (found,) = json.loads(out)["found"]
    assert (found["code"], found["count"], found["tickers"], found["urgent"]) == ("currency mismatch", 1, ["AAA"], True)


def test_the_command_takes_out_what_a_policy_says_and_shows_quarantine(engine, pool, daily):
    fill(pool, spiked(daily))
    status, out, _ = engine("--policy", "spike=quarantine")
    assert status == 0
    assert "TAKEN OUT (1): spike: 1 of AAA" in out
    assert "in quarantine: 1 bars of feed AAA 1d, 2004-05-" in out
    assert json.loads(engine("--json")[1])["quarantine"][0]["code"] == "spike"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "spyke=warn"], "there is no code 'spyke'; did you mean 'spike'?"),
        (["--policy", "spike"], "--policy was 'spike'; it has to be CODE=POLICY"),
        (["--policy", "missing session=refuse"], "cannot be 'refuse'; allowed: warn"),
        (["--calendar", "XNYZ"], "calendar 'XNYZ' is unknown"),
        (["c.yaml", "--tickers", "AAA"], "a config says source, tickers"),
        (["--set", "a=b"], "--set changes a config"),
    ],
)
def test_wrong_usage_of_verify(engine, arguments, said):
    status, out, err = engine(*arguments)
    assert (status, out) == (2, "")
    assert said in " ".join(err.split())


def test_a_config_says_what_to_verify(engine, pool, database, tmp_path):
    ensure(pool, Sample(), ["AAPL", "IBM"], "1d", date.min, date.max)
    text = (
        "name: t\nmode: backtest\nstart: 2005-01-03\nend: 2005-02-01\ndata_source: sample\n"
        "quality: {spike: quarantine}\n"
        f"database: {{url: '{database}'}}\n"
        "portfolios: [{id: one, cash: 1000, tickers: [AAPL], strategy: buy_and_hold}]\n"
    )
    (tmp_path / "c.yaml").write_text(text)
    status, out, err = engine("c.yaml")
    assert status == 0, err
    assert out.startswith("3,270 bars of 1 series, 1 against XNYS")
    assert "nothing suspect" in out
