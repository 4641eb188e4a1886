import io
from pathlib import Path

import pytest
from rich.console import Console

from framework.report.console import show_run
from framework.report.summary import summary


def printed(run, width):
    out = io.StringIO()
    show_run(summary(run), Path("runs/demo/report.html"), Console(file=out, width=width))
    return out.getvalue()


def test_a_line_for_each_portfolio_and_the_total(build_run, build_result):
    text = printed(build_run(build_result(), build_result(portfolio_id="[red]two", seed=3)), 100)
    for word in ("Return", "CAGR", "Sharpe", "Max drawdown", "Trades", "Final equity", "[red]two", "total"):
        assert word in text
    assert "Report: runs/demo/report.html" in text


def test_a_single_portfolio_has_no_total(build_run):
    assert "total" not in printed(build_run(), 100)


@pytest.mark.parametrize("width", [40, 50, 60, 70, 80, 120])
def test_numbers_are_never_cut(build_run, build_result, width):
    run = build_run(build_result())
    text = printed(run, width)
    assert f"{summary(run)['total']['final_equity']:,.2f}" in text
    assert "…" not in text
    table = text.split("Report:")[0]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= width


def test_undefined_figures_are_dashes(build_run, build_result):
    assert "–" in printed(build_run(build_result(every=0)), 100)
