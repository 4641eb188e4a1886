"""``engine report --compare``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from framework.cli.common import print_json
from framework.cli.progress import progress_bar
from framework.errors import UsageError

CompareOption = Annotated[bool, typer.Option("--compare", help="Show the RUN_DIRs, two or more, side by side.")]


def compare_runs(folders: Sequence[Path], others: Mapping[str, object], out: Path | None, json: bool) -> None:
    """Show runs side by side, and write the page.

    Args:
        folders: of the runs.
        others: options by name that do not go with --compare; ``None``: not given.
        out: where the page goes; a folder, or a file that ends with .html.
        json: print one JSON document instead of tables.
    """
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise UsageError(
            f"{' and '.join(given)} {'do' if len(given) > 1 else 'does'} not go with --compare, which reads folders of "
            "runs and nothing else"
        )
    from framework.report.compare import compare
    from framework.report.compare_view import document, show_comparison

    with progress_bar() as progress:
        found = compare(folders, lambda folder, done, total: progress("Reading", done, total, folder))
    page = None
    if out is not None:
        from framework.report.compare_page import write_comparison

        page = write_comparison(found, out)
    if json:
        print_json(document(found))
        return
    from rich.console import Console

    show_comparison(found, Console())
    if page is not None:
        typer.echo(f"Written to {page}")
