"""The same report three ways: tables on the terminal, Markdown for the documentation, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.results import Measurement, Outcome, Verdict

REACHED = {True: "yes", False: "no", None: "–"}
STYLES = {True: "green", False: "red", None: ""}


@dataclass(frozen=True)
class Report:
    """One run of the suite."""

    machine: dict[str, str]
    systems: dict[str, str]
    outcomes: Sequence[Outcome]

    def as_json(self) -> str:
        outcomes = [outcome.as_dict() for outcome in self.outcomes]
        return json.dumps({"machine": self.machine, "systems": self.systems, "workloads": outcomes}, indent=1)

    def as_markdown(self) -> str:
        facts = [*self.machine.items(), *self.systems.items()]
        head = "".join(f"- {name}: {value}\n" for name, value in facts)
        return head + "".join("\n" + _markdown(outcome) for outcome in self.outcomes)


def print_heading(console: Console, machine: dict[str, str], systems: dict[str, str]) -> None:
    """What the run is measured on, before the first table."""
    for name, value in (*machine.items(), *systems.items()):
        console.print(f"[bold]{name}[/]: {value}", highlight=False)


def print_outcome(console: Console, outcome: Outcome) -> None:
    """One workload: its figures, failed checks with their facts, and its goals."""
    console.print()
    console.print(f"[bold]{outcome.title}[/]. {outcome.about}", highlight=False)
    figures = Table(*_titles(outcome))
    for position, column in enumerate(figures.columns):
        is_figure = 2 <= position < len(figures.columns) - 1
        column.justify = "right" if is_figure else "left"
        column.no_wrap = not is_figure
    for row in outcome.rows:
        figures.add_row(*_cells(outcome, row))
    console.print(figures)
    for failure in _failures(outcome):
        console.print(failure, style="red", highlight=False, markup=False)
    if outcome.verdicts:
        goals = Table("goal", "measured", "reached")
        for verdict in outcome.verdicts:
            goals.add_row(*_goal_cells(verdict), style=STYLES[verdict.reached])
        console.print(goals)


def _markdown(outcome: Outcome) -> str:
    lines = [f"## {outcome.title}", "", outcome.about, ""]
    lines += _markdown_table(_titles(outcome), [_cells(outcome, row) for row in outcome.rows])
    lines += [f"{failure}\n" for failure in _failures(outcome)]
    goals = [_goal_cells(verdict) for verdict in outcome.verdicts]
    return "\n".join(lines + _markdown_table(["goal", "measured", "reached"], goals))


def _markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [titles, ["---"] * len(titles), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines] + [""]


def _titles(outcome: Outcome) -> list[str]:
    return ["system", "case", *(column.title for column in outcome.columns), "checks"]


def _cells(outcome: Outcome, row: Measurement) -> list[str]:
    figures: list[Any] = [row.figures.get(column.figure) for column in outcome.columns]
    shown = zip(outcome.columns, figures, strict=True)
    cells = ["" if value is None else column.format.format(value) for column, value in shown]
    passed = sum(check.passed for check in row.checks)
    checks = f"{passed}/{len(row.checks)}" if passed == len(row.checks) else "FAILED"
    return [row.system, row.case, *cells, checks]


def _goal_cells(verdict: Verdict) -> list[str]:
    return [verdict.text, verdict.value, REACHED[verdict.reached]]


def _failures(outcome: Outcome) -> list[str]:
    return [
        f"FAILED {row.system} {row.case}: {check.name}: {check.facts}"
        for row in outcome.rows
        for check in row.checks
        if not check.passed
    ]
