"""A backtest of several portfolios: a thread each, one result."""

from __future__ import annotations

import logging
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from functools import cache
from importlib import metadata
from typing import TypeVar

import numpy as np

from framework.errors import EngineError, StrategyError
from framework.model.panel import FIELDS, Panel
from framework.trading.context import Cursor, IndicatorMaker, SetupContext
from framework.trading.strategy import Strategy

T = TypeVar("T")

#: The fill rule, in the words that reports use.
FILL_RULE = "decided on a bar's close, filled at the open of the ticker's next bar; sells before buys"

_WAIT_SECONDS = 0.2
_PATIENCE_SECONDS = 5.0

_log = logging.getLogger(__name__)


class StoppedError(EngineError):
    """The work was interrupted; raised inside the threads that are to stop."""


def run_threads(
    tasks: Mapping[str, Callable[[Callable[[], None]], T]],
) -> list[T]:
    """Run each task on a thread of its own, named after it, and wait for all.

    The calling thread only waits, so that Ctrl-C reaches it at once.

    Args:
        tasks: by name; each is given ``checkpoint()``, to call now and then: it raises ``StoppedError`` once the run is
            interrupted or another task has failed.

    Returns:
        results in the order of ``tasks``.

    Raises:
        the first error of a task in the order of ``tasks``, after the others have stopped.
    """
    stop = threading.Event()

    def checkpoint() -> None:
        if stop.is_set():
            raise StoppedError("interrupted")

    futures: dict[str, Future[T]] = {name: Future() for name in tasks}
    for name, task in tasks.items():
        # A daemon: a strategy that hangs must not keep the process alive.
        threading.Thread(target=_work, args=(task, checkpoint, futures[name]), name=name, daemon=True).start()
    try:
        while wait(futures.values(), _WAIT_SECONDS, FIRST_EXCEPTION).not_done:
            if any(future.done() and future.exception() for future in futures.values()):
                break
    finally:
        stop.set()
        hanging = _hanging(futures)
        if hanging:
            _log.warning("still busy %.0f s after being told to stop, left behind: %s", _PATIENCE_SECONDS, hanging)
    return _results([future for name, future in futures.items() if future.done()])


def _work(task: Callable[[Callable[[], None]], T], checkpoint: Callable[[], None], future: Future[T]) -> None:
    try:
        future.set_result(task(checkpoint))
    except BaseException as error:  # noqa: BLE001  # whatever it is, the waiting thread raises it
        future.set_exception(error)


def _hanging(futures: Mapping[str, Future[T]]) -> str:
    """The tasks that have not ended within a few seconds, by name."""
    waiting = wait(futures.values(), _PATIENCE_SECONDS).not_done
    return ", ".join(name for name, future in futures.items() if future in waiting)


def _results(futures: Sequence[Future[T]]) -> list[T]:
    errors = [error for future in futures if (error := future.exception()) is not None]
    real = [error for error in errors if not isinstance(error, StoppedError)]
    if errors:
        raise (real or errors)[0]
    return [future.result() for future in futures]


def declared_memory(strategy: Strategy, tickers: Sequence[str], interval: str, make: IndicatorMaker) -> int:
    """The longest memory, in bars, of the indicators that a strategy declares in ``setup``.

    ``strategy`` is used up: it was set up on a panel without bars.
    """
    nothing = {name: np.empty((0, len(tickers))) for name in FIELDS}
    panel = Panel(tuple(tickers), np.empty(0, dtype="datetime64[us]"), **nothing, interval=interval)
    ctx = SetupContext(panel, make, Cursor(), computes=False)
    try:
        strategy.setup(ctx)
    except EngineError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise StrategyError(f"strategy {type(strategy).__name__} failed in setup: {what}") from error
    return ctx.memory


def versions() -> dict[str, str]:
    """Of this package, of Python, and of the libraries that compute."""
    return dict(_versions())


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    names = ("portfolio-engine", "numpy", "pandas", "psycopg2-binary", "exchange-calendars")
    return *((name, metadata.version(name)) for name in names), ("python", platform.python_version())
