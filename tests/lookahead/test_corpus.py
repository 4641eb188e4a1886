"""A corpus of strategies, by what `engine check` runs: those that see the future are caught, all others pass."""

from __future__ import annotations

import pytest

from framework.engine.lookahead import check_lookahead
from framework.errors import LookaheadError, StrategyError
from tests.lookahead import cheats, cheats_on_bar, honest, honest_on_bar
from tests.lookahead.market import job, maker, strategies

CHEATS = [*strategies(cheats), *strategies(cheats_on_bar)]
HONEST = [*strategies(honest), *strategies(honest_on_bar)]
#: Of these nobody can say what they would have decided: they are told apart from those that look ahead.
NOT_TWICE_THE_SAME = {"LearnedLastTime", "LearnedOnTheClass", "SeededByTheClock", "Unseeded"}


def name_of(cls):
    return cls.__name__


@pytest.mark.parametrize("cheat", [cls for cls in CHEATS if cls.__name__ not in NOT_TWICE_THE_SAME], ids=name_of)
def test_a_cheat_is_caught_with_bar_and_ticker(cheat, tmp_path):
    make = maker(cheat, tmp_path)
    said = rf"strategy '{cheat.__name__}' looks ahead: its decision for (AAA|BBB|FLAT|LATE|ENDS) at bar 201\d-\d\d-"
    with pytest.raises(LookaheadError, match=said):
        check_lookahead(job(make()), make)


@pytest.mark.parametrize("cls", [cls for cls in CHEATS if cls.__name__ in NOT_TWICE_THE_SAME], ids=name_of)
def test_who_does_not_decide_the_same_twice_is_told_so(cls, tmp_path):
    make = maker(cls, tmp_path)
    with pytest.raises(StrategyError, match=rf"{cls.__name__}' does not decide the same twice .* at bar 201") as caught:
        check_lookahead(job(make()), make)
    assert not isinstance(caught.value, LookaheadError)
    assert ("in its module or on its class" in str(caught.value)) is (cls.__name__ == "LearnedOnTheClass")


@pytest.mark.parametrize("cls", HONEST, ids=name_of)
def test_an_honest_strategy_passes(cls):
    looked = check_lookahead(job(cls()), cls)
    assert looked.moments >= 12
    assert looked.runs >= 3 + 3 * looked.moments
    # Those that fail on holes are not accused for holes that only the check has made.
    assert (looked.failed > 0) is (cls.__name__ == "WantsCleanPrices")
    assert looked.describe("it").startswith(f"no lookahead in it (future cut off and changed at {looked.moments} bars")
    assert ("holes in the prices)" in looked.describe("it")) is (looked.failed > 0)


def test_the_corpus_is_as_large_as_it_should_be():
    assert len(CHEATS) >= 20
    assert len(HONEST) >= 20
