"""Panels that are kept as files: the same panel, never an old one."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from framework.plugins.data_sources.sample import Sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from framework.data import panel_cache
from framework.data.fx import conversion_of
from framework.data.load import ensure
from framework.data.panel_cache import PanelCache
from framework.data.panel_file import open_panel, write_panel
from framework.data.panels import LoadedPanel, panel_for
from framework.data.source import DataSource
from framework.db.pool import Pool
from framework.errors import DataError
from framework.model.panel import FIELDS
from tests.data.test_currencies import TICKERS, Offering, bars_of, fill

START, END = date(2005, 1, 3), date(2006, 12, 29)


@pytest.fixture
def sample(pool: Pool) -> Pool:
    ensure(pool, Sample(), Sample().tickers(), "1d", date.min, date.max)
    return pool


@pytest.fixture
def cache(tmp_path: Path) -> PanelCache:
    return PanelCache(tmp_path / "panels", 1 << 30, smallest_bytes=0)


def load(cache: PanelCache, pool: Pool, **other: object) -> LoadedPanel:
    asked: dict[str, object] = {
        "source": Sample(), "tickers": ("AAPL", "IBM"), "interval": "1d", "calendar": "XNYS", "mode": "all",
        "start": START, "end": END, "warmup_bars": 60,
    }  # fmt: skip
    return cache.panel_for(pool, **{**asked, **other})  # type: ignore[arg-type]


def assert_same(one: LoadedPanel, other: LoadedPanel) -> None:
    for name in ("tickers", "interval"):
        assert getattr(one.panel, name) == getattr(other.panel, name)
    arrays: list[tuple[object, object, str]] = [(one.panel, other.panel, name) for name in (*FIELDS, "timestamps")]
    arrays += [(one.timeline, other.timeline, each.name) for each in fields(one.timeline)]
    arrays += [(one.trade, other.trade, name) for name in FIELDS]
    assert (one.rates is None) == (other.rates is None)
    if one.rates is not None and other.rates is not None:
        arrays += [(one.rates, other.rates, name) for name in ("at_open", "at_close", "is_old")]
    for left, right, name in arrays:
        mine, theirs = getattr(left, name), getattr(right, name)
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)
        assert one.file is None or not mine.flags.writeable
    for name in ("first", "actions", "notes", "currencies"):
        assert getattr(one, name) == getattr(other, name)
    assert one.fingerprint() == other.fingerprint()
    assert one.traded_apart == other.traded_apart
    assert one.acting == other.acting


def change(pool: Pool, statement: str) -> None:
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize("mode", ["all", "splits"])
@pytest.mark.parametrize("tickers", [("AAPL", "IBM"), ("GOOG",)])
def test_the_second_panel_is_the_first_from_a_file(
    sample: Pool, cache: PanelCache, mode: str, tickers: tuple[str, ...]
) -> None:
    read = panel_for(sample, Sample(), tickers, "1d", "XNYS", mode, START, END, 60)  # type: ignore[arg-type]
    first = load(cache, sample, mode=mode, tickers=tickers)
    (file,) = cache.folder.iterdir()
    assert first.file == file
    second = load(cache, sample, mode=mode, tickers=tickers)
    assert second.file == file
    assert second.panel.open.base is not None
    for found in (first, second):
        assert_same(found, read)
    assert list(cache.folder.iterdir()) == [file]


def test_a_panel_in_two_currencies_is_the_same_from_a_file(pool: Pool, cache: PanelCache) -> None:
    source = Offering("EURUSD", "USDCHF")
    days = bars_of("2020-01-02", "2020-12-30", np.timedelta64(1, "D"))
    for seed, ticker in enumerate((*TICKERS, "EURUSD", "USDCHF")):
        fill(pool, source, ticker, days, "1d", seed)
    conversion = conversion_of(source, "p", "USD", TICKERS)
    asked = {"source": source, "tickers": TICKERS, "start": date(2020, 3, 2), "end": date(2020, 11, 30)}
    first = load(cache, pool, **asked, conversion=conversion)
    assert first.rates is not None
    assert_same(load(cache, pool, **asked, conversion=conversion), first)
    change(pool, "UPDATE market_data SET close_price = low_price WHERE ticker = 'EURUSD' AND timestamp = '2020-06-01'")
    other = load(cache, pool, **asked, conversion=conversion)
    assert other.fingerprint() != first.fingerprint()


CHANGES = {
    "one close": "UPDATE market_data SET close_price = high_price WHERE ticker = 'IBM' AND timestamp = '2006-03-01'",
    "a bar is gone": "DELETE FROM market_data WHERE ticker = 'AAPL' AND timestamp = '2005-06-01'",
    "a dividend": "UPDATE corporate_actions SET value = 2 * value WHERE ticker = 'IBM' AND ex_date = '2006-02-08'",
    "a split is ignored": "UPDATE corporate_actions SET is_ignored = true WHERE ticker = 'AAPL' AND kind = 'split'",
    "a bar is added": "INSERT INTO market_data (ticker, timestamp, open_price, high_price, low_price, close_price, "
    "volume, bar_interval, source) SELECT ticker, '2006-11-23', 1, 1, 1, 1, 1, bar_interval, source FROM market_data "
    "WHERE ticker = 'IBM' AND timestamp = '2006-03-01'",
}


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES.keys())
def test_what_plain_sql_changes_is_seen(sample: Pool, cache: PanelCache, statement: str) -> None:
    first = load(cache, sample)
    change(sample, statement)
    assert_same(load(cache, sample), panel_for(sample, Sample(), ("AAPL", "IBM"), "1d", "XNYS", "all", START, END, 60))
    assert (load(cache, sample).fingerprint(), load(cache, sample).notes) != (first.fingerprint(), first.notes)


def test_bars_of_others_do_not_matter(sample: Pool, cache: PanelCache) -> None:
    first = load(cache, sample)
    change(sample, "DELETE FROM market_data WHERE ticker = 'MSFT'")
    assert load(cache, sample).file == first.file


def test_a_restored_backup_is_not_taken_for_what_it_became(sample: Pool, cache: PanelCache) -> None:
    """After a restore the versions count on from where they were before, and meet those of lost changes."""
    change(sample, "CREATE TABLE saved AS SELECT * FROM market_data_version")
    change(sample, "UPDATE market_data SET close_price = high_price WHERE ticker = 'IBM' AND timestamp = '2006-03-01'")
    lost = load(cache, sample)
    change(sample, "UPDATE market_data SET close_price = low_price WHERE ticker = 'IBM' AND timestamp = '2006-03-01'")
    change(
        sample, "UPDATE market_data_version AS v SET version = s.version + 1 FROM saved AS s WHERE s.ticker = v.ticker"
    )
    found = load(cache, sample)
    assert found.fingerprint() != lost.fingerprint()


def test_what_changes_while_it_is_read_is_not_kept(
    sample: Pool, cache: PanelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*asked: object, **more: object) -> LoadedPanel:
        found = panel_for(*asked, **more)  # type: ignore[arg-type]
        change(sample, CHANGES["one close"])
        return found

    monkeypatch.setattr(panel_cache, "panel_for", meanwhile)
    found = load(cache, sample)
    assert found.file is None
    assert not cache.folder.exists()


OTHERS: list[dict[str, object]] = [
    {"mode": "splits"}, {"start": date(2005, 1, 4)}, {"end": date(2006, 12, 28)}, {"warmup_bars": 61},
    {"tickers": ("IBM", "AAPL")}, {"calendar": "XNAS"}, {"tickers": ("IBM",)}, {"run_tickers": ("MSFT",)},
]  # fmt: skip


def test_whatever_is_asked_otherwise_is_another_file(sample: Pool, cache: PanelCache) -> None:
    for other in ({}, *OTHERS):
        load(cache, sample, **other)
    assert len(list(cache.folder.iterdir())) == 1 + len(OTHERS)


def test_other_code_does_not_use_the_file(sample: Pool, cache: PanelCache, monkeypatch: pytest.MonkeyPatch) -> None:
    load(cache, sample)
    monkeypatch.setattr(panel_cache, "_makers", lambda: ("other code",))
    load(cache, sample)
    assert len(list(cache.folder.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut off", "empty", "not ours", "folder"])
def test_a_broken_file_is_told_of_and_made_again(
    sample: Pool, cache: PanelCache, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = load(cache, sample).file
    assert file is not None
    held = file.read_bytes()
    file.unlink()
    if damage == "folder":
        file.mkdir()
    else:
        file.write_bytes({"cut off": held[:-8], "empty": b"", "not ours": b"x" * 400}[damage])
    with caplog.at_level(logging.WARNING):
        found = load(cache, sample)
    assert "cannot be used" in caplog.text
    assert_same(found, panel_for(sample, Sample(), ("AAPL", "IBM"), "1d", "XNYS", "all", START, END, 60))
    if damage != "folder":
        caplog.clear()
        assert load(cache, sample).file == file
        assert caplog.text == ""


def test_nothing_is_kept_where_nothing_may_be(sample: Pool, cache: PanelCache) -> None:
    assert load(replace(cache, limit_bytes=0), sample).file is None
    assert load(replace(cache, limit_bytes=1000), sample).file is None
    assert not cache.folder.exists()


def test_small_panels_are_not_kept(sample: Pool, cache: PanelCache) -> None:
    assert load(PanelCache(cache.folder, 1 << 30), sample).file is None


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(
    sample: Pool, cache: PanelCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.folder.write_text("a file")
    with caplog.at_level(logging.WARNING):
        assert load(cache, sample).file is None
    assert "is not kept" in caplog.text


def test_the_longest_unused_goes_first(sample: Pool, cache: PanelCache) -> None:
    sizes = []
    for other in OTHERS[:4]:
        file = load(cache, sample, **other).file
        assert file is not None
        sizes.append(file.stat().st_size)
    tight = replace(cache, limit_bytes=sum(sizes) + sizes[0] // 2)
    mapped = load(tight, sample, **OTHERS[1])
    used_again = load(tight, sample, **OTHERS[0]).file
    newest = load(tight, sample).file
    there = set(cache.folder.iterdir())
    assert {used_again, newest} <= there
    assert len(there) == 4
    newest = load(replace(cache, limit_bytes=sizes[0] + 1000), sample, **OTHERS[5]).file
    assert list(cache.folder.iterdir()) == [newest]
    assert np.isfinite(mapped.panel.close).all()  # what is mapped stays, though its file is gone


def test_a_smaller_warm_up_is_a_part_of_a_larger_one(sample: Pool, cache: PanelCache) -> None:
    whole = load(cache, sample)
    for bars in (0, 1, 59, 60, 200):
        part = whole.after_warmup(bars)
        assert_same(part, replace(load(cache, sample, warmup_bars=min(bars, 60)), notes=part.notes))


def test_what_is_no_panel_is_refused(tmp_path: Path) -> None:
    for name, held in (("a", b"PEPANEL1" + b"\xff" * 8), ("b", b"PEPANEL1")):
        (tmp_path / name).write_bytes(held)
        with pytest.raises(DataError, match="is no file of a panel"):
            open_panel(tmp_path / name)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=some.data())
def test_any_panel_comes_back_from_a_file(tmp_path: Path, data: some.DataObject) -> None:
    whole = _random_panel(data)
    write_panel(tmp_path / "one", whole)
    assert_same(open_panel(tmp_path / "one"), whole)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def _random_panel(data: some.DataObject) -> LoadedPanel:
    from framework.model.panel import Panel
    from framework.model.timeline import Timeline

    bars, tickers = data.draw(some.integers(1, 40)), data.draw(some.integers(1, 5))
    rng = np.random.default_rng(data.draw(some.integers(0, 2**32)))
    cells = rng.choice([np.nan, 1.5, 1e-9, 9.1e9, -0.0], size=(6, bars, tickers))
    stamps = np.datetime64("2000-01-03", "us") + np.cumsum(rng.integers(1, 10**12, bars)).astype("timedelta64[us]")
    panel = Panel(
        tuple(f"T{n}ü" for n in range(tickers)), stamps, cells[0], cells[1], cells[2], cells[3], cells[4], "1min"
    )
    assert all(one < other for one, other in pairwise(stamps))
    days = stamps.astype("datetime64[D]")
    clock = Timeline(stamps, stamps, stamps + np.timedelta64(7, "us"), days, days.astype("datetime64[D]"))
    for each in fields(clock):
        getattr(clock, each.name).setflags(write=False)
    trade = panel if data.draw(some.booleans()) else replace(panel, close=cells[5])
    notes = tuple(data.draw(some.lists(some.text(max_size=10), max_size=3)))
    return LoadedPanel(panel, trade, clock, data.draw(some.integers(0, bars)), (), notes)


def test_the_source_matters(sample: Pool, cache: PanelCache) -> None:
    class Adjusted(Sample):
        def price_kind(self) -> str:  # type: ignore[override]
            return "adjusted"

    source: DataSource = Adjusted()
    assert load(cache, sample, source=source).actions == ()
    assert load(cache, sample).actions != ()
