"""``report.html`` of a sweep: one page that holds everything, opens offline, and looks as a tear sheet.

Words and tables are rendered here; ``templates/sweep.js`` chooses what the charts show, and draws it, from packed data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from framework.model.panel import Floats
from framework.model.sweep import Axis, Value
from framework.report import metrics
from framework.report.measures import OF_RETURNS, Measure
from framework.report.page import render_page
from framework.report.summary import finite
from framework.report.sweep_findings import SHARPE, Findings, Group, Lost, OutOfSample, Step
from framework.report.sweep_words import (
    axis_names,
    chance,
    lead,
    measure_of,
    measures,
    paragraphs,
    value_text,
    values_text,
)
from framework.report.words import NOTHING, day, number, span

#: Most trials in the table, and most reasons why trials have no figures.
TRIALS_LISTED, REASONS_LISTED = 50, 20

#: Most values of an axis that are listed one by one.
VALUES_LISTED = 40

#: How plotly writes numbers of a unit.
_FORMATS = {"percent": ".1%", "number": ".2f", "times": ".1f", "count": ",.0f", "money": ",.0f"}

#: Figures that are good above zero and bad below it.
_SIGNED = ("total_return", "cagr", "money_weighted_return", "sharpe", "sortino", "calmar", "max_drawdown")


def render(found: Findings) -> str:
    """The page's text. All that comes from configs or data is escaped."""
    sweep, shown = found.sweep, measures(found.sweep)
    names = axis_names(sweep.axes)
    return render_page(
        "sweep.html.j2",
        finite(_charts(found, shown)),
        kind="Walk forward" if found.steps else "Sweep",
        name=sweep.name,
        facts=_facts(found),
        lead=" ".join(lead(found)),
        words=paragraphs(found),
        figures=_figures(found, shown),
        objective=measure_of(sweep.objective).title,
        axes=[
            {"name": name, "key": axis.key, "values": _texts(axis)}
            for name, axis in zip(names, sweep.axes, strict=True)
        ],
        measures=shown,
        groups=[group.title for group in found.groups],
        ranking=_ranking(found, shown),
        steps=[_step(found, step) for step in found.steps],
        tests=found.tests is not None,
        lost=[_lost(sweep.axes, each) for each in found.lost[:REASONS_LISTED]],
        lost_more=max(0, len(found.lost) - REASONS_LISTED),
        basis=_basis(found, names),
        notes=sweep.notes,
        config=json.dumps(finite(dict(sweep.config)), indent=2, ensure_ascii=False) if sweep.config else "",
    )


def _facts(found: Findings) -> list[str]:
    """What stands below the title."""
    sweep = found.sweep
    facts = [span(sweep.start, sweep.end), f"{len(sweep.outcomes):,} trial{'' if len(sweep.outcomes) == 1 else 's'}"]
    if found.steps:
        facts.append(f"{len(found.steps):,} window{'' if len(found.steps) == 1 else 's'}")
    return [*facts, sweep.method, *([sweep.currency] if sweep.currency else [])]


def _figures(found: Findings, shown: Sequence[Measure]) -> list[dict[str, str]]:
    """Key figures: of the tests, one after the other, or of the best trial."""
    if found.tests is not None:
        own = found.tests.figures
        probability = {"name": "True Sharpe above 0", "value": chance(found.tests.probability)}
        return [{"name": each.title, "value": each.text(getattr(own, each.key))} for each in OF_RETURNS] + [probability]
    best = None if found.steps else found.main.best
    if best is None:
        return []
    listed = [{"name": each.title, "value": each.text(best.figures.get(each.key))} for each in shown]
    if luck := found.main.luck:
        listed.insert(1, {"name": "True Sharpe above 0", "value": chance(luck.probability)})
    return listed


def _ranking(found: Findings, shown: Sequence[Measure]) -> list[dict[str, Any]]:
    """Rows of the table of the best: texts, and what they are sorted by."""
    best = found.main.ranked[:TRIALS_LISTED]
    return [
        {
            "place": place,
            "values": [{"text": value_text(value), "sort": _sortable(value)} for value in standing.values],
            "figures": [{"text": each.text(v), "sort": v} for each in shown for v in [standing.figures.get(each.key)]],
            "windows": standing.windows,
        }
        for place, standing in enumerate(best, 1)
    ]


def _sortable(value: Value) -> float | None:
    """A number where it is one; texts are sorted as texts."""
    return None if isinstance(value, str | bool) or value is None else float(value)


def _step(found: Findings, step: Step) -> dict[str, Any]:
    window, measure = step.window, measure_of(found.sweep.objective)
    values = [""] * len(found.sweep.axes) if step.values is None else [value_text(value) for value in step.values]
    failed = step.tested is not None and step.tested.status != "done"
    return {
        "number": window.number,
        "train": span(window.train_start, window.train_end),
        "test": span(window.test_start, window.test_end),
        "values": values,
        "before": measure.text(step.train(measure.key)),
        "after": step.tested.status if step.tested is not None and failed else measure.text(step.test(measure.key)),
    }


