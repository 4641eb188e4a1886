"""What every page is made with: its text from a template, its packed data and scripts, and the heat map of months.

A page is one file that holds everything and opens offline. Its charts are drawn by ``templates/page.js``, the frame of
every page's own script, from data packed into the file (deflate, base64), together with plotly's script.
"""

from __future__ import annotations

import base64
import json
import zlib
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats
from framework.report.words import number

#: A monthly return of this size or more gets the full colour, unless the months are wilder than that.
FULL_COLOUR = 0.06


def render_page(template: str, data: Any, **values: Any) -> str:
    """The text of a page. All that comes from configs or data is escaped.

    Args:
        template: its file's name in ``templates``.
        data: what the page's script finds as ``data``; ready for JSON, without NaN.
        values: what the template names.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("framework.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    page = environment.get_template(template).render(plotly=_plotly(), data=_packed(text.encode()), **values)
    return str(page)


def month_rows(
    months: NDArray[np.datetime64], returns: Floats, years: NDArray[np.datetime64], yearly: Floats
) -> list[dict[str, Any]]:
    """Rows of the heat map, one a year: twelve cells and the year's return.

    Args:
        months, returns: shape ``(P,)``, ``datetime64[M]`` and fractions.
        years, yearly: shape ``(Y,)``, ``datetime64[Y]`` and fractions.
    """
    scale = max(FULL_COLOUR, float(np.quantile(np.abs(returns), 0.95)))
    known = dict(zip(months.astype(str).tolist(), returns.tolist(), strict=True))
    rows = []
    for year, whole in zip(years.astype(str).tolist(), yearly.tolist(), strict=True):
        cells = [_month_cell(known.get(f"{year}-{month:02d}"), scale) for month in range(1, 13)]
        rows.append({"year": year, "cells": cells, "whole": number(whole * 100, 1), "tone": _tone(whole)})
    return rows


def _tone(value: float) -> str:
    return "gain" if value > 0 else "loss" if value < 0 else "quiet"


def _month_cell(value: float | None, scale: float) -> dict[str, Any]:
    if value is None:
        return {"text": "", "gain": True, "strength": 0}
    return {
        "text": number(value * 100, 1),
        "gain": value >= 0,
        "strength": round(min(1.0, abs(value) / scale) * 70),
    }


def _packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


@cache
def _plotly() -> str:
    """Plotly's script as its Python package ships it, packed; read as a file, because importing plotly takes long."""
    return _packed((resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes())
