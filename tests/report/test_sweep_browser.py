"""A sweep's page in a browser: it draws, switches, sorts, fits and stays quiet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from framework.model.sweep import Axis, Sweep
from framework.report.sweep_findings import find
from framework.report.sweep_page import render
from tests.report.browser import Browser, Page
from tests.report.sweeps import FAST, SLOW, grid, lost, outcome, sweep, walk
from tests.report.test_browser import EVIL, PROBE, complaints

Show = Callable[..., AbstractContextManager[Page]]

WIDE = Axis("portfolios.0.strategy.params.threshold", (0.5, 1.0, 2.0))

#: What the page has drawn: each chart's traces, how many of them are on the screen, and its size.
DRAWN = """() => Object.fromEntries([...document.querySelectorAll("[data-chart]")].map((place) => [place.dataset.chart,
  { traces: place.data.length, room: place.clientWidth,
  seen: place.querySelectorAll(".cartesianlayer .trace, .heatmaplayer image").length,
  width: place.querySelector("svg.main-svg").getBoundingClientRect().width,
  shapes: place.layout.shapes?.length ?? 0 }]))"""

#: The map: its names, its numbers, and the values that the best has.
MAP = """() => { const place = document.querySelector("[data-chart=map]"), [trace] = place.data;
  return { x: [...trace.x], y: [...trace.y], z: trace.z?.map((row) => [...row]), told: trace.customdata,
    title: trace.name, across: place.layout.xaxis.title.text, up: place.layout.yaxis.title?.text,
    best: place.layout.shapes?.map((shape) => [shape.x0, shape.y0]),
    shown: document.getElementById("shown").textContent }; }"""

#: Whether the choice of one value is hidden, axis by axis.
HIDDEN = "() => [...document.querySelectorAll('.choices [data-axis]')].map((label) => label.hidden)"

CHOOSE = """async (name, value) => { const choice = document.querySelector(`.choices [name="${name}"]`);
  choice.value = value;
  choice.dispatchEvent(new InputEvent("input", { bubbles: true }));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))); }"""

#: Sort the table of the best by a column: its cells, and the order.
SORT = """(column) => { const table = document.querySelector(".ranking"), head = table.tHead.rows[0].cells[column];
  head.querySelector("button").click();
  return [head.ariaSort, [...table.tBodies[0].rows].map((row) => row.cells[column].textContent)]; }"""


@pytest.fixture(scope="module")
def show(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Show:
    """``with show(sweep, width=…, dark=…) as page``: its page, drawn; at the end it must have said nothing."""

    @contextmanager
    def shown(made: Sweep, **options: Any) -> Iterator[Page]:
        path = tmp_path_factory.mktemp("page") / "report.html"
        path.write_text(render(find(made)))
        with closing(browser.open(path, PROBE, **options)) as page:
            page.wait("probe.ready() || probe.trouble()")
            assert not any(complaints(page)), complaints(page)
            yield page
            assert not any(complaints(page)), complaints(page)

    return shown


@pytest.fixture(scope="module")
def two(show: Show) -> Iterator[Page]:
    with show(grid()) as page:
        yield page


def hold_drawn(page: Page, names: set[str]) -> None:
    charts = page.run(DRAWN)
    assert set(charts) == names
    for name, chart in charts.items():
        assert 0 < chart["traces"] == chart["seen"], name
        assert 50 < chart["width"] <= chart["room"], name


def test_the_map_has_the_objective_of_every_trial(two: Page) -> None:
    hold_drawn(two, {"map", "spread"})
    made = grid()
    seen = two.run(MAP)
    assert (seen["x"], seen["y"]) == (["5", "10", "20", "40"], ["50", "100", "200"])
    assert (seen["across"], seen["up"], seen["shown"]) == ("fast", "slow", "Sharpe")
    sharpes = [each.figures["sharpe"] for each in made.outcomes]
    assert [value for column in zip(*seen["z"], strict=True) for value in column] == pytest.approx(sharpes, rel=1e-5)
    assert seen["best"] == [[1.5, 0.5]]
    assert seen["told"][0][0] == "fast 5<br>slow 50"


def test_another_figure_is_shown_everywhere(two: Page) -> None:
    before = two.run(MAP)
    two.run(CHOOSE, "figure", "1")
    after = two.run(MAP)
    assert (after["shown"], after["title"]) == ("Return a year", "Return a year")
    assert after["z"] != before["z"]
    assert after["best"] == before["best"]
    assert two.run("() => document.getElementById('spread').textContent") == "Return a year"
    # The Sharpe ratio that is expected without skill is no return.
    assert two.run(DRAWN)["spread"]["shapes"] == 1
    two.run(CHOOSE, "figure", "0")
    assert two.run(DRAWN)["spread"]["shapes"] == 2
    assert two.run(MAP) == before


def test_two_axes_change_places(two: Page) -> None:
    before = two.run(MAP)
    two.run(CHOOSE, "across", "1")
    after = two.run(MAP)
    assert (after["across"], after["up"]) == ("slow", "fast")
    assert [list(column) for column in zip(*after["z"], strict=True)] == before["z"]
    two.run(CHOOSE, "across", "0")
    assert two.run(MAP) == before


def test_of_more_axes_the_best_is_shown_or_one_value(show: Show) -> None:
    with show(grid(FAST, SLOW, WIDE)) as page:
        best = page.run(MAP)
        assert best["shown"] == "Sharpe of the best trial with these values"
        only = []
        for value in ("0", "1", "2"):
            page.run(CHOOSE, "only-2", value)
            only.append(page.run(MAP))
        assert [seen["shown"] for seen in only] == [f"Sharpe, threshold {value}" for value in ("0.5", "1", "2")]
        cells = [
            [max(values) for values in zip(*rows, strict=True)]
            for rows in zip(*(seen["z"] for seen in only), strict=True)
        ]
        assert best["z"] == cells
        assert page.run(HIDDEN) == [True, True, False]
        page.run(CHOOSE, "up", "2")
        seen = page.run(MAP)
        assert (seen["across"], seen["up"]) == ("fast", "threshold")
        assert page.run(HIDDEN) == [True, False, True]


def test_one_axis_is_a_line(show: Show) -> None:
    with show(grid(FAST)) as page:
        hold_drawn(page, {"map", "spread"})
        assert page.run(MAP)["x"] == [5, 10, 20, 40]
    with show(grid(Axis("kind", ("a", "b", None)), mean=lambda values: 1e-4)) as page:
        assert page.run(MAP)["x"] == ["a", "b", "null"]


def test_a_column_orders_the_best_both_ways(two: Page) -> None:
    order, cells = two.run(SORT, 1)
    assert (order, cells) == ("ascending", sorted(cells, key=int))
    order, cells = two.run(SORT, 3)
    numbers = [float(cell.replace("\u2212", "-")) for cell in cells]
    assert (order, numbers) == ("descending", sorted(numbers, reverse=True))
    order, cells = two.run(SORT, 3)
    assert order == "ascending"
    assert two.run(SORT, 0) == ["ascending", [str(place) for place in range(1, 13)]]


def test_a_walk_forward_is_drawn_window_by_window(show: Show) -> None:
    made = walk(4)
    with show(made) as page:
        hold_drawn(page, {"growth", "drawdown", "steps", "map", "spread"})
        assert page.run(DRAWN)["growth"]["shapes"] == 4
        means = page.run(MAP)
        page.run(CHOOSE, "group", "2")
        second = page.run(MAP)
        assert second["z"] != means["z"]
        trained = [each.figures["sharpe"] for each in made.done("train") if each.trial.window == 1]
        assert [value for column in zip(*second["z"], strict=True) for value in column] == pytest.approx(
            trained, rel=1e-5
        )
        page.run("() => document.querySelector('[data-switch=scale] [data-value=log]').click()")
        assert page.run("() => document.querySelector('[data-chart=growth]').layout.yaxis.type") == "log"


@pytest.mark.parametrize("make", [grid, lambda: walk(3), lambda: grid(FAST), lambda: grid(FAST, SLOW, WIDE)])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_stands_out_of_a_phone(show: Show, make: Callable[[], Sweep], dark: bool) -> None:
    with show(make(), width=390, height=844, dark=dark) as page:
        seen = page.run("probe.overflow")
        assert seen["width"] <= 390, seen["out"]
        assert all(chart["width"] <= chart["room"] for chart in page.run(DRAWN).values())


def test_dark_readers_and_paper_get_charts_of_their_own(two: Page) -> None:
    tones = """() => { const [bars, map] = ["spread", "map"].map((name) =>
        document.querySelector(`[data-chart=${name}]`).data[0]);
      return [getComputedStyle(document.body).backgroundColor, bars.marker.color, map.colorscale[0][1]]; }"""
    light = two.run(tones)
    two.prefer(dark=True)
    two.wait(f"({tones})()[1] !== {light[1]!r}")
    assert [a == b for a, b in zip(light, two.run(tones), strict=True)] == [False] * 3
    two.prefer(dark=False)
    two.wait(f"({tones})()[1] === {light[1]!r}")
    two.run("() => dispatchEvent(new Event('beforeprint'))")
    assert {chart["width"] for chart in two.run(DRAWN).values()} == {680}
    two.run("() => dispatchEvent(new Event('afterprint'))")
    two.wait("[...document.querySelectorAll('svg.main-svg')].every((chart) => chart.clientWidth > 700)")


def odd() -> dict[str, Sweep]:
    axes = (Axis(EVIL, (EVIL, "b")), Axis("x", (1, 2)))
    made = grid(*axes, mean=lambda values: 1e-4, name=EVIL, notes=(EVIL,), method=EVIL, currency=EVIL)
    single = grid(Axis("fast", (5,)), Axis("slow", (50,)))
    return {
        "evil": replace(made, outcomes=(*made.outcomes, lost((EVIL, 1), "failed", EVIL))),
        "one trial": single,
        "nothing": sweep([lost((5, 50), "refused", "no")]),
        "no axis": sweep([outcome(())], ()),
        "mostly holes": replace(grid(), outcomes=grid().outcomes[3:5]),
        "all the same": grid(Axis("fast", (1, 2, 3)), mean=lambda values: 0.0, objective="trades"),
        "no test": replace(walk(2), outcomes=tuple(walk(2).done("train"))),
    }


@pytest.mark.parametrize("kind", odd())
def test_an_odd_sweep_is_drawn_without_an_error(show: Show, kind: str) -> None:
    with show(odd()[kind]) as page:
        assert page.run("probe.images") == 0
        for value in page.run(
            "() => [...document.querySelectorAll('.choices [name=figure] option')].map((each) => each.value)"
        ):
            page.run(CHOOSE, "figure", value)
