"""Exchange rates from the database: the same for a backtest and, moment by moment, for a live portfolio."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from framework.plugins.data_sources.csv_files import CsvFiles

from framework.data.calendars import timeline
from framework.data.currencies import Currencies
from framework.data.fx import conversion_of, rates_on
from framework.data.source import DataSource
from framework.errors import ConfigError, DataError
from framework.model.rates import Rates
from tests.data.test_feed import Fake, naive, write

TICKERS = ("ACME", "SAP", "NESN")


class Offering(Fake):
    """A source of three currencies; has the FX tickers that a test says."""

    def __init__(self, *offered, settle=timedelta(0)):
        super().__init__(settle=settle)
        self._offered = offered

    def tickers(self):
        return (*TICKERS, *self._offered) if self._offered else None

    def currency(self, ticker):
        return {"SAP": "EUR", "NESN": "CHF"}.get(ticker, super().currency(ticker))


def bars_of(first, last, step, *, but=0.0, seed=1):
    """Times of bars from a moment to another, some missing."""
    times = np.arange(np.datetime64(first, "us"), np.datetime64(last, "us"), step)
    return times[np.random.default_rng(seed).random(len(times)) >= but]


def fill(pool, source, ticker, times, interval, seed):
    rng = np.random.default_rng(seed)
    prices = np.round(np.exp(np.cumsum(rng.normal(0, 0.01, len(times)))), 6)
    write(pool, source, [(ticker, time, price) for time, price in zip(times, prices.tolist(), strict=True)], interval)


def test_the_direct_pair_comes_first_and_the_inverse_else():
    found = conversion_of(Offering("EURUSD", "USDCHF", "CHFUSD", "EURCHF"), "p", "USD", TICKERS)
    assert found is not None
    assert found.currencies == {"ACME": "USD", "SAP": "EUR", "NESN": "CHF"}
    assert {currency: tuple(pair) for currency, pair in found.pairs.items()} == {
        "EUR": ("EURUSD", False),
        "CHF": ("CHFUSD", False),
    }
    inverse = conversion_of(Offering("EURUSD", "EURCHF"), "p", "EUR", TICKERS)
    assert inverse is not None
    assert inverse.fx_tickers == ("EURUSD", "EURCHF")
    assert all(pair.is_inverse for pair in inverse.pairs.values())


def test_a_source_that_lists_nothing_is_taken_to_have_the_direct_pair():
    found = conversion_of(Offering(), "p", "EUR", ["ACME"])
    assert found is not None
    assert found.fx_tickers == ("USDEUR",)


def test_one_currency_needs_nothing():
    assert conversion_of(Offering("EURUSD"), "p", "EUR", ["SAP"]) is None
    assert Fake().currency("SAP") == "USD"
    none = Currencies(Offering("EURUSD"), "1d")
    none.add("p", "USD", ["ACME"])
    assert (none.of("p"), none.live("p", 10), none.fx_tickers) == (None, None, ())


def test_a_missing_pair_names_all():
    with pytest.raises(ConfigError) as caught:
        conversion_of(Offering("EURUSD"), "p7", "GBP", TICKERS)
    for part in ("portfolio p7 is in GBP", "ticker ACME in USD", "USDGBP (GBP per USD)", "GBPUSD"):
        assert part in str(caught.value)


def test_a_source_must_say_a_currency():
    class Vague(Offering):
        def currency(self, ticker):
            return "euro"

    with pytest.raises(ConfigError, match="ACME is in 'euro'; a currency is three capital letters"):
        conversion_of(Vague("EURUSD"), "p", "USD", ["ACME"])


def test_a_series_without_a_bar_names_all(pool):
    source = Offering("EURUSD")
    clock = timeline("XNYS", "1d", bars_of("2024-01-02", "2024-01-06", np.timedelta64(1, "D")))
    found = conversion_of(source, "p7", "USD", ["SAP"])
    assert found is not None
    with pytest.raises(DataError, match=r"p7 in USD has tickers in EUR, but source fake.* no 1d bar of EURUSD"):
        rates_on(pool, source, found, "1d", ["SAP"], clock, 0)


@pytest.mark.parametrize("interval", ["1d", "5min"])
@pytest.mark.parametrize("settle", [timedelta(0), timedelta(minutes=7)])
def test_live_rates_are_those_of_the_backtest_at_every_moment(pool, interval, settle):
    source = Offering("EURUSD", "CHFUSD", settle=settle)
    step = np.timedelta64(1, "D") if interval == "1d" else np.timedelta64(5, "m")
    last = "2024-06-01" if interval == "1d" else "2024-01-10"
    fill(pool, source, "EURUSD", bars_of("2023-12-20", last, step, but=0.4), interval, 1)
    fill(pool, source, "CHFUSD", bars_of("2024-01-04", last, step, but=0.1, seed=2), interval, 2)
    times = bars_of("2024-01-02" if interval == "1d" else "2024-01-02T14:30", last, step)
    if interval == "5min":
        minutes = (times - times.astype("datetime64[D]")).astype("timedelta64[m]").astype(int)
        times = times[(minutes >= 14 * 60 + 30) & (minutes < 21 * 60)]
    days = times.astype("datetime64[D]")
    times = times[np.is_busday(days, holidays=["2024-01-15", "2024-02-19", "2024-03-29", "2024-05-27"])]
    clock = timeline("XNYS", interval, times, settle)
    currencies = Currencies(source, interval)
    currencies.add("p", "USD", TICKERS)
    conversion, live = currencies.of("p"), currencies.live("p", 5)
    assert conversion is not None
    assert live is not None
    wanted, notes = rates_on(pool, source, conversion, interval, TICKERS, clock, 0)
    assert any("CHFUSD has no rate up to 2024-01-0" in note for note in notes)
    assert (wanted.at_open[:, 0] == 1.0).all()
    for row in range(0, len(times), 1 if interval == "1d" else 7):
        now = clock.available[row].item().replace(tzinfo=UTC)
        with pool.transaction(read_only=True, isolation="repeatable read") as connection:
            found = live(connection, now).on(TICKERS, clock.rows(max(0, row - 3), row + 1))
        expected = wanted.rows(max(0, row - 3), row + 1)
        np.testing.assert_array_equal(found.at_open, expected.at_open)
        np.testing.assert_array_equal(found.at_close, expected.at_close)


def test_a_day_of_currencies_ends_at_17_in_new_york(pool):
    """The close of a New York session is before it, so the rate of the day before counts; one of the summer, too."""
    source = Offering("EURUSD")
    days = [naive(f"2024-{month}-{day}") for month in ("01", "07") for day in ("08", "09", "10")]
    write(pool, source, [("EURUSD", day, 0.8 * number) for number, day in enumerate(days, start=1)])  # closes: × 1.25
    clock = timeline("XNYS", "1d", np.array(days, dtype="datetime64[us]"))
    conversion = conversion_of(source, "p", "USD", ["SAP"])
    assert conversion is not None
    rates, _ = rates_on(pool, source, conversion, "1d", ["SAP"], clock, 0)
    assert rates.at_open[1:, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert rates.at_close[1:, 0].tolist() == rates.at_open[1:, 0].tolist()
    assert np.isnan(rates.at_open[0, 0])


def test_bars_on_a_weekend_are_dropped_and_told_of(pool):
    source = Offering("EURUSD")
    write(pool, source, [("EURUSD", naive(f"2024-01-0{day}"), day) for day in (4, 5, 6, 7)])
    clock = timeline("XNYS", "1d", np.array(["2024-01-08"], dtype="datetime64[us]"))
    conversion = conversion_of(source, "p", "USD", ["SAP"])
    assert conversion is not None
    rates, notes = rates_on(pool, source, conversion, "1d", ["SAP"], clock, 0)
    assert rates.at_open.tolist() == [[5 * 1.25]]
    assert notes == ["2 bars of EURUSD outside the sessions of currencies were dropped"]


def test_a_look_further_back_than_memory(pool, monkeypatch):
    source = Offering("EURUSD")
    step = np.timedelta64(5, "m")
    fill(pool, source, "EURUSD", bars_of("2024-01-02", "2024-02-10", step), "5min", 1)
    currencies = Currencies(source, "5min")
    currencies.add("p", "USD", ["SAP"])
    live, now = currencies.live("p", 1), datetime(2024, 2, 9, 15, tzinfo=UTC)
    assert live is not None
    old = datetime(2024, 1, 3, 15, tzinfo=UTC)
    with pool.transaction(read_only=True, isolation="repeatable read") as connection:
        near, far = live(connection, now), live(connection, now, old)
        before_all = live(connection, now, datetime(2023, 1, 1, tzinfo=UTC))
    assert (near.reaches(now), near.reaches(old), far.reaches(old)) == (True, False, True)
    assert near.of("SAP", old) == ("EUR", None)
    assert far.of("SAP", old)[1] is not None
    assert far.of("SAP", now) == near.of("SAP", now)
    assert before_all.of("SAP", datetime(2023, 1, 1, tzinfo=UTC)) == ("EUR", None)


def test_rates_are_loaded_from_some_days_before(pool):
    class Asked(Offering):
        def bars(self, tickers, interval, start, end):
            spans.append((tuple(tickers), start, end))
            return DataSource.bars(self, tickers, interval, start, end)

    spans: list[object] = []
    currencies = Currencies(Asked("EURUSD", "CHFUSD"), "1d")
    currencies.add("p", "USD", TICKERS)
    with pytest.raises(Exception, match="offers no bars"):
        currencies.ensure(pool, date(2024, 1, 15), date(2024, 2, 1))
    assert spans == [(("EURUSD", "CHFUSD"), date(2024, 1, 1), date(2024, 2, 1))]


# --- what files are in -----------------------------------------------------------------------------------------------


def files(folder, **params):
    for ticker in ("SAP", "ACME"):
        (folder / f"{ticker}.csv").write_text("timestamp,open,high,low,close,volume\n2020-01-02,1,2,1,2,5\n")
    made = CsvFiles(path=".", **params)
    made.bind(folder)
    return made


def test_files_say_their_currencies(tmp_path):
    made = files(tmp_path, currencies={"SAP": "EUR"})
    assert [made.currency(ticker) for ticker in ("SAP", "ACME")] == ["EUR", "USD"]
    assert files(tmp_path).currency("SAP") == "USD"


def test_a_currency_of_a_ticker_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"currencies: .* has no ticker 'SAB'; did you mean 'SAP'"):
        files(tmp_path, currencies={"SAB": "EUR"}).currency("ACME")


@pytest.mark.parametrize("wrong", ["eur", "EURO", "", "€"])
def test_a_currency_that_is_none(tmp_path, wrong):
    with pytest.raises(ConfigError, match=f"currency of SAP was '{wrong}'; three capital letters"):
        files(tmp_path, currencies={"SAP": wrong})


def test_rates_cannot_be_written():
    rates = Rates(np.ones((2, 1)), np.ones((2, 1)))
    with pytest.raises(ValueError, match="read-only"):
        rates.rows(0, 1).at_open[0] = 2.0


def test_the_decimal_of_a_rate_is_its_shortest(pool):
    source = Offering("EURUSD")
    write(pool, source, [("EURUSD", naive("2024-01-04"), 1.12)])
    currencies = Currencies(source, "1d")
    currencies.add("p", "EUR", ["ACME"])
    live = currencies.live("p", 1)
    assert live is not None
    with pool.transaction(read_only=True, isolation="repeatable read") as connection:
        found = live(connection, datetime(2024, 1, 5, tzinfo=UTC)).of("ACME", datetime(2024, 1, 5, tzinfo=UTC))
    assert found == ("USD", Decimal(repr(1 / 1.4)))
