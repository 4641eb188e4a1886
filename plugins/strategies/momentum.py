"""Cross-sectional momentum: hold the tickers that rose most, equally weighted. Meant for ``schedule: monthly``."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from framework import ConfigError, Floats, Ge, Gt, Panel, Strategy, hookimpl, indicators

Mask = NDArray[np.bool_]


class Momentum(Strategy):
    """Ranks tickers by return over ``lookback`` bars, leaving out the newest ``skip`` (Jegadeesh, Titman 1993)."""

    lookback: Annotated[int, Gt(0)] = 126
    skip: Annotated[int, Ge(0)] = 21
    top: Annotated[int, Gt(0)] = 2
    positive_only: bool = True  # a ticker that fell is not held, however it ranks

    def check(self) -> None:
        """What is left out must be shorter than what is measured."""
        if self.skip >= self.lookback:
            raise ConfigError(f"momentum: skip was {self.skip}, lookback {self.lookback}; skip must be below lookback")

    def weights(self, panel: Panel) -> Floats:
        """Shape ``(T, N)``: 1/top for each of the best, 0 for the others; NaN until any ticker can be ranked."""
        score = indicators.shift(indicators.roc(panel.close, self.lookback - self.skip), self.skip)
        known = ~np.isnan(score) & _trades(panel.close)
        eligible = known & (score > 0.0) if self.positive_only else known
        order = np.argsort(np.where(eligible, -score, np.inf), axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(score.shape[1])[None, :], axis=1)
        weights = np.where(eligible & (rank < self.top), 1.0 / self.top, 0.0)
        weights[~known.any(axis=1)] = np.nan
        return weights


def _trades(close: Floats, bars: int = 5) -> Mask:
    """Whether each ticker had a bar among the last few: one that trades no more keeps its score for ever."""
    present = ~np.isnan(close)
    recent = present.copy()
    for back in range(1, bars):
        recent[back:] |= present[:-back]
    return recent


@hookimpl
def register_strategies() -> dict[str, type[Strategy]]:
    """``momentum``."""
    return {"momentum": Momentum}
