"""What a run's folder says of its total: the figures, the curve, the months, and what it was made with."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from framework.data.calendars import STEPS, timeline
from framework.errors import EngineError, UsageError
from framework.model.panel import Floats, Times
from framework.report import metrics
from framework.report.account import Curve
from framework.report.reading import read_document
from framework.report.write import SUMMARY

if TYPE_CHECKING:
    import pandas as pd

EQUITY, MONTHS = "equity.csv", "returns_monthly.csv"

_MONEY = ("equity", "cash", "gross", "net")


@dataclass(frozen=True, eq=False)
class PastRun:
    """A run, or a report of live books, that was read from its folder; everything is of its total.

    Attributes:
        folder: as it was named.
        title: the run's name in its config, or the folder's.
        strategy: of its portfolios.
        currency: of all money; empty: not known.
        start, end: ``datetime64[D]``, first and last session.
        figures: every number of the section ``total`` in ``summary.json`` by its key; ``None``: undefined.
        curve: value over time.
        months: ``datetime64[M]``, shape ``(P,)``, rising, and ``monthly``: their returns, fractions.
        fingerprint: of the bars; ``prices``, ``fill``, ``costs``: what was traded at, in words; empty: not known.
        versions: of what computed, by name.
        config: as resolved; empty: not known.
    """

    folder: Path
    title: str
    strategy: str
    currency: str
    start: np.datetime64
    end: np.datetime64
    figures: dict[str, float | None]
    curve: Curve
    months: NDArray[np.datetime64]
    monthly: Floats
    fingerprint: str
    prices: str
    fill: str
    costs: str
    versions: dict[str, str]
    config: dict[str, Any]

    @cached_property
    def growth(self) -> Floats:
        """What one unit of capital became at each bar, shape ``(T,)``."""
        curve = self.curve
        return metrics.return_index(metrics.period_returns(curve.equity, curve.opening, curve.flows))

    @property
    def per_year(self) -> float:
        """Sessions a year that its figures are annualised with."""
        return self.figures.get("sessions_per_year") or self.curve.sessions_per_year

    @cached_property
    def is_daily(self) -> bool:
        """Whether each session has one bar."""
        return len(self.curve) == len(self.curve.ends)


def read_past_run(folder: Path) -> PastRun:
    """Read ``summary.json``, ``equity.csv`` and ``returns_monthly.csv`` of a backtest's folder, or of a live report's.

    Raises:
        UsageError: no finished backtest left the folder, or a file of it is missing.
        EngineError: a file cannot be read, is cut off, or does not belong to the summary.
    """
    numbers = read_document(folder)
    total = numbers.get("total")
    if not isinstance(total, dict):
        raise UsageError(
            f"{str(folder / SUMMARY)!r} has no section `total`, so no run left it; compare folders of `engine run` and "
            "`engine report --portfolio ID --out DIR`"
        )
    config, versions = _section(numbers, "config"), _section(numbers, "versions")
    figures = {key: _figure(value) for key, value in total.items() if _is_figure(value)}
    start, end = (_date(folder, total, name) for name in ("start", "end"))
    curve = _read_curve(folder, figures, config)
    months, monthly = _read_months(folder, start, end)
    return PastRun(
        folder=folder,
        title=_word(numbers, "name") or folder.resolve().name,
        strategy=_word(total, "strategy"),
        currency=_word(total, "currency"),
        start=start,
        end=end,
        figures=figures,
        curve=curve,
        months=months,
        monthly=monthly,
        fingerprint=_word(numbers, "fingerprint"),
        # Beside the total, the report of live books has its costs in money.
        **{name: _word(total, name) or _word(numbers, name) for name in ("prices", "fill", "costs")},
        versions={name: str(version) for name, version in versions.items()},
        config=config,
    )


def _section(numbers: dict[str, Any], name: str) -> dict[str, Any]:
    found = numbers.get(name)
    return found if isinstance(found, dict) else {}


def _word(numbers: dict[str, Any], name: str) -> str:
    found = numbers.get(name)
    return found if isinstance(found, str) else ""


def _is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _figure(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _date(folder: Path, total: dict[str, Any], name: str) -> np.datetime64:
    text = _word(total, name)
    try:
        return np.datetime64(date.fromisoformat(text), "D")
    except ValueError:
        raise EngineError(
            f"{str(folder / SUMMARY)!r}: total.{name} was {total.get(name)!r}; allowed: a date written YYYY-MM-DD. Run "
            "the backtest again"
        ) from None


def _read_curve(folder: Path, figures: dict[str, float | None], config: dict[str, Any]) -> Curve:
    path = folder / EQUITY
    frame = _read_table(path, "timestamp", _MONEY, optional=("flow",))
    times = _times(path, frame["timestamp"])
    bars, opening = figures.get("bars", len(frame)), figures.get("initial_equity")
    if bars != len(frame):
        raise EngineError(
            f"{str(path)!r} has {len(frame):,} rows, and {SUMMARY} beside it counts {bars:,.0f} bars: one of the two "
            "is cut off or of another run. Run the backtest again"
        )
    if opening is None:
        raise EngineError(
            f"{str(folder / SUMMARY)!r} does not say total.initial_equity, which the first return is measured on; run "
            "the backtest again"
        )
    equity, cash, gross, net = (frame[name].to_numpy(dtype=np.float64) for name in _MONEY)
    flows = frame["flow"].to_numpy(dtype=np.float64) if "flow" in frame else np.zeros(len(frame))
    return Curve(opening, times, _sessions(times, config), equity, cash, gross, net, flows, times[0], times)


def _sessions(times: Times, config: dict[str, Any]) -> NDArray[np.datetime64]:
    """The exchange date of each bar: by the run's calendar, or, where that is not known, the date in UTC."""
    dates = times.astype("datetime64[D]")
    calendar, interval = config.get("calendar"), config.get("interval")
    if (dates == times).all() or not isinstance(calendar, str) or interval not in STEPS:
        return dates
    try:
        return timeline(calendar, interval, times).session
    except EngineError:  # a calendar that this version does not have
        return dates


