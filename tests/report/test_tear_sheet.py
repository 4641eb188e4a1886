import base64
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from framework.report import charts
from framework.report.assemble import accounts
from framework.report.tear_sheet import render
from framework.report.write import write_run


def page(run):
    return render(run, accounts(run))


def packed(html, name):
    found = re.search(rf'id="packed-{name}">([^<]*)</script>', html)
    assert found is not None
    return zlib.decompress(base64.b64decode(found[1]))


class Tags(HTMLParser):
    """Collects start tags, and checks that tags nest."""

    EMPTY = frozenset({"meta", "link", "input", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(html):
    tags = Tags()
    tags.feed(html)
    tags.close()
    assert tags.open == []
    return tags.seen


def test_is_one_file_that_asks_nobody_for_anything(build_run):
    html = page(build_run())
    assert b"plotly.js" in packed(html, "plotly")[:200]
    for _, attributes in parsed(html):
        for name in ("src", "href"):
            assert not str(attributes.get(name, "data:")).startswith(("http", "//"))
    assert "@import" not in html


def test_every_portfolio_has_its_tab_and_the_total_comes_first(build_run, build_result):
    tags = parsed(page(build_run(build_result(), build_result(portfolio_id="two"))))
    tabs = [attributes for tag, attributes in tags if attributes.get("role") == "tab"]
    sections = [attributes for tag, attributes in tags if tag == "section"]
    assert [tab["aria-selected"] for tab in tabs] == ["true", "false", "false"]
    assert len(sections) == 3
    assert ["hidden" in section for section in sections] == [False, True, True]


def test_a_single_portfolio_needs_no_tabs(build_run):
    tags = parsed(page(build_run()))
    assert not [tag for tag, attributes in tags if attributes.get("role") == "tab"]


EVIL = '</script><img src=x onerror="alert(1)">{{ 7*7 }}'


def test_what_users_wrote_is_escaped(build_run, build_result):
    results = (build_result((EVIL, "B"), portfolio_id="a", strategy=EVIL), build_result((EVIL, "B"), portfolio_id=EVIL))
    html = page(
        build_run(
            *results,
            name=EVIL,
            notes=(EVIL,),
            costs=EVIL,
            fill=EVIL,
            config={EVIL: EVIL},
            versions={EVIL: EVIL},
            fingerprint=EVIL,
            prices=EVIL,
        )
    )
    tags = parsed(html)
    assert "img" not in {tag for tag, _ in tags}
    assert [tag for tag, _ in tags].count("script") == 3
    assert "49" not in re.findall(r"onerror=[^{]*(\d+)", html)


def test_charts_show_the_numbers_of_the_run(build_run, build_result):
    run = build_run(build_result(gaps=0.05), build_result(("GOOG",), portfolio_id="2"))
    made = accounts(run)
    data = json.loads(packed(page(run), "data"))
    assert len(data["accounts"]) == 3
    total = data["accounts"][0]
    assert total["equity"] == pytest.approx(made.total.curve.equity, abs=0.005)
    assert total["time"][0] == "2005-01-03"
    assert min(total["drawdown"]) == pytest.approx(made.total.curve.figures.max_drawdown, abs=1e-5)
    trades = data["trades"]
    assert np.cumsum(trades["id"]).tolist() == made.total.fills.id.tolist()
    seconds = made.total.fills.executed.astype("datetime64[s]").astype(np.int64)
    assert np.cumsum(trades["executed"]).tolist() == seconds.tolist()
    assert trades["notional"] == pytest.approx(made.total.fills.notional, abs=0.005)
    assert trades["quantity"] == pytest.approx(made.total.fills.quantity)


def test_key_figures_and_basis_are_in_the_text(build_run, build_result):
    html = page(build_run(build_result(bars=600)))
    for text in (
        "Sharpe",
        "Max drawdown",
        "Calmar",
        "next bar&#39;s open",
        "adjusted",
        "PercentCommission",
        "sha256:4f0c",
    ):
        assert text in html
    assert re.search(r"\d+\u202f% of the (profit|loss)", html)


def readable(html):
    return re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("options", "wanted"), [({"step": "D"}, "365"), ({"step": "W"}, "52"), ({"bars": 10}, "252"), ({}, "261")]
)
def test_the_page_says_how_many_sessions_a_year_has(build_run, build_result, options, wanted):
    text = readable(page(build_run(build_result(**options))))
    assert f"compound annual growth rate, {wanted} sessions a year" in text
    assert f"Simple returns of sessions, {wanted} a year" in text


def test_portfolios_of_several_calendars_are_each_told_theirs(build_run, build_result):
    text = readable(page(build_run(build_result(bars=420), build_result(step="D", bars=588, portfolio_id="2"))))
    for wanted in ("261", "365"):
        assert f"growth rate, {wanted} sessions a year" in text
    assert "Simple returns of sessions, 261 or 365 a year" in text


def test_rolling_charts_are_annualised_by_the_calendar(build_run, build_result):
    run = build_run(build_result(step="W", bars=105))
    last = accounts(run).total.curve.returns[-30:]
    drawn = json.loads(packed(page(run), "data"))["accounts"][0]["rolling"]["windows"]["30"]
    assert drawn["volatility"][-1] == pytest.approx(np.std(last, ddof=1) * np.sqrt(52), abs=1e-4)
    assert drawn["sharpe"][-1] == pytest.approx(np.mean(last) / np.std(last, ddof=1) * np.sqrt(52), abs=1e-3)


@pytest.mark.parametrize(
    "options",
    [{"bars": 1}, {"every": 0}, {"bars": 2}, {"per_session": 60, "bars": 300}, {"gaps": 0.5}, {"cash": 0.01}],
)
@pytest.mark.parametrize("benchmark", [True, False])
def test_odd_runs_have_a_page_too(build_run, build_result, options, benchmark):
    html = page(build_run(build_result(**options), benchmark=benchmark))
    parsed(html)
    json.loads(packed(html, "data"))
    assert "nan" not in re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL).lower()


