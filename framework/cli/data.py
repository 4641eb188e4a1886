"""``engine data``."""

from __future__ import annotations

import time
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framework.cli.common import JsonOption, RunInterruptedError, SetOption, loaded_config, print_json
from framework.cli.data_options import (
    CalendarOption,
    ConfigArgument,
    DateOption,
    IntervalOption,
    ParamOption,
    SourceOption,
    TickersOption,
    UrlOption,
    database_of,
    names_of,
    params_of,
    policies_of,
)
from framework.cli.ingest import ingest
from framework.cli.progress import Report, progress_bar
from framework.cli.verify import verify
from framework.errors import DataError, UsageError

if TYPE_CHECKING:
    from framework.data.backfill import Backfill, Step
    from framework.data_run import Estimate

data_app = typer.Typer(no_args_is_help=True, help="Market data: backfill, ingest, coverage, verify.")
data_app.command()(ingest)
data_app.command()(verify)


@data_app.command()
def backfill(
    config: ConfigArgument = None,
    source: SourceOption = None,
    tickers: TickersOption = None,
    start: DateOption = None,
    end: DateOption = None,
    interval: IntervalOption = None,
    calendar: CalendarOption = None,
    param: ParamOption = None,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="CODE=POLICY", help="With --source: what is done with bars that are wrong."),
    ] = None,
    set_: SetOption = None,
    url: UrlOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be asked for, and what it costs in requests.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Ask for what is there as well, and correct bars that have changed.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Bring the bars that are lacking into the database, with splits and dividends; only bars that are final.

    It may be ended at any time: run it again, and it goes on where it was. What is there is not asked for again.

    Example: engine data backfill live.yaml --start 2015-01-01

    Example: engine data backfill --source fmp --tickers AAPL,MSFT --start 2015-01-01 --dry-run
    """
    from framework.data_run import Order, estimate, fill, order_of_config, source_named

    first, last = start and start.date(), end and end.date()

    def work(order: Order) -> None:
        if dry_run:
            _show_estimate(estimate(order, _say, again=again), json)
        else:
            with progress_bar() as progress:
                found = fill(order, _Shown(progress), _say, again=again)
            _show(found, json)

    if (config is None) == (source is None):
        raise UsageError("name a config, or a data source: engine data backfill CONFIG | --source NAME --tickers A,B")
    if config is not None:
        if tickers or interval or calendar or param or policy or url:
            raise UsageError(
                "--tickers, --interval, --calendar, --param, --policy and --url go with --source; a config says all of "
                "it itself (--set changes it)"
            )
        with loaded_config(config, set_) as loaded:
            work(order_of_config(loaded, first, last))
        return
    assert source is not None
    if set_:
        raise UsageError("--set changes a config; with --source, use --param")
    if not tickers or first is None:
        raise UsageError("with --source, say what: --tickers A,B and --start YYYY-MM-DD")
    made, database = source_named(source, params_of(param)), database_of(url)
    made.bind(Path(), policies_of(policy))
    try:
        work(Order(made, names_of(tickers), interval or "1d", calendar or "XNYS", first, last, database))
    except KeyboardInterrupt as interrupt:
        raise RunInterruptedError(str(interrupt)) from interrupt


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

    found = read(database_of(url), source, names_of(tickers or ""), _say)
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


def _say(line: str) -> None:
    typer.echo(line, err=True)


class _Shown:
    """A backfill's steps as a progress bar: in requests, where the source is an API."""

    def __init__(self, report: Report) -> None:
        self._report, self._started = report, time.monotonic()

    def __call__(self, stage: str, step: Step) -> None:
        rate = step.rows / max(time.monotonic() - self._started, 1e-3)
        rows = f"{step.rows:,} rows, {rate:,.0f}/s"
        if not step.planned:
            self._report(stage, step.done, step.total, rows)
            return
        # Repeated requests are made beyond the plan; the last piece ends it, whatever it took.
        done = step.planned if step.done == step.total else min(step.requests, step.planned - 1)
        self._report(stage, done, step.planned, f"{rows}, {step.planned - done:,} requests left")


def _show_estimate(found: Estimate, json: bool) -> None:
    minutes = found.requests / found.requests_per_minute if found.requests_per_minute else 0.0
    asks = [ask for plan in found.plans for ask in plan.asks]
    if json:
        print_json(
            {
                "source": found.source,
                "requests": found.requests,
                "minutes": round(minutes, 1),
                "asks": [
                    {
                        "tickers": ask.tickers,
                        "start": str(ask.start),
                        "end": str(ask.end),
                        "requests": ask.requests,
                    }
                    for ask in asks
                ],
            }
        )
        return
    for tickers, group in groupby(asks, key=lambda ask: ask.tickers):
        own = list(group)
        start, end = min(ask.start for ask in own), max(ask.end for ask in own)
        more = f" and {len(tickers) - 3} more" if len(tickers) > 3 else ""
        typer.echo(f"{', '.join(tickers[:3])}{more}: {start} to {end}, {sum(ask.requests for ask in own):,} requests")
    if not asks:
        typer.echo("nothing is lacking")
    elif found.requests_per_minute:
        pace = f"at least {minutes:,.1f} min at {found.requests_per_minute:,} a minute"
        typer.echo(f"{found.source}: {found.requests:,} requests, {pace}")


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
                "corrected": loaded.corrected,
                "removed": loaded.removed,
                "notes": loaded.notes(),
                "suspect": {code: seen.count for code, seen in loaded.suspect.items()},
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
        for note in (*loaded.notes(), *loaded.suspicions()):
            typer.echo(f"Note: {note}")
    if found.unavailable:
        lines = "; ".join(dict.fromkeys(found.unavailable.values()))
        raise DataError(f"{len(found.unavailable)} tickers are not to be had: {lines}. The others are loaded")