def _read_months(folder: Path, start: np.datetime64, end: np.datetime64) -> tuple[NDArray[np.datetime64], Floats]:
    path = folder / MONTHS
    frame = _read_table(path, "month", ("return",))
    months = _times(path, frame["month"]).astype("datetime64[M]")
    span = [when.astype("datetime64[M]") for when in (start, end)]
    if [months[0], months[-1]] != span:
        raise EngineError(
            f"{str(path)!r} goes from {months[0]} to {months[-1]}, and {SUMMARY} beside it from {span[0]} to "
            f"{span[1]}: one of the two is cut off or of another run. Run the backtest again"
        )
    return months, frame["return"].to_numpy(dtype=np.float64)


def _times(path: Path, texts: pd.Series[str]) -> Times:
    """Strictly rising times, ``datetime64[us]`` UTC."""
    import pandas as pd

    try:
        times: Times = pd.to_datetime(texts, utc=True, format="ISO8601").dt.tz_localize(None).to_numpy("datetime64[us]")
    except ValueError as error:
        raise _unreadable(path, error) from error
    if np.isnat(times).any() or not (np.diff(times) > np.timedelta64(0, "us")).all():
        raise EngineError(f"the times in {str(path)!r} do not rise from row to row; run the backtest again")
    return times


def _read_table(path: Path, key: str, numbers: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """The columns of a CSV file: ``key`` as text, the others as numbers; an empty cell is NaN."""
    import pandas as pd

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(
            f"{str(path.parent)!r} holds no {path.name}, which every backtest leaves; run the backtest again"
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from error
    if not content.endswith(b"\n"):  # also that of a file which is empty
        raise EngineError(f"{str(path)!r} is cut off: it ends in the middle of a row. Run the backtest again")
    names = (key, *numbers, *optional)
    kinds: dict[Any, Any] = dict.fromkeys(names, np.float64) | {key: str}
    try:
        frame = pd.read_csv(io.BytesIO(content), usecols=lambda name: name in names, dtype=kinds)
    except ValueError as error:
        raise _unreadable(path, error) from error
    missing = [name for name in (key, *numbers) if name not in frame]
    if missing:
        raise EngineError(f"{str(path)!r} has no column {missing[0]!r}; run the backtest again with this version")
    if frame.empty:
        raise EngineError(f"{str(path)!r} has no rows, so there is nothing to compare; run the backtest again")
    return frame


def _unreadable(path: Path, error: Exception) -> EngineError:
    return EngineError(f"{str(path)!r} cannot be read ({error}); run the backtest again")
