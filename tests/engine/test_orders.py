"""Limit, stop and stop-limit orders with DAY, GTC and IOC: against an independent book, and rule by rule."""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework import Strategy
from framework.engine.account import Account, Terms
from framework.engine.matching import Waiting
from framework.engine.orders import OrderBook
from framework.errors import PluginError, StrategyError
from framework.model.orders import AUCTIONS, MARKET, OrderTerms
from framework.model.panel import Panel
from framework.trading.context import OrderRequest
from framework.trading.costs import Costs
from tests.engine.cases import Case, Constant, Fraction, timeline
from tests.engine.order_reference import run as reference

NAN = float("nan")
RATE, BPS = 0.002, 10.0  # exact in micros at prices that are multiples of a half: no fee ends on half a micro


class Calls(Strategy):
    """Makes the calls of a list, bar by bar, and keeps what it is told."""

    def __init__(self, calls):
        self._calls = calls
        self._row = -1
        self.lapsed = []

    def on_bar(self, ctx):
        self._row += 1
        self.lapsed += [(ctx.tickers[order.ticker], order.quantity, order.reason) for order in ctx.lapsed]
        for kind, ticker, quantity, terms in self._calls[self._row]:
            words = {"limit": terms.get("limit"), "stop": terms.get("stop")}
            words["time_in_force"] = terms.get("force", "DAY")
            if kind == "cancel":
                ctx.cancel(ctx.tickers[ticker])
            else:
                call = ctx.order_target if kind == "target" else ctx.order
                call(ctx.tickers[ticker], quantity, **words)


@dataclass(repr=False)
class Market:
    """Bars as rows of (open, high, low, close) or None, and the calls made at each close."""

    bars: list
    calls: list
    cash: float = 1000.0
    per_session: int = 1
    lots: float = 1.0
    costs: bool = False
    cap: float | None = None

    def case(self):
        empty = (NAN,) * 4
        prices = np.array([[empty if bar is None else bar for bar in row] for row in self.bars], dtype=float)
        clock = timeline(len(self.bars), self.per_session)
        names = tuple(f"T{column:02d}" for column in range(prices.shape[1]))
        fields = [np.ascontiguousarray(prices[:, :, field]) for field in range(4)]
        models = (Fraction(rate=RATE), Constant(bps=BPS)) if self.costs else (None, None)
        costs = Costs(*models, self.cap)
        panel = Panel(names, clock.timestamps, *fields, np.where(np.isnan(fields[0]), NAN, 1000.0))
        return Case(panel, clock, None, Terms(self.cash, self.lots, 0.0, costs))

    def run(self):
        strategy = Calls(self.calls)
        return self.case().run(strategy), strategy

    def reference(self, acts=()):
        exact = [[bar and tuple(Decimal(price) for price in bar) for bar in row] for row in self.bars]
        calls = [
            [
                (
                    kind,
                    ticker,
                    Decimal(quantity),
                    {name: value if name == "force" else Decimal(value) for name, value in terms.items()},
                )
                for kind, ticker, quantity, terms in row
            ]
            for row in self.calls
        ]
        lasts = timeline(len(self.bars), self.per_session).last_of_session()
        rate, bps = (Decimal(str(RATE)), Decimal(int(BPS))) if self.costs else (Decimal(0), Decimal(0))
        cap = self.cap and Decimal(str(self.cap))
        return reference(exact, calls, lasts, Decimal(self.cash), Decimal(1), rate, bps, acts, cap)


def _prices(rng, bars, tickers):
    """On a grid of halves, so that touches and ties are common."""
    opens = 10 + np.cumsum(rng.integers(-3, 4, (bars, tickers)), axis=0) / 2
    closes = opens + rng.integers(-3, 4, (bars, tickers)) / 2
    high = np.maximum(opens, closes) + rng.integers(0, 4, (bars, tickers)) / 2
    low = np.minimum(opens, closes) - rng.integers(0, 4, (bars, tickers)) / 2
    return np.maximum(np.stack([opens, high, low, closes], axis=2), 0.5)


