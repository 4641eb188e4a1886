"""Whole sweeps: every trial is the run that `engine run` makes, whatever happens on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest

from framework.errors import ConfigError, DataError, PluginError, UsageError
from framework.model.sweep import Outcome
from framework.sweep.needs import Needs
from framework.sweep.run import Options, planned, run_sweep
from framework.sweep.trial import run_task
from tests.sweep.conftest import FAST, PROBE, SLOW, Run, alone, figures


def assert_is_the_run(outcome: Outcome, total: dict[str, Any]) -> None:
    assert outcome.status == "done", outcome.reason
    told = {key: value for key, value in total.items() if key in outcome.figures and not isinstance(value, dict)}
    told |= {f"risk.{key}": value for key, value in total["risk"].items()}
    assert {"final_equity", "sharpe", "trades", "fees", "turnover", "max_drawdown", "risk.skew"} <= set(told)
    for key in ("engine_seconds", "load_seconds", "rows_per_second"):
        assert key not in outcome.figures
    assert {key: outcome.figures[key] for key in told} == told


def test_each_trial_is_the_run_that_engine_run_makes(sweep: Run) -> None:
    """With windows below and above the lookback, which is what a shared panel could get wrong."""
    found = sweep(f"{FAST}=3,15", f"{SLOW}=10,60,200")
    assert [each.trial.values for each in found.outcomes] == [(3, 10), (3, 60), (3, 200), (15, 10), (15, 60), (15, 200)]
    refused = found.outcomes[3]
    assert refused.status == "refused"
    assert refused.reason.startswith("c.yaml:")
    assert "portfolios.0.strategy" in refused.reason
    for outcome in found.outcomes:
        if outcome is not refused:
            assert_is_the_run(outcome, alone(outcome, (FAST, SLOW)))
    best = found.best()
    assert best is not None
    assert best.figures["sharpe"] == max(each.figures["sharpe"] or -9 for each in found.done("whole"))
    assert (found.name, found.method, found.currency) == ("swept", "grid of 6", "USD")
    assert found.config["portfolios"][0]["strategy"]["params"] == {"fast": 5, "slow": 20}


def test_any_key_can_be_varied_and_the_bars_follow(sweep: Run) -> None:
    found = sweep("adjust=all,splits", "portfolios.a.cash_buffer=0.0,0.5", "broker.params.slippage.bps=1,20", workers=1)
    assert len({each.figures["final_equity"] for each in found.outcomes}) == 8
    for outcome in (found.outcomes[0], found.outcomes[-1]):
        assert_is_the_run(outcome, alone(outcome, tuple(axis.key for axis in found.axes)))
    other = sweep("interval=1d", "schedule=daily,monthly", out=Path("other"), objective="calmar")
    assert len({each.figures["trades"] for each in other.outcomes}) == 2


def test_what_is_done_is_not_done_again(sweep: Run, workspace: Path) -> None:
    whole = sweep(f"{FAST}=3:9:2", f"{SLOW}=30,60")
    journal = workspace / "out" / "trials.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 9
    journal.write_bytes(b"".join([*lines[:4], lines[4][:40]]))
    again = sweep(f"{FAST}=3:9:2", f"{SLOW}=30,60")
    assert figures(again) == figures(whole)
    now = journal.read_bytes().splitlines(keepends=True)
    assert now[:4] == lines[:4]
    assert len(now) == 9
    with pytest.raises(UsageError, match=r"'out' holds another sweep: parameters, trials differ"):
        sweep(f"{FAST}=3:9:2", f"{SLOW}=30,61")
    (workspace / "full").mkdir()
    (workspace / "full" / "mine").touch()
    with pytest.raises(UsageError, match="holds 1 entries that no run wrote"):
        sweep(f"{FAST}=3,5", out=Path("full"))


def test_other_bars_are_another_sweep(sweep: Run, workspace: Path, database: str) -> None:
    sweep(f"{FAST}=3,5")
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE market_data SET close_price = low_price WHERE ticker = 'IBM' AND timestamp = '2009-03-02'"
        )
    connection.close()
    with pytest.raises(UsageError, match="another sweep: bars differs"):
        sweep(f"{FAST}=3,5")


def test_a_worker_that_dies_costs_a_retry_not_a_result(sweep: Run, probe: Callable[..., str]) -> None:
    found = sweep(probe("act=run,die once,raise"), probe("share=0.1,0.2,0.3"), config="p.yaml")
    assert Path("died").exists()
    assert [each.status for each in found.outcomes] == 6 * ["done"] + 3 * ["failed"]
    assert {each.reason for each in found.outcomes[6:]} == {found.outcomes[6].reason}
    assert "strategy 'probe' failed at bar 2008-01-02T00:00: ValueError: no idea" in found.outcomes[6].reason
    equity = [each.figures["final_equity"] for each in found.outcomes[:6]]
    assert equity[:3] == equity[3:]


def test_what_kills_its_process_each_time_is_found_out(sweep: Run, probe: Callable[..., str]) -> None:
    found = sweep(probe("act=run,die"), probe("share=0.1,0.2,0.3"), config="p.yaml", workers=3)
    assert [each.status for each in found.outcomes] == 3 * ["done"] + 3 * ["failed"]
    assert {each.reason for each in found.outcomes[3:]} == {"its process died 3 times: killed, or out of memory"}


def test_another_version_of_a_file_is_refused(workspace: Path, probe: Callable[..., str]) -> None:
    options = Options((probe("share=0.1,0.2"),), out=Path("out"), workers=1)
    plan = planned(Path("p.yaml"), (), options)
    file = workspace / "plugins" / "probe.py"
    file.write_text(PROBE.replace("0.5", "0.6"))
    with pytest.raises(PluginError, match=r"plugin probe \(probe\.py\) has changed since the sweep began"):
        run_sweep(plan, options, lambda *a: None)
    file.unlink()
    with pytest.raises(PluginError, match=r"plugin probe \(probe\.py\) is not here"):
        run_sweep(plan, options, lambda *a: None)
    file.write_text(PROBE)
    assert len(run_sweep(plan, options, lambda *a: None)[0].done("whole")) == 2


def test_the_config_is_the_one_that_was_read(workspace: Path, sweep: Run) -> None:
    options = Options((f"{FAST}=3,5",), out=Path("out"), workers=1)
    plan = planned(Path("c.yaml"), (), options)
    (workspace / "c.yaml").write_text("nonsense: [")
    assert len(run_sweep(plan, options, lambda *a: None)[0].done("whole")) == 2


def test_bars_come_from_the_database_where_the_file_is_gone(workspace: Path) -> None:
    plan = planned(Path("c.yaml"), (), Options((f"{FAST}=3,5",)))
    needs = Needs(plan.setup, plan.plugins)
    trial = plan.trials()[0]
    needs.add(trial)
    needs.load(lambda *a: None)
    task = needs.task(trial)
    assert {Path(ref.file).parent.name for ref in task.panels} == {"panels"}
    first = run_task(plan.setup, task)
    for ref in task.panels:
        Path(ref.file).unlink()
    # As another process, which has nothing mapped: the setup is another one.
    other = replace(plan.setup, path=str(workspace / "." / "c2.yaml"))
    assert run_task(other, task).figures == first.figures
    changed = replace(task, panels=tuple(replace(ref, fingerprint="0") for ref in task.panels))
    with pytest.raises(DataError, match="portfolio a: the bars have changed since the sweep began"):
        run_task(other, changed)


def test_without_a_cache_every_process_reads_the_bars(sweep: Run, workspace: Path) -> None:
    kept = sweep(f"{FAST}=3,5,8")
    read = sweep(f"{FAST}=3,5,8", set_=("cache.gigabytes=0",), out=Path("other"))
    assert figures(read) == figures(kept)
    assert "every process read them from the database itself" in " ".join(read.notes)
    assert "every process" not in " ".join(kept.notes)


def test_walking_forward_tests_what_was_best_before(sweep: Run) -> None:
    found = sweep(f"{FAST}=3,8", f"{SLOW}=20,50", set_=("start=2006-01-03",), train="2y", test="1y")
    assert [str(window.test_start) for window in found.windows] == ["2008-01-03", "2009-01-03"]
    trained, tests = found.done("train"), found.done("test")
    assert len(trained) == 8
    assert [each.trial.window for each in tests] == [0, 1]
    for window, test in zip(found.windows, tests, strict=True):
        best = found.best(window.number)
        assert best is not None
        assert test.trial.values == best.trial.values
        assert (test.trial.start, test.trial.end) == (window.test_start, window.test_end)
        total = alone(test, (FAST, SLOW))
        assert_is_the_run(test, total)
        assert test.returns is not None
        assert test.sessions is not None
        assert np.prod(1 + test.returns) - 1 == pytest.approx(total["total_return"], rel=1e-12)
        assert len(test.sessions) == total["sessions"]
    assert figures(sweep(f"{FAST}=3,8", f"{SLOW}=20,50", set_=("start=2006-01-03",), train="2y", test="1y")) == figures(
        found
    )
    assert found.method == "grid of 4, walking forward over 2 windows (rolling, train 2y, test 1y)"


def test_a_test_on_other_bars_is_run_again(sweep: Run, database: str, workspace: Path) -> None:
    """No training has seen them, so it is the same sweep."""
    asked: dict[str, Any] = {"set_": ("start=2006-01-03",), "train": "2y", "test": "1y"}
    first = sweep(f"{FAST}=3,8", **asked)
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE market_data SET close_price = low_price WHERE timestamp = '2009-12-30'")
    connection.close()
    again = sweep(f"{FAST}=3,8", **asked)
    assert figures(replace(again, outcomes=again.outcomes[:-1])) == figures(
        replace(first, outcomes=first.outcomes[:-1])
    )
    assert again.outcomes[-1].figures != first.outcomes[-1].figures
    assert_is_the_run(again.outcomes[-1], alone(again.outcomes[-1], (FAST,)))
    assert len((workspace / "out" / "trials.jsonl").read_text().splitlines()) == 1 + 6 + 1


def test_portfolios_that_meet_for_allocations(sweep: Run, workspace: Path) -> None:
    text = (workspace / "c.yaml").read_text()
    (workspace / "m.yaml").write_text(
        text + 'allocator: {name: daily, params: {weights: {"a": 0.5, "b": 0.3}}, schedule: monthly}\n'
        "master: {cash: 20000}\n"
    )
    found = sweep(f"{FAST}=3,8", config="m.yaml")
    for outcome in found.outcomes:
        assert_is_the_run(outcome, alone(outcome, (FAST,), "m.yaml"))


@pytest.mark.parametrize(
    ("params", "options", "error", "said"),
    [
        ((f"{FAST}=30,40",), {}, ConfigError, "none of the 2 trials can be run. The first one: "),
        (("portfolios.a.strategy.params.quick=1,2",), {}, ConfigError, "has no parameter 'quick' (it has: fast"),
        ((f"{FAST}=3",), {"objective": "sharp"}, UsageError, "--objective was 'sharp'; allowed: total_return"),
        ((f"{FAST}=3",), {"objective": "volatility"}, UsageError, "--objective was 'volatility'"),
        ((f"{FAST}=3",), {"workers": 0}, UsageError, "--workers was 0"),
        ((f"{FAST}=3",), {"train": "1y"}, UsageError, "needs both --train and --test"),
        ((f"{FAST}=3",), {"anchored": True}, UsageError, "--anchored is for walking forward"),
        ((f"{FAST}=3",), {"train": "9y", "test": "1y"}, UsageError, "needs more than 9y"),
        (("start=2008-01-02",), {}, UsageError, "--param start: this key is the same for all trials"),
        (("database.url=a,b",), {}, UsageError, "--param database.url: this key"),
    ],
)
def test_what_makes_no_sweep_is_said(
    sweep: Run, workspace: Path, params: tuple[str, ...], options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        sweep(*params, **options)
    assert said in str(caught.value)
    assert not (workspace / "out" / "trials.jsonl").exists()


def test_a_draw_is_a_part_of_the_grid(sweep: Run) -> None:
    whole = sweep(f"{FAST}=3,4,5", f"{SLOW}=20,50", workers=1)
    part = sweep(f"{FAST}=3,4,5", f"{SLOW}=20,50", draw=3, seed=7, out=Path("part"), workers=1)
    assert len(part.outcomes) == 3
    assert figures(part).items() <= figures(whole).items()
    head = json.loads((Path("part") / "trials.jsonl").read_text().splitlines()[0])["sweep"]
    assert head["trials"][0] == "3 drawn at random of 6 (seed 7)"
    assert part.start == date(2008, 1, 2)


def test_a_sweep_that_is_killed_goes_on_and_leaves_no_process(
    workspace: Path, sweep: Run, probe: Callable[..., str]
) -> None:

    slow = PROBE.replace("import os, signal", "import os, signal, time").replace(
        "    def on_bar(self, ctx):\n", "    def on_bar(self, ctx):\n        time.sleep(0.002)\n"
    )
    (workspace / "plugins" / "probe.py").write_text(slow)
    command = ["sweep", "p.yaml", "--param", probe("share=0.1:0.6:0.1"), "--out", "out", "--workers", "2"]
    process = subprocess.Popen([sys.executable, "-m", "framework", *command], stderr=subprocess.DEVNULL)
    journal, deadline = workspace / "out" / "trials.jsonl", time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = _descendants(process.pid)
    assert len(workers) >= 3  # the server that forks, and two
    process.kill()
    process.wait()
    while any(map(_is_alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    before = journal.read_bytes()
    found = sweep(probe("share=0.1:0.6:0.1"), config="p.yaml")
    assert journal.read_bytes().startswith(before[: before.rindex(b"\n") + 1])
    assert [each.status for each in found.outcomes] == 6 * ["done"]
    for outcome in found.outcomes[:2]:
        assert_is_the_run(outcome, alone(outcome, (probe("share"),), "p.yaml"))


def _descendants(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *_descendants(int(child))]
    return found


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
