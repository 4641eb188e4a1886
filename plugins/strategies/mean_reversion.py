"""Mean reversion, per ticker: buy what fell far below its average, sell when it is back."""

from typing import Annotated

import numpy as np

from framework import ConfigError, Context, Ge, Gt, SetupContext, Strategy, hookimpl


class MeanReversion(Strategy):
    """Long a ticker from z-score ≤ −``entry`` until z-score ≥ −``exit``, with ``weight`` of equity each."""

    period: Annotated[int, Gt(1)] = 20
    entry: Annotated[float, Gt(0)] = 2.0
    exit: float = 0.0
    weight: Annotated[float, Ge(0)] | None = None  # of equity per ticker; default 1/N

    def check(self) -> None:
        """It must leave nearer to the mean than it enters."""
        if self.exit >= self.entry:
            raise ConfigError(f"mean_reversion: exit was {self.exit}, entry {self.entry}; exit must be below entry")

    def setup(self, ctx: SetupContext) -> None:
        """One z-score per ticker."""
        self._z = ctx.indicator("zscore", period=self.period)
        self._share = 1.0 / len(ctx.tickers) if self.weight is None else self.weight

    def on_bar(self, ctx: Context) -> None:
        """Enter and leave by position, so that an order that lapsed is asked for again while its reason holds."""
        z, held = self._z.value, ctx.positions > 0
        enter, leave = ~held & (z <= -self.entry), held & (z >= -self.exit)
        if (enter | leave).any():
            ctx.target_weights(np.where(enter, self._share, np.where(leave, 0.0, np.nan)))


@hookimpl
def register_strategies() -> dict[str, type[Strategy]]:
    """``mean_reversion``."""
    return {"mean_reversion": MeanReversion}
