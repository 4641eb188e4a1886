"""Bundled risk rules that stop orders altogether: by price, by loss, by list."""

from typing import Annotated

import numpy as np

from framework import Ge, Gt, Lt, Proposal, RiskRule, hookimpl

#: A value is over its limit when it is more than this fraction beyond; less is float noise.
NOISE = 1e-9


class PriceCollar(RiskRule):
    """A limit price is at most ``percent`` worse than the last close: higher for a buy, lower for a sell.

    Limits and stop-limits only. Market and stop orders name no worst price and pass.
    """

    percent: Annotated[float, Gt(0)]

    def review(self, proposal: Proposal) -> None:
        """Refuse orders whose limit is too far away."""
        close = proposal.prices[proposal.columns]
        worse = np.sign(proposal.orders) * (proposal.limit_prices - close)
        for order in np.flatnonzero(worse > close * self.percent / 100.0 * (1.0 + NOISE)).tolist():
            away = 100.0 * worse[order] / close[order]
            proposal.refuse(order, f"{away:.4g} % > {self.percent:g} %")


class StalePrice(RiskRule):
    """The ticker's last bar is at most ``bars`` bars old: 0 means that it must have the bar decided on."""

    bars: Annotated[int, Ge(0)] = 0

    def review(self, proposal: Proposal) -> None:
        """Refuse orders on old prices."""
        age = proposal.price_age_bars[proposal.columns]
        for order in np.flatnonzero(age > self.bars).tolist():
            proposal.refuse(order, f"{age[order]:g} bars > {self.bars}")


class MaxDrawdown(RiskRule):
    """The portfolio halts once it has lost more than ``limit`` (a fraction) since its peak, judged at each decision.

    A halt takes back what is open and sends nothing more, sales included, until an operator resumes it; in a backtest
    to the end.
    """

    limit: Annotated[float, Gt(0), Lt(1)]

    def review(self, proposal: Proposal) -> None:
        """Halt, if it is so."""
        if -proposal.drawdown > self.limit * (1.0 + NOISE):
            proposal.halt(f"{-proposal.drawdown:.4g} > {self.limit:g}")


class Restricted(RiskRule):
    """Nothing is traded in ``tickers``: the one rule here that blocks sales of what is held as well."""

    may_block_reductions = True
    tickers: tuple[str, ...]

    def review(self, proposal: Proposal) -> None:
        """Refuse everything in them."""
        for order, column in enumerate(proposal.columns.tolist()):
            if proposal.tickers[column] in self.tickers:
                proposal.refuse(order, "on the list")


@hookimpl
def register_risk_rules() -> dict[str, type[RiskRule]]:
    """``max_drawdown``, ``price_collar``, ``restricted``, ``stale_price``."""
    return {
        "max_drawdown": MaxDrawdown,
        "price_collar": PriceCollar,
        "restricted": Restricted,
        "stale_price": StalePrice,
    }
