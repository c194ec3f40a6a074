"""Frames on the websocket: their heads, and their way from workers to the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from tornado.ioloop import IOLoop
from websockets.extensions import Extension
from websockets.frames import Frame, Opcode

from reactive_db.server.sender import Sender
from reactive_db.server.sync_socket import _head

FRAMES = 200


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("is_text", [False, True])
def test_the_head_of_a_frame_is_what_a_client_expects(size: int, is_text: bool) -> None:
    opcode = Opcode.TEXT if is_text else Opcode.BINARY
    expected = Frame(opcode, b"x" * size).serialize(mask=False, extensions=list[Extension]())
    assert _head(size, is_text) + b"x" * size == expected


def test_frames_of_many_threads_arrive_once_and_those_of_each_in_order() -> None:
    heard: dict[int, list[bytes]] = {number: [] for number in range(4)}

    async def run() -> None:
        sender, loop = Sender(), IOLoop.current()

        def say(number: int) -> None:
            for n in range(FRAMES):
                sender.send(loop, heard[number].append, str(n).encode())

        with ThreadPoolExecutor(len(heard)) as pool:
            await asyncio.gather(
                *(asyncio.get_running_loop().run_in_executor(pool, partial(say, number)) for number in heard)
            )
        done = asyncio.Event()
        loop.add_callback(done.set)
        await done.wait()

    asyncio.run(run())
    assert list(heard.values()) == [[str(n).encode() for n in range(FRAMES)]] * len(heard)


def test_a_connection_that_cannot_be_written_to_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[bytes] = []

    def broken(frame: bytes) -> None:
        raise ValueError("mine")

    async def run() -> None:
        sender, loop = Sender(), IOLoop.current()
        sender.send(loop, broken, b"1")
        sender.send(loop, heard.append, b"2")
        done = asyncio.Event()
        loop.add_callback(done.set)
        await done.wait()

    asyncio.run(run())
    assert heard == [b"2"]
    assert "could not be sent" in caplog.text
