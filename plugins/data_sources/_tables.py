"""One file of bars, CSV or Parquet, as columns; what is wrong with it is named by line and column."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from framework import Bars, SourceError

if TYPE_CHECKING:
    import pandas as pd

PRICES = ("open", "high", "low", "close")
NUMBERS = (*PRICES, "volume")
ALIASES = {"date": "timestamp", "datetime": "timestamp", "time": "timestamp", "symbol": "ticker"}
HEADER = "timestamp,ticker,open,high,low,close,volume"

#: What counts as "no value" in a column of numbers; the row is then refused by the quality checks, and counted.
NO_NUMBER = ("", "nan", "NaN", "NAN", "NA", "N/A", "null", "NULL", "None")

#: What reading text, compressed or not, can raise.
UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error)

#: An ISO 8601 timestamp with an offset.
_WITH_OFFSET = r"[T ].*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$"


def is_parquet(path: Path) -> bool:
    """Whether the file's name says Parquet."""
    return path.name.lower().endswith(".parquet")


def columns(path: Path) -> dict[str, int]:
    """Position of each column that matters, by its canonical name.

    Raises:
        SourceError: the file cannot be read, is empty, or lacks a column.
    """
    header = _parquet_names(path) if is_parquet(path) else _csv_names(path)
    found: dict[str, int] = {}
    for position, name in enumerate(header):
        plain = name.strip().lower()
        found.setdefault(ALIASES.get(plain, plain), position)
    missing = [name for name in ("timestamp", *NUMBERS) if name not in found]
    if missing:
        raise SourceError(
            f"{path}, line 1: no column {', '.join(map(repr, missing))}; the header was {','.join(header)!r}, "
            f"it must have {HEADER} separated by commas (ticker may come from the file's name)"
        )
    return {name: at for name, at in found.items() if name in ("timestamp", "ticker", *NUMBERS)}


def read(path: Path, ticker: str | None, daily: bool, timezone: str | None) -> Bars:
    """All bars of a file.

    Args:
        path: of the file.
        ticker: of all rows, where the file has no such column.
        daily: whether rows are daily bars: timestamps are then dates.
        timezone: of timestamps without an offset.

    Raises:
        SourceError: names file, line, column and value.
    """
    where = columns(path)
    frame = _read_parquet(path, where) if is_parquet(path) else _read_csv(path, where)
    stamps = frame["timestamp"]
    moments = _dates(path, stamps) if daily else _moments(path, stamps, timezone)
    tickers, code = _tickers(path, frame, ticker)
    if daily:
        _check_one_per_day(path, stamps, moments, code)
    numbers = [frame[name].to_numpy(dtype=np.float64) for name in NUMBERS]
    return Bars(tickers, code, moments, *numbers)


def names(path: Path) -> set[str]:
    """The tickers in a file that has a column for them."""
    where = {"ticker": columns(path)["ticker"]}
    frame = _read_parquet(path, where) if is_parquet(path) else _read_csv(path, where)
    return set(frame["ticker"].cat.categories)


def _open(path: Path) -> IO[str]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _csv_names(path: Path) -> list[str]:
    try:
        with _open(path) as file:
            header = next(csv.reader(file), [])
    except UNREADABLE as error:
        raise SourceError(f"{path} cannot be read as CSV text in UTF-8: {error}") from error
    if not header:
        raise SourceError(f"{path} is empty; its first line must be {HEADER}")
    return header


def _parquet_names(path: Path) -> list[str]:
    parquet = _pyarrow_parquet(path)
    try:
        return list(parquet.read_schema(path).names)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise SourceError(f"{path} cannot be read as Parquet: {error}") from error


