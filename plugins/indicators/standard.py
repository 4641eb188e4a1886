"""The bundled indicators under their names: parameters, the function that computes them, and their memory."""

from typing import Annotated, Literal

from framework import Floats, Ge, Gt, Indicator, Panel, hookimpl, indicators, recursive_memory

Period = Annotated[int, Gt(0)]
Field = Literal["open", "high", "low", "close", "volume"]


class OfField(Indicator):
    """Indicators of one field of the bars."""

    period: Period
    field: Field = "close"

    def values(self, panel: Panel) -> Floats:
        """The field's array, shape ``(T, N)``."""
        array: Floats = getattr(panel, self.field)
        return array

    def memory(self) -> int:
        """The window."""
        return self.period


class Sma(OfField):
    """Simple moving average."""

    def compute(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``."""
        return indicators.sma(self.values(panel), self.period)


class Ema(OfField):
    """Exponential moving average, weight 2 / (period + 1)."""

    def compute(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``."""
        return indicators.ema(self.values(panel), self.period)

    def memory(self) -> int:
        """Until the seed weighs less than 1e-12."""
        return recursive_memory(2.0 / (self.period + 1.0), 1)


class Dma(OfField):
    """Displaced moving average: the simple average of ``displacement`` bars ago."""

    displacement: Annotated[int, Ge(0)] = 5

    def compute(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``."""
        return indicators.dma(self.values(panel), self.period, self.displacement)

    def memory(self) -> int:
        """Window and displacement."""
        return self.period + self.displacement


class Roc(OfField):
    """Rate of change over ``period`` bars, as a fraction."""

    def compute(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``."""
        return indicators.roc(self.values(panel), self.period)

    def memory(self) -> int:
        """The bar compared with lies ``period`` bars back."""
        return self.period + 1


class Std(OfField):
    """Sample standard deviation."""

    period: Annotated[int, Gt(1)]

    def compute(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``."""
        return indicators.std(self.values(panel), self.period)


class Zscore(OfField):
    """Distance from the mean in standard deviations."""

    period: Annotated[int, Gt(1)]

    def compute(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``."""
        return indicators.zscore(self.values(panel), self.period)


class Highest(OfField):
    """Largest value of the window, this bar included."""

    field: Field = "high"

    def compute(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``."""
        return indicators.highest(self.values(panel), self.period)


class Lowest(OfField):
    """Smallest value of the window, this bar included."""

    field: Field = "low"

    def compute(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``."""
        return indicators.lowest(self.values(panel), self.period)


class Rsi(OfField):
    """Relative strength index, 0 … 100 (Wilder)."""

    period: Period = 14

    def compute(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``."""
        return indicators.rsi(self.values(panel), self.period)

    def memory(self) -> int:
        """Until the seed weighs less than 1e-12."""
        return recursive_memory(1.0 / self.period, self.period) + 1


class Rmi(OfField):
    """Relative momentum index: RSI of the change over ``momentum`` bars."""

    period: Period = 14
    momentum: Annotated[int, Gt(0)] = 5

    def compute(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``."""
        return indicators.rmi(self.values(panel), self.period, self.momentum)

    def memory(self) -> int:
        """Until the seed weighs less than 1e-12."""
        return recursive_memory(1.0 / self.period, self.period) + self.momentum


class Atr(Indicator):
    """Average true range (Wilder), in price units."""

    period: Period = 14

    def compute(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``."""
        return indicators.atr(panel.close, panel.high, panel.low, self.period)

    def memory(self) -> int:
        """Until the seed weighs less than 1e-12."""
        return recursive_memory(1.0 / self.period, self.period) + 1


class Vwap(Indicator):
    """Volume-weighted average price of the last ``period`` bars."""

    period: Period = 20

    def compute(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``."""
        return indicators.vwap(panel.close, panel.high, panel.low, panel.volume, self.period)

    def memory(self) -> int:
        """The window."""
        return self.period


@hookimpl
def register_indicators() -> dict[str, type[Indicator]]:
    """The bundled indicators by name."""
    return {
        "atr": Atr,
        "dma": Dma,
        "ema": Ema,
        "highest": Highest,
        "lowest": Lowest,
        "rmi": Rmi,
        "roc": Roc,
        "rsi": Rsi,
        "sma": Sma,
        "std": Std,
        "vwap": Vwap,
        "zscore": Zscore,
    }
