"""Live books against the backtest of the same time and config: where the difference in profit comes from, in money.

Per decision (a bar) and ticker, with q shares that traded, n the money they took (signed as q), i the shares that were
decided, P the price at the end, and p the price that the backtest traded at (where it did not trade, the market when
the live order could first trade, or else what it traded at):

    decisions   (i_live − i_backtest) × (P − p)
    unfilled    ((q_live − i_live) − (q_backtest − i_backtest)) × (P − p)
    fill prices q_live × p − n_live
    costs       fees_backtest − fees_live

Their sum over all of these, and what shares that were held at the start gained, is the whole difference; what is left
is income (dividends, interest) and the difference of valuations. Shares and prices of both are adjusted for the splits
and dividends up to the end, so that a share of one day is one of any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats, Times
from framework.model.result import Ints

#: Quantities closer than this are the same; the scale of adjusted prices has some rounding.
SAME_SHARES = 1e-6


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two in the period, in adjusted shares and prices; money in the portfolio's currency.

    ``K`` fills, shape ``(K,)``: ``decided`` (label of the bar), ``ticker``, ``quantity`` (signed), ``notional`` (signed
    as the quantity), ``fees``, ``arrival`` (of one share; NaN: unknown). ``M`` orders, shape ``(M,)``: ``order_bar``,
    ``order_ticker``, ``order_quantity`` (signed, as decided). ``held``: shape ``(N,)``, shares at the start.
    ``profit``: in the period.
    """

    decided: Times
    ticker: Ints
    quantity: Floats
    notional: Floats
    fees: Floats
    arrival: Floats
    order_bar: Times
    order_ticker: Ints
    order_quantity: Floats
    held: Floats
    profit: float


@dataclass(frozen=True, eq=False)
class Attribution:
    """The difference, part by part.

    ``D`` pairs of decision and ticker, in order of time, shape ``(D,)`` each: ``bar``, ``ticker``, shares as decided
    (``wanted_*``) and as traded (``traded_*``), prices of a share (``price_*``; NaN: nothing traded), ``fees_*``, and
    the parts in money, positive where the books made more.

    Attributes:
        names: tickers, that ``ticker`` points into.
        live_profit, backtest_profit: in the period, money.
        held_at_start: what shares that only one of the two held at the start gained.
    """

    names: tuple[str, ...]
    bar: Times
    ticker: Ints
    wanted_live: Floats
    wanted_backtest: Floats
    traded_live: Floats
    traded_backtest: Floats
    price_live: Floats
    price_backtest: Floats
    fees_live: Floats
    fees_backtest: Floats
    decisions: Floats
    unfilled: Floats
    fill_prices: Floats
    costs: Floats
    live_profit: float
    backtest_profit: float
    held_at_start: float

    def __len__(self) -> int:
        return len(self.bar)

    @property
    def difference(self) -> float:
        """Live profit − backtest's."""
        return self.live_profit - self.backtest_profit

    @cached_property
    def parts(self) -> dict[str, float]:
        """Together they are the difference; money."""
        known = {
            "decisions": float(self.decisions.sum()),
            "unfilled": float(self.unfilled.sum()),
            "fill_prices": float(self.fill_prices.sum()),
            "costs": float(self.costs.sum()),
            "held_at_start": self.held_at_start,
        }
        rounded = {name: round(value, 6) + 0.0 for name, value in known.items()}
        return {**rounded, "income_and_valuation": round(self.difference - sum(rounded.values()), 6) + 0.0}

    @cached_property
    def is_same_decision(self) -> NDArray[np.bool_]:
        """Where both decided the same number of shares, shape ``(D,)``."""
        return np.abs(self.wanted_live - self.wanted_backtest) <= _tolerance(self.wanted_live, self.wanted_backtest)

    @cached_property
    def is_same_fill(self) -> NDArray[np.bool_]:
        """Where both traded the same number of shares at the same price, shape ``(D,)``."""
        shares = np.abs(self.traded_live - self.traded_backtest) <= _tolerance(self.traded_live, self.traded_backtest)
        prices = np.isclose(self.price_live, self.price_backtest, rtol=1e-6, atol=1e-9, equal_nan=True)
        return shares & prices


def _tolerance(a: Floats, b: Floats) -> Floats:
    tolerance: Floats = SAME_SHARES * np.maximum(1.0, np.maximum(np.abs(a), np.abs(b)))
    return tolerance


