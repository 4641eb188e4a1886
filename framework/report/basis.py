"""What a reader must know to believe a report: where its numbers come from, and what they assume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from framework.model.result import RunResult


@dataclass(frozen=True, eq=False)
class Basis:
    """Stands at the head of a report.

    Attributes:
        kind: ``Backtest``, ``Paper``, ``Live`` or ``Replay``.
        name: of the run, or of the portfolio.
        fills: how orders came to trade, in words.
        prices: what they traded at, in words.
        costs: commission and slippage, in words.
        data: what tells this data from all other: a fingerprint.
        versions: of this package, Python and the libraries that computed.
        notes: what else a reader should know, a sentence each.
        config: as resolved, without secrets; empty: the report knows none.
    """

    kind: str
    name: str
    fills: str
    prices: str
    costs: str
    data: str
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


def basis_of(run: RunResult) -> Basis:
    """That of a backtest."""
    return Basis(
        kind="Backtest",
        name=run.name,
        fills=run.fill,
        prices=run.prices,
        costs=run.costs,
        data=run.fingerprint,
        versions=run.versions,
        notes=run.notes,
        config=run.config,
    )