def _call(rng, price, tickers):
    kind = rng.choice(["order", "target", "cancel"], p=[0.7, 0.25, 0.05])
    quantity = int(rng.integers(-40, 60)) if kind == "order" else int(rng.integers(-1, 60))
    terms = {"force": str(rng.choice(["DAY", "GTC", "IOC", "OPG", "CLS"]))}
    for name in ("limit", "stop"):
        if rng.random() < 0.5 and (name == "limit" or terms["force"] not in AUCTIONS):
            terms[name] = max(0.5, float(price + rng.integers(-6, 7) / 2))
    return str(kind), tickers, quantity, terms


@st.composite
def markets(draw, lots=(1.0,)):
    """Small markets with gaps, missing bars and ties; orders of all kinds, some of them absurd."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, tickers = draw(st.integers(1, 16)), draw(st.integers(1, 4))
    prices = _prices(rng, count, tickers)
    missing = rng.random((count, tickers)) < draw(st.sampled_from([0.0, 0.2, 0.6]))
    bars = [[None if missing[r, c] else tuple(prices[r, c].tolist()) for c in range(tickers)] for r in range(count)]
    calls = []
    for row in range(count):
        chosen = rng.integers(0, tickers, rng.poisson(draw(st.sampled_from([0.3, 1.5, 4.0]))))
        calls.append([_call(rng, prices[row, column, 3], int(column)) for column in chosen])
    return Market(
        bars,
        calls,
        cash=draw(st.sampled_from([300.0, 2_000.0])),
        per_session=draw(st.sampled_from([1, 4])),
        lots=draw(st.sampled_from(lots)),
        costs=draw(st.booleans()),
        cap=draw(st.sampled_from([None, None, 0.008, 0.02])),
    )


@given(markets())
@settings(max_examples=300, deadline=None)
def test_trades_ends_and_cash_as_in_the_reference(market):
    result, _ = market.run()
    trades, ends, cash = market.reference()
    mine = result.trades
    columns = (mine.decided, mine.filled, mine.ticker, mine.quantity, mine.price)
    assert list(zip(*map(np.ndarray.tolist, columns), strict=True)) == [tuple(map(float, trade)) for trade in trades]
    assert Counter((order.bar, order.ticker, order.quantity, order.reason) for order in result.unfilled) == Counter(
        (bar, ticker, float(quantity), reason) for bar, ticker, quantity, reason in ends
    )
    assert result.cash.tolist() == [float(row) for row in cash]


class Ledger:
    """Notes each order's fills and ends, as a journal does."""

    def __init__(self):
        self.fills, self.ends = [], []

    def filled(self, order, lots, price, fees):
        self.fills.append((order, lots, price))

    def ended(self, order, lots, reason):
        self.ends.append((order, lots, reason))


TERMS = st.builds(
    lambda limit, stop, force: OrderTerms.of(limit and limit / 2, stop and stop / 2, force),
    st.none() | st.integers(8, 32),
    st.none() | st.integers(8, 32),
    st.sampled_from(["DAY", "GTC", "IOC"]),
)


@given(markets(lots=(1.0, 1e9)), st.lists(st.tuples(st.integers(0, 3), st.integers(-60, 60), TERMS), max_size=8))
@settings(max_examples=200, deadline=None)
def test_every_order_ends_once_at_a_possible_price_and_a_rebuilt_book_does_the_same(market, asked):
    case = market.case()
    panel, lots_per_share = case.panel, case.terms.lots_per_share
    orders = [
        Waiting(column % len(panel.tickers), quantity * lots_per_share, -1, f"o{number}", terms=terms)
        for number, (column, quantity, terms) in enumerate(asked)
        if quantity
    ]

    def play(rebuild):
        account, ledger = Account(panel, case.terms, 0), Ledger()
        account.lots[:] = 20 * lots_per_share
        account.value_to(-1)
        last = case.clock.last_of_session()
        book = OrderBook(account, last, orders, 0, ledger)
        for bar in range(len(panel)):
            if rebuild:
                book = OrderBook(account, last, book.waiting, bar, ledger)
            fills = len(ledger.fills)
            book.run_to(bar)
            assert account.cash >= 0.0
            assert (account.lots >= 0.0).all()
            for order, lots, price in ledger.fills[fills:]:
                check_price(case, bar, order, lots, price, book.arrival(bar, order))
        return account, ledger, book

    account, ledger, book = play(rebuild=False)
    again = play(rebuild=True)
    assert (ledger.fills, ledger.ends, account.cash) == (again[1].fills, again[1].ends, again[0].cash)
    for order in orders:
        parts = [lots for other, lots, _ in ledger.fills + ledger.ends if other.order_id == order.order_id]
        parts += [other.lots for other in book.waiting if other.order_id == order.order_id]
        assert sum(parts) == order.lots
        if market.cap is None:
            assert sum(other.order_id == order.order_id for other, *_ in ledger.fills) <= 1
            assert sum(other.order_id == order.order_id for other, *_ in ledger.ends) <= 1
    assert all(order.terms.time_in_force == "GTC" for order in book.waiting) or not last_bar_ends(case)


