"""The shape of a run config: what may be written, the defaults, and the single-value rules.

Rules between keys, and what this version does not have yet, are in :mod:`framework.config.rules`. Parameters of
plugins are not checked here: the plugin's own class knows them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from framework.model.cron import check_cron
from framework.model.quality import Policy, check_policies
from framework.model.timeline import SCHEDULES


def _number(value: Any) -> Any:
    # pydantic would read true as 1
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _text(value: Any) -> Any:
    # an id or a ticker written without quotes (7203) arrives as a number; its text is what was meant
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _day(value: Any) -> Any:
    # pydantic would read 2005 as seconds since 1970
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"is not a date ({error})") from None
    if type(value) is date:
        return value
    raise ValueError("must be a date written YYYY-MM-DD")


def _shaped(pattern: str, allowed: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"allowed: {allowed}")
        return value

    return check


def _schedule(value: str) -> str:
    if value in SCHEDULES:
        return value
    if len(value.split()) == 1:
        raise ValueError(f"allowed: {', '.join(SCHEDULES)}, or cron text of five fields such as '30 15 * * 1-5'")
    check_cron(value)
    return " ".join(value.split())


def _policies(value: Any) -> Any:
    if isinstance(value, dict):
        return check_policies({str(code): str(policy) for code, policy in value.items()})
    return value


def _named(value: Any) -> Any:
    # `strategy: momentum` is short for `strategy: {name: momentum}`
    return {"name": value} if isinstance(value, str) else value


Real = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Whole = Annotated[int, BeforeValidator(_number)]
Day = Annotated[date, BeforeValidator(_day)]
PluginName = Annotated[str, AfterValidator(_shaped(r"[A-Za-z_][A-Za-z0-9_.-]*", "letters, digits, _ . -"))]
RunName = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(
        _shaped(
            r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}",
            "letters, digits, _ . -, starting with a letter or digit; it names a folder",
        )
    ),
]
# no dot: an id names a folder beside files such as summary.json
PortfolioId = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(
        _shaped(
            r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
            "letters, digits, _ -, starting with a letter or digit; it names a folder",
        )
    ),
]
Ticker = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(
        _shaped(r"(?!.*_CASH$)[A-Za-z0-9^][A-Za-z0-9.^=/_:-]{0,31}", "1 to 32 of A-Z a-z 0-9 . ^ = / _ : -, not …_CASH")
    ),
]
Fraction = Annotated[Real, Field(ge=0, le=1)]
Currency = Annotated[str, AfterValidator(_shaped(r"[A-Z]{3}", "three capital letters such as USD"))]


class Part(BaseModel):
    """Base of all sections: values cannot be changed, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class PluginRef(Part):
    """A plugin picked by name, with its parameters."""

    name: PluginName
    params: dict[str, Any] = Field(default_factory=dict)


class BrokerRef(PluginRef):
    """The broker; ``account`` is the id that a live broker must report."""

    account: str | None = None


class AllocatorRef(PluginRef):
    """The allocator, when it acts, and what holds whatever it decides; fractions are of all that there is."""

    schedule: Annotated[str, AfterValidator(_schedule)] = "daily"
    #: A portfolio whose weight is this near to its target's is left alone.
    band: Annotated[Real, Field(ge=0, lt=1)] = 0.0
    #: Less money than this does not move.
    min_transfer: Annotated[Real, Field(ge=0, le=1e15)] = 0.0
    #: Fraction that stays with the master account.
    cash_buffer: Annotated[Real, Field(ge=0, lt=1)] = 0.0
    #: The least and the most that portfolios are given, by id.
    floors: dict[PortfolioId, Fraction] = Field(default_factory=dict)
    caps: dict[PortfolioId, Fraction] = Field(default_factory=dict)
    #: What a portfolio could not give limits what its strategy sizes its targets on.
    reduce: StrictBool = True
    #: How long portfolios wait, by the real clock, for an allocation that is due.
    wait_seconds: Annotated[Real, Field(ge=0, le=3600)] = 30.0


Named = Annotated[PluginRef, BeforeValidator(_named)]


class PoolSize(Part):
    """Connections of the pool."""

    min: Annotated[Whole, Field(ge=1)] = 1
    max: Annotated[Whole, Field(ge=1, le=1000)] = 6


class DatabaseSection(Part):
    """Where the books are: ``embedded``, or the URL of a PostgreSQL server."""

    url: Annotated[str, AfterValidator(_shaped(r"embedded|postgres(ql)?://.*", "embedded, or postgresql://…"))] = (
        "embedded"
    )
    pool: PoolSize = PoolSize()


class Margin(Part):
    """Margin terms, as fractions of position value; ``rate`` is yearly interest on borrowed cash."""

    initial: Annotated[Real, Field(gt=0, le=1)] = 0.5
    maintenance: Annotated[Real, Field(gt=0, le=1)] = 0.25
    rate: Annotated[Real, Field(ge=0)] = 0.06


