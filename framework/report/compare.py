"""Runs side by side: figures and their differences, how they move together, and what differs in how they were made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framework.errors import UsageError
from framework.model.panel import Floats
from framework.model.result import Ints
from framework.report import metrics
from framework.report.measures import MEASURES, Measure
from framework.report.past_run import PastRun, read_past_run
from framework.report.words import day, listed, short

#: Called with the folder that is read next, how many are read, and how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in all runs: its dotted path, and each run's value; ``None``: it has none."""

    path: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Common:
    """The runs on the sessions that all of them have.

    Attributes:
        start, end: the first and last of them, ``datetime64[D]``.
        sessions: how many there are.
        figures: of each run there; the sessions that others lack are in the return to the next common one.
    """

    start: np.datetime64
    end: np.datetime64
    sessions: int
    figures: tuple[metrics.Figures, ...]

    def row(self, measure: Measure) -> tuple[float | None, ...]:
        """A figure of every run there; ``measure`` is one of ``measures.OF_RETURNS``."""
        return tuple(getattr(figures, measure.key) for figures in self.figures)


@dataclass(frozen=True, eq=False)
class Comparison:
    """``N`` runs, two at least; the first is what the others are measured against.

    Attributes:
        runs: as they were named.
        names: of the runs, distinct.
        common: the sessions that all have; ``None``: there are none.
        correlation: shape ``(N, N)``, of session returns on the sessions that two runs have in common; NaN: undefined.
        shared: shape ``(N, N)``, how many these are.
        years: ``datetime64[Y]``, shape ``(Y,)``, rising, and ``yearly``: returns, shape ``(Y, N)``, NaN where a run
            has no session in the year.
        settings: configs' keys whose values differ; of runs whose config is known.
        circumstances: what else differs: dates, data, versions, what was traded at.
        warnings: why the runs can hardly be compared, as sentences.
    """

    runs: tuple[PastRun, ...]
    names: tuple[str, ...]
    common: Common | None
    correlation: Floats
    shared: Ints
    years: NDArray[np.datetime64]
    yearly: Floats
    settings: tuple[Difference, ...]
    circumstances: tuple[Difference, ...]
    warnings: tuple[str, ...]

    @cached_property
    def is_same_span(self) -> bool:
        """Whether all runs have the same sessions."""
        return self.common is not None and all(len(run.curve.ends) == self.common.sessions for run in self.runs)

    @cached_property
    def is_same_money(self) -> bool:
        """Whether all began with the same money in one currency, and none came or went but in the same sum."""
        return len({(run.currency, run.curve.opening, float(np.sum(run.curve.flows))) for run in self.runs}) == 1

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """Those that any of the runs has; some are left out where all have 0."""
        nothing = (None, 0.0)
        return tuple(
            each
            for each in MEASURES
            if any(value not in (nothing if each.is_rare else (None,)) for value in self.row(each))
        )

    @property
    def has_best(self) -> bool:
        """Whether there is anything that a run is best in."""
        return any(self.best(each) for each in self.measures)

    def row(self, measure: Measure) -> tuple[float | None, ...]:
        """A figure of every run; ``None``: undefined, or not in its summary."""
        return tuple(run.figures.get(measure.key) for run in self.runs)

    def against_first(self, measure: Measure) -> tuple[float | None, ...]:
        """How much more than the first run every run has; ``None``: one of the two is undefined, or other money."""
        first, *others = self.row(measure)
        other_money = [measure.is_money and run.currency != self.runs[0].currency for run in self.runs[1:]]
        gaps = (
            None if first is None or value is None or foreign else value - first
            for value, foreign in zip(others, other_money, strict=True)
        )
        return (None if first is None else 0.0, *gaps)

    def best(self, measure: Measure) -> tuple[int, ...]:
        """Which runs have the best value; none where it depends on sessions or money that the runs do not share."""
        comparable = (self.is_same_span or not measure.grows) and (self.is_same_money or not measure.is_money)
        return measure.best(self.row(measure)) if comparable else ()


