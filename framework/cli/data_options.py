"""What the commands of market data share: options, and what they mean."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from framework.errors import UsageError
from framework.model.quality import Policy, check_policies

ConfigArgument = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG]", help="A run config: its source, tickers, interval and database.")
]
SourceOption = Annotated[str | None, typer.Option("--source", metavar="NAME", help="A data source, such as fmp.")]
TickersOption = Annotated[str | None, typer.Option("--tickers", metavar="A,B", help="Tickers, with commas.")]
ParamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="KEY=VALUE",
        help="A parameter of --source; again for more. Keys belong into the environment.",
    ),
]
DateOption = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="Included.")]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="With --source: the database; by default DATABASE_URL, else the one in ./.engine."
    ),
]
IntervalOption = Annotated[
    str | None, typer.Option("--interval", help="With --source: 1min … 1d; by default 1d, of ingest 1min.")
]
CalendarOption = Annotated[
    str | None, typer.Option("--calendar", help="With --source: of the exchange; XNYS by default.")
]


def database_of(url: str | None) -> str:
    """The database that is meant with ``--source``."""
    return url or os.environ.get("DATABASE_URL") or "embedded"


def names_of(tickers: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in tickers.split(",") if name.strip())


def params_of(given: list[str] | None) -> dict[str, str]:
    """What ``--param`` says.

    Raises:
        UsageError: one is not KEY=VALUE.
    """
    return _pairs("--param", "KEY=VALUE", given)


def policies_of(given: list[str] | None) -> dict[str, Policy]:
    """What ``--policy`` says, by code.

    Raises:
        UsageError: a code is unknown, or cannot be treated so.
    """
    try:
        return check_policies(_pairs("--policy", "CODE=POLICY", given))
    except ValueError as error:
        raise UsageError(f"--policy: {error}") from None


def _pairs(option: str, form: str, given: list[str] | None) -> dict[str, str]:
    found = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} was {text!r}; it has to be {form}")
        found[name] = value
    return found
