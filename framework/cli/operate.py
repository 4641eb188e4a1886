"""``engine status``, ``halt``, ``resume`` and ``liquidate``."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framework.cli.common import JsonOption, print_json
from framework.cli.db import ConfigOption, UrlOption, database_of
from framework.errors import UsageError

if TYPE_CHECKING:
    from framework.db.database import Database
    from framework.db.pool import Pool
    from framework.engine.operate import Outcome

DEFAULT_REASON = "by hand"

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The portfolio.")]
IdOrAllArgument = Annotated[str | None, typer.Argument(metavar="[ID]", help="The portfolio.")]
AllOption = Annotated[bool, typer.Option("--all", help="All portfolios, those included that are opened later.")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0, max=86400, metavar="SECONDS", help="How long to wait for the engine.")
]


def status(config: ConfigOption = None, url: UrlOption = None, json: JsonOption = False) -> None:
    """Say how every portfolio is: who runs it, its last cycle, cash, equity, open orders, halts, failures.

    Example: engine status --json
    """
    from framework.cli.overview import document, show
    from framework.engine.halts import halts_in_force
    from framework.engine.status import read_engines, read_overview

    with opened_database(config, url) as database:
        with database.pool.transaction(read_only=True, isolation="repeatable read") as connection:
            found = read_overview(connection), halts_in_force(connection, None), read_engines(connection)
        if json:
            print_json({"database": database.describe(), **document(*found)})
        else:
            typer.echo(f"Database: {database.describe()}")
            show(*found)


def halt(
    portfolio: IdOrAllArgument = None,
    all_: AllOption = False,
    keep_orders: Annotated[bool, typer.Option("--keep-orders", help="Leave open orders open.")] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for whoever looks.")] = DEFAULT_REASON,
    timeout: TimeoutOption = 60.0,
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Halt a portfolio, or all: no new orders from this moment on, and open ones are cancelled.

    Example: engine halt 1 --reason "prices look wrong"
    """
    from framework.engine.operate import halt_portfolios

    _one_of(portfolio, all_)
    if not reason.strip():
        raise UsageError("--reason was empty; say why in a few words, or leave it out")
    with opened_database(config, url) as database:
        _require_open(database.pool, portfolio)
        outcomes = halt_portfolios(
            database.pool,
            portfolio,
            reason,
            operator(),
            keep_orders=keep_orders,
            timeout_seconds=timeout,
            announce=_announce,
        )
    _report(outcomes, json, "all portfolios are halted, those included that are opened later" if all_ else None)


def resume(
    portfolio: IdOrAllArgument = None,
    all_: AllOption = False,
    timeout: TimeoutOption = 60.0,
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Let a halted portfolio, or all that are halted, trade again.

    Example: engine resume 1
    """
    from framework.engine.operate import resume_portfolios

    _one_of(portfolio, all_)
    with opened_database(config, url) as database:
        _require_open(database.pool, portfolio)
        outcomes = resume_portfolios(database.pool, portfolio, operator(), timeout_seconds=timeout, announce=_announce)
    _report(outcomes, json, "no portfolio is halted any more" if all_ else None)


def liquidate(
    portfolio: IdArgument,
    timeout: TimeoutOption = 60.0,
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Halt a portfolio, cancel its open orders, and sell all that it holds; it stays halted.

    Example: engine liquidate 1 --timeout 120
    """
    from framework.engine.operate import liquidate_portfolio

    with opened_database(config, url) as database:
        _require_open(database.pool, portfolio)
        outcome = liquidate_portfolio(database.pool, portfolio, operator(), timeout_seconds=timeout, announce=_announce)
    _report([outcome], json, None)


def operator() -> str:
    """Who types: user and host, for the books."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


@contextmanager
def opened_database(config: Path | None, url: str | None) -> Iterator[Database]:
    """The database that is meant, open."""
    from framework.db.database import open_database

    with database_of(config, url) as target:
        database = open_database(target, Path.cwd())
        try:
            yield database
        finally:
            database.close()


def _announce(text: str) -> None:
    """Tell whoever watches; a script gets the answers only."""
    if sys.stderr.isatty():
        typer.echo(text, err=True)


def _one_of(portfolio: str | None, all_: bool) -> None:
    if (portfolio is None) != all_:
        given = "neither" if portfolio is None else "both"
        raise UsageError(f"{given} a portfolio ID {'nor' if portfolio is None else 'and'} --all was given; give one")


def _require_open(pool: Pool, portfolio: str | None) -> None:
    """Refuse an id that is not in the books, with the nearest one that is."""
    from framework.books.open import portfolios
    from framework.config.explain import nearest

    if portfolio is None:
        return
    known = [each.portfolio_id for each in portfolios(pool)]
    if portfolio not in known:
        there = f"there are: {', '.join(known)}" if known else "none is open"
        raise UsageError(
            f"there is no portfolio {portfolio!r} in the books{nearest(portfolio, known)} ({there}); "
            "nothing was changed"
        )


def _report(outcomes: Sequence[Outcome], json: bool, summary: str | None) -> None:
    """Print what became of each portfolio; exit 1 where one did not do as asked."""
    ok = all(outcome.ok for outcome in outcomes)
    if json:
        print_json({"ok": ok, "portfolios": [asdict(outcome) for outcome in outcomes]})
    else:
        if summary is not None:
            typer.echo(summary)
        for outcome in outcomes:
            typer.echo(f"portfolio {outcome.portfolio_id}: {outcome.text}", err=not outcome.ok)
    if not ok:
        raise typer.Exit(1)
