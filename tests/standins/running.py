"""The stand-in of FMP as a process, seen from a test or a benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[2]
#: The one that it accepts unless it is told otherwise.
KEY = "secret-key"


class StandIn:
    """A server that can be told what to do, ended, and begun again at the same address; use it in ``with``."""

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        """What ``base_url`` has to be."""
        return f"http://127.0.0.1:{self.port}/stable"

    def start(self) -> None:
        """Begin (again): all settings are as at the beginning."""
        command = [sys.executable, "-m", "tests.standins.fmp", "--port", str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        """End it, as an outage would."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def set(self, **settings: object) -> None:
        """Set these, and all others as at the beginning; the count of requests begins anew."""
        self._tell("POST", settings)

    def change(self, **settings: object) -> None:
        """Set these only."""
        self._tell("PUT", settings)

    def requests(self) -> list[str]:
        """What it was asked."""
        with urlopen(self._control()) as reply:
            found: list[str] = json.load(reply)["requests"]
            return found

    def ask(self, path: str, key: str = KEY) -> Any:
        """The JSON document at a path with its query."""
        with urlopen(Request(f"{self.url}/{path}", headers={"apikey": key})) as reply:
            return json.load(reply)

    def _tell(self, method: str, settings: dict[str, object]) -> None:
        with urlopen(Request(self._control(), json.dumps(settings).encode(), method=method)) as reply:
            reply.read()

    def _control(self) -> str:
        return f"http://127.0.0.1:{self.port}/control"

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
