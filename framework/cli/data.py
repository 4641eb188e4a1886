"""``engine data``."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framework.cli.common import JsonOption, RunInterruptedError, SetOption, loaded_config, print_json
from framework.cli.progress import progress_bar
from framework.errors import DataError, UsageError
from framework.model.quality import Policy, check_policies

if TYPE_CHECKING:
    from framework.data.backfill import Backfill

data_app = typer.Typer(no_args_is_help=True, help="Market data: backfill, coverage, verify.")

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


@data_app.command()
def backfill(
    config: ConfigArgument = None,
    source: SourceOption = None,
    tickers: TickersOption = None,
    start: DateOption = None,
    end: DateOption = None,
    interval: Annotated[str | None, typer.Option("--interval", help="With --source: 1min … 1d (default).")] = None,
    calendar: Annotated[
        str | None, typer.Option("--calendar", help="With --source: of the exchange; XNYS by default.")
    ] = None,
    param: ParamOption = None,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="CODE=POLICY", help="With --source: what is done with bars that are wrong."),
    ] = None,
    set_: SetOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Bring the bars that are lacking into the database, with splits and dividends; only bars that are final.

    It may be ended at any time: run it again, and it goes on where it was. What is there is not asked for again.

    Example: engine data backfill live.yaml --start 2015-01-01

    Example: engine data backfill --source fmp --tickers AAPL,MSFT --start 2015-01-01
    """
    from framework.data_run import Order, fill, order_of_config, source_named

    first, last = start and start.date(), end and end.date()

    def say(line: str) -> None:
        typer.echo(line, err=True)

    if (config is None) == (source is None):
        raise UsageError("name a config, or a data source: engine data backfill CONFIG | --source NAME --tickers A,B")
    if config is not None:
        if tickers or interval or calendar or param or policy or url:
            raise UsageError(
                "--tickers, --interval, --calendar, --param, --policy and --url go with --source; a config says all of "
                "it itself (--set changes it)"
            )
        with loaded_config(config, set_) as loaded, progress_bar() as progress:
            found = fill(order_of_config(loaded, first, last), progress, say)
    else:
        assert source is not None
        if set_:
            raise UsageError("--set changes a config; with --source, use --param")
        if not tickers or first is None:
            raise UsageError("with --source, say what: --tickers A,B and --start YYYY-MM-DD")
        made, database = source_named(source, _pairs("--param", "KEY=VALUE", param)), database_of(url)
        made.bind(Path(), policies_of(policy))
        order = Order(made, names(tickers), interval or "1d", calendar or "XNYS", first, last, database)
        try:
            with progress_bar() as progress:
                found = fill(order, progress, say)
        except KeyboardInterrupt as interrupt:
            raise RunInterruptedError(str(interrupt)) from interrupt
    _show(found, json)


@data_app.command()
def coverage(
    source: SourceOption = None,
    tickers: TickersOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Say what has been loaded: from which source, of which tickers, from when to when.

    Example: engine data coverage --source fmp
    """
    from framework.data_run import coverage as read

    found = read(database_of(url), source, names(tickers or ""), lambda line: typer.echo(line, err=True))
    if json:
        print_json(
            [
                {
                    **each._asdict(),
                    "start": str(each.start),
                    "end": str(each.end),
                    "updated_at": each.updated_at.isoformat(),
                }
                for each in found
            ]
        )
        return
    for each in found:
        typer.echo(f"{each.source:<12} {each.ticker:<12} {each.interval:<6} {each.start} to {each.end}")
    if not found:
        typer.echo("nothing has been loaded")


def database_of(url: str | None) -> str:
    """``--url``, else the environment's, else the embedded one."""
    return url or os.environ.get("DATABASE_URL") or "embedded"


def names(tickers: str) -> tuple[str, ...]:
    """What ``--tickers`` names."""
    return tuple(name.strip() for name in tickers.split(",") if name.strip())


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


def _show(found: Backfill, json: bool) -> None:
    loaded = found.loaded
    if json:
        print_json(
            {
                "source": loaded.source,
                "start": str(found.start),
                "end": str(found.end),
                "tickers": sorted(set(loaded.tickers)),
                "inserted": loaded.inserted,
                "unchanged": loaded.unchanged,
                "conflicting": loaded.conflicting,
                "notes": loaded.notes(),
                "unavailable": found.unavailable,
            }
        )
    else:
        what = (
            f"{loaded.inserted:,} bars of {len(set(loaded.tickers))} tickers"
            if loaded.tickers
            else "nothing was lacking"
        )
        typer.echo(f"{loaded.source}: {what}, {found.start} to {found.end}, in {loaded.seconds:.1f} s")
        for note in loaded.notes():
            typer.echo(f"Note: {note}")
    if found.unavailable:
        lines = "; ".join(dict.fromkeys(found.unavailable.values()))
        raise DataError(f"{len(found.unavailable)} tickers are not to be had: {lines}. The others are loaded")
