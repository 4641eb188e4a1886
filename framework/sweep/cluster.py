"""Trials on a Dask cluster: the scheduler hands them to its workers, and again where one is lost."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from typing import Any

from framework.errors import UsageError
from framework.model.sweep import Outcome
from framework.sweep.setup import Setup, Task
from framework.sweep.trial import run_task

_CONNECT_SECONDS = 15
#: Tasks that are handed over and not yet back, for each thread of the cluster.
_AHEAD = 3


def run_cluster(setup: Setup, tasks: Sequence[Task], address: str) -> Generator[Outcome, None, None]:
    """The outcomes of all tasks, each as soon as it is known.

    A worker that is lost costs a retry of what it did; after some the scheduler gives a trial up, and it has failed.

    Args:
        setup: what the tasks share.
        tasks: in any order.
        address: of the scheduler, ``tcp://HOST:PORT``.

    Raises:
        UsageError: Dask is not installed here, or there is no scheduler.
        EngineError: a worker refuses: its plugins or bars are not those of the sweep.
    """
    dask = _dask()
    with _client(dask, address) as client:
        (shared,) = client.scatter([setup], broadcast=True)
        todo = iter(tasks)
        done = dask.as_completed(loop=client.loop)
        of = {}

        def hand_over(count: int) -> None:
            for task in islice(todo, count):
                future = client.submit(run_task, shared, task, pure=False)
                of[future.key] = task
                done.add(future)

        hand_over(_AHEAD * max(1, sum(client.nthreads().values())))
        for future in done:
            task = of.pop(future.key)
            try:
                outcome: Outcome = future.result()
            except dask.KilledWorker as error:
                outcome = Outcome(task.trial, "failed", f"its workers died again and again: {error}")
            yield outcome
            hand_over(1)


def _dask() -> Any:
    try:
        return import_module("distributed")
    except ImportError:
        raise UsageError("--cluster needs the extra `cluster`: pip install 'portfolio-engine[cluster]'") from None


@contextmanager
def _client(dask: Any, address: str) -> Iterator[Any]:
    try:
        client = dask.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"there is no Dask scheduler at {address!r}: {error}; start one with `dask scheduler`, and workers with "
            "`dask worker`"
        ) from error
    try:
        _wait_for_worker(client, address)
        yield client
    finally:
        client.close()


def _wait_for_worker(client: Any, address: str) -> None:
    try:
        if not client.nthreads():
            client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
    except TimeoutError:
        raise UsageError(f"the scheduler at {address} has no worker; start some with `dask worker`") from None
