"""What a sweep has done, written down."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from framework.errors import UsageError
from framework.model.sweep import Outcome, Trial
from framework.sweep.journal import Journal

IDENTITY = {"config": {"name": "n"}, "parameters": [["a", [1, 2]]]}
BARS = "0f3a"
TRIAL = Trial((1, "x", None, 0.1, True), date(2005, 1, 3), date(2006, 1, 3))


def outcomes() -> list[Outcome]:
    returns = np.array([0.1, -1 / 3, 1e-300])
    sessions = np.array(["2005-01-03", "2005-01-04", "2005-01-05"], dtype="datetime64[D]")
    test = Trial((2,), date(2006, 1, 4), date(2007, 1, 3), "test", 3)
    return [
        Outcome(TRIAL, "done", "", {"sharpe": 1 / 3, "calmar": None, "trades": 5}, 0.25),
        Outcome(replace(TRIAL, values=(2, "x", None, 0.1, True)), "failed", "a\nreason ü"),
        Outcome(test, "done", "", {"sharpe": -0.0}, 0.5, sessions, returns),
    ]


def assert_same(one: Outcome, other: Outcome) -> None:
    assert (one.trial, one.status, one.reason, one.figures, one.seconds) == (
        other.trial, other.status, other.reason, other.figures, other.seconds
    )  # fmt: skip
    for name in ("sessions", "returns"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


def found(journal: Journal, outcome: Outcome) -> Outcome:
    known = journal.get(outcome.trial, BARS)
    assert known is not None
    return known


def written(path: Path) -> None:
    with closing(Journal(path, IDENTITY)) as journal:
        for outcome in outcomes():
            journal.add(outcome, BARS)


def test_outcomes_come_back_as_they_were(tmp_path: Path) -> None:
    written(tmp_path / "j")
    with closing(Journal(tmp_path / "j", IDENTITY)) as journal:
        for outcome in outcomes():
            assert_same(found(journal, outcome), outcome)
            assert journal.get(outcome.trial, "other bars") is None


def test_wherever_it_is_cut_off_the_whole_lines_count(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with closing(Journal(path, IDENTITY)) as journal:
            kept = sum(journal.get(outcome.trial, BARS) is not None for outcome in outcomes())
            assert kept == max(0, whole[:length].count(b"\n") - 1)
            for outcome in outcomes()[kept:]:
                journal.add(outcome, BARS)
        assert path.read_bytes() == whole


def test_a_line_that_is_garbage_ends_what_counts(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], b"\0\0\0\0", *lines[3:]]))
    with closing(Journal(path, IDENTITY)) as journal:
        assert [journal.get(outcome.trial, BARS) is not None for outcome in outcomes()] == [True, False, False]
        assert_same(found(journal, outcomes()[0]), outcomes()[0])


@pytest.mark.parametrize(
    ("other", "named"),
    [({"config": {"name": "m"}}, "config differs"), ({"parameters": 1, "config": 2}, "config, parameters differ;")],
)
def test_the_journal_of_another_sweep_is_refused(tmp_path: Path, other: dict[str, object], named: str) -> None:
    written(tmp_path / "j")
    before = (tmp_path / "j").read_bytes()
    with pytest.raises(UsageError, match=named):
        Journal(tmp_path / "j", {**IDENTITY, **other})
    assert (tmp_path / "j").read_bytes() == before


def test_another_file_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "j").write_text("mine\n")
    with pytest.raises(UsageError, match="is no journal of a sweep"):
        Journal(tmp_path / "j", IDENTITY)
    assert (tmp_path / "j").read_text() == "mine\n"
    (tmp_path / "d").mkdir()
    with pytest.raises(UsageError, match="can't be used"):
        Journal(tmp_path / "d", IDENTITY)


def test_two_at_once_are_not_possible(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "j", IDENTITY)), pytest.raises(UsageError, match="another program is at the sweep"):
        Journal(tmp_path / "j", IDENTITY)
    Journal(tmp_path / "j", IDENTITY).close()
