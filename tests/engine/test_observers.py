"""Plugins that observe an engine: each hook in a run, and what becomes of observers that fail, hang, or are slow."""

from __future__ import annotations

import threading
import time

import pytest

from framework.engine.observers import Observers
from framework.engine.operate import halt_portfolios, liquidate_portfolio, resume_portfolios
from tests.engine.runs import ACTS, after, noon, portfolio, wait_for

HOOKS = '''\
"""Writes down what it is told."""

from framework import hookimpl


def write(*facts):
    with open("heard.txt", "a") as file:
        file.write(" ".join(map(str, facts)) + "\\n")


@hookimpl
def engine_started(name):
    write("engine_started", name)


@hookimpl
def engine_stopped(name):
    write("engine_stopped", name)


@hookimpl
def cycle_finished(portfolio_id, time):
    write("cycle_finished", portfolio_id, time.isoformat())


@hookimpl
def order_refused(portfolio_id, ticker, quantity, reason):
    write("order_refused", portfolio_id, ticker, quantity, reason)


@hookimpl
def fill_booked(portfolio_id, fill):
    write("fill_booked", portfolio_id, fill.side, fill.quantity, fill.ticker, fill.session)


@hookimpl
def portfolio_halted(portfolio_id, reason):
    write("portfolio_halted", portfolio_id, reason)
'''


@pytest.fixture
def heard(live):
    """What a drop-in plugin has been told, without the cycles."""
    (live.folder / "plugins" / "hooks.py").write_text(HOOKS)
    path = live.folder / "heard.txt"

    def read(cycles=False):
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if cycles or not line.startswith("cycle_finished")]

    return read


def buy(ctx, n):
    if n == 1:
        ctx.order("AAA", 10)


# --- the hooks -----------------------------------------------------------------------------------------------------


def test_start_cycles_fill_and_end(live, heard):
    ACTS["a"] = buy
    live.run(portfolio())
    assert heard() == ["engine_started live", "fill_booked a BUY 10 AAA 2010-03-01", "engine_stopped live"]
    lines = heard(cycles=True)
    assert (lines[0], lines[-1]) == ("engine_started live", "engine_stopped live")
    assert "cycle_finished a 2010-03-02T21:00:00+00:00" in lines
    # The fill is told before the end of the cycle that booked it.
    assert lines.index("fill_booked a BUY 10 AAA 2010-03-01") < lines.index(
        "cycle_finished a 2010-03-01T21:00:00+00:00"
    )


def test_a_refusal_by_a_risk_rule(live, heard):
    ACTS["a"] = buy
    live.run(portfolio(risk=[{"name": "restricted", "params": {"tickers": ["AAA"]}}]))
    (refused,) = [line for line in heard() if line.startswith("order_refused")]
    assert refused.startswith("order_refused a AAA 10.0 restricted")


def test_a_halt_by_a_risk_rule_is_told_once(live, heard):
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 900) if n == 1 else None
    live.prices("AAA", dict.fromkeys([after(n) for n in range(2, 20)], 50.0))
    live.run(portfolio(risk=[{"name": "max_drawdown", "params": {"limit": 0.1}}]))
    halts = [line for line in heard() if line.startswith("portfolio_halted")]
    assert len(halts) == 1
    assert halts[0].startswith("portfolio_halted a max_drawdown")


def test_a_halt_by_an_operator_and_a_liquidation_and_none_at_a_resume(live, heard, pool, travelling):
    ACTS["a"] = ACTS["b"] = buy
    travelling.go(noon(after(0)))
    with live.running(portfolio("a"), portfolio("b")):
        # Both: what is halted before its first cycle was halted before the engine looked, which is no news.
        wait_for(lambda: {line.split()[1] for line in heard(cycles=True)} >= {"a", "b"}, "both run")
        asked = {"timeout_seconds": 30, "announce": lambda text: None}
        halt_portfolios(pool, "a", "too hot", "me", keep_orders=False, **asked)
        wait_for(lambda: "portfolio_halted a too hot" in heard(), "it is told")
        resume_portfolios(pool, "a", "me", **asked)
        liquidate_portfolio(pool, "b", "me", **asked)
        wait_for(lambda: "portfolio_halted b liquidation" in heard(), "it is told")
        halt_portfolios(pool, None, "panic", "me", keep_orders=False, **asked)
        wait_for(lambda: "portfolio_halted a panic" in heard(), "it is told")
    assert [line for line in heard() if line.startswith("portfolio_halted")] == [
        "portfolio_halted a too hot",
        "portfolio_halted b liquidation",
        "portfolio_halted a panic",
    ]


