"""What the tests of pages rely on: that a browser is found or missed as it must be, and that it hides nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.report.browser import Browser, BrowserError, Page, find_chromium

BAD = """<!doctype html><meta charset="utf-8"><title>bad</title><link rel="icon" href="data:,">
<style>body { background: white } @media (prefers-color-scheme: dark) { body { background: black } }</style>
<script>console.error("said", 7); console.warn("warned"); console.log("told"); alert("stop"); missing();</script>
<script>Promise.reject(new Error("broken promise")); document.title = seen;</script>
<img src="http://example.invalid/picture.png"><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">"""


@pytest.fixture(scope="module")
def bad(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    path = tmp_path_factory.mktemp("bad") / "a page.html"
    path.write_text(BAD)
    with closing(browser.open(path, "globalThis.seen = 'before'", width=390, height=500)) as page:
        yield page


def make_program(folder: Path, name: str, text: str = "#!/bin/sh\n") -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_the_first_name_on_the_path_is_taken_unless_one_is_named(tmp_path: Path) -> None:
    other, first = (make_program(tmp_path, name) for name in ("google-chrome", "chromium"))
    assert find_chromium({"PATH": str(tmp_path)}) == first
    assert find_chromium({"PATH": str(tmp_path), "ENGINE_CHROMIUM": other}) == other


@pytest.mark.parametrize("named", [{}, {"ENGINE_CHROMIUM": "chromium-of-nobody"}])
def test_without_one_tests_are_skipped_and_fail_where_they_must_not_be(tmp_path: Path, named: dict[str, str]) -> None:
    nothing = {"PATH": str(tmp_path), "CI": "", **named}
    with pytest.raises(pytest.skip.Exception, match="ENGINE_CHROMIUM"):
        find_chromium(nothing)
    for name in ("CI", "ENGINE_REQUIRE_BROWSER"):
        with pytest.raises(pytest.fail.Exception, match="install it"):
            find_chromium({**nothing, name: "1"})


def test_what_goes_wrong_in_a_page_is_heard(bad: Page) -> None:
    said = "\n".join(bad.messages)
    for wanted in (
        "error: said 7",
        "warning: warned",
        "alert stop",
        "missing is not defined",
        "broken promise",
        "ERR_NAME_NOT_RESOLVED",
    ):
        assert wanted in said
    assert "told" not in said
    assert bad.requests == ["http://example.invalid/picture.png"]


def test_a_script_comes_before_the_pages_own(bad: Page) -> None:
    assert bad.run("() => document.title") == "before"


def test_functions_take_arguments_and_are_waited_for(bad: Page) -> None:
    later = "(a, b) => new Promise((done) => setTimeout(() => done({ sum: a + b.of }), 5))"
    assert bad.run(later, 1, {"of": 2}) == {"sum": 3}
    with pytest.raises(BrowserError, match="no such thing"):
        bad.run("() => { throw new Error('no such thing') }")


def test_a_screenshot_has_the_size_and_the_colours_asked_for(bad: Page) -> None:
    light = bad.screenshot()
    assert struct.unpack(">II", light[16:24]) == (390, 500)
    assert bad.run("() => innerWidth") == 390
    bad.prefer(dark=True)
    assert bad.run("() => getComputedStyle(document.body).backgroundColor") == "rgb(0, 0, 0)"
    assert bad.screenshot() != light
    bad.prefer(dark=False)


def test_work_costs_time_and_waiting_none(bad: Page) -> None:
    def cost(function: str) -> float:
        before = bad.busy_seconds()
        bad.run(function)
        return bad.busy_seconds() - before

    waiting = cost("() => new Promise((done) => setTimeout(done, 300))")
    work = cost("() => { let sum = 0; for (let i = 0; i < 5e7; i += 1) sum += i % 7; return sum; }")
    assert waiting < work / 3


def test_a_program_that_is_no_browser_is_told_by_its_own_words(tmp_path: Path) -> None:
    program = make_program(tmp_path, "none", "#!/bin/sh\necho cannot open display\n")
    page = tmp_path / "page.html"
    page.touch()
    with closing(Browser(program)) as none, pytest.raises(BrowserError, match="cannot open display"):
        none.open(page)
