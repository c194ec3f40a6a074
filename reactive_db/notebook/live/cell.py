"""A live cell: code that runs again whenever something it has read changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from reactive_db.notebook.live.capture import capturing, formatting_errors_raised, is_capturing
from reactive_db.notebook.live.cell_code import CellCode, interruptible
from reactive_db.notebook.live.display import LiveDisplay
from reactive_db.notebook.live.executions import Execution, running_number
from reactive_db.notebook.live.outputs import Content, Part, Stream
from reactive_db.notebook.live.reads import Reads
from reactive_db.notebook.live.refresher import Refresher
from reactive_db.notebook.live.widgets import Frames, Widgets
from reactive_db.presentation import first_line
from reactive_db.runtime import Runtime

_LABEL_CHARACTERS: Final = 40


class LiveCell:
    """A `LiveOutput` that runs a cell's code.

    Responsibilities: one run at a time, what it has read, its output or its error in one display. Not: when to run.

    Attributes:
        source: the code.
        number: of the cell's execution, as the notebook shows it.
        runs: how often it ran.
        seconds: how long the last run took.
        has_failed: whether that raised.
    """

    def __init__(
        self,
        shell: Any,
        source: str,
        display: LiveDisplay,
        refresher: Refresher,
        made_by: Execution,
        runtime: Runtime,
    ) -> None:
        self.made_by = made_by
        self.source = source
        self.number = running_number(shell)
        self.label = f"[{self.number}] {first_line(source, _LABEL_CHARACTERS)}"
        self.runs = 0
        self.seconds = 0.0
        self.has_failed = False
        self._runtime = runtime
        self._code = CellCode(shell, source)
        self.names = self._code.names
        self._shell = shell
        self._display = display
        self._refresher = refresher
        self._reads = Reads(refresher.wake)
        self._good: Sequence[Part] = ()
        self._widgets = Widgets()
        self._frames = Frames()

    def run_first(self, *, is_fed: bool) -> None:
        """Run as part of the cell that the user has just run; `is_fed` by other live cells, which assign what it reads.

        Raises:
            Exception: what the code raised, if it follows nothing: no change could mend it.
            KeyboardInterrupt: the user stopped it.
        """
        error = self._run()
        if error is not None and not (isinstance(error, Exception) and (is_fed or len(self._reads))):
            raise error

    @property
    def reads(self) -> int:
        """How many handles its last run read."""
        return len(self._reads)

    def is_stale(self) -> bool:
        return self._reads.is_stale()

    def refresh(self) -> None:
        self._run()

    @property
    def messages(self) -> int:
        return self._display.messages

    def repeat(self) -> None:
        self._display.repeat()

    def pause(self, is_paused: bool) -> None:
        self._display.pause(is_paused)

    def stop(self, error: Exception) -> None:
        self._display.show(Content(self._good, failure=f"{type(error).__name__}: {error}"))
        self.close()

    def close(self) -> None:
        self._reads.close()
        self._display.drop()

    def clear(self) -> None:
        self.close()
        self._frames.close()
        self._widgets.close()

    def _run(self) -> BaseException | None:
        """Run, show the output or the error, and return the error."""
        reads, widgets, failure = Reads(self._refresher.wake), Widgets(), None
        began = self._runtime.monotonic()
        with (
            capturing(self._shell.display_pub) as capture,
            formatting_errors_raised(self._shell),
            reads.following(),
            widgets.made_in(is_capturing),
        ):
            try:
                with interruptible():
                    self._code.run()
            except BaseException as error:  # nothing that a cell raises may end the kernel's loop
                failure = error
        if failure is not None:
            # It may have failed before it read what made it run; that can mend it, too.
            reads.keep(self._reads)
        self._reads.close()
        self._reads = reads
        self.runs += 1
        self.seconds = self._runtime.monotonic() - began
        self.has_failed = failure is not None
        self._show(capture.parts, failure)
        self._keep_widgets(widgets)
        return failure

    def _show(self, parts: Sequence[Part], failure: BaseException | None) -> None:
        if failure is None:
            self._good = self._frames.put(parts)
            self._display.show(Content(self._good), are_widgets_drawn=self._frames.are_drawn)
        else:
            printed = [part for part in parts if isinstance(part, Stream)]
            self._display.show(Content(self._good, printed, self._code.short_traceback(failure)))

    def _keep_widgets(self, made: Widgets) -> None:
        """Close the widgets that earlier runs have made, unless some are still on show; then keep them all."""
        if self._widgets.are_among(self._frames.shown):
            made.take(self._widgets)
        else:
            self._widgets.close()
        self._widgets = made
