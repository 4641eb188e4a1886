"""What --param means, and which combinations are tried."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as some

from framework.config.load import ConfigText
from framework.errors import UsageError
from framework.model.sweep import Axis
from framework.sweep.axes import axes_of, axis_of, combinations, overrides_of


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.b=5,10,20", (5, 10, 20)),
        ("a.b=5:50:15", (5, 20, 35, 50)),
        ("a.b=5:49:15", (5, 20, 35)),
        ("a.b=50:5:-15", (50, 35, 20, 5)),
        ("a.b=5:5:1", (5,)),
        ("a.b=0.1:0.5:0.1", (0.1, 0.2, 0.3, 0.4, 0.5)),
        ("a.b=1:2:0.5", (1.0, 1.5, 2.0)),
        ("a.b=1e-3:3e-3:1e-3", (0.001, 0.002, 0.003)),
        ("a.b=daily, weekly", ("daily", "weekly")),
        ("a.b=true,false", (True, False)),
        ("a.b=null,1", (None, 1)),
        ('a.b="30 15 * * 1,5",daily', ("30 15 * * 1,5", "daily")),
        ("a.b='5','0700',0700x", ("5", "0700", "0700x")),
        (" a.b =1", (1,)),
    ],
)
def test_values_are_listed_or_stepped(text: str, values: tuple[object, ...]) -> None:
    found = axis_of(text)
    assert found == Axis("a.b", values)  # type: ignore[arg-type]
    assert [type(value) for value in found.values] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a.b"], "--param was 'a.b'; write KEY=5,10,20"),
        (["=5"], "write KEY="),
        (["a.b="], "write KEY="),
        (["a.b=5:50:0"], "a step of 0 does not lead from 5 to 50"),
        (["a.b=5:50:-5"], "a step of -5 does not lead from 5 to 50"),
        (["a.b=1:100000:1"], "these are 100,000 values; allowed: 10,000"),
        (["a.b=1,2,1"], "a.b: 1 is there twice"),
        (["a.b=1,1.0"], "is there twice"),
        (["a.b=[1,2],3"], "is not a list of plain values"),
        (["a.b={x: 1}"], "is not a list of plain values"),
        (["a.b=1,'"], "is not valid YAML"),
        (["a.b=${HOME}"], "HOME"),
        ([], "a sweep needs at least one --param"),
        (["a.b=1", "a.b=2"], "a.b is there twice"),
    ],
)
def test_what_is_no_axis_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        axes_of(texts)
    assert said in str(caught.value)


@given(some.integers(-50, 50), some.integers(1, 20), some.integers(1, 40), some.sampled_from([1, 10, 100]))
def test_a_range_is_what_its_decimals_say(low: int, step: int, count: int, scale: int) -> None:
    digits = int(math.log10(scale))
    first, by, last = (f"{value / scale:.{digits}f}" for value in (low, step, low + step * (count - 1)))
    found = axis_of(f"k={first}:{last}:{by}").values
    assert [Fraction(str(value)) for value in found] == [
        Fraction(low + step * number, scale) for number in range(count)
    ]


AXES = (Axis("a", (1, 2, 3)), Axis("b", ("x", "y")), Axis("c", (None, 0.5)))


def test_a_grid_has_all_and_the_last_varies_fastest() -> None:
    found = combinations(AXES, None, 0)
    assert found.values == tuple(itertools.product((1, 2, 3), ("x", "y"), (None, 0.5)))
    assert found.method == "grid of 12"
    assert combinations(AXES, 12, 5) == combinations(AXES, 100, 1) == found


@given(some.integers(1, 11), some.integers(0, 1000))
def test_a_draw_is_of_the_grid_without_repeating(count: int, seed: int) -> None:
    found = combinations(AXES, count, seed)
    every = combinations(AXES, None, 0).values
    assert len(set(found.values)) == len(found.values) == count
    assert [each for each in every if each in found.values] == list(found.values)
    assert combinations(AXES, count, seed) == found
    assert found.method == f"{count} drawn at random of 12 (seed {seed})"


def test_other_seeds_draw_others_and_all_are_drawn_some_time() -> None:
    drawn = {each for seed in range(40) for each in combinations(AXES, 2, seed).values}
    assert drawn == set(combinations(AXES, None, 0).values)


def test_a_grid_too_large_to_write_down_can_be_drawn_from() -> None:
    axes = [Axis(name, tuple(range(10_000))) for name in "abc"]
    with pytest.raises(UsageError, match="1,000,000,000,000 trials"):
        combinations(axes, None, 0)
    assert len(combinations(axes, 5, 0).values) == 5
    with pytest.raises(UsageError, match="--random was 0"):
        combinations(axes, 0, 0)


@given(
    some.one_of(some.none(), some.booleans(), some.integers(-(10**30), 10**30),
                some.floats(allow_nan=False, allow_infinity=False),
                some.text(max_size=20).filter(lambda text: "${" not in text))
)  # fmt: skip
def test_a_value_arrives_in_the_config_as_it_is(value: object) -> None:
    axis = Axis("portfolios.0.strategy.params.x", (value,))  # type: ignore[arg-type]
    text = """\
name: n
mode: backtest
start: 2010-01-04
end: 2010-03-31
data_source: sample
portfolios: [{id: a, cash: 1, tickers: [A], strategy: {name: s, params: {x: 0}}}]
"""
    loaded = ConfigText("c.yaml", text=text, environment={}).loaded(overrides_of([axis], axis.values))
    found = loaded.config.portfolios[0].strategy.params["x"]
    assert found == value
    assert type(found) is type(value)
