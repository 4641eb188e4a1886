"""``engine capital``."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framework.cli.common import JsonOption, amount_of, number_of, print_json
from framework.cli.db import ConfigOption, UrlOption
from framework.cli.operate import opened_database
from framework.errors import BookingError, UsageError
from framework.model.master import MASTER

if TYPE_CHECKING:
    from framework.books.capital import Capital

capital_app = typer.Typer(no_args_is_help=True, help="Capital: add, withdraw, transfer, balance, history.")

AmountArgument = Annotated[str, typer.Argument(metavar="AMOUNT", help="Above 0, at most 6 decimals.")]
PortfolioOption = Annotated[str, typer.Option("--portfolio", metavar="ID", help="Whose cash; 0 is the master account.")]
ReferenceOption = Annotated[
    str, typer.Option("--reference", metavar="R", help="Names the movement; the same again changes nothing.")
]
CurrencyOption = Annotated[
    str | None, typer.Option("--currency", metavar="CCY", help="Of the amount; default: the portfolio's.")
]
RateOption = Annotated[
    str | None,
    typer.Option("--fx-rate", metavar="X", help="Portfolio's currency per CCY; default: the newest close known."),
]
SourceOption = Annotated[
    str | None, typer.Option("--source", metavar="NAME", help="Data source of that close, where several have one.")
]
NoteOption = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why, for whoever looks.")]


@capital_app.command()
def add(
    amount: AmountArgument,
    reference: ReferenceOption,
    portfolio: PortfolioOption = MASTER,
    currency: CurrencyOption = None,
    fx_rate: RateOption = None,
    source: SourceOption = None,
    note: NoteOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Book money that comes into a portfolio from outside.

    Example: engine capital add 100000 --reference 2026-01 --note "first capital"
    """
    asked = _asked(
        amount,
        kind="deposit",
        portfolio_id=portfolio,
        reference=reference,
        currency=currency,
        fx_rate=_rate(fx_rate, currency, source),
        note=note,
    )
    _move(asked, source, config, url, json)


@capital_app.command()
def withdraw(
    amount: AmountArgument,
    reference: ReferenceOption,
    portfolio: PortfolioOption = MASTER,
    currency: CurrencyOption = None,
    fx_rate: RateOption = None,
    source: SourceOption = None,
    note: NoteOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Book money that leaves a portfolio; refused where it takes more than is free.

    Example: engine capital withdraw 2500.50 --reference rent-02 --portfolio 1
    """
    asked = _asked(
        amount,
        kind="withdrawal",
        portfolio_id=portfolio,
        reference=reference,
        currency=currency,
        fx_rate=_rate(fx_rate, currency, source),
        note=note,
    )
    _move(asked, source, config, url, json)


@capital_app.command()
def transfer(
    amount: AmountArgument,
    reference: ReferenceOption,
    from_: Annotated[str | None, typer.Option("--from", metavar="A", help="Who gives; default: the master, 0.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="B", help="Who gets; default: the master, 0.")] = None,
    note: NoteOption = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Move money from a portfolio to another of the same currency and mode; refused where it takes more than is free.

    Example: engine capital transfer 20000 --to 1 --reference start-1
    """
    if from_ is None and to is None:
        raise UsageError("neither --from nor --to was given; give one, and the other end is the master account, 0")
    gives, gets = MASTER if from_ is None else from_, MASTER if to is None else to
    if gives == gets:
        raise UsageError(f"both ends of the transfer are portfolio {gives!r}; give two")
    asked = _asked(amount, kind="transfer", portfolio_id=gives, to_portfolio_id=gets, reference=reference, note=note)
    _move(asked, None, config, url, json)


@capital_app.command()
def balance(
    portfolio: Annotated[
        list[str] | None, typer.Option("--portfolio", metavar="ID", help="Only this one; again for more. Default: all.")
    ] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Say what each portfolio has: cash, what open buys have spoken for, what is free, the equity last valued.

    Example: engine capital balance --json
    """
    from framework.books.capital_view import balances, totals
    from framework.cli.capital_view import balances_document, show_balances

    with opened_database(config, url) as database:
        found = balances(database.pool, portfolio or None)
    together = totals(found)
    if json:
        print_json(balances_document(found, together))
    else:
        show_balances(found, together)


@capital_app.command()
def history(
    portfolio: PortfolioOption = MASTER,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, metavar="N", help="At most so many.")] = 20,
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """List the deposits, withdrawals and transfers of a portfolio, newest first.

    Example: engine capital history --portfolio 1 --limit 5
    """
    from framework.books.capital_view import history as read_history
    from framework.cli.capital_view import history_document, show_history

    with opened_database(config, url) as database:
        found = read_history(database.pool, portfolio, limit)
    if json:
        print_json(history_document(portfolio, found))
    else:
        show_history(portfolio, found)


# What was typed.


def _asked(amount: str, **given: Any) -> Capital:
    from framework.books.capital import Capital

    try:
        return Capital(amount=amount_of("AMOUNT", amount), **given)
    except BookingError as error:
        raise UsageError(str(error)) from None


def _rate(text: str | None, currency: str | None, source: str | None) -> Decimal | None:
    from framework.books import checks

    if source is not None and (text is not None or currency is None):
        other = "--fx-rate was given too" if text is not None else "--currency was not given"
        raise UsageError(f"--source says where a rate is looked up, but {other}, so none is; leave --source out")
    if text is None:
        return None
    if currency is None:
        raise UsageError("--fx-rate was given without --currency; say of which currency the amount is")
    rate = number_of("--fx-rate", text, "1.0845")
    try:
        checks.fx_rate(rate)
    except BookingError as error:
        raise UsageError(str(error)) from None
    return rate


def _move(asked: Capital, source: str | None, config: Path | None, url: str | None, json: bool) -> None:
    from framework.books.capital import move
    from framework.cli.capital_view import moved_document, show_moved
    from framework.data.fx_now import newest_rate

    with opened_database(config, url) as database:
        moved = move(database.pool, asked, partial(newest_rate, source=source))
    if json:
        print_json(moved_document(moved))
    else:
        show_moved(moved)
