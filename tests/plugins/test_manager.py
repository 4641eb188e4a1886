"""Plugins by kind and name: where they come from, what is wrong with a broken one, how they are made."""

from __future__ import annotations

import hashlib
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from framework.errors import ConfigError, PluginError
from framework.plugin_manager import EVENTS, KINDS, PluginManager, kind_named

HALF = """\
from framework import Strategy, hookimpl


class Half(Strategy):
    share: float = 0.5

    def on_bar(self, ctx):
        ctx.target_weights({})


@hookimpl
def register_strategies():
    return {"half": Half}
"""
COSTS = """\
from typing import Annotated

from framework import Broker, CommissionModel, Ge, hookimpl


class Flat(CommissionModel):
    amount: Annotated[float, Ge(0)] = 1.0

    def fees(self, quantity, price, notional):
        return self.amount


class Desk(Broker):
    commission: CommissionModel | None = None
    backup: CommissionModel | None = None


@hookimpl
def register_commission_models():
    return {"flat": Flat}


@hookimpl
def register_brokers():
    return {"desk": Desk}
"""
Add = Callable[..., PluginManager]


@pytest.fixture
def add(tmp_path: Path) -> Iterator[Add]:
    """Writes drop-in files (``half=text``) and loads what is there."""
    before = set(sys.modules)

    def load(only: list[str] | None = None, **files: str) -> PluginManager:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        return PluginManager.load([tmp_path], only)

    yield load
    for name in set(sys.modules) - before:
        if name.startswith("_portfolio_engine_dropin"):
            del sys.modules[name]


def failure(manager: PluginManager) -> str:
    """The reason of the only failure."""
    (only,) = manager.failures()
    return f"{only.provider.name}: {only.reason}"


# --- three places --------------------------------------------------------------------------------------------------


def test_every_first_party_module_is_listed_and_loads() -> None:
    import framework.plugins  # type: ignore[import-not-found]

    folder = Path(framework.plugins.__file__).parent
    files = [path.relative_to(folder) for path in folder.glob("*/*.py") if not path.name.startswith("_")]
    modules = {"." + ".".join(path.with_suffix("").parts) for path in files}
    assert set(framework.plugins.PLUGIN_MODULES) == modules
    assert list(framework.plugins.PLUGIN_MODULES) == sorted(modules)
    manager = PluginManager.load()
    assert manager.failures() == ()
    assert {item.provider for item in manager.listing()} == {"portfolio-engine:bundled"}
    assert manager.get("data source", "sample").origin == "built-in"


def test_a_drop_in_file_is_found_with_its_provenance(add: Add, tmp_path: Path) -> None:
    found = add(half=HALF).get("strategy", "half")
    assert (found.provider, found.version, found.path) == ("half", None, tmp_path / "half.py")
    assert found.origin == f"folder {tmp_path}"
    assert found.source_hash == hashlib.sha256(HALF.encode()).hexdigest()


