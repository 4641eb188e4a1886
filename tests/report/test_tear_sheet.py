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
from framework.report.basis import basis_of
from framework.report.tear_sheet import render
from framework.report.words import number, percent
from framework.report.write import write_run


def page(run):
    return render(basis_of(run), accounts(run))


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
    assert drawn["volatility"][-1] == pytest.approx(np.std(last, ddof=1) * np.sqrt(52), abs=5e-4)
    assert drawn["sharpe"][-1] == pytest.approx(np.mean(last) / np.std(last, ddof=1) * np.sqrt(52), abs=5e-3)


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


# --- money that comes and goes ---------------------------------------------------------------------------------------


class Tables(HTMLParser):
    """The text of every table's cells, row by row."""

    def __init__(self, html):
        super().__init__()
        self.tables, self.cell = [], None
        self.feed(readable(html))

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.tables:
            self.cell = ""

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self.cell is not None:
            self.tables[-1][-1].append(self.cell)
            self.cell = None

    def headed(self, *heads):
        return [table for table in self.tables if table and table[0][: len(heads)] == list(heads)]


def amount(text):
    return 0.0 if text == "–" else float(text.replace(",", "").replace("\u2212", "-").replace("\u202f%", ""))


@pytest.fixture(scope="module")
def told(allocated):
    return page(allocated)


def test_the_portfolios_add_up_to_the_total(allocated, told):
    parsed(told)
    (table,) = Tables(told).headed("Portfolio", "Strategy")
    heads, *rows = table
    assert heads == [
        "Portfolio", "Strategy", "Opening", "In and out", "Transfers", "Profit", "Final equity", "Share", "Return",
        "Money-weighted", "Max drawdown",
    ]  # fmt: skip
    assert [row[:2] for row in rows] == [["1", "sma_cross"], ["two", "<b>x"], ["0", "master, cash"], ["total", ""]]
    for head in ("Opening", "In and out", "Transfers", "Profit", "Final equity", "Share"):
        column = [amount(row[heads.index(head)]) for row in rows]
        assert sum(column[:-1]) == pytest.approx(column[-1], abs=2.0), head
    made = accounts(allocated)
    total = dict(zip(heads, rows[-1], strict=True))
    assert amount(total["Final equity"]) == round(made.total.curve.equity[-1])
    assert amount(total["Return"]) == pytest.approx(made.total.curve.figures.total_return * 100, abs=0.06)
    assert amount(total["Money-weighted"]) == pytest.approx(made.total.money_weighted_return * 100, abs=0.06)


def test_portfolios_without_flows_are_shown_without_empty_columns(build_run, build_result):
    (table,) = Tables(page(build_run(build_result(), build_result(portfolio_id="2")))).headed("Portfolio", "Strategy")
    assert table[0] == ["Portfolio", "Strategy", "Opening", "Profit", "Final equity", "Share", "Return", "Max drawdown"]
    html = page(build_run())
    assert not Tables(html).headed("Portfolio", "Strategy")
    assert "money-weighted" not in readable(html).lower()
    assert "Money in and out" not in html
    assert "Returns are time-weighted" not in html


def test_movements_are_listed_latest_first_and_the_rest_is_announced(told):
    (total,), (single,) = (Tables(told).headed(*heads) for heads in (("Date", "Portfolio", "Kind"), ("Date", "Kind")))
    assert len(total) == len(single) == 13
    assert [row[0] for row in single[1:]] == [row[0] for row in total[1:]]
    assert single[1][1] == "deposit (after the last value)"
    assert single[1][-1] == "+77.00"
    assert ["deposit", "+500.00"] in [[row[1], row[-1]] for row in single[2:]]
    text = readable(told)
    assert text.count("The latest 12 of 16 movements are listed; all are in flows.csv.") == 2
    assert text.count("7,000 USD came in, 90,000 went out.") == 2
    assert "What came after the last value is in no figure." in text


def test_allocations_are_summed_up_and_the_last_ones_listed(told):
    (total,) = Tables(told).headed("Date", "1", "two")
    assert total[0] == ["Date", "1", "two", "Short", "Master cash"]
    assert [row[1] for row in total[1:]] == ["+10,000", "\u221210,000"] * 3
    assert [row[-1] for row in total[1:]] == ["500,000", "510,000"] * 3
    single, other = Tables(told).headed("Date", "Equity before")
    assert [row[3] for row in single[1:]] == [row[1] for row in total[1:]]
    assert {row[3] for row in other[1:]} == {"0"}
    text = readable(told)
    assert "10 allocations moved 100,000 USD between the portfolios and the master account." in text
    assert "At 10 there was less to give than was due: 100 in all." in text
    assert text.count("The latest 6 are listed; all are in allocations.csv.") == 3


