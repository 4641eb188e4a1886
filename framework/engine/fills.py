"""A simulation's fills as columns: computed in place, no object per fill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from framework.model.money import MICRO
from framework.model.panel import Floats
from framework.model.rates import Rates
from framework.model.result import Ints, Trades

if TYPE_CHECKING:
    from framework.engine.corporate import Split

#: Fills that are packed together where their number is not known beforehand.
BLOCK = 1 << 15

#: Numbers that describe a single fill.
FIELDS = 7
#: Of ticker, decided, filled, lots, price, notional, fees.
_KINDS = (np.int64, np.int64, np.int64, np.float64, np.float64, np.float64, np.float64)


class Block:
    """Room for a number of fills, a column each; what stays at zero lots is no fill and is dropped.

    ``lots`` and ``notional`` are signed, ``price`` is in micros per lot, ``notional`` and ``fees`` in micros; all but
    the price are in the portfolio's currency. Each
    fills on the bar after the one it was decided on.
    """

    def __init__(self, ticker: Ints, decided: Ints, price: Floats) -> None:
        count = len(ticker)
        self.ticker, self.decided = ticker, decided
        self.lots, self.price, self.notional, self.fees = np.zeros(count), price, np.zeros(count), np.zeros(count)

    @classmethod
    def empty(cls, count: int) -> Block:
        """Room for ``count`` fills of any ticker and bar."""
        return cls(np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64), np.zeros(count))


class FillLog:
    """All fills so far."""

    def __init__(self) -> None:
        self._chunks: list[tuple[NDArray[np.generic], ...]] = []
        #: Single fills, one after the other: ticker, decided, filled, lots, price, notional, fees, ticker …
        self.single: list[float] = []
        #: Fills after the open of their bar: the same, the price per share before slippage, and when.
        self.later: list[float] = []

    def pack(self) -> None:
        """Turn single fills into columns, which take a quarter of the memory."""
        if self.single:
            self._chunks.append(_as_columns(self.single, FIELDS))
            self.single.clear()

    def close(self, block: Block) -> None:
        """Keep the fills of a block."""
        kept = np.flatnonzero(block.lots)
        if len(kept):
            decided, amounts = block.decided[kept], (block.lots, block.price, block.notional, block.fees)
            self._chunks.append((block.ticker[kept], decided, decided + 1, *(column[kept] for column in amounts)))

    def trades(
        self,
        opens: Floats,
        closes: Floats,
        lots_per_share: float,
        rates: Rates | None = None,
        splits: Sequence[Split] = (),
        *,
        has_parts: bool = False,
    ) -> Trades:
        """All fills in booking order: by bar; at its open, inside, at its close; sells, then buys; by ticker.

        Args:
            opens: shape ``(T, N)``, arrival prices of what filled at the open.
            closes: shape ``(T, N)``, last closes, which orders were decided on.
            lots_per_share: of this portfolio.
            rates: that fills were converted at, if any.
            has_parts: some are of parts of lots, to 1e-9 shares.
            splits: between whose rows the price decided on is of other shares than the fill.
        """
        ticker, decided, filled, lots, price, notional, fees = self._columns()
        *_, prices, moments = _as_columns(self.later, FIELDS + 2)
        arrival, key = opens[filled, ticker], filled * 6
        first = len(ticker) - len(prices)
        arrival[first:] = prices
        key[first:] += 2 * moments.astype(np.int64)
        key += lots > 0.0
        key *= opens.shape[1]
        key += ticker
        order = np.argsort(key, kind="stable")
        ticker, decided, filled = ticker[order], decided[order], filled[order]
        decision_price = closes[decided, ticker]
        waited = np.flatnonzero(filled - decided > 1)
        for split in splits:
            low, high = np.searchsorted(filled, (split.row, split.row + 1))
            # What fills in that very bar, and later what had waited: all else was decided after the split.
            crossed = np.concatenate((np.arange(low, high), waited[waited >= high]))
            crossed = crossed[(ticker[crossed] == split.column) & (decided[crossed] < split.row)]
            decision_price[crossed] = np.rint(decision_price[crossed] / float(split.ratio) * MICRO) / MICRO
        return Trades(
            ticker=ticker,
            decided=decided,
            filled=filled,
            quantity=np.round(lots[order], 9) if has_parts else lots[order] / lots_per_share,
            arrival_price=arrival[order],
            decision_price=decision_price,
            price=np.rint(price[order] * lots_per_share) / MICRO,
            notional=np.abs(notional[order]) / MICRO,
            fees=fees[order] / MICRO,
            fx_rate=None if rates is None else rates.at_open[filled, ticker],
            notional_local=None if rates is None else np.rint(np.abs(lots * price)[order]) / MICRO,
        )

    def _columns(self) -> tuple[Ints, Ints, Ints, Floats, Floats, Floats, Floats]:
        self.pack()
        columns = zip(*self._chunks, _as_columns(self.later, FIELDS + 2)[:FIELDS], strict=True)
        made = [np.concatenate(parts).astype(kind, copy=False) for parts, kind in zip(columns, _KINDS, strict=True)]
        return tuple(made)  # type: ignore[return-value]


def _as_columns(fills: list[float], fields: int) -> tuple[Floats, ...]:
    """Fills that stand one after the other, as columns."""
    return tuple(np.array(fills, dtype=np.float64).reshape(-1, fields).T)
