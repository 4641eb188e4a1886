"""A running adapter: a process that runs once for each line that it is sent, and is ended when it takes too long."""

import json
import select
import signal
import subprocess
import tempfile
from pathlib import Path

from .environments import last_line

FOLDER = Path(__file__).parent
#: By the clock, for one answer. What a run may take is counted in seconds of CPU.
PATIENCE = 4 * 3600


class Failed(Exception):
    """An adapter that gave no answer; says why."""


class Slow(Failed):
    """An adapter whose run was ended."""


class Adapter:
    """One side of a comparison, with its data in memory."""

    def __init__(self, python, script, data, job, cap):
        self._cap = cap
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115  # stop() closes it
        self._process = subprocess.Popen(
            [python, FOLDER / script, data, json.dumps(job | {"cap": cap})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            bufsize=1,
        )

    def answer(self):
        """The next answer.

        Raises:
            Failed: the process has ended, or does not answer.
        """
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            raise Failed(f"no answer for {PATIENCE} s")
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        if self._process.wait() == -signal.SIGXCPU:
            raise Slow(f"over {self._cap} s")
        raise Failed(self.complaint() or f"ended with exit code {self._process.returncode}")

    def run(self):
        """One run's answer."""
        self._process.stdin.write("run\n")
        return self.answer()

    def complaint(self):
        """The last line on its standard error."""
        self._said.seek(0)
        return last_line(self._said.read())

    def stop(self):
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            stream.close()
        self._said.close()
