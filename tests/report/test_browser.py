"""The report page in a browser: it draws, filters, sorts, fits and stays quiet. ``probe.js`` knows its structure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framework.model.result import PortfolioResult, RunResult
from framework.report.assemble import accounts
from framework.report.attribution import Attribution
from framework.report.basis import basis_of
from framework.report.compare import compare
from framework.report.compare_page import write_comparison
from framework.report.tear_sheet import render
from framework.report.write import write_run
from framework.report_run import report_live
from tests.report import test_attribution as sides
from tests.report.browser import Browser, Page
from tests.report.test_live import books  # noqa: F401  # a fixture

PROBE = Path(__file__).with_name("probe.js").read_text()
CHARTS = {"equity", "drawdown", "years", "rolling", "exposure", "distribution", "turnover"}
TRADE_CHARTS = {"costs", "slippage"}
EVIL = '</script><img src=x onerror="alert(1)">{{ 7*7 }}'

Show = Callable[..., AbstractContextManager[Page]]


def complaints(page: Page) -> tuple[list[str], list[str], list[str], str]:
    """Errors and warnings, requests by the browser's count and by the page's own, and what it tells the reader."""
    resources, told = page.run("() => [probe.resources(), probe.trouble()]")
    return page.messages, page.requests, resources, told


@pytest.fixture(scope="module")
def show(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Show:
    """``with show(run, width=…, dark=…) as page``: the run's page, drawn; at the end it must have said nothing."""

    @contextmanager
    def shown(run: RunResult, comparison: Attribution | None = None, **options: Any) -> Iterator[Page]:
        path = tmp_path_factory.mktemp("page") / "report.html"
        path.write_text(render(basis_of(run), accounts(run), comparison))
        with closing(browser.open(path, PROBE, **options)) as page:
            page.wait("probe.ready() || probe.trouble()")
            assert not any(complaints(page)), complaints(page)
            yield page
            assert not any(complaints(page)), complaints(page)

    return shown


@pytest.fixture(autouse=True)
def quiet(browser: Browser) -> Iterator[None]:
    """Whatever a test does to a page: it says nothing of errors, and asks nobody for anything."""
    yield
    assert [trouble for page in browser.pages if any(trouble := complaints(page))] == []


@pytest.fixture(scope="module")
def run(build_run, build_result) -> RunResult:
    """Three tickers, one portfolio, some hundred trades."""
    return build_run(build_result(bars=600, every=9))


@pytest.fixture(scope="module")
def one(show: Show, run: RunResult) -> Iterator[Page]:
    with show(run) as page:
        yield page


@pytest.fixture(scope="module")
def several(show: Show, allocated: RunResult) -> Iterator[Page]:
    with show(allocated) as page:
        yield page


@pytest.fixture(scope="module")
def large(show: Show, build_run, build_result) -> Iterator[Page]:
    """Ten years and 20,000 trades."""
    result = build_result(tuple(f"T{i:02d}" for i in range(20)), bars=2520, every=2, lot=0.01)
    assert len(result.trades) > 20_000
    with show(build_run(result)) as page:
        yield page


def count(table: dict[str, Any]) -> int:
    """How many trades are listed, by what the page says: the first number of ``43 of 200``."""
    numbers = re.findall(r"\d[\d,]*", table["count"])
    return int(numbers[0].replace(",", ""))


def column(table: dict[str, Any], head: str) -> list[str]:
    place = table["heads"].index(head)
    return [row[place] for row in table["rows"]]


def values(table: dict[str, Any], head: str) -> list[float]:
    return [float(text.replace(",", "").replace("\u2212", "-")) for text in column(table, head)]


def cost(page: Page, step: str, *arguments: Any) -> float:
    """Processor seconds of the page for something that the probe does."""
    before = page.busy_seconds()
    page.run(f"probe.{step}", *arguments)
    return page.busy_seconds() - before


# --- charts ------------------------------------------------------------------------------------------------------


def is_drawn(chart: dict[str, Any]) -> bool:
    """It has a size, and a line, bars or marks for everything that it shows."""
    has_all = 0 < len(chart["names"]) == chart["traces"] <= chart["paths"]
    return chart["plotted"] and has_all and min(chart["width"], chart["height"]) > 50


