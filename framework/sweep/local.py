"""Trials on the cores of this machine: a process each, which maps the bars that all share."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress

from framework.model.sweep import Outcome
from framework.sweep.setup import Setup, Task
from framework.sweep.trial import run_task

#: A trial whose process dies so often, the last times alone in it, is not tried again.
MOST_DEATHS = 3

_log = logging.getLogger(__name__)


def run_local(setup: Setup, tasks: Sequence[Task], workers: int) -> Generator[Outcome, None, None]:
    """The outcomes of all tasks, each as soon as it is known.

    A process that dies (killed, out of memory) costs a retry of what it did, not a result.

    Args:
        setup: what the tasks share.
        tasks: in any order.
        workers: how many processes.

    Raises:
        EngineError: a worker refuses: its plugins or bars are not those of the sweep.
    """
    waiting, suspects = deque((task, 0) for task in tasks), deque[tuple[Task, int]]()
    while waiting or suspects:
        # After a death nobody knows whose fault it was: each of those that were running runs alone.
        alone = bool(suspects)
        queue, width = (suspects, 1) if alone else (waiting, workers)
        pool = _pool(width)
        try:
            died = yield from _run(pool, setup, queue, width, alone)
        finally:
            _end(pool)
        for task, deaths in died:
            if deaths < MOST_DEATHS:
                suspects.append((task, deaths))
            else:
                yield Outcome(task.trial, "failed", f"its process died {deaths} times: killed, or out of memory")


def _run(
    pool: ProcessPoolExecutor, setup: Setup, queue: deque[tuple[Task, int]], width: int, alone: bool
) -> Generator[Outcome, None, list[tuple[Task, int]]]:
    """Run what is queued until it is all done or a process dies; returns what was running then."""
    running: dict[Future[Outcome], tuple[Task, int]] = {}
    most = 1 if alone else 2 * width  # one waits for each that runs, so that no process is idle
    while queue or running:
        try:
            while queue and len(running) < most:
                running[pool.submit(run_task, setup, queue[0][0])] = queue[0]
                queue.popleft()  # only now: submit raises where the last process has died
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield future.result()
                del running[future]
        except BrokenProcessPool:
            done = [future for future in running if future.done() and future.exception() is None]
            for future in done:
                yield future.result()
                del running[future]
            _log.warning("a process of the sweep has died; what it did is done again")
            return [(task, deaths + 1) for task, deaths in running.values()]
    return []


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["framework.sweep.trial"])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_started, initargs=(dict(os.environ),))


def _started(environment: dict[str, str]) -> None:
    """In a worker: Ctrl-C is the main program's business, and when that is gone, so is the worker.

    The environment is the main program's as it is now: what forks the workers may have been started under another.
    """
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # the pool's own pipes stay open: each worker holds both ends
        os._exit(1)


def _end(pool: ProcessPoolExecutor) -> None:
    """End the processes at once: whatever they still do, nobody waits for."""
    processes = list((pool._processes or {}).values())  # there is no public way to end what runs
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        with suppress(OSError, ValueError):
            process.terminate()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
