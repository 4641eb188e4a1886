import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from framework.errors import ConfigError, EngineError, UsageError
from framework.report.csv_set import RUN_TABLES, TABLES
from framework.report.files import claim_folder
from framework.report.write import write_run

FILES = {*TABLES, *RUN_TABLES, "summary.json", "report.html", ".portfolio-engine"}


def names(folder):
    return {entry.name for entry in folder.iterdir()}


def test_writes_the_totals_and_a_folder_for_each_portfolio(tmp_path, build_run, build_result):
    out = tmp_path / "runs" / "demo"
    report = write_run(build_run(build_result(), build_result(portfolio_id="growth-2")), out)
    assert report == out / "report.html"
    assert names(out) == FILES | {"1", "growth-2"}
    assert names(out / "1") == names(out / "growth-2") == set(TABLES)
    assert json.loads((out / "summary.json").read_text())["name"] == "demo"


def test_the_total_of_one_portfolio_is_its_own(tmp_path, build_run):
    write_run(build_run(), tmp_path)
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (tmp_path / "1" / name).read_bytes()


def test_beside_a_master_account_one_portfolio_is_not_the_total(tmp_path, build_run, build_result, build_master):
    result = build_result(flows=[(10, 2e5, "transfer")])
    write_run(build_run(result, master=build_master(result, opening=3e5)), tmp_path)
    assert names(tmp_path) == FILES | {"1"}
    assert (tmp_path / "equity.csv").read_bytes() != (tmp_path / "1" / "equity.csv").read_bytes()
    total = json.loads((tmp_path / "summary.json").read_text())["total"]
    assert (total["initial_equity"], total["net_flows"]) == (1.3e6, 0.0)


def test_reports_progress_file_by_file(tmp_path, build_run):
    seen = []
    write_run(build_run(), tmp_path, lambda path, done, total: seen.append((path, done, total)))
    assert [done for _, done, _ in seen] == list(range(25))
    assert seen[0] == ("1/equity.csv", 0, 25)
    assert seen[-1][0] == "summary.json"


def test_a_folder_of_a_former_run_is_written_anew(tmp_path, build_run, build_result):
    write_run(build_run(build_result(), build_result(portfolio_id="old")), tmp_path)
    (tmp_path / "1" / "my notes.txt").write_text("keep")
    write_run(build_run(), tmp_path)
    assert names(tmp_path) == FILES | {"1"}
    assert (tmp_path / "1" / "my notes.txt").read_text() == "keep"


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path, build_run):
    (tmp_path / "thesis.doc").write_text("mine")
    with pytest.raises(UsageError, match=r"thesis\.doc.*--out"):
        write_run(build_run(), tmp_path)
    assert names(tmp_path) == {"thesis.doc"}


def test_a_file_in_the_way_is_refused(tmp_path, build_run):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError, match="--out"):
        write_run(build_run(), tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["", "..", "a/b", "a\\b", "/etc", "equity.csv", "allocations.csv", "a\nb", " x", "x" * 300, "c:"]
)
def test_an_id_that_cannot_name_a_folder_is_refused(tmp_path, build_run, build_result, name):
    with pytest.raises(ConfigError, match="can't name the folder"):
        write_run(build_run(build_result(portfolio_id=name)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_manifest_cannot_reach_outside_the_folder(tmp_path, build_run):
    outside = tmp_path / "precious.txt"
    outside.write_text("keep")
    out = tmp_path / "out"
    out.mkdir()
    (out / ".portfolio-engine").write_text(f"../precious.txt\n{outside}\n")
    write_run(build_run(), out)
    assert outside.read_text() == "keep"


def test_what_the_disk_refuses_is_an_error_of_ours(tmp_path, build_run, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("framework.report.write.write_table", refuse)
    with pytest.raises(EngineError, match=r"No space left on device.*--out"):
        write_run(build_run(), tmp_path)


@pytest.mark.parametrize("flows", [[], [(3, 1e5), (50, 2e4, "transfer"), (51, -1e4), (300, 5.0, "transfer")]])
def test_csv_files_are_the_same_in_two_runs(tmp_path, build_run, build_result, build_master, flows):
    for name, seconds in (("a", 0.25), ("b", 9.0)):
        results = [build_result(gaps=0.1, flows=flows), build_result(("X", "AAPL"), portfolio_id="2", seed=8)]
        master = build_master(*results) if flows else None
        timed = (replace(result, simulation_seconds=seconds) for result in results)
        write_run(build_run(*timed, master=master), tmp_path / name)
    for path in sorted((tmp_path / "a").rglob("*.csv")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def endless_writer(out):
    builder = os.path.join(os.path.dirname(__file__), "conftest.py")
    script = (
        "import importlib.util, pathlib, sys\n"
        f"spec = importlib.util.spec_from_file_location('builder', {builder!r})\n"
        "builder = importlib.util.module_from_spec(spec); spec.loader.exec_module(builder)\n"
        "from framework.report.write import write_run\n"
        "run = builder.make_run(builder.make_result(bars=3000, every=3))\n"
        "print('go', flush=True)\n"
        f"while True: write_run(run, pathlib.Path({str(out)!r}))\n"
    )
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)


def test_a_second_run_does_not_take_away_the_files_of_a_first(tmp_path, build_run):
    def second_run_starts(path, done, total):
        if path == "trades.csv":
            claim_folder(tmp_path, (tmp_path / ".portfolio-engine").read_text().splitlines())

    write_run(build_run(), tmp_path, second_run_starts)
    assert names(tmp_path) == FILES | {"1"}


def test_a_killed_writer_leaves_whole_files_and_a_folder_that_can_be_written_again(tmp_path, build_run, build_result):
    out = tmp_path / "out"
    process = endless_writer(out)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"go\n"
        time.sleep(0.7)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    run = build_run(build_result(bars=3000, every=3))
    write_run(run, tmp_path / "whole")
    for path in out.rglob("*.csv"):
        assert path.read_bytes() == (tmp_path / "whole" / path.relative_to(out)).read_bytes()
    write_run(run, out)
    assert names(out) >= FILES
