"""Portfolios with foreign tickers, an allocator and withdrawals: open buys speak for the portfolio's own cash."""

from __future__ import annotations

from tests.parity.test_allocation import PLUGIN
from tests.parity.test_currencies import COMMON, REPLAY, engine, write_prices

__all__ = ["engine"]

POOL = """\
portfolios:
  - {id: a, cash: 30000, tickers: [ACME, SAP, NESN], lookback: 40, strategy: {name: limits},
     flows: [{every: week, amount: -900}, {date: 2010-03-01, amount: -20000, reference: too much}]}
  - {id: b, tickers: [SAP, ACME], lookback: 40, strategy: {name: sma_cross_on_bar, params: {fast: 3, slow: 8}}}
allocator: {name: inverse, schedule: weekly}
master: {cash: 20000}
"""


def test_it_comes_out_the_same(engine, tmp_path, database):
    (tmp_path / "plugins" / "allocating.py").write_text(PLUGIN)
    write_prices(tmp_path / "prices", hole=("2010-02-09", "2010-02-10"))
    status, _, err = engine(COMMON + REPLAY + POOL)
    assert status == 0, err
    assert err.count("ends as the backtest does") == 2
    assert "was refused: free cash was" in err


def test_an_old_rate_stops_it_as_an_old_price_does(engine, tmp_path):
    (tmp_path / "plugins" / "allocating.py").write_text(PLUGIN)
    write_prices(tmp_path / "prices")  # no EURUSD from 8 to 16 February
    status, _, err = engine(COMMON + REPLAY + POOL)
    assert status == 0, err
    assert "the allocation of 2010-02-12 was not made: portfolio a holds SAP, which has no price" in err.replace(
        "portfolio b", "portfolio a"
    )
