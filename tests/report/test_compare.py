"""Runs side by side: numbers against what made the runs, what differs, and folders that are broken or odd."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from framework.errors import EngineError, UsageError
from framework.report import compare_page, metrics
from framework.report.assemble import accounts
from framework.report.compare import compare, compared, differences, returns_between
from framework.report.compare_page import headline, render, write_comparison
from framework.report.compare_view import document, show_comparison
from framework.report.measures import MEASURES
from framework.report.past_run import read_past_run
from framework.report.write import write_run
from tests.report.acted import make_acted

KEYS = {each.key: each for each in MEASURES}


def config(**changes):
    strategy = {"name": "sma_cross", "params": {"fast": 10, "slow": 50}}
    portfolio = {"id": "1", "cash": 1e6, "tickers": ["AAPL", "MSFT"], "strategy": strategy, "risk": []}
    return {"name": "demo", "interval": "1d", "calendar": "XNYS", "portfolios": [portfolio], **changes}


@pytest.fixture
def leave(tmp_path, build_run):
    """``leave(name, *results, …) -> folder`` of a run, written by the code that writes every run's."""

    def left(where, *results, **changes):
        folder = tmp_path / where
        write_run(build_run(*results, **{"name": where, **changes}), folder)
        return folder

    return left


def printed(found, width):
    out = io.StringIO()
    show_comparison(found, Console(file=out, width=width))
    return out.getvalue()