class Flow(Part):
    """Money in (positive) or out (negative), on a ``date`` or ``every`` period."""

    amount: Real
    date: Day | None = None
    every: Literal["week", "month", "quarter", "year"] | None = None
    reference: str | None = None


class Portfolio(Part):
    """One portfolio: its money, its tickers, its strategy."""

    id: PortfolioId
    tickers: Annotated[tuple[Ticker, ...], Field(min_length=1)]
    strategy: Named
    #: Opening deposit, in ``currency``.
    cash: Annotated[Real, Field(ge=0, le=1e15)] | None = None
    schedule: Annotated[str, AfterValidator(_schedule)] = "every_bar"
    #: Bars read before ``start``.
    lookback: Annotated[Whole, Field(ge=0, le=1_000_000)] = 250
    lots: Literal["whole", "fractional"] = "whole"
    #: In paper and live: a first decision takes over the target weights that stood last in the window.
    adopt_signal: StrictBool = False
    risk: tuple[Named, ...] = ()
    currency: Currency = "USD"
    short: StrictBool = False
    margin: Margin | None = None
    #: Fraction of equity that targets leave in cash.
    cash_buffer: Annotated[Real, Field(ge=0, lt=1)] = 0.005
    flows: tuple[Flow, ...] = ()
    fill: Literal["next_open", "next_close"] = "next_open"


class MasterSection(Part):
    """The master account, portfolio 0: money that no portfolio trades with."""

    #: Opening deposit, in the currency of the portfolios.
    cash: Annotated[Real, Field(ge=0, le=1e15)] = 0.0
    flows: tuple[Flow, ...] = ()


class ClockSection(Part):
    """A simulated clock, for mode paper on data of the past."""

    #: First and last exchange date, inclusive.
    start: Day
    end: Day
    #: How long a calendar day takes; 0: no time at all.
    seconds_per_day: Annotated[Real, Field(ge=0)] = 0.3


class CacheSection(Part):
    """Panels that are kept as files in the workspace, so that a second run need not read them from the database."""

    #: Of all files together; 0: nothing is kept.
    gigabytes: Annotated[Real, Field(ge=0, le=1e6)] = 4.0


class EngineSection(Part):
    """How the live engine behaves."""

    #: Until a lease that is not renewed expires.
    lease_seconds: Annotated[Real, Field(gt=0, le=3600)] = 30.0
    #: Longest time that a request to a broker can be under way; below half of ``lease_seconds``.
    send_timeout_seconds: Annotated[Real, Field(gt=0, le=600)] = 10.0
    #: A portfolio stops after so many failed cycles in a row.
    max_consecutive_failures: Annotated[Whole, Field(ge=1)] = 5
    #: How long a bar that other tickers have already is waited for, by the real clock.
    bar_patience_seconds: Annotated[Real, Field(ge=0, le=3600)] = 30.0
    #: A strategy that takes longer to decide is not heard.
    decision_seconds: Annotated[Real, Field(gt=0)] = 60.0
    #: Paper refuses to start where a strategy decides otherwise on its `lookback` than on all history.
    check_lookback: StrictBool = True
    #: Backtests of `weights` strategies use a compiled loop (the extra `fast`); the result is the same.
    fast: StrictBool = False


class ReportSection(Part):
    """What a report compares with."""

    #: Name of a strategy, run on the same tickers and cash.
    benchmark: PluginName | None = None


class RunConfig(Part):
    """A whole run config, as written in YAML."""

    name: RunName
    mode: Literal["backtest", "replay", "paper", "live"]
    data_source: Named
    portfolios: Annotated[tuple[Portfolio, ...], Field(min_length=1)]
    #: First and last exchange date, inclusive.
    start: Day | None = None
    end: Day | None = None
    interval: Literal["1min", "5min", "15min", "30min", "1h", "4h", "1d"] = "1d"
    calendar: str = "XNYS"
    #: What strategies see (trading-rules 4).
    adjust: Literal["all", "splits", "none"] = "all"
    database: DatabaseSection = DatabaseSection()
    broker: Annotated[BrokerRef, BeforeValidator(_named)] = BrokerRef(name="simulated")
    allocator: Annotated[AllocatorRef, BeforeValidator(_named)] | None = None
    master: MasterSection = MasterSection()
    report: ReportSection = ReportSection()
    #: Only in mode paper; absent: the real time.
    clock: ClockSection | None = None
    engine: EngineSection = EngineSection()
    cache: CacheSection = CacheSection()
    #: What is done with bars that are wrong, by code: refuse, quarantine or warn.
    quality: Annotated[dict[str, Policy], BeforeValidator(_policies)] = Field(default_factory=dict)
    #: Folders of drop-in plugins, relative to the config's own folder.
    plugin_dirs: tuple[str, ...] = ()
    #: Providers to import besides the bundled ones; absent: all that are installed.
    plugins: tuple[str, ...] | None = None