def last_bar_ends(case):
    return len(case.panel) > 0 and bool(case.clock.last_of_session()[-1])


def check_price(case, bar, order, lots, price, arrival):
    """A fill's price: seen by the bar before slippage, not beyond the limit, and moved by no more than slippage."""
    panel, terms, side = case.panel, order.terms, np.sign(lots)
    paid = price * case.terms.lots_per_share / 1e6
    column = order.column
    assert panel.low[bar, column] <= arrival <= panel.high[bar, column]
    assert side == np.sign(order.lots)
    assert abs(lots) <= abs(order.lots)
    if terms.limit_price is not None:
        assert side * (terms.limit_price - paid) >= -1e-9
    if terms.stop_price is not None and not order.is_triggered:
        extreme = panel.high[bar, column] if side > 0 else panel.low[bar, column]
        assert side * (extreme - terms.stop_price) >= 0.0
    slippage = case.terms.costs.slippage
    assert -1e-9 <= side * (paid - arrival) <= arrival * (slippage.bps if slippage else 0.0) / 1e4 + 1e-6


@given(markets(lots=(1.0, 1e9)))
@settings(max_examples=50, deadline=None)
def test_a_rerun_is_the_same_to_the_byte(market):
    first, second = market.run()[0], market.run()[0]
    for name in ("ticker", "decided", "filled", "quantity", "arrival_price", "price", "notional", "fees"):
        assert getattr(first.trades, name).tobytes() == getattr(second.trades, name).tobytes()
    assert first.equity.tobytes() == second.equity.tobytes()
    assert first.unfilled == second.unfilled
    assert (first.cash >= 0.0).all()


@given(markets())
@settings(max_examples=100, deadline=None)
def test_no_bar_gives_more_than_its_part(market):
    market.cap = 0.011
    trades = market.run()[0].trades
    in_bar = Counter()
    for filled, ticker, quantity in zip(trades.filled, trades.ticker, trades.quantity, strict=True):
        in_bar[filled, ticker] += abs(quantity)
    assert max(in_bar.values(), default=0) <= 11


# Rule by rule. One ticker, one order, decided on a close of 10; a bar is (open, high, low, close).

FLAT = (10, 10, 10, 10)


def play(calls, *bars, **market):
    """Calls at the closes of the first bars (from a flat first one on), then these bars."""
    rows = [[FLAT], *[[bar] for bar in bars]]
    calls = [*calls, *[[] for _ in range(len(rows) - len(calls))]]
    result, strategy = Market(rows, calls, **market).run()
    trades = result.trades
    fills = list(zip(trades.filled.tolist(), trades.quantity.tolist(), trades.price.tolist(), strict=True))
    return fills, [(order.quantity, order.reason) for order in result.unfilled], strategy


def buy(bar, *more, quantity=10, force="DAY", **terms):
    fills, ends, _ = play([[("order", 0, quantity, {"force": force, **terms})]], bar, *more)
    return fills, ends


def sell(bar, *more, force="DAY", **terms):
    """As ``buy``; the shares are bought at 10 before."""
    calls = [[("order", 0, 10, {})], [("order", 0, -10, {"force": force, **terms})]]
    fills, ends, _ = play(calls, FLAT, bar, *more)
    assert fills[0] == (1, 10.0, 10.0)
    return [(row - 1, quantity, price) for row, quantity, price in fills[1:]], ends