def compare(folders: Sequence[Path], progress: Progress | None = None) -> Comparison:
    """Read the folders of runs and compare their totals.

    Raises:
        UsageError: there are fewer than two, one is named twice, or one is no backtest's.
        EngineError: a file cannot be read, is cut off, or does not belong to its summary.
    """
    if len(folders) < 2:
        raise UsageError(
            f"{len(folders) or 'no'} run folder{'' if len(folders) == 1 else 's'} given; --compare takes two or more, "
            "such as `engine report --compare runs/a runs/b`"
        )
    for number, folder in enumerate(folders):
        if folder.resolve() in [former.resolve() for former in folders[:number]]:
            raise UsageError(f"{str(folder)!r} is given twice; a run is compared with others only")
    runs: list[PastRun] = []
    for folder in folders:
        if progress is not None:
            progress(str(folder), len(runs), len(folders))
        runs.append(read_past_run(folder))
    return compared(runs)


def compared(runs: Sequence[PastRun]) -> Comparison:
    """Compare runs of distinct folders."""
    names = distinct_names(runs)
    correlation, shared = _correlations(runs)
    years, yearly = _yearly(runs)
    common = _common(runs)
    return Comparison(
        runs=tuple(runs),
        names=names,
        common=common,
        correlation=correlation,
        shared=shared,
        years=years,
        yearly=yearly,
        settings=differences([run.config or None for run in runs]),
        circumstances=differences([_circumstances(run) for run in runs]),
        warnings=tuple(_warnings(runs, names, common)),
    )


def distinct_names(runs: Sequence[PastRun]) -> tuple[str, ...]:
    """A name for each run: of the config, or of the folder, or the folder as it was named, the first that tells all."""
    choices = (
        [run.title for run in runs],
        [run.folder.resolve().name for run in runs],
        [str(run.folder) for run in runs],
    )
    return tuple(next(names for names in choices if len(set(names)) == len(runs)))


# Returns on common sessions.


def _common(runs: Sequence[PastRun]) -> Common | None:
    sessions = runs[0].curve.sessions
    for run in runs[1:]:
        sessions = np.intersect1d(sessions, run.curve.sessions)
    if len(sessions) == 0:
        return None
    per_year = metrics.sessions_per_year(sessions)
    figures = tuple(metrics.figures(returns_between(run, sessions), per_year) for run in runs)
    return Common(sessions[0], sessions[-1], len(sessions), figures)


def returns_between(run: PastRun, sessions: NDArray[np.datetime64]) -> Floats:
    """A run's returns from each of ``sessions`` to the next, shape ``(S,)``; the first is that session's own.

    ``sessions``, rising, one at least, are some of the run's. What it made on others goes into the next return.
    """
    rows = np.searchsorted(run.curve.sessions, sessions)
    starts = np.concatenate((rows[:1], rows[:-1] + 1))
    returns: Floats = np.multiply.reduceat(1.0 + run.curve.returns[: rows[-1] + 1], starts) - 1.0
    return returns


def _correlations(runs: Sequence[PastRun]) -> tuple[Floats, Ints]:
    related, shared = np.full((len(runs), len(runs)), np.nan), np.zeros((len(runs), len(runs)), dtype=np.int64)
    np.fill_diagonal(related, 1.0)
    np.fill_diagonal(shared, [len(run.curve.ends) for run in runs])
    for (i, one), (j, other) in combinations(enumerate(runs), 2):
        sessions = np.intersect1d(one.curve.sessions, other.curve.sessions)
        shared[i, j] = shared[j, i] = len(sessions)
        if len(sessions) > 1:
            pair = np.stack([returns_between(one, sessions), returns_between(other, sessions)], axis=1)
            related[i, j] = related[j, i] = metrics.correlation(pair)[0, 1]
    return related, shared


def _yearly(runs: Sequence[PastRun]) -> tuple[NDArray[np.datetime64], Floats]:
    each = [metrics.compounded(run.months, run.monthly, "Y") for run in runs]
    years = np.unique(np.concatenate([own for own, _ in each]))
    table = np.full((len(years), len(runs)), np.nan)
    for column, (own, returns) in enumerate(each):
        table[np.searchsorted(years, own), column] = returns
    return years, table


# What differs.


