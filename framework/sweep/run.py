"""A whole sweep: its trials planned, their bars loaded once, run, and kept in a journal."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from framework import __version__
from framework.app import load_plugins
from framework.config.load import LoadedConfig, load, read_text
from framework.engine.backtest import versions
from framework.errors import ConfigError, UsageError
from framework.model.sweep import Outcome, Sweep, Trial, Value, Window, best_of
from framework.plugin_manager import PluginManager
from framework.report.measures import MEASURES
from framework.report.sweep_files import JOURNAL, claim_sweep_folder
from framework.runs import Progress
from framework.sweep.axes import axes_of, combinations
from framework.sweep.cluster import run_cluster
from framework.sweep.journal import Journal
from framework.sweep.local import cores, run_local
from framework.sweep.needs import Needs
from framework.sweep.setup import WITHOUT, Setup, Task, prints
from framework.sweep.windows import span_of, windows_of

#: Figures that a best trial can have the most of.
OBJECTIVES = tuple(each.key for each in MEASURES if each.better == "high" and each.unit != "money")

#: What the dates of the trials are set by, and what makes a trial a backtest.
_NOT_VARIED = ("start", "end", "mode", "name", "database", "plugins", "plugin_dirs", "cache", "report")


@dataclass(frozen=True)
class Options:
    """How a config is swept.

    Attributes:
        params: ``KEY=VALUES`` texts.
        draw: how many trials to draw at random; ``None``: all.
        seed: of the draw.
        train, test: lengths of a walk forward's windows; ``None``: it does not walk.
        anchored: each training begins at the start of the run.
        objective: key of the figure that the best has the most of.
        workers: how many processes; ``None``: one for each core.
        cluster: address of a Dask scheduler; ``None``: this machine.
        out: folder for journal and results; ``None``: ``sweeps/<name>-<UTC time>``.
    """

    params: tuple[str, ...]
    draw: int | None = None
    seed: int = 0
    train: str | None = None
    test: str | None = None
    anchored: bool = False
    objective: str = "sharpe"
    workers: int | None = None
    cluster: str | None = None
    out: Path | None = None


@dataclass(frozen=True)
class SweepPlan:
    """What is to be run, before anything is.

    Attributes:
        setup: what all trials share.
        plugins: as loaded now.
        base: the config without the varied values.
        start, end: exchange dates of the config, included.
        combinations: of values, one of each axis.
        method: how they were chosen, in words.
        windows: of a walk forward.
    """

    setup: Setup
    plugins: PluginManager
    base: LoadedConfig
    start: date
    end: date
    combinations: tuple[tuple[Value, ...], ...]
    method: str
    windows: tuple[Window, ...]

    def trials(self) -> list[Trial]:
        """The trials that wait for no choice: all, or those of every training."""
        if not self.windows:
            return [Trial(values, self.start, self.end) for values in self.combinations]
        return [
            Trial(values, window.train_start, window.train_end, "train", window.number)
            for window in self.windows
            for values in self.combinations
        ]


def planned(path: Path, overrides: Sequence[str], options: Options) -> SweepPlan:
    """What a sweep would run.

    Raises:
        UsageError: the options make no sweep.
        ConfigError: the config is wrong whatever the values.
    """
    if options.objective not in OBJECTIVES:
        raise UsageError(f"--objective was {options.objective!r}; allowed: {', '.join(OBJECTIVES)}")
    if options.workers is not None and options.workers < 1:
        raise UsageError(f"--workers was {options.workers}; allowed: 1 or more")
    axes = axes_of(options.params)
    for axis in axes:
        if axis.key.split(".")[0] in _NOT_VARIED:
            raise UsageError(f"--param {axis.key}: this key is the same for all trials; set it with --set")
    chosen = combinations(axes, options.draw, options.seed)
    text = read_text(path)
    base = load(path, [*overrides, *WITHOUT], text=text)
    start, end = base.config.start, base.config.end
    assert start is not None, "a backtest has dates"
    assert end is not None, "a backtest has dates"
    windows = _windows(base, options, start, end)
    plugins = load_plugins(base)
    setup = Setup(str(path.resolve()), text, tuple(overrides), axes, prints(plugins), __version__)
    method = chosen.method
    if windows:
        how = "growing" if options.anchored else "rolling"
        method += f", walking forward over {len(windows)} windows ({how}, train {options.train}, test {options.test})"
    return SweepPlan(setup, plugins, base, start, end, chosen.values, method, windows)


def _windows(base: LoadedConfig, options: Options, start: date, end: date) -> tuple[Window, ...]:
    if options.train is None and options.test is None:
        if options.anchored:
            raise UsageError("--anchored is for walking forward; add --train and --test")
        return ()
    if options.train is None or options.test is None:
        raise UsageError("walking forward needs both --train and --test, such as --train 3y --test 1y")
    train, test = span_of("--train", options.train), span_of("--test", options.test)
    return windows_of(start, end, base.config.calendar, train, test, anchored=options.anchored)


def run_sweep(plan: SweepPlan, options: Options, progress: Progress) -> tuple[Sweep, Path]:
    """Run all trials that the folder's journal does not have.

    Args:
        plan: of :func:`planned`.
        options: the same.
        progress: is told how many trials are done.

    Returns:
        what came of all trials, and the folder.

    Raises:
        UsageError: the folder is of something else.
        ConfigError: the config is valid with none of the values.
        EngineError: see :mod:`framework.errors`.
        KeyboardInterrupt: says what was kept.
    """
    began, name = time.perf_counter(), plan.base.config.name
    folder = options.out or Path("sweeps") / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    work = _Work(plan, options, folder, progress)
    try:
        outcomes = work.run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(work.kept()) from None
    currencies = {portfolio.currency for portfolio in plan.base.config.portfolios}
    sweep = Sweep(
        name=name,
        axes=plan.setup.axes,
        method=plan.method,
        objective=options.objective,
        start=plan.start,
        end=plan.end,
        currency=currencies.pop() if len(currencies) == 1 else "",
        outcomes=outcomes,
        windows=plan.windows,
        seconds=time.perf_counter() - began,
        config=plan.base.resolved,
        versions=versions(),
        notes=tuple(work.needs.notes),
    )
    return sweep, folder


@dataclass
class _Work:
    """A sweep that is being run."""

    plan: SweepPlan
    options: Options
    folder: Path
    progress: Progress
    needs: Needs = field(init=False)
    done: dict[Trial, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.needs = Needs(self.plan.setup, self.plan.plugins)

    def run(self) -> tuple[Outcome, ...]:
        """The outcomes of all trials, in the order of the plan; those of tests last."""
        trials = self.plan.trials()
        refused = self._prepare(trials)
        if len(refused) == len(trials):
            first = next(iter(refused.values()))
            raise ConfigError(f"none of the {len(trials):,} trials can be run. The first one: {first.reason}")
        with closing(self._journal()) as journal:
            self._run(journal, trials)
            self.done |= refused
            tests = self._tests(trials)
            self.done |= self._prepare(tests)
            self._run(journal, tests)
        return tuple(self.done[trial] for trial in [*trials, *tests])

    def kept(self) -> str:
        """What is left of a sweep that is stopped."""
        return (
            f"{len(self.done):,} trials are kept in {self.folder}; the same command with --out {self.folder} goes on "
            "from there"
        )

    def _prepare(self, trials: Sequence[Trial]) -> dict[Trial, Outcome]:
        """Have the bars of these trials; those that are refused."""
        refused = {}
        for number, trial in enumerate(trials):
            self.progress("plan", number, len(trials))
            outcome = self.needs.add(trial)
            if outcome is not None:
                refused[trial] = outcome
        self.needs.load(self.progress)
        return refused

    def _journal(self) -> Journal:
        if not (self.folder / JOURNAL).exists():
            claim_sweep_folder(self.folder, has_windows=bool(self.plan.windows))
        setup = self.plan.setup
        return Journal(
            self.folder / JOURNAL,
            {
                "config": self.plan.base.resolved,
                "parameters": [[axis.key, list(axis.values)] for axis in setup.axes],
                "trials": [self.plan.method, _digest(self.plan.combinations)],
                "plugins": dict(setup.providers),
                "bars": self.needs.fingerprint(),
                "versions": versions(),
            },
        )

    def _run(self, journal: Journal, trials: Sequence[Trial]) -> None:
        """Run those of the trials that the journal does not have."""
        tasks = self.needs.tasks(trials)
        bars = {task.trial: task.bars for task in tasks}
        known = ((trial, journal.get(trial, of)) for trial, of in bars.items())
        self.done |= {trial: outcome for trial, outcome in known if outcome is not None}
        todo = [task for task in tasks if task.trial not in self.done]
        before = len(tasks) - len(todo)
        with closing(self._stream(todo)) as stream:
            for number, outcome in enumerate(stream, before + 1):
                journal.add(outcome, bars[outcome.trial])
                self.done[outcome.trial] = outcome
                self.progress("trials", number, len(tasks))

    def _stream(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        if self.options.cluster is not None:
            return run_cluster(self.plan.setup, tasks, self.options.cluster)
        return run_local(self.plan.setup, tasks, min(self.options.workers or cores(), max(1, len(tasks))))

    def _tests(self, trials: Sequence[Trial]) -> list[Trial]:
        """For each window, the best of its training on the time that follows."""
        found = []
        for window in self.plan.windows:
            trained = [self.done[trial] for trial in trials if trial.window == window.number]
            best = best_of(trained, self.options.objective)
            if best is not None:
                found.append(Trial(best.trial.values, window.test_start, window.test_end, "test", window.number))
        return found


def _digest(values: Sequence[tuple[Value, ...]]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]
