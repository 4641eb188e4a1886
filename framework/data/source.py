"""The data-source interface: bars in columns, corporate actions, and a word on what the prices are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import ClassVar, Literal

from framework.errors import SourceError
from framework.model.bars import Bars, CorporateAction
from framework.trading.plugin import Plugin


class DataSource(Plugin):
    """Where bars come from. A source reads; only the engine writes them to the database."""

    kind = "data source"

    #: How long after a bar's end the source may still change it (trading-rules 3).
    settle: ClassVar[timedelta] = timedelta(0)

    def key(self) -> str:
        """Value of the column ``source`` of ``market_data`` for this source: ``sample``, ``csv:<name>`` …"""
        raise NotImplementedError(f"{type(self).__name__} must define key()")

    def prices(self) -> Literal["traded", "adjusted"]:
        """Whether rows are as traded (default) or already adjusted for splits and dividends."""
        return "traded"

    def tickers(self) -> tuple[str, ...] | None:
        """The tickers on offer, where the source can list them."""
        return None

    def bars(self, tickers: Sequence[str], interval: str, start: date, end: date) -> Bars:
        """All bars of ``tickers`` with exchange dates from ``start`` to ``end``, inclusive.

        Raises:
            SourceError: a ticker is unknown, or the source cannot be read; says which and what to do.
        """
        raise SourceError(f"data source {type(self).__name__} offers no bars; define bars() on the class")

    def corporate_actions(self, tickers: Sequence[str]) -> tuple[CorporateAction, ...]:
        """Splits and dividends of ``tickers``, all that the source knows."""
        return ()

    def content_hash(self, ticker: str, interval: str) -> str | None:
        """For files: a hash of what holds this ticker, so that a changed file is read again; ``None``: not a file."""
        return None
