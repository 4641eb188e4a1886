"""Strategies that misbehave: their portfolio stops or ignores the order, says why, and no other portfolio notices."""

from __future__ import annotations

import signal
import time

import pytest

from tests.faults.arena import Arena, each, unproven, wait_for
from tests.faults.scenario import Outcome, ask, difference, outcome

#: What the strategy does at its third bar, and what the engine says of it; nothing: it goes on.
STOPS = {
    "raise": "ZeroDivisionError",
    "leave": "SystemExit",
    "interrupt": "KeyboardInterrupt",
    "shape": "shape",
    "unknown": "ZZZ",
    "infinite": "inf",
    "json": "ctx.state",
    "deep": "",
    "nul": "",
}
GOES_ON = {"nan": "", "hang": "late decision"}


def of(found: Outcome, portfolio: str) -> Outcome:
    """The part of one portfolio."""
    return {name: [row for row in rows if row[0] == portfolio] for name, rows in found.items()}


def config_of(arena: Arena, how: str, flag: str = ""):
    strategy = f"{{name: bad, params: {{how: {how}, flag: '{flag}'}}}}"
    limits = ", max_consecutive_failures: 2, decision_seconds: 0.5"
    return arena.write(f"bad-{how}{'-once' if flag else ''}", second=strategy, more=limits)


def misbehaves(arena: Arena, how: str, *, stops: bool) -> str | None:
    config, expected = config_of(arena, how), (STOPS | GOES_ON)[how]
    with arena.database(config) as database:
        status, said = arena.run(database, config)
        if status != 0:
            return f"the engine ended with {status}: {said}"
        found, right = outcome(database), arena.reference(arena.config).outcome
        if failure := difference(of(found, "a"), of(right, "a")):
            return f"the other portfolio has noticed: {failure}"
        if ("STOPPED" in said) is not stops:
            return f"it has {'not ' if stops else ''}stopped: {said}"
        reasons = said + str([row[8] for row in of(found, "b")["orders"]])
        if expected not in reasons:
            return f"it does not say why ({expected}): {said}"
        if stops and ask(database, "SELECT state FROM engine_status WHERE portfolio_id = 'b'") != [("stopped",)]:
            return "engine status does not say that it has stopped"
        decided = len(of(found, "b")["decisions"])
        if decided != (2 if stops else len(of(right, "b")["decisions"])):
            return f"it has {decided} decisions"
        return unproven(database)


def test_a_strategy_that_raises(arena, report):
    count, failures = each(["raise", "leave"], lambda how: misbehaves(arena, how, stops=True))
    report("strategy that raises", count, failures, "its portfolio stops, the other ends as ever")


@pytest.mark.slow
def test_strategies_that_cannot_be_heard(arena, report):
    count, failures = each(STOPS, lambda how: misbehaves(arena, how, stops=True))
    report("strategy that raises, or returns nonsense", count, failures, ", ".join(STOPS))


@pytest.mark.slow
def test_strategies_that_say_nothing(arena, report):
    count, failures = each(GOES_ON, lambda how: misbehaves(arena, how, stops=False))
    report("strategy that returns NaN, or too late", count, failures, "the decision counts for nothing, it goes on")


@pytest.mark.slow
def test_strategies_that_fail_once(arena, report):
    def run(how: str) -> str | None:
        flag = arena.log()
        config = config_of(arena, how, str(flag))
        with arena.database(config) as database:
            status, said = arena.run(database, config)
            if status != 0 or not flag.exists():
                return f"the engine ended with {status}: {said}"
            return difference(outcome(database), arena.reference(arena.config).outcome) or unproven(database)

    count, failures = each(STOPS, run)
    report("strategy that fails once", count, failures, "asked again, both portfolios end as ever")


@pytest.mark.slow
def test_a_strategy_that_never_comes_back(arena, report):
    """The simulated clock stands still for all meanwhile; the engine can be stopped, and the next one goes on."""
    flag = arena.log()
    config = config_of(arena, "sleep", str(flag))

    def run(_: int) -> str | None:
        with arena.database(config) as database:
            with arena.engine(database, config) as engine:
                wait_for(flag.exists, "the third bar")
                time.sleep(0.2)
                engine.signal(signal.SIGTERM)
                if status := engine.wait(90):
                    return f"the engine ended with {status}: {engine.said()}"
            ask(database, "UPDATE leases SET expires_at = clock_timestamp() - interval '1 hour'")
            status, said = arena.run(database, config)
            if status != 0:
                return f"the engine ended with {status}: {said}"
            return difference(outcome(database), arena.reference(arena.config).outcome) or unproven(database)

    count, failures = each([1], run)
    report("strategy that never comes back", count, failures, "SIGTERM leaves it behind; restart")
