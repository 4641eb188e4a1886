"""The program as a user meets it: exit codes, one paragraph on stderr, what is imported when."""

from __future__ import annotations

import json
import os
import pty
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


Engine = Callable[..., Any]
Refused = Callable[..., str]


@pytest.fixture
def refused(engine: Engine) -> Refused:
    """What a wrong command line prints on stderr; it must exit 2 and print nothing else."""

    def run(*arguments: str) -> str:
        done = engine(*arguments)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        return str(done.stderr)

    return run


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own."""
    command = [sys.executable, "-m", "framework", *arguments]
    full = {**os.environ, "COLUMNS": "120", **environment}
    return subprocess.run(command, env=full, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    "arguments", [[], ["run"], ["check"], ["init"], ["plugins"], ["plugins", "list"], ["plugins", "show"]]
)
def test_every_command_has_help_with_an_example(engine: Engine, arguments: list[str]) -> None:
    done = engine(*arguments, "--help")
    assert done.returncode == 0
    assert "Example: engine" in done.stdout
    assert done.stderr == ""


def test_help_lists_every_command(engine: Engine) -> None:
    from framework.cli.main import COMMANDS

    text = engine("--help").stdout
    assert all(name in text and command.help.split(":")[0] in text for name, command in COMMANDS.items())


def test_nothing_typed_is_a_question_for_help(engine: Engine) -> None:
    assert engine() == engine("--help")
    assert engine().returncode == 0


def test_a_group_alone_shows_its_help_and_no_complaint(engine: Engine) -> None:
    done = engine("db")
    assert (done.returncode, done.stderr) == (2, "")
    assert "upgrade" in done.stdout


def test_the_version_is_the_distributions(engine: Engine) -> None:
    from importlib.metadata import version

    assert engine("--version").stdout == f"engine {version('portfolio-engine')}\n"


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["rnu"], "engine: there is no command 'rnu'; did you mean 'run'? (commands: run, check, init"),
        (["run"], "engine: Missing argument 'CONFIG'. (`engine run --help` shows what is allowed)\n"),
        (["run", "x.yaml", "--bad"], "engine: No such option: --bad (`engine run --help` shows what is allowed)\n"),
        (["run", "x.yaml"], "engine: there is no config 'x.yaml'; `engine init` writes one to start from\n"),
        (["check", "x.yaml"], "engine: there is no config 'x.yaml'; `engine init` writes one to start from\n"),
        (["plugins", "show", "strategy", "sma_corss"], "engine: there is no strategy 'sma_corss'; did you mean"),
        (["plugins", "show", "strtegy", "x"], "engine: there is no kind of plugin 'strtegy'; did you mean 'strategy'?"),
        (["run", str(DEMO), "--set", "mode=live"], "engine: --set: mode: mode 'live' (there are: backtest, replay, pa"),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_2_and_one_paragraph(refused: Refused, arguments: list[str], answer: str) -> None:
    assert refused(*arguments).startswith(answer)


def test_debug_shows_traceback_and_start_up_times_before_or_after_the_command(engine: Engine, tmp_path: Path) -> None:
    for arguments in (["--debug", "run", "x.yaml"], ["run", "x.yaml", "--debug"]):
        done = engine(*arguments)
        assert done.returncode == 2
        assert "Traceback" in done.stderr
        assert "python and imports took" in done.stderr
        assert done.stderr.endswith("engine: there is no config 'x.yaml'; `engine init` writes one to start from\n")


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -m framework plugins --json | true'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


# --- init ----------------------------------------------------------------------------------------------------------


def test_init_writes_a_workspace_that_is_valid(engine: Engine, tmp_path: Path) -> None:
    done = engine("init", "my work")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "my work").iterdir()) == [
        ".gitignore",
        "demo.yaml",
        "paper.yaml",
        "plugins",
    ]
    assert list((tmp_path / "my work" / "plugins").iterdir()) == []
    for name in ("demo.yaml", "paper.yaml"):
        assert (tmp_path / "my work" / name).read_text() == DEMO.with_name(name).read_text()
    assert "engine run demo.yaml" in done.stdout


def test_init_never_overwrites(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text("mine")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text("mine")
    done = engine("init")
    assert done.returncode == 0
    assert "kept  demo.yaml (it was there)" in done.stdout
    assert (tmp_path / "demo.yaml").read_text() == "mine"
    assert (tmp_path / "plugins" / "mine.py").read_text() == "mine"
    again = engine("init")
    assert "wrote" not in again.stdout


def test_init_where_no_folder_can_be_made(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "no workspace can be made in 'file/x': Not a directory" in refused("init", "file/x")


# --- plugins -------------------------------------------------------------------------------------------------------


def test_plugins_lists_what_is_there_and_what_failed(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "broken.py").write_text("import nowhere\n")
    done = engine("plugins")
    assert done.returncode == 0
    assert "sma_cross" in done.stdout
    assert "portfolio-engine:bundled" in done.stdout
    text = " ".join(done.stdout.split())
    assert "No module named 'nowhere' (broken.py, line 1)" in text


def test_plugins_as_json(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "broken.py").write_text("import nowhere\n")
    for arguments in (["plugins", "--json"], ["plugins", "list", "--json"]):
        document = json.loads(engine(*arguments).stdout)
        assert ("strategy", "sma_cross") in [(item["kind"], item["name"]) for item in document["plugins"]]
        assert document["failures"][0]["provider"] == "broken"


def test_plugins_finds_the_folders_of_a_config(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "x.py").write_text("import nowhere\n")
    path = tmp_path / "c.yaml"
    path.write_text(DEMO.read_text() + "\nplugin_dirs: [more]\n")
    assert "No module named 'nowhere'" in engine("plugins", "--config", str(path)).stdout


def test_a_plugin_is_shown_with_its_parameters(engine: Engine) -> None:
    done = engine("plugins", "show", "strategy", "sma_cross")
    assert done.stdout.startswith("strategy sma_cross: ")
    assert "fast: int" in done.stdout
    assert "default 20" in done.stdout
    document = json.loads(engine("plugins", "show", "strategy", "sma_cross", "--json").stdout)
    names = {parameter["name"]: parameter["default"] for parameter in document["parameters"]}
    assert (names["fast"], names["slow"]) == ("20", "50")


@pytest.mark.parametrize(
    ("name", "first", "parameters"),
    [
        ("daily", "Brings each listed portfolio back to a fixed weight.", ["weights: dict[str, float ≥ 0], required"]),
        ("equal", "Gives each portfolio the same", ["only: tuple[str, ...], default ()"]),
        ("risk_parity", "Each portfolio contributes the same to the variance of all together", [
            "only: tuple[str, ...], default ()", "lookback: int ≥ 2, default 60", "minimum: int ≥ 2, default 20",
            "shrinkage: float ≥ 0 ≤ 1, default 0.1", "budgets: dict[str, float > 0], default {}",
        ]),
    ],
)  # fmt: skip
def test_an_allocator_is_shown_with_its_parameters(
    engine: Engine, name: str, first: str, parameters: list[str]
) -> None:
    lines = engine("plugins", "show", "allocator", name).stdout.splitlines()
    assert lines[0].startswith(f"allocator {name}: {first}")
    assert [line.strip() for line in lines[2:]] == parameters


# --- start-up ------------------------------------------------------------------------------------------------------


def test_help_imports_nothing_that_it_does_not_need() -> None:
    heavy = ("pandas", "pydantic", "exchange_calendars", "jinja2", "plotly", "psycopg2", "yaml", "requests", "numpy")
    code = (
        "import sys; from framework.cli.main import run_command; run_command(['--version']); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_is_quick() -> None:
    def seconds(*command: str) -> float:
        """Of processor time, which a busy machine does not change much."""
        with subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return used.ru_utime + used.ru_stime

    libraries = "import typer, rich.console, rich.markdown, rich.panel, rich.table"
    pairs = [(seconds("-c", libraries), seconds("-m", "framework", "--help")) for _ in range(7)]
    bare, full = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert full < 2.0 * bare  # 1.4 times what the libraries of any such program take


# --- extensions' commands ------------------------------------------------------------------------------------------


@pytest.fixture
def extension(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with an installed distribution that brings two commands."""
    (tmp_path / "acme_cli.py").write_text(
        "import typer\n\napp = typer.Typer()\n\n\n@app.command()\ndef hello(name: str) -> None:\n"
        '    """Greet."""\n    typer.echo(f"hello {name}")\n\n\n'
        "@app.command()\ndef bye() -> None:\n    raise ValueError('oops')\n"
    )
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[portfolio_engine.commands]\nacme = acme_cli:app\nlost = acme_nowhere:app\nrun = acme_cli:app\n"
    )
    return tmp_path


