"""A config as something that can run: its plugins made and checked."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from framework.config.load import LoadedConfig
from framework.config.model import AllocatorRef, Flow, Portfolio
from framework.data.calendars import check_calendar, warmup_start
from framework.data.coming import Coming
from framework.data.flow_dates import DatedFlow, dated
from framework.data.moments import Due, moments
from framework.engine.account import Terms
from framework.engine.backtest import declared_memory
from framework.engine.kernel import require_numba
from framework.engine.simulator import Simulation
from framework.errors import AllocationError, ConfigError
from framework.model.master import MASTER
from framework.model.money import FRACTIONAL, WHOLE, to_micro
from framework.plugin_manager import PluginManager
from framework.trading.allocation import Allocation, AllocationTerms, listed
from framework.trading.allocator import Allocator
from framework.trading.broker import Broker
from framework.trading.costs import Costs
from framework.trading.indicator import Indicator
from framework.trading.risk import NamedRule
from framework.trading.strategy import Strategy, style

if TYPE_CHECKING:
    from framework.books.allocation import Allocated
    from framework.books.open import Identity
    from framework.data.feed import Feed
    from framework.data.panels import LoadedPanel
    from framework.data.source import DataSource
    from framework.db.pool import Pool
    from framework.engine.allocating import AllocationDesk
    from framework.engine.allocation_runner import AllocationRunner
    from framework.engine.clock import Clock
    from framework.engine.decider import Assignment


log = logging.getLogger(__name__)

#: Of config and allocator together: they are part of the keys that transfers are booked under.
_LONGEST_NAME = 60


class Plan:
    """The plugins of a config, made and checked: strategies, risk rules, data source, costs, allocator.

    Args:
        loaded: the config.
        manager: of the plugins.
        like: another plan, whose data source is shared where the config has the same.

    Raises:
        ConfigError: a plugin or a parameter is not there, or does not fit.
    """

    def __init__(self, loaded: LoadedConfig, manager: PluginManager, like: Plan | None = None) -> None:
        from framework.data.currencies import Currencies

        config = loaded.config
        self.loaded, self.config, self.manager = loaded, config, manager
        if config.engine.fast:
            with _at(loaded, "engine", "fast"):
                require_numba()
        self.start, self.end = _dates(loaded)
        with _at(loaded, "calendar"):
            check_calendar(config.calendar)
        if like is not None and (like.config.data_source, like.config.quality) == (config.data_source, config.quality):
            self.source: DataSource = like.source
        else:
            self.source = self._make("data source", config.data_source, ("data_source",))
            self.source.bind(loaded.path.parent, config.quality)
        self.broker: Broker = self._make("broker", config.broker, ("broker",))
        self.costs: Costs = self.broker.costs()
        #: Of the config as resolved; decisions keep it.
        self.config_hash = hashlib.sha256(json.dumps(loaded.resolved, sort_keys=True).encode()).hexdigest()
        for portfolio in config.portfolios:
            style(self.strategy(portfolio))
            self.risk(portfolio)
        if config.report.benchmark is not None:
            style(self.benchmark())
        self._check_tickers()
        self.currencies = Currencies(self.source, config.interval)
        for number, portfolio in enumerate(config.portfolios):
            with _at(loaded, "portfolios", number, "tickers"):
                self.currencies.add(portfolio.id, portfolio.currency, portfolio.tickers)
        self.allocation = self._allocation()
        self.tickers = tuple(dict.fromkeys(ticker for portfolio in config.portfolios for ticker in portfolio.tickers))

    # Capital.

    def _allocation(self) -> Allocation | None:
        ref = self.config.allocator
        if ref is None:
            return None
        allocator: Allocator = self._make("allocator", ref, ("allocator",))
        try:
            ids = listed(allocator, [portfolio.id for portfolio in self.config.portfolios])
        except AllocationError as error:
            raise ConfigError(f"{self.loaded.place('allocator')()}: allocator {ref.name!r}: {error}") from error
        self._check_listed(ref, ids)
        chosen = [portfolio for portfolio in self.config.portfolios if portfolio.id in ids]
        currencies = list(dict.fromkeys(portfolio.currency for portfolio in chosen))
        if len(currencies) > 1:
            raise ConfigError(
                f"{self.loaded.place('allocator')()}: it allocates to portfolios in {' and '.join(currencies)}; money "
                "moves between portfolios of one currency only (give each currency a config of its own)"
            )
        terms = AllocationTerms(
            portfolios=ids,
            floors=np.array([ref.floors.get(name, 0.0) for name in ids]),
            caps=np.array([ref.caps.get(name, 1.0) for name in ids]),
            buffers=np.array([portfolio.cash_buffer for portfolio in chosen]),
            band=ref.band,
            min_transfer=to_micro(float(ref.min_transfer)),
            cash_buffer=ref.cash_buffer,
            reduces=ref.reduce,
        )
        name = f"{self.config.name}/{ref.name}"
        if len(name) > _LONGEST_NAME:
            raise ConfigError(
                f"{self.loaded.place('allocator')()}: allocations are known by {name!r}, of {len(name)} characters; "
                f"allowed: {_LONGEST_NAME}. Give the config a shorter name"
            )
        return Allocation(name, allocator, terms, ref.schedule, currencies[0], ref.wait_seconds)

    def _check_listed(self, ref: AllocatorRef, ids: Sequence[str]) -> None:
        """Refuse what would silently count for nothing."""
        for key, limits in (("floors", ref.floors), ("caps", ref.caps)):
            for name in limits:
                if name not in ids:
                    where = self.loaded.place("allocator", key, name)()
                    raise ConfigError(f"{where}: the allocator does not allocate to portfolio {name!r}")
        for number, portfolio in enumerate(self.config.portfolios):
            if portfolio.cash is None and portfolio.id not in ids and not portfolio.flows:
                where = self.loaded.place("portfolios", number)()
                raise ConfigError(f"{where}: needs `cash:`, as no allocation gives portfolio {portfolio.id!r} any")

    def dues(self, start: date, end: date) -> tuple[Due, ...]:
        """When allocations are due on the sessions of these exchange dates, inclusive; none without an allocator."""
        if self.allocation is None:
            return ()
        config = self.config
        settle, schedule = self.source.settle_of(config.interval), self.allocation.schedule
        return moments(config.calendar, config.interval, settle, schedule, start, end)

    def allocating(
        self, pool: Pool, feed: Feed, clock: Clock, since: date, told: Callable[[Due, Allocated | None, str], None]
    ) -> AllocationRunner | None:
        """Makes allocations in a live engine; ``None``: there is no allocator.

        Args:
            pool: of the books.
            feed: as the portfolios see the market.
            clock: of the engine.
            since: exchange date before which nothing is due.
            told: see :class:`AllocationRunner`.
        """
        from framework.engine.allocating import Dues, Rendezvous
        from framework.engine.allocation_runner import AllocationRunner
        from framework.engine.flows import DatedFlows

        allocation, config = self.allocation, self.config
        if allocation is None:
            return None
        settle = self.source.settle_of(config.interval)
        dues = Dues(config.calendar, config.interval, settle, allocation.schedule, since)
        rendezvous = Rendezvous(dues, allocation.terms.portfolios, allocation.wait_seconds, clock)
        desk = self.allocation_desk(pool, feed, "engine")
        flows = DatedFlows(pool, MASTER, self.flows(config.master.flows), clock.now, log.warning)
        return AllocationRunner(desk, rendezvous, clock, told, flows)

    def allocation_desk(self, pool: Pool, feed: Feed, made_by: str) -> AllocationDesk:
        """Makes allocations of the config's allocator on live books."""
        from framework.engine.allocating import AllocationDesk, Participant

        config, allocation = self.config, self.allocation
        assert allocation is not None, "there is one"
        participants = [
            Participant(
                portfolio.id,
                portfolio.tickers,
                self._terms(portfolio).lots_per_share,
                self.currencies.live(portfolio.id, self.warmup_bars(portfolio) + 1),
            )
            for portfolio in config.portfolios
            if portfolio.id in allocation.terms.portfolios
        ]
        is_daily = config.interval == "1d"
        settle = self.source.settle_of(config.interval)
        return AllocationDesk(
            pool, allocation, participants, feed, config.calendar, settle, is_daily, config.start, made_by
        )

    def flows(self, flows: Sequence[Flow]) -> tuple[DatedFlow, ...]:
        """Flows of the config on the sessions of the run."""
        return dated(flows, self.config.calendar, self.start, self.end)

    def _check_tickers(self) -> None:
        """Compare the tickers with those on offer, where the source lists them, before anything is loaded."""
        offered = self.source.tickers()
        if offered is None:
            return
        for number, portfolio in enumerate(self.config.portfolios):
            for index, ticker in enumerate(portfolio.tickers):
                if ticker not in offered:
                    where = self.loaded.place("portfolios", number, "tickers", index)()
                    near = difflib.get_close_matches(ticker.upper(), offered, n=1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise ConfigError(
                        f"{where}: data source {self.source.key()!r} has no ticker {ticker!r}{hint} "
                        f"(it has {', '.join(offered[:20])}{' …' if len(offered) > 20 else ''})"
                    )

    def _make(self, kind: str, ref: Any, keys: tuple[str | int, ...]) -> Any:
        return self.manager.create(kind, ref.name, ref.params, self.loaded.place(*keys))

    def strategy(self, portfolio: Portfolio) -> Strategy:
        """A fresh strategy object of the portfolio."""
        keys = ("portfolios", self.config.portfolios.index(portfolio), "strategy")
        made: Strategy = self._make("strategy", portfolio.strategy, keys)
        return made

    def risk(self, portfolio: Portfolio) -> tuple[NamedRule, ...]:
        """The risk rules of the portfolio, in their order."""
        keys = ("portfolios", self.config.portfolios.index(portfolio), "risk")
        made = (self._make("risk rule", ref, (*keys, number)) for number, ref in enumerate(portfolio.risk))
        return tuple(NamedRule(ref.name, rule) for ref, rule in zip(portfolio.risk, made, strict=True))

    def benchmark(self) -> Strategy:
        """A fresh object of the benchmark's strategy."""
        name = self.config.report.benchmark
        assert name is not None
        where = f"{self.loaded.locate(('report', 'benchmark'))}: report.benchmark"
        made: Strategy = self.manager.create("strategy", name, {}, where)
        return made

    def indicator(self, name: str, params: dict[str, Any]) -> Indicator:
        """An indicator by name, as strategies declare it."""
        made: Indicator = self.manager.create("indicator", name, params)
        return made

    def warmup_bars(self, portfolio: Portfolio) -> int:
        """How many bars before ``start`` the portfolio's panel should have."""
        memory = declared_memory(self.strategy(portfolio), portfolio.tickers, self.config.interval, self.indicator)
        return max(portfolio.lookback, memory)

    def first_date(self) -> date:
        """The exchange date from which bars are needed: the warm-up's."""
        bars = max(self.warmup_bars(portfolio) for portfolio in self.config.portfolios)
        return warmup_start(self.config.calendar, self.config.interval, self.start, bars)

    def _terms(self, portfolio: Portfolio) -> Terms:
        return Terms(
            opening_cash=portfolio.cash or 0.0,
            lots_per_share=WHOLE if portfolio.lots == "whole" else FRACTIONAL,
            cash_buffer=portfolio.cash_buffer,
            costs=self.costs,
        )

    def feed(self, adjusted_as_of: date | None = None) -> Feed:
        """The market as the live engine reads it, for all portfolios."""
        from framework.data.feed import Feed

        config = self.config
        bars = 1 + max(self.warmup_bars(portfolio) for portfolio in config.portfolios)
        return Feed(
            self.source,
            self.tickers,
            config.interval,
            config.calendar,
            config.adjust,
            bars,
            adjusted_as_of=adjusted_as_of,
        )

    def coming(self) -> Coming:
        """What comes next by the config's calendar."""
        return Coming(self.config.calendar, self.config.interval, self.source.settle_of(self.config.interval))

    def assignment(self, portfolio: Portfolio, identity: Identity, broker: Broker | None = None) -> Assignment:
        """A portfolio as a worker of the live engine runs it, at the config's broker or another one."""
        from framework.engine.decider import Assignment

        bars = self.warmup_bars(portfolio) + 1
        return Assignment(
            identity=identity,
            tickers=portfolio.tickers,
            make_strategy=lambda: self.strategy(portfolio),
            strategy_name=portfolio.strategy.name,
            make_indicator=self.indicator,
            schedule=self.coming().schedule(portfolio.schedule),
            lookback=bars,
            terms=self._terms(portfolio),
            broker=broker or self.broker,
            rules=self.risk(portfolio),
            decision_seconds=self.config.engine.decision_seconds,
            adopt_signal=portfolio.adopt_signal,
            config_hash=self.config_hash,
            code_hash=self.manager.get("strategy", portfolio.strategy.name).source_hash,
            since=self.config.start,
            fx=self.currencies.live(portfolio.id, bars),
            flows=self.flows(portfolio.flows),
            is_allocated=self.allocation is not None and self.allocation.limits(portfolio.id),
            actions=self.source.key() if self.source.price_kind() == "traded" else None,
        )

    def job(
        self,
        portfolio: Portfolio,
        data: LoadedPanel,
        strategy: Strategy,
        name: str,
        schedule: str,
        risk: tuple[NamedRule, ...] = (),
    ) -> Simulation:
        """The simulation of a strategy with the portfolio's money on its data, under these risk rules."""
        return Simulation(
            portfolio_id=portfolio.id,
            strategy=strategy,
            strategy_name=name,
            panel=data.panel,
            trade=data.trade,
            timeline=data.timeline,
            first=data.first,
            acting=data.acting,
            schedule=self.coming().schedule(schedule),
            terms=self._terms(portfolio),
            make_indicator=self.indicator,
            currency=portfolio.currency,
            risk=risk,
            rates=data.rates,
            currencies=data.currencies,
            is_fast=self.config.engine.fast,
        )


def _dates(loaded: LoadedConfig) -> tuple[date, date]:
    """First and last exchange date: of the run, of its simulated clock, or today."""
    config = loaded.config
    if config.clock is not None:
        return config.clock.start, config.clock.end
    if config.mode not in ("backtest", "replay"):
        today = datetime.now(UTC).date()
        return today, today
    if config.start is None or config.end is None:
        raise ConfigError(f"{loaded.path}: a backtest needs start and end")
    return config.start, config.end


@contextmanager
def _at(loaded: LoadedConfig, *keys: str | int) -> Iterator[None]:
    """Errors of the block begin with file, line and key."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{loaded.place(*keys)()}: {error}") from error
