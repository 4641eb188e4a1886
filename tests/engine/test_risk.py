"""Risk rules at work in a backtest: what they see there, what they stop, and what the result tells of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework import RiskRule
from framework.cli.main import run_command
from framework.engine.matching import Waiting
from framework.engine.review import Ages, applied
from framework.errors import RiskRuleError
from framework.trading.proposal import Refusal
from framework.trading.risk import NamedRule, Review
from tests.engine.cases import Given, GivenOnBar, cases, panel, timeline
from tests.engine.test_simulator import NAN, Orders, check_identity, one, same
from tests.trading.test_risk import bundled

STYLES = pytest.mark.parametrize("style", [Given, GivenOnBar])
FLAT = [[10.0]] * 6
#: One of each, none of which ever says no.
PERMISSIVE = (
    bundled("max_gross", limit=1e9),
    bundled("max_net", limit=1e9),
    bundled("max_weight", limit=1e9),
    bundled("max_order_notional", limit=1e18),
    bundled("max_orders_per_minute", limit=10**9),
    bundled("price_collar", percent=1e9),
    bundled("stale_price", bars=10**9),
    bundled("max_drawdown", limit=0.999999),
    bundled("restricted", tickers=["NONE"]),
)


def spy(look):
    """A rule that only looks."""
    return NamedRule("spy", type("Spy", (RiskRule,), {"review": lambda self, proposal: look(proposal)})())


# --- the same simulation -------------------------------------------------------------------------------------------


@STYLES
@given(case=cases(sessions=(1, 4), negative=True))
@settings(max_examples=80, deadline=None)
def test_rules_that_never_say_no_change_nothing(style, case):
    free = case.run()
    ruled = case.run(style(case.weights), risk=PERMISSIVE)
    same(free, ruled)
    assert ruled.notes == ()


@given(case=cases(sessions=(1, 4), negative=True), limit=st.sampled_from([0.0, 0.1, 0.5]))
@settings(max_examples=80, deadline=None)
def test_both_styles_are_stopped_alike_and_the_books_add_up(case, limit):
    risk = (bundled("max_weight", limit=limit), bundled("max_gross", limit=0.8), bundled("max_drawdown", limit=0.3))
    left = case.run(risk=risk)
    check_identity(case, left)
    right = case.run(GivenOnBar(case.weights), risk=risk)
    same(left, right)
    assert left.notes == right.notes


@given(case=cases(sessions=(1, 4)), limit=st.sampled_from([0.1, 0.5]))
@settings(max_examples=60, deadline=None)
def test_no_decision_is_sent_that_takes_the_book_beyond_a_limit(case, limit):
    def look(proposal):
        over = np.abs(proposal.weights) > limit * (1 + 1e-9)
        assert not proposal.increasing[over[proposal.columns]].any()
        assert proposal.gross <= 0.8 * proposal.equity * (1 + 1e-9) or not proposal.increasing.any()

    case.run(risk=(bundled("max_weight", limit=limit), bundled("max_gross", limit=0.8), spy(look)))


# --- what a rule sees ----------------------------------------------------------------------------------------------


def test_what_a_rule_sees_of_the_account():
    seen = []

    def look(proposal):
        facts = (proposal.cash, proposal.equity, round(proposal.drawdown, 6))
        seen.append((*facts, proposal.positions.tolist(), proposal.pending.tolist(), proposal.asked.tolist()))

    strategy = Orders((0, lambda ctx: ctx.order("T00", 10)), (3, lambda ctx: ctx.order("T00", 1, limit=5.0)))
    closes = [[10], [12], [9], [9], [9], [9]]
    opens = [[10], [10], [12], [9], [9], [9]]
    one(opens, closes, [[NAN]] * 6, cash=1000.0).run(strategy, risk=(spy(look),))
    assert seen == [
        (1000.0, 1000.0, 0.0, [0.0], [0.0], [10.0]),
        (900.0, 1020.0, 0.0, [10.0], [0.0], []),
        (900.0, 990.0, round(990 / 1020 - 1, 6), [10.0], [0.0], []),
        (900.0, 990.0, round(990 / 1020 - 1, 6), [10.0], [0.0], [1.0]),
        (900.0, 990.0, round(990 / 1020 - 1, 6), [10.0], [0.0], []),
        (900.0, 990.0, round(990 / 1020 - 1, 6), [10.0], [0.0], []),
    ]


def test_every_close_since_the_last_decision_counts_for_the_peak():
    seen = []
    rows = [[10.0], [10.0], [10.0], [10.0], [20.0], [10.0]]
    strategy = Orders((0, lambda ctx: ctx.order("T00", 100)))  # decided on the last bar of the first session
    case = one(rows, rows, [[NAN]] * 6, cash=2000.0, per_session=3)
    case.run(strategy, schedule="daily", risk=(spy(lambda proposal: seen.append(proposal.drawdown)),))
    assert seen == [0.0, pytest.approx(2000 / 3000 - 1)]


def test_an_order_that_waits_is_pending_and_counts():
    buy = (lambda ctx: ctx.order("T00", 30),)
    opens = [[10.0], [NAN], [10.0], [10.0]]
    case = one(opens, opens, [[NAN]] * 4, cash=1000.0, per_session=4)
    result = case.run(Orders((0, *buy), (1, *buy)), risk=(bundled("max_weight", limit=0.5),))
    assert result.trades.quantity.tolist() == [30.0, 20.0]
    assert result.reasons() == {"max_weight: 0.6 > 0.5": 1}


def test_resting_buys_of_earlier_bars_count_and_resting_exits_do_not():
    seen = []

    def rest(ctx):
        ctx.order("T00", 5, limit=1.0, time_in_force="GTC")
        ctx.order("T00", -10, stop=1.0, time_in_force="GTC")

    strategy = Orders((0, lambda ctx: ctx.order("T00", 10)), (1, rest))
    one(FLAT, FLAT, [[NAN]] * 6).run(strategy, risk=(spy(lambda proposal: seen.append(proposal.pending.tolist())),))
    assert seen == [[0.0], [0.0], [5.0], [5.0], [5.0], [5.0]]


def test_orders_of_the_last_sixty_seconds_are_counted():
    seen = []

    def two():
        return Orders(*((row, lambda ctx: [ctx.order("T00", 1), ctx.order("T01", 1)]) for row in range(4)))

    rows = [[10.0, 10.0]] * 6
    case = one(rows, rows, [[NAN, NAN]] * 6, per_session=6)  # a bar a minute
    case.run(two(), risk=(spy(lambda proposal: seen.append(proposal.orders_last_minute)),))
    assert seen == [0] * 6
    seconds = case.clock.available[0] + np.arange(6) * np.timedelta64(25, "s")
    quick = type(case.clock)(case.clock.timestamps, case.clock.opens, seconds, case.clock.session,
                             case.clock.next_session)  # fmt: skip
    case.run(two(), timeline=quick, risk=(spy(lambda proposal: seen.append(proposal.orders_last_minute)),))
    assert seen[6:] == [0, 2, 4, 4, 4, 2]
    result = case.run(two(), timeline=quick, risk=(bundled("max_orders_per_minute", limit=3),))
    assert [int((result.trades.decided == row).sum()) for row in range(4)] == [2, 1, 0, 2]


@given(cases(max_tickers=4))
@settings(max_examples=60, deadline=None)
def test_ages_are_bars_since_the_last_bar(case):
    ages = Ages(case.panel)
    for bar in range(len(case.panel)):
        known = [np.flatnonzero(~np.isnan(column)) for column in case.panel.close[: bar + 1].T]
        assert ages.at(bar).tolist() == [bar - rows[-1] if len(rows) else np.inf for rows in known]


# --- what they stop ------------------------------------------------------------------------------------------------


def test_what_is_refused_is_counted_and_told_to_the_strategy():
    strategy = Orders((0, lambda ctx: ctx.order("T00", 80)), (1, lambda ctx: None))
    result = one(FLAT, FLAT, [[NAN]] * 6, cash=1000.0).run(strategy, risk=(bundled("max_weight", limit=0.5),))
    assert result.trades.quantity.tolist() == [50.0]
    assert [(order.bar, order.quantity, order.reason) for order in result.unfilled] == [
        (0, 30.0, "max_weight: 0.8 > 0.5")
    ]
    assert strategy.seen[1][3] == ["max_weight: 0.8 > 0.5"]


@STYLES
def test_a_drawdown_halts_for_good(style):
    # 100 shares at 10; the close of bar 2 is 25 % below the peak.
    rows = np.array([[10.0], [10.0], [7.5], [7.5], [20.0], [20.0], [20.0]])
    weights = np.array([[1.0], [NAN], [0.5], [0.5], [1.0], [0.0], [NAN]])
    result = one(rows, rows, weights, cash=1000.0).run(style(weights), risk=(bundled("max_drawdown", limit=0.2),))
    assert list(zip(result.trades.decided, result.trades.quantity, strict=True)) == [(0, 100)]
    assert result.notes == ("portfolio 1: halted on 2005-01-05 by max_drawdown: 0.25 > 0.2",)
    assert [(order.bar, order.quantity, order.reason) for order in result.unfilled] == [
        (2, -50.0, "halted: max_drawdown: 0.25 > 0.2")
    ]
    assert result.equity.tolist() == [1000.0, 1000.0, 750.0, 750.0, 2000.0, 2000.0, 2000.0]


def test_a_halt_takes_back_what_is_open():
    rows = [[10.0], [10.0], [7.0], [2.0], [2.0], [2.0]]
    strategy = Orders(
        (0, lambda ctx: ctx.order("T00", 50)), (1, lambda ctx: ctx.order("T00", -50, limit=5.0, time_in_force="GTC"))
    )
    rest = Orders(
        (0, lambda ctx: ctx.order("T00", 50)), (1, lambda ctx: ctx.order("T00", 9, limit=5.0, time_in_force="GTC"))
    )
    risk = (bundled("max_drawdown", limit=0.2),)
    assert one(rows, rows, [[NAN]] * 6, cash=510.0).run(strategy, risk=risk).trades.quantity.tolist() == [50.0, -50.0]
    result = one(rows, rows, [[NAN]] * 6, cash=600.0).run(rest, risk=risk)
    assert result.trades.quantity.tolist() == [50.0]
    assert [(order.bar, order.quantity, order.reason) for order in result.unfilled] == [(2, 9.0, "halted")]


def test_a_halt_comes_at_a_decision_without_orders_too():
    rows = [[10.0], [10.0], [7.0], [10.0], [10.0], [10.0]]
    strategy = Orders((0, lambda ctx: ctx.order("T00", 50)), (4, lambda ctx: ctx.order("T00", 1)))
    result = one(rows, rows, [[NAN]] * 6, cash=500.0).run(strategy, risk=(bundled("max_drawdown", limit=0.2),))
    assert result.trades.quantity.tolist() == [50.0]
    assert len(result.notes) == 1


def test_a_position_over_its_limit_by_price_is_told_once_and_not_traded():
    rows = [[10.0], [10.0], [30.0], [30.0], [30.0], [10.0]]
    result = one(rows, rows, [[0.5]] + [[NAN]] * 5, cash=1000.0).run(risk=(bundled("max_weight", limit=0.5),))
    assert len(result.trades) == 1
    assert result.notes == (
        "portfolio 1: max_weight: over limit by price: T00 at 3 decisions, first on 2005-01-05 (0.75 > 0.5)",
    )


def test_a_restricted_ticker_is_not_sold_either():
    strategy = Orders((0, lambda ctx: ctx.order("T00", 5)), (2, lambda ctx: ctx.exit("T00")))
    result = one(FLAT, FLAT, [[NAN]] * 6).run(strategy, risk=(bundled("restricted", tickers=["T00"]),))
    assert len(result.trades) == 0
    assert result.reasons() == {"restricted: on the list": 1}


def test_orders_on_a_price_that_is_old_are_refused():
    rows = [[10.0], [NAN], [10.0], [10.0], [10.0], [10.0]]
    buy = (lambda ctx: ctx.order("T00", 1),)
    strategy = Orders((1, *buy), (2, *buy))
    result = one(rows, rows, [[NAN]] * 6).run(strategy, risk=(bundled("stale_price"),))
    assert result.trades.decided.tolist() == [2]
    assert result.reasons() == {"stale_price: 1 bars > 0": 1}


@STYLES
def test_a_rule_that_fails_ends_the_run_by_name(style):
    case = one(FLAT, FLAT, [[0.5]] + [[NAN]] * 5)
    with pytest.raises(RiskRuleError, match=r"^portfolio 1: risk rule 'spy' failed at 2005-01-03 00:01Z.*division"):
        case.run(style(case.weights), risk=(spy(lambda proposal: 1 / 0),))


def test_a_panel_without_gaps_has_no_ages():
    close = np.full((4, 2), 10.0)
    assert Ages(panel(close, close, timeline(4))).at(3).tolist() == [0.0, 0.0]


# --- from a config -------------------------------------------------------------------------------------------------

HEAD = """\
name: risky
mode: backtest
start: 2010-01-04
end: 2010-04-30
data_source: {name: sample}
portfolios:
  - id: a
    cash: 100000
    tickers: [AAPL, IBM, MSFT]
    lookback: 10
    strategy: {name: buy_and_hold}
