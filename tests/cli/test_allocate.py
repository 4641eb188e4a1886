"""``engine allocate``, and what is said of configs whose allocator cannot work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from framework.cli.main import run_command

PAPER: dict[str, Any] = {
    "name": "pool",
    "mode": "paper",
    "data_source": {"name": "sample"},
    "clock": {"start": "2009-03-02", "end": "2009-03-06", "seconds_per_day": 0},
    "broker": "paper",
    "portfolios": [
        {"id": "a", "tickers": ["AAPL", "IBM"], "strategy": {"name": "buy_and_hold"}},
        {"id": "b", "tickers": ["MSFT"], "strategy": {"name": "buy_and_hold"}},
    ],
    "allocator": {"name": "daily", "params": {"weights": {"a": 0.5, "b": 0.25}}, "schedule": "weekly"},
    "master": {"cash": 1000},
}
PAST = {"mode": "backtest", "start": "2009-03-02", "end": "2009-03-20", "clock": None, "broker": "simulated"}


@pytest.fixture
def engine(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Types a command on the config with changes; gives (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)

    def typed(command: str, *arguments: str, **changes: Any) -> tuple[int, str, str]:
        written = {key: value for key, value in (PAPER | changes).items() if value is not None}
        Path("c.yaml").write_text(yaml.safe_dump(written))
        status = run_command((command, "c.yaml", *arguments))
        return status, *capfd.readouterr()

    return typed


def test_a_dry_run_needs_open_books_and_writes_nothing(engine: Any) -> None:
    status, _, err = engine("allocate", "--dry-run")
    assert status == 1
    assert "portfolio 0 is not open yet" in err
    assert engine("run")[0] == 0
    status, out, err = engine("allocate", "--dry-run", "--reference", "later", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert (found["dry_run"], found["already"]) == (True, False)
    before = engine("allocate", "--dry-run", "--reference", "x", "--json")[1]
    assert engine("allocate", "--dry-run", "--reference", "x", "--json")[1] == before


def test_the_first_allocation_opens_everything_and_a_second_changes_nothing(engine: Any) -> None:
    status, out, err = engine("allocate", "--json")
    assert status == 0, err
    assert "Opened portfolio 0 with 1,000.00 USD" in err
    first = json.loads(out)
    assert {name: each["transfer"] for name, each in first["portfolios"].items()} == {"a": "500", "b": "250"}
    assert {key: float(money) for key, money in first["master"].items()} == {"before": 1000.0, "after": 250.0}
    status, out, _ = engine("allocate")
    assert status == 0
    assert "was made before; nothing has moved now" in out
    assert run_command(("audit",)) == 0


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({**PAST}, 2, "engine allocate is for books that stay, of mode paper; the config has mode backtest"),
        ({"allocator": None, "master": None}, 2, "needs `cash:`"),
        ({"allocator": {"name": "dayly"}}, 2, "there is no allocator 'dayly'; did you mean 'daily'?"),
        (
            {"allocator": {"name": "daily", "params": {"weights": {"A": 1}}}},
            2,
            "'A', which the config does not",
        ),
        ({"allocator": {"name": "daily", "params": {"weights": {"a": 0.8, "b": 0.8}}}}, 2, "1.6"),
        (
            {"allocator": {"name": "daily", "params": {"weights": {"a": 1}}}},
            2,
            "needs `cash:`, as no allocation gives portfolio 'b' any",
        ),
        ({"name": "n" * 80}, 2, "Give the config a shorter name"),
    ],
)
def test_what_cannot_be_allocated_is_said(engine: Any, changes: dict[str, Any], status: int, said: str) -> None:
    found, _, err = engine("allocate", **changes)
    assert (found, said in err) == (status, True), err


def test_limits_of_portfolios_that_are_not_allocated_to_are_refused(engine: Any) -> None:
    allocator = {"name": "daily", "params": {"weights": {"a": 1}}, "caps": {"b": 0.5}}
    portfolios = [PAPER["portfolios"][0], PAPER["portfolios"][1] | {"cash": 10}]
    status, out, _ = engine("check", allocator=allocator, portfolios=portfolios)
    assert status == 1
    assert "does not allocate to portfolio 'b'" in out


def test_no_money_anywhere_is_refused_in_a_backtest(engine: Any) -> None:
    status, _, err = engine("run", **PAST, master=None)
    assert status == 2
    assert "there is no money to allocate: give `master.cash`, or portfolios `cash:`" in err


def test_a_check_names_the_allocator(engine: Any) -> None:
    status, out, err = engine("check")
    assert status == 0, out + err
    assert "allocator daily of a, b" in out
