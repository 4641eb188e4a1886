"""What a live engine does, as lines for whoever watches and as events for plugins.

All that is told here comes from the engine's threads, after the commit that it speaks of. Lines are queued for the main
thread, events for a thread of their own: nobody who listens can hold up a portfolio.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable
from decimal import Decimal

from framework.books.allocation import Allocated
from framework.books.journal import Decision, Intent, LiveOrder
from framework.books.open import Identity
from framework.data.moments import Due
from framework.engine.clock import Clock
from framework.engine.commands import Command
from framework.engine.decider import StrategyData
from framework.engine.gateway import Filled
from framework.engine.observers import Observers
from framework.engine.runner import Events
from framework.engine.watcher import Watcher

#: Lines that wait to be shown; more are counted and not shown.
_BACKLOG = 10_000


class News:
    """The news of one run.

    Args:
        announce: shows a line; called by :meth:`show` only.
        observers: are told of events.
        clock: the engine's, which dates the lines.
        portfolio_ids: whose news.
    """

    def __init__(
        self, announce: Callable[[str], None], observers: Observers, clock: Clock, portfolio_ids: Iterable[str]
    ) -> None:
        self._announce, self._observers, self._clock = announce, observers, clock
        self._lines: queue.Queue[str] = queue.Queue(_BACKLOG)
        self._unshown = 0
        self.last_failure: BaseException | None = None
        self.counts = {name: {"trades": 0, "decisions": 0, "failures": 0} for name in portfolio_ids}
        #: Portfolios as their last cycle found them: halted or not; none for those that have had no cycle yet.
        self._is_halted: dict[str, bool] = {}
        self._has_just_halted: set[str] = set()

    def events(self) -> Events:
        """Where the engine tells its news."""
        watcher = Watcher(self._filled, self._ended, self._decided, halted=self._halts_itself, acted=self._acted)
        return Events(watcher, self._cycled, self._failed, self._commanded, self._waits)

    def show(self) -> None:
        """Show the lines that wait."""
        while True:
            try:
                self._announce(self._lines.get_nowait())
            except queue.Empty:
                return

    def notes(self) -> list[str]:
        """What was lost on the way."""
        if not self._unshown:
            return []
        return [f"{self._unshown} lines came too fast to be shown; the books have them all"]

    # Told by the engine's threads.

    def _line(self, portfolio_id: str, text: str) -> None:
        self._show_later(f"{self._clock.now():%Y-%m-%d %H:%M}  {portfolio_id:<10} {text}")

    def _show_later(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._unshown += 1

    def _filled(self, identity: Identity, filled: Filled) -> None:
        fill, name = filled.fill, identity.portfolio_id
        self.counts[name]["trades"] += 1
        done = "bought" if fill.side == "BUY" else "sold"
        self._line(
            name,
            f"{done} {fill.quantity.normalize():f} {fill.ticker} at {fill.price:,.4f}, fees {fill.fees:,.2f}",
        )
        self._observers.tell("fill_booked", portfolio_id=name, fill=fill)

    def _ended(self, identity: Identity, order: LiveOrder, reason: str | None) -> None:
        if reason is not None and order.rest:
            asked, rest = (f"{abs(shares).normalize():f}" for shares in (order.quantity, order.rest))
            text = f"order {order.side} {asked} {order.ticker} ended: {reason}, {rest} not filled"
            self._line(identity.portfolio_id, text)

    def _decided(self, identity: Identity, decision: Decision, missed: int) -> None:
        name = identity.portfolio_id
        self.counts[name]["decisions"] += 1
        if missed:
            self._line(name, f"missed {missed} moments of its schedule; decided on {decision.bar_timestamp:%Y-%m-%d}")
        if decision.halted_by is not None:
            self._halts_itself(identity, decision.halted_by)
        for intent in decision.intents:
            if intent.reason is not None:
                self._refused(name, intent, intent.reason)

    def _refused(self, name: str, intent: Intent, reason: str) -> None:
        shares = "" if intent.quantity is None else f"{intent.quantity.normalize():f} "
        self._line(name, f"refused {intent.side} {shares}{intent.ticker}: {reason}")
        self._observers.tell(
            "order_refused", portfolio_id=name, ticker=intent.ticker, quantity=_signed(intent), reason=reason
        )

    def allocated(self, due: Due, made: Allocated | None, text: str) -> None:
        """Told of an allocation; see :class:`framework.engine.allocation_runner.AllocationRunner`."""
        if made is None:
            self._line("allocation", f"of {due.session} was not made: {text}")
            return
        moved = [share for share in made.shares if share.transfer]
        missing = sum((share.shortfall for share in made.shares), Decimal(0))
        shown = ", ".join(f"{share.portfolio_id} {share.transfer:+,.2f}" for share in moved) or "nothing moved"
        lacks = f"; {missing:,.2f} could not be given" if missing else ""
        self._line("allocation", f"of {made.total:,.2f}: {shown}{lacks}{f' ({text})' if text else ''}")
        for share in moved:
            self._observers.tell(
                "transfer_booked", portfolio_id=share.portfolio_id, amount=share.transfer, reference=made.run_id
            )

    def _acted(self, identity: Identity, text: str) -> None:
        self._line(identity.portfolio_id, text)

    def _halts_itself(self, identity: Identity, reason: str) -> None:
        name = identity.portfolio_id
        self._has_just_halted.add(name)
        self._line(name, f"HALTED by {reason}; engine resume {name} lets it trade again")
        self._observers.tell("portfolio_halted", portfolio_id=name, reason=reason)

    def _cycled(self, portfolio_id: str, data: StrategyData) -> None:
        self._note_halt(portfolio_id, data.halted_by)
        self._observers.tell("cycle_finished", portfolio_id=portfolio_id, time=data.now)

    def _note_halt(self, name: str, halted_by: str | None) -> None:
        """Tell of a halt that somebody else has ordered since the cycle before."""
        if name in self._has_just_halted:  # and it was told; what the cycle had read may be from before
            self._has_just_halted.discard(name)
            self._is_halted[name] = True
            return
        if halted_by is not None and self._is_halted.get(name) is False:
            self._line(name, f"HALTED: {halted_by}; engine resume {name} lets it trade again")
            self._observers.tell("portfolio_halted", portfolio_id=name, reason=halted_by)
        self._is_halted[name] = halted_by is not None

    def _waits(self, portfolio_ids: tuple[str, ...], holder: str, seconds: float) -> None:
        self._show_later(
            f"Waiting for {', '.join(portfolio_ids)}: engine {holder} holds them. If it does not live any more, they "
            f"are taken over in {seconds:.0f} s; before that, two engines might trade them at once"
        )

    def _failed(self, portfolio_id: str, error: BaseException, stopped: bool) -> None:
        self.counts[portfolio_id]["failures"] += 1
        self.last_failure = error
        if stopped:
            self._line(portfolio_id, f"STOPPED: {error}")
            reason = f"stopped for its failures, the last with: {error}"
            self._observers.tell("portfolio_halted", portfolio_id=portfolio_id, reason=reason)

    def _commanded(self, command: Command, answer: str) -> None:
        self._line(command.portfolio_id, f"{command.kind} asked by {command.asked_by}: {answer}")


def _signed(intent: Intent) -> float:
    """Shares, negative for a sale; 0: it was never sized."""
    shares = float(intent.quantity or Decimal(0))
    return shares if intent.side == "BUY" else -shares
