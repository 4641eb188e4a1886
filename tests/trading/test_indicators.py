"""Indicators against pandas, on gaps, and for what makes live equal backtest: they depend on their own window only."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.trading import indicators, rolling

ALL = {
    "sma": lambda p: indicators.sma(p["close"], 7),
    "ema": lambda p: indicators.ema(p["close"], 5),
    "dma": lambda p: indicators.dma(p["close"], 5, 3),
    "roc": lambda p: indicators.roc(p["close"], 4),
    "std": lambda p: indicators.std(p["close"], 6),
    "zscore": lambda p: indicators.zscore(p["close"], 6),
    "highest": lambda p: indicators.highest(p["high"], 7),
    "lowest": lambda p: indicators.lowest(p["low"], 7),
    "rsi": lambda p: indicators.rsi(p["close"], 3),
    "rmi": lambda p: indicators.rmi(p["close"], 3, 2),
    "atr": lambda p: indicators.atr(p["close"], p["high"], p["low"], 3),
    "vwap": lambda p: indicators.vwap(p["close"], p["high"], p["low"], p["volume"], 5),
}
#: Bars after which each of them has forgotten where the panel began, to the last bit.
MEMORY = {"ema": 256, "rsi": 256, "rmi": 256, "atr": 256}


def bars(seed, count=60, tickers=3):
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (count, tickers)), axis=0))
    high, low = close * (1 + rng.random(close.shape) / 50), close * (1 - rng.random(close.shape) / 50)
    return {"close": close, "high": high, "low": low, "volume": rng.integers(0, 4, close.shape) * 100.0}


def frame(values):
    return pd.DataFrame(values)


@pytest.mark.parametrize("period", [1, 2, 3, 7, 20, 50])
def test_windows_agree_with_pandas(period):
    close = bars(1, 90)["close"]
    window = frame(close).rolling(period)
    np.testing.assert_allclose(indicators.sma(close, period), window.mean(), rtol=1e-13)
    np.testing.assert_array_equal(indicators.highest(close, period), window.max())
    np.testing.assert_array_equal(indicators.lowest(close, period), window.min())
    np.testing.assert_array_equal(indicators.roc(close, period), close / frame(close).shift(period) - 1)
    if period > 1:
        np.testing.assert_allclose(indicators.std(close, period), window.std(), rtol=1e-9)
        np.testing.assert_allclose(
            indicators.zscore(close, period), (close - window.mean()) / window.std(), rtol=1e-6, atol=1e-9
        )


def test_ema_agrees_with_pandas():
    close = bars(2, 400)["close"]
    expected = frame(close).ewm(span=12, adjust=False).mean()
    np.testing.assert_allclose(indicators.ema(close, 12), expected, rtol=1e-13)


def test_displaced_average_is_the_average_of_earlier():
    close = bars(3)["close"]
    np.testing.assert_array_equal(indicators.dma(close, 5, 4)[4:], indicators.sma(close, 5)[:-4])


def wilder(values, period):
    """Wilder's smoothing, one value at a time: the mean of the first ``period``, then 1/period of what is new."""
    out, mean = [np.nan] * len(values), None
    for row in range(period - 1, len(values)):
        mean = np.mean(values[:period]) if mean is None else mean + (values[row] - mean) / period
        out[row] = mean
    return np.array(out)


def test_rsi_and_rmi_agree_with_a_plain_loop():
    close = bars(4, 120, 1)["close"]
    for period, momentum in ((14, 1), (5, 4)):
        change = close[momentum:, 0] - close[:-momentum, 0]
        gain, loss = wilder(np.maximum(change, 0), period), wilder(np.maximum(-change, 0), period)
        expected = 100 * gain / (gain + loss)
        found = indicators.rmi(close, period, momentum)[momentum:, 0]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_array_equal(indicators.rsi(close, 14), indicators.rmi(close, 14, 1))


def test_rsi_of_what_only_rises_falls_or_rests():
    line = np.arange(1.0, 41.0)[:, None]
    assert indicators.rsi(line, 5)[-1, 0] == 100.0
    assert indicators.rsi(line[::-1].copy(), 5)[-1, 0] == 0.0
    assert indicators.rsi(np.full((40, 1), 7.0), 5)[-1, 0] == 50.0


