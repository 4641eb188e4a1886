"""One portfolio's cash and positions during a simulation: fills orders, values every bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framework.engine.fills import FillLog
from framework.model.money import LOT_SLACK, MICRO, to_micro
from framework.model.panel import Floats, Panel, forward_fill
from framework.model.result import Unfilled
from framework.trading.costs import Costs
from framework.trading.trim import trim

Columns = NDArray[np.int64]

#: Below this many tickers a row's value is summed from left to right, as the scalar path does.
FEW_TICKERS = 8


@dataclass(frozen=True)
class Terms:
    """What one portfolio trades under.

    Attributes:
        opening_cash: in the portfolio's currency.
        lots_per_share: 1 (whole shares) or 1e9 (fractional).
        cash_buffer: fraction of equity that target weights leave aside.
        costs: commission and slippage.
    """

    opening_cash: float
    lots_per_share: float
    cash_buffer: float
    costs: Costs


class Account:
    """Cash in micros, positions in lots (see :mod:`framework.model.money`), and their worth at each close.

    Prices are in micros per lot throughout. It is never short, and no buy overdraws it.
    """

    def __init__(self, panel: Panel, terms: Terms, first: int) -> None:
        self.terms = terms
        self.cash = to_micro(terms.opening_cash)
        self.lots = np.zeros(len(panel.tickers))
        self.closes = _last_closes(panel.close)
        self.opens = panel.open
        self.volumes = panel.volume
        self.fills = FillLog()
        self.unfilled: list[Unfilled] = []
        self.trimmed_fills = 0
        self.trimmed_micro = 0.0
        #: Micros that one lot is worth at a price of 1.
        self.unit = MICRO / terms.lots_per_share
        self.usable = 1.0 - terms.cash_buffer
        #: Equity and cash in micros at each close; rows before ``valued`` are final.
        self.equity = np.zeros(len(panel))
        self.cash_rows = np.zeros(len(panel))
        self.valued = first
        self.few = len(panel.tickers) < FEW_TICKERS

    def value_to(self, bar: int) -> float:
        """Value all rows up to ``bar`` with what is held now; returns the equity at its close, in micros."""
        start = self.valued
        if start <= bar:
            rows = self.closes[start : bar + 1]
            held = self._row_sums(rows)
            held *= self.unit
            held += self.cash
            self.equity[start : bar + 1] = held
            self.cash_rows[start : bar + 1] = self.cash
            self.valued = bar + 1
        return float(self.equity[bar])

    def _row_sums(self, rows: Floats) -> Floats:
        """Σ close × lots for each row, without BLAS, whose order of summation varies."""
        sums: Floats = np.add.reduce(rows * self.lots, axis=1) if self.few else np.einsum("ij,j->i", rows, self.lots)
        return sums

    def take_values(self, stop: int, lots_rows: Floats, cash_rows: Floats) -> None:
        """Value the rows not yet valued up to ``stop`` (exclusive) with a position and cash for each.

        Args:
            stop: row after the last.
            lots_rows: shape ``(R, N)``.
            cash_rows: shape ``(R,)``, micros.
        """
        start = self.valued
        held = np.add.reduce(self.closes[start:stop] * lots_rows, axis=1)
        self.equity[start:stop] = held * self.unit + cash_rows
        self.cash_rows[start:stop] = cash_rows
        self.valued = max(start, stop)

    def spendable(self, bar: int) -> float:
        """What target weights are fractions of, in micros: equity at the close of ``bar`` without the buffer."""
        return max(0.0, self.value_to(bar) * self.usable)

    # What a strategy's context reads.

    def cash_at(self, bar: int) -> float:
        """Cash, in currency."""
        return self.cash / MICRO

    def equity_at(self, bar: int) -> float:
        """Equity at the close of ``bar``, in currency."""
        return self.value_to(bar) / MICRO

    def shares_at(self, bar: int) -> Floats:
        """Positions in shares, shape ``(N,)``."""
        return self.lots / self.terms.lots_per_share

    def last_close_at(self, bar: int) -> Floats:
        """Each ticker's last close, shape ``(N,)``."""
        row: Floats = self.closes[bar]
        return row

    # Prices and fees, for arrays and for single orders.

    def prices(self, opens: Floats, side: int) -> Floats:
        """Fill prices at these opens (any shape), micros per lot, for slippage that does not ask for quantities."""
        model = self.terms.costs.slippage
        if model is None or model.uses_quantity:
            return to_micro(opens) / self.terms.lots_per_share
        worse = model.slippage_bps(side, np.nan, np.nan, np.nan)
        return to_micro(opens * (1.0 + side * worse / 1e4)) / self.terms.lots_per_share

    def price(self, bar: int, column: int, lots: float) -> float:
        """Fill price of one order at the open of ``bar``, micros per lot."""
        opening, side = float(self.opens[bar, column]), 1 if lots > 0.0 else -1
        model = self.terms.costs.slippage
        if model is not None:
            shares = abs(lots) / self.terms.lots_per_share
            worse = float(model.slippage_bps(side, shares, opening, float(self.volumes[bar, column])))
            opening *= 1.0 + side * worse / 1e4
        return to_micro(opening) / self.terms.lots_per_share

    def fee(self, lots: float, price: float) -> float:
        """Fees of one fill in micros. ``lots`` > 0."""
        model = self.terms.costs.commission
        if model is None or lots == 0.0:
            return 0.0
        per_share = price * self.terms.lots_per_share / MICRO
        notional = float(round(lots * price)) / MICRO
        return to_micro(float(model.fees(lots / self.terms.lots_per_share, per_share, notional)))

    def _fees(self, lots: Floats, price: Floats, notional: Floats) -> Floats:
        model = self.terms.costs.commission
        assert model is not None
        shares = np.abs(lots) / self.terms.lots_per_share
        per_share = price * (self.terms.lots_per_share / MICRO)
        fees = np.asarray(model.fees(shares, per_share, np.abs(notional) / MICRO))
        return np.where(lots == 0.0, 0.0, to_micro(fees))

    # The fast path: target weights, all fillable at the next open, as arrays.

    def rebalance(
        self, bar: int, columns: Columns, lots_per_micro: Floats, buy_prices: Floats, sell_prices: Floats
    ) -> None:
        """Move ``columns`` to target weights: sized on the close of ``bar``, filled at the open of the next row.

        Args:
            bar: row decided on; the next row must hold an open for each of ``columns``.
            columns: shape ``(K,)``, rising.
            lots_per_micro: shape ``(K,)``: weight / (last close × unit), so that times equity it is the target in lots.
            buy_prices, sell_prices: shape ``(K,)``, micros per lot, slippage included.
        """
        target = np.trunc(lots_per_micro * self.spendable(bar) + LOT_SLACK)
        count = len(columns)
        start, stop = self.fills.reserve(count)
        lots, price = self.fills.lots[start:stop], self.fills.price[start:stop]
        np.subtract(target, self.lots.take(columns), out=lots)
        self._price_into(price, bar + 1, columns, lots, buy_prices, sell_prices)
        after = self._cash_after(start, stop)
        if after < 0.0 and (lots > 0.0).any():
            before = target - lots
            after = self._trim(bar, columns, start, stop)
            target = before + lots
        self.fills.ticker[start:stop] = columns
        self.lots[columns] = target
        self.cash = after
        self.fills.commit(bar, bar + 1, count)

    def _price_into(
        self, price: Floats, bar: int, columns: Columns, lots: Floats, buy_prices: Floats, sell_prices: Floats
    ) -> None:
        model = self.terms.costs.slippage
        if model is not None and model.uses_quantity:
            price[:] = [self.price(bar, int(c), float(n)) for c, n in zip(columns, lots, strict=True)]
        elif buy_prices is sell_prices:
            price[:] = buy_prices
        else:
            price[:] = np.where(lots > 0.0, buy_prices, sell_prices)

    def _cash_after(self, start: int, stop: int) -> float:
        """Cash once the fills in these rows of the log are paid, in micros; notes notional and fees beside them."""
        log = self.fills
        lots, price, notional = log.lots[start:stop], log.price[start:stop], log.notional[start:stop]
        np.multiply(lots, price, out=notional)
        np.rint(notional, out=notional)
        after = self.cash - float(np.add.reduce(notional))
        if self.terms.costs.commission is not None:
            fees = self._fees(lots, price, notional)
            log.fees[start:stop] = fees
            after -= float(np.add.reduce(fees))
        return after

    def _trim(self, bar: int, columns: Columns, start: int, stop: int) -> float:
        """Cut the buys in these rows of the log to what cash allows after the sells; returns cash after all."""
        log = self.fills
        lots = log.lots[start:stop]
        buys = np.flatnonzero(lots > 0.0)
        wanted = lots[buys]
        lots[buys] = 0.0
        free = self._cash_after(start, stop)
        prices = log.price[start:stop][buys]
        kept = self.affordable(free, wanted.tolist(), prices.tolist())
        lots[buys] = kept
        for column, want, keep, price in zip(
            columns[buys].tolist(), wanted.tolist(), kept, prices.tolist(), strict=True
        ):
            self.note_trimmed(bar + 1, column, want - keep, price)
        return self._cash_after(start, stop)

    # Shared with the order-by-order path.

    def affordable(self, free: float, lots: list[float], prices: list[float]) -> list[float]:
        """What of these buys ``free`` micros pay for, by the trimming rule."""
        return trim(free, lots, prices, self.fee, self.terms.lots_per_share)

    def note_trimmed(self, bar: int, column: int, missing_lots: float, price: float) -> None:
        """Count the part of a buy that cash did not cover."""
        if missing_lots > 0.0:
            self.trimmed_fills += 1
            self.trimmed_micro += float(round(missing_lots * price))
            self.note_unfilled(bar, column, missing_lots, "no cash")

    def note_unfilled(self, bar: int, column: int, lots: float, reason: str) -> None:
        """Keep an order, or the rest of one, that ended without a fill. ``lots`` NaN: it was never sized."""
        self.unfilled.append(Unfilled(bar, column, lots / self.terms.lots_per_share, reason))


def _last_closes(close: Floats) -> Floats:
    """Each ticker's last close at each bar; 0 before its first, where nothing can be held."""
    filled = forward_fill(close)
    never = np.isnan(filled)
    return np.where(never, 0.0, filled) if never.any() else filled