@pytest.mark.parametrize(
    ("order", "bar", "filled"),
    [
        # Limit buys: open below, gap, touch, not reached.
        ({"limit": 10}, (10, 11, 9, 10), 10.0),
        ({"limit": 9}, (8, 9, 7, 8), 8.0),
        ({"limit": 9}, (10, 11, 9, 10), 9.0),
        ({"limit": 9}, (10, 11, 8, 10), 9.0),
        ({"limit": 9}, (10, 11, 9.5, 10), None),
        # Stop buys.
        ({"stop": 11}, (11, 12, 10, 12), 11.0),
        ({"stop": 11}, (13, 14, 12, 13), 13.0),
        ({"stop": 11}, (10, 11, 9, 10), 11.0),
        ({"stop": 11}, (10, 10.5, 9, 10), None),
        # Stop-limit buys: triggered at the open.
        ({"stop": 11, "limit": 12}, (11, 12, 10, 11), 11.0),
        ({"stop": 11, "limit": 12}, (13, 14, 12, 13), 12.0),
        ({"stop": 11, "limit": 12}, (13, 14, 12.5, 13), None),
        # Triggered inside: certain where the close is within the limit, at the worst price seen within it.
        ({"stop": 11, "limit": 12}, (10, 11.5, 9, 11), 11.5),
        ({"stop": 11, "limit": 12}, (10, 14, 9, 12), 12.0),
        ({"stop": 11, "limit": 12}, (10, 14, 9, 12.5), None),
        ({"stop": 11, "limit": 9}, (10, 12, 8, 9), 9.0),
        ({"stop": 11, "limit": 9}, (10, 12, 8, 10), None),
    ],
)
def test_where_a_buy_fills_and_a_sell_upside_down(order, bar, filled):
    opening, high, low, close = bar
    expected = ([], [(10.0, "not reached")]) if filled is None else ([(1, 10.0, filled)], [])
    assert buy(bar, **order) == expected
    mirror = {name: 20 - price for name, price in order.items()}
    expected = ([], [(-10.0, "not reached")]) if filled is None else ([(1, -10.0, 20 - filled)], [])
    assert sell((20 - opening, 20 - low, 20 - high, 20 - close), **mirror) == expected


def test_a_triggered_stop_limit_rests_as_a_limit_order():
    order = {"stop": 11, "limit": 10.5, "force": "GTC"}
    assert buy((10, 12, 9, 12), (12, 12, 10.5, 12), **order) == ([(2, 10.0, 10.5)], [])
    assert buy((10, 12, 9, 12), (10, 10, 10, 10), **order) == ([(2, 10.0, 10.0)], [])
    # Without the trigger it does not trade, wherever the price is.
    assert buy((10, 10.5, 9, 10), (10, 10, 10, 10), **order) == ([], [(10.0, "end of data")])


def test_slippage_is_added_to_stops_and_at_the_open_but_never_carries_beyond_a_limit():
    def price(bar, **order):
        fills, _, _ = play([[("order", 0, 10, order)]], bar, costs=True)
        return fills[0][2]

    assert price((10, 12, 9, 10), stop=11) == 11.011
    assert price((10, 12, 9, 10), limit=10.5) == 10.01
    assert price((10, 12, 9, 10), limit=10.005) == 10.005
    assert price((10, 12, 9, 10), limit=10) == 10.0
    assert price((10, 12, 9, 10), limit=9) == 9.0
    assert price((12, 12, 9, 10), stop=11, limit=12.006) == 12.006


def test_the_arrival_price_is_what_the_order_could_first_trade_at():
    calls = [[("order", 0, 10, {"limit": 9, "force": "GTC"})], [("order", 0, -10, {"stop": 8, "force": "GTC"})]]
    result, _ = Market([[FLAT], [(10, 10, 8.5, 9)], [(9, 9, 7, 7)]], [*calls, []], costs=True).run()
    assert result.trades.arrival_price.tolist() == [9.0, 8.0]
    assert result.trades.price.tolist() == [9.0, 7.992]


