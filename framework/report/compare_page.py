"""``compare.html``: runs side by side on one page that holds everything, opens offline, and looks as a tear sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framework.errors import UsageError
from framework.model.panel import Floats
from framework.report import metrics
from framework.report.compare import Comparison, Difference
from framework.report.compare_view import DIFFERENCES_SHOWN, value_text
from framework.report.files import replacing
from framework.report.measures import OF_RETURNS
from framework.report.page import month_rows, render_page
from framework.report.past_run import PastRun
from framework.report.summary import finite
from framework.report.words import NOTHING, day, number, percent, short

PAGE = "compare.html"

#: Most points of a line, and of all lines together, so that the page stays below 3 MB.
LINE_POINTS, ALL_POINTS = 4_000, 60_000

#: Most names that stand in the page's title.
NAMES_IN_TITLE = 3

#: By this line near its beginning a page of ours is told from other files.
_MARK = b'<meta name="generator" content="portfolio-engine, comparison">'


def write_comparison(found: Comparison, out: Path) -> Path:
    """Write the page; it appears whole or not at all.

    Args:
        found: what it shows.
        out: a file that ends with ``.html``, or the folder that gets ``compare.html``; made where it is missing.

    Returns:
        the path of the page.

    Raises:
        UsageError: it can't be written there, or another file is in the way.
    """
    is_file = out.suffix.lower() in (".html", ".htm") and not out.is_dir()
    path = out if is_file else out / PAGE
    text = render(found).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and _MARK not in path.read_bytes()[:1000]:
            raise UsageError(
                f"{str(path)!r} is there already and is no comparison; choose another file or folder with --out"
            )
        with replacing(path) as file:
            file.write(text)
    except OSError as error:
        raise UsageError(
            f"the page can't be written to {str(path)!r}: {error.strerror or error}; choose another file or folder "
            "with --out"
        ) from error
    return path


def render(found: Comparison) -> str:
    """The page's text. All that comes from the runs is escaped."""
    every = (*found.settings, *found.circumstances)
    return render_page(
        "compare.html.j2",
        finite(_charts(found)),
        title=_title(found.names),
        names=found.names,
        period=_period(found.runs),
        currencies=sorted({run.currency for run in found.runs if run.currency}),
        headline=headline(found),
        warnings=found.warnings,
        words=_word_rows(found.runs),
        figures=_figure_rows(found),
        common=_common_rows(found),
        common_note=_common_note(found),
        differs=[_difference(each, len(found.runs)) for each in every[:DIFFERENCES_SHOWN]],
        differs_more=max(0, len(every) - DIFFERENCES_SHOWN),
        has_span_switch=found.common is not None and found.common.sessions > 1 and not found.is_same_span,
        months=_months(found),
        correlations=_correlations(found),
        basis=_basis(found.runs),
    )


def headline(found: Comparison) -> str:
    """The result in one sentence."""
    made = [run.figures.get("total_return") for run in found.runs]
    if any(value is None for value in made):
        return f"{len(made)} runs side by side."
    returns = [value for value in made if value is not None]
    best, worst = int(np.argmax(returns)), int(np.argmin(returns))
    if best == worst or returns[best] - returns[worst] < 5e-4:
        each = "Both runs" if len(made) == 2 else f"All {len(made)} runs"
        return f"{each} made {percent(returns[best], signed=True)}{_own_time(found)}."
    high, low = (f"{found.names[i]} {{}} ({percent(returns[i], signed=True)})" for i in (best, worst))
    if len(made) == 2:
        points = number((returns[best] - returns[worst]) * 100.0, 1)
        return (
            f"{found.names[best]} made {points} percentage points more than {found.names[worst]}: "
            f"{percent(returns[best], signed=True)} against {percent(returns[worst], signed=True)}{_own_time(found)}."
        )
    return f"Of {len(made)} runs, {high.format('made most')}, {low.format('least')}{_own_time(found)}."


def _own_time(found: Comparison) -> str:
    spans = {(run.start, run.end) for run in found.runs}
    return "" if len(spans) == 1 else ", each over a time of its own"


def _title(names: Sequence[str]) -> str:
    if len(names) > NAMES_IN_TITLE:
        return f"{names[0]} and {len(names) - 1} others"
    return " and ".join((", ".join(names[:-1]), names[-1]))


def _period(runs: Sequence[PastRun]) -> str:
    return f"{day(min(run.start for run in runs))} – {day(max(run.end for run in runs))}"


# Tables: rows of a title and a cell for each run.


def _word_rows(runs: Sequence[PastRun]) -> list[dict[str, Any]]:
    return [
        {"title": title, "cells": [value or NOTHING for value in values]}
        for title, values in (
            ("Strategy", [run.strategy for run in runs]),
            ("First session", [day(run.start) for run in runs]),
            ("Last session", [day(run.end) for run in runs]),
            ("Currency", [run.currency for run in runs]),
        )
    ]


