"""`reactive-db run-notebook IN OUT`: a notebook run headless, and saved as it stands at its end.

What a live output shows at the end of the last cell is what OUT has: the extension settles it there, in the kernel.
nbclient and what comes with it are imported inside functions, because they are an extra of the package.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from reactive_db.presentation import failure_in, first_line, shortened

if TYPE_CHECKING:
    from nbclient import NotebookClient
    from nbformat import NotebookNode

_WIDGET_VIEW: Final = "application/vnd.jupyter.widget-view+json"
_WIDGET_PART: Final = re.compile(r'"IPY_MODEL_([0-9a-f-]+)"')
_DEFAULT_KERNEL: Final = "python3"
_SKIP_TAG: Final = "skip-execution"
_OUTPUT_SECONDS_MAX: Final = 60
"""For the outputs of a cell that has ended; nbclient's own 4 seconds lose those of a busy machine, silently."""

_LINE_CHARACTERS: Final = 60
_ERROR_CHARACTERS: Final = 400


@click.command(short_help="Run a notebook from top to bottom and save it with its outputs.")
@click.argument("source", metavar="IN", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--timeout", type=click.IntRange(min=1), metavar="SECONDS", help="How long one cell may take; else no limit."
)
@click.option("--kernel", metavar="NAME", help="Run it with this kernel; else with the notebook's own, or python3.")
def run_notebook(source: Path, target: Path, timeout: int | None, kernel: str | None) -> None:
    """Run the notebook IN without a browser, in its own folder, and save it as OUT, which may be IN itself.

    OUT has the outputs of this run only, its live outputs in their last state. The first cell that raises ends the
    run; OUT is written then, too. Exit code 0: every cell ran and every live output is right, 1: not so, 2: there was
    nothing to run, or nowhere to save it.
    """
    if find_spec("nbclient") is None:
        raise click.ClickException(
            "notebooks are run by nbclient, which is not installed. Run: pip install 'reactive-db[notebook]'"
        )
    notebook = _read(source)
    _check_folder(target)
    client = _started(notebook, source.resolve().parent, timeout, kernel)
    try:
        failure = _run_and_save(client, target)
    except KeyboardInterrupt:
        click.echo(f"Stopped. What ran is saved in {target}.")
        sys.exit(130)
    failure = failure or "\n".join(_failed_live_outputs(notebook))
    if failure:
        raise click.ClickException(f"{failure}\nWhat ran is saved in {target}.")
    click.echo(f"Ran every cell of {source}; saved in {target}.")


def _read(source: Path) -> NotebookNode:
    import nbformat

    try:
        notebook: NotebookNode = nbformat.read(source, as_version=4)  # type: ignore[no-untyped-call]
        nbformat.validate(notebook)
    except Exception as error:  # whatever is in the file: nbformat stumbles over it in many ways
        why = shortened(str(error), _ERROR_CHARACTERS)
        raise click.BadParameter(f"{source} is no notebook: {why}", param_hint="'IN'") from None
    return notebook


def _check_folder(target: Path) -> None:
    """Refuse what could not be written before anything runs: that can take hours."""
    folder = target.resolve().parent
    if not folder.is_dir():
        raise click.BadParameter(f"there is no directory {target.parent}", param_hint="'OUT'")
    if not os.access(folder, os.W_OK):
        raise click.BadParameter(f"the directory {target.parent} is not writable", param_hint="'OUT'")


def _started(notebook: NotebookNode, folder: Path, timeout: int | None, kernel: str | None) -> NotebookClient:
    """A client with its kernel; whoever uses it ends both, by its `setup_kernel`."""
    from nbclient import NotebookClient

    client = NotebookClient(
        notebook,
        timeout=timeout,
        iopub_timeout=_OUTPUT_SECONDS_MAX,
        kernel_name=_kernel_name(notebook, kernel),
        record_timing=False,  # the same notebook run twice should be the same file
        skip_cells_with_tag=_SKIP_TAG,
        resources={"metadata": {"path": str(folder)}},
    )
    client.create_kernel_manager()
    with tempfile.TemporaryFile() as log:  # what a kernel says about itself matters only if it does not start
        try:
            client.start_new_kernel(stderr=log)
            client.start_new_kernel_client()
        except (OSError, RuntimeError) as error:
            log.seek(0)
            said = log.read().decode("utf-8", "replace")
            raise click.ClickException(f"the kernel {client.kernel_name!r} did not start: {error}\n{said}") from None
    return client


