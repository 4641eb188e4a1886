"""What can be booked: frozen values, checked when they are made, so that the ledger meets no absurd number.

Money is in whole micros (1e-6), prices too, quantities to 1e-9 (:mod:`framework.model.money` rounds); an entry never
rounds what it is given. ``at`` is business time (the broker's, the bar's; aware), ``session`` the exchange date that it
belongs to; booking time is the ledger's own. ``key`` names what happened (:mod:`framework.books.keys`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, TypeAlias

from framework.books import checks

Side: TypeAlias = Literal["BUY", "SELL"]
CashKind: TypeAlias = Literal[
    "deposit", "withdrawal", "dividend", "interest", "fee", "borrow", "tax", "adjustment", "adopt"
]

_ZERO, _ONE = Decimal(0), Decimal(1)
#: Which way the money of a kind goes; ``interest`` and ``adjustment`` go both ways.
_ONLY_IN = {"deposit", "dividend", "adopt"}
_ONLY_OUT = {"withdrawal", "fee", "borrow", "tax"}
_BOTH_WAYS = {"interest", "adjustment"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What all entries of one portfolio have."""

    portfolio_id: str
    key: str
    at: datetime
    session: date

    def __post_init__(self) -> None:
        checks.text("portfolio_id", self.portfolio_id, 64)
        checks.key(self.key)
        checks.moment("at", self.at)
        checks.day("session", self.session)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill(_Entry):
    """A broker's execution of (part of) an order; a fact.

    Attributes:
        side: BUY or SELL.
        quantity: > 0.
        price: ≥ 0, per share, in ``currency``.
        currency: the instrument's.
        fx_rate: units of the portfolio's currency per unit of ``currency``; needed where they differ.
        fees: in the portfolio's currency; negative: a rebate.
        arrival_price: the market when the order could first trade, in ``currency``.
        decision_price: the close decided on, in ``currency``.
        order_id: of the journal.
    """

    ticker: str
    side: Side
    quantity: Decimal
    price: Decimal
    currency: str
    fx_rate: Decimal | None = None
    fees: Decimal = _ZERO
    arrival_price: Decimal | None = None
    decision_price: Decimal | None = None
    order_id: str | None = None

    def __post_init__(self) -> None:
        _Entry.__post_init__(self)
        checks.ticker("ticker", self.ticker)
        checks.one_of("side", self.side, ("BUY", "SELL"))
        checks.quantity("quantity", self.quantity)
        checks.positive("quantity", self.quantity)
        checks.price("price", self.price)
        checks.currency("currency", self.currency)
        checks.money("fees", self.fees)
        for name in ("arrival_price", "decision_price"):
            if getattr(self, name) is not None:
                checks.price(name, getattr(self, name))
        checks.fx_rate(self.fx_rate)
        if self.order_id is not None:
            checks.text("order_id", self.order_id, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class CashMovement(_Entry):
    """Money that comes (amount > 0) or goes (amount < 0).

    ``deposit``, ``dividend``, ``adopt`` come; ``withdrawal``, ``fee``, ``borrow``, ``tax`` go; ``interest`` and
    ``adjustment`` do both. A withdrawal is an intent, refused when free cash would fall below zero; the others are
    facts.

    Attributes:
        amount: signed, not zero, in ``currency``.
        currency: of the amount; ``None``: the portfolio's.
        fx_rate: units of the portfolio's currency per unit of ``currency``; needed where they differ.
        for_ticker: whose dividend or fee it is.
        order_id: whose late commission it is.
        note: why, in words; an adjustment needs one.
    """

    kind: CashKind
    amount: Decimal
    currency: str | None = None
    fx_rate: Decimal | None = None
    for_ticker: str | None = None
    order_id: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        _Entry.__post_init__(self)
        checks.one_of("kind", self.kind, (*sorted(_ONLY_IN), *sorted(_ONLY_OUT), *sorted(_BOTH_WAYS)))
        checks.money("amount", self.amount)
        checks.sign(self.kind, self.amount, may_come=self.kind not in _ONLY_OUT, may_go=self.kind not in _ONLY_IN)
        if self.currency is not None:
            checks.currency("currency", self.currency)
        checks.fx_rate(self.fx_rate)
        if self.for_ticker is not None:
            checks.ticker("for_ticker", self.for_ticker)
        if self.order_id is not None:
            checks.text("order_id", self.order_id, 64)
        checks.note(self.note, needed=self.kind == "adjustment")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(_Entry):
    """Money from one portfolio (``portfolio_id``) to another of the same currency, both sides or neither; an intent.

    Attributes:
        to_portfolio_id: who gets it.
        amount: > 0, in the currency of both.
    """

    to_portfolio_id: str
    amount: Decimal
    note: str | None = None

    def __post_init__(self) -> None:
        _Entry.__post_init__(self)
        checks.text("to_portfolio_id", self.to_portfolio_id, 64)
        checks.differ("to_portfolio_id", self.to_portfolio_id, self.portfolio_id)
        checks.money("amount", self.amount)
        checks.positive("amount", self.amount)
        checks.note(self.note, needed=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(_Entry):
    """``new`` shares for every ``old`` ones of whatever is held when it is booked, down to 1e-9; a fact.

    It is booked once even where nothing is held, so that a later repetition cannot touch what was bought since.
    """

    ticker: str
    new: Decimal
    old: Decimal = _ONE

    def __post_init__(self) -> None:
        _Entry.__post_init__(self)
        checks.ticker("ticker", self.ticker)
        for name in ("new", "old"):
            checks.quantity(name, getattr(self, name))
            checks.positive(name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename(_Entry):
    """All that is held of ``ticker`` goes on as ``new_ticker``; a fact."""

    ticker: str
    new_ticker: str

    def __post_init__(self) -> None:
        _Entry.__post_init__(self)
        checks.ticker("ticker", self.ticker)
        checks.ticker("new_ticker", self.new_ticker)
        checks.differ("new_ticker", self.new_ticker, self.ticker)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt(_Entry):
    """A position that was there before the portfolio, taken over at its cost; counts as money in.

    Attributes:
        quantity: signed, not zero.
        cost: per share, ≥ 0, in ``currency``.
        currency: the instrument's.
        fx_rate: units of the portfolio's currency per unit of ``currency``; needed where they differ.
    """

    ticker: str
    quantity: Decimal
    cost: Decimal
    currency: str
    fx_rate: Decimal | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        _Entry.__post_init__(self)
        checks.ticker("ticker", self.ticker)
        checks.quantity("quantity", self.quantity)
        checks.not_zero("quantity", self.quantity)
        checks.price("cost", self.cost)
        checks.currency("currency", self.currency)
        checks.fx_rate(self.fx_rate)
        checks.note(self.note, needed=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment(_Entry):
    """A quantity set right by hand; never a trade. Money is set right by a :class:`CashMovement` of that kind.

    Attributes:
        change: signed, not zero.
        currency: of the price.
        price: what a share counts for, ≥ 0, in ``currency``: added shares are profit of that worth and enter their lot
            at it, removed shares are a loss of it.
        note: why.
    """

    ticker: str
    change: Decimal
    currency: str
    note: str
    price: Decimal = _ZERO
    fx_rate: Decimal | None = None

    def __post_init__(self) -> None:
        _Entry.__post_init__(self)
        checks.ticker("ticker", self.ticker)
        checks.quantity("change", self.change)
        checks.not_zero("change", self.change)
        checks.price("price", self.price)
        checks.currency("currency", self.currency)
        checks.fx_rate(self.fx_rate)
        checks.note(self.note, needed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction(_Entry):
    """Undoes a fill or a movement of money by a reversing row, and books what is right instead; a fact.

    ``key`` is that of the entry which was wrong; it can be corrected once (later: correct what replaced it). A transfer
    is undone by a transfer back, a change of quantity by an adjustment.

    Attributes:
        right: what should have been booked, with a key of its own and of the same portfolio; ``None``: nothing.
        note: why.
    """

    right: Fill | CashMovement | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        _Entry.__post_init__(self)
        checks.note(self.note, needed=False, longest=200)
        if self.right is not None:
            checks.differ("the key of right", self.right.key, self.key)
            checks.same("the portfolio_id of right", self.right.portfolio_id, self.portfolio_id)


Entry: TypeAlias = Fill | CashMovement | Transfer | Split | Rename | Adopt | Adjustment | Correction
