"""Other futures: a simulation whose bars after a row are cut off, or are others. The bars up to there are the same.

What is changed is chosen so that a decision that knows of it is likely to be another one: what rises falls, what moves
a little moves a lot, what is traded no more, volumes are others.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from framework.engine.simulator import Simulation
from framework.model.panel import FIELDS, Floats, Panel, forward_fill

_PRICES = ("open", "high", "low", "close")
#: What becomes of a ticker: whether its moves from the last known close change their sign, a jump up besides (one over
#: it: down), and its volume: factors.
_TURNS, _RISES, _ENDS = (-1.0, 2.0, 8.0), (1.0, 2.0, 0.125), (np.nan, np.nan, np.nan)
#: Prices go no farther than to so many times the last known close, and one over that.
_FARTHEST = 20.0
#: By how much prices are shaken, as a part of themselves: more than rounding, and less than anything that is traded.
_SHAKEN = 1e-9


def cut_off(job: Simulation, row: int) -> Simulation:
    """No bars after the row, in memory of their own: a view would still lead to them."""
    return window(job, 0, row + 1)


def window(job: Simulation, start: int, stop: int) -> Simulation:
    """Rows ``start`` to ``stop`` (exclusive) alone, copied; they count from the first that did, if it is there."""
    alone = between(job, start, stop)
    return replace(alone, panel=copied(alone.panel), trade=copied(alone.trade))


def between(job: Simulation, start: int, stop: int) -> Simulation:
    """Rows ``start`` to ``stop`` (exclusive) as views."""
    panel = job.panel.rows(start, stop)
    return replace(
        job,
        panel=panel,
        trade=panel if job.trade is job.panel else job.trade.rows(start, stop),
        timeline=job.timeline.rows(start, stop),
        acting=job.acting.between(start, stop),
        first=max(0, job.first - start),
        rates=None if job.rates is None else job.rates.rows(start, stop),
    )


def copied(panel: Panel) -> Panel:
    """The panel in memory of its own."""
    return replace(panel, **{name: getattr(panel, name).copy() for name in FIELDS})


def turned(job: Simulation, row: int) -> Simulation:
    """After the row everything moves the other way, and farther."""
    return _changed(job, row, np.tile(_TURNS, (len(job.panel.tickers), 1)))


def mixed(job: Simulation, row: int, turn: int) -> Simulation:
    """After the row tickers rise, end, and move the other way, by turns: ``turn`` says which begins."""
    kinds = np.array([_RISES, _ENDS, _TURNS])
    return _changed(job, row, kinds[(np.arange(len(job.panel.tickers)) + turn) % len(kinds)])


def _changed(job: Simulation, row: int, kinds: Floats) -> Simulation:
    """``kinds``: shape ``(N, 3)``, one of the kinds above for each ticker."""
    panel, after = job.panel, slice(row + 1, None)
    sign, jump, shares = kinds.T
    opens, high, low, close = (getattr(panel, name)[after] for name in _PRICES)
    # A ticker without a bar so far moves away from its first one.
    base = forward_fill(np.vstack([close[::-1], panel.close[: row + 1]]))[-1]
    fields = {name: getattr(panel, name).copy() for name in FIELDS}
    with np.errstate(all="ignore"):
        moved = close / base
        far = moved * moved * moved
        far = np.where(sign < 0.0, np.where(moved < 1.0, jump, 1.0 / jump) / far, jump * far)
        new_close = base * np.clip(far, 1.0 / _FARTHEST, _FARTHEST)
        # Within a bar the other way, too.
        new_open = new_close * (close / opens)
        fields["open"][after], fields["close"][after] = new_open, new_close
        fields["high"][after] = np.maximum(new_open, new_close) * (high / np.maximum(opens, close))
        fields["low"][after] = np.minimum(new_open, new_close) * (low / np.minimum(opens, close))
        fields["volume"][after] *= shares
        changed = replace(panel, **fields)
        if job.trade is panel:
            return replace(job, panel=changed, trade=changed)
        # What is traded at moves as what is seen does.
        traded = {name: getattr(job.trade, name).copy() for name in FIELDS}
        for name in FIELDS:
            traded[name][after] *= fields[name][after] / getattr(panel, name)[after]
    return replace(job, panel=changed, trade=replace(job.trade, **traded))


def shaken(job: Simulation) -> Simulation:
    """All prices moved by next to nothing, the same at each call: what was decided by rounding is so no more."""
    factor = 1.0 + _SHAKEN * np.random.default_rng(7).standard_normal(job.panel.close.shape)

    def moved(panel: Panel) -> Panel:
        return replace(panel, **{name: getattr(panel, name) * factor for name in _PRICES})

    return replace(job, panel=moved(job.panel), trade=moved(job.trade))
