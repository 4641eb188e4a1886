"""An allocator in the live engine: money moves before anybody decides, whatever comes late, fails or starts again."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from tests.engine.runs import ACTS, after, noon, portfolio, wait_for
from tests.engine.test_live_clock import AT_ONCE, bar, evening_of, listens

MASTER = {"cash": 1000.0}


def sections(weights, **more):
    return {"allocator": {"name": "fixed", "params": {"weights": weights}} | more, "master": MASTER}


def empty(name):
    """A portfolio that an allocation opens."""
    return portfolio(name, cash=0)


def cash(live, name):
    rows = live.ask(
        "SELECT notional::float FROM cash_equity_book WHERE portfolio_id = %s ORDER BY timestamp DESC, id DESC LIMIT 1",
        [name],
    )
    return rows[0][0] if rows else 0.0


def allocations(live):
    """Session, and what moved to whom."""
    return live.ask(
        "SELECT session::text, portfolio_id, transfer::float FROM allocations JOIN allocation_targets USING (run_id) "
        "ORDER BY id, portfolio_id"
    )


# --- simulated clock -----------------------------------------------------------------------------------------------


def test_portfolios_decide_on_the_money_that_they_were_given(live):
    seen = []
    ACTS["a"] = lambda ctx, n: seen.append((n, ctx.cash, ctx.equity))
    live.run(empty("a"), **sections({"a": 0.25}), until=after(1))
    # The first decision is on the bar before the run, at whose close nothing was due.
    assert seen == [(1, 0.0, 0.0), (2, 250.0, 250.0), (3, 250.0, 250.0)]


def test_a_portfolio_that_is_halted_keeps_its_money(live):
    def act(ctx, n):
        ctx.target_weights([0.5, 0.0])

    ACTS["a"] = ACTS["b"] = act
    rule = [{"name": "max_drawdown", "params": {"limit": 0.05}}]
    live.prices("AAA", {after(2): 50.0, after(3): 50.0, after(4): 50.0})
    said = live.run(portfolio("a", cash=1000, risk=rule), portfolio("b", cash=1000), **sections({"a": 0.5, "b": 0.5}))
    assert any("HALTED by max_drawdown" in line for line in said)
    moved = {(day, name): transfer for day, name, transfer in allocations(live)}
    assert moved[(str(after(3)), "a")] == 0.0
    assert moved[(str(after(0)), "a")] > 0.0


def test_a_price_that_is_missing_is_said_by_name_and_the_day_goes_on(live):
    ACTS["a"] = lambda ctx, n: ctx.target_weights([0.5, 0.5])
    known = {after(n): 100.0 for n in range(5)}
    live.prices("AAA", known)
    lines = (live.folder / "prices" / "AAA.csv").read_text().splitlines()
    gap = str(after(2))
    (live.folder / "prices" / "AAA.csv").write_text(
        "\n".join(line for line in lines if not line.startswith(gap)) + "\n"
    )
    said = live.run(empty("a"), **sections({"a": 0.9}))
    assert any(f"allocation of {gap} was not made: portfolio a holds AAA" in line.replace("  ", " ") for line in said)
    assert [day for day, _, _ in allocations(live)] == [str(after(n)) for n in (0, 1, 3, 4)]


def test_what_was_allocated_stays_when_it_is_run_again(live):
    ACTS["a"] = lambda ctx, n: ctx.target_weights([0.5, 0.0])
    live.run(empty("a"), **sections({"a": 0.5}), until=after(2))
    before = allocations(live)
    live.run(empty("a"), **sections({"a": 0.5}), until=after(2))
    assert allocations(live) == before
    live.run(empty("a"), **sections({"a": 0.5}), until=after(4))
    assert allocations(live)[: len(before)] == before
    assert len(allocations(live)) == len(before) + 2


# --- real clock ----------------------------------------------------------------------------------------------------


@pytest.fixture
def evening(travelling, monkeypatch):
    """After the close of the first day, whose bars are not known yet."""
    monkeypatch.setattr("framework.engine.live._TELL_SECONDS", 0.05)
    travelling.go(evening_of(after(0)))


@contextmanager
def waiting(live, *portfolios, **more):
    """An engine that has had its first cycle; prices end on the day before its first."""
    for ticker in ("AAA", "BBB"):
        live.prices(ticker, {}, until=after(-1))
    with live.running(*portfolios, **more) as engine:
        wait_for(lambda: live.ask("SELECT 1 FROM pnl_book") and listens(live), "its first cycle is over")
        yield engine


def test_it_is_made_when_the_bars_have_come_and_before_anybody_decides(live, pool, evening):
    seen = []
    ACTS["a"] = lambda ctx, n: seen.append(ctx.cash)
    with waiting(live, empty("a"), **sections({"a": 0.5})) as engine:
        assert allocations(live) == []
        bar(pool, after(0), "AAA", "BBB")
        wait_for(lambda: seen, "it decides", AT_ONCE)
        assert allocations(live) == [(str(after(0)), "a", 500.0)]
        assert seen == [500.0]
        wait_for(lambda: engine.heard("allocation of 1,000.00: a +500.00"), "it is told", AT_ONCE)


def test_a_portfolio_goes_on_without_one_that_takes_too_long(live, pool, evening):
    seen = []
    ACTS["a"] = lambda ctx, n: seen.append(("a", ctx.cash))
    ACTS["b"] = lambda ctx, n: seen.append(("b", ctx.cash))
    for ticker in ("AAA", "BBB"):
        live.prices(ticker, {}, until=after(-1))
    one, other = portfolio("a", cash=0, tickers=["AAA"]), portfolio("b", cash=0, tickers=["BBB"])
    with live.running(one, other, **sections({"a": 0.5, "b": 0.1}, wait_seconds=0.5)) as engine:
        wait_for(lambda: len(live.ask("SELECT 1 FROM pnl_book")) == 2 and listens(live), "its first cycles are over")
        bar(pool, after(0), "AAA")
        wait_for(lambda: allocations(live), "it is made without b", AT_ONCE)
        assert [(name, money) for _, name, money in allocations(live)] == [("a", 500.0), ("b", 100.0)]
        wait_for(lambda: engine.heard("without waiting any longer for b"), "it says so", AT_ONCE)
        bar(pool, after(0), "BBB")
        wait_for(lambda: ("b", 100.0) in seen, "b decides", AT_ONCE)


def test_one_that_was_missed_is_made_late(live, travelling, monkeypatch):
    monkeypatch.setattr("framework.engine.live._TELL_SECONDS", 0.05)
    travelling.go(noon(after(1)))  # the engine was away in the evening
    ACTS["a"] = lambda ctx, n: None
    for ticker in ("AAA", "BBB"):
        live.prices(ticker, {}, until=after(0))
    with live.running(empty("a"), **sections({"a": 0.5})):
        wait_for(lambda: cash(live, "a") == 500.0, "it is made", AT_ONCE)
    assert allocations(live) == [(str(after(0)), "a", 500.0)]
