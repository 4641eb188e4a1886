"""What a sweep says in sentences, and what its values and figures are called; the same on the page and the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from framework.model.sweep import Axis, Sweep, Value
from framework.report.measures import MEASURES, Measure
from framework.report.sweep_findings import Findings, Group, Luck, Standing
from framework.report.words import listed, number, percent

#: Figures that trials are shown with, in this order; files have all.
_SHOWN = (
    "sharpe", "cagr", "total_return", "volatility", "max_drawdown", "sortino", "calmar", "exposure", "turnover",
    "trades", "fees",
)  # fmt: skip

#: Fewer values of an axis have no middle that the best could be in.
_FEWEST_WITH_MIDDLE = 3

_BY_KEY = {each.key: each for each in MEASURES}


def value_text(value: Value) -> str:
    """A value as configs have it: ``10``, ``0.5``, ``true``, ``null``, or the text itself."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = repr(value)
        return f"{Decimal(text):f}" if "e" in text else text.removesuffix(".0")
    return str(value)


def axis_names(axes: Sequence[Axis]) -> tuple[str, ...]:
    """The last part of each key, ``fast`` of ``strategy.params.fast``; more of it where that is not one key's alone."""
    parts = [axis.key.split(".") for axis in axes]
    names = []
    for own in parts:
        length = next((n for n in range(1, len(own)) if sum(other[-n:] == own[-n:] for other in parts) == 1), len(own))
        names.append(".".join(own[-length:]))
    return tuple(names)


def values_text(axes: Sequence[Axis], values: Sequence[Value]) -> str:
    """``fast 10 and slow 50``."""
    return listed([f"{name} {value_text(value)}" for name, value in zip(axis_names(axes), values, strict=True)])


def measure_of(key: str) -> Measure:
    """How a figure is called and written; one that reports do not know has its key for a name."""
    return _BY_KEY.get(key) or Measure(key, key, "number", "high")


def measures(sweep: Sweep) -> tuple[Measure, ...]:
    """The figures that trials are shown with: the objective first, and none that no trial has."""
    keys = dict.fromkeys((sweep.objective, *_SHOWN))
    done = [each for each in sweep.outcomes if each.status == "done"]
    return tuple(measure_of(key) for key in keys if any(each.figures.get(key) is not None for each in done))


def chance(probability: float | None) -> str:
    """A probability; none is certain."""
    if probability is not None and probability >= 0.995:
        return f"more than {percent(0.99, 0)}"
    if probability is not None and probability <= 0.005:
        return f"less than {percent(0.01, 0)}"
    return percent(probability, 0)


def lead(found: Findings) -> tuple[str, ...]:
    """The result, in one or two sentences."""
    if found.steps:
        return tuple(_walked(found))
    return tuple(_chosen(found))


def _chosen(found: Findings) -> Iterator[str]:
    group, sweep = found.main, found.sweep
    best = group.best
    if best is None:
        title = measure_of(sweep.objective).title
        yield f"Of {_trials(len(sweep.outcomes))}, none has a figure to be ranked by ({title})."
        return
    yield (
        f"Of {_trials(len(sweep.outcomes))}, the best by {_in_words(sweep.objective)} has "
        f"{values_text(sweep.axes, best.values)}: {_figures(sweep, best)}."
    )
    if group.luck is not None and group.luck.probability is not None:
        yield _deflated(group.luck)


def _deflated(luck: Luck) -> str:
    if luck.trials == 1:
        return f"The probability that its true Sharpe is above zero is {chance(luck.probability)}."
    return (
        f"After taking into account that it is the best of {luck.trials:,}, the probability that its true Sharpe is "
        f"above zero is {chance(luck.probability)}."
    )


def _figures(sweep: Sweep, standing: Standing) -> str:
    """The objective, then the Sharpe ratio, the growth and the fall."""
    figures = standing.figures
    told = [f"a Sharpe of {number(figures.get('sharpe'))}", f"{percent(figures.get('cagr'), signed=True)} a year"]
    if sweep.objective not in ("sharpe", "cagr", "max_drawdown"):
        measure = measure_of(sweep.objective)
        told.insert(0, f"{_in_words(measure.key)} {measure.text(figures.get(measure.key))}")
    return listed([*told, f"a worst fall of {percent(figures.get('max_drawdown'))}"])