class Tags(HTMLParser):
    """Collects start tags, and checks that tags nest."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "input", "br", "wbr"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def drawn(html):
    found = re.search(r'id="packed-data">([^<]*)</script>', html)
    assert found is not None
    return json.loads(zlib.decompress(base64.b64decode(found[1])))


def readable(html):
    return re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL)


def hold_everything(found):
    """All three views of a comparison, each checked for what must never be in it."""
    text = json.dumps(document(found), allow_nan=False)
    html = render(found)
    Tags(html)
    drawn(html)
    table = printed(found, 100)
    for shown in (readable(html), table):
        assert not re.search(r"\b(NaN|nan|inf|Infinity|None)\b", shown)
    return text, html, table


# --- the numbers -----------------------------------------------------------------------------------------------------


def test_dividends_are_a_figure_where_there_were_any_and_runs_of_before_have_none(leave, build_result):
    acted = make_acted([(1, 0, "fill", 10.0), (4, 0, "dividend", 0.5)], bars=30)
    folders = [leave("new", acted), leave("old", build_result(bars=30))]
    old = folders[1] / "summary.json"
    numbers = json.loads(old.read_text())
    del numbers["total"]["dividends"], numbers["total"]["splits"]
    old.write_text(json.dumps(numbers))
    (folders[1] / "actions.csv").unlink()
    found = compare(folders)
    assert found.row(KEYS["dividends"]) == (5.0, None)
    assert KEYS["dividends"] in found.measures
    assert "Dividends" in printed(found, 100)


def test_figures_are_those_of_the_summaries(leave, build_result):
    folders = [leave("fast", build_result()), leave("slow", build_result(seed=5, fee=0.002))]
    found = compare(folders)
    totals = [json.loads((folder / "summary.json").read_text())["total"] for folder in folders]
    assert found.names == ("fast", "slow")
    for key in KEYS.keys() - {"net_flows", "dividends"}:
        first, second = (total[key] for total in totals)
        assert first is not None
        assert found.row(KEYS[key]) == (first, second)
        assert found.against_first(KEYS[key]) == (0.0, second - first)
        assert KEYS[key] in found.measures
    assert KEYS["net_flows"] not in found.measures  # nothing came or went
    assert KEYS["dividends"] not in found.measures
    assert found.warnings == ()


def test_the_best_of_a_row_is_the_better_end(leave, build_result):
    found = compare(
        [leave("a", build_result()), leave("b", build_result(seed=5, fee=0.002)), leave("c", build_result())]
    )
    for key, pick in (("total_return", max), ("max_drawdown", max), ("volatility", min), ("fees", min)):
        row = found.row(KEYS[key])
        assert found.best(KEYS[key]) == tuple(i for i, value in enumerate(row) if value == pick(row))
    assert found.best(KEYS["sharpe"]) in ((1,), (0, 2))
    assert found.best(KEYS["trades"]) == found.best(KEYS["exposure"]) == ()


def test_nothing_is_best_where_all_are_the_same(leave):
    found = compare([leave("a"), leave("b")])
    assert [found.best(each) for each in MEASURES] == [()] * len(MEASURES)
    assert "*" not in printed(found, 100)
    assert "Both runs made" in headline(found)


def test_runs_of_other_periods_and_money_are_not_ranked_by_what_depends_on_it(leave, build_result):
    found = compare([leave("a", build_result()), leave("b", build_result(bars=250, seed=5))])
    assert found.best(KEYS["total_return"]) == found.best(KEYS["final_equity"]) == ()
    assert len(found.best(KEYS["sharpe"])) == 1
    found = compare([leave("c", build_result()), leave("d", build_result(cash=5e5, seed=5))])
    assert found.best(KEYS["final_equity"]) == found.best(KEYS["fees"]) == ()
    assert len(found.best(KEYS["total_return"])) == 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"flows": [(20, 5e5), (40, -3e5), (41, 1e5)]},
        {"per_session": 10, "bars": 200},
        {"per_session": 10, "bars": 200, "flows": [(33, 5e5), (70, -3e5)]},
        {"step": "D"},
        {"cash": 0.0, "flows": [(5, 1e5)]},
    ],
)
def test_the_curve_grows_to_the_total_return(leave, build_run, build_result, options):
    result = build_result(**options)
    run, account = read_past_run(leave("a", result)), accounts(build_run(result)).total
    assert run.growth[-1] - 1 == pytest.approx(run.figures["total_return"], abs=1e-8)
    assert run.curve.sessions.tolist() == account.curve.sessions.tolist()
    assert run.curve.returns == pytest.approx(account.curve.returns, abs=1e-8)


def test_the_total_of_several_portfolios_is_compared(leave, build_result, build_master):
    first = build_result(flows=[(10, 1e5, "transfer"), (30, 2e5)])
    results = [first, build_result(("GOOG",), portfolio_id="2", seed=3)]
    folder = leave("several", *results, master=build_master(*results, opening=3e5))
    found = compare([leave("one", build_result()), folder])
    total = json.loads((folder / "summary.json").read_text())["total"]
    assert found.row(KEYS["net_flows"])[1] == 2e5
    assert found.row(KEYS["final_equity"])[1] == total["final_equity"]
    assert found.runs[1].growth[-1] - 1 == pytest.approx(total["total_return"], abs=1e-8)


def test_correlation_is_of_session_returns(leave, build_run, build_result):
    results = [build_result(seed=seed) for seed in (1, 2, 3)]
    found = compare([leave(f"r{i}", result) for i, result in enumerate(results)])
    returns = [accounts(build_run(result)).total.curve.returns for result in results]
    assert found.correlation == pytest.approx(np.corrcoef(returns), abs=1e-6)
    assert found.shared.tolist() == [[300] * 3] * 3


def test_returns_over_sessions_that_another_run_lacks_are_compounded(leave, build_result):
    daily = leave("daily", build_result(step="D", bars=140))
    weekdays = leave("weekdays", build_result(bars=100))
    found = compare([daily, weekdays])
    every, five = (run.curve for run in found.runs)
    common = found.common
    assert common is not None
    assert found.shared[0, 1] == common.sessions == 100
    growth = np.concatenate(([1.0], np.cumprod(1 + every.returns)))
    rows = np.flatnonzero(np.isin(every.sessions, five.sessions))
    over_weekends = growth[rows + 1] / growth[np.concatenate(([0], rows[:-1] + 1))] - 1
    assert returns_between(found.runs[0], five.sessions) == pytest.approx(over_weekends)
    assert found.correlation[0, 1] == pytest.approx(np.corrcoef(over_weekends, five.returns)[0, 1])
    assert common.figures[0].total_return == pytest.approx(growth[rows[-1] + 1] - 1)
    assert common.figures[1] == metrics.figures(five.returns, metrics.sessions_per_year(five.sessions))


def test_only_common_sessions_count_where_periods_overlap(leave, build_result):
    result = build_result(bars=200)
    found = compare([leave("whole", result), leave("late", replace_first(result, 120))])
    common = found.common
    assert common is not None
    assert common.sessions == found.shared[0, 1] == 80
    assert str(common.start) == str(found.runs[1].start)
    whole, late = (run.curve.returns for run in found.runs)
    assert common.figures[0].total_return == pytest.approx(np.prod(1 + whole[120:]) - 1)
    assert common.figures[1].total_return == pytest.approx(np.prod(1 + late) - 1)
    assert any("different periods (whole: 3 Jan 2005 to 7 Oct 2005; late: " in each for each in found.warnings)


def replace_first(result, first):
    """The same run from a later bar on, on the money that it has there."""
    cut = {name: getattr(result, name)[first:] for name in ("equity", "cash", "gross", "net")}
    keep = np.flatnonzero(result.trades.filled >= first)
    fields = {name: getattr(result.trades, name) for name in result.trades.__dataclass_fields__}
    trades = {name: None if values is None else values[keep] for name, values in fields.items()}
    return replace(
        result, first=first, opening_cash=result.equity[first - 1], trades=type(result.trades)(**trades), **cut
    )


def test_yearly_returns_stand_side_by_side(leave, build_run, build_result):
    results = [build_result(bars=300), build_result(bars=300, start="2006-01-02", seed=4)]
    found = compare([leave("a", results[0]), leave("b", results[1])])
    assert found.years.astype(str).tolist() == ["2005", "2006", "2007"]
    for column, result in enumerate(results):
        curve = accounts(build_run(result)).total.curve
        years, returns = metrics.compounded(curve.sessions, curve.returns, "Y")
        own = found.yearly[:, column]
        assert own[~np.isnan(own)] == pytest.approx(returns, abs=1e-8)
        assert found.years[~np.isnan(own)].tolist() == years.tolist()
    assert document(found)["yearly_returns"]["2007"][0] is None


# --- what differs ----------------------------------------------------------------------------------------------------


def test_keys_whose_values_differ_are_named_by_their_path(leave):
    other = config()
    other["portfolios"][0]["strategy"] = {"name": "momentum", "params": {"fast": 20, "slow": 50.0}}
    other["portfolios"][0]["tickers"] = ["AAPL"]
    other["allocator"] = {"name": "daily"}
    found = compare([leave("a", config=config()), leave("b", config=other, fingerprint="sha256:9")])
    assert [(each.path, each.values) for each in found.settings] == [
        ("portfolios.0.tickers", (["AAPL", "MSFT"], ["AAPL"])),
        ("portfolios.0.strategy.name", ("sma_cross", "momentum")),
        ("portfolios.0.strategy.params.fast", (10, 20)),
        ("allocator.name", (None, "daily")),
    ]
    assert [each.path for each in found.circumstances] == ["fingerprint"]
    lines = printed(found, 120).splitlines()
    (row,) = [line for line in lines if line.startswith("portfolios.0.strategy.params.fast")]
    assert row.split() == ["portfolios.0.strategy.params.fast", "10", "20"]
    assert document(found)["differs"]["config"]["portfolios.0.tickers"] == [["AAPL", "MSFT"], ["AAPL"]]
    assert ">allocator.<wbr>name</th>" in render(found)


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ([{"a": 1}, {"a": 1.0}], {}),
        ([{"a": 1}, {"a": True}], {"a": (1, True)}),
        ([{"a": None}, {}], {}),
        ([{"a": {}, "b": []}, {}], {}),
        ([{"a": []}, {"a": [{"b": 1}]}], {"a.0.b": (None, 1)}),
        ([{"a": [1, 2]}, {"a": [1]}, {"a": [1, 2]}], {"a": ([1, 2], [1], [1, 2])}),
        ([{"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 3}]}], {"a.1.b": (2, 3)}),
        ([{"a": "x"}, {"a": {"name": "x"}}], {"a": ("x", None), "a.name": (None, "x")}),
        ([{"a": 1}, None, {"a": 2}], {"a": (1, None, 2)}),
        ([{"a": 1}, None], {}),
        ([None, None], {}),
    ],
)
def test_what_counts_as_different(documents, expected):
    assert {each.path: each.values for each in differences(documents)} == expected


def test_many_differences_are_cut_and_announced(leave):
    folders = [
        leave(name, config={"params": {f"p{i:02d}": f"{name}{i} " + "long " * 60 for i in range(55)}}) for name in "ab"
    ]
    found = compare(folders)
    assert "… and 15 more; --json has all" in printed(found, 100)
    assert "… and 15 more." in render(found)
    assert len(document(found)["differs"]["config"]) == 55


@pytest.mark.parametrize(
    ("names", "folders", "expected"),
    [
        (("x", "y"), ("1/a", "2/a"), ("x", "y")),
        (("x", "x"), ("1/a", "1/b"), ("a", "b")),
        (("x", "x", "y"), ("1/a", "2/a", "2/b"), ("1/a", "2/a", "2/b")),
        (("", "x"), ("1/a", "2/a"), ("a", "x")),
    ],
)
def test_names_are_made_distinct(leave, tmp_path, monkeypatch, build_run, names, folders, expected):
    monkeypatch.chdir(tmp_path)
    for name, folder in zip(names, folders, strict=True):
        write_run(build_run(name=name), tmp_path / folder)
    found = compare([type(tmp_path)(folder) for folder in folders])
    assert found.names == expected


# --- warnings --------------------------------------------------------------------------------------------------------


def test_runs_that_can_hardly_be_compared_are_told(leave, build_result):
    euro = replace(build_result(), currency="EUR")
    found = compare(
        [
            leave("a", config=config()),
            leave(
                "b",
                euro,
                prices="traded",
                fingerprint="sha256:77",
                versions={"portfolio-engine": "0.2.0"},
                config=config(interval="1h"),
            ),
        ]
    )
    text = " ".join(found.warnings)
    for part in (
        "different currencies (a: USD; b: EUR)",
        "The bars differ",
        "prices of different kinds (a: adjusted; b: traded)",
        "Bars are of different length (a: 1d; b: 1h)",
        "different versions of portfolio-engine (a: 0.1.0; b: 0.2.0)",
    ):
        assert part in text
    assert found.against_first(KEYS["final_equity"]) == (0.0, None)
    assert found.best(KEYS["final_equity"]) == ()
    shown = printed(found, 120)
    for warning in found.warnings:
        assert warning in shown
        assert warning in readable(render(found)).replace("&#39;", "'")


def test_disjoint_periods_have_no_correlation(leave, build_result):
    found = compare([leave("a", build_result(bars=100)), leave("b", build_result(bars=100, start="2010-01-04"))])
    assert found.common is None
    assert np.isnan(found.correlation[0, 1])
    assert found.warnings[0].startswith(
        "The runs have no session in common (a: 3 Jan 2005 to 20 May 2005; b: 4 Jan 2010"
    )
    text, html, table = hold_everything(found)
    assert json.loads(text)["common"] is None
    assert json.loads(text)["correlation"] == [[1.0, None], [None, 1.0]]
    assert 'class="months"' not in html
    assert 'data-switch="span"' not in html
    assert "On common sessions" not in table


def test_other_calendars_are_told(leave, build_result):
    found = compare([leave("a", build_result(bars=420)), leave("b", build_result(step="D", bars=588))])
    text = " ".join(found.warnings)
    assert "A year has different numbers of sessions (a: 261; b: 365)" in text
    assert "have different sessions (a: 420; b: 588); 420 are common to all." in text or "different periods" in text
    assert "On the common sessions" in render(found)


def test_mixed_money_is_named_on_the_terminal(leave, build_result):
    found = compare([leave("a"), leave("b", replace(build_result(), currency="EUR")), leave("c", build_result(seed=2))])
    line = next(line for line in printed(found, 100).splitlines() if line.startswith("Currency"))
    assert line.split() == ["Currency", "USD", "EUR", "USD"]
    assert "(a and c: USD; b: EUR)" in found.warnings[0]
    plain = printed(compare([leave("d"), leave("e")]), 100)
    assert plain.startswith("USD ")
    assert "Currency" not in plain


# --- odd runs --------------------------------------------------------------------------------------------------------


def ruined(result):
    equity = result.equity.copy()
    equity[len(equity) // 2 :] = 0.0
    return replace(result, equity=equity)


@pytest.mark.parametrize(
    "options", [{"every": 0}, {"bars": 1}, {"bars": 2}, {"per_session": 30}, {"cash": 0.01}, {"gaps": 0.5}]
)
def test_odd_runs_are_compared(leave, build_result, options):
    plain, odd = leave("plain", build_result()), leave("odd", build_result(**options))
    hold_everything(compare([plain, odd]))
    hold_everything(compare([odd, plain, leave("again", build_result(**options))]))


def test_a_total_loss_stays_lost(leave, build_result):
    found = compare([leave("plain", build_result()), leave("ruin", ruined(build_result()))])
    assert found.row(KEYS["total_return"])[1] == -1.0
    assert found.runs[1].growth[-1] == 0.0
    html = hold_everything(found)[1]
    assert drawn(html)["runs"][1]["drawdown"][-1] == -1.0


def test_unknown_values_are_gaps(leave, build_result):
    result = build_result()
    equity = result.equity.copy()
    equity[100:110] = np.nan
    found = compare([leave("plain", build_result()), leave("holes", replace(result, equity=equity))])
    hold_everything(found)


def test_intraday_and_daily_runs_meet_at_their_sessions(leave, build_result):
    daily, intraday = build_result(bars=20), build_result(bars=600, per_session=30)
    found = compare([leave("daily", daily), leave("minutes", intraday)])
    assert found.shared.tolist() == [[20, 20], [20, 20]]
    assert found.is_same_span
    lines = drawn(render(found))["runs"]
    assert lines[0]["time"] == lines[1]["time"]
    assert len(lines[0]["time"]) == 20
    alone = drawn(render(compare([leave("a", intraday), leave("b", build_result(bars=600, per_session=30, seed=4))])))
    assert len(alone["runs"][0]["time"]) == 600
    assert alone["runs"][0]["time"][1] == "2005-01-03T14:31:00"


def shift(folder, hours):
    """Move the bars of a run's ``equity.csv``, as those of an exchange of another continent would lie."""
    lines = (folder / "equity.csv").read_text().splitlines()
    rows = [line.partition(",") for line in lines[1:]]
    moved = [np.datetime64(at.removesuffix("Z")) + np.timedelta64(hours, "h") for at, _, _ in rows]
    text = [f"{at}Z,{rest}" for at, (_, _, rest) in zip(moved, rows, strict=True)]
    (folder / "equity.csv").write_text("\n".join([lines[0], *text]) + "\n")


