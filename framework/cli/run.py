"""``engine run``."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framework.cli.common import ConfigArgument, JsonOption, SetOption, Teller, loaded_config, print_json
from framework.cli.progress import Report, progress_bar
from framework.errors import UsageError

if TYPE_CHECKING:
    from framework.config.load import LoadedConfig

OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Where the report goes; by default runs/<name>-<UTC time>/."),
]


KeepOption = Annotated[
    bool, typer.Option("--keep", help="Mode replay: leave its books where they are, and say how to look at them.")
]


def run(
    config: ConfigArgument,
    set_: SetOption = None,
    out: OutOption = None,
    keep: KeepOption = False,
    json: JsonOption = False,
) -> None:
    """Run what a config's `mode` says.

    backtest: simulate, and leave a report. replay: the same, then once more through books in PostgreSQL, which must
    end with the same trades and equity. paper: trade at the paper broker, on the real or a simulated clock, until
    Ctrl-C; the books stay, and the next run goes on from them.

    Example: engine run demo.yaml --set portfolios.0.strategy.params.fast=10 --out runs/fast

    Example: engine run demo.yaml --set mode=replay --keep

    Example: engine run paper.yaml
    """
    with loaded_config(config, set_) as loaded, progress_bar() as progress:
        from framework import app

        if loaded.config.mode == "paper":
            if keep:
                app.require_replay(loaded)
            if out is not None:
                raise UsageError(
                    "--out is for the report of a backtest; mode paper keeps books instead, and `engine report "
                    "--portfolio ID --out DIR` reports from them at any time"
                )
            _trade(loaded, progress, json)
            return
        outcome = app.run(loaded, out, progress, lambda line: typer.echo(line, err=True), keep=keep)
    if json:
        print_json(outcome.summary)
        return
    from rich.console import Console

    from framework.report.console import show_run

    show_run(outcome.summary, outcome.report, Console())


def _trade(loaded: LoadedConfig, progress: Report, json: bool) -> None:
    """Paper trading: the first Ctrl-C or SIGTERM lets the running cycles end, a second Ctrl-C does not wait."""
    from framework import app
    from framework.report.endings import as_document, show_endings

    tell = Teller()
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def started(stop: Callable[[], None]) -> None:
        def ask(number: int, frame: object) -> None:
            signal.signal(signal.SIGINT, before[signal.SIGINT])
            stop()

        for each in before:
            signal.signal(each, ask)

    try:
        endings = app.trade(loaded, progress, tell, started)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if tell.lost:
        tell(f"Note: {tell.lost} lines could not be written here; the books have all that they told")
    if json:
        print_json(as_document(endings))
    else:
        from rich.console import Console

        show_endings(endings, Console())
