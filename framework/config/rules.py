"""Rules between keys of a run config, and the one list of documented keys that this version does not have yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from framework.config.model import Flow, Portfolio, RunConfig
from framework.config.tree import Keys

MASTER = "0"
Finding = tuple[Keys, str]


def problems(config: RunConfig) -> Iterator[Finding]:
    """What is wrong between keys: the key path and the message, in the order of the file."""
    yield from _dates(config)
    if config.database.pool.min > config.database.pool.max:
        yield ("database", "pool"), f"min ({config.database.pool.min}) is above max ({config.database.pool.max})"
    yield from _engine(config)
    yield from _ids(config)
    for number, portfolio in enumerate(config.portfolios):
        for keys, text in _portfolio(portfolio, config.mode):
            yield ("portfolios", number, *keys), text


def _dates(config: RunConfig) -> Iterator[Finding]:
    if config.mode not in ("backtest", "replay"):
        return
    for key, day in (("start", config.start), ("end", config.end)):
        if day is None:
            yield (key,), f"is required in mode {config.mode}: an exchange date such as 2005-01-03"
    if config.start and config.end and config.start > config.end:
        yield ("end",), f"{config.end} is before start ({config.start}); the range is empty"


def _engine(config: RunConfig) -> Iterator[Finding]:
    clock, engine = config.clock, config.engine
    if clock is not None and config.mode != "paper":
        yield ("clock",), f"is for mode paper; mode {config.mode} has a clock of its own"
    if clock is not None and clock.start > clock.end:
        yield ("clock", "end"), f"{clock.end} is before start ({clock.start}); the range is empty"
    if 2 * engine.send_timeout_seconds >= engine.lease_seconds:
        yield (
            ("engine", "send_timeout_seconds"),
            (f"{engine.send_timeout_seconds:g} must be below half of lease_seconds ({engine.lease_seconds:g})"),
        )


def _ids(config: RunConfig) -> Iterator[Finding]:
    seen: set[str] = set()
    for number, portfolio in enumerate(config.portfolios):
        where: Keys = ("portfolios", number, "id")
        if portfolio.id == MASTER:
            yield where, "'0' is the master account and cannot be a portfolio; use another id"
        if portfolio.id in seen:
            yield where, f"{portfolio.id!r} is used twice; every portfolio needs an id of its own"
        seen.add(portfolio.id)


def _portfolio(portfolio: Portfolio, mode: str) -> Iterator[Finding]:
    if mode == "live" and portfolio.cash is not None:
        yield ("cash",), "is refused in mode live: money comes through `engine capital` or `engine portfolio adopt`"
    if mode != "live" and portfolio.cash is None:
        yield (), f"needs `cash:`, its opening deposit (mode {mode})"
    for ticker, count in Counter(portfolio.tickers).items():
        if count > 1:
            last = len(portfolio.tickers) - 1 - portfolio.tickers[::-1].index(ticker)
            yield ("tickers", last), f"{ticker!r} is listed {count} times; list it once"
    for number, flow in enumerate(portfolio.flows):
        for text in _flow(flow):
            yield ("flows", number), text


def _flow(flow: Flow) -> Iterator[str]:
    if (flow.date is None) == (flow.every is None):
        yield "needs either `date:` or `every:`"
    if flow.amount == 0:
        yield "amount is 0; positive is money in, negative is money out"


def is_built(mode: str) -> bool:
    """Whether this version has the mode."""
    return mode in ("backtest", "replay", "paper")


def unbuilt(config: RunConfig) -> Iterator[Finding]:
    """The documented parts that ``config`` asks for and this version does not have, in the order of the file.

    This is the only list of them; a part that gets built loses its line here.
    """
    if not is_built(config.mode):
        yield ("mode",), f"mode {config.mode!r} (there are: backtest, replay, paper)"
    if config.broker.account is not None:
        yield ("broker", "account"), "broker accounts, which come with mode live; every paper portfolio has its own"
    if config.allocator is not None:
        yield ("allocator",), "allocators"
    for number, portfolio in enumerate(config.portfolios):
        first = config.portfolios[0].currency
        if config.mode in ("backtest", "replay") and portfolio.currency != first:
            text = f"one report of portfolios in several currencies ({first}, {portfolio.currency}); run each apart"
            yield ("portfolios", number, "currency"), text
        for key, text in _unbuilt_portfolio(portfolio):
            yield ("portfolios", number, key), text


def _unbuilt_portfolio(portfolio: Portfolio) -> Iterator[tuple[str, str]]:
    if portfolio.short:
        yield "short", "short selling"
    if portfolio.margin is not None:
        yield "margin", "margin"
    if portfolio.flows:
        yield "flows", "dated flows of capital"
    if portfolio.fill != "next_open":
        yield "fill", f"fill {portfolio.fill!r} (there is: next_open)"
