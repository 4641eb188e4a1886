"""An independent book of orders for the tests: Decimals, a walk over the prices that a bar may have taken."""

from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext

from tests.engine.reference import Book, micro, split

LOWEST = Decimal("0.005")


@dataclass(eq=False)
class Order:
    ticker: int
    quantity: Decimal
    decided: int
    limit: Decimal | None = None
    stop: Decimal | None = None
    force: str = "DAY"
    is_target: bool = False
    is_triggered: bool = False
    is_capped: bool = False
    rest: Decimal = Decimal(0)
    turn: int = 0

    @property
    def is_market(self):
        return self.limit is None and self.stop is None

    @property
    def coming(self):
        return self.is_market or self.is_target

    @property
    def side(self):
        return 1 if self.quantity > 0 else -1

    def reaches(self, tick, price, *, is_stop):
        """Whether a tick is at a price or beyond: a buy's limit and a sell's stop lie below, the others above."""
        return tick <= price if (self.side > 0) != is_stop else tick >= price


def walk(order, ticks):
    """(price, number of the tick, slips) where an order trades on one path, or None; and whether its stop was met."""
    met = order.stop is None or order.is_triggered
    for number, tick in enumerate(ticks):
        if order.is_market or (order.is_triggered and order.limit is None):
            return (tick, number, True), True
        fresh = not met and order.reaches(tick, order.stop, is_stop=True)
        met = met or fresh
        if fresh and order.limit is None:
            return (order.stop if number else tick, number, True), True
        if met and order.limit is not None and order.reaches(tick, order.limit, is_stop=False):
            # At the open, or by a jump from the stop: at the tick. A resting limit: at the limit.
            return (tick if number == 0 or fresh else order.limit, number, number == 0), True
    return None, met


def trade_of(order, bar):
    """Where it trades whatever the path, at the worst; None: on some path nowhere. And whether its stop was met."""
    opening, high, low, close = bar
    walks = [walk(order, path) for path in ((opening, high, low, close), (opening, low, high, close))]
    met = walks[0][1]
    if any(found is None for found, _ in walks):
        return None, met
    worst = max if order.side > 0 else min
    price, number, slips = worst((found for found, _ in walks), key=lambda found: found[0])
    if order.force in ("IOC", "OPG") and number:
        return None, met
    return (price, 1 if number else 0, slips), met


def auction(order, bar, begins, ends):
    """As :func:`trade_of`, of an order for an auction."""
    if order.force == "OPG":
        return trade_of(order, bar) if begins else (None, False)
    is_far = order.limit is not None and not order.reaches(bar[3], order.limit, is_stop=False)
    return (None if is_far or not ends else (bar[3], 2, True)), False


