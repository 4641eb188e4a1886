"""A thread per portfolio: names, errors, interruption."""

import threading
import time

import pytest

from framework import ConfigError
from framework.engine.backtest import StoppedError, run_threads


def busy_task():
    """A task without end, and the list that says when it was stopped."""
    stopped = []

    def endless(checkpoint):
        try:
            while True:
                checkpoint()
                time.sleep(0.01)
        except StoppedError:
            stopped.append(True)
            raise

    return stopped, endless


def test_each_task_has_a_thread_named_after_it_and_results_keep_their_order():
    seen = {}

    def task(name, pause):
        def work(checkpoint):
            time.sleep(pause)
            seen[name] = threading.current_thread().name
            return name

        return work

    assert run_threads({"portfolio-1": task("a", 0.05), "portfolio-2": task("b", 0.0)}) == ["a", "b"]
    assert seen["a"].startswith("portfolio-1")
    assert seen["b"].startswith("portfolio-2")


def test_they_run_at_the_same_time():
    meeting = threading.Barrier(3, timeout=5)
    assert len(run_threads({str(number): lambda checkpoint: meeting.wait() for number in range(3)})) == 3


def test_an_error_stops_the_others_and_is_raised_as_it_is():
    stopped, endless = busy_task()

    def broken(checkpoint):
        raise ConfigError("no such thing")

    with pytest.raises(ConfigError, match="no such thing"):
        run_threads({"a": endless, "b": broken, "c": endless})
    assert stopped == [True, True]


def test_ctrl_c_reaches_the_waiting_thread_and_stops_the_work(monkeypatch):
    from framework.engine import backtest

    stopped, endless = busy_task()

    wait, calls = backtest.wait, []

    def interrupted_once(*args):
        calls.append(args)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return wait(*args)

    monkeypatch.setattr(backtest, "wait", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        run_threads({"a": endless})
    assert stopped == [True]


def test_a_task_that_hangs_is_left_behind(monkeypatch, caplog):
    from framework.engine import backtest

    monkeypatch.setattr(backtest, "_PATIENCE_SECONDS", 0.1)
    release = threading.Event()

    def broken(checkpoint):
        raise ConfigError("no such thing")

    with pytest.raises(ConfigError, match="no such thing"):
        run_threads({"hangs": lambda checkpoint: release.wait(30), "b": broken})
    assert "left behind: hangs" in caplog.text
    release.set()
