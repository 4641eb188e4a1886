"""One trial, as a worker runs it: on bars that it maps, with plugins that it loaded itself."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from framework import __version__
from framework.app import load_plugins, open_database
from framework.config.model import Portfolio
from framework.data.panel_file import open_panel
from framework.data.panels import LoadedPanel
from framework.errors import ConfigError, DataError
from framework.model.result import RunResult
from framework.model.sweep import Outcome
from framework.plan import Plan
from framework.plugin_manager import PluginManager
from framework.report.account import Account
from framework.report.assemble import accounts
from framework.report.basis import basis_of
from framework.report.summary import finite, section
from framework.runs import panel_of, run_panels
from framework.sweep.setup import PanelRef, Setup, Task


def run_task(setup: Setup, task: Task) -> Outcome:
    """Run a trial in this process.

    Raises:
        EngineError: no trial could be run here: the plugins or the bars are not those of the sweep.
    """
    return _worker(setup).run(task)


class Worker:
    """Runs trials of one sweep, with what they share loaded once."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._plugins: PluginManager | None = None
        self._like: Plan | None = None
        self._panels: dict[tuple[str, str], LoadedPanel] = {}

    def run(self, task: Task) -> Outcome:
        """What comes of a trial; that it is not valid, or fails, is an outcome too.

        Raises:
            EngineError: the plugins or the bars are not those of the sweep.
        """
        began = time.perf_counter()
        try:
            loaded = self._setup.loaded(task.trial)
        except ConfigError as error:
            return Outcome(task.trial, "refused", str(error))
        if self._plugins is None:
            plugins = load_plugins(loaded)
            self._setup.check(plugins, __version__)
            self._plugins = plugins
        try:
            plan = self._like = Plan(loaded, self._plugins, self._like)
        except ConfigError as error:
            return Outcome(task.trial, "refused", str(error))
        panels = {ref.portfolio_id: self._panel(ref, plan) for ref in task.panels}

        def read(portfolio: Portfolio) -> LoadedPanel:
            return panels[portfolio.id].after_warmup(plan.warmup_bars(portfolio))

        try:
            result = run_panels(plan, read)
            account, figures = _figures(result)
        except Exception as error:  # noqa: BLE001  # plugins may raise anything; the other trials go on
            return Outcome(task.trial, "failed", _reason(error), seconds=time.perf_counter() - began)
        outcome = Outcome(task.trial, "done", "", figures, time.perf_counter() - began)
        if not task.keeps_returns:
            return outcome
        return replace(outcome, sessions=account.curve.sessions, returns=account.curve.returns)

    def _panel(self, ref: PanelRef, plan: Plan) -> LoadedPanel:
        key = (ref.file, ref.fingerprint)
        if key not in self._panels:
            self._panels[key] = _panel(ref, plan)
        return self._panels[key]


@lru_cache(maxsize=2)
def _worker(setup: Setup) -> Worker:
    return Worker(setup)


def _panel(ref: PanelRef, plan: Plan) -> LoadedPanel:
    """The bars that a task names: from the file, or, where that is not here, from the database.

    Raises:
        DataError: they are not the same bars, or cannot be had here.
    """
    try:
        found = open_panel(Path(ref.file))
    except (OSError, DataError):
        found = _read(ref, plan)
    if found.fingerprint() != ref.fingerprint:
        raise DataError(
            f"portfolio {ref.portfolio_id}: the bars have changed since the sweep began, so its trials would not be "
            "comparable; begin again"
        )
    return found


def _read(ref: PanelRef, plan: Plan) -> LoadedPanel:
    if plan.config.database.url == "embedded" and not Path(".engine").is_dir():
        raise DataError(
            f"portfolio {ref.portfolio_id}: this worker ({Path.cwd()}) has neither the file {ref.file} nor the "
            "embedded database that it was read from; workers on other machines need database.url, a server that all "
            "can reach"
        )
    portfolio = next(each for each in plan.config.portfolios if each.id == ref.portfolio_id)
    with open_database(plan.loaded) as database:
        return panel_of(plan, database.pool, portfolio, warmup_bars=ref.warmup_bars)


def _reason(error: Exception) -> str:
    return str(error) if type(error).__module__.startswith("framework.") else f"{type(error).__name__}: {error}"


def _figures(result: RunResult) -> tuple[Account, dict[str, float | None]]:
    """All portfolios together, and every number that ``summary.json`` would have of them."""
    made = accounts(result)
    found: dict[str, float | None] = {}
    for key, value in finite(section(made.total, made, basis_of(result))).items():
        inner = value.items() if isinstance(value, dict) else ()
        for name, each in [(key, value), *((f"{key}.{name}", each) for name, each in inner)]:
            if each is None or (isinstance(each, (int, float)) and not isinstance(each, bool)):
                found[name] = each
    return made.total, found
