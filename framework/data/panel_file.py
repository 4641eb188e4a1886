"""A loaded panel as one file, which any number of processes map at once: nothing is read until it is used.

The file is a header (JSON: what is in it, and where) and the arrays as they lie in memory, each on a boundary of 64
bytes. Numbers are little-endian, as are all machines that this runs on.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from framework.data.panels import LoadedPanel
from framework.errors import DataError
from framework.model.bars import CorporateAction
from framework.model.panel import FIELDS, Panel
from framework.model.rates import Rates
from framework.model.timeline import Timeline

_MAGIC = b"PEPANEL2"
_HEAD = struct.Struct("<8sQ")  # the magic, and the bytes of the header that follows
_ALIGNED = 64
_CLOCK = ("opens", "available", "session", "next_session")
_RATES = ("at_open", "at_close", "is_old")


def write_panel(path: Path, loaded: LoadedPanel) -> None:
    """Write the file; it appears whole or not at all, also when the power fails.

    Raises:
        OSError: it cannot be written.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in _arrays(loaded).items()}
    header = {"meta": _meta(loaded), "arrays": {name: [a.dtype.str, a.shape] for name, a in arrays.items()}}
    text = json.dumps(header).encode()
    new = path.with_name(f".{path.name}.{uuid4().hex[:8]}.new")
    try:
        with new.open("wb") as file:
            file.write(_HEAD.pack(_MAGIC, len(text)) + text)
            for array in arrays.values():
                file.write(b"\0" * (-file.tell() % _ALIGNED))
                file.write(array.view(np.uint8).reshape(-1).data if array.size else b"")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def open_panel(path: Path) -> LoadedPanel:
    """The panel of a file, its arrays mapped and read-only. It stays usable when the file is removed.

    Raises:
        DataError: it is no such file, or not a whole one.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        magic, length = _HEAD.unpack(file.read(_HEAD.size).ljust(_HEAD.size, b"\0"))
        if magic != _MAGIC or _HEAD.size + length > size:
            raise DataError(f"{path} is no file of a panel; remove it, it will be made again")
        header = json.loads(file.read(length))
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    at, arrays = _HEAD.size + length, {}
    for name, (kind, shape) in header["arrays"].items():
        at += -at % _ALIGNED
        count = int(np.prod(shape, dtype=np.int64))
        if at + count * np.dtype(kind).itemsize > size:
            raise DataError(f"{path} is cut off after {size:,} bytes; remove it, it will be made again")
        arrays[name] = np.frombuffer(mapped, kind, count, at).reshape(shape)
        at += count * np.dtype(kind).itemsize
    return replace(_loaded(header["meta"], arrays), file=path)


def _arrays(loaded: LoadedPanel) -> dict[str, NDArray[Any]]:
    panel, rates = loaded.panel, loaded.rates
    found: dict[str, NDArray[Any]] = {"timestamps": panel.timestamps}
    found |= {name: getattr(panel, name) for name in FIELDS}
    found |= {f"trade.{name}": getattr(loaded.trade, name) for name in loaded.traded_apart}
    found |= {f"clock.{name}": getattr(loaded.timeline, name) for name in _CLOCK}
    if rates is not None:
        found |= {f"rates.{name}": value for name in _RATES if (value := getattr(rates, name)) is not None}
    return found


def _meta(loaded: LoadedPanel) -> dict[str, Any]:
    actions = [[each.ticker, each.ex_date.isoformat(), each.kind, str(each.value)] for each in loaded.actions]
    return {
        "tickers": loaded.panel.tickers,
        "interval": loaded.panel.interval,
        "first": loaded.first,
        "actions": actions,
        "notes": loaded.notes,
        "currencies": loaded.currencies,
        "fingerprint": loaded.fingerprint(),
    }


def _loaded(meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> LoadedPanel:
    part: Callable[[str], Any] = arrays.get
    fields = {name: arrays[name] for name in FIELDS}
    panel = Panel(tuple(meta["tickers"]), arrays["timestamps"], **fields, interval=meta["interval"])
    clock = Timeline(panel.timestamps, *(part(f"clock.{name}") for name in _CLOCK))
    has_rates = "rates.at_open" in arrays
    apart = {name: array for name in FIELDS if (array := part(f"trade.{name}")) is not None}
    return LoadedPanel(
        panel=panel,
        trade=replace(panel, **apart) if apart else panel,
        timeline=clock,
        first=meta["first"],
        actions=tuple(
            CorporateAction(ticker, date.fromisoformat(day), kind, Decimal(value))
            for ticker, day, kind, value in meta["actions"]
        ),
        notes=tuple(meta["notes"]),
        rates=Rates(*(part(f"rates.{name}") for name in _RATES)) if has_rates else None,
        currencies=tuple(meta["currencies"]),
        known_fingerprint=meta["fingerprint"],
    )
