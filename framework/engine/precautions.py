"""What is looked at before trading begins: splits that the books lack, prices that are old."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from framework.books.keys import split_key
from framework.books.lots import Lots
from framework.books.reads import rows_by_key
from framework.books.state import read_state
from framework.books.valuation import catch_up
from framework.data.calendars import sessions
from framework.db.queries import fetch_all
from framework.db.types import Connection
from framework.errors import BookingError
from framework.model.bars import CorporateAction

#: Sessions that the newest bar of a ticker may be old without a word.
FRESH_SESSIONS = 5


def refuse_unbooked_splits(
    connection: Connection, portfolio_id: str, actions: Sequence[CorporateAction], today: date
) -> None:
    """Refuse to go on with shares that have been split since they were bought, where the books don't know it.

    Args:
        connection: to the books.
        portfolio_id: whose.
        actions: of its tickers, of any kind.
        today: splits after it have not happened yet.

    Raises:
        BookingError: names portfolio, ticker, both days and the ratio, and says what to do.
    """
    held = {ticker: shares for ticker, shares in read_state(connection, portfolio_id).positions.items() if shares}
    splits = [each for each in actions if each.kind == "split" and each.ticker in held and each.ex_date <= today]
    if not splits:
        return
    lots = Lots()
    catch_up(connection, portfolio_id, lots)
    opened = {ticker: own[0].opened for ticker, own in lots.open.items()}
    days: dict[int, date] = dict(fetch_all(connection, "trade_days", {"ids": list(opened.values())}))
    keys = {split_key(each.ticker, each.ex_date, portfolio_id): each for each in splits}
    for key in rows_by_key(connection, list(keys)):
        del keys[key]
    for split in keys.values():
        bought = days[opened[split.ticker]]
        if split.ex_date > bought:
            shares = f"{held[split.ticker].normalize():f} {split.ticker}"
            raise BookingError(
                f"portfolio {portfolio_id} holds {shares}, bought on {bought}; "
                f"{split.ticker} was split on {split.ex_date} ({split.value.normalize():f} for 1), which is not in "
                "its books: this version does not book splits, and would value and trade a wrong number of shares. "
                "Nothing was done. Begin anew under another portfolio id (the old books stay as they are), and sell "
                "what will be split before its ex-date"
            )


def stale_prices(
    connection: Connection, source: str, interval: str, calendar: str, tickers: Sequence[str], today: date
) -> list[str]:
    """A sentence for each ticker whose newest bar is more than some sessions old, or that has none."""
    asked = {"source": source, "bar_interval": interval, "tickers": list(tickers)}
    newest = {row[0]: row[2].date() for row in fetch_all(connection, "stored_range", asked)}
    found = [f"{ticker} has no bar in the database" for ticker in tickers if ticker not in newest]
    for ticker, day in newest.items():
        if day >= today:
            continue
        missed = len(sessions(calendar, day + timedelta(days=1), today)) - 1  # today's is not over
        if missed >= FRESH_SESSIONS:
            found.append(f"the newest bar of {ticker} is of {day}, {missed} sessions ago")
    return found
