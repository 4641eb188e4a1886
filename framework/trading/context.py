"""What a strategy sees and says at a bar. Everything that it can read ends at the cursor's row."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from framework.errors import StrategyError
from framework.model.orders import MARKET, OrderTerms, TimeInForce
from framework.model.panel import Floats, Panel
from framework.model.result import Unfilled
from framework.model.timeline import Timeline
from framework.trading.indicator import Indicator
from framework.trading.indicator_values import Cursor as Cursor
from framework.trading.indicator_values import IndicatorValues

#: Makes an indicator from its registered name and parameters.
IndicatorMaker = Callable[[str, dict[str, Any]], Indicator]

#: Most shares of one order: far more than there are of anything.
MAX_QUANTITY = 1e15


class SetupContext:
    """What ``Strategy.setup`` is given: the tickers, and where indicators are declared.

    ``memory`` is the longest memory, in bars, of the indicators declared so far. With ``computes=False`` that is all
    that is found out.
    """

    def __init__(self, panel: Panel, make: IndicatorMaker, cursor: Cursor, *, computes: bool = True) -> None:
        self.tickers = panel.tickers
        self.interval = panel.interval
        self.memory = 0
        self._panel = panel
        self._make = make
        self._cursor = cursor
        self._computes = computes

    def indicator(self, name: str, **params: Any) -> IndicatorValues:
        """Declare an indicator by its registered name; it is computed once, for all bars and tickers.

        Raises:
            ConfigError: the name or a parameter is unknown.
            StrategyError: it computed something of the wrong shape.
        """
        indicator = self._make(name, params)
        self.memory = max(self.memory, indicator.memory())
        if not self._computes:
            return IndicatorValues(np.empty((0, len(self.tickers))), self._cursor)
        values = np.ascontiguousarray(indicator.compute(self._panel), dtype=np.float64)
        if values.shape != self._panel.close.shape:
            raise StrategyError(
                f"indicator {name!r} computed shape {values.shape}, expected {self._panel.close.shape} (bars, tickers)"
            )
        return IndicatorValues(values, self._cursor)


class AccountView(Protocol):
    """The portfolio's state at the current bar, as a context reads it."""

    def cash_at(self, bar: int) -> float:
        """Cash at the close of the bar, in the portfolio's currency."""

    def equity_at(self, bar: int) -> float:
        """Cash + Σ position × last close, at the close of the bar."""

    def shares_at(self, bar: int) -> Floats:
        """Positions in shares, shape ``(N,)``; a copy."""

    def share_values_at(self, bar: int) -> Floats:
        """What a share is worth at its last close, in the portfolio's currency, shape ``(N,)``; 0: not known yet."""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order call of a strategy: change by ``quantity`` shares, reach ``quantity``, or take back (``is_cancel``)."""

    column: int
    quantity: float
    is_target: bool
    terms: OrderTerms = MARKET
    is_cancel: bool = False


class Context:
    """What ``Strategy.on_bar`` is given. Arrays are over ``tickers``, shape ``(N,)``, and read-only."""

    __slots__ = (
        "_account",
        "_columns",
        "_cursor",
        "_panel",
        "_raw_close",
        "_shape",
        "_timeline",
        "asked_orders",
        "asked_weights",
        "lapsed",
        "log",
        "state",
    )

    def __init__(
        self,
        panel: Panel,
        timeline: Timeline,
        raw_close: Floats,
        cursor: Cursor,
        account: AccountView,
        portfolio_id: str,
    ) -> None:
        self._panel = panel
        self._timeline = timeline
        self._raw_close = raw_close
        self._cursor = cursor
        self._account = account
        self._columns = {ticker: column for column, ticker in enumerate(panel.tickers)}
        self._shape = (len(panel.tickers),)
        #: Weights asked for at this bar (NaN: leave), shape ``(N,)``, or None. Read by the engine.
        self.asked_weights: Floats | None = None
        #: Orders asked for at this bar, in order. Read by the engine.
        self.asked_orders: list[OrderRequest] = []
        #: Orders of earlier bars that ended without a (full) fill since the last call, with the reason.
        self.lapsed: tuple[Unfilled, ...] = ()
        #: What the strategy remembers: JSON values only, kept with each decision.
        self.state: dict[str, Any] = {}
        self.log = logging.getLogger(f"engine.strategy.{portfolio_id}")

    # --- what is known -------------------------------------------------------------------------------------------

    @property
    def time(self) -> datetime:
        """The moment of decision, aware UTC: when the current bar became available."""
        moment: datetime = self._timeline.available[self._cursor.row].astype("datetime64[us]").item()
        return moment.replace(tzinfo=UTC)

    @property
    def tickers(self) -> tuple[str, ...]:
        """The columns of every array here."""
        return self._panel.tickers

    @property
    def open(self) -> Floats:
        """Opens of the current bar; NaN: no bar. Adjusted as the config's ``adjust`` says, like all prices here."""
        row: Floats = self._panel.open[self._cursor.row]
        return row

    @property
    def high(self) -> Floats:
        """Highs of the current bar."""
        row: Floats = self._panel.high[self._cursor.row]
        return row

    @property
    def low(self) -> Floats:
        """Lows of the current bar."""
        row: Floats = self._panel.low[self._cursor.row]
        return row

    @property
    def close(self) -> Floats:
        """Closes of the current bar."""
        row: Floats = self._panel.close[self._cursor.row]
        return row

    @property
    def volume(self) -> Floats:
        """Shares traded in the current bar."""
        row: Floats = self._panel.volume[self._cursor.row]
        return row

    @property
    def raw_close(self) -> Floats:
        """Closes of the current bar as traded, for rules on absolute price (``raw_close < 5``)."""
        row: Floats = self._raw_close[self._cursor.row]
        return row

    def history(self, bars: int) -> Panel:
        """The last ``bars`` bars including the current one (fewer at the beginning); views, not copies."""
        if bars < 1:
            raise StrategyError(f"history({bars}): ask for 1 bar or more")
        stop = self._cursor.row + 1
        return self._panel.rows(max(0, stop - bars), stop)

    @property
    def cash(self) -> float:
        """Cash, in the portfolio's currency."""
        return self._account.cash_at(self._cursor.row)

    @property
    def equity(self) -> float:
        """Cash + Σ position × last close."""
        return self._account.equity_at(self._cursor.row)

    @property
    def positions(self) -> Floats:
        """Shares held (a copy)."""
        return self._account.shares_at(self._cursor.row)

    @property
    def share_values(self) -> Floats:
        """What a share is worth at its last close, in the portfolio's currency; 0: without a close or a rate yet."""
        values = self._account.share_values_at(self._cursor.row).view()
        values.setflags(write=False)
        return values

    @property
    def weights(self) -> Floats:
        """Fraction of equity that each position is worth at the last close."""
        account, row = self._account, self._cursor.row
        return account.shares_at(row) * account.share_values_at(row) / account.equity_at(row)

    # --- what is wanted ------------------------------------------------------------------------------------------

    def target_weights(self, weights: NDArray[np.floating[Any]] | Mapping[str, float]) -> None:
        """Ask to hold these fractions of equity: an array over ``tickers`` (NaN: leave), or ``{ticker: weight}``.

        A later call at the same bar replaces the tickers that it names.

        Raises:
            StrategyError: wrong shape, an unknown ticker, or an infinite weight.
        """
        if isinstance(weights, np.ndarray) or not isinstance(weights, Mapping):
            asked = np.asarray(weights, dtype=np.float64)
        else:
            asked = self._from_mapping(weights)
        if asked.shape != self._shape:
            raise StrategyError(
                f"target_weights was given shape {asked.shape}, expected {self._shape}: one weight per ticker"
            )
        if self.asked_weights is not None:
            asked = np.where(np.isnan(asked), self.asked_weights, asked)
        self.asked_weights = asked

    def order(
        self,
        ticker: str,
        quantity: float,
        *,
        limit: float | None = None,
        stop: float | None = None,
        time_in_force: TimeInForce = "DAY",
    ) -> None:
        """Ask to buy (+) or sell (−) a number of shares: at the next open, or at a price.

        Args:
            ticker: one of ``tickers``.
            quantity: shares.
            limit: pay no more (get no less) than this, per share; like ``stop`` on the scale of ``close`` here: where
                that is adjusted, the order is sent at the price as traded that it stands for.
            stop: wait until the price rises (for a sell, falls) to this; with ``limit``, be a limit order then.
            time_in_force: ``DAY``: until the end of the next session (intraday: of this one); ``GTC``: until it fills
                or is cancelled; ``IOC``: at the next open or never; ``OPG``, ``CLS``: at the open of the next session
                that begins, at the close of the next that ends, or never (no ``stop``).

        What ends without a fill is in ``lapsed`` at the next bar.

        Raises:
            StrategyError: an unknown ticker, a quantity that is no number, or prices that cannot be.
        """
        terms = self._terms(ticker, limit, stop, time_in_force)
        self._ask(ticker, quantity, terms, is_target=False)

    def order_target(
        self,
        ticker: str,
        quantity: float,
        *,
        limit: float | None = None,
        stop: float | None = None,
        time_in_force: TimeInForce = "DAY",
    ) -> None:
        """Ask to hold this many shares, by one order for the difference; arguments as for :meth:`order`.

        What earlier targets have on its way counts; at other prices than now, it is replaced.
        """
        terms = self._terms(ticker, limit, stop, time_in_force)
        self._ask(ticker, quantity, terms, is_target=True)

    def exit(self, ticker: str) -> None:
        """Ask to sell all that is held of a ticker, at the next open; resting sells of it are taken back."""
        self._ask(ticker, 0.0, MARKET, is_target=True)

    def cancel(self, ticker: str) -> None:
        """Take back all orders of a ticker that have not filled."""
        self.asked_orders.append(OrderRequest(self._column(ticker), 0.0, is_target=False, is_cancel=True))

    def _ask(self, ticker: str, quantity: float, terms: OrderTerms, *, is_target: bool) -> None:
        if not abs(quantity) <= MAX_QUANTITY:
            allowed = f"it must be a finite number, at most {MAX_QUANTITY:.0e} either way"
            raise StrategyError(f"order for {ticker!r} was given quantity {quantity!r}; {allowed}")
        self.asked_orders.append(OrderRequest(self._column(ticker), float(quantity), is_target, terms))

    def _terms(self, ticker: str, limit: float | None, stop: float | None, time_in_force: TimeInForce) -> OrderTerms:
        try:
            terms = OrderTerms.of(limit, stop, time_in_force)
            scale = self._scale(self._column(ticker)) if terms.has_price else 1.0
            if scale == 1.0:
                return terms
            limit, stop = (price and price * scale for price in (limit, stop))
            return OrderTerms.of(limit, stop, time_in_force)
        except StrategyError as error:
            raise StrategyError(f"order for {ticker!r}: {error}") from None

    def _scale(self, column: int) -> float:
        """What a price that the strategy sees is multiplied by to be one as traded: of the ticker's newest bar."""
        if self._raw_close is self._panel.close:
            return 1.0
        row, seen = self._cursor.row, self._panel.close
        while row > 0 and np.isnan(seen.item(row, column)):
            row -= 1
        scale = self._raw_close.item(row, column) / seen.item(row, column)
        return scale if scale == scale else 1.0  # it has had no bar yet

    def _from_mapping(self, weights: Mapping[str, float]) -> Floats:
        asked = np.full(self._shape, np.nan)
        for ticker, weight in weights.items():
            asked[self._column(ticker)] = weight
        return asked

    def _column(self, ticker: str) -> int:
        column = self._columns.get(ticker)
        if column is None:
            raise StrategyError(f"unknown ticker {ticker!r}; this portfolio has {', '.join(self._panel.tickers)}")
        return column
