"""Quotes and instruments of the source ``fmp``."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from framework.plugins.data_sources.sample import Sample

from framework import Instrument
from framework.errors import SourceError, TickerUnavailable

NOON = "2012-03-01T17:00:00Z"


def test_one_ticker_and_many_give_the_same(make, fmp):
    fmp.set(now=NOON)
    source = make()
    one, many = source.quotes(["IBM"]), source.quotes(["IBM", "AAPL", "IBM"])
    assert one.found["IBM"] == many.found["IBM"]
    assert one.found["IBM"].time == datetime(2012, 3, 1, 17, tzinfo=UTC)
    assert list(many.found) == ["IBM", "AAPL"]
    assert [each.split("?")[0] for each in fmp.requests()] == ["/stable/quote", "/stable/batch-quote"]


def test_unknown_tickers_are_told_of_and_keep_no_other(make, fmp):
    found = make().quotes(["NOBODY", "AAPL", "BRK.B"])
    assert list(found.found) == ["AAPL"]
    assert found.missing == {"NOBODY": "FMP gave no quote of it", "BRK.B": "FMP gave no quote of it"}
    assert list(make().quotes(["NOBODY"]).missing) == ["NOBODY"]
    fmp.set(restricted=["AAPL"])
    assert "the plan of this FMP key does not include it" in make().quotes(["AAPL"]).missing["AAPL"]


def test_many_tickers_go_in_hundreds(make, fmp):
    names = [f"S{number:03}" for number in range(250)]
    assert list(make().quotes(names).found) == names
    assert len(fmp.requests()) == 3
    fmp.set()
    assert make().quotes([]).found == {}
    assert fmp.requests() == []


def test_a_whole_exchange_is_one_request(make, fmp):
    fmp.set(now=NOON, odd=True)
    found = make().exchange_quotes("NASDAQ")
    assert len(found.found) == 503, "FB was not listed yet"
    assert {each.time for each in found.found.values()} >= {datetime(2012, 3, 1, 17, tzinfo=UTC)}
    assert len(fmp.requests()) == 1
    with pytest.raises(SourceError, match=r"no quotes of an exchange 'NOWHERE'; its names are such as NASDAQ"):
        make().exchange_quotes("NOWHERE")


@pytest.mark.parametrize(
    "row",
    [
        {"price": None, "volume": 1, "timestamp": 1330621200},
        {"price": 0, "volume": 1, "timestamp": 1330621200},
        {"price": -1.0, "volume": 1, "timestamp": 1330621200},
        {"price": math.nan, "volume": 1, "timestamp": 1330621200},
        {"price": math.inf, "volume": 1, "timestamp": 1330621200},
        {"price": "dear", "volume": 1, "timestamp": 1330621200},
        {"price": 1.0, "volume": -1, "timestamp": 1330621200},
        {"price": 1.0, "volume": 1, "timestamp": None},
        {"price": 1.0, "volume": 1, "timestamp": 0},
        {"price": 1.0, "volume": 1, "timestamp": 1330621200000},
        {"price": 1.0, "volume": 1, "timestamp": math.inf},
        {"price": 1.0, "volume": 1},
        {},
    ],
)
def test_a_quote_that_cannot_be_used_is_none(make, monkeypatch, row):
    source = make()
    good = {"symbol": "B", "price": 2.5, "volume": 9.6223e8, "timestamp": 1330621200}
    monkeypatch.setattr(source, "get", lambda path, **params: [{"symbol": "A", **row}, good, good | {"symbol": "C"}])
    found = source.quotes(["A", "B"])
    assert list(found.found) == ["B"], "nor is one that nobody asked for"
    assert found.missing["A"].startswith("FMP gave a quote of it that cannot be used")


def test_a_volume_that_is_not_stated_is_not_none(make, monkeypatch):
    source = make()
    row = {"symbol": "EURUSD", "price": 1.1, "volume": None, "timestamp": 1330621200}
    monkeypatch.setattr(source, "get", lambda path, **params: [row])
    assert math.isnan(source.quotes(["EURUSD"]).found["EURUSD"].volume)


def test_a_plan_without_quotes_of_many(make, fmp):
    fmp.set(closed=["batch-quote"])
    with pytest.raises(SourceError, match="does not include this kind of data"):
        make().quotes(["AAPL", "IBM"])


def test_instruments(make, fmp):
    source = make()
    assert source.instrument("AAPL") == Instrument("AAPL", "USD", None)
    assert source.instrument("USDJPY").currency == "JPY"
    assert fmp.requests() == [], "neither needs the network"
    assert source.instrument("TTE.PA") == Instrument("TTE.PA", "EUR", "PAR")
    assert source.currency("TTE.PA") == "EUR"
    assert len(fmp.requests()) == 1, "asked for once"
    with pytest.raises(TickerUnavailable, match="knows no ticker"):
        source.instrument("BRK.B")


def test_a_source_without_quotes_says_so():
    with pytest.raises(SourceError, match="data source sample has no quotes; use its bars"):
        Sample().quotes(["AAPL"])
    with pytest.raises(SourceError, match="name the tickers instead"):
        Sample().exchange_quotes("NASDAQ")
    assert Sample().instrument("AAPL") == Instrument("AAPL", "USD")


def test_crypto_has_the_hour_that_comes_twice(make):
    bars = make().bars(["BTCUSD"], "1min", datetime(2012, 11, 4).date(), datetime(2012, 11, 4).date())  # noqa: DTZ001
    steps = {int(step) for step in (bars.timestamps[1:] - bars.timestamps[:-1]).astype("timedelta64[s]").astype(int)}
    assert steps == {60}, "no minute is lacking, none comes twice"


def test_a_row_that_comes_twice_does_not_end_summer_early(make, monkeypatch):
    source = make()
    clocks = ["00:30", "00:30", "01:00", "01:30", "01:00", "01:30", "02:00"]
    rows = [{"date": f"2012-11-04 {clock}:00", **dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0)}
            for clock in clocks]  # fmt: skip
    monkeypatch.setattr(source, "get", lambda path, **params: rows[::-1])
    day = datetime(2012, 11, 4, tzinfo=UTC).date()
    bars = source.bars(["BTCUSD"], "30min", day, day)
    assert [str(at)[11:16] for at in bars.timestamps] == ["04:30", "05:00", "05:30", "06:00", "06:30", "07:00"]
