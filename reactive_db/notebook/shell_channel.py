"""A kernel that does not go deaf.

ipykernel 7 replies on the very socket whose stream waits for requests. A reply that is sent at the moment when a
request arrives uses up the one notice of it, and the request lies unread: the cell stays at [*], a widget does not
answer. Seen once in about thirty notebooks with 7.3. So we look, in the thread that owns the socket.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import zmq
from tornado.ioloop import PeriodicCallback

_LOOK_MS: Final = 200


def keep_listening(kernel: Any) -> Callable[[], None]:
    """Look for requests that lie unread, from now on; returns what ends that. Does nothing for other kernels."""
    thread, stream = getattr(kernel, "shell_channel_thread", None), getattr(kernel, "shell_stream", None)
    if thread is None or stream is None:
        return lambda: None

    def look() -> None:
        if not stream.closed() and stream.socket.getsockopt(zmq.EVENTS) & zmq.POLLIN:
            stream.flush(zmq.POLLIN)

    watch = PeriodicCallback(look, _LOOK_MS)
    thread.io_loop.add_callback(watch.start)
    return lambda: thread.io_loop.add_callback(watch.stop)
