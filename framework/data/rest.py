"""The base of data sources behind a REST API: requests in parallel, in spans that the API answers whole."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import numpy as np
from annotated_types import Ge, Gt

from framework.data.rate_limit import RateLimit
from framework.data.source import DataSource
from framework.errors import SourceError, SourceUnavailable
from framework.model.bars import Bars, CorporateAction
from framework.model.panel import Times

if TYPE_CHECKING:
    from framework.data.http import HttpClient
    from framework.data.shared_limit import SharedRateLimit
    from framework.db.pool import Pool

Item = TypeVar("Item")
Result = TypeVar("Result")

_PRICES = ("open", "high", "low", "close")
_SHOWN_CHARACTERS = 200


class RestSource(DataSource):
    """A data source that asks an API over HTTP.

    A subclass names :attr:`base_url` and :attr:`spans`, and defines ``key()`` and :meth:`fetch`. Rate limit, retries,
    parallel requests and the splitting of long ranges are done here::

        class Acme(RestSource):
            base_url: str = "https://api.acme.example/v1"
            spans = {"1d": 3650}
            token: str

            def key(self):
                return "acme"

            def headers(self):
                return {"Authorization": f"Bearer {self.token}"}

            def fetch(self, ticker, interval, start, end):
                rows = self.get("bars", symbol=ticker, first=start.isoformat(), last=end.isoformat())
                return self.bars_of(ticker, rows, time="date")
    """

    #: Where the API is.
    base_url: str
    #: Requests of all programs that use the key and the database; set it a little below what the plan allows.
    requests_per_minute: Annotated[int, Ge(1)] = 300
    #: For a connection, and for each pause within a reply.
    timeout_seconds: Annotated[float, Gt(0)] = 30.0
    #: How long a request that failed for the moment is tried again.
    patience_seconds: Annotated[float, Ge(0)] = 300.0

    #: Calendar days that one request may ask for, by interval; an interval that is not here is not offered.
    spans: ClassVar[Mapping[str, int]] = {}
    #: Requests that are under way at once.
    parallel: ClassVar[int] = 8

    batch_size = 8

    _database: Any = None  # the pool that share_limit() was told

    def headers(self) -> Mapping[str, str]:
        """What is sent with every request: the key, above all, since a URL would show it."""
        return {}

    def problem(self, status: int, text: str) -> SourceError | None:
        """What a reply says is wrong: a :class:`SourceUnavailable` is tried again, another error is raised."""
        if status == 429:
            return SourceUnavailable(f"{self._name} asks to wait (HTTP 429): {_shown(text)}", wait_seconds=15.0)
        if status >= 500:
            return SourceUnavailable(f"{self._name} failed (HTTP {status}): {_shown(text)}")
        if status >= 400:
            return SourceError(f"{self._name} refused the request (HTTP {status}): {_shown(text)}")
        return None

    def fetch(self, ticker: str, interval: str, start: date, end: date) -> Bars:
        """The bars of one ticker, of no more days than ``spans`` says: usually one request."""
        raise SourceError(f"data source {type(self).__name__} must define fetch()")

    def fetch_actions(self, ticker: str) -> Iterable[CorporateAction]:
        """All splits and dividends of one ticker."""
        return ()

    def get(self, path: str, **params: str) -> Any:
        """The JSON document at a path below :attr:`base_url`.

        Raises:
            SourceUnavailable: no good reply in time.
            SourceError: what :meth:`problem` makes of the reply, or it is no JSON.
        """
        text = self._client.get(path, params)
        try:
            return json.loads(text)
        except ValueError as error:
            raise SourceError(f"{self._name} answered {path} with no JSON: {_shown(text)}") from error

    def bars(self, tickers: Sequence[str], interval: str, start: date, end: date) -> Bars:
        """See :meth:`DataSource.bars`."""
        if interval not in self.spans:
            raise SourceError(f"{self._name} has no {interval} bars; it has {', '.join(self.spans)}")
        asks = [(ticker, *span) for ticker in tickers for span in self.parts(interval, start, end)]
        parts = self._in_parallel(lambda ask: self.fetch(ask[0], interval, ask[1], ask[2]), asks)
        return Bars.joined(parts)

    def parts(self, interval: str, start: date, end: date) -> Iterator[tuple[date, date]]:
        """A range in parts of as many days as :attr:`spans` says, oldest first; both ends included."""
        return spans_of(start, end, self.spans[interval])

    def corporate_actions(self, tickers: Sequence[str]) -> tuple[CorporateAction, ...]:
        """See :meth:`DataSource.corporate_actions`."""
        found = self._in_parallel(lambda ticker: tuple(self.fetch_actions(ticker)), tickers)
        return tuple(action for actions in found for action in actions)

    def bars_of(
        self,
        ticker: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        time: str = "date",
        fields: Mapping[str, str] | None = None,
        timezone: str | None = None,
    ) -> Bars:
        """Bars from JSON objects.

        Args:
            ticker: whose.
            rows: one object per bar, the oldest first.
            time: its name there; ISO 8601 without offset.
            fields: names there by ours, where they differ: ``{"close": "c"}``.
            timezone: IANA name of what the times are in; ``None``: UTC, or plain dates. In the hour that autumn
                repeats, the second time begins where the clock of the rows steps back.

        Raises:
            SourceError: a value is no number, or a time is none.
        """
        names = {name: name for name in (*_PRICES, "volume")} | dict(fields or {})
        try:
            times = np.array([row[time] for row in rows], dtype="datetime64[us]")
            # A price that is nowhere is a mistake in the name, and no missing price; some APIs leave volumes out.
            volume = np.array([row.get(names["volume"]) for row in rows], np.float64)
            prices = {name: np.array([row[names[name]] for row in rows], np.float64) for name in _PRICES}
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{self._name} gave bars of {ticker} that cannot be read: {error!r}") from error
        if timezone is not None:
            times = _as_utc(times, timezone)
        return Bars((ticker,), np.zeros(len(rows), np.int32), times, **prices, volume=volume)

    def requests_for(self, interval: str, start: date, end: date) -> int:
        """See :meth:`DataSource.requests_for`: one for each span."""
        return -(-((end - start).days + 1) // self.spans[interval]) if interval in self.spans else 0

    def share_limit(self, pool: Pool) -> None:
        """See :meth:`DataSource.share_limit`."""
        if self._database is pool:
            return
        self._database = pool
        if "_client" in vars(self):
            shared = self._shared_limit(pool)
            shared.charge(self._client.sent)
            self._client.limit = shared

    @property
    def requests_made(self) -> int:
        """See :meth:`DataSource.requests_made`."""
        return self._client.sent if "_client" in vars(self) else 0

    def _shared_limit(self, pool: Pool) -> SharedRateLimit:
        from framework.data.shared_limit import SharedRateLimit  # needs the database's driver

        key = json.dumps([self.base_url, *sorted(self.headers().items())])
        return SharedRateLimit(pool, hashlib.sha256(key.encode()).hexdigest(), self.requests_per_minute)

    @cached_property
    def _client(self) -> HttpClient:
        from framework.data.http import HttpClient  # takes a while, and most runs ask nobody

        return HttpClient(
            self.base_url,
            self.headers(),
            RateLimit(self.requests_per_minute) if self._database is None else self._shared_limit(self._database),
            self.problem,
            self.timeout_seconds,
            self.patience_seconds,
            self.parallel,
        )

    @property
    def _name(self) -> str:
        return f"data source {self.key()}"

    def _in_parallel(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Results in the order of the items; the first failure ends it, what has not begun is left."""
        _ = self._client  # made once, before threads could make one each
        todo, lock = iter(tuple(enumerate(items))), threading.Lock()
        results: dict[int, Result] = {}
        failures: list[BaseException] = []

        def run() -> None:
            while True:
                with lock:
                    following = None if failures else next(todo, None)
                if following is None:
                    return
                place, item = following
                try:
                    results[place] = work(item)
                except BaseException as error:  # noqa: BLE001  # raised again by the caller's thread
                    failures.append(error)

        # Daemons: one that waits for an answer must not keep a program that was interrupted.
        threads = [
            threading.Thread(target=run, name=f"fetch-{self.key()}-{number}", daemon=True)
            for number in range(min(self.parallel, len(items)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return [results[place] for place in range(len(items))]


def spans_of(start: date, end: date, days: int) -> Iterator[tuple[date, date]]:
    """A range in parts of at most so many days, oldest first; ends included. Never a reversed one."""
    while start <= end:
        last = min(end, start + timedelta(days=days - 1))
        yield start, last
        start = last + timedelta(days=1)


def _as_utc(times: Times, timezone: str) -> Times:
    """Wall-clock times of a zone in UTC; NaT where the clock never showed that time."""
    import pandas as pd

    index = pd.DatetimeIndex(times)
    # In the hour that comes twice, it is winter from the row on whose clock shows no later time than the row before.
    is_summer = np.ones(len(times), np.bool_)
    days = times.astype("datetime64[D]")
    for row in np.flatnonzero(times[1:] <= times[:-1]) + 1:
        is_summer[row:] &= days[row:] != days[row]
    utc = index.tz_localize(timezone, ambiguous=is_summer, nonexistent="NaT").tz_convert("UTC").tz_localize(None)
    return utc.to_numpy().astype("datetime64[us]")


def _shown(text: str) -> str:
    flat = " ".join(text.split())
    return flat[:_SHOWN_CHARACTERS] + ("…" if len(flat) > _SHOWN_CHARACTERS else "") or "no text"
