"""The stand-in of FMP has the API's traps: others build on it."""

from __future__ import annotations

import time
from datetime import date
from urllib.error import HTTPError

import pytest

from tests.standins.running import StandIn

OPEN = "2012-03-01T14:30:00Z"  # New York's 9:30


@pytest.fixture(scope="module")
def process():
    with StandIn() as server:
        yield server


@pytest.fixture
def fmp(process):
    process.set()
    return process


def eod(fmp, kind, symbol="AAPL", first="2005-02-25", last="2005-02-28"):
    return fmp.ask(f"historical-price-eod/{kind}?symbol={symbol}&from={first}&to={last}")


def chart(fmp, interval, symbol="AAPL", first="2012-02-29", last="2012-03-01", more="&nonadjusted=true"):
    return fmp.ask(f"historical-chart/{interval}?symbol={symbol}&from={first}&to={last}{more}")


def test_the_four_daily_series_differ_as_the_apis_do(fmp):
    traded, full, light, adjusted = (
        eod(fmp, kind) for kind in ("non-split-adjusted", "full", "light", "dividend-adjusted")
    )
    assert [row["date"] for row in traded] == ["2005-02-28", "2005-02-25"], "newest first"
    assert traded[1]["adjClose"] == pytest.approx(2 * full[1]["close"]), "the trap: as traded, in spite of its name"
    assert traded[1]["volume"] * 2 == full[1]["volume"] == adjusted[1]["volume"]
    assert light[1] == {"symbol": "AAPL", "date": "2005-02-25", "price": full[1]["close"], "volume": full[1]["volume"]}
    assert adjusted[1]["adjClose"] < full[1]["close"], "later dividends"
    assert full[0]["change"] == pytest.approx(full[0]["close"] - full[0]["open"], abs=1e-4)
    assert list(adjusted[0]) == ["symbol", "date", "adjOpen", "adjHigh", "adjLow", "adjClose", "volume"]


def test_minutes_are_adjusted_for_splits_unless_asked_otherwise(fmp):
    asked = {"interval": "1hour", "first": "2005-02-24", "last": "2005-02-25"}
    traded, adjusted = chart(fmp, **asked), chart(fmp, **asked, more="")
    assert chart(fmp, **asked, more="&nonadjusted=false") == adjusted
    assert traded[0]["close"] == pytest.approx(2 * adjusted[0]["close"])
    assert traded[0]["volume"] * 2 == adjusted[0]["volume"]


def test_reversed_ranges(fmp):
    assert eod(fmp, "full", first="2005-02-28", last="2005-02-25") == []
    wrong = chart(fmp, "1min", first="2012-03-01", last="2012-02-29")
    assert ({row["date"][:10] for row in wrong}, len(wrong)) == ({"2012-02-29"}, 389)


@pytest.mark.parametrize(
    ("interval", "days"), [("1min", 3), ("5min", 10), ("15min", 45), ("30min", 30), ("4hour", 180)]
)
def test_windows_are_cut_without_a_word(fmp, interval, days):
    rows = chart(fmp, interval, first="2000-01-01", last="2012-03-01")
    oldest = date.fromisoformat(rows[-1]["date"][:10])
    assert 0 <= days - 1 - (date(2012, 3, 1) - oldest).days <= 3


def test_five_thousand_days_are_the_most(fmp):
    rows = eod(fmp, "full", "BTCUSD", "2000-01-01", "2013-12-30")
    assert (len(rows), rows[0]["date"]) == (5000, "2013-12-30")


def test_quotes_drop_what_is_unknown_and_repeat_what_is_asked_twice(fmp):
    rows = fmp.ask("batch-quote?symbols=IBM,NOBODY,AAPL,IBM")
    assert [row["symbol"] for row in rows] == ["IBM", "AAPL", "IBM"]
    assert [len(row) for row in rows] == [17, 17, 17]
    assert fmp.ask("quote?symbol=AAPL,IBM") == []
    assert list(fmp.ask("quote-short?symbol=IBM")[0]) == ["symbol", "price", "change", "volume"]
    assert fmp.ask("batch-quote-short?symbols=IBM")[0]["price"] == rows[0]["price"]