def _walked(found: Findings) -> Iterator[str]:
    tests = found.tests
    windows = f"{len(found.steps):,} window{'s' if len(found.steps) > 1 else ''}"
    if tests is None:
        yield f"Of {windows}, no test came to an end."
        return
    figures = tests.figures
    yearly = f" ({percent(figures.cagr, signed=True)} a year)" if len(tests.sessions) >= tests.per_year else ""
    yield (
        f"Over {windows}, what was chosen on the past made {percent(figures.total_return, signed=True)}{yearly} on the "
        f"time that followed, with a Sharpe of {number(figures.sharpe)} and a worst fall of "
        f"{percent(figures.max_drawdown)}."
    )
    if tests.probability is not None:
        yield f"The probability that its true Sharpe is above zero is {chance(tests.probability)}."


def paragraphs(found: Findings) -> list[list[str]]:
    """What a reader should know next: how the trials did together, then what is missing."""
    parts = [[*_against_luck(found.main), *_before_and_after(found), *_at_the_edge(found)], [*_missing(found)]]
    return [part for part in parts if part]


def _against_luck(group: Group) -> Iterator[str]:
    luck, sharpes = group.luck, group.known("sharpe")
    if luck is None or luck.trials < 2:
        return
    yield (
        f"Without any skill, the best of {luck.trials:,} trials that differ as these do would be expected to have a "
        f"Sharpe of {number(luck.expected)}."
    )
    yield f"{sum(value > 0 for value in sharpes):,} of {len(sharpes):,} trials have a Sharpe above zero."


def _before_and_after(found: Findings) -> Iterator[str]:
    key = found.sweep.objective
    pairs = [(step.train(key), step.test(key)) for step in found.steps]
    known = [(before, after) for before, after in pairs if before is not None and after is not None]
    if len(known) < 2:
        return
    measure = measure_of(key)
    before, after = (measure.text(sum(column) / len(known)) for column in zip(*known, strict=True))
    yield (
        f"What was chosen had a mean {_in_words(key)} of {before} in the trainings, and of {after} in the tests that "
        "followed."
    )
    counts = [each.windows for each in found.main.standings if each.windows]
    if len(counts) == 1:
        yield "All windows chose the same values."
    elif counts:
        yield f"The windows chose {len(counts):,} different combinations of values."


def _at_the_edge(found: Findings) -> Iterator[str]:
    best = None if found.steps else found.main.best
    for i, (axis, name) in enumerate(zip(found.sweep.axes, axis_names(found.sweep.axes), strict=True)):
        numbers = [value for value in axis.values if isinstance(value, int | float) and not isinstance(value, bool)]
        if best is None or len(numbers) < max(_FEWEST_WITH_MIDDLE, len(axis.values)):
            continue
        if best.values[i] in (min(numbers), max(numbers)):
            yield (
                f"Its {name} of {value_text(best.values[i])} is at the edge of what was tried: there may be better "
                "beyond it."
            )


def _missing(found: Findings) -> Iterator[str]:
    refused, failed = found.count("refused"), found.count("failed")
    verb = "was" if refused == 1 else "were"
    told = [
        f"{refused:,} {verb} refused (the config is not valid with their values)" if refused else "",
        f"{failed:,} failed" if failed else "",
    ]
    if refused or failed:
        yield f"Of {_trials(len(found.sweep.outcomes))}, {listed(told)}."
    without = sum(step.tested is None or step.tested.status != "done" for step in found.steps)
    if without and found.tests is not None:
        yield f"{without:,} of {len(found.steps):,} windows have no test, and their time is left out."


def _trials(count: int) -> str:
    return f"{count:,} trial{'' if count == 1 else 's'}"


def _in_words(key: str) -> str:
    """The name of a figure inside a sentence: names of people keep their capital."""
    title = measure_of(key).title
    return title if key in ("sharpe", "sortino", "calmar") else title[0].lower() + title[1:]
