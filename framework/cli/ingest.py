"""``engine data ingest``."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framework.cli.common import JsonOption, SetOption, Teller, loaded_config, print_json
from framework.cli.data_options import (
    CalendarOption,
    DateOption,
    IntervalOption,
    ParamOption,
    SourceOption,
    TickersOption,
    UrlOption,
    database_of,
    names_of,
    params_of,
)
from framework.errors import UsageError

if TYPE_CHECKING:
    from framework.data_run import Order, QuotePolling
    from framework.ingest_run import Totals

ConfigsArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="[CONFIG]…", help="Run configs: their tickers and currencies.")
]


def ingest(
    configs: ConfigsArgument = None,
    source: SourceOption = None,
    tickers: TickersOption = None,
    interval: IntervalOption = None,
    calendar: CalendarOption = None,
    start: DateOption = None,
    param: ParamOption = None,
    set_: SetOption = None,
    url: UrlOption = None,
    quotes: Annotated[
        bool, typer.Option("--quotes", help="Make bars of polled quotes; they are of the source NAME:quotes.")
    ] = False,
    exchange: Annotated[
        str | None, typer.Option("--exchange", metavar="NAME", help="With --quotes: all tickers of an exchange.")
    ] = None,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0.1, help="With --quotes: how often.")
    ] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Bring what there is now, and end.")] = False,
    json: JsonOption = False,
) -> None:
    """Keep bars up to date while the exchange trades, for engines that trade on them; until Ctrl-C.

    Only bars that are final are written. What lacks, after an outage say, is brought first; what the source corrects
    later is corrected, and the old value kept. It may be killed at any time, and two may run at once.

    Example: engine data ingest live.yaml

    Example: engine data ingest --source fmp --tickers AAPL,MSFT --interval 1min

    Example: engine data ingest --source fmp --quotes --exchange NASDAQ --every 10
    """
    from framework.data_run import QuotePolling, ingest

    if exchange and not quotes:
        raise UsageError("--exchange goes with --quotes: all quotes of an exchange come in one request")
    if bool(configs) == (source is not None):
        raise UsageError("name configs, or a source: engine data ingest CONFIG… | --source NAME --tickers A,B")
    polling: QuotePolling | None = QuotePolling(exchange, every) if quotes else None
    tell = Teller()
    with ExitStack() as stack:
        if configs:
            if tickers or interval or calendar or param or url or exchange:
                raise UsageError("--tickers, --interval, --calendar, --param, --url and --exchange go with --source")
            orders = _orders_of_configs(stack, configs, set_, start and start.date())
        else:
            assert source is not None
            if set_:
                raise UsageError("--set changes a config; with --source, use --param")
            if not tickers and not exchange:
                raise UsageError("with --source, say what: --tickers A,B, or --quotes --exchange NAME")
            orders = [_order_of_source(source, tickers, interval, calendar, start and start.date(), param, url)]
        with _stopped_by_signals() as started:
            found = ingest(orders, polling, tell, started, once=once)
    _show(found, tell, json)


def _orders_of_configs(
    stack: ExitStack, configs: Sequence[Path], set_: list[str] | None, start: date | None
) -> list[Order]:
    from framework.data_run import order_of_config

    return [order_of_config(stack.enter_context(loaded_config(path, set_)), start, None) for path in configs]


def _order_of_source(
    source: str,
    tickers: str | None,
    interval: str | None,
    calendar: str | None,
    start: date | None,
    param: list[str] | None,
    url: str | None,
) -> Order:
    from framework.data_run import Order, source_named

    made = source_named(source, params_of(param))
    # Without a start, what lacks is brought from the last session on, which is the earliest that an end can be.
    what = interval or "1min", calendar or "XNYS", start or date.max, None
    return Order(made, names_of(tickers or ""), *what, database_of(url))


@contextmanager
def _stopped_by_signals() -> Iterator[Callable[[Callable[[], None]], None]]:
    """The first Ctrl-C or SIGTERM lets what is under way end, a second one does not wait."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def started(stop: Callable[[], None]) -> None:
        def ask(number: int, frame: object) -> None:
            for each in before:
                signal.signal(each, before[each])
            stop()

        for each in before:
            signal.signal(each, ask)

    try:
        yield started
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _show(found: Totals, tell: Teller, json: bool) -> None:
    counts = {name: found.counts[name] for name in ("polls", "failures", "inserted", "corrected")}
    if json:
        print_json({**counts, "unavailable": found.unavailable})
        return
    typer.echo(
        f"{counts['inserted']:,} bars, {counts['corrected']:,} corrected, in {counts['polls']:,} looks; "
        f"{counts['failures']:,} failed"
    )
    if tell.lost:
        tell(f"Note: {tell.lost} lines could not be written here")
