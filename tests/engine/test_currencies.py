"""Currencies in the simulator: against an independent one, against the identity, and computed by hand."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.fx import Conversion, Pair, Quotes, Series
from framework.engine.account import Terms
from framework.engine.lookahead import check_lookahead
from framework.model.money import converted, notional_decimal
from framework.model.panel import forward_fill
from framework.model.rates import Rates
from framework.model.timeline import Timeline
from framework.trading.costs import CommissionModel, Costs
from framework.trading.trim import trim
from tests.engine.cases import Case, Constant, Fraction, Given, GivenOnBar, cases, panel, timeline
from tests.engine.currency_reference import run as reference
from tests.engine.test_simulator import check_identity, decimals, same


@st.composite
def rates_for(draw, case):
    """Rates of every size that change at open and close, stand still, and begin late; 1 for some tickers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bars, tickers = case.panel.close.shape
    # Billionths of shares that are worth next to nothing are too many for a float.
    scale = draw(st.sampled_from([0.0066, 0.9, 1.4, 130.0] if case.terms.lots_per_share == 1.0 else [0.9, 1.4]))
    walk = scale * np.exp(np.cumsum(rng.normal(0, 0.01, (2 * bars, tickers)), axis=0))
    walk = 1.0 / walk if draw(st.booleans()) else np.round(walk, 5)
    walk[rng.random(walk.shape) < draw(st.sampled_from([0.0, 0.5]))] = np.nan
    for column in range(tickers):
        walk[: rng.integers(0, bars) if rng.random() < 0.3 else 0, column] = np.nan
    walk = forward_fill(walk)
    walk[:, rng.random(tickers) < 0.3] = 1.0
    return Rates(walk[0::2].copy(), walk[1::2].copy())


@st.composite
def converting_cases(draw, sessions=(1,), negative=False):
    """A random market, and the rates of its tickers."""
    case = draw(cases(sessions=sessions, negative=negative))
    return case, draw(rates_for(case))


@given(converting_cases())
@settings(max_examples=200, deadline=None)
def test_same_trades_and_equity_as_the_reference(found):
    case, rates = found
    costs = case.terms.costs
    result = case.run(rates=rates)
    trades, equity, cash, refused = reference(
        *map(decimals, (case.panel.open, case.panel.close, rates.at_open, rates.at_close, case.weights)),
        Decimal(case.terms.opening_cash),
        Decimal(1) if case.terms.lots_per_share == 1.0 else Decimal("1e-9"),
        Decimal(repr(case.terms.cash_buffer)),
        Decimal(repr(costs.commission.rate)) if costs.commission else Decimal(0),
        Decimal(repr(costs.slippage.bps)) if costs.slippage else Decimal(0),
    )
    mine = result.trades
    if case.terms.lots_per_share == 1.0:
        cells = zip(
            mine.filled.tolist(), mine.ticker.tolist(), mine.quantity.tolist(), mine.price.tolist(), strict=True
        )
        assert list(cells) == [(bar, ticker, float(shares), float(price)) for bar, ticker, shares, price, *_ in trades]
        assert [Decimal(repr(rate)) for rate in mine.fx_rate.tolist()] == [trade[4] for trade in trades]
        assert mine.notional.tolist() == pytest.approx([float(abs(trade[5])) for trade in trades], rel=1e-15)
    slack = 1e-6 * (1 + len(mine))
    assert result.equity.tolist() == pytest.approx([float(value) for value in equity], rel=1e-9, abs=slack)
    assert result.cash.tolist() == pytest.approx([float(value) for value in cash], rel=1e-6, abs=slack)
    assert [(o.bar, o.ticker) for o in result.unfilled if o.reason == "no fx rate"] == refused


@given(converting_cases(sessions=(1, 4), negative=True))
@settings(max_examples=150, deadline=None)
def test_identity_at_every_bar(found):
    """equity = opening cash + Σ signed trade cash + Σ position × last close × rate, and notional = local × rate."""
    case, rates = found
    result = case.run(rates=rates)
    check_identity(case, result, np.nan_to_num(rates.at_close))
    trades = result.trades
    assert not np.isnan(trades.fx_rate).any()
    np.testing.assert_array_equal(trades.fx_rate, rates.at_open[trades.filled, trades.ticker])
    for local, rate, notional in zip(trades.notional_local, trades.fx_rate, trades.notional, strict=True):
        exact = notional_decimal(Decimal(repr(float(local))), Decimal(repr(float(rate))))
        assert notional == pytest.approx(float(exact), rel=1e-15)


