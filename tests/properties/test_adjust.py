"""Adjusting on random panels and actions."""

from datetime import date, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from framework.data.adjust import adjust, factors
from framework.model.bars import CorporateAction
from framework.model.panel import FIELDS, Panel

START = date(2020, 1, 1)
BARS = 12

closes = st.lists(st.one_of(st.none(), st.floats(0.5, 500)), min_size=BARS, max_size=BARS)
actions = st.lists(
    st.builds(
        CorporateAction,
        st.sampled_from(["A", "B"]),
        st.integers(-2, BARS + 2).map(lambda days: START + timedelta(days=days)),
        st.sampled_from(["split", "dividend"]),
        st.decimals("0.01", "20", places=2),
    ),
    max_size=6,
    unique_by=lambda action: (action.ticker, action.ex_date, action.kind),
)


def panel(*columns):
    close = np.array(columns, dtype=float).T
    stamps = (np.datetime64(START, "D") + np.arange(len(close))).astype("datetime64[us]")
    return Panel(("A", "B"), stamps, **{name: close.copy() for name in FIELDS})


def one_bar_at_a_time(close, dates, own):
    """The rule, word by word: each bar scaled by all actions after it whose first bar the panel has."""
    out = []
    for row, day in enumerate(dates):
        price = 1.0
        for action in own:
            later = [at for at in range(len(dates)) if dates[at] >= action.ex_date and not np.isnan(close[at])]
            if not later or action.ex_date <= day or row >= later[0]:
                continue
            value = float(action.value)
            price *= 1 / value if action.kind == "split" else close[later[0]] / (close[later[0]] + value)
        out.append(price)
    return np.array(out)


@given(closes, actions)
def test_the_vectorised_factors_are_those_of_the_rule(values, found):
    close = np.array(values, dtype=float)
    dates = [START + timedelta(days=row) for row in range(BARS)]
    own = [action for action in found if action.ticker == "A"]
    got, shares = factors(own, np.array(dates, dtype="datetime64[D]"), close)
    there = ~np.isnan(close)
    np.testing.assert_allclose(got[there], one_bar_at_a_time(close, dates, own)[there], rtol=1e-12)
    splits = [action for action in own if action.kind == "split"]
    only_splits, _ = factors(splits, np.array(dates, dtype="datetime64[D]"), close)
    np.testing.assert_allclose(only_splits * shares, 1.0, rtol=1e-12)


@given(closes, closes, actions)
def test_the_last_bar_stays_as_traded_and_gaps_stay_gaps(first, second, found):
    before = panel(first, second)
    after = adjust(before, found, "all")
    for name in FIELDS:
        old, new = getattr(before, name), getattr(after, name)
        assert (np.isnan(old) == np.isnan(new)).all()
        for column in range(2):
            bars = np.flatnonzero(~np.isnan(old[:, column]))
            if len(bars):
                assert new[bars[-1], column] == old[bars[-1], column]


@given(closes, closes, actions, st.integers(1, BARS))
def test_cutting_off_the_future_changes_no_ratio_of_prices(first, second, found, rows):
    """What a strategy can learn from an adjusted panel up to a bar is the same whatever comes later."""
    before = panel(first, second)
    whole, cut = adjust(before, found, "all"), adjust(before.rows(0, rows), found, "all")
    for column in range(2):
        seen = np.flatnonzero(~np.isnan(before.close[:rows, column]))
        if len(seen):
            ours, theirs = whole.close[seen, column], cut.close[seen, column]
            np.testing.assert_allclose(ours / ours[-1], theirs / theirs[-1], rtol=1e-12)
