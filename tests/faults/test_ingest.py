"""A backfill in a storm: killed, its source and its database going away; what is in the end is what had to be."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from framework.db.database import upgrade
from framework.db.embedded import APP, DATABASE, Embedded, url
from framework.db.server_files import locate
from framework.db.server_process import postmaster_pid
from tests.faults.arena import wait_for
from tests.faults.scenario import ask, forget
from tests.faults.storm import Blow, Outages, Storm, checksums, kill, unbearable
from tests.faults.test_crash import SHARE
from tests.standins.running import KEY, StandIn

SEED = 404
KILLS, OUTAGES, RESTARTS = 50, 20, 5
#: How long a life works on average: about as long as a transaction and its requests take.
SECONDS_PER_KILL = 1.6
#: What a request of an outage may get, besides nothing.
REPLIES = ("500", "503", "cut", "slow")
TABLES = ("market_data", "corporate_actions", "market_data_coverage")

DAYS = ",".join(f"S{number:03d}" for number in range(64))
WORK = (
    ("--interval", "1d", "--tickers", DAYS, "--start", "2006-01-01", "--end", "2010-12-31"),
    ("--interval", "1min", "--tickers", "S000,S001,S002,AAPL", "--start", "2010-03-01", "--end", "2010-04-09"),
)


class Place:
    """A database server that may be stopped, the stand-in, and backfills from the one into the other."""

    def __init__(self, folder: Path) -> None:
        (folder / "server").mkdir()
        self.server = Embedded(folder / "server", idle_seconds=300)
        upgrade(self.server.start())
        self.fmp = StandIn()
        self.folder = folder / "work"
        self.folder.mkdir()
        self.environment = {**os.environ, "FMP_API_KEY": KEY}

    def close(self) -> None:
        """End both."""
        self.fmp.kill()
        self.server.remove()

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """URL of a fresh, migrated database."""
        ask(self.server.admin_url(), f'CREATE DATABASE "{name}" TEMPLATE "{DATABASE}" OWNER {APP}')
        socket = locate(self.server.workspace).socket()
        assert socket is not None
        found = url(socket, APP, name)
        yield found
        forget(found)
        ask(self.server.admin_url(), f'DROP DATABASE "{name}" WITH (FORCE)')

    def arguments(self, database: str, what: tuple[str, ...], patience: float = 300) -> list[str]:
        """Of ``engine``: bring something in."""
        settings = f"base_url={self.fmp.url}", "requests_per_minute=900", f"patience_seconds={patience}"
        source = ["data", "backfill", "--source", "fmp", "--url", database]
        return [*source, *(part for each in settings for part in ("--param", each)), *what]

    def backfill(self, storm: Storm, database: str) -> list[str]:
        """Bring all of :data:`WORK` in; what went wrong."""
        ends = [storm.weather(*self.arguments(database, what)) for what in WORK]
        return [end for end in ends if end is not None]

    def storm(self, *blows: Blow) -> Storm:
        """One that backfills can be run in."""
        return Storm(blows, self.folder, self.environment)

    def fmp_goes(self, seconds: float) -> None:
        """It is away for so long, and then stumbles for some requests."""
        self.fmp.kill()
        time.sleep(seconds)
        self.fmp.start()
        self.fmp.set(fail=list(REPLIES))

    def database_goes(self, seconds: float) -> None:
        """Its server stops at once, or dies (an odd duration says which), and is started again."""
        data = locate(self.server.workspace).data
        pid = postmaster_pid(data)
        assert pid is not None
        os.kill(pid, signal.SIGKILL if seconds < 0.1 else signal.SIGQUIT)
        wait_for(lambda: postmaster_pid(data) != pid, "the server's end")
        time.sleep(seconds)
        self.server.start()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="engine-ingest-") as folder:
        Path(folder).chmod(0o755)  # where root runs the tests, the server's user has to get through
        made = Place(Path(folder))
        yield made
        made.close()


@pytest.mark.slow
def test_a_backfill_in_a_storm_ends_as_an_undisturbed_one(place, report):
    share = int(os.environ.get(SHARE, "1"))
    kills, outages, restarts = (-(-count // share) for count in (KILLS, OUTAGES, RESTARTS))
    with place.database("undisturbed") as database:
        assert place.backfill(place.storm(), database) == []
        expected = checksums(database, TABLES)
        assert all(not each.startswith("0 ") for each in expected.values()), expected
    draw, seconds = random.Random(SEED), kills * SECONDS_PER_KILL
    fmp, server = Outages(place.fmp_goes), Outages(place.database_goes)
    # The first restart is that of a server that was killed.
    blows = [Blow(draw.uniform(0, seconds), kill) for _ in range(kills)]
    blows += [fmp.blow(draw.uniform(0, seconds), draw.uniform(0.0, 1.5)) for _ in range(outages)]
    blows += [server.blow(draw.uniform(0, seconds), draw.uniform(0.2, 2.0) * (n > 0)) for n in range(restarts)]
    storm = place.storm(*blows)
    failures, runs = list[str](), 0
    while not storm.is_over:
        runs += 1
        with place.database(f"storm_{runs}") as database:
            failures += place.backfill(storm, database)
            fmp.settle()
            server.settle()
            found = checksums(database, TABLES)
            print(f"seed {SEED}: undisturbed {expected}\nbackfill {runs} in the storm {found}")
            if found != expected:
                failures.append(f"{found} instead of {expected}")
            place.fmp.set()
            failures += place.backfill(place.storm(), database)
            if asked := place.fmp.requests():
                failures.append(f"a further backfill made {len(asked)} requests: {asked[:3]}")
    what = f"{kills} SIGKILL, {outages} outages of FMP, {restarts} restarts of PostgreSQL"
    print(*storm.gave_up, sep="\n")
    digest = expected["market_data"].rpartition(" ")[2]
    note = f"{what}; bars {digest[:8]} as undisturbed"
    report("backfill in a storm", len(blows), failures, note)


INGEST = """
name: ingest
mode: paper
interval: 5min
data_source: {{name: fmp, params: {{base_url: "{fmp}", requests_per_minute: 60000, patience_seconds: 2}}}}
broker: {{name: paper}}
database: {{url: "{database}"}}
clock: {{start: 2008-03-12, end: 2008-03-18, seconds_per_day: 0.5}}
portfolios:
  - {{id: "1", cash: 1000, tickers: [AAPL, IBM, MSFT], strategy: buy_and_hold, lookback: 10}}
