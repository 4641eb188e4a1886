"""Rows that the API gives in odd forms, or twice."""

from __future__ import annotations

from datetime import UTC, date, datetime

from framework.data.backfill import backfill


def test_odd_types_are_stored_as_what_they_mean(make, pool, fmp):
    asked = "1d", "XNYS", date(2005, 1, 1), date(2005, 12, 31)
    plain = make().bars(["IBM"], *asked[::2], asked[3])
    fmp.set(odd=True)
    done = backfill(pool, make(), ["IBM"], *asked, now=datetime(2013, 6, 1, tzinfo=UTC))
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT timestamp::date, close_price, volume FROM market_data")
        stored = {day: (float(close), float(volume)) for day, close, volume in cursor.fetchall()}
    days = plain.timestamps.astype("datetime64[D]").tolist()
    known = dict(zip(days, zip(plain.close.tolist(), plain.volume.tolist(), strict=True), strict=True))
    assert stored.items() <= known.items()
    assert 0 < len(known) - len(stored) < 5
    assert any("a price is missing" in line for line in done.loaded.notes()), (
        "what has no price is refused, and told of"
    )


def test_crypto_has_the_hour_that_comes_twice(make):
    bars = make().bars(["BTCUSD"], "1min", date(2012, 11, 4), date(2012, 11, 4))
    steps = {int(step) for step in (bars.timestamps[1:] - bars.timestamps[:-1]).astype("timedelta64[s]").astype(int)}
    assert steps == {60}, "no minute is lacking, none comes twice"


def test_a_row_that_comes_twice_does_not_end_summer_early(make, monkeypatch):
    source = make()
    clocks = ["00:30", "00:30", "01:00", "01:30", "01:00", "01:30", "02:00"]
    rows = [{"date": f"2012-11-04 {clock}:00", **dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0)}
            for clock in clocks]  # fmt: skip
    monkeypatch.setattr(source, "get", lambda path, **params: rows[::-1])
    day = date(2012, 11, 4)
    bars = source.bars(["BTCUSD"], "30min", day, day)
    assert [str(at)[11:16] for at in bars.timestamps] == ["04:30", "05:00", "05:30", "06:00", "06:30", "07:00"]
