"""A page of a notebook without a browser: runs cells, and keeps what each live cell shows, as a front end would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.kernels import Kernel, Message

LIVE = "reactive_db.live"  # the comm to our labextension
RATE_NOTE = "IOPub message rate exceeded"  # the server's, in place of what it dropped


class Page:
    """One page.

    Attributes:
        shown: the text of each cell that shows something.
        updates: how many messages have replaced what cells show.
        is_limited: the server has said that it dropped messages.
        listener: called with each message, after it is shown.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.shown: dict[str, str] = {}
        self.updates = 0
        self.is_limited = False
        self.listener: Callable[[Message], None] = lambda message: None
        self._kernel = kernel
        self._cells: dict[str, str] = {}  # by the request that ran them
        self._displays: dict[str, str] = {}  # the cell of each display
        self._open: dict[str, set[str]] = {}  # requests, and what is still to come of each
        self._live = ""
        self._is_whole = False

    def run(self, code: str, cell: str = "") -> None:
        """Run a cell to its end."""
        self.finish(self.start(code, cell))

    def start(self, code: str, cell: str = "") -> str:
        """Begin to run a cell; its request."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        request = self._kernel.send("execute_request", content, {"cellId": cell} if cell else {})
        self._cells[request] = cell
        # Both: ipykernel 7.3 can lose a request that comes before its reply to the one before was taken.
        self._open[request] = {"execute_reply", "status"}
        return request

    def finish(self, request: str) -> None:
        """Take messages until the cell has ended."""
        while self._open[request]:
            self.take()
        del self._open[request]

    def hello(self) -> None:
        """From now on, be a page that has our labextension: it is told of all cells in one frame."""
        self.send_to(self._live, {"type": "hello"})
        while not self._is_whole:
            self.take()

    def send_to(self, comm: str, data: Mapping[str, Any]) -> None:
        """Send a message to a comm that the kernel has opened."""
        self._kernel.send("comm_msg", {"comm_id": comm, "data": data}, {})

    def take(self) -> Message:
        """Take one message and show what it says.

        Raises:
            RuntimeError: it is the error of a cell.
        """
        message = self._kernel.receive()
        content = message.content
        match message.kind:
            case "status" | "execute_reply":
                self._end(message)
            case "comm_open" if content["target_name"] == LIVE:
                self._live = content["comm_id"]
            case "comm_msg" if content["comm_id"] == self._live:
                self._take_frame(content["data"])
            case "display_data" | "execute_result" | "update_display_data":
                self._show(message)
            case "stream":
                self.is_limited |= RATE_NOTE in content["text"]
            case "error":
                raise RuntimeError(f"{content['ename']}: {content['evalue']}")
        self.listener(message)
        return message

    def _end(self, message: Message) -> None:
        if message.content.get("execution_state", "idle") == "idle":
            self._open.get(message.parent, set()).discard(message.kind)

    def _take_frame(self, frame: Mapping[str, Any]) -> None:
        self._is_whole |= frame.get("is_whole", False)
        self.updates += "live" in frame  # the others only tell the last number again
        for live in frame.get("live", {}).values():
            self.shown[live["cell"]] = _text(live["outputs"])

    def _show(self, message: Message) -> None:
        display = message.content.get("transient", {}).get("display_id", "")
        if message.kind == "update_display_data":
            self.updates += 1
        else:
            self._displays[display] = self._cells.get(message.parent, "")
        self.shown[self._displays.get(display, "")] = _text([message.content])


def _text(outputs: Sequence[Mapping[str, Any]]) -> str:
    """Of printed text and of displays alike."""
    return "\n".join(output.get("text") or output["data"]["text/plain"] for output in outputs).rstrip()
