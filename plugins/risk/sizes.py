"""Bundled risk rules on how much is held and ordered."""

from collections.abc import Callable
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from framework import Ge, Gt, Proposal, RiskRule, hookimpl

#: A value is over its limit when it is more than this fraction beyond; less is float noise.
NOISE = 1e-9
Mask = NDArray[np.bool_]
#: How often orders are scaled down towards a limit before all of their increase is refused.
ATTEMPTS = 8


class MaxGross(RiskRule):
    """Σ |value| of the resulting positions is at most ``limit`` × equity: what increases is scaled down alike."""

    limit: Annotated[float, Ge(0)]

    def review(self, proposal: Proposal) -> None:
        """Scale all orders by one factor."""

        def excess() -> float:
            return _over(proposal.gross, self.limit * max(proposal.equity, 0.0))

        reason = f"{_share(proposal.gross, proposal):.4g} > {self.limit:g}"
        _scale_down(proposal, excess, lambda: np.ones(len(proposal.orders), dtype=np.bool_), reason)
        if excess():
            proposal.note("over limit by price", f"{_share(proposal.gross, proposal):.4g} > {self.limit:g}")


class MaxNet(RiskRule):
    """|Σ value| of the resulting positions is at most ``limit`` × equity: the orders towards that side are scaled down.

    Put it after the rules that shrink single orders: what they take from one side moves the net to the other.
    """

    limit: Annotated[float, Ge(0)]

    def review(self, proposal: Proposal) -> None:
        """Scale the buys, or the sells, by one factor."""

        def excess() -> float:
            return _over(abs(proposal.net), self.limit * max(proposal.equity, 0.0))

        reason = f"{_share(proposal.net, proposal):.4g} beyond {self.limit:g}"
        _scale_down(proposal, excess, lambda: np.sign(proposal.orders) == np.sign(proposal.net), reason)
        if excess():
            proposal.note("over limit by price", f"{_share(proposal.net, proposal):.4g} beyond {self.limit:g}")


class MaxWeight(RiskRule):
    """Each resulting position is worth at most ``limit`` × equity: its orders are cut to what fits."""

    limit: Annotated[float, Ge(0)]

    def review(self, proposal: Proposal) -> None:
        """Cut ticker by ticker."""
        asked = np.abs(proposal.weights)
        with np.errstate(divide="ignore"):
            most = self.limit * max(proposal.equity, 0.0) / proposal.share_values
        shares = np.where(proposal.share_values > 0.0, most, np.inf)
        proposal.cap(shares, lambda column: f"{asked[column]:.4g} > {self.limit:g}")
        left = np.abs(proposal.weights)
        for column in np.flatnonzero(left > self.limit * (1.0 + NOISE)).tolist():
            proposal.note(f"over limit by price: {proposal.tickers[column]}", f"{left[column]:.4g} > {self.limit:g}")


class MaxOrderNotional(RiskRule):
    """One order is worth at most ``limit``, in the portfolio's currency: a larger one is cut to it."""

    limit: Annotated[float, Gt(0)]

    def review(self, proposal: Proposal) -> None:
        """Cut order by order."""
        notionals = np.abs(proposal.orders) * proposal.order_values
        for order in np.flatnonzero(notionals > self.limit * (1.0 + NOISE)).tolist():
            shares = self.limit / float(proposal.order_values[order])
            proposal.shrink(order, shares, f"{notionals[order]:.2f} > {self.limit:g}")


class MaxOrdersPerMinute(RiskRule):
    """At most ``limit`` orders are sent within 60 seconds; what was asked for last is refused.

    Orders that reduce a position are always sent, and take their room first.
    """

    limit: Annotated[int, Gt(0)]

    def review(self, proposal: Proposal) -> None:
        """Refuse what is asked for last."""
        is_sent = proposal.orders != 0.0
        is_reducing = is_sent & (proposal.increasing < np.abs(proposal.orders))
        room = self.limit - proposal.orders_last_minute - int(is_reducing.sum())
        wanted = proposal.orders_last_minute + int(is_sent.sum())
        for order in np.flatnonzero(is_sent & ~is_reducing)[max(room, 0) :].tolist():
            proposal.refuse(order, f"{wanted} > {self.limit}")


def _over(value: float, limit: float) -> float:
    """How far beyond its limit a value is; 0 where it is not."""
    return value - limit if value > limit * (1.0 + NOISE) else 0.0


def _share(value: float, proposal: Proposal) -> float:
    return value / proposal.equity if proposal.equity > 0.0 else float("inf")


def _scale_down(proposal: Proposal, excess: Callable[[], float], guilty: Callable[[], Mask], reason: str) -> None:
    """Scale what increases in the guilty orders by one factor, so that nothing is in excess if that can be."""
    for _ in range(ATTEMPTS):
        too_much, orders = excess(), guilty()
        growth = float(np.add.reduce((proposal.increasing * proposal.share_values[proposal.columns])[orders]))
        if not too_much or not growth:
            return
        # Once is enough, but where orders of both sides wait for one ticker.
        proposal.scale(max(0.0, 1.0 - too_much / growth), reason, orders)
    proposal.scale(0.0, reason)


@hookimpl
def register_risk_rules() -> dict[str, type[RiskRule]]:
    """``max_gross``, ``max_net``, ``max_order_notional``, ``max_orders_per_minute``, ``max_weight``."""
    return {
        "max_gross": MaxGross,
        "max_net": MaxNet,
        "max_order_notional": MaxOrderNotional,
        "max_orders_per_minute": MaxOrdersPerMinute,
        "max_weight": MaxWeight,
    }
