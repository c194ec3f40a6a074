"""The code of a cell, compiled once and run as often as need be, as IPython would run it."""

from __future__ import annotations

import ast
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from reactive_db.notebook.live.executions import running_number
from reactive_db.notebook.live.names import names_of

_FRAMES_SHOWN: Final = 4
_PLAIN: Final = {bool, int, float, str}
_TEXT: Final = "text/plain"


class CellCode:
    """Python with IPython's magics; the value of a last expression is displayed.

    Attributes:
        names: what it assigns and reads.

    Raises:
        SyntaxError: `source` is not Python. `await` is one, too: a live cell cannot wait.
    """

    def __init__(self, shell: Any, source: str) -> None:
        self._shell = shell
        text = shell.transform_cell(source)
        self._file = shell.compile.cache(text, running_number(shell), raw_code=source)
        self.names = names_of(text)
        module = shell.transform_ast(shell.compile.ast_parse(text, filename=self._file))
        last = module.body.pop() if module.body and isinstance(module.body[-1], ast.Expr) else None
        self._is_quiet = shell.displayhook.semicolon_at_end_of_expression(text)
        self._statements = shell.compile(module, self._file, "exec")
        self._last = None if last is None else shell.compile(ast.Expression(last.value), self._file, "eval")

    def run(self) -> None:
        """Run it in the user's namespace and display what it shows; raises what it raises."""
        namespace = self._shell.user_ns
        exec(self._statements, namespace)
        value = None if self._last is None else eval(self._last, namespace)
        if value is not None and not self._is_quiet:
            self._display(value)
        _flush_figures()

    def short_traceback(self, error: BaseException) -> str:
        """Where in the cell `error` came from, the way from there, and what it says."""
        frames = list(traceback.extract_tb(error.__traceback__))
        own = next((at for at, frame in enumerate(frames) if frame.filename == self._file), len(frames))
        frames = frames[own:]
        left_out = len(frames) - _FRAMES_SHOWN
        lines = [self._frame_text(frame) for frame in frames]
        if left_out > 0:
            lines[1 : 1 + left_out] = [f"… {left_out} more"]
        return "\n".join([*lines, "".join(traceback.format_exception_only(error)).rstrip()])

    def _frame_text(self, frame: traceback.FrameSummary) -> str:
        known = self._shell.compile.format_code_name(frame.filename)
        place = " ".join(known) if known else Path(frame.filename).name
        inside = f", in {frame.name}" if frame.name != "<module>" else ""
        return f"{place}, line {frame.lineno}{inside}" + (f"\n    {frame.line}" if frame.line else "")

    def _display(self, value: Any) -> None:
        formatter = self._shell.display_formatter
        # IPython asks all twelve formatters, which is half the time of a small cell: 0.2 of 0.4 ms. Numbers and texts
        # have no methods for any but the first, so only somebody who registered a function for them can tell.
        is_plain = type(value) in _PLAIN and not any(
            type(value) in one.type_printers for mime, one in formatter.formatters.items() if mime != _TEXT
        )
        data, metadata = formatter.format(value, include={_TEXT} if is_plain else None)
        if data:
            self._shell.display_pub.publish(data, metadata)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the stop button end the body by KeyboardInterrupt: a kernel ignores it between cells."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _flush_figures() -> None:
    """Display matplotlib's open figures, if it is in use; it would do so only at the end of a cell."""
    backend = sys.modules.get("matplotlib_inline.backend_inline")
    if backend is not None:
        backend.flush_figures()
