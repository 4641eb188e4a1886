"""Headless Chromium for tests: opens pages, uses them, looks at them and hears what they say.

Driven by its DevTools protocol over a pipe (``--remote-debugging-pipe``: JSON texts, each ended by a zero byte).
``--dump-dom`` would need no protocol, but virtual time, in which scripts take none, and could not change the width or
the colour scheme of a page that is open. One browser serves a test run, with a window per page.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

#: What the program may be called.
NAMES = ("chromium", "chromium-browser", "google-chrome")
#: The longest that the browser may take for an answer, and a page until something is so.
PATIENCE_SECONDS = 90.0

FLAGS = (
    "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--no-default-browser-check", "--disable-extensions", "--disable-breakpad", "--hide-scrollbars",
    # Nothing is asked of anybody.
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    # Windows behind others draw as well.
    "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
    "--disable-background-timer-throttling",
)  # fmt: skip

#: The browser reads its orders from 3 and answers on 4; what it prints to the output joins the log.
START = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >&2'

#: Pages that wait for a user's answer would wait forever.
NO_DIALOGS = "for (const name of ['alert', 'confirm', 'prompt']) window[name] = (text) => console.error(name, text);\n"


class BrowserError(Exception):
    """The browser refused something, failed at it, or took too long."""


def find_chromium(environment: Mapping[str, str]) -> str:
    """The program: what ``ENGINE_CHROMIUM`` names, or the first of ``NAMES`` on ``PATH``.

    A test that asks where there is none is skipped, or fails if ``CI`` or ``ENGINE_REQUIRE_BROWSER`` is set.
    """
    named = environment.get("ENGINE_CHROMIUM")
    names = (named,) if named else NAMES
    for name in names:
        if path := shutil.which(name, path=environment.get("PATH")):
            return path
    reason = (
        f"no Chromium: there is no program {' or '.join(names)}; install it (Debian: apt-get install chromium), "
        "or name a program in ENGINE_CHROMIUM"
    )
    if environment.get("CI") or environment.get("ENGINE_REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


class Browser:
    """A Chromium of this process's own, to be closed.

    Args:
        program: its path.
    """

    def __init__(self, program: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="engine-chromium-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "log"
        profile = f"--user-data-dir={self._folder.name}/profile"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", START, program, *FLAGS, profile],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._unread = b""
        self._asked = 0
        self._pages: dict[str, Page] = {}

    @property
    def pages(self) -> tuple[Page, ...]:
        """Those that are open."""
        return tuple(self._pages.values())

    def open(self, path: Path, script: str = "", *, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        """A new window with a file in it, loaded.

        Args:
            path: the file.
            script: run in the page before all of its own scripts.
            width: of the window's inside, pixels, as ``height``.
            height: see ``width``.
            dark: the reader prefers dark pages.
        """
        target = self.ask("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, target, session, path.resolve().as_uri())
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        page.ask("Performance.enable", timeDomain="threadTicks")
        page.ask("Page.addScriptToEvaluateOnNewDocument", source=NO_DIALOGS + script)
        page.resize(width, height)
        page.prefer(dark=dark)
        page.ask("Page.navigate", url=page.url)
        page.wait("document.readyState === 'complete'")
        return page

    def ask(self, method: str, /, session: str = "", **arguments: Any) -> dict[str, Any]:
        """Call a method of the protocol, of a page's session or of the browser.

        Raises:
            BrowserError: it refuses, takes longer than ``PATIENCE_SECONDS``, or ends.
        """
        self._asked += 1
        number = self._asked
        question = {"id": number, "method": method, "params": arguments} | ({"sessionId": session} if session else {})
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\0")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise BrowserError(self._ended(method)) from error
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (heard := self._next(method, deadline)).get("id") != number:
            if page := self._pages.get(heard.get("sessionId", "")):
                page.hear(heard["method"], heard["params"])
        if "error" in heard:
            raise BrowserError(f"{method} was refused: {heard['error']['message']}")
        result: dict[str, Any] = heard["result"]
        return result

    def forget(self, session: str) -> None:
        """A page was closed."""
        del self._pages[session]

    def close(self) -> None:
        """End it, and nothing else, in whatever state it is."""
        with contextlib.suppress(BrowserError):
            self.ask("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # a session, and so a group, of its own: its helpers go too
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._folder.cleanup()

    def _next(self, method: str, deadline: float) -> dict[str, Any]:
        """The next text of the browser: an answer or an event."""
        assert self._process.stdout is not None
        while b"\0" not in self._unread:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._process.stdout], [], [], left)[0]:
                raise BrowserError(f"{method} took longer than {PATIENCE_SECONDS:g} s")
            part = os.read(self._process.stdout.fileno(), 1 << 20)
            if not part:
                raise BrowserError(self._ended(method))
            self._unread += part
        text, _, self._unread = self._unread.partition(b"\0")
        heard: dict[str, Any] = json.loads(text)
        return heard

    def _ended(self, method: str) -> str:
        return f"Chromium ended at {method}; the end of its log:\n{self._log.read_text(errors='replace')[-2000:]}"


class Page:
    """A page in its window; made by :meth:`Browser.open`.

    Args:
        browser: where.
        target: the window's name in the protocol.
        session: the name under which its events come.
        url: what is opened in it.
    """

    def __init__(self, browser: Browser, target: str, session: str, url: str) -> None:
        self._browser, self._target, self._session = browser, target, session
        self.url = url
        #: Errors and warnings of console and browser, uncaught exceptions, rejected promises.
        self.messages: list[str] = []
        #: URLs that were asked for, other than the page's own and data that it holds.
        self.requests: list[str] = []

    def ask(self, method: str, /, **arguments: Any) -> dict[str, Any]:
        """Call a method of the protocol for this page. Raises as :meth:`Browser.ask`."""
        return self._browser.ask(method, session=self._session, **arguments)

    def run(self, function: str, *arguments: Any) -> Any:
        """Call a JavaScript function in the page and wait for what it returns or promises, as from JSON.

        Raises:
            BrowserError: it throws.
        """
        code = f"({function})({', '.join(map(json.dumps, arguments))})"
        answer = self.ask("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if details := answer.get("exceptionDetails"):
            raise BrowserError(_thrown(details))
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until a JavaScript expression is true.

        Raises:
            BrowserError: it is not within ``PATIENCE_SECONDS``; with what the page said.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.run(f"() => Boolean({condition})"):
            if time.monotonic() > deadline:
                raise BrowserError(
                    f"{condition} is not so after {PATIENCE_SECONDS:g} s; the page said {self.messages!r}"
                )
            time.sleep(0.02)

    def resize(self, width: int, height: int) -> None:
        """Give the window's inside another size, pixels."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, *, dark: bool) -> None:
        """Be a reader who prefers dark pages, or light ones."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self) -> bytes:
        """A PNG of what the window shows."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])

    def busy_seconds(self) -> float:
        """What the page has cost its thread so far, drawing included: processor time, whatever else is running."""
        metrics = self.ask("Performance.getMetrics")["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

    def close(self) -> None:
        """Close the window."""
        self._browser.forget(self._session)
        self._browser.ask("Target.closeTarget", targetId=self._target)

    def hear(self, event: str, said: dict[str, Any]) -> None:
        """Keep what matters of an event."""
        if event == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            words = [str(part.get("description", part.get("value"))) for part in said["args"]]
            self.messages.append(f"{said['type']}: {' '.join(words)}")
        elif event == "Runtime.exceptionThrown":
            self.messages.append(f"uncaught: {_thrown(said['exceptionDetails'])}")
        elif event == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.messages.append(f"{said['entry']['level']}: {said['entry']['text']}")
        elif event == "Network.requestWillBeSent":
            url = said["request"]["url"]
            if url != self.url and not url.startswith(("data:", "blob:")):
                self.requests.append(url)


def _thrown(details: dict[str, Any]) -> str:
    return str(details.get("exception", {}).get("description") or details["text"])