def test_sessions_are_those_of_the_runs_calendar(leave, build_result):
    minutes = {"per_session": 4, "bars": 16}
    folder = leave("fx", build_result(**minutes), config=config(calendar="FX", interval="1min"))
    shift(folder, 8)  # 22:30 UTC is past 17:00 in New York, where the next session begins
    assert read_past_run(folder).curve.sessions.astype(str).tolist() == [f"2005-01-0{day}" for day in (4, 5, 6, 7)]
    unknown = leave("unknown", build_result(**minutes), config=config(calendar="XMOON", interval="1min"))
    assert read_past_run(unknown).curve.sessions.astype(str).tolist() == [f"2005-01-0{day}" for day in (3, 4, 5, 6)]


def test_days_that_stand_for_sessions_are_told(leave, build_result):
    folder = leave("late", build_result(per_session=4, bars=16), config={})
    lines = (folder / "equity.csv").read_text().replace("2005-01-03T14:3", "2005-01-02T23:3", 2)
    (folder / "equity.csv").write_text(lines)
    found = compare([folder, leave("plain", build_result(bars=4), config=config())])
    assert any("The sessions of late could not be told by its calendar" in each for each in found.warnings)
    assert any("The config of late is not in its summary" in each for each in found.warnings)


# --- folders that are broken -----------------------------------------------------------------------------------------


