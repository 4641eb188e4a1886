"""Adjusting prices as traded for splits and dividends, when they are read.

A bar is scaled by every action whose ex-date lies after the bar's session and not after the panel's last bar, so
the newest bar of each ticker stays as traded and nothing beyond the panel is used. A split of ``r`` new shares per
old divides earlier prices by ``r`` and multiplies earlier volumes by ``r``. A dividend ``D`` multiplies earlier
prices by ``C / (C + D)``, where ``C`` is the close, as traded, of the first bar on or after the ex-date: the return
over the ex-date is then exactly ``(C + D) / previous close``, what a holder got. The factor is known as soon as that
bar is, and is one constant for all bars before it, so it never changes a ratio of prices that a strategy could see
earlier (docs/decisions/data-dividends.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from framework.errors import DataError
from framework.model.bars import CorporateAction
from framework.model.panel import Floats, Panel

Mode = Literal["all", "splits", "none"]
Dates = NDArray[np.datetime64]

MODES: tuple[Mode, ...] = ("all", "splits", "none")


def adjust(panel: Panel, actions: Sequence[CorporateAction], mode: Mode, session: Dates | None = None) -> Panel:
    """The panel with prices and volumes adjusted for ``actions``.

    Args:
        panel: as traded.
        actions: of any tickers, in any order; those of other tickers or dates outside the panel do nothing.
        mode: ``all`` splits and dividends; ``splits`` alone; ``none``: the panel itself.
        session: shape ``(T,)``, exchange date of each bar; by default the date of its timestamp (daily bars).

    Returns:
        ``panel`` itself where nothing changes; else a new one (one copy of the fields that change).

    Raises:
        DataError: an action's value is not positive.
    """
    wanted: dict[str, list[CorporateAction]] = {}
    for action in actions:
        if mode == "all" or (mode == "splits" and action.kind == "split"):
            wanted.setdefault(action.ticker, []).append(action)
    dates = panel.timestamps.astype("datetime64[D]") if session is None else session
    prices: dict[int, Floats] = {}
    volumes: dict[int, Floats] = {}
    for column, ticker in enumerate(panel.tickers):
        if ticker not in wanted:
            continue
        price, shares = factors(wanted[ticker], dates, panel.close[:, column])
        if (price != 1.0).any():
            prices[column] = price
        if (shares != 1.0).any():
            volumes[column] = shares
    changed: dict[str, Any] = {
        name: _scaled(getattr(panel, name), prices) for name in ("open", "high", "low", "close") if prices
    }
    if volumes:
        changed["volume"] = _scaled(panel.volume, volumes)
    return replace(panel, **changed) if changed else panel


def factors(actions: Sequence[CorporateAction], session: Dates, close: Floats) -> tuple[Floats, Floats]:
    """What each bar of one ticker is multiplied by.

    Args:
        actions: all of the one ticker, in any order.
        session: shape ``(T,)``, ``datetime64[D]``, rising: the bars' exchange dates.
        close: shape ``(T,)``, as traded; NaN where there is no bar.

    Returns:
        (price factors, volume factors), each of shape ``(T,)``; the rows from the last ex-date on are 1.

    Raises:
        DataError: an action's value is not positive.
    """
    price, shares = np.ones(len(session)), np.ones(len(session))
    bars = np.flatnonzero(~np.isnan(close))
    for action in actions:
        value = positive(action)
        at = int(np.searchsorted(session[bars], np.datetime64(action.ex_date, "D")))
        if at == len(bars):
            continue
        row = bars[at]
        if action.kind == "split":
            price[:row] /= value
            shares[:row] *= value
        else:
            price[:row] *= close[row] / (close[row] + value)
    return price, shares


def positive(action: CorporateAction) -> float:
    """The value of an action.

    Raises:
        DataError: it is not positive.
    """
    if not action.value.is_finite() or action.value <= 0:
        raise DataError(
            f"the {action.kind} of {action.ticker} on {action.ex_date} has the value {action.value}; "
            "it must be greater than 0. Correct this row of corporate_actions, or set is_ignored of it"
        )
    return float(action.value)


def _scaled(field: Floats, by_column: dict[int, Floats]) -> Floats:
    out = field.copy()
    for column, factor in by_column.items():
        out[:, column] *= factor
    return out
