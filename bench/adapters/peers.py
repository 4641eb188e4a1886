"""Whom this engine is compared with, and what each cannot do as it does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A peer.

    Attributes:
        name: as printed.
        packages: what is installed; the first is the peer itself.
        script: its adapter.
        is_event_driven: it calls the strategy bar by bar.
        differs: from our rules.
    """

    name: str
    packages: tuple
    script: str
    is_event_driven: bool
    differs: str


BORROWS = "a buy that costs a little more than the cash at its open is borrowed for, not cut"

PEERS = (
    Peer(
        "vectorbt",
        ("vectorbt",),
        "on_vectorbt.py",
        False,
        "in numba; orders of a bar in ticker order, sells not first; what exceeds the cash is cut from the last",
    ),
    Peer(
        "vectorbt[rust]",
        ("vectorbt[rust]",),
        "on_vectorbt.py",
        False,
        "as vectorbt, with its optional engine in Rust",
    ),
    Peer(
        "nautilus-trader",
        ("nautilus-trader",),
        "on_nautilus.py",
        True,
        "fills at the close decided on: from bars it has no way to fill at the next open; whole thousandths of a share",
    ),
    Peer(
        "zipline-reloaded",
        ("zipline-reloaded",),
        "on_zipline.py",
        True,
        f"its history has prices rounded to thousandths, so that some crosses fall elsewhere; whole thousandths of a "
        f"share; {BORROWS}",
    ),
    Peer("backtrader", ("backtrader", "numpy"), "on_backtrader.py", True, BORROWS),
    Peer(
        "backtesting",
        ("backtesting",),
        "on_backtesting.py",
        True,
        f"one ticker a run, each with 1/N of the cash for ever; whole millionths of a share; {BORROWS}",
    ),
    Peer("bt", ("bt",), "on_bt.py", True, BORROWS),
)
