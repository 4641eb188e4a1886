"""Before trading begins: old prices are said."""

from __future__ import annotations

from framework.cli.main import run_command
from framework.engine.precautions import stale_prices
from tests.engine.runs import ACTS, after, noon, portfolio


def test_old_prices_are_said_in_real_time(live, pool, travelling):
    ACTS["a"] = lambda ctx, n: None
    live.prices("BBB", {}, 50.0, until=after(0))
    travelling.go(noon(after(6)))
    with live.running(portfolio()) as engine:
        pass
    (note,) = [line for line in engine.said if line.startswith("Note: the newest bar")]
    assert note.startswith("Note: the newest bar of BBB is of 2010-03-01, 5 sessions ago; it is traded when newer bars")
    with pool.connection() as connection:
        asked = ("csv:live", "1d", "XNYS")
        assert stale_prices(connection, *asked, ["AAA", "BBB", "CCC"], after(1)) == ["CCC has no bar in the database"]
        assert stale_prices(connection, *asked, ["BBB"], after(5)) == []


def test_a_check_needs_no_session_today(live, travelling, capfd):
    path = live.config(portfolio(), clock=None)
    ACTS["a"] = lambda ctx, n: None
    assert run_command(("check", str(path))) == 0
    assert "ok    portfolio a: " in capfd.readouterr().out