def test_ten_years_and_20000_trades_stay_below_three_megabytes(build_run, build_result):
    result = build_result(tuple(f"T{i:02d}" for i in range(20)), bars=2520, every=2, lot=0.01)
    assert len(result.trades) > 20_000
    assert len(page(build_run(result)).encode()) < 3_000_000


def test_long_runs_are_drawn_by_sessions(build_run, build_result, monkeypatch):
    monkeypatch.setattr(charts, "BARS_DRAWN", 100)
    draw = lambda **options: charts.drawn_rows(accounts(build_run(build_result(every=0, **options))).total)  # noqa: E731
    assert draw(bars=90).tolist() == list(range(90))
    assert draw(bars=400, per_session=10).tolist() == list(range(9, 400, 10))
    few = draw(bars=400, per_session=200)
    assert len(few) == 100
    assert (few[0], few[-1]) == (0, 399)


def test_more_trades_than_the_page_carries_are_announced(build_run, build_result, monkeypatch):
    monkeypatch.setattr(charts, "TRADES_SHOWN", 10)
    monkeypatch.setattr("framework.report.tear_sheet.TRADES_SHOWN", 10)
    run = build_run()
    data = json.loads(packed(page(run), "data"))
    count = len(run.portfolios[0].trades)
    assert np.cumsum(data["trades"]["id"]).tolist() == list(range(count - 9, count + 1))
    assert "The latest 10 of the run are listed" in page(run)


def spoil(result, kind):
    """Results that no simulator should make; the report must stand them all the same."""
    middle = result.bars // 2
    equity, close = result.equity.copy(), result.panel.close.copy()
    if kind == "unknown equity":
        equity[middle:] = np.nan
    elif kind == "infinite equity":
        equity[middle] = np.inf
    elif kind == "debt":
        equity[middle:] = -5.0
    elif kind == "no opening cash":
        return replace(result, opening_cash=0.0)
    elif kind == "ticker without a price":
        close[:, -1] = np.nan
    elif kind == "price of zero":
        close[middle:, -1] = 0.0
        result.trades.arrival_price[0] = 0.0
    return replace(result, equity=equity, panel=replace(result.panel, close=close))


@pytest.mark.parametrize(
    "kind",
    ["unknown equity", "infinite equity", "debt", "no opening cash", "ticker without a price", "price of zero"],
)
def test_absurd_results_are_reported_without_a_crash(tmp_path, build_run, build_result, kind):
    run = build_run(spoil(build_result(bars=400), kind), spoil(build_result(bars=300, portfolio_id="2"), kind))
    html = write_run(run, tmp_path).read_text()
    text = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert not re.search(r"\b(nan|inf|infinity)\b", re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL).lower())
    for path in tmp_path.rglob("*.csv"):
        assert not re.search(r"\b(nan|inf)\b", path.read_text())
