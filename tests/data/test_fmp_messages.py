"""What a user reads for every refusal of the API, through the command line."""

from __future__ import annotations

import sys

import pytest

from framework.cli.main import run_command
from framework.plugin_manager import PluginManager
from tests.standins.running import KEY


@pytest.fixture
def backfill(fmp, database, tmp_path, monkeypatch, capfd):
    """The command, and what it writes; the key must never be in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FMP_API_KEY", KEY)

    def backfill(*more, key=KEY):
        monkeypatch.setenv("FMP_API_KEY", key)
        command = ["data", "backfill", "--source", "fmp", "--url", database, "--tickers", "AAPL"]
        dates = ["--start", "2005-01-03", "--end", "2005-01-10"]
        status = run_command([*command, *dates, "--param", f"base_url={fmp.url}", *more])
        out, err = capfd.readouterr()
        assert key not in out + err
        assert not any(key in each for each in fmp.requests())
        return status, out + err

    return backfill


REFUSALS = [
    ("401", 2, "FMP does not know this API key; check FMP_API_KEY (or params.api_key) for typing errors"),
    ("402", 1, "the plan of this FMP key does not include this kind of data; take a larger plan"),
    ("402-symbol", 1, "AAPL: the plan of this FMP key does not include it; leave it out or take a larger plan"),
    (
        "402-parameter",
        1,
        "the plan of this FMP key does not allow a value in the request; take a larger plan. FMP says: Premium Query "
        "Parameter: 'Special Parameters : The values for 'limit' must be between 0 and 5",
    ),
    (
        "403",
        1,
        "the key is blocked, or base_url is of the old API; it has to end with /stable and was http://127.0.0.1",
    ),
    ("404", 1, "FMP has no such address (HTTP 404) below http://127.0.0.1"),
    ("400", 1, "data source fmp refused the request (HTTP 400): it broke"),
    ("302", 1, "has moved (HTTP 302); set base_url to where it is now"),
    ("dict", 1, "FMP answered with an error: Something went wrong on our side."),
    ("garbage", 1, "FMP answered with an error: <html><body>Bad gateway, but cheerful</body></html>"),
]


@pytest.mark.parametrize(("fault", "status", "said"), REFUSALS, ids=[each[0] for each in REFUSALS])
def test_a_refusal_is_told_in_words_and_not_tried_again(backfill, fmp, fault, status, said):
    fmp.set(fail=[fault])
    ended, text = backfill()
    assert said in " ".join(text.split())
    assert ended == status
    assert len(fmp.requests()) == 1


@pytest.mark.parametrize("fault", ["limit", "limit-in-200", "empty", "cut", "500", "503"])
def test_what_passes_is_waited_for(backfill, fmp, monkeypatch, fault):
    _wait_little(monkeypatch)
    fmp.set(fail=[fault])
    status, text = backfill()
    assert (status, "6 bars of 1 tickers" in text) == (0, True)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("limit", "FMP's limit of requests is reached: lower requests_per_minute"),
        ("limit-in-200", "FMP's limit of requests is reached: lower requests_per_minute"),
        ("empty", "FMP gave an empty answer (tried"),
        ("cut", "cannot be reached, or broke off"),
        ("500", "data source fmp failed (HTTP 500): it broke (tried"),
    ],
)
def test_what_does_not_pass_is_told_when_patience_ends(backfill, fmp, monkeypatch, fault, said):
    _wait_little(monkeypatch)
    fmp.set(fail=[fault] * 999)
    status, text = backfill("--param", "patience_seconds=0.2")
    assert said in " ".join(text.split())
    assert status == 1


def test_the_old_api_is_told_of(backfill, fmp):
    status, text = backfill("--param", f"base_url={fmp.url.replace('/stable', '/api/v3')}")
    assert "it has to end with /stable and was http://127.0.0.1" in " ".join(text.split())
    assert status == 1


def test_a_wrong_key_is_not_shown_either(backfill, fmp):
    status, text = backfill(key="a-wrong-key-of-mine")
    assert "FMP does not know this API key" in " ".join(text.split())
    assert status == 2


def test_a_server_that_repeats_the_key_does_not_have_it_shown(fmp):
    source = PluginManager.load([], None).create("data source", "fmp", {"api_key": KEY, "base_url": fmp.url})
    for status in (200, 400, 402, 500):
        assert KEY not in str(source.problem(status, f"you asked with apikey={KEY} for 'limit', Query Parameter"))


def _wait_little(monkeypatch):
    fmp = PluginManager.load([], None).create("data source", "fmp", {"api_key": "x"})
    monkeypatch.setattr(sys.modules[type(fmp).__module__], "_MINUTE_LIMIT_SECONDS", 0.2)
