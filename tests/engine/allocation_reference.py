"""An independent backtest of several portfolios with flows and fixed allocation weights: plain Python and Decimal."""

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal, localcontext

from tests.engine.reference import Book

CENT = Decimal("0.01")
SLACK = Decimal("0.00001")


def down(value):
    return value.quantize(CENT, ROUND_DOWN)


def allocate(equity, cash, master, weights, buffers):
    """What moves into each portfolio, and the targets that are not reached for want of free cash."""
    total = down(master + sum(equity))
    if not total:
        return [Decimal(0)] * len(equity), [None] * len(equity)
    targets = [(weight * total).quantize(CENT, ROUND_HALF_EVEN) for weight in weights]
    wanted = [target - value for target, value in zip(targets, equity, strict=True)]
    wanted = [each if abs(each) >= CENT else Decimal(0) for each in wanted]
    gives = []
    for want, have, target, buffer in zip(wanted, cash, targets, buffers, strict=True):
        gives.append(down(min(max(-want, Decimal(0)), max(have - buffer * target, Decimal(0)))))
    short = [down(max(-want - give, Decimal(0))) for want, give in zip(wanted, gives, strict=True)]
    pool = master - (master + sum(equity) - total)
    pool = max(pool, Decimal(0)) + sum(gives)
    gets = [max(want, Decimal(0)) for want in wanted]
    if sum(gets) > pool:
        gets = [each * pool / sum(gets) for each in gets]
    gets = [down(each + SLACK) for each in gets]
    while sum(gets) > pool:
        gets[gets.index(max(gets))] -= CENT
    moves = [get - give for get, give in zip(gets, gives, strict=True)]
    return moves, [target if lacks else None for target, lacks in zip(targets, short, strict=True)]


def run(portfolios, master, weights, when):
    """Backtest.

    Args:
        portfolios: dicts of ``opens, closes, weights`` (rows of Decimals or None), ``cash, lot, buffer, rate``,
            ``slippage`` and ``flows``: money by bar, before anything fills there.
        master: its cash.
        weights: of the allocation.
        when: for each bar, whether there is an allocation at its close.

    Returns:
        per portfolio trades, equity at each close before the allocation, final cash; the master's cash.
    """
    with localcontext() as context:
        context.prec = 60
        books = [Book(each["cash"], each["lot"], each["rate"], each["slippage"]) for each in portfolios]
        orders, limits = [[] for _ in books], [None] * len(books)
        last, equity = [{} for _ in books], [[] for _ in books]
        for bar, is_due in enumerate(when):
            for number, (book, each) in enumerate(zip(books, portfolios, strict=True)):
                book.cash += each["flows"].get(bar, Decimal(0))
                book.fill(bar, orders[number], each["opens"][bar])
                closes = each["closes"][bar]
                last[number].update({ticker: close for ticker, close in enumerate(closes) if close is not None})
                held = sum((q * last[number][ticker] for ticker, q in book.held.items() if q), Decimal(0))
                equity[number].append(book.cash + held)
            values = [series[-1] for series in equity]
            moves = [Decimal(0)] * len(books)
            is_priced = all(
                each["closes"][bar][ticker] is not None
                for book, each in zip(books, portfolios, strict=True)
                for ticker, held in book.held.items()
                if held
            )
            if is_due and is_priced:
                buffers = [each["buffer"] for each in portfolios]
                moves, limits = allocate(values, [book.cash for book in books], master, weights, buffers)
                master -= sum(moves)
            for number, (book, each) in enumerate(zip(books, portfolios, strict=True)):
                book.cash += moves[number]
                worth = values[number] + moves[number]
                if limits[number] is not None:
                    worth = min(worth, limits[number])
                orders[number] = []
                for ticker, weight in enumerate(each["weights"][bar]):
                    if weight is not None and ticker in last[number]:
                        share = max(worth, Decimal(0)) * (1 - each["buffer"]) * weight / last[number][ticker]
                        orders[number].append((ticker, book.cut(share) - book.held.get(ticker, Decimal(0))))
        return [book.trades for book in books], equity, [book.cash for book in books], master
