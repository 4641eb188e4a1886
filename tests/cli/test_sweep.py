"""`engine sweep` from end to end."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.conftest import CONFIG

Engine = Callable[..., Any]

FAST, SLOW = "portfolios.a.strategy.params.fast", "portfolios.a.strategy.params.slow"


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    return tmp_path


def test_a_sweep_leaves_tables_a_page_and_a_summary(engine: Engine, workspace: Path) -> None:
    command = ("sweep", "c.yaml", "--param", f"{FAST}=3,5,30", "--param", f"{SLOW}=20,50", "--out", "out")
    done = engine(*command)
    assert done.returncode == 0, done.stderr
    assert "Of 6 trials, the best by Sharpe has" in " ".join(done.stdout.split())
    assert "1 refused" in done.stdout
    names = {path.name for path in (workspace / "out").iterdir() if not path.name.startswith(".")}
    assert names == {"report.html", "results.csv", "results.parquet", "sweep.json", "trials.jsonl"}
    rows = list(csv.DictReader((workspace / "out" / "results.csv").read_text().splitlines()))
    assert [row["status"] for row in rows] == ["done"] * 4 + ["refused", "done"]
    best = max((row for row in rows if row["sharpe"]), key=lambda row: float(row["sharpe"]))
    document = json.loads((workspace / "out" / "sweep.json").read_text())
    assert document["best"]["values"] == {FAST: int(best[FAST]), SLOW: int(best[SLOW])}
    held = {name: (workspace / "out" / name).read_bytes() for name in ("results.csv", "trials.jsonl")}
    again = engine(*command, "--json", "--workers", "1")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["best"] == document["best"]
    assert {name: (workspace / "out" / name).read_bytes() for name in held} == held
    for file in ("results.csv", "sweep.json", "trials.jsonl", "report.html"):
        assert "engine_app" not in (workspace / "out" / file).read_text()  # the database's URL is a secret


def test_the_default_folder_is_named_after_config_and_time(engine: Engine, workspace: Path) -> None:
    done = engine("sweep", "c.yaml", "--param", f"{FAST}=3,5", "--random", "1", "--set", "end=2008-06-30")
    assert done.returncode == 0, done.stderr
    (folder,) = (workspace / "sweeps").iterdir()
    assert folder.name.startswith("swept-20")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "a sweep needs at least one --param; write KEY=5,10,20"),
        (("--param", "fast"), "--param was 'fast'"),
        (("--param", f"{FAST}=3,5", "--objective", "sharp"), "--objective was 'sharp'; allowed:"),
        (("--param", "portfolios.x.cash=3,5"), "portfolios has no entry 'x' (allowed: 0 to 1, or an id: a, b)"),
        (("--param", f"{FAST}=30,40"), "none of the 2 trials can be run"),
        (("--param", f"{FAST}=3,5", "--set", "mode=live"), None),
    ],
)
def test_bad_usage_is_a_sentence_and_status_2(
    engine: Engine, workspace: Path, arguments: tuple[str, ...], said: str | None
) -> None:
    done = engine("sweep", "c.yaml", *arguments, "--out", "out")
    if said is None:  # whatever the config's mode: a trial is a backtest
        assert done.returncode == 0, done.stderr
        return
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not (workspace / "out" / "results.csv").exists()


def test_ctrl_c_says_what_is_kept(workspace: Path) -> None:
    command = ["sweep", "c.yaml", "--param", f"{FAST}=3:15:1", "--param", f"{SLOW}=20:200:5", "--out", "out"]
    process = subprocess.Popen([sys.executable, "-m", "framework", *command], stderr=subprocess.PIPE, text=True)
    journal, deadline = workspace / "out" / "trials.jsonl", time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    kept = journal.read_bytes().count(b"\n") - 1
    assert f"engine: interrupted; {kept} trials are kept in out; the same command with --out out goes on" in told
    assert "Traceback" not in told