def test_every_chart_of_every_account_is_drawn(one: Page, several: Page) -> None:
    total, single = "All portfolios", "Portfolio"
    for page, number, name in [(one, 0, single), (several, 0, total), (several, 1, single), (several, 2, single)]:
        page.run("probe.open", number)
        charts = {chart["name"]: chart for chart in page.run("probe.charts")}
        assert set(charts) == CHARTS | TRADE_CHARTS | ({"parts"} if name == total else set())
        assert [chart for chart in charts.values() if not is_drawn(chart)] == []
        for kind in ("equity", "drawdown", "years"):
            assert {name, "Benchmark"} <= set(charts[kind]["names"])


def test_the_axis_becomes_logarithmic_and_linear_again(one: Page) -> None:
    before = one.run("probe.chart", "equity")
    assert one.run("probe.choose", "scale", "log") == "log"
    after = one.run("probe.chart", "equity")
    assert (before["type"], after["type"]) == ("linear", "log")
    assert after["labels"] != before["labels"]
    assert after["drawn"] != before["drawn"]
    one.run("probe.choose", "scale", "linear")
    assert one.run("probe.chart", "equity") == before


def test_every_switch_changes_its_chart(several: Page) -> None:
    several.run("probe.open", 0)
    switches = several.run("probe.switches")
    assert len(switches) == 4
    for name, value in switches:
        chart = "equity" if name == "scale" else name
        before = several.run("probe.chart", chart)
        assert several.run("probe.choose", name, value) == value
        assert several.run("probe.chart", chart)["labels"] != before["labels"], (name, value)


def test_dark_and_light_readers_get_their_colours_at_once(several: Page) -> None:
    def tones() -> dict[str, str]:
        made: dict[str, str] = several.run("probe.tones")
        return made

    def opened(number: int) -> dict[str, str]:
        several.run("probe.open", number)
        return tones()

    light = [opened(number) for number in (1, 0)]
    assert light[0] == light[1]
    several.prefer(dark=True)
    several.run("probe.open", 0)
    dark = tones()
    assert dark["paper"] != light[0]["paper"]
    assert dark["line"] != light[0]["line"]
    assert opened(1) == dark
    several.prefer(dark=False)
    assert [opened(number) for number in (1, 0)] == light


# --- tabs --------------------------------------------------------------------------------------------------------


def test_a_tab_shows_its_account_and_only_that(several: Page) -> None:
    assert several.run("probe.tabs") == ["Total", "1", "two"]
    for number in (2, 1, 0):
        assert several.run("probe.open", number) == {"tab": number, "accounts": [number]}


def test_arrow_keys_go_through_the_tabs_and_around(several: Page) -> None:
    several.run("probe.open", 0)
    several.run("probe.focus", 0)
    seen = [several.run("probe.press", key)["tab"] for key in ["ArrowRight"] * 3 + ["ArrowLeft"]]
    assert seen == [1, 2, 0, 2]


def test_each_account_lists_its_own_trades(several: Page, allocated: RunResult) -> None:
    made = [len(result.trades) for result in allocated.portfolios]
    listed = []
    for number in range(3):
        several.run("probe.open", number)
        listed.append(several.run("probe.table"))
    assert [count(table) for table in listed] == [sum(made), *made]
    assert set(column(listed[2], "Ticker")) == {"GOOG", "KO"}


# --- the list of trades ------------------------------------------------------------------------------------------


def test_words_find_the_trades_that_have_them_all(one: Page, run: RunResult) -> None:
    fills = accounts(run).total.fills
    everything = one.run("probe.table")
    assert count(everything) == len(fills)

    found = one.run("probe.find", "AAPL  buy")
    names = np.array(run.portfolios[0].panel.tickers)
    assert count(found) == int(((names[fills.ticker] == "AAPL") & (fills.quantity > 0)).sum()) < len(fills)
    assert set(column(found, "Ticker")) == {"AAPL"}
    assert set(column(found, "Side")) == {"Buy"}

    nothing = one.run("probe.find", "AAPL buy 1999")
    assert (count(nothing), nothing["rows"]) == (0, [])
    assert one.run("probe.find", "") == everything


def test_a_column_orders_the_trades_both_ways(one: Page, run: RunResult) -> None:
    notional = accounts(run).total.fills.notional
    ends = {}
    for _ in range(2):
        table = one.run("probe.sort", "Notional")
        order = table["order"][table["heads"].index("Notional")]
        shown = values(table, "Notional")
        assert shown == sorted(shown, reverse=order == "descending")
        assert count(table) == len(notional)
        ends[order] = shown[0]
    assert ends == {
        "ascending": pytest.approx(min(notional), abs=0.51),
        "descending": pytest.approx(max(notional), abs=0.51),
    }


