"""What can be wrong with bars, by code, and what is done about it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: ``refuse``: left out, counted; ``quarantine``: left out, kept apart with its values; ``warn``: kept, counted.
Policy = Literal["refuse", "quarantine", "warn"]

#: What can be wrong with a row when it is loaded, in the order it is looked for; it counts under the first that fits.
REFUSED = {
    "not asked for": "the bar lies outside the dates that were asked for, or may still change",
    "absurd date": "the timestamp is missing or not in the years 1900 to 2100",
    "missing price": "a price is missing or not a number",
    "price not positive": "a price is zero or negative",
    "price too large": "a price is 9.2 billion or more, which cannot be stored",
    "high below low": "the high is below the low",
    "outside range": "the open or close lies outside the bar's low and high",
    "negative volume": "the volume is negative",
    "volume too large": "the volume is over 4e18, which cannot be stored",
    "in quarantine": "a check has put this bar into quarantine, and its values have not changed since",
    "duplicate": "the same bar again, with the same values",
    "conflicting duplicate": "the same bar again, with other values; the first one is kept",
}
#: What is put right and said, for a row that is kept.
MENDED = {
    "widened": "the open or close lay a hair outside low and high; the range was widened to hold it",
    "no volume": "the volume is missing; stored as 0",
    "fractional volume": "the volume is not whole; stored rounded to whole shares",
}
#: Repeats that say nothing new, and bars that come again by themselves.
_WORTHLESS = ("not asked for", "duplicate", "in quarantine")


@dataclass(frozen=True)
class Suspicion:
    """A kind of finding among stored bars.

    Attributes:
        means: what was seen.
        advice: what to do.
        is_urgent: whether results are wrong until something is done.
        has_rows: whether it is certain bars that are suspect, so that they can be taken out.
    """

    means: str
    advice: str
    is_urgent: bool = False
    has_rows: bool = False


#: What can be wrong with stored bars, seen together: ``engine data verify``.
SUSPECT = {
    "missing session": Suspicion(
        "the calendar has a session, and there is no bar of it, though there are earlier and later ones",
        "nothing if trading was halted; else load these dates from another source, or check --calendar",
    ),
    "missing minutes": Suspicion(
        "bars are missing inside a session; a minute without a trade has none",
        "nothing for tickers that trade seldom; else load these dates again",
    ),
    "outside session": Suspicion(
        "the bar lies on a holiday or outside trading hours; runs leave it out",
        "nothing for extended hours; else check --calendar",
        has_rows=True,
    ),
    "wrong time zone": Suspicion(
        "the bars lie some hours beside the session: local times taken for UTC, or the clock change missed",
        "correct the source's time zone, and load again",
        is_urgent=True,
        has_rows=True,
    ),
    "repeated hour": Suspicion(
        "in the night when clocks go back, one of the two equal hours has no bar: local times taken for distinct",
        "have the source state times in UTC, and load again",
        is_urgent=True,
    ),
    "spike": Suspicion(
        "the price leaves its neighbours by far more than usual, and is back at once",
        "compare with another source; quality: {spike: quarantine} takes such bars out",
        has_rows=True,
    ),
    "unadjusted split": Suspicion(
        "the price jumps by a usual split ratio and stays there, with no split known for that date",
        "add the split to corporate_actions, or load splits from the source; strategies see a loss or a gain here",
        is_urgent=True,
    ),
    "split without effect": Suspicion(
        "a split is known, and the price does not jump: the rows are adjusted already, or the date is wrong",
        "load rows as traded, or remove the split; prices before it are divided by it twice",
        is_urgent=True,
    ),
    "stale": Suspicion(
        "the bar repeats the one before in every value, or the close has not moved for absurdly long",
        "check whether it was traded at all; quality: {stale: quarantine} takes such bars out",
        has_rows=True,
    ),
    "currency mismatch": Suspicion(
        "the source's currency is not that of table instruments, or the price changes a hundredfold and stays there",
        "correct the one that is wrong; pence or cents have to become pounds or dollars before they are loaded",
        is_urgent=True,
    ),
    "adjustment differs": Suspicion(
        "closes adjusted for the stored splits and dividends are over 0.01 % from those that the source adjusts itself",
        "look at the splits and dividends of that date in corporate_actions; the source may adjust by another formula",
    ),
    "outside coverage": Suspicion(
        "bars lie outside the dates that market_data_coverage says are loaded",
        "load these dates again, so that what is covered is known",
        is_urgent=True,
    ),
    "covered without bars": Suspicion(
        "dates count as loaded, and not one bar of the ticker is there",
        "check the ticker's name; to ask again, delete its row of market_data_coverage",
        is_urgent=True,
    ),
    "ends early": Suspicion(
        "the last bar lies over ten sessions before the end of what counts as loaded",
        "nothing for a ticker that was delisted; else its name may have changed",
    ),
}


def policy_of(policies: Mapping[str, Policy], code: str) -> Policy:
    """What is done with rows of a code: what ``policies`` says, or the default."""
    if code in policies:
        return policies[code]
    if code in SUSPECT:
        return "warn"
    return "refuse" if code in _WORTHLESS else "quarantine"


def check_policies(given: Mapping[str, str]) -> dict[str, Policy]:
    """``given``, if every code is known and can be treated so.

    Raises:
        ValueError: names the code, what is allowed, and the nearest code.
    """
    found: dict[str, Policy] = {}
    for code, wanted in given.items():
        allowed = _allowed(code)
        if not allowed:
            known = [name for name in (*REFUSED, *SUSPECT) if _allowed(name)]
            near = difflib.get_close_matches(code, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"there is no code {code!r}; {hint}(allowed: {', '.join(known)})")
        policy = next((each for each in allowed if each == wanted), None)
        if policy is None:
            raise ValueError(f"{code!r} cannot be {wanted!r}; allowed: {' or '.join(allowed)}")
        found[code] = policy
    return found


def _allowed(code: str) -> tuple[Policy, ...]:
    """The policies of a code that a user may set; none: it is no such code."""
    if code in SUSPECT:  # of what is missing, nothing can be taken out
        return ("warn", "quarantine", "refuse") if SUSPECT[code].has_rows else ("warn",)
    return ("refuse", "quarantine") if code in REFUSED and code != "in quarantine" else ()