@pytest.mark.parametrize(
    ("force", "bars", "expected"),
    [
        ("DAY", [FLAT, (10, 10, 8, 8)], ([], [(10.0, "not reached")])),
        ("DAY", [None, (10, 10, 8, 8)], ([], [(10.0, "no bar")])),
        ("GTC", [FLAT, None, (10, 10, 8, 8)], ([(3, 10.0, 9.0)], [])),
        ("GTC", [FLAT, None, FLAT], ([], [(10.0, "end of data")])),
        ("IOC", [(9, 10, 8, 9)], ([(1, 10.0, 9.0)], [])),
        ("IOC", [(10, 10, 8, 8), (8, 8, 8, 8)], ([], [(10.0, "ioc")])),
        ("IOC", [None, (8, 8, 8, 8)], ([], [(10.0, "no bar")])),
    ],
)
def test_time_in_force_of_daily_bars(force, bars, expected):
    assert buy(*bars, limit=9, force=force) == expected


def test_a_day_order_lasts_within_the_session_of_intraday_bars():
    order = [[("order", 0, 10, {"limit": 9})]]
    fills, ends, _ = play(order, FLAT, None, (10, 10, 9, 9), FLAT, per_session=4)
    assert (fills, ends) == ([(3, 10.0, 9.0)], [])
    # Two of these bars make a session: the order is decided on the first and lapses after the second.
    fills, ends, strategy = play(order, FLAT, (10, 10, 9, 9), FLAT, per_session=2)
    assert (fills, ends) == ([], [(10.0, "not reached")])
    assert strategy.lapsed == [("T00", 10.0, "not reached")]
    # Without a bar in the rest of the session, it never had the chance.
    assert play(order, None, (10, 10, 9, 9), FLAT, per_session=2)[1] == [(10.0, "no bar")]


def test_market_orders_have_a_time_in_force_too():
    assert buy(None, None, (12, 12, 12, 12), force="GTC") == ([(3, 10.0, 12.0)], [])
    assert buy(None, force="IOC") == ([], [(10.0, "no bar")])


def test_of_a_stop_and_a_limit_in_one_bar_the_stop_goes_first():
    calls = [
        [("order", 0, 10, {})],
        [("order", 0, -10, {"limit": 12, "force": "GTC"}), ("order", 0, -10, {"stop": 8, "force": "GTC"})],
    ]
    fills, ends, _ = play(calls, FLAT, (10, 13, 7, 12))
    assert fills[1:] == [(2, -10.0, 8.0)]
    assert ends == [(-10.0, "short not allowed")]
    # At the open it is certain which comes first.
    assert play(calls, FLAT, (13, 13, 7, 12))[0][1:] == [(2, -10.0, 13.0)]


def test_a_stop_sent_with_the_buy_that_it_guards_works_from_that_open_on():
    calls = [[("order", 0, 10, {}), ("order", 0, -10, {"stop": 9, "force": "GTC"})]]
    assert play(calls, (10, 10, 8, 8))[0] == [(1, 10.0, 10.0), (1, -10.0, 9.0)]
    assert play(calls, (8, 8, 8, 8))[0] == [(1, 10.0, 8.0), (1, -10.0, 8.0)]


def test_inside_a_bar_a_buy_counts_on_no_cash_from_sells_there():
    calls = [
        [("order", 0, 100, {})],
        [("order", 0, -100, {"limit": 12, "force": "GTC"}), ("order", 0, 10, {"limit": 9, "force": "GTC"})],
    ]
    fills, ends, _ = play(calls, FLAT, (10, 13, 8, 9))
    assert fills[1:] == [(2, -100.0, 12.0)]
    assert ends == [(10.0, "no cash")]


def test_buys_inside_a_bar_are_trimmed_to_the_cash():
    fills, ends = buy((10, 10, 9, 9), quantity=200, limit=9)
    assert fills == [(1, 111.0, 9.0)]
    assert ends == [(89.0, "no cash")]


def test_resting_orders_are_not_on_their_way_to_a_target():
    resting = [("order", 0, 10, {"limit": 9, "force": "GTC"})]
    fills, ends, _ = play([resting, [("target", 0, 30, {})]], FLAT, FLAT, (10, 10, 9, 9))
    assert fills == [(2, 30.0, 10.0), (3, 10.0, 9.0)]
    # Nor do they cover a sell.
    _, ends, _ = play([resting, [("order", 0, -10, {})]], FLAT)
    assert ends == [(-10.0, "short not allowed"), (10.0, "end of data")]


