"""Kernels' sockets answer at once and carry the user's real name; each can be turned off."""

from __future__ import annotations

import pytest

from tests.server.conftest import Start
from tests.server.jupyter import LEGACY, V1, JupyterServer
from tests.server.probe import USER

WHO_RUNS = "print(get_ipython().get_parent()['header']['username'])"
LISTEN_TO_COMM = """
said = []

def listen(comm, message):
    comm.on_msg(said.append)

get_ipython().kernel.comm_manager.register_target("names", listen)
"""
WHO_SAID = """
for message in said:
    print(message["header"]["username"], message["content"]["data"], [bytes(each) for each in message["buffers"]])
"""
FORGED = "ada"


def test_kernel_sockets_answer_at_once(jupyter: JupyterServer) -> None:
    with jupyter.connection():
        sockets = jupyter.ask("probe/sockets")["sockets"]
    assert [socket["is_prompt"] for socket in sockets] == [True]


@pytest.mark.parametrize("protocol", [V1, LEGACY], ids=["v1", "legacy"])
@pytest.mark.parametrize("claimed", ["", FORGED])
def test_who_runs_a_cell_is_known_and_cannot_be_forged(jupyter: JupyterServer, protocol: str, claimed: str) -> None:
    with jupyter.connection(protocol, username=claimed) as kernel:
        assert kernel.run(WHO_RUNS) == USER


@pytest.mark.parametrize("protocol", [V1, LEGACY], ids=["v1", "legacy"])
@pytest.mark.parametrize("buffers", [[], [b"one", b"\x00two"]], ids=["bare", "with buffers"])
def test_so_is_who_moves_a_widget(jupyter: JupyterServer, protocol: str, buffers: list[bytes]) -> None:
    with jupyter.connection(protocol, username=FORGED) as kernel:
        kernel.run(LISTEN_TO_COMM)
        comm = {"comm_id": f"{protocol} {len(buffers)}"}
        kernel.send("comm_open", {**comm, "target_name": "names", "data": {}})
        kernel.send("comm_msg", {**comm, "data": {"x": "é"}}, buffers=buffers)
        assert kernel.run(WHO_SAID) == f"{USER} { ({'x': 'é'}) } {buffers}"


def test_prompt_kernels_turns_off_that_they_answer_at_once(start: Start) -> None:
    jupyter = start("c.ReactiveDB.prompt_kernels = False")
    with jupyter.connection(username=FORGED) as kernel:
        assert jupyter.ask("probe/sockets")["sockets"] == [{"class": "StampingConnection", "is_prompt": False}]
        assert kernel.run(WHO_RUNS) == USER


def test_stamps_users_turns_the_names_off(start: Start) -> None:
    jupyter = start("c.ReactiveDB.stamps_users = False")
    with jupyter.connection(username=FORGED) as kernel:
        assert jupyter.ask("probe/sockets")["sockets"] == [{"class": "PromptConnection", "is_prompt": True}]
        assert kernel.run(WHO_RUNS) == FORGED


def test_with_both_off_the_servers_own_connection_stays(start: Start) -> None:
    jupyter = start("c.ReactiveDB.stamps_users = False", "c.ReactiveDB.prompt_kernels = False")
    with jupyter.connection():
        sockets = jupyter.ask("probe/sockets")["sockets"]
    assert sockets == [{"class": "ZMQChannelsWebsocketConnection", "is_prompt": False}]
    assert "connection class" not in jupyter.log


def test_a_connection_class_of_the_users_own_is_left_alone(start: Start) -> None:
    jupyter = start('c.ServerApp.kernel_websocket_connection_class = "tests.server.probe.OwnConnection"')
    with jupyter.connection():
        sockets = jupyter.ask("probe/sockets")["sockets"]
    assert sockets == [{"class": "OwnConnection", "is_prompt": False}]
    (said,) = [line for line in jupyter.log.splitlines() if "connection class" in line]
    assert "tests.server.probe.OwnConnection" in said
    assert "Derive it from reactive_db.server.kernel_connection.PromptStampingConnection" in said
