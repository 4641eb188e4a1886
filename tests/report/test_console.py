import io
from pathlib import Path

import pytest
from rich.console import Console

from framework.report.console import show_run
from framework.report.summary import summary
from tests.report.acted import make_acted


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


@pytest.fixture
def with_flows(build_run, build_result, build_master):
    """Two portfolios and a master account; money comes and goes, and is transferred."""
    flows = [(20, 5e6), (50, -1e6), (100, 123456.78, "transfer")]
    results = [build_result(flows=flows), build_result(portfolio_id="two", seed=3)]
    return build_run(*results, master=build_master(*results, opening=9e6))


@pytest.mark.parametrize("width", [40, 50, 60, 70, 80, 90, 100, 120])
def test_numbers_are_never_cut_with_flows_either(with_flows, width):
    table = printed(with_flows, width).split("Report:")[0]
    assert "…" not in table
    assert max(len(line.rstrip()) for line in table.splitlines()) <= width
    final = summary(with_flows)["total"]["final_equity"]
    assert f"{final:,.2f}" in table


def test_money_that_came_is_told_from_what_was_made(with_flows, build_run, build_result):
    lines = {line.split("  ")[0]: line for line in printed(with_flows, 120).splitlines()}
    for name, amount in (
        ("1", "+4,123,456.78"),
        ("two", " 0.00"),
        ("0 (master)", "−123,456.78"),
        ("total", "+4,000,000.00"),
    ):
        assert amount in lines[name]
    assert "8,876,543.22" in lines["0 (master)"]
    assert "Money-weighted" in lines["Portfolio"]
    plain = printed(build_run(build_result(), build_result(portfolio_id="two")), 120)
    assert "Money" not in plain
    assert "money" not in plain


def test_the_summary_of_an_older_version_is_shown_too(build_run):
    numbers = summary(build_run())
    new = ("deposits", "withdrawals", "net_flows", "transfers", "profit", "money_weighted_return")
    del numbers["master"]
    for section in (numbers["total"], *numbers["portfolios"].values()):
        for key in new:
            del section[key]
    out = io.StringIO()
    show_run(numbers, Path("report.html"), Console(file=out, width=120))
    assert f"{numbers['total']['final_equity']:,.2f}" in out.getvalue()


def test_a_portfolio_with_a_master_has_a_total(build_run, build_result, build_master):
    result = build_result(flows=[(10, 1e5, "transfer")])
    text = printed(build_run(result, master=build_master(result, opening=1e6)), 100)
    assert "total" in text
    assert "0 (master)" in text


@pytest.mark.parametrize("width", [80, 95, 105, 115, 130, 140, 150])
@pytest.mark.parametrize("has_flows", [False, True])
def test_splits_and_dividends_are_shown_where_there_were_any(build_run, build_result, width, has_flows):
    flows = [(5, 5e6), (6, -1e6)] if has_flows else []
    quiet = build_result(portfolio_id="two", bars=10, cash=1e7, flows=flows)
    events = [(1, 0, "fill", 1e5), (3, 0, "split", 2.0), (4, 0, "dividend", 0.5)]
    table = printed(build_run(make_acted(events, bars=10, cash=1e7), quiet), width).split("Report:")[0]
    assert "…" not in table
    assert max(len(line.rstrip()) for line in table.splitlines()) <= width
    if width >= 150:
        assert "100,000.00" in table
        assert "Splits" in table
    quietly = printed(build_run(quiet), width)
    assert "Dividends" not in quietly
    assert "Splits" not in quietly


def test_a_summary_of_before_has_none(build_run, build_result):
    numbers = summary(build_run(build_result()))
    for figures in (numbers["total"], *numbers["portfolios"].values()):
        del figures["dividends"], figures["splits"]
    out = io.StringIO()
    show_run(numbers, Path("report.html"), Console(file=out, width=150))
    assert "Dividends" not in out.getvalue()