def test_what_a_priced_target_ordered_is_on_its_way():
    target = [("target", 0, 10, {"limit": 9, "force": "GTC"})]
    fills, ends, _ = play([target, target, [("target", 0, 15, {"limit": 9, "force": "GTC"})]], FLAT, FLAT, (9, 9, 9, 9))
    assert (fills, ends) == ([(3, 10.0, 9.0), (3, 5.0, 9.0)], [])
    # At another price it is replaced.
    other = [("target", 0, 10, {"limit": 9.5, "force": "GTC"})]
    fills, ends, _ = play([target, other], FLAT, (10, 10, 9.5, 10))
    assert (fills, ends) == ([(2, 10.0, 9.5)], [(10.0, "replaced")])


@pytest.mark.parametrize(("target", "is_cancelled"), [(0, True), (9, True), (10, False), (12, False)])
def test_a_target_that_leaves_less_than_resting_sells_hold_cancels_them(target, is_cancelled):
    exits = [("order", 0, -10, {"limit": 12, "force": "GTC"}), ("order", 0, -10, {"stop": 8, "force": "GTC"})]
    _, ends, _ = play([[("order", 0, 10, {})], exits, [("target", 0, target, {})]], FLAT, FLAT, FLAT)
    assert ends == [(-10.0, "replaced" if is_cancelled else "end of data")] * 2


def test_cancel_takes_back_what_rests_and_what_was_not_sent_yet():
    order = ("order", 0, 10, {"limit": 9, "force": "GTC"})
    fills, ends, _ = play([[order], [("cancel", 0, 0, {}), order]], FLAT, (10, 10, 9, 9))
    assert (fills, ends) == ([(2, 10.0, 9.0)], [(10.0, "cancelled")])
    fills, ends, _ = play([[order, ("cancel", 0, 0, {})]], (9, 9, 9, 9))
    assert (fills, ends) == ([], [])


def test_two_prices_asked_of_a_ticker_at_one_bar_stay_two_orders():
    calls = [[("order", 0, 10, {"limit": 9}), ("order", 0, 5, {"limit": 8})]]
    assert play(calls, (10, 10, 8.5, 9))[:2] == ([(1, 10.0, 9.0)], [(5.0, "not reached")])


def test_an_open_that_is_too_small_to_be_traded_at_ends_the_order():
    assert buy((0.001, 10, 0.001, 10), limit=9) == ([], [(10.0, "price too small")])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            {"limit": 0.0},
            r"order for 'T00': a limit order was given limit price 0.0; allowed: a number from 0.005 to 1000000000",
        ),
        ({"limit": NAN}, "limit price nan; allowed"),
        ({"stop": float("inf")}, "a stop order was given stop price inf; allowed"),
        ({"stop": 5.0, "limit": "6"}, "a stop_limit order was given limit price '6'; allowed"),
        ({"time_in_force": "FOK"}, "time in force 'FOK' of an order is not known; allowed: DAY, GTC, IOC"),
    ],
)
def test_terms_that_cannot_be_are_refused_by_name(words, said):
    class Asks(Strategy):
        def on_bar(self, ctx):
            ctx.order("T00", 1, **words)

    with pytest.raises(StrategyError, match=said):
        Market([[FLAT]], [[]]).case().run(Asks())


@pytest.mark.parametrize("quantity", [1e300, -1e300, NAN, float("-inf")])
def test_quantities_that_cannot_be_are_refused(quantity):
    with pytest.raises(
        StrategyError, match=r"order for 'T00' was given quantity .*; it must be a finite number, at most"
    ):
        play([[("order", 0, quantity, {})]], FLAT, lots=1e9)


def test_terms_are_rounded_to_micros_and_know_their_type():
    assert OrderTerms.of(10.1234567, None).limit_price == 10.123457
    assert OrderTerms.of(np.float32(2.5), np.int64(3)).order_type == "stop_limit"
    assert OrderTerms.of(None, None) is MARKET
    with pytest.raises(StrategyError, match="a limit order needs a limit price"):
        OrderTerms("limit")
    with pytest.raises(StrategyError, match="a market order was given stop price 3"):
        OrderTerms("market", stop_price=3)
    with pytest.raises(StrategyError, match="order type 'iceberg' of an order is not known"):
        OrderTerms("iceberg")


