"""``engine run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from framework.cli.common import ConfigArgument, JsonOption, SetOption, loaded_config, print_json
from framework.cli.progress import progress_bar

OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Where the report goes; by default runs/<name>-<UTC time>/."),
]


def run(config: ConfigArgument, set_: SetOption = None, out: OutOption = None, json: JsonOption = False) -> None:
    """Run what a config says: load the prices it lacks, simulate every portfolio, write the report.

    Example: engine run demo.yaml --set portfolios.0.strategy.params.fast=10 --out runs/fast
    """
    with loaded_config(config, set_) as loaded, progress_bar() as progress:
        from framework import app

        outcome = app.run(loaded, out, progress, lambda line: typer.echo(line, err=True))
    if json:
        print_json(outcome.summary)
        return
    from rich.console import Console

    from framework.report.console import show_run

    show_run(outcome.summary, outcome.report, Console())
