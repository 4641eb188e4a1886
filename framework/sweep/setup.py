"""What all trials of a sweep share, and what a worker must have to run one: everything travels in these values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from framework.config.load import ConfigText, LoadedConfig
from framework.errors import ConfigError, PluginError
from framework.model.sweep import Axis, Trial
from framework.plugin_manager import PluginManager
from framework.sweep.axes import overrides_of


@dataclass(frozen=True)
class Setup:
    """What is run.

    Attributes:
        path: the config's file, which relative paths start from.
        text: what it held when the sweep began; the file may change while it runs.
        overrides: ``--set`` of all trials.
        axes: what varies.
        providers: name and hash of all files that plugins were loaded from.
        version: of this package.
    """

    path: str
    text: str
    overrides: tuple[str, ...]
    axes: tuple[Axis, ...]
    providers: tuple[tuple[str, str], ...]
    version: str

    def loaded(self, trial: Trial) -> LoadedConfig:
        """The config of a trial.

        Raises:
            ConfigError: it is not valid with these values.
        """
        dates = [f"start={trial.start}", f"end={trial.end}"]
        return _read(self).loaded([*dates, *overrides_of(self.axes, trial.values)])

    def told(self, error: ConfigError) -> str:
        """Why a trial is refused; the config by its name, as its folder is nobody's business."""
        return str(error).replace(self.path, Path(self.path).name)

    def check(self, manager: PluginManager, version: str) -> None:
        """Refuse other code than that of the program that began the sweep: its results would not be comparable.

        Raises:
            PluginError: a file of a plugin is missing here or another one, or the package is.
        """
        if version != self.version:
            raise PluginError(
                f"this worker has version {version} of portfolio-engine, the sweep was begun with {self.version}; "
                "install the same one everywhere"
            )
        here = dict(prints(manager))
        for name, digest in self.providers:
            if here.get(name) != digest:
                how = "is not here" if name not in here else "has changed since the sweep began, or is another version"
                raise PluginError(
                    f"plugin {name} {how}, so a worker of the sweep refuses to go on; have the same files everywhere, "
                    "and begin again"
                )


@lru_cache(maxsize=2)
def _read(setup: Setup) -> ConfigText:
    return ConfigText(setup.path, [*setup.overrides, *WITHOUT], text=setup.text)


#: A trial has no report, and so no benchmark.
WITHOUT = ("mode=backtest", "report.benchmark=null")


@dataclass(frozen=True)
class PanelRef:
    """Where a worker finds the bars of a portfolio.

    Attributes:
        portfolio_id: whose.
        file: to map; empty: there is none.
        fingerprint: of the bars in it.
        warmup_bars: rows before the start that the file has, at most.
    """

    portfolio_id: str
    file: str
    fingerprint: str
    warmup_bars: int


@dataclass(frozen=True)
class Task:
    """A trial as it travels: what to run, on which bars, and whether its returns are wanted."""

    trial: Trial
    panels: tuple[PanelRef, ...]
    keeps_returns: bool = False

    @property
    def bars(self) -> str:
        """A hash of the bars that it runs on."""
        return hashlib.sha256(" ".join(ref.fingerprint for ref in self.panels).encode()).hexdigest()[:16]


def prints(manager: PluginManager) -> tuple[tuple[str, str], ...]:
    """Name and hash of every file that offers a plugin, in order of their names."""
    files = {(item.provider, item.path) for item in manager.listing() if item.path is not None}
    found = [(f"{provider} ({path.name})", _digest(path)) for provider, path in files]
    return tuple(sorted(found))


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise PluginError(f"the plugin file {path} cannot be read: {error.strerror}") from error
