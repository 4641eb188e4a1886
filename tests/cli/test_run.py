"""`engine run` and `engine check` from end to end, on a real database."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFIG = """\
name: short
mode: backtest
start: 2010-01-04
end: 2010-03-31
data_source: {name: sample}
broker: {name: simulated, params: {commission: {name: percent, rate: 0.0005}}}
portfolios:
  - id: a
    cash: 100000
    tickers: [AAPL, IBM]
    strategy: {name: buy_and_hold}
"""
Engine = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture
def workspace(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a config and a database of this test's own."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "c.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    return tmp_path


def test_json_is_one_document_and_the_report_is_where_asked(engine: Engine, workspace: Path) -> None:
    done = engine("run", "c.yaml", "--json", "--out", "out")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert list(document["portfolios"]) == ["a"]
    assert document["config"]["database"]["url"] == "${DATABASE_URL}"
    assert json.loads((workspace / "out" / "summary.json").read_text())["total"] == document["total"]
    assert (workspace / "out" / "a" / "trades.csv").is_file()


def test_the_table_goes_to_stdout_and_the_database_is_named_on_stderr(engine: Engine) -> None:
    done = engine("run", "c.yaml")
    assert done.returncode == 0, done.stderr
    assert "Max drawdown" in done.stdout
    assert "Report: runs/short-" in done.stdout
    assert done.stderr.startswith("Database: ")


def test_overrides_arrive(engine: Engine) -> None:
    done = engine("run", "c.yaml", "--json", "--set", "portfolios.a.cash=5000", "--set", "end=2010-02-26")
    document = json.loads(done.stdout)
    assert document["total"]["initial_equity"] == 5000.0
    assert document["total"]["end"] == "2010-02-26"


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("strategy.name=buy_and_hodl", "there is no strategy 'buy_and_hodl'; did you mean 'buy_and_hold'?"),
        ("strategy.params.fsat=3", "no parameter 'fsat'"),
        ("data_source.name=smaple", "there is no data source 'smaple'; did you mean 'sample'?"),
        ("broker.params.commission.rte=1", "commission model Percent has no parameter 'rte'"),
        ("broker.params.commission.name=precent", "there is no commission model 'precent'; did you mean 'percent'?"),
        ("report.benchmark=buy_and_hodl", "--set: report.benchmark: there is no strategy 'buy_and_hodl'"),
        ("calendar=XNYZ", "XNYZ"),
    ],
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_wrong_name_or_parameter_is_answered(engine: Engine, command: str, override: str, answer: str) -> None:
    done = engine(command, "c.yaml", "--set", override)
    assert done.returncode == (2 if command == "run" else 1)
    assert answer in (done.stderr if command == "run" else done.stdout)
    assert "Traceback" not in done.stderr


def test_an_unknown_ticker_names_itself(engine: Engine) -> None:
    done = engine("run", "c.yaml", "--set", "tickers=[AAPLE]")
    assert done.returncode == 2
    assert "AAPLE" in done.stderr
    assert "AAPL" in done.stderr.replace("AAPLE", "")


def test_check_tells_what_it_tried(engine: Engine, workspace: Path) -> None:
    done = engine("check", "c.yaml", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["ok"] is True
    assert {item["name"] for item in document["checks"]} >= {"config", "plugins", "database", "data", "portfolio a"}
    assert not (workspace / "runs").exists()


PEEK = """\
import numpy as np
from framework import Strategy, hookimpl


class Peek(Strategy):
    def weights(self, panel):
        up = np.roll(panel.close, -1, axis=0) > panel.close
        return np.where(up, 0.4, 0.0)


@hookimpl
def register_strategies():
    return {"peek": Peek}
"""


def test_check_finds_a_strategy_that_sees_the_future(engine: Engine, workspace: Path) -> None:
    (workspace / "plugins" / "peek.py").write_text(PEEK)
    done = engine("check", "c.yaml", "--set", "strategy=peek")
    assert done.returncode == 1
    assert "FAIL  portfolio a: " in done.stdout


SLOW_MEAN = """\
import numpy as np
from framework import Strategy, hookimpl, indicators


class SlowMean(Strategy):
    period: int = 60

    def weights(self, panel):
        if self.period > 100:
            raise ValueError(f"{self.period} is too long")
        return np.where(panel.close > indicators.sma(panel.close, self.period), 0.4, 0.0)


@hookimpl
def register_strategies():
    return {"slow_mean": SlowMean}
