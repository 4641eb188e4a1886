"""docs/allocators.md: its examples work, and it names all that there is."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml

from framework.plugin_manager import PluginManager
from framework.trading.plugin import parameters
from tests.plugins.allocation import MANAGER, NAN, state

PAGE = (Path(__file__).parents[2] / "docs" / "allocators.md").read_text("utf-8")
(OWN,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CONFIGS = [yaml.safe_load(text)["allocator"] for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
BUNDLED = [item for item in MANAGER.listing() if item.kind == "allocator"]


@pytest.fixture
def own(tmp_path: Path) -> PluginManager:
    """What is installed where the page's file has been dropped in."""
    (tmp_path / "winners.py").write_text(OWN)
    return PluginManager.load([tmp_path])


def test_an_allocator_of_ones_own_is_a_dozen_lines(own):
    assert len([line for line in OWN.splitlines() if line]) <= 12
    allocator = own.create("allocator", "winners")
    assert allocator.sessions() == 60
    assert list(allocator.portfolios(["a", "b"])) == ["a", "b"]
    returns = [[0.01, -0.02, NAN, 0.0], [0.01, 0.01, 0.03, 0.0]]
    assert allocator.allocate(state(returns, 900.0)).tolist() == [450.0, 0.0, 450.0, 0.0]
    assert allocator.allocate(state(np.empty((0, 2)))).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("config", [config for config in CONFIGS if config["name"] != "skfolio"], ids=str)
def test_the_configs_of_the_page_make_allocators(own, config):
    assert set(config) <= {"name", "params", "schedule"}
    allocator = own.create("allocator", config["name"], config.get("params"))
    seen = state(np.full((300, 2), 0.001), 100.0, portfolios=["core", "2"])
    assert list(allocator.portfolios(("core", "2"))) == ["core", "2"]
    assert 0.0 < allocator.allocate(seen).sum() <= 100.0 + 1e-9


@pytest.mark.skipif(find_spec("skfolio") is None, reason="pip install 'portfolio-engine[optimize]'")
def test_the_config_with_skfolio_makes_an_allocator():
    (config,) = [config for config in CONFIGS if config["name"] == "skfolio"]
    returns = np.random.default_rng(1).normal(0.0, 0.01, (250, 3))
    allocated = MANAGER.create("allocator", "skfolio", config["params"]).allocate(state(returns))
    assert allocated.sum() == pytest.approx(1000.0, rel=1e-6)


@pytest.mark.parametrize("item", BUNDLED, ids=lambda item: item.name)
def test_every_allocator_has_a_section_with_its_parameters_and_an_example(item):
    section = PAGE.partition(f"\n## `{item.name}`\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*)", section, re.MULTILINE)
    assert [name for name, _ in rows] == list(parameters(item.cls))
    for name, default in rows:
        number = getattr(item.cls, name, None)
        assert not isinstance(number, (int, float)) or float(default) == number
    assert f"name: {item.name}" in section
