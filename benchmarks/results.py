"""What a workload hands back: measurements with their checks, and the goals they are held against.

Plain data and the arithmetic over rounds; nothing here measures, runs or prints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Protocol

from benchmarks.systems import Options


@dataclass(frozen=True)
class Check:
    """One correctness check of one measurement."""

    name: str
    passed: bool
    facts: str = ""


@dataclass(frozen=True)
class Measurement:
    """The figures of one system in one case of a workload; a figure's name ends with its unit."""

    system: str
    case: str
    figures: dict[str, float] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)


@dataclass(frozen=True)
class Column:
    """One figure as the reader sees it."""

    figure: str
    title: str
    format: str = "{:,.0f}"


Round = Sequence[Measurement]
Figures = Callable[[str, str, str], float]


def figure(system: str, case: str, name: str) -> Callable[[Figures], float]:
    """The value of a goal that is one figure."""
    return lambda at: at(system, case, name)


def ratio(one: tuple[str, str, str], other: tuple[str, str, str]) -> Callable[[Figures], float]:
    """The value of a goal that is one figure through another of the same round."""
    return lambda at: at(*one) / at(*other)


@dataclass(frozen=True)
class Goal:
    """A bound on one value computed from a round's figures; reached when the median over the rounds is inside.

    `value` gets a look-up of (system, case, name), which raises `KeyError` for what was not measured or failed a check.
    A goal with `full_size` means nothing at another `--scale` and is not judged there.
    """

    text: str
    value: Callable[[Figures], float]
    at_most: float | None = None
    at_least: float | None = None
    format: str = "{:.2f} x"
    full_size: bool = False


@dataclass(frozen=True)
class Verdict:
    """A goal after the run; `reached` is None when it could not be judged."""

    text: str
    value: str
    reached: bool | None


class Workload(Protocol):
    """What each workload module offers."""

    TITLE: str
    ABOUT: str
    SYSTEMS: tuple[str, ...]
    COLUMNS: tuple[Column, ...]
    GOALS: tuple[Goal, ...]

    def run(self, system: str, options: Options) -> list[Measurement]:
        """One round of one system."""


@dataclass(frozen=True)
class Outcome:
    """A workload after all its rounds: medians of the figures, every check, every goal."""

    name: str
    title: str
    about: str
    columns: Sequence[Column]
    rows: list[Measurement]
    verdicts: list[Verdict]

    @property
    def is_correct(self) -> bool:
        return all(check.passed for row in self.rows for check in row.checks)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def combine(rounds: Sequence[Round]) -> list[Measurement]:
    """One row per system and case: the median of each figure, and of each check the first failure if there is one.

    The median of rounds, because throughput on a shared machine is not stable and one bad second must not decide.
    """
    grouped: dict[tuple[str, str], list[Measurement]] = {}
    for measurement in (each for one in rounds for each in one):
        grouped.setdefault((measurement.system, measurement.case), []).append(measurement)
    return [
        Measurement(system, case, _median_figures(group), _worst_checks(group))
        for (system, case), group in grouped.items()
    ]


def judge(goal: Goal, rounds: Sequence[Round], *, scale: float) -> Verdict:
    """Hold `goal` against the rounds: the ratio is taken inside each round, then the median of the ratios."""
    if goal.full_size and scale != 1:
        return Verdict(goal.text, f"not judged at scale {scale:g}", None)
    try:
        values = [goal.value(_lookup(each)) for each in rounds]
    except KeyError as reason:
        return Verdict(goal.text, f"not judged: {reason.args[0]}", None)
    value = median(values)
    is_bounded = goal.at_most is not None or goal.at_least is not None
    reached = (goal.at_most is None or value <= goal.at_most) and (goal.at_least is None or value >= goal.at_least)
    return Verdict(goal.text, _shown(goal, values), reached if is_bounded else None)


def _shown(goal: Goal, values: Sequence[float]) -> str:
    """The median, and what the rounds were apart."""
    shown = goal.format.format(median(values))
    if len(values) == 1:
        return shown
    return f"{shown} ({goal.format.format(min(values))} to {goal.format.format(max(values))})"


def _median_figures(group: Sequence[Measurement]) -> dict[str, float]:
    names = dict.fromkeys(name for each in group for name in each.figures)
    return {name: median(each.figures[name] for each in group if name in each.figures) for name in names}


def _worst_checks(group: Sequence[Measurement]) -> list[Check]:
    worst: dict[str, Check] = {}
    for check in (check for each in group for check in each.checks):
        if check.name not in worst or worst[check.name].passed:
            worst[check.name] = check
    return list(worst.values())


def _lookup(measurements: Round) -> Figures:
    by_key = {(each.system, each.case): each for each in measurements}

    def look_up(system: str, case: str, name: str) -> float:
        found = by_key.get((system, case))
        if found is None or name not in found.figures:
            raise KeyError(f"{system} {case} was not measured")
        if not all(check.passed for check in found.checks):
            raise KeyError(f"{system} {case} failed a check")  # a wrong answer has no speed
        return found.figures[name]

    return look_up
