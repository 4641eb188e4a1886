"""``engine report``."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framework.cli.common import JsonOption, loaded_config, print_json
from framework.cli.compare import CompareOption, compare_runs
from framework.cli.db import ConfigOption, UrlOption
from framework.cli.operate import opened_database
from framework.errors import UsageError

if TYPE_CHECKING:
    from framework.report_run import LiveOutcome

RunDirsArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="[RUN_DIR]…", help="The folder of a run, such as runs/demo-….")
]
PortfolioOption = Annotated[str | None, typer.Option("--portfolio", metavar="ID", help="Report from its live books.")]
StartOption = Annotated[str | None, typer.Option("--start", metavar="D", help="First date, such as 2024-01-02.")]
EndOption = Annotated[str | None, typer.Option("--end", metavar="D", help="Last date, included.")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Write the report there as well; of --compare a page, compare.html."),
]
AgainstOption = Annotated[
    Path | None,
    typer.Option("--against", metavar="CONFIG", help="Compare with the backtest of this config, same time and money."),
]


def report(
    run_dirs: RunDirsArgument = None,
    portfolio: PortfolioOption = None,
    start: StartOption = None,
    end: EndOption = None,
    out: OutOption = None,
    against: AgainstOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    compare: CompareOption = False,
    json: JsonOption = False,
) -> None:
    """Report a portfolio from its live books, show the summary of a run's folder again, or compare such folders.

    Example: engine report --portfolio 1 --start 2024-01-01 --out reports/1

    Example: engine report --portfolio cross --against paper.yaml --out reports/cross

    Example: engine report --compare runs/fast runs/slow --out compare.html
    """
    if compare:
        live = {"--portfolio": portfolio, "--start": start, "--end": end, "--against": against, "--config": config}
        compare_runs(run_dirs or (), {**live, "--url": url}, out, json)
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
        if any(option is not None for option in (start, end, out, against, config, url)):
            raise UsageError(
                "--start, --end, --out, --against, --config and --url go with --portfolio; a RUN_DIR holds one whole "
                "run"
            )
        _show_run(run_dir, json)
        return
    assert portfolio is not None, "one of them was given"
    from framework.report_run import report_live

    dates = _date("--start", start), _date("--end", end)
    if against is None:
        with opened_database(config, url) as database:
            found = report_live(database.pool, portfolio, *dates)
    else:
        found = _compared(against, portfolio, *dates, config, url)
    _show_live(found, out, json)


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


def _compared(
    against: Path, portfolio: str, start: date | None, end: date | None, config: Path | None, url: str | None
) -> LiveOutcome:
    """The report beside the backtest of a config, whose database it is, unless another one is named."""
    from framework.app import load_plugins
    from framework.plan import Plan
    from framework.report_run import report_live

    with loaded_config(against, None) as loaded:
        plan = Plan(loaded, load_plugins(loaded))
        with opened_database(config or (None if url else against), url) as database:
            return report_live(database.pool, portfolio, start, end, plan)


def _show_live(found: LiveOutcome, out: Path | None, json: bool) -> None:
    from framework.report.live_view import document, show_live

    page = None
    if out is not None:
        from framework.report.write import write_live

        page = write_live(found.report, found.made, found.basis, out, found.comparison)
    if json:
        print_json(document(found.report, found.made, found.basis, found.comparison))
        return
    from rich.console import Console

    show_live(found.report, found.made, found.basis, found.comparison, Console())
    typer.echo(f"Report: {page}" if page is not None else "With --out DIR: the tear sheet and the CSV files, too")


def _date(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} was {text!r}; allowed: a date written YYYY-MM-DD") from None