def _pyarrow_parquet(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise SourceError(
            f"{path}: Parquet needs pyarrow, which is not installed; pip install 'portfolio-engine[parquet]'"
        ) from error
    return pyarrow.parquet


def _read_csv(path: Path, where: Mapping[str, int]) -> pd.DataFrame:
    import pandas as pd

    # All columns are read, so that a row with too many cells (a price of "1,234") is an error.
    titles = [f"#{at}" for at in range(len(_csv_names(path)))]
    for name, position in where.items():
        titles[position] = name
    kinds: dict[str, Any] = {**dict.fromkeys(titles, str), **dict.fromkeys(NUMBERS, np.float64), "ticker": "category"}
    _check_first_row(path, len(titles))
    try:
        frame = pd.read_csv(
            path,
            header=0,
            names=titles,
            dtype={title: kinds[title] for title in titles},
            keep_default_na=False,
            na_values={name: list(NO_NUMBER) for name in NUMBERS},
            index_col=False,
            encoding="utf-8-sig",
        )
    except (ValueError, *UNREADABLE) as error:  # pandas' parser errors are ValueErrors
        _explain(path, where, len(titles))
        raise SourceError(f"{path} cannot be read as CSV: {error}") from error
    return frame[list(where)]


def _check_first_row(path: Path, width: int) -> None:
    """pandas takes the width of a file from its first row, so that one is checked here.

    Raises:
        SourceError: there is none, or it is wider than the header.
    """
    try:
        line, cells = next(_rows(path), (0, []))
    except UNREADABLE as error:
        raise SourceError(f"{path} cannot be read as CSV text in UTF-8: {error}") from error
    if not cells:
        raise SourceError(f"{path} has a header and no rows")
    if len(cells) > width:
        raise _too_wide(path, line, cells, width)


def _too_wide(path: Path, line: int, cells: list[str], width: int) -> SourceError:
    return SourceError(
        f"{path}, line {line} has {len(cells)} cells, the header {width}; write numbers without thousands separators"
    )


def _read_parquet(path: Path, where: Mapping[str, int]) -> pd.DataFrame:

    parquet = _pyarrow_parquet(path)
    own = _parquet_names(path)
    try:
        frame: pd.DataFrame = parquet.read_table(path, columns=[own[at] for at in where.values()]).to_pandas(
            ignore_metadata=True
        )
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read as Parquet: {error}") from error
    frame = frame.rename(columns={own[at]: name for name, at in where.items()})
    if frame.empty:
        raise SourceError(f"{path} has no rows")
    for name in NUMBERS:
        if name not in where:
            continue
        try:
            frame[name] = frame[name].astype(np.float64)
        except (TypeError, ValueError) as error:
            raise SourceError(f"{path}, column {own[where[name]]!r} is not numeric: {error}") from error
    if "ticker" in where:
        frame["ticker"] = frame["ticker"].fillna("").astype(str).astype("category")
    if "timestamp" in where and frame["timestamp"].dtype == object:  # dates, or text
        frame["timestamp"] = frame["timestamp"].astype(str)
    return frame


def _tickers(path: Path, frame: pd.DataFrame, ticker: str | None) -> tuple[tuple[str, ...], Any]:
    if "ticker" not in frame:
        assert ticker is not None, "a file without a column ticker is read for the ticker of its name"
        return (ticker,), np.zeros(len(frame), dtype=np.int32)
    categories = frame["ticker"].cat.categories
    code = frame["ticker"].cat.codes.to_numpy(dtype=np.int32)
    for at, name in enumerate(categories):
        if not name or len(name) > 64:
            row = int(np.flatnonzero(code == at)[0])
            raise SourceError(f"{_line(path, row)}, column 'ticker': {name[:80]!r} is not a name of 1 to 64 characters")
    return tuple(categories), code


def _dates(path: Path, stamps: pd.Series[Any]) -> Any:
    """Dates as written, whatever offset follows them."""
    import pandas as pd

    if isinstance(stamps.dtype, pd.DatetimeTZDtype):
        stamps = stamps.dt.tz_localize(None)
    if stamps.dtype.kind == "M":
        days = stamps
    else:
        days = pd.to_datetime(stamps.str.slice(0, 10), format="%Y-%m-%d", errors="coerce")
        if (stamps.str.len() != 10).any():
            days = days.where(pd.to_datetime(stamps, format="ISO8601", utc=True, errors="coerce").notna())
    _check_known(path, stamps, days, "an ISO 8601 date such as 2013-02-28")
    return days.to_numpy().astype("datetime64[D]").astype("datetime64[us]")


def _moments(path: Path, stamps: pd.Series[Any], timezone: str | None) -> Any:
    """UTC moments of timestamps with an offset, or in ``timezone``."""
    import pandas as pd

    if stamps.dtype.kind == "M" or isinstance(stamps.dtype, pd.DatetimeTZDtype):
        moments, naive = stamps, np.full(len(stamps), stamps.dtype.kind == "M" and stamps.dt.tz is None)
    else:
        moments = pd.to_datetime(stamps, format="ISO8601", utc=True, errors="coerce")
        naive = ~stamps.str.contains(_WITH_OFFSET, regex=True).to_numpy(dtype=bool)
        _check_known(path, stamps, moments, "an ISO 8601 timestamp such as 2013-02-28T14:30:00Z")
    if naive.any():
        if timezone is None:
            row = int(np.flatnonzero(naive)[0])
            raise SourceError(
                f"{_line(path, row)}, column 'timestamp': {str(stamps.iloc[row])!r} does not say its time zone; write "
                "an offset, as in 2013-02-28T14:30:00Z or 2013-02-28T09:30:00-05:00, "
                "or set the parameter timezone, as in timezone: America/New_York"
            )
        local = moments[naive].dt.tz_localize(None).dt.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT")
        moments = moments.dt.tz_localize("UTC") if moments.dt.tz is None else moments.copy()
        moments[naive] = local.dt.tz_convert("UTC")
        _check_known(path, stamps, moments, f"a time that exists once in {timezone} (write it with an offset)")
    return moments.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]")


