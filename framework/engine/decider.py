"""What a portfolio decides on its newest bar: the strategy asked, its wishes sized, reviewed, and made a decision row.

Nothing here writes: all that is decided is in the :class:`framework.books.journal.Decision` that comes out.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from framework.books import journal
from framework.books.journal import LastDecision, LiveOrder
from framework.books.open import Identity
from framework.books.state import PortfolioState, Valuation
from framework.data.coming import Coming
from framework.data.currencies import LiveRates
from framework.data.flow_dates import DatedFlow
from framework.data.fx import Quotes
from framework.data.slots import Schedule, Slots
from framework.data.window import Window
from framework.engine.account import Terms
from framework.engine.desk import Desk
from framework.engine.review import Ages, RiskReview, Standing
from framework.engine.schedule import decision_moment, decision_rows, gather_missed
from framework.errors import EngineError, StrategyError
from framework.model.bars import CorporateAction
from framework.model.orders import OrderTerms
from framework.model.rates import Rates
from framework.model.result import Unfilled
from framework.model.timeline import Timeline, moment, stamp
from framework.trading.broker import Broker
from framework.trading.context import Context, Cursor, IndicatorMaker, SetupContext
from framework.trading.risk import NamedRule
from framework.trading.strategy import Strategy, style

#: The reason of intents that came too late to be sent.
LATE = "late decision"
#: Until when orders of a liquidation may be sent: they are wanted whenever the market opens next.
_LIQUIDATION_HOLDS = timedelta(days=10)


@dataclass(frozen=True, eq=False)
class Assignment:
    """What a worker runs.

    Attributes:
        identity: whose books.
        tickers: what the strategy sees and may trade.
        make_strategy: a fresh strategy object for each decision, since nothing may be kept on it between bars.
        strategy_name: its registered name.
        make_indicator: indicator from name and parameters.
        schedule: ``every_bar``, ``daily``, ``weekly``, ``monthly``, or slots.
        lookback: bars that a decision sees.
        terms: lots, buffer, costs.
        broker: where orders go.
        rules: risk rules, in their order.
        decision_seconds: a strategy that takes longer is not heard.
        adopt_signal: a first decision of target weights takes what stood last in the window, not only its last row.
        config_hash, code_hash: noted with each decision.
        since: exchange date of the first bar that is valued and decided on; those before are for the lookback.
        fx: gives the exchange rates of its tickers; None: all are in the portfolio's currency.
        actions: data source whose splits and dividends are booked; None: prices are adjusted for them.
        flows: money that comes and goes on dates, in order; of a replay.
        is_allocated: an allocator lists it, whose target may limit what its own are sized on.
    """

    identity: Identity
    tickers: tuple[str, ...]
    make_strategy: Callable[[], Strategy]
    strategy_name: str
    make_indicator: IndicatorMaker
    schedule: Schedule
    lookback: int
    terms: Terms
    broker: Broker
    rules: tuple[NamedRule, ...] = ()
    decision_seconds: float = 60.0
    adopt_signal: bool = False
    config_hash: str | None = None
    code_hash: str | None = None
    since: date | None = None
    fx: LiveRates | None = None
    actions: str | None = None
    flows: tuple[DatedFlow, ...] = ()
    is_allocated: bool = False


@dataclass(frozen=True, eq=False)
class StrategyData:
    """What a decision is made on: market window, cash and positions, latest valuation, journal: all of one moment."""

    now: datetime
    window: Window
    state: PortfolioState
    valuation: Valuation | None
    orders: tuple[LiveOrder, ...]
    last: LastDecision | None
    halted_by: str | None
    #: Whether a halt in force takes open orders back.
    is_cancelling: bool = False
    #: The last close known of each ticker, however old: what holdings are valued at that have no bar in the window.
    last_closes: Mapping[str, float] = field(default_factory=dict)
    #: Exchange rates, where any ticker is in another currency than the portfolio.
    quotes: Quotes | None = None
    #: Splits and dividends of one ex-date that are to be booked before anything is done with this.
    due: tuple[CorporateAction, ...] = ()
    #: What target weights are fractions of at most, where an allocation has left a limit.
    limit: Decimal | None = None

    @property
    def rates(self) -> Rates | None:
        """The exchange rates at the bars of the window."""
        return None if self.quotes is None else self.quotes.on(self.window.trade.tickers, self.window.timeline)


@dataclass(frozen=True)
class Recheck:
    """What risk rules say of orders that were decided earlier: those refused, by id with the reason; a halt."""

    refused: Mapping[str, str]
    halt: str | None


class Decider:
    """Decides for one portfolio.

    Args:
        assignment: what it runs.
        coming: the calendar.
        books_id: of the books, for the ids of orders.
        clock: the engine's moment.
    """

    def __init__(self, assignment: Assignment, coming: Coming, books_id: str, clock: Callable[[], datetime]) -> None:
        self._assignment, self._coming, self._books_id, self._clock = assignment, coming, books_id, clock
        self._latest: tuple[StrategyData | None, StrategyData | None] = None, None
        self._rows_of: tuple[StrategyData | None, NDArray[np.int64]] = None, np.empty(0, dtype=np.int64)
        self._ends: tuple[Timeline, NDArray[np.bool_]] | None = None

    def is_due(self, data: StrategyData) -> bool:
        """Whether the newest bar of the schedule is still to be decided on, and not too late."""
        seen = self._seen(data)
        if seen is None:
            return False
        clock = seen.window.timeline
        last, schedule = data.last, self._assignment.schedule
        if last is not None and last.bar_timestamp >= moment(clock.timestamps[-1]):
            return False
        if last is not None and isinstance(schedule, Slots) and last.due_at >= decision_moment(schedule, clock):
            return False  # the slot was served before this bar, which came late
        return data.now < self._coming.valid_until(schedule, clock)

    def missed(self, data: StrategyData) -> int:
        """How many moments of the schedule have gone by between the last decision and the one that is due."""
        if data.last is None:
            return 0
        clock = data.window.timeline
        rows = self._decision_rows(data)
        return max(0, int((clock.timestamps[rows] > stamp(data.last.bar_timestamp)).sum()) - 1)

    def due_at(self, data: StrategyData) -> datetime:
        """The moment of the decision that is due."""
        seen = self._seen(data)
        assert seen is not None, "it is due"
        return decision_moment(self._assignment.schedule, seen.window.timeline)

    def decide(self, data: StrategyData, drawdown: float, orders_last_minute: int) -> journal.Decision:
        """Ask the strategy what it wants, as the risk rules leave it.

        Args:
            data: on which a decision :meth:`is_due`.
            drawdown: of the return index below its peak, for the rules.
            orders_last_minute: those decided in the minute before, for the rules.

        Raises:
            StrategyError: the strategy failed; names portfolio, strategy and bar.
            RiskRuleError: a rule failed.
        """
        seen = self._seen(data)
        assert seen is not None, "it is due"
        assignment, clock, portfolio_id = self._assignment, seen.window.timeline, self._assignment.identity.portfolio_id
        due_at, bar = decision_moment(assignment.schedule, clock), moment(clock.timestamps[-1])
        ends = self._last_of_session(clock)
        desk = Desk(seen.window, assignment.terms, seen.state, seen.orders, ends, seen.rates, seen.limit)
        review = self._review(desk, seen, drawdown, orders_last_minute)
        began = time.monotonic()
        with self._named(bar), localcontext():  # whatever it does to Decimal is over with it
            state = self._ask(desk, seen)
        is_late = time.monotonic() - began > assignment.decision_seconds
        with localcontext():
            desk.close(review)
        valid_until = self._coming.valid_until(assignment.schedule, clock)
        is_late = is_late or self._clock() >= valid_until
        decision = journal.Decision(
            portfolio_id=portfolio_id,
            due_at=due_at,
            bar_timestamp=bar,
            valid_until=valid_until,
            state=state,
            told_to=0 if seen.last is None else seen.last.told_to,
            intents=desk.intents(self._books_id, portfolio_id, due_at),
            cancels=desk.cancels(),
            newest_trade=seen.state.newest_trade,
            config_hash=assignment.config_hash,
            code_hash=assignment.code_hash,
            window_hash=seen.window.fingerprint(),
        )
        if is_late:
            # As if the strategy had not been asked: what it was told now it is told again.
            last_state, told_to = ({}, 0) if seen.last is None else (seen.last.state, seen.last.told_before)
            intents = _refused(decision.intents, LATE)
            return replace(decision, state=last_state, told_to=told_to, intents=intents, cancels={})
        if review is not None and review.halt is not None:
            reason = f"halted: {review.halt}"[:200]
            cancels = {order.order_id: "halted" for order in seen.orders if order.cancel_reason is None}
            return replace(decision, intents=_refused(decision.intents, reason), cancels=cancels, halted_by=review.halt)
        return decision

    def recheck(
        self, data: StrategyData, orders: Sequence[LiveOrder], drawdown: float, orders_last_minute: int
    ) -> Recheck:
        """Ask the rules about planned orders as if they were decided now. One that would not be left whole is refused.

        Args:
            data: with all live orders.
            orders: those of them that are asked about.
            drawdown: as for :meth:`decide`.
            orders_last_minute: as for :meth:`decide`.

        Raises:
            RiskRuleError: a rule failed.
        """
        asked = {order.order_id for order in orders}
        earlier = [order for order in data.orders if order.order_id not in asked]
        last_of_session = self._coming.last_of_session(data.window.timeline)
        desk = Desk(data.window, self._assignment.terms, data.state, earlier, last_of_session, data.rates)
        review = self._review(desk, data, drawdown, orders_last_minute)
        assert review is not None, "there are rules"
        refused = desk.reviewed(orders, review)
        return Recheck(refused, review.halt)

    def _seen(self, data: StrategyData) -> StrategyData | None:
        """The data with the window cut at the newest bar of the schedule; ``None``: there is none."""
        if self._latest[0] is not data:
            self._latest = data, self._look(data)
        return self._latest[1]

    def _last_of_session(self, clock: Timeline) -> NDArray[np.bool_]:
        """As the calendar knows it; asked several times in a cycle."""
        if self._ends is None or self._ends[0] is not clock:
            self._ends = clock, self._coming.last_of_session(clock)
        return self._ends[1]

    def _look(self, data: StrategyData) -> StrategyData | None:
        rows = self._decision_rows(data)
        return _cut(data, int(rows[-1]) + 1) if len(rows) else None

    def _decision_rows(self, data: StrategyData) -> NDArray[np.int64]:
        """The rows of the window that the schedule has acted on by now, or acts on now."""
        if self._rows_of[0] is not data:
            clock, since = data.window.timeline, self._assignment.since
            first = 0 if since is None else int(clock.session.searchsorted(np.datetime64(since, "D")))
            rows = decision_rows(self._assignment.schedule, clock, first, self._last_of_session(clock), data.now)
            self._rows_of = data, rows
        return self._rows_of[1]

    def _review(self, desk: Desk, data: StrategyData, drawdown: float, orders_last_minute: int) -> RiskReview | None:
        if not self._assignment.rules:
            return None
        panel = data.window.trade
        standing = Standing(
            self._assignment.identity.portfolio_id,
            panel.tickers,
            moment(data.window.timeline.available[-1]),
            Ages(panel).at(len(panel) - 1),
            drawdown,
            orders_last_minute,
        )
        return RiskReview(self._assignment.rules, desk.account, standing)

    def _ask(self, desk: Desk, data: StrategyData) -> dict[str, object]:
        """Let a fresh strategy object decide; queues what it wants in the desk's book and returns what it remembers."""
        assignment, window, last = self._assignment, data.window, data.last
        strategy, cursor = assignment.make_strategy(), Cursor(desk.last)
        strategy.setup(SetupContext(window.signal, assignment.make_indicator, cursor))
        if style(strategy) == "weights":
            weights = np.asarray(strategy.weights(window.signal), dtype=np.float64)
            if weights.shape != window.signal.close.shape:
                expected = f"expected {window.signal.close.shape} (bars, tickers)"
                raise StrategyError(f"it returned weights of shape {weights.shape}, {expected}")
            desk.target_weights(gather_missed(weights, np.array(self._rows(desk, window, last)))[desk.last])
            return {}
        portfolio_id = assignment.identity.portfolio_id
        ctx = Context(window.signal, window.timeline, window.trade.close, cursor, desk.account, portfolio_id)
        if last is not None:
            ctx.state = copy.deepcopy(last.state)  # a decision that is late leaves it as it was
            ctx.lapsed = tuple(
                Unfilled(desk.last, window.signal.tickers.index(ticker), float(quantity), reason)
                for ticker, quantity, reason in last.lapsed
                if ticker in window.signal.tickers
            )
        strategy.on_bar(ctx)
        if ctx.asked_weights is not None:
            desk.target_weights(ctx.asked_weights)
        desk.request(ctx.asked_orders)
        return ctx.state

    def _rows(self, desk: Desk, window: Window, last: LastDecision | None) -> list[int]:
        """The rows between which target weights count: the last decision's, and the newest."""
        if last is not None:
            return [_row_of(window, last.bar_timestamp), desk.last]
        return [0, desk.last] if self._assignment.adopt_signal else [desk.last]

    def _named(self, bar: datetime) -> _Naming:
        who = f"portfolio {self._assignment.identity.portfolio_id}: strategy {self._assignment.strategy_name!r}"
        return _Naming(who, bar)