@given(converting_cases(sessions=(1, 4), negative=True))
@settings(max_examples=100, deadline=None)
def test_both_styles_decide_and_book_the_same(found):
    case, rates = found
    same(case.run(rates=rates), case.run(GivenOnBar(case.weights), rates=rates))


@given(cases(sessions=(1, 4), negative=True))
@settings(max_examples=100, deadline=None)
def test_rates_of_one_change_nothing(case):
    ones = np.ones(case.panel.close.shape)
    converting = case.run(rates=Rates(ones, ones.copy()), currencies=("USD",) * ones.shape[1])
    same(case.run(), converting)
    np.testing.assert_array_equal(converting.trades.notional_local, converting.trades.notional)


@given(st.integers(-(2**52), 2**52), st.floats(1e-7, 1e7))
def test_converted_as_the_books_do(micros, rate):
    wanted = (Decimal(micros) * Decimal(repr(rate))).quantize(Decimal(1))
    assert converted(float(micros), rate) == float(wanted)


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(10**4, 10**9), st.floats(1e-3, 1e3)), min_size=1, max_size=6),
    st.integers(0, 10**12),
)
def test_what_is_kept_of_trimmed_buys_fits(buys, free):
    lots, prices, rates = ([float(each[n]) for each in buys] for n in range(3))

    def fee(count, price, rate):
        return float(round(converted(round(count * price), rate) * 0.001))

    kept = trim(float(free), lots, prices, fee, 1.0, rates)
    cost = sum(
        converted(round(count * price), rate) + fee(count, price, rate)
        for count, price, rate in zip(kept, prices, rates, strict=True)
        if count
    )
    assert cost <= free
    assert all(0 <= count <= wanted for count, wanted in zip(kept, lots, strict=True))


# --- by hand ---------------------------------------------------------------------------------------------------------


def by_hand(costs=None, weights=((0.5, 0.25),), cash=10_000.0, lots=1.0):
    """Two bars: ACME at 10 USD, SAP at 20 EUR; dollars 0.8 then 0.75 EUR."""
    clock = timeline(3)
    prices = np.array([[10.0, 20.0]] * 3)
    asked = np.full((3, 2), np.nan)
    asked[: len(weights)] = weights
    dollars = np.array([[0.8, 1.0], [0.75, 1.0], [0.7, 1.0]])
    case = Case(panel(prices, prices, clock), clock, asked, Terms(cash, lots, 0.0, costs or Costs()))
    return case, Rates(dollars, dollars.copy())


def test_sized_at_the_close_converted_at_the_fill_valued_at_the_rate_of_each_close():
    case, rates = by_hand()
    result = case.run(rates=rates, currency="EUR", currencies=("USD", "EUR"))
    assert result.trades.quantity.tolist() == [625.0, 125.0]  # 5000 / (10 × 0.8), 2500 / 20
    assert result.trades.notional_local.tolist() == [6250.0, 2500.0]
    assert result.trades.fx_rate.tolist() == [0.75, 1.0]
    assert result.trades.notional.tolist() == [4687.5, 2500.0]
    assert result.cash.tolist() == [10_000.0, 2812.5, 2812.5]
    assert result.equity.tolist() == [10_000.0, 10_000.0, 2812.5 + 4375.0 + 2500.0]
    assert (result.currency, result.currencies) == ("EUR", ("USD", "EUR"))


class OnPrice(CommissionModel):
    """Takes apart what it is given."""

    def fees(self, quantity, price, notional):
        return quantity * 0.001 + price + notional * 0.01


def test_fees_are_of_the_portfolios_currency():
    case, rates = by_hand(Costs(OnPrice(), Constant(bps=100.0)))
    result = case.run(rates=rates)
    assert result.trades.price.tolist() == [10.1, 20.2]
    assert result.trades.fees.tolist() == [0.625 + 7.575 + 47.34375, 0.125 + 20.2 + 25.25]


def test_buys_are_trimmed_in_the_portfolios_currency():
    case, rates = by_hand(Costs(Fraction(rate=0.01)), weights=((1.0, 1.0),))
    result = case.run(rates=rates)
    spent = result.trades.notional.sum() + result.trades.fees.sum()
    assert 10_000.0 - 20.0 < spent <= 10_000.0
    assert result.trimmed_notional == pytest.approx(
        (1250 - result.trades.quantity[0]) * 7.5 + (500 - result.trades.quantity[1]) * 20
    )