def _figure_rows(found: Comparison) -> list[dict[str, Any]]:
    rows = []
    for measure in found.measures:
        best, gaps = found.best(measure), found.against_first(measure)
        cells = [
            {
                "text": measure.text(value),
                "gap": "" if not i or gaps[i] is None else measure.gap(gaps[i]),
                "best": i in best,
            }
            for i, value in enumerate(found.row(measure))
        ]
        rows.append({"title": measure.title, "cells": cells})
    return rows


def _common_rows(found: Comparison) -> list[dict[str, Any]]:
    """Figures on the common sessions; none where these are all that there is."""
    if found.common is None or found.is_same_span:
        return []
    return [
        {
            "title": measure.title,
            "cells": [
                {"text": measure.text(value), "gap": "", "best": i in measure.best(values)}
                for i, value in enumerate(values)
            ],
        }
        for measure, values in ((each, found.common.row(each)) for each in OF_RETURNS)
    ]


def _common_note(found: Comparison) -> str:
    if found.common is None:
        return ""
    return f"{found.common.sessions:,}, {day(found.common.start)} – {day(found.common.end)}"


def _difference(each: Difference, count: int) -> dict[str, Any]:
    return {"path": each.path, "cells": [value_text(each, i) for i in range(count)]}


def _correlations(found: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "title": name,
            "cells": [
                {"text": number(value, 3), "sessions": f"{sessions:,}"}
                for value, sessions in zip(found.correlation[i].tolist(), found.shared[i].tolist(), strict=True)
            ],
        }
        for i, name in enumerate(found.names)
    ]


def _months(found: Comparison) -> list[dict[str, Any]]:
    """How much more the second of two runs made in each month and year that both have; none for other counts."""
    if len(found.runs) != 2:
        return []
    first, second = found.runs
    months, rows, other_rows = np.intersect1d(first.months, second.months, return_indices=True)
    if len(months) == 0:
        return []
    yearly = found.yearly[:, 1] - found.yearly[:, 0]
    years = np.isin(found.years, months.astype("datetime64[Y]"))
    return month_rows(months, second.monthly[other_rows] - first.monthly[rows], found.years[years], yearly[years])


def _basis(runs: Sequence[PastRun]) -> list[dict[str, Any]]:
    return [
        {"title": title, "cells": [value or NOTHING for value in values], "code": code}
        for title, values, code in (
            ("Folder", [str(run.folder) for run in runs], True),
            ("Data", [run.fingerprint for run in runs], True),
            ("Prices", [run.prices for run in runs], False),
            ("Fills", [run.fill for run in runs], False),
            ("Costs", [run.costs for run in runs], False),
            ("Versions", [", ".join(f"{name} {text}" for name, text in run.versions.items()) for run in runs], False),
            ("Sessions", [f"{len(run.curve.ends):,}, {short(run.per_year)} a year" for run in runs], False),
        )
    ]


# Charts.


def _charts(found: Comparison) -> dict[str, Any]:
    """What the page's script draws: a line for each run, and yearly returns."""
    common = found.common
    return {
        "runs": [_lines(found, i) for i in range(len(found.runs))],
        "common": None if common is None else [str(common.start), str(common.end)],
        "years": found.years.astype(str).tolist(),
        "yearly": np.round(found.yearly.T, 5).tolist(),
    }


def _lines(found: Comparison, number: int) -> dict[str, Any]:
    """Growth and drawdown of a run at the rows that are drawn.

    By sessions where any run has but one bar in each, so that all are drawn at the same moments, or where the bars are
    too many.
    """
    run = found.runs[number]
    curve, most = run.curve, min(LINE_POINTS, ALL_POINTS // len(found.runs))
    by_session = any(each.is_daily for each in found.runs)
    rows = curve.ends if by_session or len(curve) > most <= 10 * len(curve.ends) else np.arange(len(curve))
    growth = run.growth[rows]
    drawn = _spread(len(rows), most)
    times = (curve.session if by_session else curve.timestamps)[rows][drawn]
    return {
        "name": found.names[number],
        "time": np.datetime_as_string(times.astype("datetime64[D]" if by_session else "datetime64[s]")).tolist(),
        "growth": _rounded(growth[drawn], 5),
        "drawdown": _rounded(metrics.drawdown(growth)[drawn], 5),
    }


def _spread(count: int, most: int) -> NDArray[np.intp]:
    """All of ``count`` rows, or ``most`` of them, evenly spaced, the first and the last among them."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).astype(np.intp))


def _rounded(values: Floats, digits: int) -> list[float]:
    rounded: list[float] = (np.round(values, digits) + 0.0).tolist()
    return rounded
