"""One portfolio's cash and positions during a simulation: fills orders, values every bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from framework.engine.corporate import Corporate
from framework.engine.fills import Block, FillLog
from framework.model.acting import Acting
from framework.model.money import LOT_SLACK, MICRO, converted, to_micro
from framework.model.panel import Floats, Panel, forward_fill
from framework.model.rates import Rates
from framework.model.result import Unfilled
from framework.trading.costs import Costs, check_fees, checked_bps, slipped
from framework.trading.splits import NOTHING_LEFT, split_order
from framework.trading.trim import trim

if TYPE_CHECKING:
    from framework.engine.meeting import Flow

#: Cells (bars × tickers) valued at once.
_VALUE_CELLS = 1 << 17
_sum = np.add.reduce
_NO_CHARGES = (0.0, 0.0, 0.0, 0.0)


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

    Prices are in micros per lot throughout, and in the ticker's own currency; cash, fees and values are in the
    portfolio's. It is never short, and no buy overdraws it. With ``rates`` all orders must go through the order book:
    the paths on arrays and plain numbers know one currency only.

    Args:
        panel: bars as they are traded at.
        terms: of the portfolio.
        first: row of the first bar that counts.
        rates: to the portfolio's currency; None: all tickers are in it.
        acting: splits and dividends, which act on what is held.
    """

    def __init__(
        self, panel: Panel, terms: Terms, first: int, rates: Rates | None = None, acting: Acting | None = None
    ) -> None:
        self.terms = terms
        self.cash = to_micro(terms.opening_cash)
        self.lots = np.zeros(len(panel.tickers))
        self.closes = _last_closes(panel.close)
        self.has_gaps = self.closes is not panel.close
        self.rates = rates
        #: What a share is worth in the portfolio's currency at each close; 0 where that is not known yet.
        self.share_values = self.closes if rates is None else self.closes * np.nan_to_num(rates.at_close)
        self.opens = panel.open
        self.highs = panel.high
        self.lows = panel.low
        self.volumes = panel.volume
        self.fills = FillLog()
        self.corporate = Corporate(acting or Acting(), first)
        #: Row of the next split or dividend; far beyond all rows when there is none left.
        self.next_action = self.corporate.next_row
        #: Whether a split has left a part of a lot somewhere.
        self.has_parts = False
        self.unfilled: list[Unfilled] = []
        #: Row that each of these was decided on.
        self.unfilled_decided: list[int] = []
        self.trimmed_fills = 0
        self.trimmed_micro = 0.0
        #: Micros that one lot is worth at a price of 1.
        self.unit = MICRO / terms.lots_per_share
        self.usable = 1.0 - terms.cash_buffer
        #: Equity and cash in micros at each close; rows before ``valued`` are final or put off.
        self.equity = np.zeros(len(panel))
        self.cash_rows = np.zeros(len(panel))
        self.valued = first
        self._block = max(1, _VALUE_CELLS // max(1, len(panel.tickers)))
        #: Rows put off: spans of them with first row, length, cash and positions each. Flat lists of numbers: an object
        #: per span would keep the garbage collector busy.
        self._starts: list[int] = []
        self._lengths: list[int] = []
        self._span_cash: list[float] = []
        self._span_lots = np.empty((min(self._block, len(panel)) + 1, len(panel.tickers)))
        self._span_rows = 0
        #: Money that came and went, and when; what of it came after the value of its bar was taken.
        self.flows: list[Flow] = []
        self._late_bar, self._late = -1, 0.0
        #: What target weights are fractions of at most, in micros: what an allocation leaves.
        self.limit = np.inf
        self._charged = terms.costs.commission is not None
        self._impact = terms.costs.slippage is not None and terms.costs.slippage.uses_quantity
        #: What fills cost, where that is a line: see :meth:`CommissionModel.linear`; None: it is not known beforehand.
        commission = terms.costs.commission
        self.charges = None if self._impact else _NO_CHARGES if commission is None else commission.linear()

    def value_to(self, bar: int) -> float:
        """Equity at the close of ``bar`` with what is held now, in micros; the rows before it get theirs in time."""
        start = self.valued
        if start > bar:
            return float(self.equity[bar])
        if self.next_action <= bar:
            self.open(bar)
            start = self.valued
        if start < bar:
            self._put_off(start, bar)
        cash = self.cash
        worth = float(_sum(self.share_values[bar] * self.lots)) * self.unit + cash
        self.equity[bar] = worth
        self.cash_rows[bar] = cash
        self.valued = bar + 1
        return worth

    @property
    def plain_until(self) -> int:
        """Up to the row before this, nothing but orders changes positions, and these are whole lots."""
        return 0 if self.has_parts else self.next_action

    def hold(self, column: int, lots: float) -> None:
        """Take in lots of a ticker, or give them (negative): exactly to 1e-9 shares, as the books do."""
        held = self.lots.item(column) + lots
        self.lots[column] = round(held, 9) if self.has_parts else held

    def open(self, bar: int) -> None:
        """Book the splits and dividends up to the open of ``bar``; the rows before each are valued without it."""
        while self.next_action <= bar:
            self.value_to(self.next_action - 1)
            self.corporate.book(self)
            self.next_action = self.corporate.next_row

    def _put_off(self, start: int, stop: int) -> None:
        """Note what these rows (``stop`` exclusive) are worth; many short spans are valued faster together."""
        while start < stop:
            length = min(stop - start, self._block)
            self._span_lots[len(self._starts)] = self.lots
            self._starts.append(start)
            self._lengths.append(length)
            self._span_cash.append(self.cash)
            self._span_rows += length
            if self._span_rows >= self._block:
                self.catch_up()
            start += length

    def catch_up(self) -> None:
        """Value all rows that were put off."""
        if self._starts:
            lengths = np.array(self._lengths)
            offsets = np.cumsum(lengths) - lengths
            rows = np.arange(self._span_rows) + np.repeat(np.array(self._starts) - offsets, lengths)
            self.cash_rows[rows] = np.repeat(self._span_cash, lengths)
            lots = np.repeat(self._span_lots[: len(lengths)], lengths, axis=0)
            held = np.add.reduce(self.share_values[rows] * lots, axis=1)
            self.equity[rows] = held * self.unit + self.cash_rows[rows]
            self._starts.clear()
            self._lengths.clear()
            self._span_cash.clear()
            self._span_rows = 0

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
        worth = self.value_to(bar)
        if bar == self._late_bar:
            worth += self._late
        amount = (worth if worth < self.limit else self.limit) * self.usable
        return amount if amount > 0.0 else 0.0

    def worth(self, bar: int) -> float:
        """Equity at the close of ``bar``, with what an allocation there has moved since it was valued; micros."""
        worth = self.value_to(bar)
        return worth + self._late if bar == self._late_bar else worth

    # Money that comes and goes.

    def move(self, bar: int, flow: Flow) -> None:
        """Take in money, or give it away, after the close of ``bar``, which is valued without it."""
        self.value_to(bar)
        self.cash += flow.micros
        self.flows.append(flow)
        self._late, self._late_bar = flow.micros + (self._late if bar == self._late_bar else 0.0), bar

    def money_in(self, bars: NDArray[np.int64]) -> Floats:
        """All money that had come in by the close of each bar, less what went out; the opening included; micros."""
        rows = np.array([flow.row for flow in self.flows], dtype=np.int64)
        sums = np.concatenate(([0.0], np.cumsum([flow.micros for flow in self.flows])))
        found: Floats = to_micro(self.terms.opening_cash) + sums[np.searchsorted(rows, bars, side="right")]
        return found

    # What a strategy's context reads.

    def cash_at(self, bar: int) -> float:
        """Cash, in currency."""
        return self.cash / MICRO

    def equity_at(self, bar: int) -> float:
        """Equity at the close of ``bar``, in currency; what an allocation there has moved is in it."""
        return self.worth(bar) / MICRO

    def shares_at(self, bar: int) -> Floats:
        """Positions in shares, shape ``(N,)``."""
        return self.lots / self.terms.lots_per_share

    def share_values_at(self, bar: int) -> Floats:
        """What a share is worth at each ticker's last close, in currency, shape ``(N,)``."""
        row: Floats = self.share_values[bar]
        return row

    # Currencies.

    def is_convertible(self, bar: int, column: int) -> bool:
        """Whether there is a rate at the close of ``bar``; once there is, there always is one."""
        return self.rates is None or not np.isnan(self.rates.at_close[bar, column])

    def rate(self, bar: int, column: int) -> float:
        """Rate of what fills in ``bar``; NaN: there is none."""
        return 1.0 if self.rates is None else self.rates.at_open.item(bar, column)

    def converted(self, bar: int, column: int, micros: float) -> float:
        """Whole micros of a ticker's currency, spent or got in ``bar``, in those of the portfolio's."""
        return micros if self.rates is None else converted(micros, self.rate(bar, column))

    # Prices and fees, for arrays and for single orders.

    def prices(self, opens: Floats, side: int) -> Floats:
        """Fill prices at these opens (any shape), micros per lot, for slippage that does not ask for quantities."""
        model = self.terms.costs.slippage
        if model is None or model.uses_quantity:
            return to_micro(opens) / self.terms.lots_per_share
        worse = checked_bps(model, float(model.slippage_bps(side, np.nan, np.nan, np.nan)))
        return np.rint(slipped(to_micro(opens), side, worse)) / self.terms.lots_per_share

    def price(self, bar: int, column: int, lots: float, at: float | None = None) -> float:
        """Fill price of one order in ``bar``, micros per lot. ``at``: price before slippage, if not the bar's open."""
        opening, side = float(self.opens[bar, column]) if at is None else at, 1 if lots > 0.0 else -1
        micros, model = to_micro(opening), self.terms.costs.slippage
        if model is not None:
            shares, volume = abs(lots) / self.terms.lots_per_share, float(self.volumes[bar, column])
            worse = checked_bps(model, float(model.slippage_bps(side, shares, opening, volume)))
            micros = float(round(slipped(micros, side, worse)))
        return micros / self.terms.lots_per_share

    def fee(self, lots: float, price: float, rate: float = 1.0) -> float:
        """Fees of one fill in micros. ``lots`` > 0; ``rate`` of the price's currency."""
        model = self.terms.costs.commission
        if model is None or lots == 0.0:
            return 0.0
        per_share = price * self.terms.lots_per_share / MICRO
        notional = float(round(lots * price))
        if rate != 1.0:
            per_share, notional = per_share * rate, converted(notional, rate)
        fees = float(model.fees(lots / self.terms.lots_per_share, per_share, notional / MICRO))
        check_fees(model, fees)
        return to_micro(fees)

    def _fees(self, lots: Floats, price: Floats, notional: Floats) -> Floats:
        model = self.terms.costs.commission
        assert model is not None
        shares = np.abs(lots) / self.terms.lots_per_share
        per_share = price * (self.terms.lots_per_share / MICRO)
        fees = np.where(lots == 0.0, 0.0, model.fees(shares, per_share, np.abs(notional) / MICRO))
        for extreme in (float(np.minimum.reduce(fees)), float(np.maximum.reduce(fees))):
            check_fees(model, extreme)
        return to_micro(fees)

    # The fast path: target weights, all fillable at the next open, as arrays.

    def rebalance(
        self, bar: int, lots_per_micro: Floats, block: Block, start: int, stop: int, sell_prices: Floats | None
    ) -> None:
        """Move tickers to target weights: sized on the close of ``bar``, filled at the open of the next row.

        Args:
            bar: row decided on; the next row must hold an open for each of the tickers.
            lots_per_micro: shape ``(K,)``: weight / (last close × unit), so that times equity it is the target in lots.
            block: its entries ``start`` to ``stop`` name the tickers (rising) and hold the prices of buys (micros per
                lot, slippage included); they become the fills.
            sell_prices: shape ``(K,)``, where they differ from those of buys.
        """
        columns, lots = block.ticker[start:stop], block.lots[start:stop]
        target = lots_per_micro * self.spendable(bar)
        target += LOT_SLACK
        np.trunc(target, out=target)
        np.subtract(target, self.lots[columns], out=lots)
        if self.next_action == bar + 1:
            self.open(bar + 1)
            self._split_orders(bar, columns, lots)
            target = self.lots[columns] + lots
        if sell_prices is not None:
            np.copyto(block.price[start:stop], sell_prices, where=lots < 0.0)
        elif self._impact:
            self._price_by_quantity(block, bar + 1, start, stop)
        after = self._cash_after(block, start, stop)
        if after < 0.0 and (lots > 0.0).any():
            before = target - lots
            after = self._trim(block, bar, start, stop)
            target = before + lots
        self.lots[columns] = target
        self.cash = after

    def _split_orders(self, bar: int, columns: NDArray[np.int64], lots: Floats) -> None:
        """Make orders of old shares (shape ``(K,)``, in place) that fill at the next row orders of new ones."""
        for split in self.corporate.splits.get(bar + 1, ()):
            for place in np.flatnonzero((columns == split.column) & (lots != 0.0)).tolist():
                old = float(lots[place])
                lots[place] = split_order(old, split.ratio)
                if not lots[place]:
                    self.note_unfilled(bar + 1, split.column, old, NOTHING_LEFT, bar)

    def _price_by_quantity(self, block: Block, bar: int, start: int, stop: int) -> None:
        cells = zip(block.ticker[start:stop].tolist(), block.lots[start:stop].tolist(), strict=True)
        block.price[start:stop] = [self.price(bar, column, lots) for column, lots in cells]

    def _cash_after(self, block: Block, start: int, stop: int) -> float:
        """Cash once these entries of the block are paid, in micros; notes notional and fees beside them."""
        lots, price, notional = block.lots[start:stop], block.price[start:stop], block.notional[start:stop]
        np.multiply(lots, price, out=notional)
        np.rint(notional, out=notional)
        after = self.cash - float(np.add.reduce(notional))
        if self._charged:
            fees = self._fees(lots, price, notional)
            block.fees[start:stop] = fees
            after -= float(np.add.reduce(fees))
        return after

    def _trim(self, block: Block, bar: int, start: int, stop: int) -> float:
        """Cut the buys among these entries to what cash allows after the sells; returns cash after all."""
        columns, lots, price = block.ticker[start:stop], block.lots[start:stop], block.price[start:stop]
        buys = np.flatnonzero(lots > 0.0)
        wanted = lots[buys].tolist()
        lots[buys] = 0.0
        free = self._cash_after(block, start, stop)
        kept = self.affordable(free, wanted, price[buys].tolist())
        lots[buys] = kept
        for column, want, keep, at in zip(columns[buys].tolist(), wanted, kept, price[buys].tolist(), strict=True):
            self.note_trimmed(bar + 1, bar, column, want - keep, at)
        return self._cash_after(block, start, stop)

    # Shared with the order-by-order path.

    def affordable(
        self, free: float, lots: list[float], prices: list[float], rates: list[float] | None = None
    ) -> list[float]:
        """What of these buys ``free`` micros pay for, by the trimming rule; ``rates`` of the prices' currencies."""
        return trim(free, lots, prices, self.fee if self._charged else None, self.terms.lots_per_share, rates)

    def note_trimmed(self, bar: int, decided: int, column: int, missing_lots: float, price: float) -> None:
        """Count the part of a buy, decided on another row, that cash did not cover."""
        if missing_lots > 0.0:
            self.trimmed_fills += 1
            self.trimmed_micro += self.converted(bar, column, float(round(missing_lots * price)))
            self.note_unfilled(bar, column, missing_lots, "no cash", decided)

    def note_unfilled(self, bar: int, column: int, lots: float, reason: str, decided: int | None = None) -> None:
        """Keep an order, or the rest of one, that ended without a fill.

        ``lots`` NaN: it was never sized; ``decided`` None: on the same row.
        """
        self.unfilled.append(Unfilled(bar, column, lots / self.terms.lots_per_share, reason))
        self.unfilled_decided.append(bar if decided is None else decided)


def _last_closes(close: Floats) -> Floats:
    """Each ticker's last close at each bar; 0 before its first, where nothing can be held."""
    filled = forward_fill(close)
    return filled if filled is close else np.nan_to_num(filled, copy=False, nan=0.0)
