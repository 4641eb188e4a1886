"""The growing list of a simulation's fills, kept as columns: written in place, no object per fill."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from framework.model.money import MICRO
from framework.model.panel import Floats
from framework.model.result import Ints, Trades

_CAPACITY = 1 << 16


@dataclass(frozen=True, eq=False)
class _Chunk:
    ticker: Ints
    decided: Ints
    filled: Ints
    lots: Floats
    price: Floats
    notional: Floats
    fees: Floats


class FillLog:
    """Fills as they happen. ``lots`` and ``notional`` are signed; entries of zero lots (no order) are dropped.

    A caller reserves room with :meth:`reserve`, computes straight into the column slices, and closes the batch with
    :meth:`commit`.
    """

    def __init__(self) -> None:
        self._chunks: list[_Chunk] = []
        self._batches: list[tuple[int, int, int]] = []
        self._used = 0
        self._allocate(_CAPACITY)

    def _allocate(self, capacity: int) -> None:
        self.capacity = capacity
        self.ticker = np.empty(capacity, dtype=np.int64)
        self.lots, self.price, self.notional = np.empty(capacity), np.empty(capacity), np.empty(capacity)
        self.fees = np.zeros(capacity)

    def reserve(self, count: int) -> tuple[int, int]:
        """Room for ``count`` fills: the slice bounds to write at in each column."""
        if self._used + count > self.capacity:
            self._flush()
            if count > self.capacity:
                self._allocate(count)
        return self._used, self._used + count

    def commit(self, decided: int, filled: int, count: int) -> None:
        """Keep the last reserved entries as fills of bar ``filled``, decided on bar ``decided``."""
        self._batches.append((decided, filled, count))
        self._used += count

    def add(
        self, decided: int, filled: int, ticker: int, lots: float, price: float, notional: float, fees: float
    ) -> None:
        """Keep one fill."""
        row, _ = self.reserve(1)
        self.ticker[row], self.lots[row], self.price[row] = ticker, lots, price
        self.notional[row], self.fees[row] = notional, fees
        self.commit(decided, filled, 1)

    def _flush(self) -> None:
        if not self._used:
            return
        decided, filled, counts = np.array(self._batches, dtype=np.int64).T
        kept = np.flatnonzero(self.lots[: self._used])
        self._chunks.append(
            _Chunk(
                self.ticker[kept],
                np.repeat(decided, counts)[kept],
                np.repeat(filled, counts)[kept],
                self.lots[kept],
                self.price[kept],
                self.notional[kept],
                self.fees[kept],
            )
        )
        self._batches.clear()
        self._used = 0
        self.fees[:] = 0.0

    def trades(self, opens: Floats, closes: Floats, lots_per_share: float) -> Trades:
        """All fills in booking order: by bar, sells first, then buys, each in ticker order.

        Args:
            opens: shape ``(T, N)``, arrival prices.
            closes: shape ``(T, N)``, last closes, which orders were decided on.
            lots_per_share: of this portfolio.
        """
        self._flush()
        columns = {name: self._column(name) for name in ("ticker", "decided", "filled")}
        lots, price, notional, fees = (self._column(name) for name in ("lots", "price", "notional", "fees"))
        sequence = (columns["filled"] * 2 + (lots > 0.0)) * opens.shape[1] + columns["ticker"]
        order = np.argsort(sequence, kind="stable")
        ticker, decided, filled = (columns[name][order].astype(np.int64) for name in ("ticker", "decided", "filled"))
        return Trades(
            ticker=ticker,
            decided=decided,
            filled=filled,
            quantity=lots[order] / lots_per_share,
            arrival_price=opens[filled, ticker],
            decision_price=closes[decided, ticker],
            price=np.rint(price[order] * lots_per_share) / MICRO,
            notional=np.abs(notional[order]) / MICRO,
            fees=fees[order] / MICRO,
        )

    def _column(self, name: str) -> Floats:
        return np.concatenate([getattr(chunk, name) for chunk in self._chunks] or [np.empty(0)])
