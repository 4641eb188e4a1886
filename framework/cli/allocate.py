"""``engine allocate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from framework.cli.common import ConfigArgument, JsonOption, SetOption, loaded_config, print_json
from framework.cli.operate import operator
from framework.cli.progress import progress_bar
from framework.errors import UsageError

if TYPE_CHECKING:
    from framework.allocate_run import HandAllocation

_LONGEST_REFERENCE = 40


def allocate(
    config: ConfigArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would move; write nothing.")] = False,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="R", help="What it is known by: again under the same changes nothing."),
    ] = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Allocate capital now: value all portfolios at the last close and move money as the config's allocator says.

    All transfers are booked in one transaction, beside a running engine too. Without --reference it is the allocation
    of the last session, which the engine's own schedule makes only once as well.

    Example: engine allocate multi.yaml --dry-run

    Example: engine allocate multi.yaml --reference after-the-deposit
    """
    if reference is not None and not (reference.isprintable() and 0 < len(reference) <= _LONGEST_REFERENCE):
        raise UsageError(f"--reference was {reference!r}; allowed: 1 to {_LONGEST_REFERENCE} printable characters")
    with loaded_config(config, set_) as loaded, progress_bar() as progress:
        from framework import app

        done = app.allocate(loaded, operator(), reference, dry_run, progress, lambda line: typer.echo(line, err=True))
    if json:
        print_json(_document(done))
    else:
        _show(done)


def _document(done: HandAllocation) -> dict[str, object]:
    made = done.allocated
    return {
        "run_id": made.run_id,
        "session": done.session,
        "dry_run": done.is_proposed,
        "already": made.already,
        "currency": done.currency,
        "total": str(made.total),
        "master": {"before": str(done.master_before), "after": str(done.master_after)},
        "portfolios": {
            share.portfolio_id: {
                "equity": str(share.equity),
                "target": str(share.target),
                "transfer": str(share.transfer),
                "shortfall": str(share.shortfall),
            }
            for share in made.shares
        },
    }


def _show(done: HandAllocation) -> None:
    from rich.console import Console
    from rich.table import Table

    made = done.allocated
    said = "would be made" if done.is_proposed else "is made"
    if made.already:
        said = "was made before; nothing has moved now"
    typer.echo(f"Allocation {made.run_id} {said}")
    typer.echo(f"At the close of {done.session}, of {made.total:,.2f} {done.currency}")
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Portfolio")
    for name in ("Equity", "Weight", "Target", "Weight", "Transfer", "Shortfall"):
        table.add_column(name, justify="right")
    for share in made.shares:
        table.add_row(
            share.portfolio_id,
            f"{share.equity:,.2f}",
            f"{share.equity / made.total:.1%}" if made.total else "–",
            f"{share.target:,.2f}",
            f"{share.target / made.total:.1%}" if made.total else "–",
            f"{share.transfer:+,.2f}" if share.transfer else "–",
            f"{share.shortfall:,.2f}" if share.shortfall else "–",
        )
    Console().print(table)
    typer.echo(f"Master account: {done.master_before:,.2f} before, {done.master_after:,.2f} after")
