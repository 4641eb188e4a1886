"""Risk rules at work on an order book: its new orders and account as a proposal, the rules' answer as orders again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import numpy as np

from framework.books.returns import ReturnIndex
from framework.engine.account import Account
from framework.engine.matching import Waiting
from framework.engine.order_rules import Reviewed
from framework.engine.orders import OrderBook
from framework.model.money import MICRO
from framework.model.panel import Floats, Panel
from framework.model.result import Ints
from framework.model.timeline import Timeline, moment
from framework.trading.proposal import Note, Proposal
from framework.trading.risk import NamedRule, Review, review_orders

_MINUTE = np.timedelta64(60, "s")
#: How often progress is told.
_PROGRESS_ROWS = 64


@dataclass(frozen=True)
class Standing:
    """How a portfolio stands at a decision, as far as account and orders don't tell.

    Attributes:
        portfolio_id: names it in errors.
        tickers: names of the account's columns.
        time: of the decision, aware UTC.
        price_age_bars: shape ``(N,)``: bars since each ticker's last one, see :class:`Ages`.
        drawdown: of the return index below its peak, −1 to 0.
        orders_last_minute: sent in the 60 seconds before.
        halted_by: why it is halted; None: it is not.
    """

    portfolio_id: str
    tickers: tuple[str, ...]
    time: datetime
    price_age_bars: Floats
    drawdown: float = 0.0
    orders_last_minute: int = 0
    halted_by: str | None = None


def proposal_of(
    account: Account, bar: int, new: Sequence[Waiting], earlier: Sequence[Waiting], standing: Standing
) -> Proposal:
    """What rules are shown of the orders decided on the close of ``bar``.

    Args:
        account: as it stands at that close.
        bar: row of the account's panel.
        new: the orders of this decision.
        earlier: those that were sent before and are still open.
        standing: the rest.
    """
    per_share = account.terms.lots_per_share
    terms = [order.terms for order in new]
    return Proposal(
        portfolio_id=standing.portfolio_id,
        time=standing.time,
        tickers=standing.tickers,
        positions=account.lots / per_share,
        pending=_pending(account.lots, earlier) / per_share,
        prices=account.closes[bar],
        price_age_bars=standing.price_age_bars,
        columns=np.array([order.column for order in new], dtype=np.int64),
        asked=np.array([order.lots for order in new], dtype=np.float64) / per_share,
        limit_prices=_prices([term.limit_price for term in terms]),
        stop_prices=_prices([term.stop_price for term in terms]),
        equity=account.equity_at(bar),
        cash=account.cash_at(bar),
        drawdown=standing.drawdown,
        orders_last_minute=standing.orders_last_minute,
        halted_by=standing.halted_by,
        lots_per_share=per_share,
        rates=None if account.rates is None else account.rates.at_close[bar],
    )


def _prices(prices: Sequence[float | None]) -> Floats:
    return np.array([np.nan if price is None else price for price in prices], dtype=np.float64)


def _pending(held: Floats, earlier: Sequence[Waiting]) -> Floats:
    """Signed lots that earlier orders may still add to what is held; exits that rest at their price are left out."""
    pending = np.zeros(len(held))
    for order in earlier:
        if order.is_on_its_way:
            pending[order.column] += order.lots
    base = held + pending
    bought, sold = np.zeros(len(held)), np.zeros(len(held))
    for order in earlier:
        met = float(base[order.column])
        if not order.is_on_its_way:
            grows = abs(order.lots) - (min(abs(order.lots), abs(met)) if order.lots * met < 0.0 else 0.0)
            (bought if order.lots > 0.0 else sold)[order.column] += grows
    return pending + np.where(bought >= sold, bought, -sold)


def applied(review: Review, new: Sequence[Waiting], lots_per_share: float) -> Reviewed:
    """The orders that a review leaves, and what it took, in lots."""
    kept: list[Waiting] = []
    for order, shares in zip(new, review.kept.tolist(), strict=True):
        lots = _lots(order, shares, lots_per_share)
        if lots:
            kept.append(order if lots == order.lots else replace(order, lots=lots))
    taken = [
        (new[refusal.order], _lots(new[refusal.order], refusal.shares, lots_per_share), refusal.reason)
        for refusal in review.refusals
    ]
    return kept, taken


def _lots(order: Waiting, shares: float, lots_per_share: float) -> float:
    """Shares of an order in lots; all of it is exactly its lots, which shares as a float may not be able to say."""
    return order.lots if shares == order.lots / lots_per_share else float(round(shares * lots_per_share))


class Ages:
    """How many bars old each ticker's last bar is, at every bar of a panel."""

    def __init__(self, panel: Panel) -> None:
        missing = np.isnan(panel.close)
        self._none = np.zeros(len(panel.tickers))
        self._last: np.ndarray[tuple[int, ...], np.dtype[np.int32]] | None = None
        if missing.any():
            rows = np.arange(len(panel), dtype=np.int32)[:, None]
            self._last = np.maximum.accumulate(np.where(missing, np.int32(-1), rows), axis=0)

    def at(self, bar: int) -> Floats:
        """Shape ``(N,)``: 0 = it has this bar, inf = it never had one."""
        if self._last is None:
            return self._none
        last = self._last[bar]
        return np.where(last < 0, np.inf, bar - last.astype(np.float64))


