"""Real prices as traded, without their splits and dividends: those act in paper, and not yet in backtests."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from framework.plugins.data_sources.sample import Sample


def write_prices(path: Path, tickers: list[str], start: date, end: date) -> None:
    """The sample's daily bars as a file of the source ``csv``."""
    bars = Sample().bars(tickers, "1d", start, end)
    days = bars.timestamps.astype("datetime64[D]")
    columns = (getattr(bars, name) for name in ("open", "high", "low", "close", "volume"))
    rows = zip(days, bars.code, *columns, strict=True)
    lines = (f"{day},{bars.tickers[code]},{','.join(map(repr, map(float, values)))}" for day, code, *values in rows)
    path.write_text("\n".join(["timestamp,ticker,open,high,low,close,volume", *lines, ""]))