def test_charts_show_what_was_put_in_and_what_the_total_is_made_of(allocated, told):
    made = accounts(allocated)
    total, first, second = json.loads(packed(told, "data"))["accounts"]
    assert made.master is not None
    assert [part["name"] for part in total["parts"]] == ["1", "two", "Master, cash"]
    stacked = np.sum([part["values"] for part in total["parts"]], axis=0)
    assert stacked == pytest.approx(np.array(total["equity"]), abs=0.02)
    assert total["put_in"][-1] == 2.5e6 + 14 * 500 - 9e4
    assert first["put_in"][-1] == 1e6 + 14 * 500 - 9e4
    assert second["put_in"] is None
    assert first["marks"]["place"] == sorted([*range(0, 280, 21), 155])
    assert dict(zip(first["marks"]["place"], first["marks"]["amount"], strict=True))[155] == -9e4
    assert first["marks"] == total["marks"]
    assert second["marks"] == {"place": [], "amount": []}
    assert total["benchmark"] == pytest.approx(made.total.benchmark_equity, abs=0.005)


def test_marks_of_bars_that_are_not_drawn_stand_at_the_next_that_is(build_run, build_result, monkeypatch):
    monkeypatch.setattr(charts, "BARS_DRAWN", 100)
    result = build_result(bars=400, per_session=10, every=0, flows=[(3, 100.0), (8, 50.0), (10, 7.0), (399, 1.0)])
    account = accounts(build_run(result)).total
    made = charts.account_charts(account)
    assert made["marks"] == {"place": [0, 1, 39], "amount": [150, 7, 1]}
    assert made["put_in"][:2] == [1000150, 1000157]


def test_more_portfolios_than_can_be_told_apart_are_drawn_as_one(build_run, build_result, monkeypatch):
    monkeypatch.setattr(charts, "PARTS_DRAWN", 2)
    results = [build_result(portfolio_id=str(i), cash=cash, every=0) for i, cash in enumerate((5.0, 9e5, 7.0, 8e5))]
    total = json.loads(packed(page(build_run(*results)), "data"))["accounts"][0]
    assert [(part["name"], part["values"][0]) for part in total["parts"]] == [("1", 9e5), ("3", 8e5), ("2 others", 12)]


def test_allocations_of_many_portfolios_are_listed_by_their_sum(build_run, build_result, build_master):
    results = [
        build_result(portfolio_id=f"p{i}", every=0, bars=30, flows=[(9, 100.0 * (-1) ** i, "transfer")])
        for i in range(8)
    ]
    (table,) = Tables(page(build_run(*results, master=build_master(*results)))).headed("Date", "Moved")
    assert table[1][1:] == ["800", "40", "0"]


def test_the_key_figures_tell_profit_from_money(allocated, told):
    made = accounts(allocated)
    text = readable(told)
    assert f"{number(made.total.curve.profit, 0, signed=True)} profit" in text
    assert f"{percent(made.total.money_weighted_return)} money-weighted" in text
    assert "Returns are time-weighted" in text


def test_what_users_wrote_of_flows_is_escaped(build_run, build_result, build_master):
    result = build_result((EVIL, "B"), portfolio_id=EVIL, strategy=EVIL, flows=[(3, 1.0), (9, 2.0, "transfer")])
    evil = replace(result, flows=replace(result.flows, reference=(EVIL, EVIL)))
    html = page(build_run(evil, master=build_master(evil)))
    assert "img" not in {tag for tag, _ in parsed(html)}
    assert EVIL not in html


@pytest.mark.parametrize(
    "options",
    [
        {"cash": 0.0, "flows": [(5, 1e5)]},
        {"cash": 0.0, "flows": [(300, 1e5)], "every": 0},
        {"flows": [(0, -1e6), (100, 1e6, "transfer")], "every": 0},
        {"flows": [(t, 1e3 * (-1) ** t, "transfer") for t in range(1, 300)]},
        {"bars": 1, "flows": [(0, 5.0), (1, 5.0, "transfer")]},
        {"per_session": 60, "flows": [(7, 5e5), (61, -5e5)]},
    ],
)
def test_odd_runs_with_flows_have_a_page_too(tmp_path, build_run, build_result, build_master, options):
    results = [build_result(**options), build_result(portfolio_id="2", bars=20, flows=[(3, 1e5, "transfer")])]
    html = write_run(build_run(*results, master=build_master(*results)), tmp_path).read_text()
    parsed(html)
    json.loads(packed(html, "data"))
    assert not re.search(r"\b(nan|inf)\b", readable(html).lower())
    for path in tmp_path.rglob("*.csv"):
        assert not re.search(r"\b(nan|inf)\b", path.read_text())


@pytest.mark.parametrize("kind", ["unknown equity", "infinite equity", "debt", "price of zero"])
def test_absurd_results_with_flows_are_reported_without_a_crash(tmp_path, build_run, build_result, build_master, kind):
    flows = [(10, 1e5), (200, 5e4, "transfer"), (250, -1e4)]
    results = [spoil(build_result(bars=300, portfolio_id=name, flows=flows), kind) for name in ("1", "2")]
    html = write_run(build_run(*results, master=build_master(*results)), tmp_path).read_text()
    assert not re.search(r"\b(nan|inf|infinity)\b", readable(html).lower())