"""


@pytest.mark.slow
def test_an_ingestor_in_a_storm_loses_and_doubles_no_bar(place, report):
    """On a simulated clock that goes on, after a kill, where the stored bars end."""
    share = int(os.environ.get(SHARE, "1"))
    kills, outages, restarts = (-(-count // share) for count in (24, 8, 3))
    config = place.folder / "ingest.yaml"

    def ingest(storm: Storm, database: str) -> list[str]:
        config.write_text(INGEST.format(fmp=place.fmp.url, database=database))
        end = storm.weather("data", "ingest", str(config))
        return [] if end is None else [end]

    with place.database("calm") as database:
        assert ingest(place.storm(), database) == []
        expected = checksums(database, TABLES)
        ((bars, sessions),) = ask(
            database,
            "SELECT count(*), count(DISTINCT timestamp::date) FROM market_data WHERE timestamp >= '2008-03-12'",
        )
        assert (bars, sessions) == (3 * 5 * 78, 5)
    draw, seconds = random.Random(SEED), 1.2 * kills
    fmp, server = Outages(place.fmp_goes), Outages(place.database_goes)
    blows = [Blow(draw.uniform(0, seconds), kill) for _ in range(kills)]
    blows += [fmp.blow(draw.uniform(0, seconds), draw.uniform(0.0, 1.0)) for _ in range(outages)]
    blows += [server.blow(draw.uniform(0, seconds), draw.uniform(0.2, 1.0) * (n > 0)) for n in range(restarts)]
    storm = place.storm(*blows)
    with place.database("wild") as database:
        failures = ingest(storm, database)
        fmp.settle()
        server.settle()
        failures += ingest(place.storm(), database)  # what an outage at the very end has left out
        found = checksums(database, TABLES)
        print(f"seed {SEED}: undisturbed {expected}\nin the storm {found}; blows left {len(storm._blows)}")
        if found != expected:
            failures.append(f"{found} instead of {expected}")
    what = f"{kills} SIGKILL, {outages} outages of FMP, {restarts} restarts of PostgreSQL"
    digest = expected["market_data"].rpartition(" ")[2]
    report("realtime ingestor in a storm", len(blows), failures, f"{what}; bars {digest[:8]} as undisturbed")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["FMP", "PostgreSQL"])
def test_a_backfill_whose_other_side_stays_away_says_so_and_goes_on_when_told_to(place, report, what):
    goes, comes, why = {
        "FMP": (place.fmp.kill, place.fmp.start, "cannot be reached"),
        "PostgreSQL": (place.server.stop, place.server.start, "cannot connect to the database"),
    }[what]
    with place.database("away") as database:
        arguments = place.arguments(database, WORK[0], patience=3)
        storm = place.storm(Blow(4.0, lambda _: goes()))
        status, said = storm.live(*arguments)
        failures = [said] if status != 1 or why not in said or unbearable(status, said) else []
        comes()
        status, said = storm.live(*arguments)
        failures += [said] if status else []
    report(f"{what} gone for good during a backfill", 1, failures, "it says so, and ends with 1; the next goes on")
