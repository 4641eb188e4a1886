"""Risk rules: the interface of one, and what a stack of them makes of a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from framework.errors import RiskRuleError
from framework.model.panel import Floats
from framework.trading.plugin import Plugin
from framework.trading.proposal import Note, Proposal, Refusal


class RiskRule(Plugin):
    """Looks at each decision before it is sent, and shrinks or refuses what is too much.

    A rule keeps nothing between decisions: all that it may depend on is in the proposal.
    """

    kind = "risk rule"

    #: Whether it may also take from orders that reduce a position; its reasons then say so.
    may_block_reductions: ClassVar[bool] = False

    def review(self, proposal: Proposal) -> None:
        """Judge a decision, and change it through the methods of :class:`Proposal`. Define this."""
        raise NotImplementedError(f"{type(self).__name__} must define review(proposal)")


@dataclass(frozen=True)
class NamedRule:
    """A rule as a config lists it: its registered name begins every reason that it gives."""

    name: str
    rule: RiskRule


@dataclass(frozen=True, eq=False)
class Review:
    """What is left of a decision.

    Attributes:
        kept: ``(K,)`` signed shares of each order that may be sent; 0: none of it.
        refusals: what was taken, by order and rule; for each order kept + Σ refusals = asked.
        halt: why the portfolio is to halt from now on, beginning with the rule's name; None: it is not.
        notes: what rules report without changing anything.
    """

    kept: Floats
    refusals: tuple[Refusal, ...]
    halt: str | None
    notes: tuple[Note, ...]


def review_orders(rules: Sequence[NamedRule], proposal: Proposal) -> Review:
    """Put a decision before the rules, in their order, each on what the former left. Changes nothing but its answer.

    Before them the engine itself refuses what increases a position in a halted portfolio (``halted: …``) or in a ticker
    without a price (``no price``), which no rule could judge.

    Raises:
        RiskRuleError: a rule raised or misused the proposal; names portfolio, rule and moment. Nothing may be sent.
    """
    draft = replace(proposal)
    state = draft._draft
    _refuse_blindly(draft)
    for named in rules:
        state.rule, state.is_free = named.name, named.rule.may_block_reductions
        _ask(named, draft)
    return Review(draft.orders, tuple(state.refusals.values()), state.halt, tuple(state.notes))


def _refuse_blindly(proposal: Proposal) -> None:
    state = proposal._draft
    if proposal.halted_by is not None:
        state.rule = "halted"
        proposal.scale(0.0, proposal.halted_by)
    unpriced = ~(proposal.prices[proposal.columns] > 0.0)
    if unpriced.any():
        state.rule = "no price"
        proposal.scale(0.0, "there was no bar yet", unpriced)


def _ask(named: NamedRule, proposal: Proposal) -> None:
    where = f"portfolio {proposal.portfolio_id}: risk rule {named.name!r}"
    when = f"at {proposal.time:%Y-%m-%d %H:%M}Z, so nothing of this decision is sent"
    try:
        with np.errstate(all="ignore"):
            answer: object = named.rule.review(proposal)  # type: ignore[func-returns-value]
    except RiskRuleError as error:
        raise RiskRuleError(f"{where} failed {when}: {error}") from error
    except Exception as error:
        raise RiskRuleError(f"{where} failed {when}: {type(error).__name__}: {error}") from error
    if answer is not None:
        text = "review() must return nothing; it changes orders by proposal.shrink, refuse, scale, cap or halt"
        raise RiskRuleError(f"{where} returned {answer!r} {when}: {text}")
