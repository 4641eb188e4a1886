"""The data source ``csv``: bars from CSV or Parquet files, a folder of them, or a glob."""

from __future__ import annotations

import difflib
import glob
import hashlib
import re
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from framework import Bars, ConfigError, DataSource, SourceError, hookimpl

from . import _tables

SUFFIXES = (".csv", ".csv.gz", ".parquet")

#: Files that are read in one batch hold no more than this together, so that memory stays bounded.
BATCH_BYTES = 64 * 1024 * 1024


class CsvFiles(DataSource):
    """Bars in files with the columns ``timestamp, ticker, open, high, low, close, volume``.

    Without a column ``ticker``, the file's name is the ticker. Daily bars have a date; intraday timestamps have an
    offset (``Z`` or ``-05:00``), or ``timezone`` says what they are in.
    """

    whole = True

    #: A file, a folder, or a glob; relative to the run config.
    path: str
    #: Names the source in the database (``csv:<name>``); by default made from the path.
    name: str | None = None
    #: Whether the files' prices are as traded, or already adjusted for splits and dividends.
    prices: Literal["traded", "adjusted"] = "traded"
    #: IANA time zone of timestamps without an offset, such as ``America/New_York``.
    timezone: str | None = None
    #: What tickers are in (``SAP: EUR``); those not named are in USD.
    currencies: dict[str, str] = {}  # noqa: RUF012  # the default of a parameter; each object gets its own

    def check(self) -> None:
        """Check ``name``, ``timezone`` and ``currencies``."""
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9_.-]{1,50}", self.name):
            raise ConfigError(
                f"data source csv: parameter 'name' was {self.name!r}; allowed are 1 to 50 letters, digits, and . _ -"
            )
        if self.timezone is not None and self.timezone not in zoneinfo.available_timezones():
            near = difflib.get_close_matches(self.timezone, zoneinfo.available_timezones(), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"data source csv: timezone {self.timezone!r} is unknown{hint}")
        for ticker, currency in self.currencies.items():
            if not re.fullmatch(r"[A-Z]{3}", currency):
                allowed = "three capital letters such as EUR are allowed"
                raise ConfigError(f"data source csv: the currency of {ticker} was {currency!r}; {allowed}")

    def key(self) -> str:
        """``csv:<name>``; without a name, one that differs for each path."""
        if self.name is not None:
            return f"csv:{self.name}"
        full = str(self._full_path)
        stem = re.sub(r"[^A-Za-z0-9_-]+", "", Path(full).name.split(".")[0])[:40] or "files"
        return f"csv:{stem}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"

    def price_kind(self) -> Literal["traded", "adjusted"]:
        """As the parameter ``prices`` says."""
        return self.prices

    def tickers(self) -> tuple[str, ...]:
        """Every ticker in the files; reads those that hold several."""
        found = set(self._files.named)
        for path in self._files.shared:
            found |= _tables.names(path)
        return tuple(sorted(found))

    def currency(self, ticker: str) -> str:
        """As the parameter ``currencies`` says.

        Raises:
            ConfigError: it names a ticker that no file has.
        """
        return self._currencies.get(ticker, "USD")

    def batches(self, tickers: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Files with several tickers are read once, so theirs come together; others by the size of their files."""
        if self._files.shared:
            return (tuple(tickers),)
        groups: list[list[str]] = []
        room = 0
        for ticker in tickers:
            size = sum(path.stat().st_size for path in self._files.of(ticker))
            if not groups or size > room:
                groups.append([])
                room = BATCH_BYTES
            groups[-1].append(ticker)
            room -= size
        return tuple(map(tuple, groups))

    def bars(self, tickers: Sequence[str], interval: str, start: date, end: date) -> Bars:
        """The bars of ``tickers``; of intraday ones also those of the days beside ``start`` and ``end``.

        Raises:
            SourceError: a file is missing or wrong (with line and column), or has no such ticker.
        """
        daily = interval == "1d"
        parts = [_tables.read(path, None, daily, self.timezone) for path in self._files.shared]
        for ticker in tickers:
            for path in self._files.named.get(ticker, ()):
                parts.append(_tables.read(path, ticker, daily, self.timezone))
        if not parts:
            raise self._unknown(tickers[0], self._files.named)
        bars = Bars.joined(parts)
        for ticker in tickers:
            if ticker not in bars.tickers:
                raise self._unknown(ticker, {*self._files.named, *bars.tickers})
        wanted = np.isin(bars.code, [bars.tickers.index(ticker) for ticker in tickers])
        return bars.take(wanted & _within(bars, start, end, timedelta(0) if daily else timedelta(days=1)))

    def content_hash(self, ticker: str, interval: str) -> str:
        """Hash of all files that may hold the ticker, and of how their timestamps are read."""
        whole = hashlib.sha256(repr(self.timezone).encode())
        for path in self._files.of(ticker):
            whole.update(self._digests[path])
        return whole.hexdigest()

    @cached_property
    def _full_path(self) -> Path:
        return (self.base_dir / Path(self.path).expanduser()).absolute()

    @cached_property
    def _files(self) -> _Files:
        named: dict[str, list[Path]] = {}
        shared: list[Path] = []
        for path in self._paths():
            if "ticker" in _tables.columns(path):
                shared.append(path)
            else:
                named.setdefault(_stem(path), []).append(path)
        return _Files(named, tuple(shared))

    @cached_property
    def _currencies(self) -> dict[str, str]:
        known = self.tickers() if self.currencies else ()
        for ticker in self.currencies:
            if ticker not in known:
                raise ConfigError(f"data source csv: currencies: {self._unknown(ticker, known)}")
        return self.currencies

    @cached_property
    def _digests(self) -> _Digests:
        return _Digests()

    def _paths(self) -> list[Path]:
        full = self._full_path
        if full.is_dir():
            found = [path for path in sorted(full.iterdir()) if _is_data(path)]
            if not found:
                raise SourceError(f"folder {full} has no file that ends with {', '.join(SUFFIXES)}")
            return found
        if full.is_file():
            return [full]
        if glob.has_magic(self.path):
            found = [Path(name) for name in sorted(glob.glob(str(full), recursive=True)) if _is_data(Path(name))]
            if not found:
                raise SourceError(f"no file matches {full} and ends with {', '.join(SUFFIXES)}")
            return found
        raise SourceError(f"data source csv: there is no file or folder {full}{_nearest_path(full)}")

    def _unknown(self, ticker: str, known: Sequence[str] | set[str] | dict[str, list[Path]]) -> SourceError:
        names = sorted(known)
        near = difflib.get_close_matches(ticker, names, n=3, cutoff=0.5) or [
            name for name in names if name.upper() == ticker.upper()
        ]
        hint = f"; did you mean {', '.join(map(repr, near))}?" if near else ""
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        return SourceError(f"{self._full_path} has no ticker {ticker!r}{hint} It has {shown or 'none'}")


@dataclass(frozen=True)
class _Files:
    """The files of a source: those of one ticker by its name, and those with a column ``ticker``."""

    named: dict[str, list[Path]]
    shared: tuple[Path, ...]

    def of(self, ticker: str) -> list[Path]:
        return [*self.named.get(ticker, ()), *self.shared]


class _Digests(dict[Path, bytes]):
    """Hash of each file, computed once."""

    def __missing__(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                self[path] = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error}") from error
        return self[path]


def _is_data(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file()


def _stem(path: Path) -> str:
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), path.suffix)
    return path.name[: len(path.name) - len(suffix)]


def _nearest_path(full: Path) -> str:
    folder = full.parent
    if not folder.is_dir():
        return f"; there is no folder {folder} either"
    near = difflib.get_close_matches(full.name, [path.name for path in folder.iterdir()], n=3)
    return f"; did you mean {', '.join(map(repr, near))}?" if near else ""


def _within(bars: Bars, start: date, end: date, margin: timedelta) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    days = bars.timestamps.astype("datetime64[D]")
    around = np.timedelta64(margin.days, "D")
    return (days >= np.datetime64(start, "D") - around) & (days <= np.datetime64(end, "D") + around)


@hookimpl
def register_data_sources() -> dict[str, type[DataSource]]:
    """The source ``csv``."""
    return {"csv": CsvFiles}
