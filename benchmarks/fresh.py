"""Calls in a fresh process, so that no measurement sees what another one left behind.

The trap avoided: in one long process the second system inherits the first one's heap, threads, loaded libraries and
collector thresholds, and a cold start is never cold. `call` pickles the arguments to a new interpreter, which
writes its result to a file (its stdout belongs to progress bars). The child and every server it starts share one
process group, which is ended with it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

TIMEOUT_SECONDS = 900
ERROR_LINES = 12
ROOT = Path(__file__).resolve().parent.parent

P = ParamSpec("P")
R = TypeVar("R")


class FreshProcessError(RuntimeError):
    """The child ended without a result; the message is the end of what it wrote."""


def call(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """`function(*args)`, a module's function, in a new interpreter that then ends normally."""
    return _call(function, args, kwargs, "exit")


def call_and_kill(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The same, but the interpreter is ended by SIGKILL the moment the function has returned."""
    return _call(function, args, kwargs, "kill")


def _call(function: Callable[P, R], args: object, kwargs: object, ending: str) -> R:
    with tempfile.TemporaryDirectory(prefix="bench-call-") as folder:
        task, result = Path(folder, "task"), Path(folder, "result")
        task.write_bytes(pickle.dumps((function.__module__, function.__qualname__, args, kwargs)))
        command = [sys.executable, "-m", "benchmarks.fresh", str(task), str(result), ending]
        output = _run(command)
        if not result.exists():
            raise FreshProcessError("\n".join(output.splitlines()[-ERROR_LINES:]) or "the process died silently")
        value: R = pickle.loads(result.read_bytes())
        return value


def _run(command: list[str]) -> str:
    # A session of its own: one signal ends the child together with the servers it started.
    child = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        return child.communicate(timeout=TIMEOUT_SECONDS)[1]
    except subprocess.TimeoutExpired:
        return f"no result after {TIMEOUT_SECONDS} s"
    finally:
        with contextlib.suppress(ProcessLookupError):  # all of them are gone already
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def main(task: str, result: str, ending: str) -> None:
    """The child's side."""
    module, name, args, kwargs = pickle.loads(Path(task).read_bytes())
    value = getattr(importlib.import_module(module), name)(*args, **kwargs)
    partial = Path(result + ".partial")
    partial.write_bytes(pickle.dumps(value))
    partial.rename(result)
    if ending == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