"""
HALVED = """\
from framework import RiskRule, hookimpl


class Halved(RiskRule):
    def review(self, proposal):
        proposal.scale(0.5, "half is enough")


@hookimpl
def register_risk_rules():
    return {"halved": Halved}
"""


@pytest.fixture
def engine(tmp_path, database, monkeypatch, capfd):
    """Runs a config on a fresh database; gives (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "halved.py").write_text(HALVED)

    def run(risk, *arguments):
        (tmp_path / "c.yaml").write_text(HEAD + "    risk:\n" + "".join(f"      - {{{rule}}}\n" for rule in risk))
        status = run_command(("run", "c.yaml", "--out", "out", "--json", *arguments))
        return status, *capfd.readouterr()

    return run


def test_a_dropped_in_rule_of_ten_lines_and_a_bundled_one_run_in_their_order(engine):
    status, out, err = engine(["name: halved", "name: max_weight, params: {limit: 0.1}"])
    assert status == 0, err
    figures = json.loads(out)["portfolios"]["a"]
    assert figures["trades"] == 3
    assert figures["unfilled"] == {"halved": 3, "max_weight": 3}
    assert figures["exposure"] < 0.35


def test_a_halt_is_noted_in_the_summary(engine):
    status, out, err = engine(["name: max_drawdown, params: {limit: 0.01}"], "--set", "report.benchmark=buy_and_hold")
    assert status == 0, err
    summary = json.loads(out)
    (note,) = [note for note in summary["notes"] if "halted" in note]
    assert note.startswith("portfolio a: halted on 2010-01-")
    assert note in err
    assert summary["portfolios"]["a"]["benchmark"] is not None


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("name: max_gross, params: {limit: -1}", "c.yaml:14: portfolios.0.risk.1.params.limit: risk rule MaxGross: "),
        ("name: max_gross", "c.yaml:14: portfolios.0.risk.1: risk rule MaxGross needs the parameter 'limit'"),
        ("name: max_gros", "c.yaml:14: portfolios.0.risk.1.name: there is no risk rule 'max_gros'; did you mean"),
        ("name: restricted, params: {tickers: AAPL}", "c.yaml:14: portfolios.0.risk.1.params.tickers: "),
        ("params: {limit: 1}", "c.yaml:14: portfolios.0.risk.1.name: is required and missing"),
    ],
)
def test_a_mistake_is_answered_with_file_and_line(engine, rule, says):
    status, _, err = engine(["name: halved", rule])
    assert status == 2
    assert says in err


def test_a_rule_that_fails_ends_the_run_by_name_and_place(engine, tmp_path):
    (tmp_path / "plugins" / "halved.py").write_text(HALVED.replace("0.5", "5"))
    status, _, err = engine(["name: halved"])
    assert status == 1
    assert "portfolio a: risk rule 'halved' failed at 2010-01-04 21:00Z, so nothing of this decision is sent: " in err
    assert "scale() was given factor 5; allowed: 0 to 1" in err


def test_an_order_of_millions_of_shares_that_is_left_alone_keeps_its_last_lot():
    """A lot is 1e-9 of a share, and the number of shares as a float no longer tells all of them apart."""
    lots, per_share = 8937451488973898.0, 1e9
    assert round(lots / per_share * per_share) != lots
    order = Waiting(0, lots, 0)
    whole = Review(np.array([lots / per_share]), (), None, ())
    assert applied(whole, [order], per_share) == ([order], [])
    taken = Review(np.array([0.0]), (Refusal(0, lots / per_share, "rule: all"),), None, ())
    assert applied(taken, [order], per_share) == ([], [(order, lots, "rule: all")])
