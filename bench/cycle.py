"""A live cycle's SQL: recorded from the engine, kept in ``cycle.sql`` as a pgbench script, and run by bare psycopg2.

As a program, ``bench/live.py`` runs it: the recorded cycle comes pickled on stdin, as many threads as asked for send it
over a queue of connections, parameters bound as the engine binds them, and seconds and processor seconds are printed as
JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import queue
import re
import resource
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from framework.db.pool import Pool
from framework.db.types import Connection

FILE = Path(__file__).with_name("cycle.sql")
Sent = tuple[str, Any]

_HEADER = """\
-- What the engine sends in one cycle without orders; written and checked by bench/live.py. To be run by pgbench with
-- -D first= and portfolios= (whose books), base= (a number that no earlier run has used) and after= (newest trade id).
\\set base :base + 6
\\set n :base + :client_id
\\set p :first + mod(:n, :portfolios)
"""
_MONEY = "1234567.891234"
_HASH = "'0123456789abcdef0123456789abcdef'"
_AT = "to_timestamp(:n)"
#: What differs between cycles, by parameter; everything else stands in the script as the engine sends it.
_TEMPLATES = {
    "portfolio_id": "'bench-:p'",
    "portfolio_ids": "ARRAY['bench-:p']",
    "lease_name": "'portfolio:bench-:p'",
    "after": ":after",
    "newest_trade": "(SELECT max(id) FROM trade_execution_logs WHERE portfolio_id = 'bench-:p')",
    "since": "'2000-01-03'::date",
    **dict.fromkeys(("due_at", "bar_timestamp", "valid_until", "timestamp"), _AT),
    **dict.fromkeys(("notional", "equity", "realised", "unrealised", "income"), _MONEY),
    "costs": f"2 * {_MONEY}",  # so that the parts add up
    **dict.fromkeys(("window_hash", "config_hash", "code_hash"), _HASH),
}
#: Of these, bare psycopg2 gives each cycle its own.
_CHANGING = (
    "portfolio_id", "portfolio_ids", "lease_name", "newest_trade", "after", "due_at", "bar_timestamp", "valid_until",
    "timestamp",
)  # fmt: skip


class SpyPool(Pool):
    """A pool that writes down, per thread, what is sent while ``sent`` is not None."""

    sent: dict[str, list[Sent]] | None = None

    def get_connection(self) -> Connection:
        """As the pool's; its cursors write down what they send."""
        connection = super().get_connection()
        sent = self.sent
        connection.cursor_factory = None if sent is None else _spy(sent)
        return connection


def _spy(sent: dict[str, list[Sent]]) -> type[Cursor]:
    class Spy(Cursor):
        def execute(self, query: Any, parameters: Any = None) -> None:
            sent.setdefault(threading.current_thread().name, []).append((query, parameters))
            super().execute(query, parameters)

    return Spy


def as_script(connection: Connection, sent: Sequence[Sent]) -> str:
    """What was sent in one cycle, as a pgbench script."""
    with connection.cursor() as cursor:
        lines = [_as_text(cursor, query, parameters) for query, parameters in sent]
    return _HEADER + "".join(f"{line};\n" for line in lines)


def _as_text(cursor: Any, query: str, parameters: Mapping[str, Any] | None) -> str:
    text = query
    for name in set(re.findall(r"%\((\w+)\)s", query)):
        assert parameters is not None
        value = _TEMPLATES.get(name) or cursor.mogrify("%s", (parameters[name],)).decode()
        text = text.replace(f"%({name})s", value)
    # pgbench sends what stands between `;` at once, in one message where it is `\;`.
    return text.replace("%%", "%").replace(";", " \\;")


def statements() -> list[str]:
    """What is sent, one message each, as it stands in the script."""
    text = "\n".join(line for line in FILE.read_text().splitlines() if not line.startswith(("--", "\\set")))
    return [part.strip() for part in re.split(r"(?<!\\);\n", text + "\n") if part.strip()]


def bare(url: str, asked: argparse.Namespace, sent: Sequence[Sent]) -> dict[str, float]:
    """Send a recorded cycle by threads that share some connections through a queue, as simply as that can be done."""
    asks = [
        (query, parameters or {}, [name for name in _CHANGING if name in (parameters or {})])
        for query, parameters in sent
    ]
    newest = _newest_trades(url)
    free: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(asked.connections):
        connection = psycopg2.connect(url)
        connection.autocommit = True
        free.put(connection)
    ready = threading.Barrier(asked.threads + 1)

    def work(thread: int) -> None:
        try:
            cycles(thread)
        except BaseException:  # noqa: BLE001  # whatever it is, it is shown
            traceback.print_exc()
            os._exit(1)  # the others would wait for its connection

    def cycles(thread: int) -> None:
        own = range(asked.first + thread, asked.first + asked.portfolios, asked.threads)
        ready.wait()
        for cycle in range(asked.cycles):
            for portfolio in own:
                own_values = _values(f"bench-{portfolio}", asked.base + cycle, newest)
                connection = free.get()
                cursor = connection.cursor()
                for query, parameters, changing in asks:
                    cursor.execute(query, {**parameters, **{name: own_values[name] for name in changing}} or None)
                    if cursor.description:
                        cursor.fetchall()
                free.put(connection)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(asked.threads)]
    for thread in threads:
        thread.start()
    ready.wait()
    began, worked = time.perf_counter(), cpu_seconds()
    for thread in threads:
        thread.join()
    return {"seconds": time.perf_counter() - began, "cpu_seconds": cpu_seconds() - worked}


def _newest_trades(url: str) -> dict[str, int]:
    """By portfolio."""
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT portfolio_id, max(id) FROM trade_execution_logs GROUP BY 1")
        found = dict(cursor.fetchall())
    connection.close()
    return found


def _values(portfolio_id: str, number: int, newest: Mapping[str, int]) -> dict[str, Any]:
    """The parameters that differ between cycles."""
    at = datetime.fromtimestamp(number, UTC)
    return {
        "portfolio_id": portfolio_id,
        "portfolio_ids": [portfolio_id],
        "lease_name": f"portfolio:{portfolio_id}",
        "newest_trade": newest[portfolio_id],
        "after": newest[portfolio_id],
        "due_at": at,
        "bar_timestamp": at,
        "valid_until": at,
        "timestamp": at,
    }


def cpu_seconds() -> float:
    """Of this process, so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Run the script, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    for name in ("first", "portfolios", "threads", "connections", "cycles", "base"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asked = parser.parse_args()
    print(json.dumps(bare(asked.url, asked, pickle.load(sys.stdin.buffer))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
