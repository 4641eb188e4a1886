"""nautilus-trader: the low-level ``BacktestEngine`` with external bars, its own indicators, no risk checks, no logging.

It has no way to fill at the next open from bars: an order trades at the close that it was decided on.
"""

import numpy as np
import pandas as pd
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.indicators import SimpleMovingAverage
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy
from serve import CASH, serve

#: Shares are whole: with a thousand times the cash they are thousandths.
SCALE = 1e3
VENUE = Venue("SIM")
#: So that no order is larger than its bar, for which it would pay a worse price.
VOLUME = 1e12


class Cross(Strategy):
    """Decides when the last ticker of a moment has its bar."""

    def __init__(self, instruments, bar_types, fast, slow):
        super().__init__(StrategyConfig())
        self.instruments, self.bar_types = instruments, bar_types
        self.number = {bar_type: number for number, bar_type in enumerate(bar_types)}
        self.averages = [(SimpleMovingAverage(fast), SimpleMovingAverage(slow)) for _ in bar_types]
        self.is_up = [False] * len(bar_types)
        self.closes, self.held = np.zeros(len(bar_types)), np.zeros(len(bar_types))
        self.free, self.seen, self.changed = CASH * SCALE, 0, []

    def on_start(self):
        """Ask for the bars and averages of all tickers."""
        for bar_type, averages in zip(self.bar_types, self.averages, strict=True):
            for average in averages:
                self.register_indicator_for_bars(bar_type, average)
            self.subscribe_bars(bar_type)

    def on_bar(self, bar):
        """One bar of one ticker."""
        number = self.number[bar.bar_type]
        self.closes[number] = bar.close.as_double()
        fast, slow = self.averages[number]
        if slow.initialized and (fast.value > slow.value) != self.is_up[number]:
            self.is_up[number] = not self.is_up[number]
            self.changed.append(number)
        self.seen += 1
        if self.seen == len(self.closes):
            self.seen = 0
            if self.changed:
                self.decide()

    def decide(self):
        """Buy 1/N of equity of what came up, sell what went down."""
        share = (self.free + float(self.held @ self.closes)) / len(self.closes)
        for number in self.changed:
            is_buy = self.is_up[number]
            quantity = int(share / self.closes[number]) if is_buy else int(self.held[number])
            if quantity:
                side = OrderSide.BUY if is_buy else OrderSide.SELL
                order = self.order_factory.market(self.instruments[number].id, side, Quantity(quantity, 0))
                self.held[number] = quantity if is_buy else 0.0
                self.submit_order(order)
        self.changed = []

    def on_order_filled(self, event):
        """Cash moves by what was paid."""
        paid = event.last_qty.as_double() * event.last_px.as_double()
        self.free -= paid if event.order_side == OrderSide.BUY else -paid


def instrument(name):
    """A stock in whole shares at prices of a millionth."""
    symbol = Symbol(name)
    return Equity(InstrumentId(symbol, VENUE), symbol, USD, 6, Price(1e-6, 6), Quantity(1, 0), 0, 0)


def prepare(data, job):
    """An engine with all bars in it."""
    step, length = ("DAY", 86_400_000_000) if job["interval"] == "1d" else ("MINUTE", 60_000_000)
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            run_analysis=False,
        )
    )
    engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(CASH * SCALE, USD)], base_currency=USD)
    index = pd.DatetimeIndex(data.stamps + np.timedelta64(length, "us"), tz="UTC", name="timestamp").as_unit("ns")
    instruments = [instrument(name) for name in data.names]
    bar_types = [BarType.from_str(f"{each.id}-1-{step}-LAST-EXTERNAL") for each in instruments]
    for number, (each, bar_type) in enumerate(zip(instruments, bar_types, strict=True)):
        engine.add_instrument(each)
        frame = pd.DataFrame({name: getattr(data, name)[:, number] for name in ("open", "high", "low", "close")}, index)
        frame["volume"] = VOLUME
        engine.add_data(BarDataWrangler(bar_type, each).process(frame), sort=False)
    engine.sort_data()

    def run(watch):
        ended = []
        for fast, slow in job["pairs"]:
            engine.reset()
            engine.clear_strategies()
            strategy = Cross(instruments, bar_types, fast, slow)
            engine.add_strategy(strategy)
            watch.start()
            engine.run()
            watch.stop()
            ended.append((strategy.free + float(strategy.held @ strategy.closes)) / SCALE)
        return ended

    return run


if __name__ == "__main__":
    serve(prepare, "nautilus-trader")