def test_a_strategy_reads_what_a_share_is_worth_to_it_and_cannot_write_it():
    seen = []

    class Reads(GivenOnBar):
        def on_bar(self, ctx):
            super().on_bar(ctx)
            seen.append((ctx.share_values.tolist(), ctx.close.tolist(), ctx.weights.round(4).tolist()))
            with pytest.raises(ValueError, match="read-only"):
                ctx.share_values[0] = 1.0

    case, rates = by_hand()
    case.run(Reads(case.weights), rates=rates)
    assert seen[1] == ([7.5, 20.0], [10.0, 20.0], [0.4688, 0.25])


def test_orders_of_every_kind_wait_for_a_rate():
    class Asks(Given):
        def weights(self, panel):
            raise NotImplementedError

        def on_bar(self, ctx):
            ctx.order("T00", 5)
            ctx.order_target("T00", 7, limit=11.0)
            ctx.target_weights({"T00": 0.1})
            ctx.exit("T00")

    class OnBar(GivenOnBar):
        on_bar = Asks.on_bar

    case, rates = by_hand()
    late = rates.at_close.copy()
    late[:2, 0] = np.nan
    result = case.run(OnBar(None), rates=Rates(late.copy(), late))
    assert [order.reason for order in result.unfilled if order.bar < 2] == ["no fx rate"] * 6
    assert len(result.trades) == 0


def test_a_lookahead_check_knows_rates():
    case, rates = by_hand()
    assert check_lookahead(case.job(rates=rates), lambda: GivenOnBar(case.weights)).moments > 0


# --- rates at a moment -----------------------------------------------------------------------------------------------

CONVERSION = Conversion(
    "p",
    "EUR",
    {"ACME": "USD", "SAP": "EUR", "NESN": "CHF"},
    {"USD": Pair("EURUSD", True), "CHF": Pair("CHFEUR", False)},
)


def stamps(*texts):
    return np.array(texts, dtype="datetime64[us]")


def series(pair, times, closes):
    times = stamps(*times)
    days = times.astype("datetime64[D]")
    return Series.of(pair, Timeline(times, times, times, days, days), np.array(closes))


def quotes():
    dollars = series(
        CONVERSION.pairs["USD"],
        ["2024-01-02T22", "2024-01-03T22", "2024-01-04T22", "2024-01-05T22", "2024-01-15T22"],
        [1.25, np.nan, 1.6, 0.0, 2.0],
    )
    return Quotes(CONVERSION, {"USD": dollars, "CHF": series(CONVERSION.pairs["CHF"], ["2024-01-03T22"], [1.0625])})


def test_the_rate_is_the_newest_that_was_known():
    moments = stamps("2024-01-02T21", "2024-01-02T22", "2024-01-04T21:59:59", "2024-01-04T22", "2024-02-01T00")
    found = quotes().at(["SAP", "ACME", "NESN"], moments)
    assert found[:, 0].tolist() == [1.0] * 5
    assert np.isnan(found[0, 1])
    assert found[1:, 1].tolist() == [0.8, 0.8, 0.625, 0.5]
    assert np.isnan(found[:2, 2]).all()
    assert found[2:, 2].tolist() == [1.0625] * 3


def test_the_books_get_currency_and_rate():
    at = datetime(2024, 1, 4, 23, tzinfo=UTC)
    assert quotes().of("ACME", at) == ("USD", Decimal("0.625"))
    assert quotes().of("SAP", at) == ("EUR", None)
    assert quotes().of("NESN", datetime(2024, 1, 1, tzinfo=UTC)) == ("CHF", None)


def test_late_and_missing_rates_are_told_of():
    moments = stamps("2024-01-03T21", "2024-01-04T23", "2024-01-12T21", "2024-01-16T21")
    days = moments.astype("datetime64[D]")
    told = quotes().notes(Timeline(moments, moments, moments, days, days), 0)
    assert told == [
        "EURUSD: at 1 bars the newest rate was older than 5 days, up to 7",
        "CHFEUR has no rate up to 2024-01-03: what is in CHF could not be traded before",
        "CHFEUR: at 2 bars the newest rate was older than 5 days, up to 12",
    ]