def test_ticker_and_side_are_chosen_and_searched_within(one: Page, run: RunResult) -> None:
    fills = accounts(run).total.fills
    assert one.run("probe.choices", "ticker") == ["", "AAPL", "IBM", "MSFT"]
    ibm = one.run("probe.filter", "ticker", "IBM")
    assert set(column(ibm, "Ticker")) == {"IBM"}
    sold = one.run("probe.filter", "side", "Sell")
    names = np.array(run.portfolios[0].panel.tickers)
    wanted = (names[fills.ticker] == "IBM") & (fills.quantity < 0)
    assert count(sold) == int(wanted.sum()) < count(ibm) < len(fills)
    assert set(column(sold, "Side")) == {"Sell"}
    assert count(one.run("probe.find", "2006")) < count(sold)
    one.run("probe.find", "")
    one.run("probe.filter", "ticker", "")
    assert count(one.run("probe.filter", "side", "")) == len(fills)


def test_scrolling_shows_every_trade_and_no_gap(one: Page, run: RunResult) -> None:
    fills = accounts(run).total.fills
    one.run("probe.find", "")
    table = one.run("probe.sort", "Notional")
    while table["order"][table["heads"].index("Notional")] != "ascending":
        table = one.run("probe.sort", "Notional")
    seen = dict.fromkeys(map(tuple, table["rows"]))
    for _ in range(3 + len(fills) // 12):
        sight = one.run("probe.sight")
        assert sight["rows"] > 8
        assert sight["empty"] < 2
        table = one.run("probe.scroll", 0.9)
        seen |= dict.fromkeys(map(tuple, table["rows"]))
    shown = values({**table, "rows": list(seen)}, "Notional")
    assert shown == pytest.approx(np.sort(fills.notional), abs=0.51)
    assert len(table["rows"]) < 60
    one.run("probe.sort", "Executed (UTC)")


def test_on_paper_are_the_first_trades_and_charts_of_its_width(one: Page) -> None:
    screen = one.run("probe.print", False)
    paper = one.run("probe.print", True)
    assert (paper["printing"], paper["rows"]) == (True, 40)
    assert one.run("probe.table")["count"] == "first 40 of 201"
    # Nothing but these rows: a gap as high as all others would be empty pages.
    height = "() => document.querySelector('.list').getBoundingClientRect().height"
    assert one.run(height) < 41 * 40
    assert max(paper["widths"]) == 680 < max(screen["widths"])
    one.run("probe.print", False)
    one.wait(f"Math.min(...probe.charts().map((chart) => chart.width)) >= {min(screen['widths'])}")
    assert one.run("probe.print", False) == screen


def test_the_list_answers_at_once_with_20000_trades(large: Page) -> None:
    """A step takes a tenth of a second; on a slow machine, what making and ordering as many texts takes four times.

    Each is the best of three rounds: in the first, the page's code is not compiled yet, and processor seconds grow when
    something else keeps the other core and the memory busy.
    """
    assert count(large.run("probe.table")) > 20_000
    steps: list[tuple[Any, ...]] = [("find", word) for word in ("t", "t0", "t01 buy", "sell 2009-03", "")]
    steps += [("sort", "Notional"), ("sort", "Ticker")]
    steps += [("scroll", views) for views in (1, 3, 30, 300, "end")]
    costs: dict[tuple[Any, ...], float] = {}
    for step in 3 * [("reference", 20_000), *steps]:
        costs[step] = min(costs.get(step, math.inf), cost(large, *step))
    limit = max(0.1, 4 * costs.pop(("reference", 20_000)))
    assert {step: seconds for step, seconds in costs.items() if seconds > limit} == {}


# --- any reader, any run -----------------------------------------------------------------------------------------


def test_nothing_stands_out_of_a_phone(show: Show, allocated: RunResult) -> None:
    with show(allocated, width=390, height=844) as page:
        for number in range(3):
            page.run("probe.open", number)
            seen = page.run("probe.overflow")
            assert seen["window"] == 390
            assert seen["width"] <= 390, seen["out"]
            charts = page.run("probe.charts")
            assert [chart for chart in charts if chart["width"] > chart["room"]] == []


def lose(result: PortfolioResult, value: float) -> PortfolioResult:
    """From the middle on, the portfolio is worth ``value``."""
    equity = result.equity.copy()
    equity[len(equity) // 2 :] = value
    return replace(result, equity=equity)


def odd(make: Callable[..., PortfolioResult]) -> dict[str, PortfolioResult]:
    return {
        "one bar": make(bars=1),
        "no trades": make(every=0, portfolio_id="2"),
        "total loss": lose(make(portfolio_id="3"), 0.0),
        "debt": lose(make(portfolio_id="4"), -5.0),
        "unknown worth": lose(make(portfolio_id="5"), np.nan),
        "two bars": make(bars=2, every=1, portfolio_id="6"),
        "no money for long": make(cash=0.0, flows=[(200, 1e5)], portfolio_id="7"),
        "minutes": make(per_session=60, gaps=0.3, portfolio_id="8"),
        "evil names": make((EVIL, "B"), portfolio_id=EVIL, strategy=EVIL),
    }


def use(page: Page, result: PortfolioResult) -> None:
    """All that the account shown has: charts, trades, switches; nothing of it is made of what users wrote."""
    charts = CHARTS | (TRADE_CHARTS if len(result.trades) else set())
    assert {chart["name"] for chart in page.run("probe.charts")} == charts
    assert count(page.run("probe.table")) == len(result.trades)
    for name, value in page.run("probe.switches"):
        assert page.run("probe.choose", name, value) == value
    assert page.run("probe.images") == 0


@pytest.mark.parametrize("kind", ["one bar", "no trades", "total loss"])
def test_an_odd_run_is_drawn_without_an_error(show: Show, build_run, build_result, kind: str) -> None:
    result = odd(build_result)[kind]
    with show(build_run(result)) as page:
        use(page, result)


def test_odd_portfolios_are_drawn_beside_each_other(show: Show, build_run, build_result) -> None:
    results = odd(build_result).values()
    with show(build_run(*results, name=EVIL)) as page:
        for number, result in enumerate(results, 1):
            page.run("probe.open", number)
            use(page, result)


# --- other pages -------------------------------------------------------------------------------------------------


def test_books_beside_their_backtest_have_a_table_of_differences(show: Show, build_run, build_result) -> None:
    live = sides.side([(0, 0, 12, 100.5, 3.0, 99.0), (1, 1, 5, 40.0, 0.0, 40.0)])
    with show(build_run(build_result()), sides.compared(live, sides.side([sides.SAME])), width=390) as page:
        text = page.run("() => document.querySelector('.comparison').innerText")
        assert "Fill prices" in text
        assert "10 | 12" in text or "12 | 10" in text
        assert page.run("probe.overflow")["width"] <= 390


def test_the_page_of_live_books_is_drawn(browser: Browser, tmp_path, books) -> None:  # noqa: F811
    found = report_live(books, "1", None, None)
    path = tmp_path / "report.html"
    path.write_text(render(found.basis, found.made))
    with closing(browser.open(path, PROBE)) as page:
        page.wait("probe.ready() || probe.trouble()")
        charts = page.run("probe.charts")
        assert {chart["name"] for chart in charts} == CHARTS | TRADE_CHARTS
        # Three days fill no window of the rolling figures.
        assert [chart["name"] for chart in charts if not is_drawn(chart)] == ["rolling"]
        assert count(page.run("probe.find", "sell")) == 1
        assert page.run("() => document.querySelector('.kind').textContent") == "Paper"
        assert not any(complaints(page)), complaints(page)


#: What a page of compared runs has drawn.
DRAWN = """() => [...document.querySelectorAll("[data-chart]")].map((place) => [
  place.dataset.chart, place.data?.length ?? 0, place.querySelectorAll(".cartesianlayer .trace").length,
  place.layout?.yaxis.type ?? ""])"""


@pytest.mark.parametrize("width", [1280, 390])
def test_compared_runs_are_drawn_side_by_side(browser: Browser, tmp_path, build_run, build_result, width: int) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        write_run(build_run(build_result(seed=seed), name=name), tmp_path / name)
    path = write_comparison(compare([tmp_path / "a", tmp_path / "b"]), tmp_path / "compare.html")
    with closing(browser.open(path, PROBE, width=width)) as page:
        page.wait("probe.ready() || probe.trouble()")
        drawn = page.run(DRAWN)
        assert {name for name, *_ in drawn} >= {"growth", "drawdown", "years"}
        assert [chart for chart in drawn if not 0 < chart[1] == chart[2]] == []
        page.run("() => document.querySelector('[data-switch=scale] [data-value=log]').click()")
        assert "log" in [chart[3] for chart in page.run(DRAWN)]
        assert page.run("probe.overflow")["width"] <= width
        assert not any(complaints(page)), complaints(page)
