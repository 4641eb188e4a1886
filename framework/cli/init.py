"""``engine init``."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from framework.errors import UsageError

_GITIGNORE = "# what engine makes: the embedded database, reports\n.engine/\nruns/\n__pycache__/\n"


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The workspace; made where it is missing.")] = Path(),
) -> None:
    """Write a workspace: a demo config, an empty plugins folder, a .gitignore. Nothing that is there is changed.

    Example: engine init trading && cd trading && engine run demo.yaml
    """
    demo = resources.files("framework.configs").joinpath("demo.yaml").read_text("utf-8")
    try:
        (folder / "plugins").mkdir(parents=True, exist_ok=True)
        for name, text in (("demo.yaml", demo), (".gitignore", _GITIGNORE)):
            _write_new(folder / name, text)
    except OSError as error:
        raise UsageError(f"no workspace can be made in {str(folder)!r}: {error.strerror} ({error.filename})") from None
    step = "" if folder == Path() else f"cd {folder} && "
    typer.echo(f"next: {step}engine run demo.yaml")


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        typer.echo(f"kept  {path} (it was there)")
    else:
        typer.echo(f"wrote {path}")