def test_a_review_sees_each_decision_and_what_it_takes_is_told():
    case = Market([[FLAT], [FLAT], [FLAT]], [[]] * 3).case()
    account, seen = Account(case.panel, case.terms, 0), []

    def review(bar, new, earlier):
        seen.append((bar, [order.lots for order in new], [order.lots for order in earlier]))
        return new[1:], [(order, order.lots, "max_order: too large") for order in new[:1]]

    book = OrderBook(account, case.clock.last_of_session(), review=review)
    book.close_decision(0)
    book.request(0, OrderRequest(0, 7.0, is_target=False))
    book.request(0, OrderRequest(0, 5.0, False, OrderTerms.of(9.0, None, "GTC")))
    book.close_decision(0)
    book.run_to(1)
    book.close_decision(1)
    assert seen == [(0, [], []), (0, [7.0, 5.0], []), (1, [], [5.0])]
    assert [(order.quantity, order.reason) for order in account.unfilled] == [(7.0, "max_order: too large")]


# A part of the volume, which is 1000 shares a bar.


def test_what_a_bars_volume_leaves_of_an_order_of_the_day_ends():
    fills, ends, strategy = play([[("order", 0, 25, {})]], FLAT, FLAT, cap=0.01)
    assert fills == [(1, 10.0, 10.0)]
    assert ends == [(15.0, "volume cap")]
    assert strategy.lapsed == [("T00", 15.0, "volume cap")]


def test_within_a_session_the_rest_goes_on():
    fills, ends, _ = play([[("order", 0, 25, {})]], FLAT, FLAT, FLAT, FLAT, FLAT, cap=0.01, per_session=4)
    assert fills == [(1, 10.0, 10.0), (2, 10.0, 10.0), (3, 5.0, 10.0)]
    assert ends == []


def test_what_is_good_till_cancelled_fills_bar_by_bar():
    fills, ends, _ = play([[("order", 0, 25, {"force": "GTC"})]], FLAT, FLAT, FLAT, FLAT, cap=0.01)
    assert fills == [(1, 10.0, 10.0), (2, 10.0, 10.0), (3, 5.0, 10.0)]
    assert ends == []


@pytest.mark.parametrize("force", ["IOC", "OPG", "CLS"])
def test_what_is_for_one_moment_ends_with_it(force):
    fills, ends, _ = play([[("order", 0, 25, {"force": force})]], FLAT, FLAT, cap=0.01)
    assert (fills, ends) == ([(1, 10.0, 10.0)], [(15.0, "volume cap")])


def test_a_stop_that_was_reached_is_a_market_order_from_then_on():
    sell = ("order", 0, -20, {"stop": 9.0, "force": "GTC"})
    bars = (10, 10, 8.5, 9.5), (12, 12, 12, 12), (13, 13, 13, 13)
    calls = [[("order", 0, 20, {"force": "GTC"})], [], [sell]]
    fills, ends, _ = play(calls, FLAT, FLAT, *bars, cap=0.01)
    assert fills == [(1, 10.0, 10.0), (2, 10.0, 10.0), (3, -10.0, 9.0), (4, -10.0, 12.0)]
    assert ends == []


def test_what_cash_does_not_pay_for_takes_the_rest_with_it():
    fills, ends, _ = play([[("order", 0, 25, {"force": "GTC"})]], FLAT, FLAT, cap=0.01, cash=35.0)
    assert (fills, ends) == ([(1, 3.0, 10.0)], [(22.0, "no cash")])


def test_orders_of_one_ticker_share_its_volume():
    calls = [[("order", 0, 7, {}), ("order", 0, 7, {"limit": 12.0})]]
    fills, ends, _ = play(calls, FLAT, FLAT, cap=0.01)
    assert fills == [(1, 7.0, 10.0), (1, 3.0, 10.0)]
    assert ends == [(4.0, "volume cap")]


@pytest.mark.parametrize("cap", [0.0, -0.1, 1.01, float("nan")])
def test_a_part_that_is_none_is_refused(cap):
    with pytest.raises(PluginError, match=r"volume_cap was .*; allowed: above 0 and at most 1"):
        Costs(volume_cap=cap)