def rewrite_summary(folder, change):
    numbers = json.loads((folder / "summary.json").read_text())
    change(numbers)
    (folder / "summary.json").write_text(json.dumps(numbers))


def cut(name, keep):
    def break_it(folder):
        text = (folder / name).read_text()
        (folder / name).write_text(keep(text))

    return break_it


BROKEN = {
    "no folder": (lambda folder: folder.rename(folder.with_name("gone")), UsageError, "there is no folder"),
    "no summary": (lambda folder: (folder / "summary.json").unlink(), UsageError, "holds no summary.json"),
    "no curve": (lambda folder: (folder / "equity.csv").unlink(), UsageError, "holds no equity.csv, which every"),
    "no months": (lambda folder: (folder / "returns_monthly.csv").unlink(), UsageError, "holds no returns_monthly.csv"),
    "half a summary": (cut("summary.json", lambda text: text[:99]), EngineError, r"summary.json' cannot be read"),
    "a list": (cut("summary.json", lambda text: "[1]"), UsageError, "which is a JSON object"),
    "half a row": (cut("equity.csv", lambda text: text[:-40]), EngineError, "is cut off: it ends in the middle"),
    "half of the rows": (
        cut("equity.csv", lambda text: "".join(text.splitlines(keepends=True)[:150])),
        EngineError,
        r"has 149 rows, and summary\.json beside it counts 300 bars",
    ),
    "half of the months": (
        cut("returns_monthly.csv", lambda text: "".join(text.splitlines(keepends=True)[:5])),
        EngineError,
        "goes from 2005-01 to 2005-04, and summary.json beside it from 2005-01 to 2006-02",
    ),
    "no rows": (cut("equity.csv", lambda text: text.splitlines(keepends=True)[0]), EngineError, "has no rows"),
    "an empty file": (cut("equity.csv", lambda text: ""), EngineError, "cut off"),
    "only a line end": (cut("equity.csv", lambda text: "\n"), EngineError, "cannot be read"),
    "no column": (cut("equity.csv", lambda text: text.replace("cash", "case", 1)), EngineError, "no column 'cash'"),
    "words": (cut("equity.csv", lambda text: text.replace(",1000000.0", ",much", 1)), EngineError, "cannot be read"),
    "no time": (cut("equity.csv", lambda text: text.replace("2005-01-04T", "Tue", 1)), EngineError, "cannot be read"),
    "times that fall": (
        cut("equity.csv", lambda text: text.replace("2005-01-04", "2009-01-04", 1)),
        EngineError,
        "rise",
    ),
    "no total": (
        lambda folder: rewrite_summary(folder, lambda numbers: numbers.pop("total")),
        UsageError,
        "has no section `total`, so no run left it",
    ),
    "no opening": (
        lambda folder: rewrite_summary(folder, lambda numbers: numbers["total"].pop("initial_equity")),
        EngineError,
        r"does not say total\.initial_equity",
    ),
    "no date": (
        lambda folder: rewrite_summary(folder, lambda numbers: numbers["total"].update(start="soon")),
        EngineError,
        "total.start was 'soon'",
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory, build_run):
    folder = tmp_path_factory.mktemp("compare") / "good"
    write_run(build_run(), folder)
    return folder


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder_is_told(tmp_path, good, kind):
    break_it, error, answer = BROKEN[kind]
    bad = shutil.copytree(good, tmp_path / "bad")
    break_it(bad)
    with pytest.raises(error, match=answer) as raised:
        compare([good, bad])
    assert "bad" in str(raised.value)


def test_the_summary_of_another_version_is_compared(leave):
    def older(numbers):
        for key in ("master", "notes", "fill", "costs", "versions"):
            del numbers[key]
        gone = ("net_flows", "profit", "money_weighted_return", "sessions", "sessions_per_year", "bars", "currency")
        for key in gone:
            del numbers["total"][key]
        numbers["total"] |= {"omega": 1.2, "tail": {"var": 0.1}, "label": "x", "sharpe": "high"}

    old = leave("old")
    rewrite_summary(old, older)
    lines = (old / "equity.csv").read_text().splitlines()
    (old / "equity.csv").write_text("".join(line.rpartition(",")[0] + "\n" for line in lines))
    found = compare([leave("new"), old])
    assert found.row(KEYS["money_weighted_return"])[1] is None
    assert found.row(KEYS["sharpe"])[1] is None
    assert found.against_first(KEYS["sharpe"]) == (0.0, None)
    assert found.row(KEYS["cagr"])[0] == found.row(KEYS["cagr"])[1]
    hold_everything(found)


def test_two_runs_at_least_and_each_once(leave, tmp_path):
    folder = leave("a")
    for folders, answer in (
        ([], "no run folders given"),
        ([folder], "1 run folder given; --compare takes two or more"),
        ([folder, folder], "is given twice"),
        ([folder, tmp_path / "x" / ".." / "a"], "is given twice"),
    ):
        with pytest.raises(UsageError, match=answer):
            compare(folders)


def test_progress_is_told_folder_by_folder(leave):
    seen = []
    folders = [leave("a"), leave("b")]
    compare(folders, lambda folder, done, total: seen.append((folder, done, total)))
    assert seen == [(str(folders[0]), 0, 2), (str(folders[1]), 1, 2)]


# --- the terminal ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_numbers_are_never_cut(leave, build_result, width):
    folders = [
        leave(f"a name as long as names may be {i}", build_result(seed=i, cash=1e9 / i), config=config(start=f"{i}"))
        for i in range(1, 6)
    ]
    found = compare(folders)
    text = printed(found, width)
    tables = text.split("Note:")[0]
    assert "…" not in tables
    assert max(len(line.rstrip()) for line in tables.splitlines()) <= width
    for value in found.row(KEYS["final_equity"]):
        assert value is not None
        assert f"{value:,.0f}" in tables


def test_two_runs_have_their_difference_beside_them(leave, build_result):
    found = compare([leave("a", build_result()), leave("b", build_result(seed=5))])
    text = printed(found, 100)
    line = next(line for line in text.splitlines() if line.startswith("Trades"))
    first, second = found.row(KEYS["trades"])
    assert first is not None
    assert second is not None
    cells = line.split()
    assert cells[1:3] == [f"{first:.0f}", f"{second:.0f}"]
    assert "Difference" in text
    assert "* the best of its row" in text
    three = printed(compare([leave("c"), leave("d", build_result(seed=5)), leave("e", build_result(seed=6))]), 100)
    assert "Difference" not in three
    assert "Less c" in three


def test_what_is_the_same_is_said(leave):
    same = {"config": config()}
    text = printed(compare([leave("a", **same), leave("b", **same)]), 100)
    assert "Nothing differs: config, data, dates and versions are the same." in text


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_is_one_file_that_asks_nobody_for_anything(leave, build_result):
    html = render(compare([leave("a"), leave("b", build_result(seed=3))]))
    for _, attributes in Tags(html).seen:
        for name in ("src", "href"):
            assert not str(attributes.get(name, "data:")).startswith(("http", "//"))
    assert "@import" not in html


EVIL = '</script><img src=x onerror="alert(1)">{{ 7*7 }}'


def test_what_users_wrote_is_escaped(leave, build_result):
    evil = {
        "name": EVIL, "config": {EVIL: EVIL}, "versions": {EVIL: EVIL}, "fingerprint": EVIL, "prices": EVIL,
        "costs": EVIL, "fill": EVIL,
    }  # fmt: skip
    html = render(compare([leave("evil", build_result(strategy=EVIL), **evil), leave("b", config=config())]))
    tags = [tag for tag, _ in Tags(html).seen]
    assert "img" not in tags
    assert tags.count("script") == 3
    assert EVIL not in html
    assert "{{ 7*7 }}" in readable(html)


def test_the_page_shows_the_figures_and_marks_the_best(leave, build_result):
    found = compare([leave("a", build_result()), leave("b", build_result(seed=5))])
    html = render(found)
    for measure in found.measures:
        for value in found.row(measure):
            assert f">{measure.text(value)}<" in html
    assert html.count("(best)") == sum(len(found.best(each)) for each in found.measures) > 4
    assert headline(found) in readable(html)


def test_the_headline_says_who_made_more(leave, build_result):
    a, b, c = (leave(name, build_result(seed=seed)) for name, seed in (("a", 1), ("b", 5), ("c", 6)))
    made = {folder.name: read_past_run(folder).figures["total_return"] for folder in (a, b, c)}
    first, *_, last = sorted(made, key=lambda name: made[name], reverse=True)
    said = headline(compare([a, b, c]))
    assert said.startswith(f"Of 3 runs, {first} made most (")
    assert f", {last} least (" in said
    more, less = ("a", "b") if made["a"] > made["b"] else ("b", "a")
    points = (made[more] - made[less]) * 100
    assert headline(compare([a, b])).startswith(f"{more} made {points:.1f} percentage points more than {less}: ")
    assert headline(compare([a, leave("d", build_result(bars=250, seed=5))])).endswith(", each over a time of its own.")


def test_charts_show_growth_and_drawdown(leave, build_result):
    found = compare([leave("a", build_result()), leave("b", build_result(seed=5))])
    data = drawn(render(found))
    for run, line in zip(found.runs, data["runs"], strict=True):
        assert line["growth"] == pytest.approx(run.growth, abs=1e-5)
        assert min(line["drawdown"]) == pytest.approx(run.figures["max_drawdown"], abs=1e-5)
        assert line["time"] == run.curve.sessions.astype(str).tolist()
    assert data["yearly"] == [pytest.approx(found.yearly[:, i], abs=1e-5) for i in range(2)]


def test_months_of_two_runs_are_subtracted(leave, build_result):
    found = compare([leave("a", build_result()), leave("b", build_result(seed=5))])
    html = render(found)
    first, second = found.runs
    gaps = (second.monthly - first.monthly) * 100
    table = html[html.index('class="months"') :]
    cells = [
        float(text.replace("\u2212", "-")) for text in re.findall(r'<td class="(?:up|down)"[^>]*>([^<]+)</td>', table)
    ]
    assert cells == pytest.approx(gaps, abs=0.051)
    three = render(compare([leave("c"), leave("d", build_result(seed=5)), leave("e", build_result(seed=6))]))
    assert 'class="months"' not in three


def test_months_that_only_one_run_has_are_left_out(leave, build_result):
    found = compare([leave("a", build_result(bars=100)), leave("b", build_result(bars=100, start="2005-04-01"))])
    table = render(found)
    table = table[table.index('class="months"') :]
    assert len(re.findall(r'<td class="(?:up|down)"', table)) == 2  # April and May


def test_many_long_runs_stay_below_three_megabytes(leave, build_result):
    runs = [read_past_run(leave(f"r{i}", build_result(bars=2520, seed=i))) for i in range(4)]
    many = compared([replace(runs[i % 4], title=f"run {i}") for i in range(40)])
    html = render(many)
    assert len(html.encode()) < 3_000_000
    lines = drawn(html)["runs"]
    assert {len(line["time"]) for line in lines} == {compare_page.ALL_POINTS // 40}
    assert (lines[0]["time"][0], lines[0]["time"][-1]) == (str(runs[0].start), str(runs[0].end))


# --- where the page goes ---------------------------------------------------------------------------------------------


@pytest.fixture
def two(leave, build_result):
    return compare([leave("a"), leave("b", build_result(seed=3))])


@pytest.mark.parametrize(
    ("out", "path"),
    [("new", "new/compare.html"), ("x/y.html", "x/y.html"), ("a", "a/compare.html"), ("v1.2", "v1.2/compare.html")],
)
def test_the_page_goes_where_it_is_asked_to(two, tmp_path, out, path):
    for _ in range(2):  # a former page is replaced
        assert write_comparison(two, tmp_path / out) == tmp_path / path
        assert (tmp_path / path).read_text() == render(two)


def test_what_is_no_comparison_is_not_overwritten(two, tmp_path):
    report = (tmp_path / "a" / "report.html").read_bytes()
    for out in (tmp_path / "a" / "report.html", tmp_path / "a" / "summary.json"):
        with pytest.raises(UsageError, match="--out"):
            write_comparison(two, out)
    assert (tmp_path / "a" / "report.html").read_bytes() == report


def test_a_backtest_and_live_books_both_traded_at_what_was_traded(leave):
    live = "as traded; positions valued at 1d bars of sample"
    found = compare([leave("a", prices="traded"), leave("b", prices=live)])
    assert not any("different kinds" in warning for warning in found.warnings)
