"""``engine portfolio``."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from framework.cli.common import JsonOption, amount_of, print_json
from framework.cli.db import ConfigOption, UrlOption
from framework.cli.operate import opened_database
from framework.errors import BookingError, UsageError

if TYPE_CHECKING:
    from framework.books.open import Identity

portfolio_app = typer.Typer(no_args_is_help=True, help="Portfolios: open, list.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Of the portfolio; 0 is the master account.")]


@portfolio_app.command("open")
def open_(
    portfolio: IdArgument,
    mode: Annotated[str, typer.Option("--mode", metavar="paper|live", help="For ever.")],
    broker: Annotated[str, typer.Option("--broker", metavar="NAME", help="For ever: the broker plugin.")],
    account: Annotated[str, typer.Option("--account", metavar="A", help="For ever: as the broker itself reports it.")],
    currency: Annotated[str, typer.Option("--currency", metavar="CCY", help="For ever: of its cash.")] = "USD",
    cash: Annotated[str | None, typer.Option("--cash", metavar="X", help="Opening deposit; paper only.")] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Open a portfolio: its books belong to one mode, broker account and currency for ever. Again changes nothing.

    Example: engine portfolio open 1 --mode paper --broker paper --account demo --cash 100000
    """
    from framework.books.open import open_portfolio
    from framework.books.opening import book_opening

    identity, deposit = _identity(portfolio, mode, broker, account, currency), _deposit(cash, mode)
    with opened_database(config, url) as database:
        opened = open_portfolio(database.pool, identity)
        booked = deposit is not None and book_opening(database.pool, portfolio, deposit)
    if json:
        print_json({"portfolio_id": portfolio, "opened": opened, "booked": str(deposit) if booked else None})
        return
    typer.echo(
        f"portfolio {portfolio} {'is open' if opened else 'was open already'}: {mode}, broker {broker}, "
        f"account {account}, {currency}"
    )
    if deposit is not None:
        typer.echo(f"opening deposit of {deposit:,.2f} {currency} {'booked' if booked else 'was booked before'}")


@portfolio_app.command("list")
def list_(config: ConfigOption = None, url: UrlOption = None, json: JsonOption = False) -> None:
    """List the portfolios of these books.

    Example: engine portfolio list --json
    """
    from framework.cli.overview import NOTHING_OPEN
    from framework.engine.status import read_overview

    with opened_database(config, url) as database, database.pool.connection() as connection:
        found = read_overview(connection)
    names = ("portfolio_id", "mode", "broker", "account", "currency", "positions")
    if json:
        rows = [
            {name: getattr(each, name) for name in names} | {"cash": None if each.cash is None else str(each.cash)}
            for each in found
        ]
        print_json({"portfolios": rows})
        return
    for each in found:
        cash = "nothing booked" if each.cash is None else f"cash {each.cash:,.2f} {each.currency}"
        typer.echo(
            f"portfolio {each.portfolio_id}: {each.mode}, broker {each.broker}, account {each.account}, "
            f"{each.currency}, {cash}, {each.positions} positions"
        )
    if not found:
        typer.echo(NOTHING_OPEN)


def _identity(portfolio: str, mode: str, broker: str, account: str, currency: str) -> Identity:
    from framework.books.open import Identity

    if mode not in ("paper", "live"):
        raise UsageError(f"--mode was {mode!r}; allowed: paper, live")
    try:
        return Identity(portfolio, mode, broker, account, currency)  # type: ignore[arg-type]
    except BookingError as error:
        raise UsageError(str(error)) from None


def _deposit(text: str | None, mode: str) -> Decimal | None:
    if text is None:
        return None
    if mode == "live":
        raise UsageError(
            "--cash is for paper portfolios; a live one gets its money through engine capital add, or engine portfolio "
            "adopt"
        )
    return amount_of("--cash", text)
