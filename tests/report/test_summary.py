import json
from dataclasses import replace

import numpy as np
import pytest

from framework.report.summary import finite, summary

KEYS = """
start end bars trades initial_equity final_equity total_return cagr volatility sharpe sortino max_drawdown calmar
turnover fees exposure prices fill trimmed_fills trimmed_notional stale_closes unfilled engine_seconds load_seconds
rows_per_second sessions_per_year money_weighted_return deposits withdrawals net_flows transfers flows_after_end profit
allocations benchmark
"""


def test_has_what_was_promised_in_a_fixed_order(build_run, build_result):
    run = build_run(build_result(), build_result(("GOOG",), portfolio_id="2"))
    numbers = summary(run)
    assert list(numbers["portfolios"]) == ["1", "2"]
    for section in (numbers["total"], *numbers["portfolios"].values()):
        assert set(KEYS.split()) <= set(section)
        assert list(section) == list(numbers["total"])
    assert numbers["prices"] == numbers["total"]["prices"] == "adjusted"
    assert numbers["fingerprint"].startswith("sha256:")
    assert numbers["config"]["name"] == "demo"
    assert numbers["master"] is None


def test_figures_agree_with_the_result(build_run, build_result):
    result = build_result(gaps=0.1)
    section = summary(build_run(result))["portfolios"]["1"]
    assert section["final_equity"] == pytest.approx(result.equity[-1], abs=1e-6)
    assert section["total_return"] == pytest.approx(result.equity[-1] / 1e6 - 1)
    assert section["fees"] == pytest.approx(result.trades.fees.sum())
    assert section["trades"] == len(result.trades)
    assert section["unfilled"] == result.reasons()
    assert section["rows_per_second"] == pytest.approx(300 * 3 / 0.25)
    assert (section["start"], section["bars"]) == ("2005-01-03", 300)
    assert (section["trimmed_fills"], section["stale_closes"]) == (3, 7)


def test_without_flows_nothing_came_and_profit_is_the_change(build_run, build_result):
    result = build_result()
    section = summary(build_run(result))["total"]
    assert [section[name] for name in ("deposits", "withdrawals", "net_flows", "transfers", "flows_after_end")] == [
        0
    ] * 5
    assert section["profit"] == pytest.approx(result.equity[-1] - 1e6, abs=1e-6)
    assert section["allocations"] is None
    timeline = result.timeline
    years = (timeline.available[-1] - timeline.opens[0]) / np.timedelta64(1, "D") / 365.25
    assert section["money_weighted_return"] == pytest.approx((result.equity[-1] / 1e6) ** (1 / years) - 1)


@pytest.mark.parametrize(
    ("options", "wanted"), [({"step": "D", "bars": 365}, 365), ({"step": "W", "bars": 52}, 52), ({"bars": 10}, 252)]
)
def test_says_how_many_sessions_a_year_has(build_run, build_result, options, wanted):
    result = build_result(**options)
    grown = np.linspace(1e6, 1.996e6, result.bars)
    section = summary(build_run(replace(result, equity=grown)))["total"]
    assert section["sessions_per_year"] == wanted
    assert isinstance(section["sessions_per_year"], int)
    if wanted != 252:
        assert section["cagr"] == pytest.approx(0.996)


@pytest.mark.parametrize("options", [{"bars": 1}, {"every": 0}, {"bars": 2, "per_session": 2}])
def test_undefined_figures_are_null_never_nan(build_run, build_result, options):
    result = replace(build_result(**options), simulation_seconds=0.0)
    text = json.dumps(summary(build_run(result)), allow_nan=False)
    section = json.loads(text)["total"]
    assert section["sharpe"] is None
    assert section["rows_per_second"] is None


def test_a_total_loss_is_said(build_run, build_result):
    result = build_result(every=0)
    wiped = replace(result, equity=np.linspace(1e6, 0.0, result.bars))
    section = summary(build_run(wiped))["total"]
    assert (section["total_return"], section["cagr"], section["max_drawdown"]) == (-1.0, -1.0, -1.0)


def test_finite_makes_anything_fit_for_json():
    got = finite(
        {1: np.float64("nan"), "a": (np.int64(3), float("inf"), {"b": True}), "c": np.datetime64("2005-01-03")}
    )
    assert got == {"1": None, "a": [3, None, {"b": True}], "c": "2005-01-03"}
