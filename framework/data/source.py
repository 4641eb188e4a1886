"""The data-source interface: bars in columns, corporate actions, and a word on what the prices are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import ClassVar, Literal

from framework.errors import SourceError
from framework.model.bars import Bars, CorporateAction
from framework.model.panel import Floats, Times
from framework.model.quotes import Instrument, Quotes
from framework.trading.plugin import Plugin


class DataSource(Plugin):
    """Where bars come from. A source reads; only the engine writes them to the database."""

    kind = "data source"

    #: How long after a bar's end the source may still change it (trading-rules 3); see :meth:`settle_of`.
    settle: ClassVar[timedelta] = timedelta(0)

    #: Whether reading a part costs as much as reading everything (files). Such a source is always asked for all the
    #: dates that it has, and asked again when its :meth:`content_hash` changes.
    whole: ClassVar[bool] = False

    #: How many tickers go into one call of :meth:`bars`, and so into one transaction.
    batch_size: ClassVar[int] = 50

    _base_dir: Path | None = None

    def bind(self, base_dir: Path) -> None:
        """Tell the source which folder its relative paths start from: the run config's."""
        self._base_dir = base_dir

    @property
    def base_dir(self) -> Path:
        """The folder that relative paths start from; the working folder until :meth:`bind` was called."""
        return self._base_dir or Path()

    def key(self) -> str:
        """Value of the column ``source`` of ``market_data`` for this source: ``sample``, ``csv:<name>`` …"""
        raise NotImplementedError(f"{type(self).__name__} must define key()")

    def price_kind(self) -> Literal["traded", "adjusted"]:
        """Whether rows are as traded (default) or already adjusted for splits and dividends."""
        return "traded"

    def settle_of(self, interval: str) -> timedelta:
        """How long after the end of a bar of this interval it may still change; by default :attr:`settle`."""
        return self.settle

    def tickers(self) -> tuple[str, ...] | None:
        """The tickers on offer, where the source can list them."""
        return None

    def currency(self, ticker: str) -> str:
        """What the prices of ``tickers`` are in: three capital letters; ``USD`` by default.

        A portfolio in another currency needs an FX ticker of the same source: the two currencies' letters, ``EURUSD``
        or ``USDEUR``, whose prices are units of the second per unit of the first.
        """
        return "USD"

    def instrument(self, ticker: str) -> Instrument:
        """Currency and exchange of a ticker; by default :meth:`currency` alone."""
        return Instrument(ticker, self.currency(ticker))

    def batches(self, tickers: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """``tickers`` in the groups in which they are best asked for: each is one call of :meth:`bars`."""
        size = self.batch_size
        return tuple(tuple(tickers[at : at + size]) for at in range(0, len(tickers), size))

    def bars(self, tickers: Sequence[str], interval: str, start: date, end: date) -> Bars:
        """All bars of ``tickers`` with exchange dates from ``start`` to ``end``, inclusive, in any order.

        A ticker that is known but has no bar in the range is simply absent from the rows.

        Raises:
            SourceError: a ticker is unknown, or the source cannot be read; says which and what to do.
        """
        raise SourceError(f"data source {type(self).__name__} offers no bars; define bars() on the class")

    def corporate_actions(self, tickers: Sequence[str]) -> tuple[CorporateAction, ...]:
        """Splits and dividends of ``tickers``, all that the source knows."""
        return ()

    def adjusted_closes(self, ticker: str, start: date, end: date) -> tuple[Times, Floats] | None:
        """The source's own closes, adjusted for splits and dividends as of any later date: a check of our adjustment.

        Returns:
            (exchange dates, ``datetime64[D]``, rising; closes), each of shape ``(K,)``; ``None``: it has none.
        """
        return None

    def quotes(self, tickers: Sequence[str]) -> Quotes:
        """The last prices of ``tickers``, in as few requests as the source can; asked for every few seconds.

        Raises:
            SourceError: the source has no quotes, or cannot be read.
        """
        raise SourceError(f"data source {self.key()} has no quotes; use its bars, or another source")

    def exchange_quotes(self, exchange: str) -> Quotes:
        """The last prices of everything on an exchange, as the source names it, in one request.

        Raises:
            SourceError: the source has no quotes of whole exchanges, or knows no such exchange.
        """
        raise SourceError(f"data source {self.key()} has no quotes of whole exchanges; name the tickers instead")

    def content_hash(self, ticker: str, interval: str) -> str | None:
        """For files: a hash of what holds this ticker, so that a changed file is read again; ``None``: not a file."""
        return None
