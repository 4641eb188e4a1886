"""Which bars the trials of a sweep run on: loaded once, kept as files, and mapped by every worker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date

from framework.app import open_database
from framework.config.model import Portfolio
from framework.data.panels import LoadedPanel
from framework.engine.backtest import run_threads
from framework.errors import ConfigError
from framework.model.sweep import Outcome, Trial
from framework.plan import Plan
from framework.plugin_manager import PluginManager
from framework.runs import Progress, ensured, panel_of
from framework.sweep.setup import PanelRef, Setup, Task

#: What of a config says which bars there are; the rest does not matter to them.
_OF_RUN = ("data_source", "interval", "calendar", "adjust", "quality", "database")
_OF_PORTFOLIO = ("tickers", "currency")


@dataclass(frozen=True)
class Key:
    """One panel: whose, what of the config it depends on (as text), and its exchange dates, included."""

    portfolio_id: str
    data: str
    start: date
    end: date


@dataclass
class _Need:
    """A panel that is needed: by which plan it is read, and with how many rows before its start."""

    plan: Plan
    portfolio: Portfolio
    warmup_bars: int
    loaded: LoadedPanel | None = None


@dataclass
class Needs:
    """The panels of many trials.

    Attributes:
        setup: of the sweep.
        plugins: as loaded when it began.
        notes: what a reader should know of the bars.
    """

    setup: Setup
    plugins: PluginManager
    notes: dict[str, None] = field(default_factory=dict)
    _panels: dict[Key, _Need] = field(default_factory=dict)
    _trials: dict[Trial, list[Key]] = field(default_factory=dict)
    _like: Plan | None = None

    def add(self, trial: Trial) -> Outcome | None:
        """Take in what a trial needs; its outcome, where the config is not valid with its values."""
        try:
            plan = Plan(self.setup.loaded(trial), self.plugins, self._like)
        except ConfigError as error:
            return Outcome(trial, "refused", str(error))
        self._like = plan
        self._trials[trial] = [
            self._add(plan, portfolio, trial.start, trial.end) for portfolio in plan.config.portfolios
        ]
        return None

    def _add(self, plan: Plan, portfolio: Portfolio, start: date, end: date) -> Key:
        resolved, number = plan.loaded.resolved, plan.config.portfolios.index(portfolio)
        told = [resolved[key] for key in _OF_RUN]
        told += [each[key] for each in resolved["portfolios"] for key in _OF_PORTFOLIO]
        told += [resolved["portfolios"][number][key] for key in _OF_PORTFOLIO]
        key = Key(portfolio.id, json.dumps(told, sort_keys=True), start, end)
        bars = plan.warmup_bars(portfolio)
        if key not in self._panels or bars > self._panels[key].warmup_bars:
            self._panels[key] = _Need(plan, portfolio, bars)
        return key

    def load(self, progress: Progress) -> None:
        """Have all panels that are not there yet in files; from the sources what the database lacks.

        Raises:
            EngineError: the database, a source or its bars cannot be used.
        """
        lacking = {key: need for key, need in self._panels.items() if need.loaded is None}
        if not lacking:
            return
        first = next(iter(lacking.values())).plan
        with open_database(first.loaded) as database:
            for plan in {id(need.plan): need.plan for need in lacking.values()}.values():
                self.notes |= dict.fromkeys(ensured(plan, database, progress).notes())

            def read(checkpoint: Callable[[], None]) -> None:
                for number, need in enumerate(lacking.values()):
                    checkpoint()
                    progress("panels", number, len(lacking))
                    need.loaded = panel_of(
                        need.plan,
                        database.pool,
                        need.portfolio,
                        warmup_bars=need.warmup_bars,
                        smallest_bytes=0,
                    )
                    self.notes |= dict.fromkeys(need.loaded.notes)

            run_threads({"panels": read})

    def fingerprint(self) -> str:
        """A hash of all bars that are loaded."""
        every = sorted(f"{key} {_loaded(need).fingerprint()}" for key, need in self._panels.items())
        return hashlib.sha256("\n".join(every).encode()).hexdigest()[:32]

    def task(self, trial: Trial) -> Task:
        """A trial that was taken in, with the places of its panels."""
        refs = []
        for key in self._trials[trial]:
            need = self._panels[key]
            loaded = _loaded(need)
            refs.append(PanelRef(key.portfolio_id, str(loaded.file), loaded.fingerprint(), need.warmup_bars))
        return Task(trial, tuple(refs), keeps_returns=trial.part == "test")

    def tasks(self, trials: Iterable[Trial]) -> list[Task]:
        """Those of the trials that were taken in."""
        return [self.task(trial) for trial in trials if trial in self._trials]


def _loaded(need: _Need) -> LoadedPanel:
    assert need.loaded is not None, "load() comes first"
    return need.loaded
