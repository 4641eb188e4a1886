"""What a sweep's reports say: its findings, words, files and the terminal, from invented trials."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from framework.errors import EngineError, UsageError
from framework.model.sweep import Axis, Outcome, Trial
from framework.report import metrics, sweep_files
from framework.report.files import MANIFEST
from framework.report.sweep_files import claim_sweep_folder, write_sweep
from framework.report.sweep_findings import find
from framework.report.sweep_page import render
from framework.report.sweep_view import document, show_sweep
from framework.report.sweep_words import axis_names, chance, lead, measures, paragraphs, value_text
from framework.report.write import write_run
from tests.report.sweeps import FAST, SLOW, grid, lost, outcome, sweep, walk
from tests.report.test_compare import Tags, drawn, readable

EVIL = '</script><img src=x onerror="alert(1)">,"{{ 7*7 }}"\n=cmd'


REASON = "strategy.params: fast must be below slow"


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def names(folder):
    return {entry.name for entry in folder.iterdir()}


def trial(values):
    return Trial(values, date(2005, 1, 3), date(2005, 12, 30))


def printed(made, width=100):
    out = io.StringIO()
    show_sweep(made, Path("runs/demo"), Console(file=out, width=width))
    return out.getvalue()


def said(made):
    found = find(made)
    return " ".join([*lead(found), *(sentence for each in paragraphs(found) for sentence in each)])


def with_lost(made):
    """Some trials refused, some failed."""
    others = [axis.values[0] for axis in made.axes[1:]]
    refused = [lost((fast, *others), "refused", REASON) for fast in (40, 20)]
    return replace(made, outcomes=(*made.outcomes, *refused, lost((10, *others), "failed", "division by 0")))


def hold_everything(made):
    """All views of a sweep, each checked for what must never be in it."""
    json.dumps(document(made), allow_nan=False)
    html = render(find(made))
    Tags(html)
    drawn(html)
    for shown in (readable(html), printed(made)):
        assert not re.search(r"\b(NaN|nan|inf|Infinity|None)\b", shown)
    return html


# --- what is found -------------------------------------------------------------------------------------------------


def test_the_best_has_the_most_of_the_objective():
    made = grid()
    found = find(made)
    best = found.main.best
    assert best is not None
    assert best.figures["sharpe"] == max(each.figures["sharpe"] or 0 for each in made.outcomes)
    assert best.values == made.best().trial.values
    ranked = [standing.figures["sharpe"] for standing in found.main.ranked]
    assert ranked == sorted(ranked, reverse=True)
    assert len(ranked) == 12


def test_of_equals_the_first_is_the_best_and_what_has_no_figure_the_last():
    outcomes = [outcome((5, 50), sharpe=None), outcome((10, 50), sharpe=1.0), outcome((20, 50), sharpe=1.0)]
    found = find(sweep(outcomes))
    assert [each.values[0] for each in found.main.ranked] == [10, 20, 5]
    assert found.main.best is found.main.standings[1]


def test_luck_is_measured_by_the_session():
    made = grid()
    luck = find(made).main.luck
    assert luck is not None
    best = made.best().figures
    sharpes = np.array([each.figures["sharpe"] for each in made.outcomes]) / math.sqrt(252)
    expected = metrics.expected_maximum_sharpe(12, sharpes.var(ddof=1))
    assert (luck.trials, luck.sharpe) == (12, pytest.approx(best["sharpe"]))
    assert luck.expected == pytest.approx(expected * math.sqrt(252))
    assert luck.probability == pytest.approx(
        metrics.deflated_sharpe(
            sharpes.max(), int(best["sessions"]), best["risk.skew"], best["risk.kurtosis"], 12, sharpes.var(ddof=1)
        )
    )
    assert 0 < luck.expected < luck.sharpe


def test_one_trial_is_the_best_of_nothing():
    luck = find(sweep([outcome((5, 50))])).main.luck
    assert luck is not None
    assert (luck.trials, luck.expected) == (1, 0.0)
    assert "After taking into account" not in said(sweep([outcome((5, 50))]))


def test_without_shape_or_sharpe_there_is_no_probability():
    without = find(sweep([outcome((5, 50), **{"risk.skew": None})])).main.luck
    assert without is not None
    assert without.probability is None
    assert find(sweep([outcome((5, 50), sharpe=None)], objective="cagr")).main.luck is None


def test_tests_follow_each_other():
    made = walk(4)
    found = find(made)
    tests = found.tests
    assert tests is not None
    assert (np.diff(tests.sessions) > np.timedelta64(0, "D")).all()
    assert tests.returns == pytest.approx(np.concatenate([each.returns for each in made.done("test")]))
    assert tests.figures == metrics.figures(tests.returns, 261)
    assert tests.index[-1] == pytest.approx(1 + tests.figures.total_return)
    assert tests.window.tolist() == sorted(tests.window.tolist())
    assert 0 < tests.probability < 1


def test_a_session_of_two_tests_counts_once():
    made = walk(2)
    first, second = made.done("test")
    shifted = replace(second, sessions=second.sessions - np.timedelta64(14, "D"))
    found = find(replace(made, outcomes=(shifted, *made.outcomes[:-1]))).tests
    assert found is not None
    assert len(found.sessions) == len(np.unique(np.concatenate([first.sessions, shifted.sessions])))
    assert found.returns[: len(first.returns)] == pytest.approx(first.returns)


def test_a_walk_forward_shows_the_means_of_its_trainings_first():
    made = walk(3)
    found = find(made)
    assert [group.title for group in found.groups] == [
        "Mean of all trainings",
        "1 Jan 2005 – 31 Dec 2007",
        "1 Jan 2006 – 31 Dec 2008",
        "1 Jan 2007 – 31 Dec 2009",
    ]
    first = found.main.standings[0]
    trained = [each.figures["sharpe"] for each in made.done("train") if each.trial.values == first.values]
    assert len(trained) == 3
    assert first.figures["sharpe"] == pytest.approx(sum(trained) / 3)
    assert sum(standing.windows for standing in found.main.standings) == 3
    assert found.main.luck is None
    for number, (step, group) in enumerate(zip(found.steps, found.groups[1:], strict=True)):
        assert step.values == group.best.values == made.best(number).trial.values
        assert group.luck.trials == 12
        assert step.train("sharpe") == group.best.figures["sharpe"]


def test_reasons_are_counted_the_most_frequent_first():
    found = find(with_lost(grid()))
    assert [(each.count, each.status, each.values) for each in found.lost] == [
        (2, "refused", (40, 50)),
        (1, "failed", (10, 50)),
    ]
    assert (found.count("done"), found.count("refused"), found.count("failed")) == (12, 2, 1)


# --- words ---------------------------------------------------------------------------------------------------------


def test_the_headline_has_the_best_and_what_is_left_of_it():
    made = sweep([outcome((fast, 50), seed=fast, mean=fast * 2e-5) for fast in (5, 10, 20, 40)])
    best, luck = made.best(), find(made).main.luck
    assert luck is not None
    first, second = lead(find(made))
    assert first.startswith(
        f"Of 4 trials, the best by Sharpe has fast 40 and slow 50: a Sharpe of {best.figures['sharpe']:.2f}"
    )
    assert second == (
        "After taking into account that it is the best of 4, the probability that its true Sharpe is above zero is "
        f"{luck.probability * 100:.0f}\u202f%."
    )
    assert "Its fast of 40 is at the edge of what was tried" in said(made)
    assert f"expected to have a Sharpe of {luck.expected:.2f}" in said(made)


def test_another_objective_is_named():
    made = grid(objective="max_drawdown")
    assert lead(find(made))[0].startswith("Of 12 trials, the best by max drawdown has fast ")
    made = grid(objective="risk.omega")
    assert " the best by risk.omega has fast " in lead(find(made))[0]
    assert measures(made)[0].title == "risk.omega"


def test_nothing_but_refused_trials_is_told():
    made = sweep([lost((40, 40), "refused", "no"), lost((50, 40), "failed", "no")])
    assert lead(find(made)) == ("Of 2 trials, none has a figure to be ranked by (Sharpe).",)
    assert "Of 2 trials, 1 was refused (the config is not valid with their values) and 1 failed." in said(made)
    hold_everything(made)


def test_a_walk_forward_is_told_by_its_tests():
    made = walk(3)
    tests = find(made).tests
    assert tests is not None
    assert said(made).startswith("Over 3 windows, what was chosen on the past made ")
    assert f" with a Sharpe of {tests.figures.sharpe:.2f} and ".replace("-", "\u2212") in said(made)
    assert "What was chosen had a mean Sharpe of " in said(made)
    untested = replace(made, outcomes=tuple(made.done("train")))
    assert "Of 3 windows, no test came to an end." in said(untested)
    hold_everything(untested)


def test_windows_without_a_test_are_told():
    made = walk(3)
    failed = lost(made.outcomes[-1].trial.values, "failed", "x", "test", 2)
    outcomes = [*made.outcomes[:-1], failed]
    text = said(replace(made, outcomes=tuple(outcomes)))
    assert "1 of 3 windows have no test, and their time is left out." in text
    hold_everything(replace(made, outcomes=tuple(outcomes)))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["strategy.params.fast", "strategy.params.slow"], ("fast", "slow")),
        (["portfolios.0.params.fast", "portfolios.1.params.fast"], ("0.params.fast", "1.params.fast")),
        (["a.fast", "b.fast", "slow"], ("a.fast", "b.fast", "slow")),
        (["fast", "b.fast"], ("fast", "b.fast")),
        ([], ()),
    ],
)  # fmt: skip
def test_names_of_axes_are_short_and_distinct(keys, expected):
    assert axis_names([Axis(key, (1,)) for key in keys]) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(10, "10"), (0.5, "0.5"), (10.0, "10"), (1e-7, "0.0000001"), (True, "true"), (None, "null"), ("a b", "a b")],
)
def test_values_are_written_as_configs_have_them(value, text):
    assert value_text(value) == text


def test_no_probability_is_certain():
    assert [chance(value) for value in (1.0, 0.0, 0.625, None)] == [
        "more than 99\u202f%",
        "less than 1\u202f%",
        "62\u202f%",
        "–",
    ]


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_sweep_leaves_its_trials_its_page_and_its_summary(tmp_path):
    page = write_sweep(with_lost(grid()), tmp_path / "a" / "b")
    folder = tmp_path / "a" / "b"
    assert page == folder / "report.html"
    assert names(folder) == {"results.csv", "results.parquet", "report.html", "sweep.json", MANIFEST}
    summary = json.loads((folder / "sweep.json").read_text())
    assert summary["best"]["values"] == {"strategy.params.fast": 20, "strategy.params.slow": 100}
    assert summary["deflated_sharpe"]["trials"] == 12
    assert (summary["trials"], summary["done"], summary["refused"], summary["failed"]) == (15, 12, 2, 1)
    assert summary["reasons"][0]["count"] == 2
    assert summary["windows"] == []
    assert summary["out_of_sample"] is None


def test_results_have_a_row_for_each_trial(tmp_path):
    made = with_lost(grid())
    write_sweep(made, tmp_path)
    found = rows(tmp_path / "results.csv")
    columns = [
        "part",
        "window",
        "strategy.params.fast",
        "strategy.params.slow",
        "status",
        "reason",
        "total_return",
        "cagr",
    ]
    assert list(found[0])[: len(columns)] == columns
    assert not {"engine_seconds", "seconds"} & found[0].keys()
    for row, each in zip(found, made.outcomes, strict=True):
        assert (row["part"], row["window"], row["status"], row["reason"]) == ("whole", "", each.status, each.reason)
        assert (row["strategy.params.fast"], row["strategy.params.slow"]) == tuple(map(str, each.trial.values))
        for key in ("sharpe", "risk.skew", "trades"):
            value = each.figures.get(key)
            assert row[key] == "" if value is None else float(row[key]) == pytest.approx(value, abs=1e-9)


def test_parquet_has_the_same_columns_with_their_types(tmp_path):
    kinds = Axis("kind", ("a", None, True, 1.5))
    outcomes = [
        outcome((fast, kind), seed=i) for i, (fast, kind) in enumerate(zip((1, 2.5, 3, 4), kinds.values, strict=True))
    ]
    write_sweep(sweep([*outcomes, lost((1, "a"), "failed", "x")], (Axis("fast", (1, 2.5, 3, 4)), kinds)), tmp_path)
    table = pyarrow.parquet.read_table(tmp_path / "results.parquet")
    found = rows(tmp_path / "results.csv")
    assert table.column_names == list(found[0])
    assert table["fast"].to_pylist() == [1.0, 2.5, 3.0, 4.0, 1.0]
    assert table["kind"].to_pylist() == [row["kind"] for row in found] == ["a", "null", "true", "1.5", "a"]
    assert [row["fast"] for row in found] == ["1", "2.5", "3", "4", "1"]
    assert table["sharpe"].to_pylist() == [*(each.figures["sharpe"] for each in outcomes), None]
    assert table["window"].to_pylist() == [None] * 5


def test_without_pyarrow_there_is_no_parquet(tmp_path, monkeypatch):
    write_sweep(grid(), tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    write_sweep(grid(), tmp_path)
    assert "results.parquet" not in names(tmp_path)
    assert "results.csv" in names(tmp_path)


@pytest.mark.parametrize("make", [grid, walk])
def test_the_same_sweep_gives_the_same_bytes(tmp_path, make):
    for folder in ("a", "b"):
        write_sweep(make(), tmp_path / folder)
    for name in names(tmp_path / "a") - {"sweep.json", "report.html"}:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_a_walk_forward_leaves_its_windows_and_its_tests(tmp_path):
    made = walk(3)
    write_sweep(made, tmp_path)
    windows = rows(tmp_path / "windows.csv")
    assert list(windows[0]) == [
        "window", "train_start", "train_end", "test_start", "test_end", "strategy.params.fast", "strategy.params.slow",
        "train_sharpe", "test_sharpe",
    ]  # fmt: skip
    tested = made.done("test")
    for number, row in enumerate(windows):
        assert (row["window"], row["train_start"]) == (str(number), f"{2005 + number}-01-01")
        assert float(row["train_sharpe"]) == pytest.approx(made.best(number).figures["sharpe"], abs=1e-9)
        assert float(row["test_sharpe"]) == pytest.approx(tested[number].figures["sharpe"], abs=1e-9)
        assert row["strategy.params.fast"] == str(tested[number].trial.values[0])
    out = rows(tmp_path / "out_of_sample.csv")
    assert list(out[0]) == ["session", "window", "return", "index"]
    assert float(out[-1]["index"]) == pytest.approx(np.prod([1 + float(row["return"]) for row in out]))
    summary = json.loads((tmp_path / "sweep.json").read_text())
    assert summary["out_of_sample"]["sessions"] == len(out)
    assert summary["windows"][1]["values"]["strategy.params.slow"] == tested[1].trial.values[1]
    assert summary["best"] is summary["deflated_sharpe"] is None
    # A sweep over the whole time, written into the same folder, leaves nothing of it.
    write_sweep(grid(), tmp_path)
    assert not {"windows.csv", "out_of_sample.csv"} & names(tmp_path)


def test_tables_of_nothing_have_their_header(tmp_path):
    made = walk(2)
    write_sweep(replace(made, outcomes=()), tmp_path)
    assert rows(tmp_path / "results.csv") == rows(tmp_path / "out_of_sample.csv") == []
    assert [row["strategy.params.fast"] for row in rows(tmp_path / "windows.csv")] == ["", ""]


def test_the_journal_stays_and_other_files_are_not_touched(tmp_path):
    (tmp_path / "trials.jsonl").write_text("mine")
    claim_sweep_folder(tmp_path, has_windows=False)
    write_sweep(grid(), tmp_path)
    (tmp_path / "notes.txt").write_text("keep")
    write_sweep(grid(), tmp_path)
    assert (tmp_path / "trials.jsonl").read_text() == "mine"
    assert (tmp_path / "notes.txt").read_text() == "keep"


def test_a_journal_alone_makes_a_folder_no_stranger(tmp_path):
    (tmp_path / "trials.jsonl").write_text("mine")
    write_sweep(grid(), tmp_path)
    assert "report.html" in names(tmp_path)


def test_a_folder_of_a_run_is_written_anew(tmp_path, build_run):
    write_run(build_run(), tmp_path)
    write_sweep(grid(), tmp_path)
    assert not {"1", "summary.json", "equity.csv"} & names(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.doc").touch()
    for folder in (tmp_path, tmp_path / "thesis.doc"):
        with pytest.raises(UsageError, match=r"choose an(other| empty or new) folder with --out"):
            write_sweep(grid(), folder)
    assert names(tmp_path) == {"thesis.doc"}


def test_a_disk_that_refuses_is_told(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sweep_files, "write_table", refuse)
    with pytest.raises(EngineError, match="No space left on device; its trials had ended well"):
        write_sweep(grid(), tmp_path)
    assert "sweep.json" not in names(tmp_path)


def test_hostile_texts_stay_in_their_cells(tmp_path):
    axes = (Axis(EVIL, (EVIL, "b")), Axis("x", (1, 2)))
    made = grid(*axes, mean=lambda values: 1e-4, name=EVIL, notes=(EVIL,), method=EVIL, currency=EVIL)
    made = replace(made, outcomes=(*made.outcomes, lost((EVIL, 1), "failed", EVIL)))
    write_sweep(made, tmp_path)
    found = rows(tmp_path / "results.csv")
    assert [row[EVIL] for row in found] == [EVIL, EVIL, "b", "b", EVIL]
    assert found[-1]["reason"] == EVIL
    html = hold_everything(made)
    assert "<img" not in html
    assert "49" not in readable(html).split("<h1>")[1].split("</h1>")[0]


#: No words that stand for what is undefined elsewhere.
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=2)
)
STATUSES = st.sampled_from(["done", "refused", "failed"])
FIGURES = st.dictionaries(
    st.sampled_from(["sharpe", "cagr", "max_drawdown", "risk.skew", "risk.kurtosis", "sessions", "x"]),
    st.none() | st.floats(-1e9, 1e9),
)


@given(
    st.lists(VALUES, min_size=1, max_size=5, unique_by=lambda value: (type(value), value)),
    st.lists(
        st.tuples(st.integers(0, 99), st.sampled_from(["done", "refused", "failed"]), st.text(max_size=2), FIGURES)
    ),
)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_trials_the_reports_are_made(tmp_path, values, trials):
    outcomes = [
        Outcome(trial((values[number % len(values)],)), status, reason, figures if status == "done" else {})
        for number, status, reason, figures in trials
    ]
    made = sweep(outcomes, [Axis("some.key", tuple(values))])
    write_sweep(made, tmp_path)
    found = rows(tmp_path / "results.csv")
    assert len(found) == len(outcomes)
    hold_everything(made)


outcome_trial = outcome((1,)).trial


# --- the page and the terminal -------------------------------------------------------------------------------------


def test_the_page_has_what_was_found():
    made = with_lost(grid(FAST, SLOW, Axis("portfolios.0.strategy.params.threshold", (0.5, 1.0, 2.0))))
    html = hold_everything(made)
    text = re.sub(r"\s+", " ", readable(html))
    for part in (*lead(find(made)), "Trials without figures", "strategy.params.fast: 5, 10, 20, 40", "division by 0"):
        assert re.sub(r"\s+", " ", part) in text
    data = drawn(html)
    assert [axis["name"] for axis in data["axes"]] == ["fast", "slow", "threshold"]
    assert data["axes"][2]["labels"] == ["0.5", "1", "2"]
    (group,) = data["groups"]
    assert group["figures"][0] == [pytest.approx(each.figures["sharpe"], rel=1e-5) for each in made.done("whole")]
    assert group["best"] == made.done("whole").index(made.best())
    assert group["expected"] == pytest.approx(find(made).main.luck.expected, rel=1e-5)
    assert html.count('<th scope="row" class="n" data-sort') == 36


def test_the_page_of_a_walk_forward_has_its_windows():
    made = walk(3)
    html = hold_everything(made)
    data = drawn(html)
    assert [group["expected"] is None for group in data["groups"]] == [True, False, False, False]
    assert data["tests"]["begins"][1] == "2009-01-01"
    assert len(data["tests"]["time"]) == len(find(made).tests.sessions)
    assert data["steps"]["before"][0] == pytest.approx(made.best(0).figures["sharpe"], rel=1e-5)
    assert "1 Jan 2008 – 31 Dec 2008" in readable(html)


def test_a_page_of_ten_thousand_trials_stays_below_3_mb():
    axes = (Axis("a.fast", tuple(range(100))), Axis("a.slow", tuple(range(100))))
    keys, rng = list(outcome((1, 1)).figures), np.random.default_rng(3)
    outcomes = [
        Outcome(trial((fast, slow)), "done", figures=dict(zip(keys, rng.random(len(keys)).tolist(), strict=True)))
        for fast in range(100)
        for slow in range(100)
    ]
    assert len(render(find(sweep(outcomes, axes)))) < 3_000_000


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_has_the_best_and_where_the_files_are(width):
    made = with_lost(grid())
    text = printed(made, width)
    assert lead(find(made))[0] in text
    assert f"2 refused: {REASON}, such as fast 40 and slow 50" in text
    assert "Report: runs/demo/report.html" in text
    table = text.split("\n\n")[1]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= width
    assert table.splitlines()[2].split()[:3] == ["1", "20", "100"]
    assert len(table.splitlines()) == 12


def test_the_terminal_shows_the_windows_of_a_walk_forward():
    text = printed(walk(3), 120)
    assert "Sharpe before" in text
    assert "1 Jan 2009 – 31 Dec 2009" in text


def test_dates_of_one_session_are_enough():
    made = sweep([outcome((5, 50), start=date(2005, 1, 3), end=date(2005, 1, 3))])
    hold_everything(made)
