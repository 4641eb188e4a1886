"""Rules between keys of a run config, and the one list of documented keys that this version does not have yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from framework.config.explain import nearest
from framework.config.model import Flow, Portfolio, RunConfig
from framework.config.tree import Keys
from framework.model.master import MASTER
from framework.model.timeline import SCHEDULES

Finding = tuple[Keys, str]

_THROUGH_CAPITAL = "money comes through `engine capital` or `engine portfolio adopt`"


def problems(config: RunConfig) -> Iterator[Finding]:
    """What is wrong between keys: the key path and the message, in the order of the file."""
    yield from _dates(config)
    if config.database.pool.min > config.database.pool.max:
        yield ("database", "pool"), f"min ({config.database.pool.min}) is above max ({config.database.pool.max})"
    yield from _engine(config)
    yield from _ids(config)
    for number, portfolio in enumerate(config.portfolios):
        for keys, text in _portfolio(portfolio, config):
            yield ("portfolios", number, *keys), text
    yield from _allocator(config)
    yield from _master(config)


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


def _portfolio(portfolio: Portfolio, config: RunConfig) -> Iterator[Finding]:
    mode = config.mode
    if mode == "live" and portfolio.cash is not None:
        yield ("cash",), f"is refused in mode live: {_THROUGH_CAPITAL}"
    if mode != "live" and portfolio.cash is None and config.allocator is None:
        yield (), f"needs `cash:`, its opening deposit (mode {mode}); only an allocator can do without"
    for ticker, count in Counter(portfolio.tickers).items():
        if count > 1:
            last = len(portfolio.tickers) - 1 - portfolio.tickers[::-1].index(ticker)
            yield ("tickers", last), f"{ticker!r} is listed {count} times; list it once"
    for keys, text in _flows(portfolio.flows, mode):
        yield ("flows", *keys), text


def _allocator(config: RunConfig) -> Iterator[Finding]:
    allocator = config.allocator
    if allocator is None:
        return
    known = [portfolio.id for portfolio in config.portfolios]
    for key, limits in (("floors", allocator.floors), ("caps", allocator.caps)):
        for name in limits:
            if name not in known:
                yield ("allocator", key, name), f"there is no portfolio {name!r}{nearest(name, known)}"
    for name, floor in allocator.floors.items():
        if floor > allocator.caps.get(name, 1.0):
            yield ("allocator", "floors", name), f"{floor:g} is above its cap ({allocator.caps[name]:g})"
    if allocator.wait_seconds > config.engine.decision_seconds:
        limit = f"decision_seconds ({config.engine.decision_seconds:g}), or who waits would be taken for hanging"
        yield ("allocator", "wait_seconds"), f"{allocator.wait_seconds:g} is above engine.{limit}"
    money = [config.master.cash, *config.master.flows, *(portfolio.cash for portfolio in config.portfolios)]
    if config.mode in ("backtest", "replay") and not any([*money, *(each.flows for each in config.portfolios)]):
        yield ("allocator",), "there is no money to allocate: give `master.cash`, or portfolios `cash:`"
    if (total := sum(allocator.floors.values())) > 1.0:
        yield ("allocator", "floors"), f"they add up to {total:g}; together at most 1"


def _master(config: RunConfig) -> Iterator[Finding]:
    master = config.master
    if config.allocator is None and (master.cash or master.flows):
        yield ("master",), "needs an `allocator:`, or its money would never be used"
    if config.mode == "live" and master.cash:
        yield ("master", "cash"), f"is refused in mode live: {_THROUGH_CAPITAL}"
    for keys, text in _flows(master.flows, config.mode):
        yield ("master", "flows", *keys), text


def _flows(flows: Sequence[Flow], mode: str) -> Iterator[Finding]:
    if flows and mode not in ("backtest", "replay"):
        yield (), f"are for modes backtest and replay; in mode {mode} {_THROUGH_CAPITAL}"
    names = Counter(flow.reference or f"flow {number}" for number, flow in enumerate(flows, start=1))
    for number, flow in enumerate(flows):
        if flow.reference is not None and names[flow.reference] > 1:
            yield (number, "reference"), f"{flow.reference!r} is used twice; every flow needs one of its own"
        for text in _flow(flow):
            yield (number,), text


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
    if config.allocator is not None and config.allocator.schedule not in SCHEDULES:
        yield ("allocator", "schedule"), f"cron text for allocators (there are: {', '.join(SCHEDULES)})"
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
    if portfolio.fill != "next_open":
        yield "fill", f"fill {portfolio.fill!r} (there is: next_open)"
