"""What a stack of risk rules can and cannot do to a decision, whatever the rules want."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from framework import Proposal, RiskRule
from framework.errors import RiskRuleError
from framework.plugin_manager import PluginManager
from framework.trading.risk import NamedRule, review_orders

NAN = float("nan")
MOMENT = datetime(2005, 1, 3, 21, tzinfo=UTC)


def proposal(positions, orders, *, prices=None, equity=10_000.0, **facts):
    """Orders are (column, shares), or (column, shares, limit), or (column, shares, limit, stop)."""
    count = len(positions)
    rows = [(*order, *(NAN,) * (4 - len(order))) for order in orders]
    columns, asked, limits, stops = zip(*rows, strict=True) if rows else ((), (), (), ())
    values = {
        "portfolio_id": "1",
        "time": MOMENT,
        "tickers": tuple("ABCDEFGH"[:count]),
        "positions": np.array(positions, dtype=float),
        "pending": np.zeros(count),
        "prices": np.array(prices or [10.0] * count, dtype=float),
        "price_age_bars": np.zeros(count),
        "columns": np.array(columns, dtype=np.int64),
        "asked": np.array(asked, dtype=float),
        "limit_prices": np.array(limits, dtype=float),
        "stop_prices": np.array(stops, dtype=float),
        "equity": equity,
        "cash": equity,
    }
    return Proposal(**{**values, **facts})


def named(cls, name="mine"):
    return NamedRule(name, cls())


def rule(body, *, blocks=False):
    """A rule from a function of a proposal, named ``mine``."""
    return named(type("Mine", (RiskRule,), {"review": lambda self, seen: body(seen), "may_block_reductions": blocks}))


def kept(rules, seen):
    return review_orders(rules, seen).kept.tolist()


# --- which part of an order increases a position --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "pending", "orders", "increasing", "resulting"),
    [
        (0, 0, [(0, 50)], [50], 50),
        (100, 0, [(0, 50)], [50], 150),
        (100, 0, [(0, -40)], [0], 60),
        (100, 0, [(0, -100)], [0], 0),
        (100, 0, [(0, -130)], [30], -30),
        (-100, 0, [(0, 130)], [30], 30),
        (0, 100, [(0, -40)], [0], 60),
        (100, -100, [(0, -40)], [40], -40),
        (100, 0, [(0, -100, 12.0), (0, -100, NAN, 8.0)], [0, 0], 100),  # two exits of one position
        (0, 0, [(0, 100), (0, -100, 12.0)], [100, 0], 100),  # the exit of what is bought with it
        (0, 0, [(0, 30, 9.0), (0, 40, 8.0)], [30, 40], 70),
        (0, 0, [(0, 30, 9.0), (0, -40, 12.0)], [30, 40], -40),  # either may fill: the larger counts
        (100, 0, [(0, 30, 9.0), (0, -100, 12.0)], [30, 0], 130),
        (0, 0, [(0, 50), (0, -20)], [50, 0], 30),  # two market orders, as of different time in force
        (0, 0, [], [], 0),
    ],
)  # fmt: skip
def test_the_part_that_increases_and_the_book_that_results(position, pending, orders, increasing, resulting):
    seen = proposal([position], orders, pending=np.array([float(pending)]))
    assert seen.increasing.tolist() == increasing
    assert seen.resulting.tolist() == [resulting]


def test_the_resulting_book_in_money():
    seen = proposal([100, -50], [(0, 100), (1, 20)], prices=[10, 20], equity=4000.0)
    assert seen.values.tolist() == [2000.0, -600.0]
    assert (seen.gross, seen.net) == (2600.0, 1400.0)
    assert seen.weights.tolist() == [0.5, -0.15]
    assert seen.weights_now.tolist() == [0.25, -0.25]


def test_without_equity_every_position_is_infinitely_heavy():
    assert proposal([1, -1, 0], [], equity=-5.0).weights.tolist() == [np.inf, -np.inf, 0.0]


def test_an_order_is_valued_at_its_own_price():
    seen = proposal([0], [(0, 1), (0, 1, 9.0), (0, 1, NAN, 11.0), (0, 1, 12.0, 11.0)])
    assert seen.order_prices.tolist() == [10.0, 9.0, 11.0, 12.0]


def test_arrays_cannot_be_written():
    seen = proposal([5], [(0, 1)])
    for name in ("positions", "asked", "orders", "increasing", "resulting", "weights", "prices", "columns"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(seen, name)[0] = 9.0
    inputs = np.array([1.0])
    proposal([5], [(0, 1)], pending=inputs)
    inputs[0] = 2.0  # the caller's own array stays its own


# --- what a rule can do ---------------------------------------------------------------------------------------------


def test_what_a_rule_takes_is_told_with_its_name():
    review = review_orders([rule(lambda seen: seen.shrink(0, 30, "why"))], proposal([0, 0], [(0, 50), (1, 7)]))
    assert review.kept.tolist() == [30.0, 7.0]
    assert review.refusals == ((0, 20.0, "mine: why"),)
    assert (review.halt, review.notes) == (None, ())


def test_the_proposal_that_was_handed_in_is_left_alone():
    seen = proposal([0], [(0, 50)])
    review_orders([rule(lambda seen: seen.refuse(0, "why"))], seen)
    assert seen.orders.tolist() == [50.0]


@pytest.mark.parametrize(
    ("position", "order", "shares", "left"),
    [
        (0, 50, 60, 50),  # never enlarged
        (0, 50, 20.9, 20),  # lots, towards zero
        (0, -50, 20.9, -20),
        (0, 50, 0.9, 0),
        (100, -50, 0, -50),  # reduces: passes
        (100, -130, 0, -100),  # through zero: only what reduces passes
        (-100, 130, 110, 110),
    ],
)
def test_shrinking_is_towards_zero_and_never_into_what_reduces(position, order, shares, left):
    assert kept([rule(lambda seen: seen.shrink(0, shares, "why"))], proposal([position], [(0, order)])) == [left]


def test_fractional_lots():
    seen = proposal([0], [(0, 1.5)], lots_per_share=1e9)
    assert kept([rule(lambda seen: seen.shrink(0, 1 / 3, "why"))], seen) == [0.333333333]


def test_scaling_takes_a_part_of_what_increases():
    seen = proposal([0, 100, 100], [(0, 10), (1, -50), (2, -300)])
    assert kept([rule(lambda seen: seen.scale(0.25, "why"))], seen) == [2.0, -50.0, -150.0]
    mask = np.array([True, False, False])
    assert kept([rule(lambda seen: seen.scale(0.0, "why", mask))], seen) == [0.0, -50.0, -300.0]


def test_a_cap_takes_from_resting_orders_first_and_says_why_for_each_ticker():
    seen = proposal([10, 0], [(0, 10), (0, 30, 9.0), (1, 5)])
    review = review_orders([rule(lambda seen: seen.cap(np.array([15.0, 5.0]), lambda c: f"{c}"))], seen)
    assert review.kept.tolist() == [5.0, 0.0, 5.0]
    assert {(refusal.order, refusal.reason) for refusal in review.refusals} == {(0, "mine: 0"), (1, "mine: 0")}


def test_only_a_rule_that_says_so_blocks_what_reduces_and_its_reason_tells():
    def refuse(seen):
        seen.refuse(0, "why")

    seen = proposal([100], [(0, -50)])
    assert kept([rule(refuse)], seen) == [-50.0]
    review = review_orders([rule(refuse, blocks=True)], seen)
    assert review.kept.tolist() == [0.0]
    assert review.refusals == ((0, -50.0, "mine: why, reductions too"),)
    assert review_orders([rule(refuse, blocks=True)], proposal([0], [(0, 5)])).refusals == ((0, 5.0, "mine: why"),)


def test_the_license_to_block_is_of_one_rule_only():
    nothing = rule(lambda seen: None, blocks=True)
    assert kept([nothing, rule(lambda seen: seen.refuse(0, "why"))], proposal([100], [(0, -50)])) == [-50.0]


def test_rules_run_in_their_order_each_on_what_is_left():
    saw = []

    def halve(seen):
        saw.append(seen.orders.tolist())
        seen.scale(0.5, "half")

    review = review_orders(
        [NamedRule("a", rule(halve).rule), NamedRule("b", rule(halve).rule)], proposal([0], [(0, 9)])
    )
    assert saw == [[9.0], [4.0]]
    assert review.kept.tolist() == [2.0]
    assert review.refusals == ((0, 5.0, "a: half"), (0, 2.0, "b: half"))


def test_a_rule_that_takes_twice_is_told_once():
    def twice(seen):
        seen.shrink(0, 8, "first")
        seen.shrink(0, 5, "then")

    assert review_orders([rule(twice)], proposal([0], [(0, 9)])).refusals == ((0, 4.0, "mine: first"),)


def test_a_halt_refuses_what_increases_for_every_later_rule():
    saw = []
    rules = [rule(lambda seen: seen.halt("enough")), rule(lambda seen: saw.append(seen.is_halted))]
    review = review_orders(rules, proposal([100, 0], [(0, -20), (1, 5)]))
    assert review.kept.tolist() == [-20.0, 0.0]
    assert (review.halt, saw) == ("mine: enough", [True])
    assert review.refusals == ((1, 5.0, "mine: enough"),)


def test_a_halt_needs_no_orders():
    assert review_orders([rule(lambda seen: seen.halt("enough"))], proposal([100], [])).halt == "mine: enough"


def test_in_a_halted_portfolio_only_reductions_are_sent():
    seen = proposal([100, 0], [(0, -20), (1, 5)], halted_by="max_drawdown: 0.3 > 0.2")
    review = review_orders([], seen)
    assert review.kept.tolist() == [-20.0, 0.0]
    assert review.refusals == ((1, 5.0, "halted: max_drawdown: 0.3 > 0.2"),)


def test_what_has_no_price_cannot_be_judged_and_is_not_sent():
    review = review_orders([], proposal([0, 5], [(0, 5), (1, -5)], prices=[0.0, 0.0]))
    assert review.kept.tolist() == [0.0, -5.0]
    assert review.refusals == ((0, 5.0, "no price: there was no bar yet"),)


def test_notes_bear_the_rules_name():
    review = review_orders([rule(lambda seen: seen.note("heavy: A", "0.6 > 0.5"))], proposal([1], []))
    assert review.notes == (("mine: heavy: A", "0.6 > 0.5"),)


# --- rules that are wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (lambda seen: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda seen: True, "returned True"),
        (lambda seen: seen.orders, "returned array"),
        (lambda seen: seen.shrink(0, NAN, "why"), "shrink() was given nan shares; allowed: 0 or more"),
        (lambda seen: seen.shrink(0, -1, "why"), "shrink() was given -1 shares; allowed: 0 or more"),
        (lambda seen: seen.shrink(1, 0, "why"), "there is no order 1; allowed: 0 to 0"),
        (lambda seen: seen.shrink(-1, 0, "why"), "there is no order -1; allowed: 0 to 0"),
        (lambda seen: seen.shrink(0, 1, ""), "a reason was ''; it must say why"),
        (lambda seen: seen.shrink(0, 1, 5), "a reason was 5; it must say why"),
        (lambda seen: seen.scale(1.5, "why"), "scale() was given factor 1.5; allowed: 0 to 1"),
        (lambda seen: seen.scale(NAN, "why"), "scale() was given factor nan"),
        (lambda seen: seen.scale(0.5, "why", np.ones(7, dtype=bool)), "7"),
        (lambda seen: seen.cap(np.array([NAN]), "why"), "cap() was given"),
        (lambda seen: seen.orders.__setitem__(0, 99.0), "read-only"),
        (lambda seen: setattr(seen, "asked", None), "FrozenInstanceError"),
    ],
)
def test_a_rule_that_fails_is_named_and_nothing_is_sent(body, says):
    with pytest.raises(RiskRuleError) as caught:
        review_orders([rule(body)], proposal([0], [(0, 50)]))
    text = str(caught.value)
    assert text.startswith("portfolio 1: risk rule 'mine' ")
    assert "at 2005-01-03 21:00Z, so nothing of this decision is sent" in text
    assert says in text


def test_a_rule_without_a_review_says_so():
    with pytest.raises(RiskRuleError, match=r"Empty must define review\(proposal\)"):
        review_orders([named(type("Empty", (RiskRule,), {}))], proposal([0], []))


# --- whatever is asked ----------------------------------------------------------------------------------------------

MANAGER = PluginManager.load()


class Wild(RiskRule):
    """Does what it likes."""

    seed: int

    def review(self, proposal):
        rng = np.random.default_rng(self.seed)
        for _ in range(4):
            act = rng.integers(4)
            if act == 0 and len(proposal.orders):
                proposal.shrink(int(rng.integers(len(proposal.orders))), float(rng.integers(0, 99)), "wild")
            elif act == 1:
                proposal.scale(float(rng.random()), "wild", rng.random(len(proposal.orders)) < 0.7)
            elif act == 2:
                proposal.cap(rng.integers(0, 150, len(proposal.tickers)).astype(float), "wild")
            elif rng.random() < 0.1:
                proposal.halt("wild")


@st.composite
def proposals(draw, shorts=True):
    whole = st.integers(-200 if shorts else 0, 200)
    count = draw(st.integers(1, 4))
    price = st.sampled_from([0.0, 0.5, 10.0, 33.33, 1000.0])
    numbers = draw(st.lists(st.tuples(whole, whole, price), min_size=count, max_size=count))
    orders = []
    for column in draw(st.lists(st.integers(0, count - 1), max_size=7)):
        shares = draw(st.integers(-200, 200).filter(bool))
        terms = draw(st.sampled_from([(NAN, NAN), (NAN, NAN), (9.0, NAN), (NAN, 11.0), (12.0, 11.0)]))
        orders.append((column, shares, *terms))
    return proposal(
        [row[0] for row in numbers],
        orders,
        prices=[row[2] for row in numbers],
        pending=np.array([float(row[1]) if shorts else 0.0 for row in numbers]),
        price_age_bars=np.array(draw(st.lists(st.sampled_from([0.0, 2.0, np.inf]), min_size=count, max_size=count))),
        equity=draw(st.sampled_from([-10.0, 0.0, 500.0, 20_000.0])),
        drawdown=draw(st.sampled_from([0.0, -0.2, -0.5])),
        orders_last_minute=draw(st.integers(0, 4)),
        halted_by=draw(st.sampled_from([None, None, None, "by hand"])),
    )


def bundled(name, **params):
    return NamedRule(name, MANAGER.create("risk rule", name, params))


LIMITS = (0.0, 0.3, 1.0, 2.5)
#: Made once: it takes longer than a review.
RULES = {
    name: {limit: bundled(name, limit=limit) for limit in LIMITS} for name in ("max_gross", "max_net", "max_weight")
}
LIMIT = st.sampled_from(LIMITS)
GROSS, NET = (st.sampled_from([*RULES[name].values()]) for name in ("max_gross", "max_net"))
SINGLE = st.sampled_from([
    *RULES["max_weight"].values(),
    *(bundled("max_order_notional", limit=limit) for limit in (1.0, 250.0, 4000.0)),
    *(bundled("max_orders_per_minute", limit=limit) for limit in (1, 3, 6)),
    bundled("price_collar", percent=5.0),
    bundled("stale_price", bars=1),
    bundled("max_drawdown", limit=0.3),
])  # fmt: skip
WILD = st.sampled_from([NamedRule("wild", Wild(seed=seed)) for seed in range(200)])
STACKS = st.lists(st.one_of(SINGLE, GROSS, NET, WILD), max_size=4)


@given(proposals(), STACKS)
@settings(max_examples=250, deadline=None)
def test_nothing_grows_turns_round_or_appears_and_all_that_is_taken_is_told(seen, rules):
    review = review_orders(rules, seen)
    assert len(review.kept) == len(seen.asked)
    assert (review.kept * seen.asked >= 0.0).all()
    assert (np.abs(review.kept) <= np.abs(seen.asked)).all()
    assert (review.kept == np.trunc(review.kept)).all()
    taken = np.zeros(len(seen.asked))
    for refusal in review.refusals:
        assert refusal.shares != 0.0
        assert refusal.reason.split(":")[0] in {"halted", "no price", *(named.name for named in rules)}
        taken[refusal.order] += refusal.shares
    assert (review.kept + taken == seen.asked).all()


def is_one_sided(seen, orders):
    """Whether these orders only buy, or only sell, each ticker."""
    columns = seen.columns[orders]
    sides = set(zip(columns.tolist(), np.sign(seen.asked[orders]).tolist(), strict=True))
    return len(sides) == len(set(columns.tolist()))


@given(proposals(), STACKS)
@settings(max_examples=250, deadline=None)
def test_what_reduces_passes(seen, rules):
    assume(is_one_sided(seen, ~seen.is_resting))
    left = review_orders(rules, seen).kept
    base = seen.positions + seen.pending
    for order in np.flatnonzero(~seen.is_resting):
        column, asked = seen.columns[order], seen.asked[order]
        if asked * base[column] < 0.0:
            assert abs(left[order]) >= min(abs(asked), abs(base[column]))
        base[column] += left[order]
    for order in np.flatnonzero(seen.is_resting):
        met, asked = base[seen.columns[order]], seen.asked[order]
        if asked * met < 0.0:
            assert abs(left[order]) >= min(abs(asked), abs(met))


def after(seen, rules):
    """The proposal with the orders that the rules left."""
    from dataclasses import replace

    return replace(seen, asked=review_orders(rules, seen).kept)


@given(proposals(), STACKS, LIMIT, st.sampled_from(["max_gross", "max_net", "max_weight"]))
@settings(max_examples=400, deadline=None)
def test_the_last_rules_limit_holds_wherever_something_was_left_to_take(seen, rules, limit, name):
    left = after(seen, [*rules, RULES[name][limit]])
    allowed, slack = limit * max(seen.equity, 0.0), 1 + 1e-9
    if name == "max_gross" and left.gross > allowed * slack:
        assert not (left.increasing * left.prices[left.columns]).any()
    if name == "max_net" and abs(left.net) > allowed * slack:
        assert not (left.increasing * left.prices[left.columns])[np.sign(left.orders) == np.sign(left.net)].any()
    if name == "max_weight":
        for column in np.flatnonzero(np.abs(left.values) > allowed * slack):
            mine = (left.columns == column) & (np.sign(left.orders) == np.sign(left.resulting[column]))
            assert not left.increasing[mine].any()


@given(proposals(shorts=False), st.lists(SINGLE, max_size=3), st.lists(GROSS, max_size=1), st.lists(NET, max_size=1))
@settings(max_examples=250, deadline=None)
def test_reviewing_what_is_left_changes_nothing(seen, single, gross, net):
    assume(is_one_sided(seen, seen.asked != 0.0))
    rules = [*single, *gross, *net]
    first = review_orders(rules, seen)
    again = review_orders(rules, after(seen, rules))
    assert again.kept.tolist() == first.kept.tolist()
    assert again.refusals == ()


@given(proposals(shorts=False), st.lists(SINGLE, min_size=2, max_size=3), st.randoms())
@settings(max_examples=200, deadline=None)
def test_a_larger_stack_never_leaves_more(seen, rules, random):
    less = np.abs(review_orders(rules, seen).kept)
    more = np.abs(review_orders(rules[:1], seen).kept)
    assert (less <= more).all()


def test_rules_compare_in_the_portfolios_currency():
    seen = proposal([10, 0], [(0, 30), (1, 5)], prices=[100.0, 20.0], equity=1000.0, rates=np.array([0.25, np.nan]))
    assert seen.share_values.tolist() == [25.0, 0.0]
    assert seen.order_values.tolist() == [25.0, 0.0]
    assert seen.values.tolist() == [1000.0, 0.0]
    assert seen.weights_now.tolist() == [0.25, 0.0]
    assert (seen.gross, seen.net) == (1000.0, 1000.0)
