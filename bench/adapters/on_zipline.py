"""zipline-reloaded: ``TradingAlgorithm`` with bars in memory and no metrics, averages from ``data.history``.

Bars get the stamps of New York's sessions and minutes, which nothing here depends on. Fills are at the open of the next
bar by a slippage model of ours; the one it has takes the close.
"""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy
from serve import CASH, serve
from zipline.algorithm import TradingAlgorithm
from zipline.assets import AssetDBWriter, AssetFinder
from zipline.data.bar_reader import NoDataOnDate
from zipline.data.bcolz_minute_bars import MinuteBarReader
from zipline.data.data_portal import DataPortal
from zipline.data.session_bars import SessionBarReader
from zipline.finance.commission import NoCommission
from zipline.finance.slippage import SlippageModel
from zipline.finance.trading import SimulationParameters
from zipline.utils.calendar_utils import get_calendar

#: Shares are whole: with a thousand times the cash they are thousandths.
SCALE = 1e3
START = pd.Timestamp("2003-01-02")
FIELDS = ("open", "high", "low", "close")


class AtOpen(SlippageModel):
    """All of an order at the open of the bar."""

    def process_order(self, data, order):
        """Price and quantity."""
        return data.current(order.asset, "open"), order.amount


class Arrays:
    """What both readers have: bars by stamp and sid."""

    def __init__(self, calendar, stamps, columns):
        self._calendar, self._stamps, self._columns = calendar, stamps, columns
        self._rows = {stamp: row for row, stamp in enumerate(stamps.as_unit("ns").asi8.tolist())}

    @property
    def trading_calendar(self):
        """The calendar."""
        return self._calendar

    @property
    def last_available_dt(self):
        """The last stamp."""
        return self._stamps[-1]

    @property
    def first_trading_day(self):
        """The first session."""
        return START

    @property
    def sessions(self):
        """All of them."""
        return self._stamps

    def _row(self, stamp):
        row = self._rows.get(stamp.value)
        if row is None:
            raise NoDataOnDate(stamp)
        return row

    def get_value(self, sid, dt, field):
        """One cell."""
        return self._columns[field][self._row(dt), int(sid)]

    def get_last_traded_dt(self, asset, dt):
        """Every bar trades."""
        return min(dt, self._stamps[-1])

    def load_raw_arrays(self, columns, start_date, end_date, assets):
        """Cells between two stamps, shape ``(T, N)`` per column."""
        rows = slice(self._row(start_date), self._row(end_date) + 1)
        sids = [int(asset) for asset in assets]
        return [self._columns[name][rows][:, sids] for name in columns]


class Sessions(Arrays, SessionBarReader):
    """Daily bars."""


class Minutes(Arrays, MinuteBarReader):
    """Bars of a minute."""


def asset_finder(names, last):
    """A database of the tickers."""
    dates = {"start_date": START, "end_date": last, "auto_close_date": last + pd.Timedelta(days=1)}
    equities = pd.DataFrame({"symbol": names, "asset_name": names, "exchange": "NYSE", **dates})
    exchanges = pd.DataFrame({"exchange": ["NYSE"], "canonical_name": ["NYSE"], "country_code": ["US"]})
    folder = tempfile.TemporaryDirectory(prefix="peers-")
    database = sqlalchemy.create_engine(f"sqlite:///{Path(folder.name) / 'assets.sqlite'}")
    AssetDBWriter(database).write(equities=equities, exchanges=exchanges)
    finder = AssetFinder(database)
    finder.folder = folder  # lives as long
    return finder


def in_memory(data, interval):
    """A portal to the bars, on the calendar's next so many sessions or minutes, and the last session."""
    calendar = get_calendar("XNYS")
    bars = len(data.stamps)
    if interval == "1d":
        first = calendar.sessions.searchsorted(START)
        stamps = calendar.sessions[first : first + bars]
        last, padding = stamps[-1], 0
    else:
        minutes = calendar.minutes
        first = minutes.searchsorted(calendar.session_first_minute(START))
        last = calendar.minute_to_session(minutes[first + bars - 1])
        stamps = minutes[first : minutes.searchsorted(calendar.session_last_minute(last)) + 1]
        padding = len(stamps) - bars
    fill = np.full((padding, len(data.names)), np.nan)
    columns = {name: np.concatenate((getattr(data, name), fill)) for name in FIELDS}
    columns["volume"] = np.concatenate((np.full(data.close.shape, 1e5), np.nan_to_num(fill)))
    reader = (Sessions if interval == "1d" else Minutes)(calendar, stamps, columns)
    key = "equity_daily_reader" if interval == "1d" else "equity_minute_reader"
    finder = asset_finder(data.names, last)
    return DataPortal(finder, calendar, START, **{key: reader}), finder.retrieve_all(finder.sids), calendar, last


def handler(assets, bars, frequency, fast, slow):
    """What is called at each bar."""
    state = {"row": -1, "is_up": np.zeros(len(assets), dtype=bool)}

    def handle_data(context, data):
        state["row"] = row = state["row"] + 1
        if row < slow - 1 or row >= bars:
            return
        closes = data.history(assets, "close", slow, frequency).to_numpy()
        up = closes[-fast:].mean(axis=0) > closes.mean(axis=0)
        changed = np.flatnonzero(up != state["is_up"])
        state["is_up"] = up
        if len(changed):
            share = context.portfolio.portfolio_value / len(assets)
            for number in changed.tolist():
                if up[number]:
                    context.order(assets[number], int(share / closes[-1, number]))
                else:
                    context.order_target(assets[number], 0)
        if row == bars - 1:
            context.ended = context.portfolio.portfolio_value

    return handle_data


def prepare(data, job):
    """The portal."""
    warnings.simplefilter("ignore")
    portal, assets, calendar, last = in_memory(data, job["interval"])
    daily = job["interval"] == "1d"

    def initialize(context):
        context.set_slippage(AtOpen())
        context.set_commission(NoCommission())

    def run(watch):
        ended = []
        for fast, slow in job["pairs"]:
            algorithm = TradingAlgorithm(
                SimulationParameters(
                    START,
                    last,
                    calendar,
                    capital_base=CASH * SCALE,
                    data_frequency="daily" if daily else "minute",
                ),
                data_portal=portal,
                initialize=initialize,
                handle_data=handler(assets, len(data.stamps), "1d" if daily else "1m", fast, slow),
                metrics_set=set(),
                benchmark_returns=pd.Series(0.0, index=calendar.sessions_in_range(START, last)),
            )
            watch.start()
            for _ in algorithm.get_generator():
                pass
            watch.stop()
            ended.append(algorithm.ended / SCALE)
        return ended

    return run


if __name__ == "__main__":
    serve(prepare, "zipline-reloaded")