def _lost(axes: Sequence[Axis], each: Lost) -> dict[str, str]:
    return {
        "count": f"{each.count:,}",
        "status": each.status,
        "reason": each.reason,
        "values": values_text(axes, each.values),
    }


def _basis(found: Findings, names: Sequence[str]) -> list[dict[str, Any]]:
    sweep = found.sweep
    rows = [{"title": "Method", "text": sweep.method, "code": False}]
    for name, axis in zip(names, sweep.axes, strict=True):
        texts = _texts(axis)
        more = f" … ({len(texts):,} in all)" if len(texts) > VALUES_LISTED else ""
        key = "" if axis.key == name else f"{axis.key}: "
        rows.append({"title": name, "text": f"{key}{', '.join(texts[:VALUES_LISTED])}{more}", "code": True})
    versions = ", ".join(f"{library} {version}" for library, version in sweep.versions.items())
    rows.append({"title": "Versions", "text": versions or NOTHING, "code": False})
    rows.append({"title": "Took", "text": _duration(sweep.seconds), "code": False})
    return rows


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{number(seconds, 0 if seconds >= 10 else 1)} seconds"
    return f"{number(seconds / 60, 0)} minutes" if seconds < 7200 else f"{number(seconds / 3600, 1)} hours"


def _texts(axis: Axis) -> list[str]:
    return [value_text(value) for value in axis.values]


# Charts.


def _charts(found: Findings, shown: Sequence[Measure]) -> dict[str, Any]:
    """What the page's script draws: axes, figures, and of each group of trials both, column by column."""
    axes = found.sweep.axes
    places = [_places(found, i) for i in range(len(axes))]
    return {
        "axes": [_axis(name, place) for name, place in zip(axis_names(axes), places, strict=True)],
        "figures": [_figure(each) for each in shown],
        "groups": [_group(group, places, shown) for group in found.groups],
        "steps": _step_chart(found),
        "tests": None if found.tests is None else _test_chart(found.tests),
    }


def _figure(measure: Measure) -> dict[str, Any]:
    return {
        "title": measure.title,
        "format": _FORMATS[measure.unit],
        "signed": measure.key in _SIGNED,
        "sharpe": measure.key == SHARPE,
    }


def _places(found: Findings, number: int) -> dict[str, Value]:
    """The values of an axis by their text: its own, in their order, and any other that a trial has."""
    tried = [standing.values[number] for group in found.groups for standing in group.standings]
    return {value_text(value): value for value in (*found.sweep.axes[number].values, *tried)}


def _axis(name: str, places: Mapping[str, Value]) -> dict[str, Any]:
    numbers = [_sortable(value) for value in places.values()]
    return {"name": name, "labels": list(places), "numbers": None if None in numbers else numbers}


def _group(group: Group, places: Sequence[Mapping[str, Value]], shown: Sequence[Measure]) -> dict[str, Any]:
    best = group.best
    return {
        "codes": [_codes(own, [each.values[i] for each in group.standings]) for i, own in enumerate(places)],
        "figures": [[_rounded(each.figures.get(measure.key)) for each in group.standings] for measure in shown],
        "best": None if best is None else group.standings.index(best),
        "expected": None if group.luck is None or group.luck.trials < 2 else _rounded(group.luck.expected),
    }


def _codes(places: Mapping[str, Value], values: Sequence[Value]) -> list[int]:
    """Where each value stands among those of its axis."""
    numbers = {text: number for number, text in enumerate(places)}
    return [numbers[value_text(value)] for value in values]


def _step_chart(found: Findings) -> dict[str, Any]:
    key = found.sweep.objective
    return {
        "test": [_day(step.window.test_start) for step in found.steps],
        "before": [_rounded(step.train(key)) for step in found.steps],
        "after": [_rounded(step.test(key)) for step in found.steps],
    }


def _test_chart(tests: OutOfSample) -> dict[str, Any]:
    begins = np.flatnonzero(np.diff(tests.window, prepend=-1))
    return {
        "time": np.datetime_as_string(tests.sessions).tolist(),
        "growth": _series(tests.index),
        "drawdown": _series(metrics.drawdown(tests.index)),
        "begins": np.datetime_as_string(tests.sessions[begins]).tolist(),
    }


def _day(value: date) -> str:
    return day(np.datetime64(value, "D"))


def _series(values: Floats) -> list[float]:
    rounded: list[float] = (np.round(values, 5) + 0.0).tolist()
    return rounded


def _rounded(value: float | None) -> float | None:
    """Six digits that count: more than a chart can show."""
    return None if value is None else float(f"{value:.6g}")