def _kernel_name(notebook: NotebookNode, asked: str | None) -> str:
    from jupyter_client.kernelspec import find_kernel_specs

    installed = find_kernel_specs()
    own = notebook.metadata.get("kernelspec", {}).get("name", _DEFAULT_KERNEL)
    name = asked or own
    if asked is None and own not in installed:
        name = _DEFAULT_KERNEL
        click.echo(f"The notebook's kernel {own!r} is not installed here; {name} runs it.", err=True)
    if name not in installed:
        known = ", ".join(sorted(installed)) or "none"
        raise click.BadParameter(f"there is no kernel {name!r}; installed: {known}", param_hint="'--kernel'")
    return name


def _run_and_save(client: NotebookClient, target: Path) -> str:
    """Run every cell until one fails, write `target` in any case, and say what failed; nothing if nothing did."""
    with client.setup_kernel():
        _clear(client.nb)
        try:
            return _run(client)
        except KeyboardInterrupt:
            # nbclient leaves the request of the stopped cell behind; asyncio would report its end with a traceback.
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)
            client.shutdown_kernel = "immediate"  # a busy kernel would be asked for seconds; commits are durable
            raise
        finally:
            _forget_closed_widgets(client)
            client.set_widgets_metadata()
            _write(client.nb, target)


def _clear(notebook: NotebookNode) -> None:
    """Forget the outputs of earlier runs: below a cell that fails they would pass for outputs of this one."""
    for _, cell in _code_cells(notebook):
        if _SKIP_TAG not in cell.metadata.get("tags", []):
            cell.outputs, cell.execution_count = [], None


def _run(client: NotebookClient) -> str:
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    cells = list(_code_cells(client.nb))
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(cells))
        for number, (index, cell) in enumerate(cells, 1):
            progress.update(task, description=first_line(cell.source, _LINE_CHARACTERS))
            failure = _failure_of(client, index)
            if failure:
                return f"{_named(number, cell)} {failure}"
            progress.advance(task)
        progress.update(task, description="")
    return ""


def _failure_of(client: NotebookClient, index: int) -> str:
    """Run one cell; what went wrong, in words."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    try:
        client.execute_cell(client.nb.cells[index], index)
    except CellExecutionError as error:
        return f"raised {error.ename}: {shortened(error.evalue, _ERROR_CHARACTERS)}"
    except CellTimeoutError:
        return f"did not end within {client.timeout} s (--timeout)."
    except DeadKernelError:
        return "ended its kernel: the process died."
    return ""


def _forget_closed_widgets(client: NotebookClient) -> None:
    """Keep the state of widgets that an output shows, and of their parts; nbclient keeps every one there ever was."""
    outputs = [output for _, cell in _code_cells(client.nb) for output in cell.outputs]
    views = [output.get("data", {}).get(_WIDGET_VIEW, {}) for output in outputs]
    shown: set[str] = set()
    found = {view["model_id"] for view in views if "model_id" in view}
    while found:
        shown |= found
        states = json.dumps([client.widget_state[name] for name in found if name in client.widget_state])
        found = set(_WIDGET_PART.findall(states)) - shown
    client.widget_state = {name: state for name, state in client.widget_state.items() if name in shown}


def _failed_live_outputs(notebook: NotebookNode) -> Iterator[str]:
    for number, (_, cell) in enumerate(_code_cells(notebook), 1):
        for output in cell.outputs:
            failure = failure_in(output.get("metadata", {}))
            if failure is not None:
                yield f"a live output of {_named(number, cell)} failed:\n{failure}"


def _code_cells(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """The code cells and their places among all cells."""
    return ((index, cell) for index, cell in enumerate(notebook.cells) if cell.cell_type == "code")


def _named(number: int, cell: NotebookNode) -> str:
    return f"code cell {number} (`{first_line(cell.source, _LINE_CHARACTERS)}`)"


def _write(notebook: NotebookNode, target: Path) -> None:
    """Replace `target` in one step: whoever reads it finds the earlier notebook or the whole new one."""
    import nbformat

    target = target.resolve()  # a link stays one
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        nbformat.write(notebook, new)  # type: ignore[no-untyped-call]
        if target.exists():
            shutil.copymode(target, new)
        new.replace(target)
    except OSError as error:
        raise click.ClickException(f"{target} could not be written: {error}") from None
    finally:
        new.unlink(missing_ok=True)