class RiskReview:
    """The rules of one portfolio on one decision; what an :class:`~framework.engine.orders.OrderBook` calls.

    Attributes:
        halt: afterwards: why the portfolio is to halt, or None.
        notes: afterwards: what rules reported.
    """

    def __init__(self, rules: Sequence[NamedRule], account: Account, standing: Standing) -> None:
        self.halt: str | None = None
        self.notes: tuple[Note, ...] = ()
        self._rules, self._account, self._standing = rules, account, standing

    def __call__(self, bar: int, new: Sequence[Waiting], earlier: Sequence[Waiting]) -> Reviewed:
        """Review the orders decided on the close of ``bar``.

        Raises:
            RiskRuleError: a rule failed; nothing of the decision may be sent.
        """
        review = review_orders(self._rules, proposal_of(self._account, bar, new, earlier, self._standing))
        self.halt, self.notes = review.halt, review.notes
        return applied(review, new, self._account.terms.lots_per_share)


class _Reported(NamedTuple):
    """How often a rule has reported something, and the first time."""

    times: int
    day: str
    detail: str

    def words(self) -> str:
        shown = f" ({self.detail})" if self.detail else ""
        return f"{self.times} decision{'s' if self.times > 1 else ''}, first on {self.day}{shown}"


class BacktestReview:
    """The rules of one portfolio in a backtest, and what they must remember: peak, halt, orders of the last minute."""

    def __init__(
        self, rules: Sequence[NamedRule], account: Account, panel: Panel, timeline: Timeline, portfolio_id: str
    ) -> None:
        self.halted_by: str | None = None
        self._rules, self._account, self._timeline = rules, account, timeline
        self._portfolio_id, self._tickers, self._ages = portfolio_id, panel.tickers, Ages(panel)
        self._index = ReturnIndex()
        self._seen = account.valued
        self._sent: deque[tuple[np.datetime64, int]] = deque()
        self._halted_on = ""
        self._notes: dict[str, _Reported] = {}

    def __call__(self, bar: int, new: Sequence[Waiting], earlier: Sequence[Waiting]) -> Reviewed:
        """Review the orders decided on the close of ``bar``; to be called at every decision, also one without orders.

        Raises:
            RiskRuleError: a rule failed.
        """
        due_at = self._timeline.available[bar]
        standing = Standing(
            self._portfolio_id,
            self._tickers,
            moment(due_at),
            self._ages.at(bar),
            self._drawdown(bar),
            self._sent_since(due_at - _MINUTE),
        )
        review = RiskReview(self._rules, self._account, standing)
        kept, refused = review(bar, new, earlier)
        day = f"{standing.time:%Y-%m-%d}"
        for note in review.notes:
            before = self._notes.get(note.text, _Reported(0, day, note.detail))
            self._notes[note.text] = before._replace(times=before.times + 1)
        if review.halt is not None:
            self.halted_by, self._halted_on = review.halt, day
            return [], [*refused, *((order, order.lots, f"halted: {review.halt}") for order in kept)]
        if kept:
            self._sent.append((due_at, len(kept)))
        return kept, refused

    def close(self, book: OrderBook, bar: int) -> bool:
        """End the decision on the close of ``bar``; whether there may be another.

        As live: a halt takes back all open orders, and a halted portfolio decides no more.
        """
        book.close_decision(bar)
        if self.halted_by is not None:
            book.cancel_all(bar, "halted")
        return self.halted_by is None

    def notes(self) -> tuple[str, ...]:
        """What a reader of the result should know: the halt, and what rules reported without changing anything."""
        who = f"portfolio {self._portfolio_id}:"
        halt = [] if self.halted_by is None else [f"{who} halted on {self._halted_on} by {self.halted_by}"]
        return (*halt, *(f"{who} {text} at {kept.words()}" for text, kept in self._notes.items()))

    def _drawdown(self, bar: int) -> float:
        """How far the return index at the close of ``bar`` is below its peak; all closes since the last call count."""
        self._account.value_to(bar)
        if self._seen < bar:
            self._account.catch_up()
        rows = np.arange(self._seen, bar + 1)
        values, money_in = self._account.equity[rows] / MICRO, self._account.money_in(rows) / MICRO
        for value, money in zip(values.tolist(), money_in.tolist(), strict=True):
            self._index.add(value, money)
        self._seen = bar + 1
        return self._index.drawdown

    def _sent_since(self, moment: np.datetime64) -> int:
        while self._sent and self._sent[0][0] <= moment:
            self._sent.popleft()
        return sum(count for _, count in self._sent)


def decide_by_order(
    book: OrderBook,
    review: BacktestReview | None,
    rows: Ints,
    weights: Floats,
    before: Callable[[int], None],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Decide and fill target weights order by order, with a review of each decision where there are rules.

    Args:
        book: whose review is asked.
        review: it, if any.
        rows: to decide on, rising.
        weights: shape ``(T, N)``; NaN: leave as it is.
        before: called with each row before it is decided on.
        progress: called now and then with (rows done, rows in all).
    """
    for done, row in enumerate(rows.tolist()):
        if progress is not None and done % _PROGRESS_ROWS == 0:
            progress(done, len(rows))
        before(row)
        book.run_to(row)
        asked = weights[row]
        columns = np.flatnonzero(asked == asked)  # not NaN
        book.target_weights(row, columns, asked[columns])
        if review is not None and not review.close(book, row):
            return
