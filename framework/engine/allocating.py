"""Allocations on live books: prices read, the request made, and who waits for it (trading-rules 8).

Portfolios that have settled and valued a moment at which capital is allocated wait, before they decide, until the
allocation is made. Whoever makes it waits for them, so that all are valued; neither waits for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import inf

import numpy as np

from framework.books.allocation import Allocated, History, Marks, Request, allocate, propose
from framework.data.calendars import covering
from framework.data.currencies import LiveRates
from framework.data.feed import Feed
from framework.data.fx import Quotes
from framework.data.moments import Due, moments
from framework.data.window import Market
from framework.db.pool import Pool
from framework.engine.clock import Clock
from framework.model.panel import Times
from framework.model.timeline import moment, stamp
from framework.trading.allocation import Allocation, run_id

#: So far around a day its moments and those next to it lie: more than a month, for monthly ones.
_AROUND = timedelta(days=40)
_AHEAD = 32
#: Sessions that are looked at beyond those asked for, where a portfolio has not been valued in each.
_MORE_SESSIONS = 20
_LOOK_SECONDS = 0.1
#: The engine was stopped while an allocation was waited for.
STOPPED = "the engine stops"
_FAR = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class Participant:
    """A portfolio that an allocator lists.

    Attributes:
        portfolio_id: which.
        tickers: all that it may hold.
        lots_per_share: how it counts its shares.
        fx: gives the exchange rates of its tickers; None: all are in its currency.
    """

    portfolio_id: str
    tickers: tuple[str, ...]
    lots_per_share: float
    fx: LiveRates | None


class Dues:
    """The moments of an allocation by the calendar, without end. Safe for any number of threads.

    Args:
        calendar: name of the exchange calendar.
        interval: of the bars.
        settle: how long after its end the source may still change a bar.
        schedule: of the allocation.
        since: exchange date before which nothing is due.
    """

    def __init__(self, calendar: str, interval: str, settle: timedelta, schedule: str, since: date) -> None:
        self._asked = calendar, interval, settle, schedule
        self._since = since
        self._known: tuple[date, tuple[Due, ...]] = date.min, ()

    def latest(self, now: datetime) -> Due | None:
        """The last one that has come; ``None``: none has."""
        found = [due for due in self._around(now) if due.at <= now and due.session >= self._since]
        return found[-1] if found else None

    def following(self, now: datetime) -> Due | None:
        """The first one later than a moment; ``None``: the calendar ends before."""
        return next((due for due in self._around(now) if due.at > now and due.session >= self._since), None)

    def _around(self, now: datetime) -> tuple[Due, ...]:
        day, known = self._known
        if day != now.date():
            day = now.date()
            known = moments(*self._asked, day - _AROUND, day, following=_AHEAD)
            self._known = day, known  # in one step: threads share this
        return known


class AllocationDesk:
    """Makes allocations on live books.

    Args:
        pool: of the books.
        allocation: the allocator and its terms.
        participants: the portfolios that it lists.
        feed: of the market, for all their tickers.
        calendar: name of the exchange calendar.
        settle: how long after its end the source may still change a bar.
        is_daily: whether bars are daily, and so labelled by their day.
        since: exchange date of the first session that returns may be of.
        made_by: who makes them, for whoever looks.
    """

    def __init__(
        self,
        pool: Pool,
        allocation: Allocation,
        participants: Sequence[Participant],
        feed: Feed,
        calendar: str,
        settle: timedelta,
        is_daily: bool,
        since: date | None,
        made_by: str,
    ) -> None:
        self.allocation = allocation
        self._pool, self._feed, self._participants = pool, feed, tuple(participants)
        self._calendar, self._settle, self._is_daily = calendar, settle, is_daily
        self._since, self._made_by = since, made_by

    def make(self, due: Due, now: datetime, clock: datetime | None, name: str | None = None) -> Allocated:
        """Make the allocation of a moment, unless it has been made.

        Args:
            due: the moment.
            now: what is known of the market: aware.
            clock: the ledger's moment; ``None``: the database's clock.
            name: what it is known by, if not the moment.

        Raises:
            AllocationError: a held ticker has no price of the session, or the allocator failed.
            EngineError: books or database.
        """
        return allocate(self._pool, self._request(due, now, name), clock)

    def propose(self, due: Due, now: datetime, name: str | None = None) -> Allocated:
        """What :meth:`make` would do; nothing is written."""
        return propose(self._pool, self._request(due, now, name))

    def _request(self, due: Due, now: datetime, name: str | None) -> Request:
        with self._pool.transaction(read_only=True, isolation="repeatable read") as connection:
            market = self._feed.refresh(connection, now)
            newest = max(due.session, self._newest_session(now))
            rates_at = np.array([stamp(due.at)])
            marks = {}
            for each in self._participants:
                quotes = None if each.fx is None else each.fx(connection, now)
                marks[each.portfolio_id] = _marks(market, each, newest, quotes, rates_at)
        known_as = name or run_id(self.allocation.name, due.session, due.slot)
        history = self._history(due.session)
        return Request(self.allocation, known_as, due.at, due.session, newest, marks, history, self._made_by)

    def _newest_session(self, now: datetime) -> date:
        """The last session that has ended, its bars settled."""
        found = moments(self._calendar, "1d", self._settle, "daily", now.date() - _AROUND, now.date())
        return [due.session for due in found if due.at <= now][-1]

    def _history(self, session: date) -> History:
        count = self.allocation.allocator.sessions()
        if not count:
            return History(np.empty(0, "datetime64[D]"), (), np.empty(0, "datetime64[D]"), _FAR)
        known = covering(self._calendar, session - timedelta(days=2 * (count + _MORE_SESSIONS)), session, following=1)
        starts = [moment(start) for start in (known.dates.astype("datetime64[us]") if self._is_daily else known.opens)]
        stop = int(np.searchsorted(known.dates, np.datetime64(session, "D"), side="right"))
        until = starts[stop] if stop < len(starts) else _FAR
        wanted = known.dates[:stop][-count:]
        if self._since is not None:
            wanted = wanted[wanted >= np.datetime64(self._since, "D")]
        return History(wanted, tuple(starts[:stop]), known.dates[:stop], until)


def _marks(market: Market, who: Participant, newest: date, quotes: Quotes | None, at: Times) -> Marks:
    """What a portfolio's tickers are worth; ``quotes``, at a moment of shape ``(1,)``, where any is foreign."""
    closes, dates = market.last_closes(who.tickers), market.last_sessions(who.tickers)
    values = np.array([closes.get(ticker, 0.0) for ticker in who.tickers])
    is_fresh = np.array([dates.get(ticker, date.min) >= newest for ticker in who.tickers])
    if quotes is not None:
        values = values * np.nan_to_num(quotes.at(who.tickers, at)[0])
        is_fresh &= ~quotes.are_old(who.tickers, at)[0]
    return Marks(who.tickers, values, is_fresh, who.lots_per_share)


