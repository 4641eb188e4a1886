"""Parameters of plugins."""

from typing import Annotated, ClassVar

import pytest

from framework import ConfigError, Gt, Plugin, Strategy
from framework.errors import PluginError
from framework.trading.plugin import parameters
from framework.trading.strategy import style


class Base(Strategy):
    shared: float = 1.0
    limit: ClassVar[int] = 7
    _hidden: int = 3


class Cross(Base):
    kind = "strategy"
    fast: Annotated[int, Gt(0)] = 20
    name: str

    def check(self):
        if self.fast == 13:
            raise ConfigError("13 is unlucky")


def test_annotations_are_parameters_private_ones_and_class_variables_are_not():
    assert list(parameters(Cross)) == ["shared", "fast", "name"]
    made = Cross(name="x", fast=5)
    assert made.params() == {"shared": 1.0, "fast": 5, "name": "x"}
    assert repr(made) == "Cross(shared=1.0, fast=5, name='x')"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "x", "fats": 3}, r"strategy Cross has no parameter 'fats' \(it has: .*\); did you mean 'fast'\?"),
        ({}, "needs the parameter 'name', which has no default"),
        ({"name": "x", "fast": 0}, "parameter 'fast' was 0: .* greater than 0"),
        ({"name": "x", "fast": "many"}, "parameter 'fast' was 'many'"),
        ({"name": "x", "fast": 13}, "13 is unlucky"),
    ],
)
def test_mistakes_name_class_parameter_value_and_what_is_allowed(given, said):
    with pytest.raises(ConfigError, match=said):
        Cross(**given)


def test_a_plugin_without_parameters_says_none():
    class Bare(Plugin):
        pass

    with pytest.raises(ConfigError, match=r"\(it has: none\)"):
        Bare(x=1)


def test_a_strategy_defines_exactly_one_style():
    class Both(Strategy):
        def on_bar(self, ctx):
            pass

        def weights(self, panel):
            return panel.close

    with pytest.raises(PluginError, match="both on_bar and weights"):
        style(Both())
    with pytest.raises(PluginError, match="neither on_bar nor weights"):
        style(Base())


class Named(Plugin):
    tickers: tuple[str, ...] = ()
    shares: dict[str, float] = {}  # noqa: RUF012


def test_a_number_where_text_is_wanted_is_its_text():
    made = Named(tickers=[7203, "AAPL"], shares={1: 0.5})
    assert made.params() == {"tickers": ("7203", "AAPL"), "shares": {"1": 0.5}}


@pytest.mark.parametrize("given", [{"tickers": [True]}, {"tickers": [None]}, {"shares": {True: 0.5}}])
def test_what_is_no_number_is_still_no_text(given):
    with pytest.raises(ConfigError, match="valid string"):
        Named(**given)
