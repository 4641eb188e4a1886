"""``engine data verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from framework.cli.common import JsonOption, RunInterruptedError, SetOption, loaded_config, print_json
from framework.cli.data_options import (
    ConfigArgument,
    ParamOption,
    SourceOption,
    TickersOption,
    UrlOption,
    database_of,
    names_of,
    params_of,
    policies_of,
)
from framework.cli.progress import progress_bar
from framework.errors import DataError, UsageError
from framework.model.quality import REFUSED, SUSPECT

if TYPE_CHECKING:
    from framework.data.findings import Seen
    from framework.data.verify import Verified
    from framework.db.quarantine import Quarantined

_MOST_TICKERS = 5


def verify(
    config: ConfigArgument = None,
    source: SourceOption = None,
    tickers: TickersOption = None,
    interval: Annotated[str | None, typer.Option("--interval", help="1min … 1d; all of them by default.")] = None,
    calendar: Annotated[
        str | None,
        typer.Option(
            "--calendar", help="Of the exchange; by default that of table instruments, else FX for pairs, else XNYS."
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            metavar="CODE=POLICY",
            help="Take suspect bars out: quarantine keeps them apart, refuse deletes them; again for more.",
        ),
    ] = None,
    adjusted: Annotated[
        bool, typer.Option("--adjusted", help="Compare with the closes that the source adjusts itself; asks it.")
    ] = False,
    param: ParamOption = None,
    set_: SetOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Check the bars that are stored: against the calendar, their neighbours, splits, and what counts as loaded.

    By default, all that is in the database. It ends with 1 where something has to be done before results are right.

    Example: engine data verify --source fmp --tickers AAPL,MSFT

    Example: engine data verify --policy spike=quarantine
    """
    from framework.data.verify import Asked
    from framework.data_run import asked_of_config, source_named, verified

    def say(line: str) -> None:
        typer.echo(line, err=True)

    if config is not None:
        if source or tickers or interval or calendar or policy or param or url:
            raise UsageError(
                "a config says source, tickers, interval, calendar, quality and database itself (--set changes it)"
            )
        with loaded_config(config, set_) as loaded, progress_bar() as progress:
            found = verified(
                loaded.config.database.url, asked_of_config(loaded, is_adjustment_asked=adjusted), progress, say
            )
    else:
        if set_:
            raise UsageError("--set changes a config; without one, use --source, --tickers, --calendar and --policy")
        if (adjusted or param) and source is None:
            raise UsageError("--adjusted and --param need a source: --source NAME, or a config")
        by = source_named(source, params_of(param)) if adjusted and source is not None else None
        asked = Asked(source, names_of(tickers or ""), interval, calendar, policies_of(policy), adjusted_by=by)
        try:
            with progress_bar() as progress:
                found = verified(database_of(url), asked, progress, say)
        except KeyboardInterrupt as interrupt:
            raise RunInterruptedError("nothing is lost; run the same command again") from interrupt
    print_json(_document(found)) if json else _show(found)
    if found.urgent():
        raise DataError(f"to be acted upon: {', '.join(found.urgent())}; results are wrong until then")


def _show(found: Verified) -> None:
    held = ", ".join(f"{count} against {name}" for name, count in found.calendars.items())
    typer.echo(f"{found.bars:,} bars of {found.series} series, {held or 'no calendar'}, in {found.seconds:.1f} s")
    for code, seen in found.found.items():
        shown = ", ".join(seen.tickers[:_MOST_TICKERS])
        more = f" and {len(seen.tickers) - _MOST_TICKERS} more" if len(seen.tickers) > _MOST_TICKERS else ""
        typer.echo(f"{_verb(code, seen)}: {code}: {seen.count:,} of {shown}{more}; first: {', '.join(seen.first)}")
        typer.echo(f"      {SUSPECT[code].means}. What to do: {SUSPECT[code].advice}")
    for name, why in found.unchecked.items():
        typer.echo(f"NOT CHECKED: {name}: {why}")
    for each in found.quarantine:
        typer.echo(f"in quarantine: {_held(each)}")
    if not found.found:
        typer.echo("nothing suspect")


def _verb(code: str, seen: Seen) -> str:
    if seen.taken_out:
        return f"TAKEN OUT ({seen.taken_out:,})"
    return "ACT" if SUSPECT[code].is_urgent else "warning"


def _held(each: Quarantined) -> str:
    times = f"{each.first:%Y-%m-%d} to {each.last:%Y-%m-%d}" if each.first and each.last else "without a date"
    what = REFUSED.get(each.code) or SUSPECT[each.code].means
    return f"{each.rows:,} bars of {each.source} {each.ticker} {each.interval}, {times}: {each.code} ({what})"


def _document(found: Verified) -> dict[str, Any]:
    return {
        "series": found.series,
        "bars": found.bars,
        "calendars": dict(found.calendars),
        "found": [
            {
                "code": code,
                "count": seen.count,
                "tickers": list(seen.tickers),
                "first": list(seen.first),
                "taken_out": seen.taken_out,
                "urgent": code in found.urgent(),
                "means": SUSPECT[code].means,
                "advice": SUSPECT[code].advice,
            }
            for code, seen in found.found.items()
        ],
        "quarantine": [
            {
                **each._asdict(),
                "first": each.first and each.first.isoformat(),
                "last": each.last and each.last.isoformat(),
                "seen_at": each.seen_at.isoformat(),
            }
            for each in found.quarantine
        ],
        "unchecked": dict(found.unchecked),
        "seconds": round(found.seconds, 3),
    }