def attribute(names: Sequence[str], live: Side, backtest: Side, at_start: Floats, at_end: Floats) -> Attribution:
    """Where the difference of profit comes from.

    Args:
        names: the ``N`` tickers.
        live, backtest: the two.
        at_start, at_end: shape ``(N,)``: what a share was worth at the start and at the end of the period.
    """
    keys = _keys(live, backtest)
    bar, ticker = keys.bar, keys.ticker
    traded_live, traded_backtest = keys.sum(live, live.quantity), keys.sum(backtest, backtest.quantity)
    paid_live, paid_backtest = keys.sum(live, live.notional), keys.sum(backtest, backtest.notional)
    fees_live, fees_backtest = keys.sum(live, live.fees), keys.sum(backtest, backtest.fees)
    wanted_live, wanted_backtest = keys.ordered(live), keys.ordered(backtest)
    price_live, price_backtest = _per_share(paid_live, traded_live), _per_share(paid_backtest, traded_backtest)
    arrival = _per_share(keys.sum(live, live.quantity * live.arrival), traded_live)
    reference = np.where(np.isnan(price_backtest), np.where(np.isnan(arrival), price_live, arrival), price_backtest)
    end = np.nan_to_num(at_end[ticker])
    # Decided by one alone and traded by none: the price at the end of its bar is not known here, so it counts for 0.
    gain = np.where(np.isnan(reference), 0.0, end - np.nan_to_num(reference))
    missing = (traded_live - wanted_live) - (traded_backtest - wanted_backtest)
    held = (live.held - backtest.held) * np.nan_to_num(at_end - at_start)
    return Attribution(
        names=tuple(names),
        bar=bar,
        ticker=ticker,
        wanted_live=wanted_live,
        wanted_backtest=wanted_backtest,
        traded_live=traded_live,
        traded_backtest=traded_backtest,
        price_live=price_live,
        price_backtest=price_backtest,
        fees_live=fees_live,
        fees_backtest=fees_backtest,
        decisions=(wanted_live - wanted_backtest) * gain,
        unfilled=missing * gain,
        # What a side took without shares left, by a purchase and a sale of one decision, counts whole.
        fill_prices=traded_live * np.nan_to_num(reference)
        - paid_live
        + np.where(np.isnan(price_backtest), paid_backtest, 0.0),
        costs=fees_backtest - fees_live,
        live_profit=live.profit,
        backtest_profit=backtest.profit,
        held_at_start=round(float(held.sum()), 6) + 0.0,
    )


@dataclass(frozen=True, eq=False)
class _Keys:
    """The distinct pairs of bar and ticker, in order, and where the fills and orders of a side are among them."""

    bar: Times
    ticker: Ints

    @cached_property
    def _number(self) -> dict[tuple[int, int], int]:
        return {key: number for number, key in enumerate(_pairs(self.bar, self.ticker))}

    def place(self, bar: Times, ticker: Ints) -> NDArray[np.intp]:
        return np.array([self._number[key] for key in _pairs(bar, ticker)], dtype=np.intp)

    def sum(self, side: Side, values: Floats) -> Floats:
        sums = np.zeros(len(self.bar))
        np.add.at(sums, self.place(side.decided, side.ticker), values)
        return sums

    def ordered(self, side: Side) -> Floats:
        sums = np.zeros(len(self.bar))
        np.add.at(sums, self.place(side.order_bar, side.order_ticker), side.order_quantity)
        return sums


def _keys(live: Side, backtest: Side) -> _Keys:
    bars = np.concatenate([live.decided, live.order_bar, backtest.decided, backtest.order_bar])
    tickers = np.concatenate([live.ticker, live.order_ticker, backtest.ticker, backtest.order_ticker])
    distinct = sorted(set(_pairs(bars, tickers)))
    return _Keys(
        np.array([bar for bar, _ in distinct], dtype=np.int64).astype("datetime64[us]"),
        np.array([ticker for _, ticker in distinct], dtype=np.int64),
    )


def _pairs(bar: Times, ticker: Ints) -> list[tuple[int, int]]:
    return list(zip(bar.astype("datetime64[us]").astype(np.int64).tolist(), ticker.tolist(), strict=True))


def _per_share(paid: Floats, shares: Floats) -> Floats:
    price = np.full(len(paid), np.nan)
    np.divide(paid, shares, out=price, where=np.abs(shares) > 1e-12)
    return price