def test_a_whole_exchange(fmp):
    short, long = (fmp.ask(f"batch-exchange-quote?exchange=NYSE{more}") for more in ("", "&short=false"))
    assert (len(short), len(short[0]), len(long[0])) == (501, 4, 17)
    assert fmp.ask("batch-exchange-quote?exchange=NOWHERE") == []
    with pytest.raises(HTTPError, match="400") as caught:
        fmp.ask("batch-exchange-quote?short=false")
    assert caught.value.read() == b"Query Error: Invalid or missing query parameter - exchange"


def test_a_day_goes_by(fmp):
    fmp.set(now="2012-03-01T14:00:00Z")
    before = fmp.ask("quote?symbol=AAPL")[0]
    assert before["timestamp"] == 1330549200, "yesterday's close, 2012-02-29 21:00 UTC"
    assert chart(fmp, "1min", first="2012-02-28")[0]["date"] == "2012-02-29 15:59:00"
    assert eod(fmp, "full", first="2012-02-28", last="2012-03-05")[0]["date"] == "2012-02-29"
    fmp.change(now="2012-03-01T16:00:30Z")
    first = fmp.ask("quote?symbol=AAPL")[0]
    fmp.change(now="2012-03-01T16:00:50Z")
    second = fmp.ask("quote?symbol=AAPL")[0]
    assert second["timestamp"] - first["timestamp"] == 20
    assert second["volume"] > first["volume"] > 0
    assert first["previousClose"] == before["price"]
    rows = chart(fmp, "1min", first="2012-02-28")
    assert rows[0]["date"] == "2012-03-01 11:00:00", "the bar in progress is there"
    assert eod(fmp, "full", first="2012-02-28", last="2012-03-05")[0]["date"] == "2012-03-01", "and so is the day's"
    fmp.change(now="2012-03-02T03:00:00Z")
    last = fmp.ask("quote?symbol=AAPL")[0]
    assert (last["price"], last["timestamp"]) == (eod(fmp, "full", last="2012-03-01", first="2012-03-01")[0]["close"],
                                                  1330635600)  # fmt: skip


def test_a_bar_that_has_just_ended_changes_for_a_while(fmp):
    def bar(now):
        fmp.set(now=now)
        rows = chart(fmp, "5min", first="2012-02-28")
        return next(row for row in rows if row["date"] == "2012-03-01 10:00:00")

    early, same, late = (bar(f"2012-03-01T15:{clock}Z") for clock in ("05:00", "08:19", "08:20"))
    fmp.set()
    final = next(row for row in chart(fmp, "5min", first="2012-02-28") if row["date"] == "2012-03-01 10:00:00")
    assert early == same != late == final
    assert (early["open"], early["volume"] < final["volume"]) == (final["open"], True)

    def day(now):
        fmp.set(now=now)
        return eod(fmp, "non-split-adjusted", first="2012-03-01", last="2012-03-01")[0]

    assert day("2012-03-01T21:29:00Z") != day("2012-03-01T21:30:00Z") == day("2013-03-01T00:00:00Z")


def test_the_clock_may_run(fmp):
    fmp.set(now=OPEN, speed=600.0)
    first = fmp.ask("quote?symbol=IBM")[0]["timestamp"]
    time.sleep(0.3)
    assert fmp.ask("quote?symbol=IBM")[0]["timestamp"] - first >= 180


def test_pairs_rest_at_the_weekend_and_crypto_never(fmp):
    rows = chart(fmp, "1hour", "EURUSD", "2012-11-02", "2012-11-05")
    clocks = [row["date"] for row in rows][::-1]
    assert clocks[clocks.index("2012-11-02 16:00:00") + 1] == "2012-11-04 17:00:00"
    rows = chart(fmp, "30min", "BTCUSD", "2012-11-03", "2012-11-04")
    clocks = [row["date"][11:16] for row in rows][::-1][48:56]
    assert clocks == ["00:00", "00:30", "01:00", "01:30", "01:00", "01:30", "02:00", "02:30"], "the ambiguous hour"
    assert not float(rows[0]["volume"]).is_integer()
    days = [row["date"] for row in eod(fmp, "full", "EURUSD", "2012-11-01", "2012-11-06")]
    assert days == ["2012-11-06", "2012-11-05", "2012-11-02", "2012-11-01"]


