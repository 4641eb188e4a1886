"""What the packaging files say, compared with what is there; and how small a plugin can be."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Folders of the repository that are packages under another name (setup.cfg: package_dir).
MAPPED = {"configs": "framework.configs", "plugins": "framework.plugins", "sql": "framework.sql"}

# The documentation's promise: a whole strategy in at most 12 lines, and one YAML block that names it.
MINIMAL_STRATEGY = """\
import numpy as np
from framework import Strategy, hookimpl


class Half(Strategy):
    def on_bar(self, ctx):
        ctx.target_weights(np.full(len(ctx.tickers), 0.5 / len(ctx.tickers)))


@hookimpl
def register_strategies():
    return {"half": Half}
"""
MINIMAL_CONFIG = """\
name: half
mode: backtest
start: 2010-01-04
end: 2010-06-30
data_source: {name: sample}
portfolios:
  - {id: "1", cash: 100000, tickers: [AAPL, MSFT], strategy: {name: half}}
"""


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_the_list_of_packages_is_the_folders(setup_cfg: configparser.ConfigParser) -> None:
    folders = set()
    for top in ("framework", *MAPPED):
        for init in (ROOT / top).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            folders.add(".".join([MAPPED.get(parts[0], parts[0]), *parts[1:]]))
    listed = setup_cfg["options"]["packages"].split()
    assert set(listed) == folders
    assert len(listed) == len(folders)


def test_the_version_stands_in_two_places_and_is_one(setup_cfg: configparser.ConfigParser) -> None:
    import framework

    assert setup_cfg["metadata"]["version"] == framework.__version__


def test_every_console_script_and_entry_point_exists(setup_cfg: configparser.ConfigParser) -> None:
    from importlib.metadata import EntryPoint

    points = setup_cfg["options.entry_points"]
    for group in points:
        for line in points[group].strip().splitlines():
            name, _, value = line.partition("=")
            assert EntryPoint(name.strip(), value.strip(), group).load() is not None


def test_a_minimal_strategy_is_twelve_lines_dropped_into_a_folder(tmp_path: Path, database: str) -> None:
    assert len(MINIMAL_STRATEGY.splitlines()) <= 12
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "half.py").write_text(MINIMAL_STRATEGY)
    (tmp_path / "half.yaml").write_text(MINIMAL_CONFIG)
    command = [sys.executable, "-m", "framework", "run", "half.yaml", "--json", "--out", "out"]
    environment = {**os.environ, "DATABASE_URL": database}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["portfolios"]["1"]
    assert figures["trades"] >= 2
    assert 0.4 < figures["exposure"] < 0.6
