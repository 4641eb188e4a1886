"""Any sequence of bookings, against a plain model in Decimals: every row, every balance, and the audit agree."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from framework.books.audit import audit
from framework.books.entries import CashMovement, Correction, Fill, Rename, Split, Transfer
from framework.books.ledger import book
from framework.books.lots import Lots, Mark
from framework.books.state import read_portfolio
from framework.books.valuation import value
from framework.errors import IdempotencyConflict, InsufficientCash
from tests.books.cases import AT, DAY, D, ask, cash, fill, open_, transfer

_examples = itertools.count(1)
TICKERS = ("A", "B", "C")
whose = st.integers(0, 2)
tickers = st.sampled_from(TICKERS)
quantities = st.decimals("0.000000001", "100", places=9) | st.integers(1, 20).map(Decimal)
prices = st.decimals("0", "500", places=6) | st.integers(1, 50).map(Decimal)
amounts = st.decimals("0.000001", "3000", places=6)
KINDS = (("deposit", 1), ("dividend", 1), ("interest", 1), ("interest", -1), ("fee", -1), ("tax", -1), ("borrow", -1),
         ("adjustment", 1), ("adjustment", -1), ("withdrawal", -1))  # fmt: skip


FILLS: dict[str, Any] = {
    "n": whose, "ticker": tickers, "side": st.sampled_from(["BUY", "SELL"]), "quantity": quantities, "price": prices,
    "fees": st.decimals("-1", "2", places=6),
    "currency": st.sampled_from([("USD", None), ("EUR", D("1.0712345678")), ("JPY", D("0.0067"))]),
}  # fmt: skip


def rounded(exact: Fraction) -> Decimal:
    """To 1e-6, half to even, by other means than the ledger's."""
    return Decimal(round(exact * 10**6)).scaleb(-6)


class Model:
    """What the books should say, kept with plain additions."""

    def __init__(self):
        self.cash = defaultdict(Decimal)
        self.held = defaultdict(Decimal)
        self.booked = {}
        self.corrected = set()

    def fill(self, entry, sign=1):
        rate = Fraction(entry.fx_rate or 1)
        notional = rounded(Fraction(rounded(Fraction(entry.quantity) * Fraction(entry.price))) * rate)
        side = sign if entry.side == "BUY" else -sign
        self.cash[entry.portfolio_id] -= side * notional + sign * entry.fees
        self.held[entry.portfolio_id, entry.ticker] += side * entry.quantity

    def apply(self, entry):
        match entry:
            case Fill():
                self.fill(entry)
            case CashMovement():
                self.cash[entry.portfolio_id] += entry.amount
            case Transfer():
                self.cash[entry.portfolio_id] -= entry.amount
                self.cash[entry.to_portfolio_id] += entry.amount
            case Split():
                new = Fraction(self.held[entry.portfolio_id, entry.ticker]) * Fraction(entry.new) / Fraction(entry.old)
                self.held[entry.portfolio_id, entry.ticker] = Decimal(int(new * 10**9)).scaleb(-9)  # towards zero
            case Rename():
                self.held[entry.portfolio_id, entry.new_ticker] += self.held[entry.portfolio_id, entry.ticker]
                self.held[entry.portfolio_id, entry.ticker] = D(0)
            case Correction():
                wrong = self.booked[entry.key]
                if isinstance(wrong, Fill):
                    self.fill(wrong, -1)
                else:
                    self.cash[wrong.portfolio_id] -= wrong.amount
                if entry.right is not None:
                    self.apply(entry.right)
                self.corrected.add(entry.key)
                return
        self.booked[entry.key] = entry

    def overdraws(self, entry):
        intent = isinstance(entry, Transfer) or getattr(entry, "kind", "") == "withdrawal"
        return intent and self.cash[entry.portfolio_id] < abs(entry.amount)


