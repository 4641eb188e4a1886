"""Panels that were read before, as files to map: a second read of the same bars costs next to nothing.

A file is found by everything that its panel was made from: what was asked for, the splits and dividends, the code, and
for each ticker what ``market_data_version`` says, which triggers keep whoever changes a bar. So a file is never wrong;
one that nobody asks for any more is removed when room is needed.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from framework.data.adjust import Mode
from framework.data.fx import Conversion
from framework.data.panel_file import open_panel, write_panel
from framework.data.panels import LoadedPanel, panel_for
from framework.data.source import DataSource
from framework.db.market import read_corporate_actions, series_state
from framework.db.pool import Pool
from framework.db.transaction import transaction
from framework.errors import DataError

_SUFFIX = ".panel"
#: What makes panels of bars: a file made by other code is another file.
_CODE = ("framework.data", "framework.db", "framework.model")
_LIBRARIES = ("exchange-calendars", "numpy", "pandas", "tzdata")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PanelCache:
    """Files of panels in a folder.

    Attributes:
        folder: is made when the first file is kept; nothing else should lie in it.
        limit_bytes: of all files together; the longest unused go first. 0: nothing is kept.
        smallest_bytes: smaller panels are not kept: reading them takes milliseconds.
    """

    folder: Path
    limit_bytes: int
    smallest_bytes: int = 1 << 20

    def panel_for(
        self,
        pool: Pool,
        source: DataSource,
        tickers: Sequence[str],
        interval: str,
        calendar: str,
        mode: Mode,
        start: date,
        end: date,
        warmup_bars: int = 0,
        run_tickers: Sequence[str] = (),
        conversion: Conversion | None = None,
    ) -> LoadedPanel:
        """As :func:`panel_for`, from a file where the same panel was kept before."""
        span = (interval, calendar, mode, start, end, warmup_bars)
        asked: dict[str, Any] = {"run_tickers": run_tickers, "conversion": conversion}
        if not self.limit_bytes:
            return panel_for(pool, source, tickers, *span, **asked)

        def path() -> Path:
            told = (source.price_kind(), source.settle_of(interval), tuple(tickers), span, tuple(run_tickers))
            converted = None if conversion is None else _told(conversion)
            state = _state(pool, source.key(), interval, tickers, run_tickers, conversion)
            text = repr((told, converted, state, _makers()))
            return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}{_SUFFIX}"

        before = path()
        kept = self._opened(before)
        if kept is not None:
            return kept
        loaded = panel_for(pool, source, tickers, *span, **asked)
        if loaded.nbytes < self.smallest_bytes or path() != before:  # bars have changed while they were read
            return loaded
        return self._keep(before, loaded)

    def _opened(self, path: Path) -> LoadedPanel | None:
        try:
            found = open_panel(path)
        except FileNotFoundError:
            return None
        except (OSError, DataError) as error:
            _log.warning("a kept panel cannot be used, so it is read again: %s", error)
            return None
        with suppress(OSError):  # who may not write here can read all the same
            os.utime(path)
        _log.debug("panel mapped from %s", path)
        return found

    def _keep(self, path: Path, loaded: LoadedPanel) -> LoadedPanel:
        """The panel with its fingerprint taken, in a file if that can be written."""
        loaded = replace(loaded, known_fingerprint=loaded.fingerprint())
        if loaded.nbytes > self.limit_bytes:
            return loaded
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_panel(path, loaded)
            self._make_room(path)
            return open_panel(path)
        except OSError as error:
            _log.warning("a panel of %d MB is not kept: %s", loaded.nbytes >> 20, error)
            return loaded

    def _make_room(self, newest: Path) -> None:
        """Remove what was not used for longest until the rest fits; programs that have it mapped keep it."""
        there = {path: path.stat() for path in self.folder.glob(f"*{_SUFFIX}")}
        room = self.limit_bytes - sum(each.st_size for each in there.values())
        for path in sorted(there, key=lambda path: there[path].st_mtime_ns):
            if room < 0 and path != newest:
                path.unlink(missing_ok=True)
                room += there[path].st_size


def _state(
    pool: Pool,
    source: str,
    interval: str,
    tickers: Sequence[str],
    run_tickers: Sequence[str],
    conversion: Conversion | None,
) -> Any:
    """What changes when anything in the database changes that the panel is made from, of one moment."""
    every = [*tickers, *(() if conversion is None else conversion.fx_tickers)]
    with pool.connection() as connection, transaction(connection, read_only=True, isolation="repeatable read"):
        actions = read_corporate_actions(connection, source, [*tickers, *run_tickers])
        return source, series_state(connection, source, interval, every), actions


def _told(conversion: Conversion) -> Any:
    return (
        conversion.portfolio_id,
        conversion.currency,
        sorted(conversion.currencies.items()),
        sorted(conversion.pairs.items()),
    )


@cache
def _makers() -> tuple[str, ...]:
    """The code that makes panels, as a hash, and the libraries that it rests on."""
    digest = hashlib.sha256()
    for package in _CODE:
        for file in sorted(resources.files(package).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".py"):
                digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest(), *(f"{name} {_version(name)}" for name in _LIBRARIES)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # time zones may come from the system
        return "none"