def closing(
    portfolio_id: str, books_id: str, held: Sequence[tuple[str, Decimal]], due_at: datetime, newest_trade: int
) -> journal.Decision:
    """A decision that closes these positions (ticker, signed shares), without the strategy."""
    intents = [
        journal.Intent(
            journal.client_order_id(books_id, portfolio_id, due_at, number),
            ticker,
            "SELL" if quantity > 0 else "BUY",
            abs(quantity),
            None,
            OrderTerms(time_in_force="GTC"),
        )
        for number, (ticker, quantity) in enumerate(held)
    ]
    valid_until = due_at + _LIQUIDATION_HOLDS
    return journal.Decision(
        portfolio_id, due_at, due_at, valid_until, {}, intents=intents, kind="liquidation", newest_trade=newest_trade
    )


class _Naming:
    """Whatever the strategy raises becomes an error that names portfolio, strategy and bar."""

    def __init__(self, who: str, bar: datetime) -> None:
        self._who, self._bar = who, bar

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        where = f"{self._who} at the bar of {self._bar:%Y-%m-%d %H:%M} UTC"
        if isinstance(error, EngineError):
            raise type(error)(f"{where}: {error}") from error
        # SystemExit as well: a strategy ends its portfolio at most.
        raise StrategyError(f"{where} failed: {type(error).__name__}: {error}") from error


def _refused(intents: Sequence[journal.Intent], reason: str) -> list[journal.Intent]:
    return [intent if intent.reason is not None else replace(intent, reason=reason) for intent in intents]


def _cut(data: StrategyData, rows: int) -> StrategyData:
    """The same data with the window cut to its first rows."""
    window = data.window.cut(rows)
    return data if window is data.window else replace(data, window=window)


def _row_of(window: Window, at: datetime) -> int:
    """The row of a bar in the window; -1 where it lies before."""
    return int(np.searchsorted(window.timeline.timestamps, stamp(at), side="right")) - 1