def test_the_day_of_a_pair_is_that_of_its_minutes(fmp):
    day = eod(fmp, "full", "EURUSD", "2012-11-06", "2012-11-06")[0]
    rows = chart(fmp, "1min", "EURUSD", "2012-11-04", "2012-11-06")
    part = [row for row in rows if "2012-11-05 17:00:00" <= row["date"] < "2012-11-06 17:00:00"]
    assert (len(part), part[-1]["open"], part[0]["close"]) == (1440, day["open"], day["close"])
    assert max(row["high"] for row in part) == day["high"]
    assert sum(row["volume"] for row in part) == day["volume"]


def test_odd_types_say_the_same(fmp):
    plain = eod(fmp, "non-split-adjusted", "IBM", "2005-01-01", "2005-12-31")
    fmp.set(odd=True)
    odd = eod(fmp, "non-split-adjusted", "IBM", "2005-01-01", "2005-12-31")
    known = {row["date"]: row for row in plain}
    assert len(odd) > len(plain), "some rows come twice"
    assert any(row["adjOpen"] is None for row in odd)
    assert any(isinstance(row["volume"], float) for row in odd)
    assert all(row["volume"] == known[row["date"]]["volume"] for row in odd)
    assert all(row["adjClose"] in (None, known[row["date"]]["adjClose"]) for row in odd)


def test_a_day_can_be_corrected_later(fmp):
    ask = {"first": "2012-01-04", "last": "2012-01-05"}
    before, minutes = eod(fmp, "non-split-adjusted", **ask), chart(fmp, "1hour", **ask)
    fmp.set(changed={"AAPL": {"2012-01-05": 1.01}})
    after, later = eod(fmp, "non-split-adjusted", **ask), chart(fmp, "1hour", **ask)
    assert after[0]["adjClose"] == pytest.approx(before[0]["adjClose"] * 1.01, abs=1e-4)
    assert (after[1], later[-1]) == (before[1], minutes[-1])
    assert later[0]["close"] == pytest.approx(minutes[0]["close"] * 1.01, abs=1e-4)


def test_a_thousand_symbols_differ(fmp):
    rows = fmp.ask("batch-quote?symbols=" + ",".join(f"S{number:03}" for number in range(1000)))
    assert len({row["price"] for row in rows}) > 990
    assert len(eod(fmp, "full", "S999", "2003-01-01", "2012-12-31")) > 2500


def test_it_can_be_ended_and_begun_again_at_the_same_address(fmp):
    with StandIn() as own:
        address = own.url
        own.kill()
        own.start()
        assert own.url == address
        assert own.ask("profile?symbol=TTE.PA")[0]["currency"] == "EUR"


def test_lists(fmp):
    assert fmp.ask("forex-list")[0] == {
        "symbol": "EURUSD", "fromCurrency": "EUR", "toCurrency": "USD", "fromName": "EUR", "toName": "USD"
    }  # fmt: skip
    assert fmp.ask("search-symbol?query=tte")[0]["currency"] == "EUR"
    assert len(fmp.ask("stock-list")) == 1006
    assert [row["exchange"] for row in fmp.ask("available-exchanges")] == ["NASDAQ", "NYSE", "PAR"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("historical-price-eod?symbol=IBM", 404), ("historical-chart/2hour?symbol=IBM", 404), ("quote/IBM", 404),
     ("quote", 400), ("batch-quote", 400), ("profile?symbol=", 400)],
)  # fmt: skip
def test_wrong_addresses(fmp, path, status):
    with pytest.raises(HTTPError, match=str(status)):
        fmp.ask(path)
