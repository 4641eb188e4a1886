from dataclasses import replace

import numpy as np
import pytest

from framework.errors import NotBuiltYet
from framework.report import metrics
from framework.report.assemble import accounts


def test_the_total_is_the_sum_at_every_moment(build_run, build_result):
    results = [build_result(), build_result(("GOOG", "AAPL"), portfolio_id="2", seed=4)]
    total = accounts(build_run(*results)).total
    np.testing.assert_allclose(total.curve.equity, results[0].equity + results[1].equity, rtol=1e-15)
    assert total.curve.opening == 2_000_000
    assert total.tickers == ("AAPL", "MSFT", "IBM", "GOOG")
    assert len(total.fills) == sum(len(result.trades) for result in results)
    assert total.fills.id.tolist() == list(range(1, len(total.fills) + 1))
    assert (np.diff(total.fills.executed.astype(np.int64)) >= 0).all()


def test_a_portfolio_without_a_bar_counts_with_its_last_value(build_run, build_result):
    early = build_result(bars=50)
    late = build_result(bars=60, portfolio_id="2", start="2005-02-01")
    curve = accounts(build_run(early, late)).total.curve
    assert curve.equity[0] == early.equity[0] + late.opening_cash
    assert curve.equity[-1] == early.equity[-1] + late.equity[-1]
    both = np.intersect1d(early.timeline.timestamps, late.timeline.timestamps)
    assert len(curve) == len(early.equity) + len(late.equity) - len(both)


def test_portfolios_keep_their_ids_of_the_run(build_run, build_result):
    made = accounts(build_run(build_result(), build_result(portfolio_id="2", seed=5)))
    both = np.sort(np.concatenate([account.fills.id for account in made.portfolios]))
    assert both.tolist() == made.total.fills.id.tolist()
    for account, number in zip(made.portfolios, (0, 1), strict=True):
        assert set(account.fills.portfolio.tolist()) == {number}
        assert account.fills.sequence.tolist() == list(range(1, len(account.fills) + 1))


@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_contributions_add_up_to_the_profit(build_run, build_result, gaps):
    results = [build_result(gaps=gaps), build_result(("GOOG", "AAPL"), portfolio_id="2", seed=3, gaps=gaps)]
    made = accounts(build_run(*results))
    for account in (made.total, *made.portfolios):
        profit = account.curve.equity[-1] - account.curve.opening
        assert sum(account.contributions.values()) == pytest.approx(profit, rel=1e-9)


def test_warm_up_is_left_out(build_run, build_result):
    result = build_result(bars=100, first=30)
    account = accounts(build_run(result)).total
    assert account.curve.timestamps[0] == result.timeline.timestamps[30]
    assert account.closes.shape == (70, 3)
    assert account.closes[0].tolist() == result.panel.close[30].tolist()


def test_intraday_returns_are_of_sessions(build_run, build_result):
    result = build_result(per_session=20, bars=100)
    curve = accounts(build_run(result)).total.curve
    closes = result.equity[19::20]
    wanted = closes / np.concatenate(([result.opening_cash], closes[:-1])) - 1
    assert curve.returns == pytest.approx(wanted, abs=1e-15)


def test_currencies_are_not_mixed(build_run, build_result):
    euros = replace(build_result(portfolio_id="2"), currency="EUR")
    with pytest.raises(NotBuiltYet, match="EUR, USD"):
        accounts(build_run(build_result(), euros))


def test_the_total_has_a_benchmark_only_if_all_have_one(build_run, build_result):
    run = build_run(build_result(), build_result(portfolio_id="2"))
    both = accounts(run).total.benchmark
    assert both is not None
    assert both.opening == 2_000_000
    assert accounts(replace(run, benchmarks={"1": run.benchmarks["1"]})).total.benchmark is None


@pytest.mark.parametrize(
    ("step", "bars", "per_session", "wanted"),
    [
        ("weekdays", 600, 1, 261),
        ("D", 730, 1, 365),
        ("D", 730, 2, 365),
        ("W", 105, 1, 52),
        ("M", 49, 1, 12),
        ("D", 15, 1, 252),
    ],
)
def test_annual_figures_know_the_calendar(build_run, build_result, step, bars, per_session, wanted):
    result = build_result(step=step, bars=bars, per_session=per_session, every=5)
    account = accounts(build_run(result)).total
    curve, benchmark = account.curve, account.benchmark
    assert benchmark is not None
    assert curve.sessions_per_year == benchmark.sessions_per_year == wanted
    assert curve.figures == metrics.figures(curve.returns, wanted)
    assert benchmark.figures == metrics.figures(benchmark.returns, wanted)
    traded = result.trades.notional.sum()
    assert account.turnover == pytest.approx(traded / result.equity.mean() * wanted * per_session / bars)


def test_warm_up_is_no_part_of_the_calendar(build_run, build_result):
    curve = accounts(build_run(build_result(step="D", bars=400, first=380))).total.curve
    assert (len(curve.sessions), curve.sessions_per_year) == (20, 252)


def test_the_total_of_two_calendars_has_the_sessions_of_both(build_run, build_result):
    results = [build_result(bars=520), build_result(step="D", bars=730, portfolio_id="2")]
    made = accounts(build_run(*results))
    assert [account.curve.sessions_per_year for account in made.portfolios] == [261, 365]
    assert made.total.curve.sessions_per_year == 365