class Bookings(RuleBasedStateMachine):
    """Three portfolios of an example's own, since books cannot be emptied."""

    pool = None

    @initialize()
    def begin(self):
        self.prefix = f"m{next(_examples)}"
        self.ids = [f"{self.prefix}-{n}" for n in range(3)]
        open_(self.pool, *self.ids)
        self.numbers = itertools.count(1)
        self.model = Model()
        self.clock = datetime(2024, 1, 2, tzinfo=UTC)
        self.history = []

    def new_key(self):
        return f"{self.prefix}:{next(self.numbers)}"

    def common(self, n):
        return {"portfolio_id": self.ids[n], "key": self.new_key(), "at": AT, "session": DAY}

    def book(self, *entries):
        result = book(self.pool, entries, self.clock)
        for entry in entries:
            self.model.apply(entry)
            self.history.append(entry)
        assert not any(entry.already for entry in result.entries)
        assert result.cash == {name: self.model.cash[name] for name in result.cash}
        assert set(result.overdrawn) == {name for name in result.cash if self.model.cash[name] < 0}

    def a_fill(self, n, ticker, side, quantity, price, fees, currency, minute=0):
        return fill(self.new_key(), side, quantity, price, fees, ticker, portfolio_id=self.ids[n],
                    currency=currency[0], fx_rate=currency[1], at=AT + timedelta(minutes=minute))  # fmt: skip

    @rule(**FILLS)
    def fill_one(self, **drawn):
        self.book(self.a_fill(**drawn))

    @rule(drawn=st.lists(st.fixed_dictionaries(FILLS | {"minute": st.integers(-99, 99)}), min_size=2, max_size=5))
    def fill_several_whose_business_times_are_in_any_order(self, drawn):
        self.book(*[self.a_fill(**each) for each in drawn])

    @rule(n=whose, kind=st.sampled_from(KINDS), amount=amounts)
    def move_money(self, n, kind, amount):
        self.try_intent(cash(amount * kind[1], kind[0], self.new_key(), portfolio_id=self.ids[n]))

    @rule(ends=st.permutations([0, 1, 2]), amount=amounts)
    def transfer_money(self, ends, amount):
        self.try_intent(transfer(amount, self.ids[ends[0]], self.ids[ends[1]], self.new_key()))

    def try_intent(self, entry):
        if self.model.overdraws(entry):
            with pytest.raises(InsufficientCash):
                book(self.pool, [entry], self.clock)
        else:
            self.book(entry)

    @rule(n=whose, ticker=tickers, new=st.integers(1, 7), old=st.integers(1, 7))
    def split(self, n, ticker, new, old):
        self.book(Split(**self.common(n), ticker=ticker, new=D(new), old=D(old)))

    @rule(n=whose, pair=st.permutations(TICKERS))
    def rename(self, n, pair):
        self.book(Rename(**self.common(n), ticker=pair[0], new_ticker=pair[1]))

    @rule(data=st.data(), right=st.booleans(), quantity=quantities)
    def correct(self, data, right, quantity):
        wrong = [
            entry for key, entry in self.model.booked.items()
            if key not in self.model.corrected and isinstance(entry, Fill | CashMovement)
        ]  # fmt: skip
        if not wrong:
            return
        entry = data.draw(st.sampled_from(wrong))
        what = {"quantity": quantity} if isinstance(entry, Fill) else {"amount": entry.amount * 2}
        fixed = replace(entry, key=self.new_key(), **what) if right else None
        self.book(Correction(portfolio_id=entry.portfolio_id, key=entry.key, at=AT, session=DAY, right=fixed))

    @rule(data=st.data())
    def repeat(self, data):
        if self.history:
            entries = data.draw(st.lists(st.sampled_from(self.history), min_size=1, max_size=4))
            assert all(entry.already for entry in book(self.pool, entries, self.clock).entries)

    @rule(data=st.data())
    def contradict(self, data):
        known = [entry for entry in self.history if isinstance(entry, Fill | CashMovement | Transfer)]
        if known:
            entry = data.draw(st.sampled_from(known))
            name = "quantity" if isinstance(entry, Fill) else "amount"
            other = replace(entry, **{name: getattr(entry, name) + (1 if getattr(entry, name) > 0 else -1)})
            with pytest.raises(IdempotencyConflict):
                book(self.pool, [cash("1", key=self.new_key(), portfolio_id=self.ids[0]), other], self.clock)

    @rule(seconds=st.integers(-100, 100))
    def set_the_clock(self, seconds):
        self.clock += timedelta(seconds=seconds)

    @rule(n=whose, price=prices)
    def value_it(self, n, price):
        name = self.ids[n]
        written = value(self.pool, name, dict.fromkeys(TICKERS, Mark(price)), Lots(), self.clock)
        worth = sum(rounded(Fraction(self.model.held[name, t]) * Fraction(price)) for t in TICKERS)
        assert written.equity == self.model.cash[name] + worth

    @invariant()
    def the_books_say_what_the_model_says(self):
        for name in getattr(self, "ids", ()):
            state = read_portfolio(self.pool, name)
            assert (state.cash or 0) == self.model.cash[name]
            held = {t: q for t, q in state.positions.items() if q}
            assert held == {t: q for t in TICKERS if (q := self.model.held[name, t])}

    def teardown(self):
        if hasattr(self, "ids"):
            report = audit(self.pool, self.ids)
            assert report.clean, report
            transfers = ask(self.pool, """SELECT sum(CASE side WHEN 'BUY' THEN notional ELSE -notional END)
                FROM trade_execution_logs WHERE kind = 'transfer'""")  # fmt: skip
            assert transfers[0][0] in (None, 0)


def machine(pool, **limits):
    bound = type("BoundBookings", (Bookings,), {"pool": pool})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(bound, settings=settings(deadline=None, suppress_health_check=checks, **limits))


def test_any_sequence_of_bookings(pool):
    machine(pool, max_examples=25, stateful_step_count=25)


@pytest.mark.slow
def test_many_more_sequences_of_bookings(pool):
    machine(pool, max_examples=400, stateful_step_count=50)