def test_files_with_an_underscore_and_sub_folders_are_not_scanned(add: Add, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.py").write_text("raise AssertionError")
    (tmp_path / "x.py").mkdir()
    manager = add(_helper="raise AssertionError", __init__="raise AssertionError")
    assert manager.failures() == ()


def test_a_folder_named_twice_is_scanned_once(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text(HALF)
    manager = PluginManager.load([tmp_path, tmp_path / ".." / tmp_path.name])
    assert manager.get("strategy", "half").provider == "half"


def test_two_folders_may_hold_files_of_one_name(tmp_path: Path) -> None:
    for folder, name in (("a", "one"), ("b", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(HALF.replace('"half"', f'"{name}"'))
    manager = PluginManager.load([tmp_path / "a", tmp_path / "b"])
    one, two = manager.get("strategy", "one"), manager.get("strategy", "two")
    assert one.cls is not two.cls
    assert one.cls.__module__ != two.cls.__module__


def test_the_module_is_known_before_its_first_line_runs(add: Add) -> None:
    text = "import sys\nassert sys.modules[__name__].__file__ == __file__\n" + HALF
    manager = add(half=text)
    cls = manager.get("strategy", "half").cls
    assert pickle.loads(pickle.dumps(cls)) is cls  # what dataclasses, pickle and get_type_hints need


def test_an_edited_file_is_read_anew_and_leaves_no_bytecode(add: Add, tmp_path: Path) -> None:
    assert add(half=HALF).create("strategy", "half").share == 0.5
    assert add(half=HALF.replace("0.5", "0.7")).create("strategy", "half").share == 0.7
    assert [path.name for path in tmp_path.iterdir()] == ["half.py"]


def test_a_config_can_limit_what_is_imported(add: Add) -> None:
    manager = add(only=["half"], half=HALF, other="raise AssertionError('imported')")
    assert manager.failures() == ()
    assert manager.get("strategy", "half")
    assert manager.get("data source", "sample")  # bundled ones are always there


def test_a_limit_that_names_nothing_is_an_error(add: Add) -> None:
    with pytest.raises(PluginError, match=r"no provider is named 'hlaf'; did you mean 'half'\? \(there are: .*half"):
        add(only=["hlaf"], half=HALF)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Puts a distribution ``acme 1.2`` on the path, with these entry points and modules."""
    before = set(sys.modules)

    def install(points: str, **modules: str) -> None:
        info = tmp_path / "site" / "acme-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[portfolio_engine.plugins]\n{points}\n")
        for name, text in modules.items():
            (tmp_path / "site" / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))

    yield install
    for name in set(sys.modules) - before:
        if name.startswith("acme"):
            del sys.modules[name]


def test_an_installed_distribution_is_found_with_its_provenance(installed: Callable[..., None]) -> None:
    installed("alpha = acme_alpha\nbeta = acme_beta", acme_alpha=HALF, acme_beta="import nowhere")
    manager = PluginManager.load()
    found = manager.get("strategy", "half")
    assert (found.provider, found.origin, found.version) == ("acme:alpha", "acme 1.2", "1.2")
    assert "acme:beta: ModuleNotFoundError: No module named 'nowhere'" in failure(manager)


def test_a_listed_module_that_fails_does_not_take_the_others_with_it(installed: Callable[..., None]) -> None:
    listing = "PLUGIN_MODULES = ('acme_good', 'acme_bad', 'acme_gone')"
    installed("all = acme_all", acme_all=listing, acme_good=HALF, acme_bad="1 / 0")
    manager = PluginManager.load()
    assert manager.get("strategy", "half").provider == "acme:all"
    assert [item.reason.partition(" (")[0] for item in manager.failures()] == [
        "acme_bad: ZeroDivisionError: division by zero",
        "acme_gone: ModuleNotFoundError: No module named 'acme_gone'",
    ]


def test_a_wrong_list_of_modules_is_answered(installed: Callable[..., None]) -> None:
    installed("all = acme_all", acme_all="PLUGIN_MODULES = 'acme_all'")
    assert (
        failure(PluginManager.load()) == "acme:all: PLUGIN_MODULES was 'acme_all'; it must be a tuple of module names"
    )


@pytest.mark.parametrize("name", ["acme", "alpha", "acme:alpha"])
def test_an_installed_distribution_is_asked_for_by_any_of_its_names(installed: Callable[..., None], name: str) -> None:
    installed("alpha = acme_alpha\nbeta = acme_beta", acme_alpha=HALF, acme_beta=HALF.replace('"half"', '"b"'))
    assert PluginManager.load(only=[name]).get("strategy", "half")
    assert "half" not in {item.name for item in PluginManager.load(only=[]).listing()}


# --- broken ones ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1 / 0", "bad: ZeroDivisionError: division by zero (bad.py, line 1)"),
        ("import nowhere", "bad: ModuleNotFoundError: No module named 'nowhere' (bad.py, line 1)"),
        ("def f(:", "bad: SyntaxError: invalid syntax (bad.py, line 1)"),
        ("raise SystemExit(3)", "bad: SystemExit: 3 (bad.py, line 1)"),
        ("def f(): f()\nf()", "bad: RecursionError: maximum recursion depth exceeded"),
        ("", "bad: PluginError: it has no hook; write one of register_strategies"),
        (HALF.replace("@hookimpl\n", ""), "bad: PluginError: it has no hook; register_strategies lacks"),
        (HALF.replace("register_strategies", "register_strategy"), "no hook 'register_strategy'; did you mean"),
        (HALF.replace("strategies()", "strategies(manager)"), "hook 'register_strategies'"),
        (HALF.replace('{"half": Half}', "[Half]"), "register_strategies returned [<class"),
        (HALF.replace('"half"', "5"), "register_strategies returned the name 5; a name must be text"),
        (HALF.replace("Half}", "int}"), "strategy 'half' is <class 'int'>; it must be a subclass of Strategy"),
        (HALF.replace("Half}", "Half()}"), "strategy 'half' is Half(share=0.5); it must be a subclass of Strategy"),
        (HALF.replace("share: float", 'share: "Nope"'), "NameError: name 'Nope' is not defined"),
        (HALF.replace('return {"half": Half}', "raise OSError('disk')"), "bad: OSError: disk (bad.py, line 13)"),
    ],
)  # fmt: skip
def test_a_broken_plugin_is_recorded_and_stops_nobody(add: Add, text: str, reason: str) -> None:
    before = set(sys.modules)  # other tests load plugins too
    manager = add(bad=text, half=HALF.replace('"half"', '"good"'))
    assert reason in failure(manager)
    assert manager.failures()[0].trace
    assert manager.get("strategy", "good")
    assert not [name for name in set(sys.modules) - before if name.endswith("_bad") and "1 / 0" in text]


def test_a_file_that_cannot_be_read_is_a_failure_like_any_other(add: Add, tmp_path: Path) -> None:
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'\n")
    reasons = {item.provider.name: item.reason for item in add().failures()}
    assert reasons["gone"].startswith("FileNotFoundError")
    assert reasons["latin"].startswith("SyntaxError")


def test_a_provider_registers_all_or_nothing(add: Add) -> None:
    text = HALF + "\n\n@hookimpl\ndef register_brokers():\n    return {'x': Half}\n"
    with pytest.raises(PluginError, match="there is no strategy 'half'"):
        add(bad=text).get("strategy", "half")


def test_an_unknown_name_lists_the_nearest_and_what_failed(add: Add) -> None:
    manager = add(half=HALF, bad="import nowhere")
    with pytest.raises(PluginError) as caught:
        manager.create("strategy", "hlaf", where="demo.yaml:12")
    text = str(caught.value)
    assert text.startswith("demo.yaml:12: there is no strategy 'hlaf'; did you mean 'half'? (installed: ")
    assert "Failed to load: bad (" in text
    assert "No module named 'nowhere'" in text


def test_two_providers_of_one_name_are_both_named(add: Add, tmp_path: Path) -> None:
    manager = add(half=HALF, other=HALF + "\n@hookimpl\ndef register_brokers():\n    return {}\n")
    with pytest.raises(PluginError) as caught:
        manager.get("strategy", "half")
    assert f"strategy 'half' is offered twice, by half ({tmp_path}/half.py) and other (" in str(caught.value)
    assert [item.provider for item in manager.listing() if item.name == "half"] == ["half", "other"]


def test_a_drop_in_cannot_silently_replace_a_bundled_plugin(add: Add) -> None:
    text = HALF.replace("register_strategies", "register_data_sources").replace("Strategy", "DataSource")
    text = text.replace('"half"', '"sample"')
    with pytest.raises(PluginError, match=r"'sample' is offered twice, by portfolio-engine:bundled .* and mine"):
        add(mine=text).create("data source", "sample")


# --- making them ---------------------------------------------------------------------------------------------------


def test_parameters_are_checked_against_the_class(add: Add) -> None:
    manager = add(half=HALF)
    assert manager.create("strategy", "half", {"share": 0.25}).share == 0.25
    with pytest.raises(ConfigError, match=r"^c\.yaml:9: .*no parameter 'shrae'.*did you mean 'share'"):
        manager.create("strategy", "half", {"shrae": 0.25}, "c.yaml:9")
    with pytest.raises(ConfigError, match="parameter 'share' was 'much'"):
        manager.create("strategy", "half", {"share": "much"})


@pytest.mark.parametrize(
    "reference", [{"name": "flat", "amount": 2}, {"name": "flat", "params": {"amount": 2}}], ids=["flat", "params"]
)
def test_a_plugin_inside_a_plugin_is_made_by_name(add: Add, reference: dict[str, object]) -> None:
    broker = add(costs=COSTS).create("broker", "desk", {"commission": reference})
    assert broker.commission.amount == 2.0
    assert broker.backup is None


def test_a_plugin_inside_a_plugin_may_be_just_a_name(add: Add) -> None:
    assert add(costs=COSTS).create("broker", "desk", {"commission": "flat"}).commission.amount == 1.0
    assert add().create("broker", "desk", {"commission": None}).commission is None


@pytest.mark.parametrize(
    ("reference", "error", "answer"),
    [
        ({"name": "falt"}, PluginError, "params.commission.name: there is no commission model 'falt'; did"),
        ({"amount": 2}, ConfigError, "params.commission: needs `name:`, the commission model to use"),
        ({"name": "flat", "amout": 2}, ConfigError, "params.commission.amout: commission model Flat has no"),
        ({"name": "flat", "amount": -1}, ConfigError, "params.commission.amount: commission model Flat: parameter"),
        ({"name": "flat", "params": {"amount": -1}}, ConfigError, "params.commission.params.amount: commission"),
        ({"name": "flat", "params": {}, "amount": 1}, ConfigError, "params.commission: write its parameters"),
        ({"name": "flat", "params": [1]}, ConfigError, "params.commission: write its parameters"),
        (5, ConfigError, "params.commission: broker Desk: parameter 'commission' was 5"),
    ],
)  # fmt: skip
def test_a_wrong_plugin_inside_a_plugin_is_answered(
    add: Add, reference: object, error: type[Exception], answer: str
) -> None:
    with pytest.raises(error) as caught:
        add(costs=COSTS).create("broker", "desk", {"commission": reference}, lambda *keys: ".".join(keys))
    assert str(caught.value).startswith(answer)


def test_a_plugin_class_of_the_authors_own_is_no_name_to_look_up(add: Add) -> None:
    text = HALF.replace("import Strategy", "import Plugin, Strategy").replace(
        "share: float = 0.5", "share: Plugin | str"
    )
    assert add(half=text).create("strategy", "half", {"share": "text"}).share == "text"


def test_a_constructor_that_crashes_is_a_plugin_error(add: Add) -> None:
    text = HALF.replace("    def on_bar", "    def check(self):\n        raise KeyError('x')\n\n    def on_bar")
    with pytest.raises(PluginError, match=r"strategy 'half' of half could not be made .*KeyError: 'x'"):
        add(half=text).create("strategy", "half")


def test_an_allocator_is_of_its_class(add: Add) -> None:
    text = "from framework import hookimpl\n\n@hookimpl\ndef register_allocators():\n    return {'mine': dict}\n"
    (failure,) = add(alloc=text).failures()
    assert "allocator 'mine' is <class 'dict'>; it must be a subclass of Allocator" in failure.reason


@pytest.mark.parametrize("text", ["data source", "data-source", "data_source", "Data-Source", "data"])
def test_kinds_are_written_in_any_way(text: str) -> None:
    assert kind_named(text).name == "data source"


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(PluginError, match=r"no kind of plugin 'stratgy'; did you mean 'strategy'"):
        kind_named("stratgy")


def test_every_hook_is_a_kind_or_an_event() -> None:
    from framework import hookspecs

    hooks = {name for name in vars(hookspecs) if hasattr(getattr(hookspecs, name), "portfolio_engine_spec")}
    assert hooks == {kind.hook for kind in KINDS} | set(EVENTS)
    for kind in KINDS:
        base = kind.base_class()
        assert base is None or base.kind == kind.name


# --- events --------------------------------------------------------------------------------------------------------

WATCH = """\
from framework import hookimpl

seen = []


@hookimpl
def backtest_finished(result):
    seen.append(result)
    if result == "bad":
        raise ValueError("boom")
"""


def test_events_reach_everybody_and_a_failure_is_counted(add: Add, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("framework").propagate = True
    manager = add(a=WATCH, b=WATCH.replace("bad", "never"))
    assert manager.failures() == ()
    for result in ("good", "bad"):
        manager.notify("backtest_finished", result=result)
    modules = [module for name, module in sys.modules.items() if name.endswith(("_a", "_b")) and "_dropin_" in name]
    assert [module.seen for module in modules] == [["good", "bad"]] * 2
    assert manager.event_failures() == {("a", "backtest_finished"): 1}
    assert "plugin a failed in backtest_finished: ValueError: boom" in caplog.text


def test_nobody_is_called_where_nobody_observes(add: Add) -> None:
    manager = add(half=HALF)
    manager.notify("backtest_finished", result=None)
    assert manager.event_failures() == {}


def test_loading_plugins_imports_nothing_heavy() -> None:
    heavy = ("pandas", "exchange_calendars", "plotly", "jinja2", "psycopg2", "requests", "pyarrow")
    code = (
        "import sys; from framework.plugin_manager import PluginManager; PluginManager.load(); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
