"""HTTP for data sources: one session with pooled connections, a rate limit, and retries; the only user of requests."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping

import requests
import urllib3
from requests.adapters import HTTPAdapter

from framework.data.rate_limit import Limit
from framework.errors import SourceError, SourceUnavailable

#: What a reply says is wrong; ``None``: nothing.
Judge = Callable[[int, str], SourceError | None]

#: A reply takes no longer than so many timeouts.
_TIMEOUTS_PER_REPLY = 5
_READ_BYTES = 1 << 16
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.5, 60.0


class HttpClient:
    """GET requests to one API; safe for any number of threads.

    Args:
        base_url: ``https://…``, without a slash at the end.
        headers: sent with every request; secrets belong here, never into a URL.
        limit: each request waits for a place of it.
        timeout_seconds: for the connection, and for each pause within a reply, which takes five times as long at most.
        patience_seconds: how long a request is tried again.
        connections: kept open.
        judge: is shown each reply; a :class:`~framework.errors.SourceUnavailable` is tried again, others are raised.

    Attributes:
        limit: may be replaced by another.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        limit: Limit,
        judge: Judge,
        timeout_seconds: float = 30.0,
        patience_seconds: float = 300.0,
        connections: int = 8,
    ) -> None:
        self._base_url, self._judge = base_url.rstrip("/"), judge
        self._timeout_seconds, self._patience_seconds = timeout_seconds, patience_seconds
        self._longest_reply_seconds = _TIMEOUTS_PER_REPLY * timeout_seconds
        self.limit = limit
        self._count, self._counting = 0, threading.Lock()
        self._session = requests.Session()
        self._session.headers.update(headers)
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=connections)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    @property
    def sent(self) -> int:
        """How many were sent so far, repeated ones included."""
        return self._count

    def get(self, path: str, params: Mapping[str, str]) -> str:
        """The text of a good reply.

        Args:
            path: below the base URL.
            params: of the query; no secrets.

        Raises:
            SourceUnavailable: no good reply in time; says what the last one was.
            SourceError: what the judge makes of a reply that trying again does not change.
        """
        started, wait, attempts = time.monotonic(), _FIRST_WAIT_SECONDS, 0
        while True:
            attempts += 1
            problem = self._ask(path, params)
            if isinstance(problem, str):
                return problem
            # Jitter spreads the threads that failed together.
            seconds = random.uniform(wait / 2, wait)
            spent = time.monotonic() - started
            if spent + seconds > self._patience_seconds:
                raise SourceUnavailable(f"{problem} (tried {attempts} times in {spent:.0f} s)") from problem
            if problem.wait_seconds:
                self.limit.hold_back(problem.wait_seconds)
            threading.Event().wait(seconds)
            wait = min(2.0 * wait, _LONGEST_WAIT_SECONDS)

    def _ask(self, path: str, params: Mapping[str, str]) -> str | SourceUnavailable:
        """One attempt: the text of the reply, or why another one may help."""
        self.limit.take()
        with self._counting:
            self._count += 1
        where = f"{self._base_url}/{path}"
        try:
            # Redirects are not followed: the key would go with the request, to wherever they lead.
            with self._session.get(
                where, params=params, timeout=self._timeout_seconds, allow_redirects=False, stream=True
            ) as reply:
                content = self._content(reply)
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            return SourceUnavailable(f"{where} did not answer within {self._timeout_seconds:g} s")
        except (requests.ConnectionError, urllib3.exceptions.HTTPError) as error:
            return SourceUnavailable(f"{where} cannot be reached, or broke off: {_reason(error)}")
        except (requests.exceptions.InvalidHeader, UnicodeError):  # their words would show what the header holds
            raise SourceError(
                f"{where} cannot be asked: a header has characters that cannot be sent; check the key"
            ) from None
        except requests.RequestException as error:
            raise SourceError(f"{where} cannot be asked: {_reason(error)}; check the base URL") from None
        if 300 <= reply.status_code < 400:
            raise SourceError(f"{where} has moved (HTTP {reply.status_code}); set base_url to where it is now")
        if content is None:
            return SourceUnavailable(f"{where} was still answering after {self._longest_reply_seconds:g} s")
        text = content.decode("utf-8", "replace")
        problem = self._judge(reply.status_code, text)
        if problem is None:
            return text
        if isinstance(problem, SourceUnavailable):
            return problem
        raise problem

    def _content(self, reply: requests.Response) -> bytes | None:
        """All of a reply; ``None`` where it trickles: the timeout is for a pause, of which it may have many."""
        deadline, parts = time.monotonic() + self._longest_reply_seconds, list[bytes]()
        while part := reply.raw.read1(_READ_BYTES, decode_content=True):
            parts.append(part)
            if time.monotonic() > deadline:
                return None
        return b"".join(parts)


def _reason(error: Exception) -> str:
    """The innermost cause in a few words; requests wraps it several times."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    reason = getattr(error, "reason", None)
    return str(reason if reason is not None else error)[:200]
