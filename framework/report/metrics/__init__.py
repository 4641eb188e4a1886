"""Every figure that reports show, computed once: pure functions on float64 arrays.

Conventions, the same for all of them:

- A *return* is the simple return of one session: value at its close ÷ (value at the close before + money that came
  in since) − 1. The first session's base is the opening cash (trading-rules 3). Shape ``(S,)``, a fraction.
- The *index* is what one unit of capital became, without regard to money paid in or out: ``cumprod(1 + returns)``.
  Drawdowns and Sharpe ratios come from it, never from raw equity. Such returns are called time-weighted; the
  money-weighted one, which asks when the money came, is in :mod:`framework.report.money_weighted`.
- *Annualised* means by ``per_year`` sessions a year: 252 unless said otherwise; reports say what
  :func:`sessions_per_year` finds in the curve's own dates. The risk-free rate is 0.
- A figure that is undefined is ``None`` (inside series: NaN), never infinite: each docstring says when.
- The formulas are those of empyrical (``ddof=1`` deviations, ``per_year / S`` as the exponent of the growth rate);
  ``docs/metrics.md`` lists them all, and where and why an edge case differs.

Callers write ``metrics.sharpe`` and need not know which module of this package has it.
"""

from framework.report.metrics.benchmark import (
    Relative,
    alpha,
    beta,
    down_capture,
    information_ratio,
    relative,
    tracking_error,
    up_capture,
)
from framework.report.metrics.distribution import (
    Shape,
    best_session,
    conditional_value_at_risk,
    gaining_share,
    kurtosis,
    omega,
    shape,
    skew,
    stability,
    tail_ratio,
    value_at_risk,
    worst_session,
)
from framework.report.metrics.drawdowns import SMALLEST_DRAWDOWN, Drawdown, drawdown, max_drawdown, worst_drawdowns
from framework.report.metrics.holdings import column_volatility, correlation, exposure, price_returns, turnover
from framework.report.metrics.performance import (
    Figures,
    Rolling,
    cagr,
    calmar,
    downside_risk,
    figures,
    rolling,
    sharpe,
    sortino,
    volatility,
)
from framework.report.metrics.returns import (
    compounded,
    invested,
    period_returns,
    return_index,
    session_returns,
    total_return,
)
from framework.report.metrics.selection import deflated_sharpe, expected_maximum_sharpe, probabilistic_sharpe
from framework.report.metrics.year import SESSIONS_PER_YEAR, sessions_per_year

__all__ = [  # noqa: RUF022  # sorted as the house sorts: capitals first, whatever they name
    "Drawdown",
    "Figures",
    "Relative",
    "Rolling",
    "SESSIONS_PER_YEAR",
    "SMALLEST_DRAWDOWN",
    "Shape",
    "alpha",
    "best_session",
    "beta",
    "cagr",
    "calmar",
    "column_volatility",
    "compounded",
    "conditional_value_at_risk",
    "correlation",
    "deflated_sharpe",
    "down_capture",
    "downside_risk",
    "drawdown",
    "expected_maximum_sharpe",
    "exposure",
    "figures",
    "gaining_share",
    "information_ratio",
    "invested",
    "kurtosis",
    "max_drawdown",
    "omega",
    "period_returns",
    "price_returns",
    "probabilistic_sharpe",
    "relative",
    "return_index",
    "rolling",
    "session_returns",
    "sessions_per_year",
    "shape",
    "sharpe",
    "skew",
    "sortino",
    "stability",
    "tail_ratio",
    "total_return",
    "tracking_error",
    "turnover",
    "up_capture",
    "value_at_risk",
    "volatility",
    "worst_drawdowns",
    "worst_session",
]
