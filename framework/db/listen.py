"""Notifications of the database, on a connection of their own that mends itself.

A notification only says that something may have changed: whoever gets one looks at the tables. While the connection was
lost some may have been missed; :data:`LOST` says so, once it stands again.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg2
from psycopg2 import sql as compose
from psycopg2.extensions import make_dsn

from framework.db.address import describe, without_secrets
from framework.db.pool import connect_string
from framework.db.types import Connection
from framework.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
LONGEST_SLEEP_SECONDS = 3600.0
_CONNECTION = {"connect_timeout": "5"}


@dataclass(frozen=True, slots=True)
class Notification:
    """What came: the channel, and the payload of whoever sent it."""

    channel: str
    payload: str = ""


#: The connection was lost and stands again: some notifications may have been missed, so look at everything.
LOST = Notification("")


class Listener:
    """Waits for notifications; one thread waits, any may close.

    Args:
        url: of the database.
        channels: to listen to.

    Raises:
        DatabaseUnavailable: the server cannot be reached now; later losses are mended.
    """

    def __init__(self, url: str, channels: Sequence[str]) -> None:
        self._url = make_dsn(connect_string(url), **_CONNECTION)
        self._channels = tuple(channels)
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._retry_at = 0.0
        self._is_closed = False
        self._closing, self._waiting = threading.Lock(), threading.Lock()
        try:
            self._connection: Connection | None = self._connect()
        except psycopg2.Error as error:
            raise DatabaseUnavailable(
                f"cannot connect to the database {describe(url)}: {without_secrets(str(error), url)}; "
                "check that the server runs and that database.url is right"
            ) from None
        self._wake_read, self._wake_write = os.pipe()

    def wait(self, timeout_seconds: float) -> tuple[Notification, ...]:
        """What has come since the last call; waits for it if need be.

        Args:
            timeout_seconds: at most (and up to 5 s more while a server that is gone does not refuse connections).

        Returns:
            in order of arrival; empty when the time is over or the listener was closed.
        """
        deadline = time.monotonic() + timeout_seconds
        with self._waiting:
            while not self._is_closed:
                found = self._mend() if self._connection is None else self._read(self._connection)
                left = deadline - time.monotonic()
                if found or left <= 0:
                    return found
                self._sleep(left)
        return ()

    def close(self) -> None:
        """End the waiting and the connection; safe to call from any thread, and again."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
        os.write(self._wake_write, b"x")
        with self._waiting:
            self._drop()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> Connection:
        connection: Connection = psycopg2.connect(self._url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            for channel in self._channels:
                cursor.execute(compose.SQL("LISTEN {}").format(compose.Identifier(channel)))
        return connection

    def _read(self, connection: Connection) -> tuple[Notification, ...]:
        """Read what has arrived, without waiting."""
        try:
            connection.poll()
        except psycopg2.Error as error:
            log.warning("the connection that listens to the database was lost: %s", " ".join(str(error).split()))
            self._drop()
            return ()
        found = tuple(Notification(each.channel, each.payload) for each in connection.notifies)
        connection.notifies.clear()
        return found

    def _mend(self) -> tuple[Notification, ...]:
        """Connect again when it is time for it."""
        if time.monotonic() < self._retry_at:
            return ()
        try:
            self._connection = self._connect()
        except psycopg2.Error as error:
            self._retry_at = time.monotonic() + self._pause_seconds
            self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
            log.debug("listening again failed: %s", without_secrets(str(error), self._url))
            return ()
        self._pause_seconds = FIRST_PAUSE_SECONDS
        return (LOST,)

    def _sleep(self, seconds: float) -> None:
        """Until something arrives, it is time to connect again, somebody closes, or the time is over."""
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        if self._connection is None:
            seconds = min(seconds, max(0.0, self._retry_at - time.monotonic()))
        else:
            poller.register(self._connection.fileno(), select.POLLIN)
        poller.poll(min(seconds, LONGEST_SLEEP_SECONDS) * 1e3)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
