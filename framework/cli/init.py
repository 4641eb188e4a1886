"""``engine init``."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from framework.errors import UsageError

_CONFIGS = ("demo.yaml", "multi_portfolio.yaml", "paper.yaml")
_GITIGNORE = "# what engine makes: the embedded database, reports\n.engine/\nruns/\nsweeps/\n__pycache__/\n"


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The workspace; made where it is missing.")] = Path(),
) -> None:
    """Write a workspace: configs to start from, an empty plugins folder, a .gitignore. What is there is not changed.

    Example: engine init trading && cd trading && engine run demo.yaml
    """
    configs = resources.files("framework.configs")
    texts = {name: configs.joinpath(name).read_text("utf-8") for name in _CONFIGS}
    try:
        (folder / "plugins").mkdir(parents=True, exist_ok=True)
        for name, text in {**texts, ".gitignore": _GITIGNORE}.items():
            _write_new(folder / name, text)
    except OSError as error:
        raise UsageError(f"no workspace can be made in {str(folder)!r}: {error.strerror} ({error.filename})") from None
    step = "" if folder == Path() else f"cd {folder} && "
    typer.echo(
        f"next: {step}engine run demo.yaml (a backtest), engine run multi_portfolio.yaml (with an allocator), and "
        "engine run paper.yaml (paper trading to watch)"
    )


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        typer.echo(f"kept  {path} (it was there)")
    else:
        typer.echo(f"wrote {path}")
