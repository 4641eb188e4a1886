"""``engine check``."""

from __future__ import annotations

from dataclasses import asdict

import typer

from framework.cli.common import ConfigArgument, JsonOption, SetOption, loaded_config, print_json
from framework.cli.progress import progress_bar


def check(config: ConfigArgument, set_: SetOption = None, json: JsonOption = False) -> None:
    """Say whether a config would run: its plugins, parameters, database, prices, and lookahead. Exit 1 if not.

    Example: engine check demo.yaml
    """
    with loaded_config(config, set_) as loaded, progress_bar() as progress:
        from framework import app

        items = app.check(loaded, progress)
    good = all(item.ok for item in items)
    if json:
        checks = [{**asdict(item), "detail": loaded.redact(item.detail)} for item in items]
        print_json({"ok": good, "checks": checks})
    else:
        for item in items:
            typer.echo(f"{'ok  ' if item.ok else 'FAIL'}  {item.name}: {loaded.redact(item.detail)}")
    if not good:
        raise typer.Exit(1)
