"""`python -m benchmarks [W1 W2 …]`: run workloads beside the peers that are installed, and judge the goals.

Ends with status 1 when a correctness check fails, in ours or in a peer; a goal that is not reached is only reported.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from rich.console import Console

from benchmarks import machine, systems
from benchmarks.fresh import FreshProcessError
from benchmarks.report import Report, print_heading, print_outcome
from benchmarks.results import Check, Measurement, Outcome, Workload, combine, judge
from benchmarks.systems import OURS, Options

WORKLOADS = {
    "W1": "benchmarks.w1_mutation",
    "W2": "benchmarks.w2_notify",
    "W2_kernels": "benchmarks.w2_kernels",
    "W3": "benchmarks.w3_subscriptions",
    "W4": "benchmarks.w4_fanout",
    "W4_sockets": "benchmarks.w4_sockets",
    "W7": "benchmarks.w7_cold_start",
    "W8": "benchmarks.w8_notebook",
    "W8_kernels": "benchmarks.w8_kernels",
    "load_flights": "benchmarks.load_flights",
    "load_sessions": "benchmarks.load_sessions",
}

REPORT_WIDTH = 140  # of a log file, which has no width of its own


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit status."""
    command = _parser().parse_args(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=REPORT_WIDTH)
    if machine.file_system(command.directory) in machine.MEMORY_FILE_SYSTEMS:
        # The trap: on a RAM disk a flush costs nothing and every durable figure is a lie.
        console.print(f"{command.directory} is in memory; name a directory on a disk with --directory.", style="red")
        return 2
    present = _present(console, command.peers)
    described = {name: f"{systems.system(name).version()}; {systems.system(name).PROMISE}" for name in present}
    facts = {**machine.facts(command.directory), "rounds": f"{command.rounds}, scale {command.scale:g}"}
    print_heading(console, facts, described)
    outcomes: list[Outcome] = []
    for name in command.workloads or WORKLOADS:
        if reason := _missing(name):
            console.print(f"skipped: {name}: {reason}", style="yellow", highlight=False)
            continue
        outcomes.append(_run(name, present, command, console))
        print_outcome(console, outcomes[-1])
    report = Report(facts, described, outcomes)
    if command.json:
        command.json.write_text(report.as_json(), encoding="utf-8")
    if command.markdown:
        command.markdown.write_text(report.as_markdown(), encoding="utf-8")
    return 0 if all(outcome.is_correct for outcome in outcomes) else 1


def _present(console: Console, peers: Sequence[str]) -> list[str]:
    """reactive_db and the peers that are installed; each reason why another is not, printed once."""
    reasons = {name: systems.system(name).missing() for name in (OURS, *peers)}
    for reason in dict.fromkeys(filter(None, reasons.values())):
        console.print(f"skipped: {reason}", style="yellow", highlight=False)
    return [name for name, reason in reasons.items() if reason is None]


def _missing(name: str) -> str | None:
    """Why a workload cannot run here and what would change that, or None; it says so if it needs something itself."""
    missing: Callable[[], str | None] = getattr(importlib.import_module(WORKLOADS[name]), "missing", lambda: None)
    return missing()


def _run(name: str, present: Sequence[str], command: argparse.Namespace, console: Console) -> Outcome:
    """All rounds of one workload. The systems take turns inside a round, so a slow minute hits all of them."""
    workload = cast(Workload, importlib.import_module(WORKLOADS[name]))
    rounds: list[list[Measurement]] = []
    for number in range(command.rounds):
        measurements: list[Measurement] = []
        for system in (each for each in workload.SYSTEMS if each in present):
            with console.status(f"{name} {system}, round {number + 1} of {command.rounds}") as status:
                measurements += _measure(workload, system, command, status.update)
        rounds.append(measurements)
    verdicts = [judge(goal, rounds, scale=command.scale) for goal in workload.GOALS]
    return Outcome(name, workload.TITLE, workload.ABOUT, workload.COLUMNS, combine(rounds), verdicts)


def _measure(
    workload: Workload, system: str, command: argparse.Namespace, tell: Callable[[str], object]
) -> list[Measurement]:
    """One round of one system in a directory of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=command.directory, ignore_cleanup_errors=True) as folder:
        directory = Path(folder)
        directory.chmod(0o755)  # PostgreSQL's own user has to pass through
        try:
            return workload.run(system, Options(directory, command.seconds, command.scale, tell))
        except FreshProcessError as error:
            return [Measurement(system, "", checks=[Check("ran to its end", False, str(error))])]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    peers = [name for name in systems.MODULES if name != OURS]
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", type=_workload, help=", ".join(WORKLOADS))
    parser.add_argument("--seconds", type=float, default=3.0, help="of load_sessions, and of each mode of W1 (3)")
    parser.add_argument("--rounds", type=int, default=1, help="repeat everything and take medians (1)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of all but W1 and W2 (1 = full)")
    parser.add_argument("--peers", type=_peers, default=peers, help=f"comma separated, or none: {','.join(peers)}")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure, check and goal as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown")
    return parser


def _workload(text: str) -> str:
    found = {name.lower(): name for name in WORKLOADS}.get(text.lower())
    if found is None:
        raise argparse.ArgumentTypeError(f"no workload {text!r}; there are {', '.join(WORKLOADS)}")
    return found


def _peers(text: str) -> list[str]:
    names = [] if text == "none" else text.split(",")
    for name in names:
        if name not in systems.MODULES or name == OURS:
            raise argparse.ArgumentTypeError(f"no peer {name!r}")
    return names


if __name__ == "__main__":
    sys.exit(main())
