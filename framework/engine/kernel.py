"""The loop of a ``weights`` simulation, compiled: what :meth:`Account.rebalance` does bar by bar, with the same bits.

It needs the extra ``fast``. Whatever is not of the plainest kind is left to Python: the loop stops before a bar whose
orders cannot all trade at the next open, or do not fit the cash, and goes on after it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from framework.engine.account import Account
from framework.engine.fills import Block
from framework.engine.orders import OrderBook
from framework.errors import ConfigError
from framework.model.panel import Floats

Ints = NDArray[np.int64]

_MOST_AT_ONCE = 128
#: So many bars before the next split or dividend are not worth a call.
_FEW_BARS = 4


class Cells(Protocol):
    """Target weights of a chunk, as the simulator prepares them; shape ``(K,)`` each."""

    @property
    def lots_per_micro(self) -> Floats:
        """Weight / (last close × unit)."""

    @property
    def block(self) -> Block:
        """Tickers, rows and prices of buys; gets the fills."""

    @property
    def sell(self) -> Floats | None:
        """Prices of sells, where they differ."""

    @property
    def clean(self) -> NDArray[np.bool_]:
        """Whether the next open can fill it."""


#: Called with account, book, row, cells, and which of them.
OneBar = Callable[[Account, OrderBook, int, Any, int, int], None]


def run_fast(
    account: Account,
    bars: Ints,
    edges: Ints,
    begin: int,
    stop: int,
    lots_per_micro: Floats,
    block: Block,
    sell_prices: Floats | None,
    clean: NDArray[np.bool_],
) -> int:
    """Decide and fill bars from ``begin`` to ``stop`` (exclusive), as far as they are plain.

    Args:
        account: whose; what it holds, its cash and its values are brought forward.
        bars: shape ``(B,)``: rows of the decisions, rising.
        edges: shape ``(B + 1,)``: cells ``edges[i]`` to ``edges[i+1]`` are those of the i-th bar.
        begin, stop: the first bar to do, and where splits or dividends act next; counted in ``bars``.
        lots_per_micro, sell_prices: shape ``(K,)``, as for :meth:`Account.rebalance`.
        block: the ``K`` cells; gets the fills.
        clean: shape ``(K,)``: whether a cell can trade at the next open.

    Returns:
        the first bar that was not done.
    """
    account.catch_up()
    terms, charges = account.terms, account.charges
    assert charges is not None, "only with charges that are linear"
    from framework.engine.compiled import run

    done, account.cash, account.valued = run(
        bars,
        edges,
        begin,
        stop,
        block.ticker,
        lots_per_micro,
        block.price,
        block.price if sell_prices is None else sell_prices,
        clean,
        account.closes,
        account.lots,
        account.cash,
        account.unit,
        account.usable,
        account.limit,
        terms.lots_per_share,
        charges,
        parts_of(len(account.lots)),
        block.lots,
        block.notional,
        block.fees,
        account.equity,
        account.cash_rows,
        account.valued,
    )
    return int(done)


def run_bars(account: Account, book: OrderBook, cells: Cells, bars: Ints, edges: Ints, one_bar: OneBar) -> None:
    """All bars of a chunk: those that are plain compiled, the others as ever.

    Args:
        account, book: of the simulation.
        cells: target weights.
        bars, edges: as for :func:`run_fast`.
        one_bar: what is done where something waits or cannot trade at the next open.
    """
    at = 0
    while at < len(bars):
        book.run_to(int(bars[at]))
        stop = int(np.searchsorted(bars, account.plain_until - 1))
        if not book.waiting and stop - at >= _FEW_BARS:
            at = run_fast(account, bars, edges, at, stop, cells.lots_per_micro, cells.block, cells.sell, cells.clean)
            if at == stop:
                continue
        bar, low, high = int(bars[at]), int(edges[at]), int(edges[at + 1])
        if book.waiting or not cells.clean[low:high].all():
            one_bar(account, book, bar, cells, low, high)
        else:
            sell = None if cells.sell is None else cells.sell[low:high]
            account.rebalance(bar, cells.lots_per_micro[low:high], cells.block, low, high, sell)
        at += 1
    account.fills.close(cells.block)


@cache
def parts_of(count: int) -> Ints:
    """How NumPy adds up so many values: in parts of up to 128, and these pair by pair.

    Returns:
        shape ``(P, 3)``: where each part starts, how many values it has, and how many sums of two follow it.
    """

    def split(start: int, length: int) -> list[list[int]]:
        if length <= _MOST_AT_ONCE:
            return [[start, length, 0]]
        half = length // 2
        half -= half % 8
        found = [*split(start, half), *split(start + half, length - half)]
        found[-1][2] += 1
        return found

    return np.array(split(0, count), dtype=np.int64)


def require_numba() -> None:
    """Refuse where it is not installed.

    Raises:
        ConfigError: says how to install it.
    """
    try:
        import numba  # noqa: F401
    except ImportError:
        raise ConfigError("needs the extra `fast`: pip install 'portfolio-engine[fast]'") from None
