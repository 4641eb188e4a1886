"""What a risk rule is shown, and the only ways in which it can change it: towards fewer shares, with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framework.errors import RiskRuleError
from framework.model.money import WHOLE, cut
from framework.model.panel import Floats
from framework.model.result import Ints

_ARRAYS = ("positions", "pending", "prices", "price_age_bars", "columns", "asked", "limit_prices", "stop_prices")

#: A limit is passed by more than this fraction of it, or it is float noise.
_NOISE = 1e-9

#: A reason, or what makes one from an order's column: texts are made for the orders that are changed only.
Reason = str | Callable[[int], str]


class Refusal(NamedTuple):
    """Shares (signed) that a rule took from an order; the reason begins with its name: ``max_weight: 0.52 > 0.5``."""

    order: int
    shares: float
    reason: str


class Note(NamedTuple):
    """What a rule reports and does not change: ``text`` says what, the same at every bar; ``detail`` how much."""

    text: str
    detail: str


class _Split(NamedTuple):
    """The orders as they stand: what of each reduces a position, ``(K,)`` shares, and what results, ``(N,)``."""

    reducing: Floats
    resulting: Floats


@dataclass(eq=False)
class _Draft:
    """What the rules have made of the orders so far."""

    left: Floats
    refusals: dict[tuple[int, str], Refusal] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    halt: str | None = None
    #: The rule at work: its name, and whether it may block what reduces a position.
    rule: str = ""
    is_free: bool = False
    split: _Split | None = None


@dataclass(frozen=True, eq=False)
class Proposal:
    """One whole decision: the orders that a strategy wants to send, and the portfolio that they are for.

    A rule reads what it likes and calls :meth:`shrink`, :meth:`refuse`, :meth:`scale`, :meth:`cap` or :meth:`halt`.
    What reduces a position is kept whatever a rule asks, unless its class says ``may_block_reductions``; an order
    never grows, turns round or appears. Arrays are read-only; those over the portfolio's N tickers have shape ``(N,)``,
    those over the decision's K orders ``(K,)``.

    Attributes:
        portfolio_id: as in the config.
        time: of the decision, aware UTC.
        tickers: N names.
        positions: ``(N,)`` shares held now.
        pending: ``(N,)`` signed shares on their way from earlier decisions: unfilled market orders and targets, and
            resting orders that would increase a position.
        prices: ``(N,)`` last close, per share, in the ticker's currency; 0 before a ticker's first bar.
        price_age_bars: ``(N,)`` bars since the ticker's last one: 0 = it has the current bar, inf = it never had one.
        columns: ``(K,)`` int, the ticker of each order.
        asked: ``(K,)`` signed shares that the strategy asked for.
        limit_prices, stop_prices: ``(K,)`` per share; NaN where the order has none.
        equity, cash: in the portfolio's currency.
        drawdown: of the return index below its peak: 0 at the peak, −0.2 a fifth below, never under −1.
        orders_last_minute: how many orders were sent in the 60 seconds before this decision.
        halted_by: why the portfolio is halted; None if it is not.
        lots_per_share: quantities are whole multiples of one over this.
        rates: ``(N,)`` units of the portfolio's currency per unit of the ticker's; NaN: none is known yet. None: all
            tickers are in the portfolio's currency.
    """

    portfolio_id: str
    time: datetime
    tickers: tuple[str, ...]
    positions: Floats
    pending: Floats
    prices: Floats
    price_age_bars: Floats
    columns: Ints
    asked: Floats
    limit_prices: Floats
    stop_prices: Floats
    equity: float
    cash: float
    drawdown: float = 0.0
    orders_last_minute: int = 0
    halted_by: str | None = None
    lots_per_share: float = WHOLE
    rates: Floats | None = None
    _draft: _Draft = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            object.__setattr__(self, name, _read_only(getattr(self, name).view()))
        object.__setattr__(self, "_draft", _Draft(self.asked))

    # --- what is known -------------------------------------------------------------------------------------------

    @property
    def orders(self) -> Floats:
        """``(K,)`` signed shares, as the rules before left them; 0: refused."""
        return self._draft.left

    @cached_property
    def is_resting(self) -> NDArray[np.bool_]:
        """``(K,)``: whether the order has a limit or a stop, and so may never fill."""
        return ~(np.isnan(self.limit_prices) & np.isnan(self.stop_prices))

    @cached_property
    def order_prices(self) -> Floats:
        """``(K,)``: the price to value each order at: its limit, else its stop, else the last close."""
        stops = np.where(np.isnan(self.stop_prices), self.prices[self.columns], self.stop_prices)
        return _read_only(np.where(np.isnan(self.limit_prices), stops, self.limit_prices))

    @cached_property
    def share_values(self) -> Floats:
        """``(N,)``: what a share is worth at the last close, in the portfolio's currency; 0: not known yet."""
        return self.prices if self.rates is None else _read_only(self.prices * np.nan_to_num(self.rates))

    @cached_property
    def order_values(self) -> Floats:
        """``(K,)``: :attr:`order_prices` in the portfolio's currency."""
        if self.rates is None:
            return self.order_prices
        return _read_only(self.order_prices * np.nan_to_num(self.rates)[self.columns])

    @property
    def is_halted(self) -> bool:
        """Whether the portfolio is halted, by a rule or by hand."""
        return self.halted_by is not None or self._draft.halt is not None

    @cached_property
    def _groups(self) -> tuple[NDArray[np.bool_], ...]:
        """Masks ``(K,)``: each ticker's first market orders, its second …, and last the resting ones.

        Whether an order reduces or increases depends on those of the groups before its own.
        """
        seen: Counter[int] = Counter()
        rank = np.zeros(len(self.asked), dtype=np.int64)
        for order in np.flatnonzero(~self.is_resting).tolist():
            column = int(self.columns[order])
            rank[order] = seen[column]
            seen[column] += 1
        market = (~self.is_resting & (rank == number) for number in range(max(seen.values(), default=0)))
        return (*market, self.is_resting)

    @property
    def increasing(self) -> Floats:
        """``(K,)`` shares ≥ 0: the part of each order that would make a position larger; all that a rule can take."""
        return _read_only(np.abs(self.orders) - self._split().reducing)

    @property
    def resulting(self) -> Floats:
        """``(N,)`` shares held once all is filled. Limits and stops that reduce may never fill and don't count."""
        return self._split().resulting

    @property
    def values(self) -> Floats:
        """``(N,)`` resulting positions at the last close, signed, in the portfolio's currency."""
        return _read_only(self.resulting * self.share_values)

    @property
    def gross(self) -> float:
        """Σ |value| of the resulting positions."""
        return float(np.add.reduce(np.abs(self.values)))

    @property
    def net(self) -> float:
        """Σ value of the resulting positions."""
        return float(np.add.reduce(self.values))

    @property
    def weights(self) -> Floats:
        """``(N,)`` resulting values as fractions of equity; infinite where equity is gone."""
        return self.as_weights(self.values)

    @property
    def weights_now(self) -> Floats:
        """``(N,)`` values of the positions held now as fractions of equity."""
        return self.as_weights(self.positions * self.share_values)

    def as_weights(self, values: Floats) -> Floats:
        """Values as fractions of equity; infinite where equity is 0 or less, 0 where the value is."""
        equity = max(self.equity, 0.0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return _read_only(np.where(values == 0.0, 0.0, values / equity))

    # --- what can be done ----------------------------------------------------------------------------------------

    def shrink(self, order: int, shares: float, reason: str) -> None:
        """Leave at most ``shares`` (≥ 0, cut to lots towards zero) of an order, and what of it reduces a position."""
        _check(shares >= 0.0, f"shrink() was given {shares!r} shares; allowed: 0 or more")
        _check(0 <= order < len(self.orders), f"there is no order {order!r}; allowed: 0 to {len(self.orders) - 1}")
        kept = np.abs(self.orders)
        kept[order] = shares
        self._keep(kept, reason)

    def refuse(self, order: int, reason: str) -> None:
        """Leave nothing of an order but what reduces a position."""
        self.shrink(order, 0.0, reason)

    def scale(self, factor: float, reason: Reason, orders: NDArray[np.bool_] | None = None) -> None:
        """Multiply what increases a position by ``factor`` (0 to 1), in all orders or those of the mask ``(K,)``."""
        _check(0.0 <= factor <= 1.0, f"scale() was given factor {factor!r}; allowed: 0 to 1")
        chosen = np.ones(len(self.orders), dtype=np.bool_) if orders is None else orders
        for group in self._groups:
            kept, mine = np.abs(self.orders), group & chosen
            reducing = self._split().reducing
            kept[mine] = reducing[mine] + factor * (kept - reducing)[mine]
            self._keep(kept, reason)

    def cap(self, shares: Floats, reason: Reason) -> None:
        """Shrink orders until no resulting position is above ``shares`` ``(N,)`` either way: resting orders first."""
        _check(bool(np.all(shares >= 0.0)), f"cap() was given {shares!r}; allowed: 0 or more shares per ticker")
        resting = [np.arange(len(self.orders)) == order for order in np.flatnonzero(self.is_resting)]
        before = None
        while before is not self.orders:  # again: what reduced an order that is cut now may have come to increase
            before = self.orders
            for group in (*reversed(resting), *reversed(self._groups[:-1])):
                self._cap(group, shares, reason)

    def _cap(self, group: NDArray[np.bool_], shares: Floats, reason: Reason) -> None:
        resulting = self.resulting
        excess = np.maximum(np.abs(resulting) - shares, 0.0)[self.columns]
        guilty = (
            group
            & (excess > _NOISE * shares[self.columns])
            & (np.sign(self.orders) == np.sign(resulting)[self.columns])
        )
        if guilty.any():
            size = np.abs(self.orders)
            self._keep(np.where(guilty, np.maximum(size - excess, 0.0), size), reason)

    def halt(self, reason: str) -> None:
        """Halt the portfolio: nothing of this decision is sent, what is open is taken back, and no other follows."""
        draft = self._draft
        draft.halt = draft.halt or f"{draft.rule}: {reason}"
        self.scale(0.0, reason)

    def note(self, text: str, detail: str = "") -> None:
        """Report something: ``text`` the same each time it is so (it is counted), ``detail`` the figures."""
        self._draft.notes.append(Note(f"{self._draft.rule}: {text}", detail))

    # --- how it is kept ------------------------------------------------------------------------------------------

    def _keep(self, wanted: Floats, reason: Reason) -> None:
        """Bring the orders down to ``wanted`` shares ``(K,)`` ≥ 0, as far as the rule may."""
        draft, size = self._draft, np.abs(self.orders)
        floor = np.zeros(len(size)) if draft.is_free else self._split().reducing
        changed = np.flatnonzero(wanted < size)
        if not len(changed):
            return
        kept = size.copy()
        cut_down = cut(wanted[changed] * self.lots_per_share) / self.lots_per_share
        kept[changed] = np.minimum(size[changed], np.maximum(cut_down, floor[changed]))
        reducing = self._split().reducing
        for order in np.flatnonzero(kept < size).tolist():
            said = reason(int(self.columns[order])) if callable(reason) else reason
            self._record(order, size[order] - kept[order], said, is_blocked=bool(kept[order] < reducing[order]))
        draft.left = _read_only(np.copysign(kept, self.orders) + 0.0)  # no −0
        draft.split = None

    def _record(self, order: int, shares: float, reason: str, *, is_blocked: bool) -> None:
        _check(isinstance(reason, str) and bool(reason.strip()), f"a reason was {reason!r}; it must say why, in words")
        draft = self._draft
        text = f"{draft.rule}: {reason}" + (", reductions too" if is_blocked else "")
        signed = float(np.copysign(shares, self.orders[order]))
        before = draft.refusals.get((order, draft.rule))
        if before is not None:
            text, signed = before.reason, before.shares + signed
        draft.refusals[order, draft.rule] = Refusal(order, signed, text)

    def _split(self) -> _Split:
        draft = self._draft
        if draft.split is None:
            draft.split = self._computed()
        return draft.split

    def _computed(self) -> _Split:
        left, columns, resting = self.orders, self.columns, self._groups[-1]
        base, met = self.positions + self.pending, np.empty(len(left))
        for group in self._groups:
            met[group] = base[columns[group]]
            if group is not resting:
                base[columns[group]] += left[group]
        # Two resting exits of one position (a stop and a limit) are alternatives: each reduces it.
        size = np.abs(left)
        reducing = np.where(left * met < 0.0, np.minimum(size, np.abs(met)), 0.0)
        grows = np.where(resting, size - reducing, 0.0)
        long, short = np.maximum(base, 0.0), np.maximum(-base, 0.0)
        np.add.at(long, columns[left > 0.0], grows[left > 0.0])
        np.add.at(short, columns[left < 0.0], grows[left < 0.0])
        return _Split(_read_only(reducing), _read_only(np.where(long >= short, long, -short)))


def _check(holds: bool, text: str) -> None:
    if not holds:
        raise RiskRuleError(text)


def _read_only(array: Floats) -> Floats:
    array.setflags(write=False)
    return array
