"""``engine report``."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from framework.cli.common import JsonOption, print_json
from framework.cli.compare import CompareOption, compare_runs
from framework.cli.db import ConfigOption, UrlOption
from framework.cli.operate import opened_database
from framework.errors import UsageError

RunDirsArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="[RUN_DIR]…", help="The folder of a backtest, such as runs/demo-….")
]
PortfolioOption = Annotated[str | None, typer.Option("--portfolio", metavar="ID", help="Report from its live books.")]
StartOption = Annotated[str | None, typer.Option("--start", metavar="D", help="First date, such as 2024-01-02.")]
EndOption = Annotated[str | None, typer.Option("--end", metavar="D", help="Last date, included.")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Write files there as well; of --compare a page, compare.html."),
]


def report(
    run_dirs: RunDirsArgument = None,
    portfolio: PortfolioOption = None,
    start: StartOption = None,
    end: EndOption = None,
    out: OutOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    compare: CompareOption = False,
    json: JsonOption = False,
) -> None:
    """Report a portfolio from its live books, show the summary of a backtest's folder again, or compare such folders.

    Example: engine report --portfolio 1 --start 2024-01-01

    Example: engine report --compare runs/fast runs/slow --out compare.html
    """
    if compare:
        live = {"--portfolio": portfolio, "--start": start, "--end": end, "--config": config, "--url": url}
        compare_runs(run_dirs or (), live, out, json)
        return
    if run_dirs and len(run_dirs) > 1:
        raise UsageError(
            f"{len(run_dirs)} RUN_DIRs were given; `engine report --compare RUN_DIR RUN_DIR…` compares them"
        )
    run_dir = run_dirs[0] if run_dirs else None
    if (run_dir is None) == (portfolio is None):
        given = "neither" if portfolio is None else "both"
        raise UsageError(f"{given} a RUN_DIR {'nor' if portfolio is None else 'and'} --portfolio was given; give one")
    if run_dir is not None:
        if any(option is not None for option in (start, end, out, config, url)):
            raise UsageError(
                "--start, --end, --out, --config and --url go with --portfolio; a RUN_DIR holds one whole run"
            )
        _show_run(run_dir, json)
        return
    assert portfolio is not None, "one of them was given"
    _show_live(portfolio, _date("--start", start), _date("--end", end), out, config, url, json)


def _show_run(folder: Path, json: bool) -> None:
    from framework.report.reading import read_summary

    numbers = read_summary(folder)
    if json:
        print_json(numbers)
        return
    from rich.console import Console

    from framework.report.console import show_run
    from framework.report.write import REPORT

    show_run(numbers, folder / REPORT, Console())


def _show_live(
    portfolio: str,
    start: date | None,
    end: date | None,
    out: Path | None,
    config: Path | None,
    url: str | None,
    json: bool,
) -> None:
    from framework.report.live import read_live_report
    from framework.report.live_view import document, show_live, write_live

    with opened_database(config, url) as database:
        found = read_live_report(database.pool, portfolio, start, end)
    if out is not None:
        write_live(found, out)
    if json:
        print_json(document(found))
        return
    from rich.console import Console

    show_live(found, Console())
    if out is not None:
        typer.echo(f"Written to {out}")


def _date(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} was {text!r}; allowed: a date written YYYY-MM-DD") from None