"""
PAPER = ("--set", "mode=paper", "--set", "broker=paper", "--set", "clock={start: 2010-01-04, end: 2010-03-31}")


@pytest.mark.parametrize(("mode", "status", "word"), [((), 0, "ok  "), (PAPER, 1, "FAIL")])
def test_check_tells_of_a_lookback_that_is_too_short(
    engine: Engine, workspace: Path, mode: tuple[str, ...], status: int, word: str
) -> None:
    (workspace / "plugins" / "slow_mean.py").write_text(SLOW_MEAN)
    if mode:  # dates are a backtest's
        (workspace / "c.yaml").write_text(CONFIG.replace("start: 2010-01-04\nend: 2010-03-31\n", ""))
    short = engine("check", "c.yaml", *mode, "--set", "strategy=slow_mean", "--set", "lookback=20")
    assert short.returncode == status, short.stdout + short.stderr
    assert (
        f"{word}  portfolio a lookback: on the last 21 bars, which is all that paper and live see, it" in short.stdout
    )
    assert "0 of equity instead of 0.4 of equity. " in short.stdout
    enough = engine("check", "c.yaml", *mode, "--set", "strategy=slow_mean", "--set", "lookback=60")
    assert enough.returncode == 0, enough.stdout + enough.stderr
    assert "ok    portfolio a lookback: the last 61 bars decide as all history does (compared at " in enough.stdout


def test_check_tells_of_a_strategy_that_fails(engine: Engine, workspace: Path) -> None:
    (workspace / "plugins" / "slow_mean.py").write_text(SLOW_MEAN)
    done = engine("check", "c.yaml", "--set", "strategy={name: slow_mean, params: {period: 101}}")
    assert done.returncode == 1
    assert "FAIL  portfolio a: strategy 'slow_mean' failed: ValueError: 101 is too long" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_password_is_never_shown(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://someone:hunter2@127.0.0.1:1/nothing")
    for arguments in (["run"], ["check"], ["run", "--debug"]):
        done = engine(*arguments, "c.yaml")
        assert done.returncode == 1
        assert "127.0.0.1" in done.stderr + done.stdout
        assert "hunter2" not in done.stderr + done.stdout


LEAKY = """\
from framework import Strategy, hookimpl


class Leaky(Strategy):
    api_key: str

    def on_bar(self, ctx):
        ctx.log.warning("key is %s", self.api_key)
        raise ValueError(self.api_key)


@hookimpl
def register_strategies():
    return {"leaky": Leaky}
"""


def test_not_even_a_plugin_can_show_a_secret(engine: Engine, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "hunter2-of-the-environment")
    (workspace / "plugins" / "leaky.py").write_text(LEAKY)
    for key, shown in (("${KEY}", "${KEY}"), ("hunter2-literal", "***")):
        arguments = ["run", "c.yaml", "--debug", "--set", f"strategy={{name: leaky, params: {{api_key: '{key}'}}}}"]
        done = engine(*arguments)
        assert done.returncode == 1
        assert f"key is {shown}" in done.stderr
        assert f"ValueError: {shown}" in done.stderr
        assert "hunter2" not in done.stderr + done.stdout


def test_a_broken_plugin_does_not_stop_a_run_that_does_not_need_it(engine: Engine, workspace: Path) -> None:
    (workspace / "plugins" / "broken.py").write_text("import nowhere\n")
    assert engine("run", "c.yaml").returncode == 0
    done = engine("run", "c.yaml", "--set", "strategy=broken")
    assert "Failed to load: broken (" in done.stderr
    assert "No module named 'nowhere' (broken.py, line 1)" in done.stderr


WATCH = """\
from framework import hookimpl


@hookimpl
def backtest_finished(result):
    with open("told", "w") as file:
        file.write(result.name)
    raise ValueError("boom")
"""


def test_observers_are_told_and_cannot_spoil_a_run(engine: Engine, workspace: Path) -> None:
    (workspace / "plugins" / "watch.py").write_text(WATCH)
    done = engine("run", "c.yaml")
    assert done.returncode == 0
    assert (workspace / "told").read_text() == "short"
    assert "plugin watch failed in backtest_finished: ValueError: boom" in done.stderr


SLOW = """\
import time

from framework import Strategy, hookimpl


class Slow(Strategy):
    def on_bar(self, ctx):
        print("deciding", flush=True)
        time.sleep(0.02)


@hookimpl
def register_strategies():
    return {"slow": Slow}
"""


def test_ctrl_c_in_the_middle_of_a_run_is_exit_130_and_one_line(workspace: Path) -> None:
    (workspace / "plugins" / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "framework", "run", "c.yaml", "--set", "strategy=slow"]
    with subprocess.Popen(command, cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "deciding\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    lines = errors.splitlines()
    assert lines[0].startswith("Database: ")
    assert [line for line in lines[1:] if line.startswith("engine: interrupted; ")] == lines[-1:]
    assert "Traceback" not in errors


def test_paper_trading_leaves_no_report(engine: Engine) -> None:
    done = engine("run", "c.yaml", "--set", "mode=paper", "--out", "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert "`engine report --portfolio ID --out DIR` reports from them" in done.stderr


def test_help_speaks_of_every_mode(engine: Engine) -> None:
    shown = engine("run", "--help").stdout
    for word in ("backtest:", "replay:", "paper:", "Example: engine run paper.yaml"):
        assert word in shown
