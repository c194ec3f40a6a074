"""`%load_ext reactive_db`: what the extension adds to a shell, and takes away again.

In a kernel: handles are shown as live tables, `%%live` makes a cell live, and the end of each cell settles both.
In a shell without a kernel's loop nothing can change by itself: handles are shown as they are, and `%%live` runs its
cell once and says so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from reactive_db.handles import QueryHandle
from reactive_db.inspection import Inspection
from reactive_db.notebook.live.capture import is_capturing
from reactive_db.notebook.live.cell import LiveCell
from reactive_db.notebook.live.command import run_command
from reactive_db.notebook.live.display import LiveDisplay
from reactive_db.notebook.live.executions import current_execution
from reactive_db.notebook.live.pages import Pages
from reactive_db.notebook.live.refresher import Loop, Refresher
from reactive_db.notebook.live.table import LiveTable, table_of
from reactive_db.notebook.pusher import pusher
from reactive_db.notebook.shell_channel import keep_listening
from reactive_db.runtime import SystemRuntime

_WIDGET: Final = ("reactive_db.notebook.widgets.widget", "LiveWidget")
_loaded: dict[Any, Extension] = {}


def load(shell: Any) -> None:
    """Add the extension to an IPython shell; does nothing if it has it already."""
    if shell not in _loaded:
        loop = _main_loop(shell)
        if loop is None:
            shell.register_magic_function(_run_once(shell), "cell", "live")
        if loop is not None:
            _loaded[shell] = Extension(shell, loop)


def unload(shell: Any) -> None:
    """Take the extension away; live outputs stay as they are."""
    extension = _loaded.pop(shell, None)
    if extension is not None:
        extension.close()
    for kind in ("cell", "line"):
        shell.magics_manager.magics[kind].pop("live", None)


class Extension:
    """The live outputs of one kernel."""

    def __init__(self, shell: Any, loop: Loop) -> None:
        self._shell = shell
        self._runtime = SystemRuntime()
        self._pages = Pages(_statics)
        self._stop_listening = keep_listening(shell.kernel)
        self._refresher = Refresher(loop, self._runtime, self._pages.flush)
        shell.register_magic_function(self._live, "line_cell", "live")
        shell.display_formatter.ipython_display_formatter.for_type(QueryHandle, self._show)
        # By name: who uses no widgets need not wait for their import.
        shell.display_formatter.ipython_display_formatter.for_type_by_name(*_WIDGET, self._show_widget)
        shell.display_formatter.ipython_display_formatter.for_type(Inspection, self._show_inspection)
        shell.events.register("pre_run_cell", self._before_cell)
        shell.events.register("post_run_cell", self._after_cell)

    def close(self) -> None:
        self._shell.events.unregister("pre_run_cell", self._before_cell)
        self._shell.events.unregister("post_run_cell", self._after_cell)
        self._shell.display_formatter.ipython_display_formatter.pop(QueryHandle, None)
        self._shell.display_formatter.ipython_display_formatter.pop(".".join(_WIDGET), None)
        self._shell.display_formatter.ipython_display_formatter.pop(Inspection, None)
        self._refresher.remove(lambda output: True)
        self._pages.close()
        self._stop_listening()

    def _live(self, line: str, source: str | None = None) -> None:
        """%%live: run this cell now, and again whenever something it has read changes.

        Reading is: the `.value` of a handle, `db.run(query, …)`, `db.sql(…)`, and a name that another live cell
        assigns. Output, errors and figures are shown in place of the earlier ones. Running the cell again replaces its
        code.

        %live lists the live cells; %live pause, resume and stop take numbers of cells, or none for all.
        """
        if source is None:
            listed = run_command(line, self._refresher)
            self._shell.display_pub.publish(listed.data, listed.metadata)
        else:
            self._run_live(source)

    def _run_live(self, source: str) -> None:
        made_by = current_execution(self._shell)
        cell = LiveCell(self._shell, source, self._display(owns_cell=True), self._refresher, made_by, self._runtime)
        if made_by.cell is None:
            # A front end that does not name its cells: the same code is taken for the same cell.
            self._refresher.clear(lambda output: isinstance(output, LiveCell) and output.source == source)
        self._refresher.add(cell)
        try:
            cell.run_first(is_fed=self._refresher.is_fed(cell))
        except BaseException:
            self._refresher.remove(lambda output: output is cell)
            raise
        self._refresher.ran(cell)

    def _show(self, handle: QueryHandle[Any]) -> None:
        """Show a handle where the running cell is; inside a live cell it is part of that cell's output."""
        if is_capturing():
            part = table_of(handle, handle.error)
            self._shell.display_pub.publish(part.data, part.metadata)
        else:
            made_by = current_execution(self._shell)
            self._refresher.add(LiveTable(handle, self._display(owns_cell=False), self._refresher, made_by))

    def _show_inspection(self, inspection: Inspection) -> None:
        """Show a store at a glance, as a widget that goes when its cell shows something else."""
        from reactive_db.notebook.widgets.inspector import Inspector

        self._show_widget(Inspector(inspection), is_ours=True)

    def _show_widget(self, widget: Any, *, is_ours: bool = False) -> None:
        """Show a widget; its static form is saved with the notebook."""
        from reactive_db.notebook.widgets.shown import ShownWidget

        if is_capturing():
            self._shell.display_pub.publish(widget.static_bundle(), widget.static_metadata())
        else:
            made_by = current_execution(self._shell)
            self._refresher.add(ShownWidget(widget, self._display(owns_cell=False), made_by, is_ours=is_ours))

    def _display(self, *, owns_cell: bool) -> LiveDisplay:
        made_by = current_execution(self._shell)
        return LiveDisplay(self._shell.display_pub, self._pages, made_by, self._runtime, owns_cell=owns_cell)

    def _before_cell(self, info: object) -> None:
        execution = current_execution(self._shell)
        self._refresher.clear(lambda output: execution.replaces(output.made_by))

    def _after_cell(self, result: object) -> None:
        pusher.flush()
        self._refresher.settle()


def _statics(names: Sequence[str]) -> Mapping[str, Any]:
    """The static forms of those of our widgets that have these ids."""
    from reactive_db.notebook.widgets.widget import LiveWidget

    return LiveWidget.static_bundles(names)


def _main_loop(shell: Any) -> Loop | None:
    """The loop that a kernel runs its cells on; None where there is no kernel, or one that has none."""
    loop: Loop | None = getattr(getattr(shell, "kernel", None), "io_loop", None)
    return loop if hasattr(shell.display_pub, "register_hook") else None


def _run_once(shell: Any) -> Any:
    def live(line: str, source: str) -> None:
        """%%live: in this shell, run the cell once; in Jupyter, run it again whenever something it read changes."""
        shell.run_cell(source)
        sys.stdout.write("(A live cell runs again by itself only in a Jupyter kernel; here it ran once.)\n")

    return live
