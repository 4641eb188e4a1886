"""Installed as users install it: from a clone, from the sdist, from a wheel built from it, with an extension."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
#: Where the wheel puts the folders of the repository.
PLACES = {"framework/": "framework/", "configs/": "framework/configs/", "plugins/": "framework/plugins/",
          "sql/": "framework/sql/"}  # fmt: skip


def run(*command: str | Path, cwd: Path, timeout: float = 300) -> str:
    """stdout of a command that must succeed."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DATABASE_URL")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def tracked() -> list[str]:
    names = run("git", "-c", "safe.directory=*", "ls-files", "-z", cwd=ROOT).split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees the dependencies of the running one, but not the project."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def pip_install(self, *what: str | Path) -> None:
        run(sys.executable, "-m", "pip", "--python", self.python, "install", "-q", "--no-deps", *what, cwd=self.folder)

    def engine(self, *arguments: str | Path, cwd: Path) -> str:
        return run(self.folder / "bin" / "engine", *arguments, cwd=cwd)


def make_environment(folder: Path) -> Environment:
    venv.create(folder, symlinks=True)
    ours = Path(sysconfig.get_path("purelib"))
    theirs = next(folder.glob("lib/python*/site-packages"))
    for item in ours.iterdir():
        # one link per distribution's folder: the project itself, installed or editable, stays out
        if "portfolio_engine" not in item.name and item.name not in ("framework", "__pycache__"):
            (theirs / item.name).symlink_to(item)
    return Environment(folder)


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A folder that every user may enter: where root runs the tests, the server's own user has to."""
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="engine packaging "))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def clone(base: Path) -> Path:
    """The tracked files as they stand, and nothing else."""
    for name in tracked():
        target = base / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    return base / "clone"


@pytest.fixture(scope="module")
def sdist(base: Path, clone: Path) -> Path:
    shutil.copytree(clone, base / "for sdist")
    run(sys.executable, "-m", "build", "--sdist", "--outdir", base / "dist", base / "for sdist", cwd=base)
    return next((base / "dist").glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(base: Path, sdist: Path) -> Path:
    command = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", base / "dist", sdist)
    run(*command, cwd=base)
    return next((base / "dist").glob("*.whl"))


def test_the_sdist_holds_what_git_tracks(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    made = {name for name in names if name == "PKG-INFO" or name.startswith("portfolio_engine.egg-info/")}
    assert names - made == set(tracked())


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        place + name.removeprefix(folder)
        for name in tracked()
        for folder, place in PLACES.items()
        if name.startswith(folder)
    }
    assert names == expected


@pytest.mark.parametrize("kind", ["clone", "sdist", "wheel"])
def test_engine_works_outside_the_checkout(base: Path, kind: str, request: pytest.FixtureRequest) -> None:
    source: Path = request.getfixturevalue(kind)
    environment = make_environment(base / f"venv {kind}")
    environment.pip_install(source)
    work = base / f"work {kind}"
    environment.engine("init", work, cwd=base)
    listing = json.loads(environment.engine("plugins", "--json", cwd=work))
    assert listing["failures"] == []
    assert all(str(environment.folder) in item["path"] for item in listing["plugins"])
    assert "sma_cross" in {item["name"] for item in listing["plugins"]}
    try:
        summary = json.loads(environment.engine("run", "demo.yaml", "--json", cwd=work))
    finally:
        environment.engine("db", "stop", cwd=work)
    assert list(summary["portfolios"]) == ["1", "2", "3"]
    assert summary["total"]["trades"] > 0


ACME = {
    "setup.cfg": """\
[metadata]
name = acme-alpha
version = 1.2
[options]
py_modules = acme_alpha
[options.entry_points]
portfolio_engine.plugins =
    alpha = acme_alpha
""",
    "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
    "acme_alpha.py": """\
from framework import Strategy, hookimpl


class Alpha(Strategy):
    share: float = 0.9

    def on_bar(self, ctx):
        ctx.target_weights({ctx.tickers[0]: self.share})


@hookimpl
def register_strategies():
    return {"alpha": Alpha}
""",
}
ACME_CONFIG = """\
name: acme
mode: backtest
start: 2010-01-04
end: 2010-03-31
data_source: {name: sample}
plugins: [acme-alpha]
portfolios:
  - {id: a, cash: 100000, tickers: [IBM], strategy: {name: alpha, params: {share: 0.8}}}
"""


def test_a_third_party_distribution_is_used_by_name(base: Path, wheel: Path) -> None:
    project, work = base / "acme", base / "acme work"
    for folder in (project, work):
        folder.mkdir()
    for name, text in ACME.items():
        (project / name).write_text(text)
    environment = make_environment(base / "venv acme")
    environment.pip_install(wheel, project)
    (work / "acme.yaml").write_text(ACME_CONFIG)
    shown = json.loads(environment.engine("plugins", "show", "strategy", "alpha", "--json", cwd=work))
    assert (shown["provider"], shown["from"], shown["version"]) == ("acme-alpha:alpha", "acme-alpha 1.2", "1.2")
    try:
        summary = json.loads(environment.engine("run", "acme.yaml", "--json", cwd=work))
    finally:
        environment.engine("db", "stop", cwd=work)
    assert summary["portfolios"]["a"]["trades"] >= 1