def _check_known(path: Path, stamps: pd.Series[Any], parsed: pd.Series[Any], allowed: str) -> None:
    unknown = parsed.isna().to_numpy()
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        raise SourceError(f"{_line(path, row)}, column 'timestamp': {str(stamps.iloc[row])!r} is not {allowed}")


def _check_one_per_day(path: Path, stamps: pd.Series[Any], days: Any, code: Any) -> None:
    """A file of intraday bars, read as daily ones, must not pass as a file with duplicates."""
    import pandas as pd

    if stamps.dtype.kind != "M" and (stamps.str.len() == 10).all():
        return
    table = pd.DataFrame({"code": code, "day": days, "stamp": stamps})
    again = (table.duplicated(["code", "day"]) & ~table.duplicated(["code", "stamp"])).to_numpy()
    if again.any():
        row = int(np.flatnonzero(again)[0])
        raise SourceError(
            f"{_line(path, row)}: {str(stamps.iloc[row])!r} is a second bar of the same day, so these are not daily "
            "bars; set interval to what the file holds"
        )


def _line(path: Path, row: int) -> str:
    """``file, line n`` of a row counted from 0 without the header."""
    if is_parquet(path):
        return f"{path}, row {row + 1}"
    for number, (line, _) in enumerate(_rows(path)):
        if number == row:
            return f"{path}, line {line}"
    return str(path)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each row after the header; blank lines are skipped, as pandas does."""
    with _open(path) as file:
        reader = csv.reader(file)
        next(reader, None)
        for cells in reader:
            if cells:
                yield reader.line_num, cells


def _explain(path: Path, where: Mapping[str, int], width: int) -> None:
    """Raise what is wrong with the first bad row; return where none is found.

    Raises:
        SourceError: with line, column and value.
    """
    numbers = [(name, where[name]) for name in NUMBERS if name in where]
    try:
        for line, cells in _rows(path):
            if len(cells) > width:
                raise _too_wide(path, line, cells, width)
            for name, position in numbers:
                text = cells[position].strip() if position < len(cells) else ""
                if text not in NO_NUMBER and not _is_number(text):
                    raise SourceError(f"{path}, line {line}, column {name!r}: {text!r} is not a number")
    except UNREADABLE as error:
        raise SourceError(f"{path} cannot be read as CSV text in UTF-8: {error}") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