def test_a_portfolio_that_was_halted_before_the_start_is_no_news(live, heard, pool):
    ACTS["a"] = buy
    live.run(portfolio(), until=after(1))
    halt_portfolios(pool, "a", "holidays", "me", keep_orders=True, timeout_seconds=0, announce=lambda text: None)
    live.run(portfolio())
    assert not [line for line in heard() if line.startswith("portfolio_halted")]


def test_a_portfolio_that_the_engine_stops(live, heard):
    ACTS["a"], ACTS["b"] = (lambda ctx, n: 1 / 0), buy
    once = {"lease_seconds": 30, "send_timeout_seconds": 10, "max_consecutive_failures": 1}
    live.run(portfolio("a"), portfolio("b"), engine=once)
    (halt,) = [line for line in heard() if line.startswith("portfolio_halted")]
    assert halt.startswith("portfolio_halted a stopped for its failures, the last with: portfolio a: strategy 'acts'")


# --- observers that are no good ------------------------------------------------------------------------------------


def test_one_that_fails_is_counted_and_changes_nothing(live, heard):
    ACTS["a"] = buy
    (live.folder / "plugins" / "bad.py").write_text(
        "from framework import hookimpl\n\n\n@hookimpl\ndef cycle_finished(portfolio_id, time):\n"
        "    raise SystemExit(3)\n"
    )
    said = live.run(portfolio())
    assert live.trades() == [("AAA", "BUY", 10, 100.0, "2010-03-01")]
    cycles = sum(line.startswith("cycle_finished") for line in heard(cycles=True))
    assert any(line.startswith("Note: plugin") and line.endswith(f"in cycle_finished {cycles} times") for line in said)


def test_one_that_hangs_keeps_nobody(live, monkeypatch):
    ACTS["a"] = buy
    monkeypatch.setattr("framework.live_run.HANGS_SECONDS", 0.2)
    (live.folder / "plugins" / "bad.py").write_text(
        "import threading\nfrom framework import hookimpl\n\n\n@hookimpl\ndef fill_booked(portfolio_id, fill):\n"
        "    threading.Event().wait()\n"
    )
    said = live.run(portfolio())
    assert live.decided()[-1] == "2010-03-05"
    assert "Note: an observer of fill_booked has not returned; it was left behind" in said
    assert said[-1].endswith("events were not told to plugins, which were too slow; the books have them all")


def test_what_is_too_much_is_dropped_and_counted():
    gate, told = threading.Event(), []

    def slow(event, **facts):
        gate.wait()
        told.append(facts["n"])

    observers = Observers(slow, backlog=5)
    observers.start()
    for n in range(20):
        observers.tell("x", n=n)
        time.sleep(0.01)
    gate.set()
    notes = observers.close()
    assert told == sorted(told)
    assert notes == [f"{20 - len(told)} events were not told to plugins, which were too slow; the books have them all"]


def test_a_slow_one_is_waited_for_as_long_as_it_moves():
    told = []
    observers = Observers(lambda event, n: (time.sleep(0.02), told.append(n)))
    observers.start()
    for n in range(30):
        observers.tell("x", n=n)
    assert observers.close(hangs_seconds=0.3) == []
    assert told == list(range(30))


# --- lines ---------------------------------------------------------------------------------------------------------


def test_an_order_that_ends_says_how_much_of_it_did_not_fill(live):
    def spend(ctx, n):
        if n == 1:
            ctx.order("AAA", 1500)
            ctx.order("BBB", 10, limit=1.0)

    ACTS["a"] = spend
    said = live.run(portfolio())
    ended = [line for line in said if " ended: " in line]
    assert len(ended) == 2
    assert ended[0].endswith("order BUY 1500 AAA ended: no cash, 500 not filled")
    assert ended[1].endswith("order BUY 10 BBB ended: not reached, 10 not filled")
