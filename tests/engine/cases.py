"""Random markets and what is asked of them, for the simulator's tests."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from framework import Strategy
from framework.engine.account import Terms
from framework.engine.simulator import Simulation, simulate
from framework.model.panel import Panel
from framework.model.timeline import Timeline
from framework.trading.costs import CommissionModel, Costs, SlippageModel


class Fraction(CommissionModel):
    rate: float
    floor: float = 0.0

    def fees(self, quantity, price, notional):
        fees = notional * self.rate
        return max(fees, self.floor) if isinstance(fees, float) else np.maximum(fees, self.floor)


class Constant(SlippageModel):
    uses_quantity = False
    bps: float

    def slippage_bps(self, side, quantity, price, volume):
        return self.bps


class Impact(SlippageModel):
    """Grows with the order: what only the moment of the fill can tell."""

    per_share: float

    def slippage_bps(self, side, quantity, price, volume):
        return self.per_share * quantity


class Given(Strategy):
    """Decides what a test hands it, all bars at once."""

    def __init__(self, weights):
        self._weights = weights

    def weights(self, panel):
        return self._weights


class GivenOnBar(Strategy):
    """The same decisions, bar by bar."""

    def __init__(self, weights):
        self._weights = weights
        self._row = 0

    def on_bar(self, ctx):
        row = self._weights[self._row]
        self._row += 1
        if not np.isnan(row).all():
            ctx.target_weights(row)


def timeline(bars, per_session=1):
    day = np.datetime64("2005-01-03") + np.arange(bars) // per_session
    moment = day.astype("datetime64[us]") + (np.arange(bars) % per_session) * np.timedelta64(60_000_000, "us")
    return Timeline(moment, moment, moment + np.timedelta64(60_000_000, "us"), day, day + np.timedelta64(1, "D"))


def panel(opens, closes, clock, volume=None):
    high, low = np.fmax(opens, closes), np.fmin(opens, closes)
    volume = np.where(np.isnan(closes), np.nan, 1000.0) if volume is None else volume
    names = tuple(f"T{column:02d}" for column in range(closes.shape[1]))
    return Panel(names, clock.timestamps, opens, high, low, closes, volume)


@dataclass(repr=False)
class Case:
    panel: Panel
    clock: Timeline
    weights: np.ndarray
    terms: Terms

    def job(self, strategy=None, **changes):
        values = {
            "portfolio_id": "1",
            "strategy": strategy or Given(self.weights),
            "strategy_name": "given",
            "panel": self.panel,
            "timeline": self.clock,
            "first": 0,
            "trade": self.panel,
            "schedule": "every_bar",
            "terms": self.terms,
            "make_indicator": None,
        }
        return Simulation(**{**values, **changes})

    def run(self, strategy=None, **changes):
        return simulate(self.job(strategy, **changes))


@st.composite
def cases(draw, *, costs=True, sessions=(1,), max_tickers=12, negative=False):
    """Prices on a 1e-6 grid with gaps in time, late listings, splits, zero volume; sparse or dense weights."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bars, tickers = draw(st.integers(1, 40)), draw(st.integers(1, max_tickers))
    scale = draw(st.sampled_from([0.5, 20.0, 300.0, 9000.0]))
    closes = scale * np.exp(np.cumsum(rng.normal(0, 0.03, (bars, tickers)), axis=0))
    opens = closes * np.exp(rng.normal(0, 0.02, (bars, tickers)))
    if draw(st.booleans()):
        half = rng.integers(0, bars)
        opens[half:, 0] /= 2
        closes[half:, 0] /= 2
    missing = rng.random((bars, tickers)) < draw(st.sampled_from([0.0, 0.0, 0.1, 0.6]))
    if draw(st.booleans()):
        missing[: rng.integers(0, bars + 1), -1] = True
    opens, closes = np.round(opens, 6), np.round(closes, 6)
    opens[missing] = closes[missing] = np.nan
    volume = np.where(missing, np.nan, rng.integers(0, 2, (bars, tickers)) * 500.0)
    weights = rng.random((bars, tickers)) * draw(st.sampled_from([0.5, 1.0, 3.0])) / tickers
    weights[rng.random((bars, tickers)) < 0.3] = 0.0
    if negative:
        weights[rng.random((bars, tickers)) < 0.1] *= -1
    weights = np.round(weights, 4)
    weights[rng.random((bars, tickers)) < draw(st.sampled_from([0.0, 0.5, 0.9]))] = np.nan
    model = Costs(
        Fraction(rate=draw(st.sampled_from([0.0005, 0.01]))), Constant(bps=draw(st.sampled_from([1.0, 30.0])))
    )
    terms = Terms(
        opening_cash=draw(st.sampled_from([500.0, 10_000.0, 1_000_000.0])),
        lots_per_share=draw(st.sampled_from([1.0, 1e9])),
        cash_buffer=draw(st.sampled_from([0.0, 0.005])),
        costs=model if costs and draw(st.booleans()) else Costs(),
    )
    clock = timeline(bars, draw(st.sampled_from(sessions)))
    return Case(panel(opens, closes, clock, volume), clock, weights, terms)