class Rendezvous:
    """Where portfolios and the allocation wait for each other.

    By a real clock a portfolio comes when it has a bar of that moment, which may be minutes later; from the first that
    comes on nobody waits longer than ``wait_seconds``. On a simulated clock what is missing does not come: all come at
    the moment itself, and are waited for.

    Args:
        dues: when it is due.
        names: the portfolios that take part.
        wait_seconds: see above.
        clock: of the engine.
    """

    def __init__(self, dues: Dues, names: Iterable[str], wait_seconds: float, clock: Clock) -> None:
        self.dues, self._clock = dues, clock
        self._wait_seconds = inf if clock.is_simulated else wait_seconds
        self._changed = threading.Condition()
        #: Up to which moment each portfolio is settled, and has gone on, and the allocations are done with.
        self._arrived: dict[str, datetime | None] = dict.fromkeys(names)
        self._left: dict[str, datetime | None] = dict.fromkeys(self._arrived)
        self._done: datetime | None = None
        #: The moment that portfolios have begun to wait for, and until when (monotonic).
        self._awaited: tuple[datetime | None, float] = None, inf

    def names(self) -> tuple[str, ...]:
        """The portfolios that take part."""
        return tuple(self._arrived)

    def arrive(self, name: str, now: datetime, known_until: datetime | None) -> str | None:
        """A portfolio has settled and valued all up to ``now``: wait for the allocation that is due, if there is one.

        Args:
            name: of the portfolio.
            now: the moment of its cycle.
            known_until: when its newest bar became available; ``None``: it has none.

        Returns:
            what is to be said about it; ``""``: it is over, money may have moved; ``None``: nothing was due;
            :data:`STOPPED`: the engine stops, and nothing may be decided any more.
        """
        due = self.dues.latest(now) if name in self._arrived else None
        if due is None or _has_reached(self._left[name], due):
            return None
        if not self._clock.is_simulated and not _has_reached(known_until, due):
            return None
        with self._changed:
            self._arrived[name] = due.at
            deadline = self._deadline(due)
            self._changed.notify_all()
            while not _has_reached(self._done, due) and not self._clock.is_over and time.monotonic() < deadline:
                self._changed.wait(_LOOK_SECONDS)
            self._left[name] = due.at
            if _has_reached(self._done, due):
                return ""
            if self._clock.is_over:
                return STOPPED
        return f"went on without the allocation of {due.session}, which was waited for {self._wait_seconds:g} s"

    def wait_for(self, due: Due, expected: Callable[[], Iterable[str]]) -> tuple[str, ...] | None:
        """Wait until the expected portfolios have arrived at a moment.

        By a real clock an engine that runs none of them leaves it to those that do.

        Returns:
            those that were not waited for any longer; ``None``: there is nothing to be made, as the engine stops, or
            the next moment has come.
        """
        with self._changed:
            while not self._clock.is_over and self.dues.latest(self._clock.now()) == due:
                ours = [name for name in expected() if name in self._arrived]
                missing = tuple(name for name in ours if not _has_reached(self._arrived[name], due))
                is_late = self._awaited[0] == due.at and time.monotonic() >= self._awaited[1]
                if is_late or (not missing and (ours or self._clock.is_simulated)):
                    return missing
                self._changed.wait(_LOOK_SECONDS)
        return None

    def is_awaited(self, due: Due) -> bool:
        """Whether portfolios may still wait for it."""
        with self._changed:
            return self._awaited[0] == due.at and time.monotonic() < self._awaited[1]

    def done(self, due: Due) -> None:
        """Nobody has to wait for this allocation any more."""
        with self._changed:
            self._done = due.at
            self._changed.notify_all()

    def _deadline(self, due: Due) -> float:
        """Until when a moment is waited for; the first portfolio that comes sets it."""
        if self._awaited[0] != due.at:
            self._awaited = due.at, time.monotonic() + self._wait_seconds
        return self._awaited[1]


def _has_reached(at: datetime | None, due: Due) -> bool:
    return at is not None and at >= due.at
