"""A REST source of one's own: the one of the docs, against a server of another kind."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from werkzeug import Request, Response

from framework.data.backfill import backfill
from framework.errors import SourceError
from framework.plugin_manager import PluginManager

DOCS = Path(__file__).parents[2] / "docs" / "get-data-in.md"
NOW = datetime(2024, 3, 14, 12, tzinfo=UTC)


@pytest.fixture
def acme(httpserver, tmp_path):
    """The source of the docs as a drop-in file, and a server that it can ask."""
    (code,) = re.findall(r"```python\n(from framework import RestSource.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert code.count("\n") < 60, "a new source is a few lines"
    (tmp_path / "acme.py").write_text(code)

    def answer(request: Request) -> Response:
        if request.headers.get("Authorization") != "Bearer hush":
            return Response("who are you?", status=401)
        first, last = (date.fromisoformat(request.args[name]) for name in ("first", "last"))
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        rows = [{"t": str(d), "o": 1, "h": 2, "l": 1, "c": 2, "v": 5.0} for d in days if d.weekday() < 5]
        return Response(json.dumps(rows), content_type="application/json")

    httpserver.expect_request("/v1/bars").respond_with_handler(answer)
    manager = PluginManager.load([tmp_path], None)

    def make(**params):
        given = {"base_url": httpserver.url_for("/v1"), "token": "hush", "patience_seconds": 0} | params
        return manager.create("data source", "acme", given)

    return make


def test_the_source_of_the_docs_is_backfilled(acme, pool, httpserver):
    done = backfill(pool, acme(), ["A", "B"], "1d", "XNYS", date(2000, 1, 3), date(2024, 3, 13), now=NOW)
    assert done.unavailable == {}
    assert done.loaded.inserted == 2 * 6313
    assert len(httpserver.log) == 2 * 3, "ten years to a request"
    again = backfill(pool, acme(), ["A", "B"], "1d", "XNYS", date(2000, 1, 3), date(2024, 3, 13), now=NOW)
    assert (again.loaded.rows, len(httpserver.log)) == (0, 6)


def test_what_it_is_refused_is_told_without_the_token(acme, httpserver):
    with pytest.raises(
        SourceError, match=r"data source acme refused the request \(HTTP 401\): who are you\?"
    ) as caught:
        acme(token="wrong-token").bars(["A"], "1d", date(2024, 1, 2), date(2024, 1, 3))
    assert "wrong-token" not in str(caught.value)
    with pytest.raises(SourceError, match=r"acme has no 5min bars; it has 1d, 1min"):
        acme().bars(["A"], "5min", date(2024, 1, 2), date(2024, 1, 3))
