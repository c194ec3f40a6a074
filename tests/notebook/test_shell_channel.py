"""A request whose notice was used up is answered all the same."""

from __future__ import annotations

from typing import Any

SECONDS_MAX = 30

DEAFEN = """
import time, zmq

kernel = get_ipython().kernel

def deafen():
    # What a reply does at the wrong moment: it takes the socket's one notice of the request that has just arrived.
    time.sleep(0.5)
    kernel.shell_stream.socket.getsockopt(zmq.EVENTS)

kernel.shell_channel_thread.io_loop.add_callback(deafen)
"""


def test_a_request_that_lies_unread_is_found(page: Any) -> None:
    client = page._client
    first = client.execute(DEAFEN)
    while True:
        message = client.get_iopub_msg(timeout=SECONDS_MAX)
        idle = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
        if idle and message["parent_header"].get("msg_id") == first:
            break
    second = client.execute("6 * 7")  # arrives while the channel sleeps
    waiting = {first, second}
    while waiting:
        waiting.discard(client.get_shell_msg(timeout=SECONDS_MAX)["parent_header"]["msg_id"])