def test_atr_agrees_with_a_plain_loop():
    p = bars(5, 80, 1)
    close, high, low = (p[name][:, 0] for name in ("close", "high", "low"))
    true_range = np.maximum(high[1:], close[:-1]) - np.minimum(low[1:], close[:-1])
    expected = np.concatenate([[np.nan], wilder(true_range, 9)])
    np.testing.assert_allclose(indicators.atr(p["close"], p["high"], p["low"], 9)[:, 0], expected, rtol=1e-12)


def test_vwap_weighs_by_volume_and_is_nan_where_nothing_traded():
    p = bars(6, 30, 1)
    p["volume"][10:20] = 0.0
    found = indicators.vwap(p["close"], p["high"], p["low"], p["volume"], 4)[:, 0]
    typical = (p["high"] + p["low"] + p["close"])[:, 0] / 3
    assert np.isnan(found[13:20]).all()
    expected = np.average(typical[24:28], weights=p["volume"][24:28, 0]) if p["volume"][24:28].any() else np.nan
    assert found[27] == pytest.approx(expected, nan_ok=True)


def test_zscore_of_equal_values_is_nan():
    assert np.isnan(indicators.zscore(np.full((10, 1), 3.0), 4)).all()


def test_shift_into_the_future_is_refused():
    with pytest.raises(ValueError, match="future"):
        indicators.shift(np.ones((3, 1)), -1)


@pytest.mark.parametrize("name", sorted(ALL))
@given(seed=st.integers(0, 10_000), cut=st.integers(1, 59))
@settings(max_examples=20, deadline=None)
def test_no_indicator_looks_ahead(name, seed, cut):
    whole = bars(seed)
    part = {field: values[:cut] for field, values in whole.items()}
    np.testing.assert_array_equal(ALL[name](part), ALL[name](whole)[:cut])


@pytest.mark.parametrize("name", sorted(ALL))
@given(seed=st.integers(0, 10_000), start=st.integers(0, 40))
@settings(max_examples=20, deadline=None)
def test_a_shorter_history_gives_the_same_bits(name, seed, start):
    memory = MEMORY.get(name, 12)
    whole = bars(seed, 40 + memory + 30)
    part = {field: values[start:] for field, values in whole.items()}
    np.testing.assert_array_equal(ALL[name](part)[memory:], ALL[name](whole)[start + memory :])


@pytest.mark.parametrize("name", sorted(ALL))
@given(seed=st.integers(0, 10_000), listed=st.integers(0, 50), gone=st.floats(0, 0.7))
@settings(max_examples=20, deadline=None)
def test_a_ticker_with_holes_is_computed_on_the_bars_it_has(name, seed, listed, gone):
    p = bars(seed)
    missing = np.random.default_rng(seed).random(60) < gone
    missing[:listed] = True
    own = {field: values[~missing, :1] for field, values in p.items()}
    for values in p.values():
        values[missing, 0] = np.nan
    whole = ALL[name](p)
    np.testing.assert_array_equal(whole[~missing, 0], ALL[name](own)[:, 0])
    # Across a hole stands the value of the last bar, a number or not.
    last = np.nan
    for row in range(60):
        last = last if missing[row] else whole[row, 0]
        np.testing.assert_equal(whole[row, 0], last)


@pytest.mark.parametrize("name", sorted(ALL))
def test_an_empty_panel_gives_an_empty_indicator(name):
    assert ALL[name](bars(1, 0)).shape == (0, 3)


def test_recursive_memory_is_where_the_seed_weighs_nothing():
    bars_needed = rolling.recursive_memory(0.1, 1)
    assert 0.9**bars_needed <= rolling.SEED_WEIGHT < 0.9 ** (bars_needed - 3)
    assert rolling.recursive_memory(1.0, 1) == 1


def test_constant_prices_cross_nothing():
    close = np.full((300, 1), 0.1)
    fast, slow = indicators.sma(close, 20), indicators.sma(close, 50)
    up = fast[60:] > slow[60:]
    assert up.all() or not up.any()
