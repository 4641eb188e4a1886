"""The same sweep on a Dask cluster: a real scheduler and two worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from framework.errors import PluginError, UsageError
from framework.sweep.run import Options, planned, run_sweep
from tests.sweep.conftest import FAST, PROBE, SLOW, Run, figures

SLOWLY = PROBE.replace("import os, signal", "import os, signal, time").replace(
    "    def on_bar(self, ctx):\n", "    def on_bar(self, ctx):\n        time.sleep(0.002)\n"
)


class Cluster:
    """A scheduler and its workers, as processes of their own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._file = folder / "scheduler.json"
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self._start("distributed.cli.dask_scheduler", *options, "--scheduler-file", str(self._file))
        _until(self._is_written)
        self.address = str(json.loads(self._file.read_text())["address"])

    def _is_written(self) -> bool:
        """The scheduler makes the file, and writes it then."""
        return self._file.exists() and self._file.read_text().rstrip().endswith("}")

    def worker(self) -> subprocess.Popen[bytes]:
        """One more, without a nanny that would start it again."""
        options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1")
        return self._start("distributed.cli.dask_worker", *options, "--scheduler-file", str(self._file))

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self._folder / f"{module}.log").open("ab")
        self._stack.callback(log.close)
        process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=log, stderr=log)
        self._stack.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)


def _until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.05)


@contextmanager
def _cluster(folder: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(folder, stack)


@pytest.fixture
def cluster(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with _cluster(tmp_path_factory.mktemp("dask")) as found:
        yield found


def test_a_cluster_gives_what_this_machine_gives(sweep: Run, cluster: Cluster) -> None:
    cluster.worker()
    cluster.worker()
    asked = (f"{FAST}=3,9,30", f"{SLOW}=20,60")
    there = sweep(*asked, cluster=cluster.address, out=Path("there"))
    assert figures(there) == figures(sweep(*asked))
    assert [each.status for each in there.outcomes] == ["done"] * 4 + ["refused", "done"]
    assert figures(sweep(*asked, cluster=cluster.address, out=Path("there"))) == figures(there)  # from the journal


def test_a_worker_killed_in_the_middle_costs_a_retry(
    workspace: Path,
    probe: Callable[..., str],
    cluster: Cluster,
) -> None:
    (workspace / "plugins" / "probe.py").write_text(SLOWLY)
    workers = [cluster.worker(), cluster.worker()]
    options = Options((probe("share=0.1:0.8:0.1"),), cluster=cluster.address, out=Path("out"))
    killed: list[int] = []

    def progress(stage: str, done: float, total: float) -> None:
        if stage == "trials" and done == 2 and not killed:
            os.kill(workers[0].pid, signal.SIGKILL)
            killed.append(workers[0].pid)

    found, _ = run_sweep(planned(Path("p.yaml"), (), options), options, progress)
    assert killed
    assert workers[1].poll() is None
    assert [each.status for each in found.outcomes] == 8 * ["done"]
    assert len({each.figures["final_equity"] for each in found.outcomes}) == 8


def test_another_version_of_a_file_is_refused_there(
    workspace: Path,
    probe: Callable[..., str],
    cluster: Cluster,
) -> None:
    cluster.worker()
    options = Options((probe("share=0.1,0.2"),), cluster=cluster.address, out=Path("out"))
    plan = planned(Path("p.yaml"), (), options)
    (workspace / "plugins" / "probe.py").write_text(PROBE + "\n# changed\n")
    with pytest.raises(PluginError, match=r"plugin probe \(probe\.py\) has changed since the sweep began"):
        run_sweep(plan, options, lambda *a: None)


def test_a_cluster_that_is_not_there_is_said(sweep: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framework.sweep.cluster._CONNECT_SECONDS", 1)
    for address in ("tcp://127.0.0.1:1", "nonsense"):
        with pytest.raises(UsageError, match=f"there is no Dask scheduler at '{address}'"):
            sweep(f"{FAST}=3,5", cluster=address)


def test_a_cluster_without_workers_is_said(sweep: Run, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framework.sweep.cluster._CONNECT_SECONDS", 2)
    with pytest.raises(UsageError, match="has no worker; start some"):
        sweep(f"{FAST}=3,5", cluster=cluster.address)