@dataclass
class Desk(Book):
    orders: list = field(default_factory=list)
    ended: list = field(default_factory=list)
    row: int = 0
    cap: Decimal | None = None
    turn: int = 0
    room: dict = field(default_factory=dict)

    def end(self, order, quantity, reason):
        self.ended.append((self.row, order.ticker, quantity, reason))

    def owned(self, ticker):
        return self.held.get(ticker, Decimal(0))

    def on_its_way(self, ticker):
        return sum((order.quantity for order in self.orders if order.ticker == ticker and order.coming), Decimal(0))

    def take_back(self, chosen, reason):
        for order in [order for order in self.orders if chosen(order)]:
            self.orders.remove(order)
            if order.decided < self.row:
                self.end(order, order.quantity, reason)

    # Decisions.

    def ask(self, kind, ticker, quantity=Decimal(0), **terms):
        order = Order(ticker, quantity, self.row, is_target=kind == "target", **terms)
        if kind == "cancel":
            self.take_back(lambda other: other.ticker == ticker, "cancelled")
        elif kind == "target" and quantity >= 0:
            self.reach(order)
        elif kind == "target" or self.owned(ticker) + self.on_its_way(ticker) + quantity < 0:
            self.end(order, quantity, "short not allowed")
        else:
            self.send(order)

    def reach(self, order):
        ticker, target = order.ticker, order.quantity
        resting = [other for other in self.orders if other.ticker == ticker and other.side < 0 and not other.coming]
        stops = -sum(other.quantity for other in resting if other.stop is not None)
        limits = -sum(other.quantity for other in resting if other.stop is None)
        if target < stops or target < limits:
            self.take_back(lambda other: other in resting, "replaced")
        if not order.is_market:
            mine = (order.limit, order.stop, order.force)
            self.take_back(
                lambda other: (
                    other.ticker == ticker and other.is_target and (other.limit, other.stop, other.force) != mine
                ),
                "replaced",
            )
        wanted, coming = target - self.owned(ticker), self.on_its_way(ticker)
        fits = coming == 0 or ((wanted > 0) == (coming > 0) and wanted != 0 and abs(coming) <= abs(wanted))
        if not fits:
            self.take_back(lambda other: other.ticker == ticker and other.coming, "replaced")
            coming = Decimal(0)
        order.quantity = wanted - coming
        self.send(order)

    def send(self, order):
        if order.is_market and order.quantity:
            for other in list(self.orders):
                if other.is_market and (other.ticker, other.decided, other.force) == (
                    order.ticker,
                    self.row,
                    order.force,
                ):
                    self.orders.remove(other)
                    order.quantity += other.quantity
                    order.is_target = order.is_target or other.is_target
        if order.quantity:
            self.turn += 1
            order.turn = self.turn
            self.orders.append(order)

    # One bar.

    def paid(self, order, price, slips):
        if slips:
            price = micro(price * (1 + self.slippage / 10000 * order.side))
            if order.limit is not None:
                price = min(price, order.limit) if order.side > 0 else max(price, order.limit)
        return price

    def within_volume(self, trades, volume):
        """Each (order, price) cut to what is left of the ticker's volume; what is over waits."""
        if self.cap is None:
            return trades
        cut_down = []
        for order, price in trades:
            room = self.room.setdefault(order.ticker, self.cut(volume * self.cap))
            taken = min(room, abs(order.quantity)) * order.side
            self.room[order.ticker] -= abs(taken)
            rest = order.quantity - taken
            if taken:
                cut_down.append((replace(order, quantity=taken, rest=rest), price))
            elif rest:
                self.wait_on(order, rest)
        return cut_down

    def wait_on(self, order, rest):
        if rest:
            is_begun = order.stop is not None
            self.orders.append(replace(order, quantity=rest, is_capped=True, is_triggered=is_begun, rest=Decimal(0)))
            self.orders.sort(key=lambda each: each.turn)

    def sell(self, order, price):
        quantity = max(order.quantity, -self.owned(order.ticker))
        if quantity != order.quantity:
            self.end(order, order.quantity - quantity + order.rest, "short not allowed")
        else:
            self.wait_on(order, order.rest)
        if quantity:
            self.done(order, quantity, price)

    def done(self, order, quantity, price):
        self.trade(self.row, order.ticker, quantity, price)
        self.trades[-1] = (order.decided, *self.trades[-1])

    def buy(self, found, free):
        cash, self.cash = self.cash, min(free, self.cash)
        wanted = [[number, order.quantity, price] for number, (order, price) in enumerate(found)]
        kept = self.trim(wanted) if self.cost(wanted) > self.cash else wanted
        self.cash = cash
        for (order, price), (_, quantity, _) in zip(found, kept, strict=True):
            if quantity != order.quantity:
                self.end(order, order.quantity - quantity + order.rest, "no cash")
            else:
                self.wait_on(order, order.rest)
            if quantity:
                self.done(order, quantity, price)

    def match(self, bars, begins, ends):
        """Sells and buys at the open, inside, and at the close; each (order, price)."""
        groups = {(when, side): [] for when in range(3) for side in (-1, 1)}
        rank = {order: (order.ticker, not order.is_market, order.stop is None) for order in self.orders}
        for order in sorted(self.orders, key=rank.get):
            if bars[order.ticker] is None:
                continue
            if order.force in ("OPG", "CLS"):
                found, met = auction(order, bars[order.ticker], begins, ends)
            else:
                found, met = trade_of(order, bars[order.ticker])
            order.is_triggered = met and order.stop is not None
            if found:
                price, when, slips = found
                groups[when, order.side].append((order, self.paid(order, price, slips)))
                self.orders.remove(order)
        return groups

    def split(self, ticker, ratio):
        """Of what is held and of orders that wait; nothing may be left of one."""
        self.held[ticker] = split(self.owned(ticker), ratio, Decimal("1e-9"))
        for order in [order for order in self.orders if order.ticker == ticker]:
            new = split(order.quantity, ratio, self.lot)
            if not new:
                self.orders.remove(order)
                self.end(order, order.quantity, "nothing left of it after a split")
            order.quantity = new
            turned = ratio.denominator, ratio.numerator
            order.limit, order.stop = (
                price and max(micro(price * turned[0] / turned[1]), Decimal("0.005"))
                for price in (order.limit, order.stop)
            )

    def bar(self, row, seen, begins, is_last, acts=()):
        """Let the orders trade; ``seen`` are the bars so far, with this one; ``acts``: (ticker, kind, value)."""
        self.row = row
        for ticker, kind, value in acts:
            if kind == "split":
                self.split(ticker, value)
            else:
                self.cash += micro(self.owned(ticker) * value)
        self.room = {}
        matched = self.match(seen[row], begins, is_last)
        groups = {}
        for when in range(3):
            for side in (-1, 1):
                groups[when, side] = self.within_volume(matched[when, side], Decimal(1000))
        late = []
        for order, price in groups[0, -1]:
            if order.is_market or self.owned(order.ticker) >= -order.quantity:
                self.sell(order, price)
            else:
                late.append((order, price))
        self.buy(groups[0, 1], self.cash)
        before = self.cash
        for ticker in range(len(seen[row])):
            for order, price in late + groups[1, -1]:
                if order.ticker == ticker:
                    self.sell(order, price)
        self.buy(groups[1, 1], before)
        for order, price in groups[2, -1]:
            self.sell(order, price)
        self.buy(groups[2, 1], self.cash)
        for order in list(self.orders):
            reason = None
            if order.force == "IOC" and seen[row][order.ticker] is not None:
                reason = "volume cap" if order.is_capped else "ioc"
            elif begins if order.force == "OPG" else order.force != "GTC" and is_last:
                had_bar = any(bars[order.ticker] is not None for bars in seen[order.decided + 1 : row + 1])
                reason = "volume cap" if order.is_capped else "not reached" if had_bar else "no bar"
            if reason:
                self.orders.remove(order)
                self.end(order, order.quantity, reason)


def run(bars, calls, lasts, cash, lot, rate, slippage, acts=(), cap=None):
    """Bars of (open, high, low, close) or None; calls at each bar's close: (kind, ticker, quantity, terms).
    ``acts``: (row, ticker, kind, value).

    Returns trades (decided, bar, ticker, quantity, price), ends (bar, ticker, quantity, reason), cash at each close.
    """
    with localcontext() as context:
        context.prec = 60
        desk, cash_rows = Desk(cash, lot, rate, slippage, cap=cap), []
        for row, asked in enumerate(calls):
            desk.bar(
                row, bars[: row + 1], not row or lasts[row - 1], lasts[row], [act[1:] for act in acts if act[0] == row]
            )
            cash_rows.append(desk.cash)
            for kind, ticker, quantity, terms in asked:
                desk.ask(kind, ticker, quantity, **terms)
        for order in desk.orders:
            desk.end(order, order.quantity, "end of data")
        return desk.trades, desk.ended, cash_rows
