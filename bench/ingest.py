"""A backfill from the stand-in for FMP into PostgreSQL: what it costs beside the waiting, and beside a bare COPY.

    python bench/ingest.py [--tickers 500] [--years 10] [--minute-tickers 20] [--sessions 60]
                           [--requests-per-minute 750] [--repeats 3] [--url URL] [--json]

`engine data backfill` is run as a user runs it, for daily bars and then for minutes, and once more for each. Then the
same bars, which are in memory, are written by bare COPY and by the backfill, in turns, into the same emptied table.
Without ``--url`` a throw-away embedded server is used. Limits: CPU time of the process below 0.4 of the time that
passes; its memory in the last quarter of the run at most 1.15 x that in the first; no request at all in the second run;
writing (staging, checks, coverage) at least 0.5 of the rate of the faster COPY, text or binary.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from load import COLUMNS, END, KEY, START, is_superuser, seconds
from servers import server

from framework.data.backfill import backfill
from framework.data.calendars import covering
from framework.data.source import DataSource
from framework.db.bars import read_panel
from framework.db.database import upgrade
from framework.db.pool import Pool
from framework.model.bars import Bars

ROOT = Path(__file__).parents[1]
SECRET = "secret-key"
FIRST_DAY, FIRST_MINUTE = date(2001, 1, 1), date(2010, 3, 1)
SAMPLE_SECONDS = 0.2
LIMITS = {"cpu_share": 0.4, "memory_ratio": 1.15, "requests_again": 0, "write_rate": 0.5}


class Ready(DataSource):
    """The source ``fmp``, had it all its bars in memory."""

    batch_size = 8

    def keep(self, bars: Bars) -> None:
        """What :meth:`bars` gives, by ticker; made before the time is taken."""
        self._bars = {ticker: bars.take(bars.code == code) for code, ticker in enumerate(bars.tickers)}

    def key(self) -> str:
        """As the rows are."""
        return "fmp"

    def bars(self, tickers: Sequence[str], interval: str, start: date, end: date) -> Bars:
        """All of them: the dates asked for are all that there are."""
        return Bars.joined([self._bars[ticker] for ticker in tickers])


@dataclass(frozen=True)
class Work:
    """One of the backfills."""

    interval: str
    tickers: tuple[str, ...]
    start: date
    end: date

    def arguments(self) -> list[str]:
        """Of the command."""
        what = ["--interval", self.interval, "--tickers", ",".join(self.tickers)]
        return [*what, "--start", str(self.start), "--end", str(self.end)]


@contextmanager
def stand_in() -> Iterator[str]:
    """Address of the stand-in for FMP, a process of its own."""
    command = [sys.executable, "-m", "tests.standins.fmp"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def asked(address: str) -> int:
    """How many requests the stand-in has had."""
    with urlopen(f"{address}/control") as reply:
        return len(json.load(reply)["requests"])


def run(work: Work, url: str, address: str, per_minute: int) -> dict[str, float]:
    """Run the command as a process; what it took."""
    command = [sys.executable, "-m", "framework", "data", "backfill", "--source", "fmp", "--url", url]
    for each in (f"base_url={address}/stable", f"requests_per_minute={per_minute}"):
        command += ["--param", each]
    before, began, sizes = asked(address), time.perf_counter(), list[int]()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [*command, *work.arguments()], cwd=folder, env={**os.environ, "FMP_API_KEY": SECRET}, stdout=sys.stderr
        )
        while True:
            sizes.append(resident(process.pid))
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(SAMPLE_SECONDS)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"the backfill ended with {process.returncode}"
    passed = time.perf_counter() - began
    quarter = max(1, len(sizes) // 4)
    requests = asked(address) - before
    return {
        "seconds": passed,
        "requests": requests,
        "requests_per_minute": 60.0 * requests / passed,
        "cpu_share": (usage.ru_utime + usage.ru_stime) / passed,
        "memory_mb": max(sizes) / 1e6,
        "memory_ratio": max(sizes[-quarter:]) / max(sizes[:quarter]),
    }


def resident(pid: int) -> int:
    """Bytes of memory that a process holds; 0 where it has ended."""
    text = Path(f"/proc/{pid}/statm").read_text() or "0 0"
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def stored(pool: Pool, work: Work) -> Bars:
    """What a backfill has brought, as it came."""
    panel = read_panel(pool, "fmp", work.tickers, work.interval, START, END)
    code, row = np.nonzero(~np.isnan(panel.close.T))
    columns = (getattr(panel, name)[row, code] for name in ("open", "high", "low", "close", "volume"))
    return Bars(panel.tickers, code.astype(np.int32), panel.timestamps[row], *columns)


def measure_writing(pool: Pool, works: Sequence[Work], repeats: int) -> dict[str, float]:
    """The bars that are stored, written again: by COPY as text and in binary, and by the backfill of ready arrays."""
    kept = [(work, Ready()) for work in works]
    for work, source in kept:
        source.keep(stored(pool, work))
    copies = {name: copied(pool, f"FORMAT {name}") for name in ("text", "binary")}
    taken: dict[str, list[float]] = {"text": [], "binary": [], "backfill": []}
    columns, rows = ", ".join(COLUMNS), 0

    def bare(name: str) -> None:
        with pool.transaction() as connection, connection.cursor() as cursor:
            cursor.copy_expert(f"COPY market_data ({columns}) FROM STDIN (FORMAT {name})", io.BytesIO(copies[name]))

    def ours() -> None:
        nonlocal rows
        now = datetime(2026, 1, 1, tzinfo=UTC)
        found = [
            backfill(pool, source, work.tickers, work.interval, "XNYS", work.start, work.end, now=now)
            for work, source in kept
        ]
        rows = sum(each.loaded.inserted for each in found)

    for _ in range(repeats):
        for name in taken:
            empty(pool)
            taken[name].append(seconds(ours if name == "backfill" else lambda name=name: bare(name)))  # type: ignore[misc]
    best = {name: min(values) for name, values in taken.items()}
    return {
        "bars": rows,
        **{f"{name}_seconds": value for name, value in best.items()},
        "write_rate": min(best["text"], best["binary"]) / best["backfill"],
    }


def copied(pool: Pool, how: str) -> bytes:
    """All stored bars as COPY writes them."""
    text = io.BytesIO()
    rows = f"SELECT {', '.join(COLUMNS)} FROM market_data ORDER BY {', '.join(KEY)}"
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.copy_expert(f"COPY ({rows}) TO STDOUT ({how})", text)
    return text.getvalue()


def empty(pool: Pool) -> None:
    """As before the first backfill."""
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE market_data, market_data_version, market_data_coverage, corporate_actions")
        if is_superuser(cursor):
            cursor.execute("CHECKPOINT")


def measure(options: argparse.Namespace, url: str) -> dict[str, float]:
    """All figures, those of a backfill with its interval before their names."""
    names = tuple(f"S{number:03d}" for number in range(max(options.tickers, options.minute_tickers)))
    last_day = date(FIRST_DAY.year + options.years - 1, 12, 31)
    sessions = covering("XNYS", FIRST_MINUTE, date(2013, 1, 1)).dates
    last_minute = sessions[options.sessions - 1].item()
    works = (
        Work("1d", names[: options.tickers], FIRST_DAY, last_day),
        Work("1min", names[: options.minute_tickers], FIRST_MINUTE, last_minute),
    )
    figures: dict[str, float] = {}
    with stand_in() as address:
        for work in works:
            found = run(work, url, address, options.requests_per_minute)
            found["requests_again"] = run(work, url, address, options.requests_per_minute)["requests"]
            figures |= {f"{work.interval} {name}": value for name, value in found.items()}
    pool = Pool(url)
    figures |= measure_writing(pool, works, options.repeats)
    pool.close()
    return figures


def limit_of(name: str) -> float | None:
    """The limit of a figure, whichever interval it is of."""
    return LIMITS.get(name.rpartition(" ")[2])


def is_missed(name: str, value: float) -> bool:
    """Whether a figure is on the wrong side of its limit."""
    limit = limit_of(name)
    return limit is not None and (value < limit if name.endswith("rate") else value > limit)


def main() -> int:
    """Measure, print, and end with 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tickers", type=int, default=500)
    parser.add_argument("--years", type=int, default=10)
    parser.add_argument("--minute-tickers", type=int, default=20)
    parser.add_argument("--sessions", type=int, default=60)
    parser.add_argument("--requests-per-minute", type=int, default=750)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--url")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with server(options.url, max_wal_size="8GB") as url:
        upgrade(url)
        figures = measure(options, url)
    missed = [name for name, value in figures.items() if is_missed(name, value)]
    if options.json:
        print(json.dumps({**figures, "missed": missed}, indent=1))
        return 1 if missed else 0
    print(f"{options.tickers} tickers x {options.years} years, {options.minute_tickers} x {options.sessions} sessions")
    for name, value in figures.items():
        limit = f"   limit {limit_of(name)}" if limit_of(name) is not None else ""
        print(f"{name:26s}{value:14,.2f}{limit}{'   MISSED' if name in missed else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