def test_commands_of_extensions_are_listed_and_run(extension: Path) -> None:
    path = str(extension)
    listed = process("--help", PYTHONPATH=path).stdout
    assert "acme" in listed
    assert "From acme." in listed
    assert process("acme", "hello", "you", PYTHONPATH=path).stdout == "hello you\n"
    lost = process("lost", PYTHONPATH=path)
    assert lost.returncode == 2
    assert "the command 'lost' (acme_nowhere:app) cannot be loaded: No module named" in lost.stderr


def test_an_extension_cannot_replace_our_command(extension: Path) -> None:
    done = process("run", "--help", PYTHONPATH=str(extension))
    assert "Run what a config's `mode` says" in done.stdout
    assert "the command 'run' of acme is not used" in done.stderr


def test_an_unexpected_error_is_exit_1_and_names_the_way_out(extension: Path) -> None:
    done = process("acme", "bye", PYTHONPATH=str(extension))
    assert done.returncode == 1
    assert done.stderr.endswith(
        "engine: unexpected ValueError: oops; this is a bug: the same command with --debug shows where\n"
    )


# --- interruption, progress ----------------------------------------------------------------------------------------

SLEEPY = "import time\nprint('ready', flush=True)\ntime.sleep(60)\n"


def test_ctrl_c_is_exit_130_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "sleepy.py").write_text(SLEEPY)
    command = [sys.executable, "-m", "framework", "plugins"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "engine: interrupted; what was committed stays; run the same command again to go on\n"


PROGRESS = """\
import time
from framework.cli import progress
progress._PATIENCE_SECONDS = {patience}
with progress.progress_bar() as report:
    for done in range(3):
        report("loading prices", done, 2)
        time.sleep(0.05)
print("end")
"""


def on_a_terminal(code: str) -> str:
    """What a process shows whose stderr is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs) as process:
        assert process.communicate(timeout=30)[0] == b"end\n"
    os.close(theirs)
    os.set_blocking(ours, False)
    try:
        return os.read(ours, 100_000).decode()
    except (BlockingIOError, OSError):
        return ""
    finally:
        os.close(ours)


def test_progress_shows_on_a_terminal_only_and_only_for_long_work() -> None:
    assert "loading prices" in on_a_terminal(PROGRESS.format(patience=0))
    assert on_a_terminal(PROGRESS.format(patience=60)) == ""
    piped = subprocess.run(
        [sys.executable, "-c", PROGRESS.format(patience=0)], capture_output=True, text=True, check=True
    )
    assert (piped.stdout, piped.stderr) == ("end\n", "")
