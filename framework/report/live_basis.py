"""What a reader must know to believe the report of live books."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from framework.report.basis import Basis
from framework.report.live import LiveReport

_FILLS = {
    "paper": "as the paper broker filled them, at the bars or quotes of the data source",
    "live": "as the broker reported them",
    "replay": "as the replayed paper broker filled them",
}


def live_basis(report: LiveReport, notes: tuple[str, ...] = (), config: Mapping[str, Any] | None = None) -> Basis:
    """That of a live portfolio's report.

    Args:
        report: whose.
        notes: what else a reader should know, after the report's own.
        config: as resolved, where one was given.
    """
    who, prices = report.portfolio, report.prices
    valued = "" if prices is None else f"; positions valued at {prices.interval} bars of {prices.source}"
    return Basis(
        kind=who.mode.capitalize(),
        name=f"Portfolio {who.portfolio_id}",
        fills=f"{_FILLS[who.mode]} (broker {who.broker}, account {who.account})",
        prices=f"as traded{valued}",
        costs="as booked, fee by fee",
        data=_fingerprint(report),
        versions={name: metadata.version(name) for name in ("portfolio-engine", "numpy", "pandas")},
        notes=(*report.notes, *notes),
        config=config or {},
    )


def _fingerprint(report: LiveReport) -> str:
    """Of what was booked and valued in the period: another as soon as one of the rows is."""
    digest = hashlib.sha256()
    for each in report.inside:
        digest.update(repr((each.id, each.row)).encode())
    for valuation in report.valuations:
        digest.update(repr(valuation).encode())
    return digest.hexdigest()[:32]