def differences(documents: Sequence[dict[str, Any] | None]) -> tuple[Difference, ...]:
    """Dotted paths whose values are not the same in all documents that are known (not ``None``), in their order.

    Lists of plain values are one value; ``null`` and what is empty are the same as nothing at all.
    """
    flat = [None if document is None else dict(_flat(document, "")) for document in documents]
    known = [each for each in flat if each is not None]
    paths = dict.fromkeys(path for each in known for path in each)
    return tuple(
        Difference(path, tuple(None if each is None else each.get(path) for each in flat))
        for path in paths
        if any(not _is_same(each.get(path), known[0].get(path)) for each in known[1:])
    )


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        value = dict(enumerate(value))
    if not isinstance(value, dict) or not value:
        yield path, None if value in ([], {}) else value
        return
    for key, item in value.items():
        yield from _flat(item, f"{path}.{key}" if path else str(key))


def _is_same(one: Any, other: Any) -> bool:
    """Equal, and not because Python takes ``true`` for 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _circumstances(run: PastRun) -> dict[str, Any]:
    words = {name: getattr(run, name) or None for name in ("currency", "fingerprint", "prices", "fill", "costs")}
    dates = {"first_session": str(run.start), "last_session": str(run.end)}
    return {**dates, **words, "versions": dict(run.versions) or None}


# Warnings.


def _warnings(runs: Sequence[PastRun], names: Sequence[str], common: Common | None) -> Iterator[str]:
    yield from _spans(runs, names, common)
    if values := _several(runs, names, lambda run: run.currency):
        yield f"Money is in different currencies ({values}): amounts, and returns in them, are not of one kind."
    if len({run.fingerprint for run in runs} - {""}) > 1:
        yield "The bars differ (their fingerprints do): other tickers, dates or lookback, or data that has changed."
    if values := _several(runs, names, lambda run: run.prices.removeprefix("as ").partition(";")[0]):
        yield f"Trades were at prices of different kinds ({values})."
    if values := _several(runs, names, lambda run: short(run.per_year)):
        yield f"A year has different numbers of sessions ({values}), by which figures are annualised."
    if values := _several(runs, names, lambda run: str(run.config.get("interval") or "")):
        yield f"Bars are of different length ({values}); figures are of sessions all the same."
    if values := _several(runs, names, lambda run: run.versions.get("portfolio-engine", "")):
        yield f"They were made by different versions of portfolio-engine ({values})."
    unknown = [name for name, run in zip(names, runs, strict=True) if not run.config]
    if unknown:
        yield f"The config of {listed(unknown)} is not in its summary, so what differs in it is not known."
    for name, run in zip(names, runs, strict=True):
        if run.figures.get("sessions") not in (None, len(run.curve.ends)):
            yield (
                f"The sessions of {name} could not be told by its calendar: days in UTC stand for them in correlations "
                "and common sessions."
            )


def _spans(runs: Sequence[PastRun], names: Sequence[str], common: Common | None) -> Iterator[str]:
    spans = _several(runs, names, lambda run: f"{day(run.start)} to {day(run.end)}")
    if common is None:
        yield f"The runs have no session in common ({spans or 'other days'}): none of it was measured at the same time."
    elif spans:
        yield (
            f"The runs are of different periods ({spans}). Figures are of each run's own; the {common.sessions:,} "
            f"common sessions, {day(common.start)} to {day(common.end)}, have figures of their own."
        )
    elif counts := _several(runs, names, lambda run: f"{len(run.curve.ends):,}"):
        yield f"The runs have different sessions ({counts}); {common.sessions:,} are common to all."
    elif len(runs[0].curve.ends) > common.sessions:
        yield f"The runs have different sessions; {common.sessions:,} are common to all."


def _several(runs: Sequence[PastRun], names: Sequence[str], value: Callable[[PastRun], str]) -> str:
    """``a and b: USD; c: EUR``; empty where all that is known is the same."""
    whose: dict[str, list[str]] = {}
    for name, run in zip(names, runs, strict=True):
        if known := value(run):
            whose.setdefault(known, []).append(name)
    return "; ".join(f"{listed(those)}: {known}" for known, those in whose.items()) if len(whose) > 1 else ""
