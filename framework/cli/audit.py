"""``engine audit``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framework.cli.common import JsonOption, print_json
from framework.cli.db import ConfigOption, UrlOption, database_of
from framework.cli.progress import progress_bar

if TYPE_CHECKING:
    from framework.books.audit import AuditReport

PortfolioOption = Annotated[
    list[str] | None, typer.Option("--portfolio", metavar="ID", help="Only this one; again for more. Default: all.")
]


def audit(
    portfolio: PortfolioOption = None, config: ConfigOption = None, url: UrlOption = None, json: JsonOption = False
) -> None:
    """Prove the books: replay every trade from zero and compare each row. Exit 1 and the first wrong row if not.

    Example: engine audit --portfolio 1 --json
    """
    from framework.books.audit import audit as prove
    from framework.db.database import open_database

    with database_of(config, url) as target, progress_bar() as progress:
        database = open_database(target, Path.cwd())
        try:
            report = prove(database.pool, portfolio, progress)
        finally:
            database.close()
    if json:
        print_json(_document(report, database.describe()))
    else:
        _show(report, database.describe())
    if not report.clean:
        raise typer.Exit(1)


def _document(report: AuditReport, where: str) -> dict[str, Any]:
    portfolios = [
        {**asdict(each), "cash": str(each.cash), "ok": not each.findings, "findings": list(map(asdict, each.findings))}
        for each in report.portfolios
    ]
    return {"ok": report.clean, "database": where, "portfolios": portfolios, "unguarded": list(report.unguarded)}


def _show(report: AuditReport, where: str) -> None:
    typer.echo(f"Database: {where}")
    if not report.portfolios:
        typer.echo("no portfolio is open, so there is nothing to prove")
    for each in report.portfolios:
        state = "FAIL" if each.findings else "ok  "
        typer.echo(
            f"{state}  portfolio {each.portfolio_id}: {each.trades:,} trade rows replayed, cash {each.cash:,.2f} "
            f"{each.currency}, {each.positions} positions"
        )
        if each.findings:
            typer.echo(f"      first wrong row: {each.findings[0]}")
    for book in report.unguarded:
        typer.echo(f"FAIL  {book} can be changed: its append-only trigger is missing or switched off")
