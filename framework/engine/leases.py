"""Leases: which engine, of any number on any machines, runs a portfolio or a broker account.

A lease is a row with a holder, an epoch and an expiry by the database's clock. Whoever takes it raises the epoch, so a
former holder that wakes up late has the wrong one: :func:`require_lease` in its transaction refuses it. Nothing hangs
on a session, so poolers and restarts of the server do no harm.

A lease expires ``ttl`` after its last renewal (:meth:`Leases.renew`, every third of the ttl). Its holder stops writing
``send_timeout`` before that, and others wait ``send_timeout`` after it, the time a request can be under way.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from framework.db.pool import Pool
from framework.db.queries import fetch_all, fetch_one
from framework.db.types import Connection
from framework.errors import LeaseLost

TTL_SECONDS = 30.0
SEND_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as it was taken.

    Attributes:
        name: ``portfolio:<id>`` or ``account:<broker>:<id>``.
        epoch: rises by one whenever anybody takes it; what is written under another one is refused.
        send_timeout_seconds: how long before its expiry nothing more is written under it.
    """

    name: str
    epoch: int
    send_timeout_seconds: float = SEND_TIMEOUT_SECONDS


def portfolio_lease(portfolio_id: str) -> str:
    """Name of a portfolio's lease."""
    return f"portfolio:{portfolio_id}"


def account_lease(broker: str, account: str) -> str:
    """Name of a broker account's lease."""
    return f"account:{broker}:{account}"


def new_holder() -> str:
    """A name for this engine that no other has had: host, process id, and random characters."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def require_lease(connection: Connection, lease: Lease) -> None:
    """Make sure, until the caller's transaction ends, that the lease is held; to be called after its locks are taken.

    From here on the transaction may not pause for longer than the send timeout: the server would end it.

    Raises:
        LeaseLost: it was taken by another engine, released, or is about to expire; nothing may be written.
    """
    asked = {
        "lease_name": lease.name,
        "lease_epoch": lease.epoch,
        "send_timeout_seconds": lease.send_timeout_seconds,
    }
    if fetch_one(connection, "lease_is_mine", asked) is None:
        raise LeaseLost(
            f"the lease {lease.name!r} (epoch {lease.epoch}) is not held by this engine any more, or was not renewed "
            "in time; nothing was written. `engine status` shows who holds it"
        )


class Leases:
    """The leases of one engine; safe for any number of threads.

    Args:
        pool: where they are; a pool of one connection of its own keeps renewals from waiting for others.
        holder: this engine's name, of nobody else (:func:`new_holder`).
        ttl_seconds: until a lease that is not renewed expires; more than twice the send timeout.
        send_timeout_seconds: longest time that a request to a broker can be under way.
    """

    def __init__(
        self,
        pool: Pool,
        holder: str,
        ttl_seconds: float = TTL_SECONDS,
        send_timeout_seconds: float = SEND_TIMEOUT_SECONDS,
    ) -> None:
        if not 0 < 2 * send_timeout_seconds < ttl_seconds:
            raise ValueError(
                f"ttl_seconds was {ttl_seconds} and send_timeout_seconds {send_timeout_seconds}; "
                "allowed: 0 < 2 x send_timeout_seconds < ttl_seconds, or there is no time left to write in"
            )
        self.holder = holder
        self.ttl_seconds, self.send_timeout_seconds = ttl_seconds, send_timeout_seconds
        self._pool = pool
        self._lock = threading.Lock()
        self._held: dict[str, Lease] = {}

    @property
    def held(self) -> dict[str, Lease]:
        """The leases that are held, by name, as far as this engine knows; the database has the last word."""
        with self._lock:
            return dict(self._held)

    def acquire(self, names: Iterable[str]) -> dict[str, Lease]:
        """Take those of these leases that are free; each that is taken gets a new epoch, one's own as well.

        Returns:
            those taken, by name. What is missing is held by another engine: ask again later.
        """
        asked = {
            "names": sorted(set(names)),
            "holder": self.holder,
            "ttl_seconds": self.ttl_seconds,
            "send_timeout_seconds": self.send_timeout_seconds,
        }
        with self._pool.connection() as connection:
            rows = fetch_all(connection, "acquire_leases", asked)
        taken = {name: Lease(name, epoch, self.send_timeout_seconds) for name, epoch in sorted(rows)}
        with self._lock:
            self._held.update(taken)
        return taken

    def holders(self, names: Iterable[str]) -> dict[str, tuple[str, float]]:
        """Who holds these leases, by name, and for how many seconds one has to wait for them at most."""
        asked = {"names": sorted(set(names)), "send_timeout_seconds": self.send_timeout_seconds}
        with self._pool.connection() as connection:
            rows = fetch_all(connection, "lease_holders", asked)
        return {name: (holder, max(0.0, seconds)) for name, holder, seconds in rows}

    def renew(self) -> tuple[Lease, ...]:
        """Keep everything that is held, by one statement; to be called every third of the ttl.

        Returns:
            what was lost: another engine has taken it. Whoever works under it stops.
        """
        mine = self.held
        kept = self._send("renew_leases", mine, ttl_seconds=self.ttl_seconds)
        lost = tuple(lease for name, lease in mine.items() if name not in kept)
        self._forget(lost)
        return lost

    def release(self, names: Iterable[str]) -> None:
        """Give leases back, so that others may take them at once; those that are not held are left alone.

        Only for what has nothing under way: no order between sending and answer, no thread that may still decide.
        """
        given = set(names)
        mine = {name: lease for name, lease in self.held.items() if name in given}
        self._send("release_leases", mine)
        self._forget(tuple(mine.values()))

    def _send(self, query: str, leases: dict[str, Lease], **more: float) -> set[str]:
        """Run a query on leases; the names of those that are still ours."""
        if not leases:
            return set()
        epochs = [lease.epoch for lease in leases.values()]
        with self._pool.connection() as connection:
            rows = fetch_all(connection, query, {"names": list(leases), "epochs": epochs, **more})
        return {str(row[0]) for row in rows}

    def _forget(self, leases: tuple[Lease, ...]) -> None:
        """Drop these, unless they were taken again meanwhile, under another epoch."""
        with self._lock:
            for lease in leases:
                if self._held.get(lease.name) == lease:
                    del self._held[lease.name]
