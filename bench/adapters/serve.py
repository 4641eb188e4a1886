"""What all adapters share: an adapter prepares its side once, then runs it once for each line that it is sent.

An adapter runs in its peer's environment, so this needs NumPy only. ``prepare(data, job)`` gives a function that is
called with a :class:`Watch`, starts and stops it around what counts, and returns the final equity of each pair.
"""

import json
import math
import os
import resource
import sys
import time
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np

#: Bars of the run that nothing is timed in: compilers, caches and imports have done their work afterwards.
WARM_UP_BARS = 400
CASH = 1e6


@dataclass(frozen=True, eq=False)
class Data:
    """Bars, shape ``(T, N)`` each; ``stamps``: ``datetime64[us]``."""

    names: list
    stamps: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray

    @classmethod
    def read(cls, path):
        """As the parent wrote them."""
        with np.load(path) as file:
            return cls(file["names"].tolist(), *(file[name] for name in ("stamps", "open", "high", "low", "close")))

    def head(self, bars):
        """The first bars."""
        cut = {name: getattr(self, name)[:bars] for name in ("stamps", "open", "high", "low", "close")}
        return replace(self, **cut)


class Watch:
    """Seconds of the spans between ``start`` and ``stop``: of CPU, by all threads of the process, and by the clock."""

    def __init__(self):
        self.cpu = self.wall = 0.0
        #: CPU seconds up to a point that is told apart.
        self.marks = {}
        self._began = None

    def start(self):
        """A span begins."""
        self._began = time.process_time(), time.perf_counter()

    def stop(self):
        """It ends."""
        self.cpu += time.process_time() - self._began[0]
        self.wall += time.perf_counter() - self._began[1]

    def mark(self, name):
        """Note how much of the running span, and of those before, has passed."""
        self.marks[name] = self.cpu + time.process_time() - self._began[0]


def limit(seconds):
    """Let the system end this process when it has taken so many more seconds of CPU."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), most))


def serve(prepare, distribution):
    """Answer each line on standard input with one run; what the peer itself prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**values):
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    data, job = Data.read(sys.argv[1]), json.loads(sys.argv[2])
    began = time.process_time()
    prepare(data.head(WARM_UP_BARS), job | {"pairs": job.get("pairs", [])[:2]})(Watch())
    warm_up, began = time.process_time() - began, time.process_time()
    run = prepare(data, job)
    answer(version=version(distribution), warm_up=warm_up, prepare=time.process_time() - began)
    for _ in sys.stdin:
        watch = Watch()
        limit(job["cap"])
        equity = [float(value) for value in run(watch)]
        answer(cpu=watch.cpu, wall=watch.wall, marks=watch.marks, equity=equity)
