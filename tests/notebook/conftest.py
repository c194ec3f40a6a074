"""A kernel to test with, and a page that shows what it sends, as a notebook's front end does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parent.parent.parent
SECONDS_MAX = 60

PROGRAM = """
import reactive_db as rdb

class Item(rdb.Document, table="items"):
    name: str
    n: int = 0

@rdb.query
def items(ctx: rdb.QueryCtx) -> list[Item]:
    return ctx.db.query(Item).collect()

@rdb.mutation
def add(ctx: rdb.MutationCtx, name: str, n: int = 0) -> rdb.Id[Item]:
    return ctx.db.insert(Item(name=name, n=n))

@rdb.mutation
def clear(ctx: rdb.MutationCtx) -> None:
    for item in ctx.db.query(Item).collect():
        ctx.db.delete(item.id)
"""


class Shown:
    """One output in the page.

    Attributes:
        data: its present content by MIME type.
        updates: how often it was replaced.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.updates = 0

    @property
    def text(self) -> str:
        return str(self.data.get("text/plain", ""))

    @property
    def html(self) -> str:
        return str(self.data.get("text/html", ""))


class Cell:
    """What a run of a cell has shown so far."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.streams = ""
        self.error = ""
        self.status = ""
        self.number = 0


class Page:
    """A front end: runs cells, keeps their outputs, and replaces those that the kernel replaces."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self._client = client
        self._cells: dict[str, Cell] = {}
        self._by_display_id: dict[str, list[Shown]] = {}

    def run(self, code: str, cell_id: str | None = None, deleted: list[str] | None = None) -> Cell:
        """Run a cell to its end. JupyterLab names the cell, nbclient does not."""
        metadata = {} if cell_id is None else {"cellId": cell_id, "deletedCells": deleted or []}
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = self._client.session.msg("execute_request", content, metadata=metadata)
        self._client.shell_channel.send(message)
        cell = self._cells[message["header"]["msg_id"]] = Cell()
        self.wait_until(lambda: cell.status == "idle")
        # ipykernel 7.3 can lose a request that comes before its reply to the one before was taken.
        while self._client.get_shell_msg(timeout=SECONDS_MAX)["parent_header"].get("msg_id") != message["msg_id"]:
            pass
        return cell

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Take messages until `is_so`."""
        while not is_so():
            self._take(self._client.get_iopub_msg(timeout=SECONDS_MAX))

    def _take(self, message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind == "update_display_data":
            for shown in self._by_display_id.get(content["transient"]["display_id"], []):
                shown.data = content["data"]
                shown.updates += 1
            return
        cell = self._cells.get(message["parent_header"].get("msg_id", ""))
        if cell is None:
            return
        if kind in ("display_data", "execute_result"):
            shown = Shown(content["data"])
            cell.shown.append(shown)
            self._by_display_id.setdefault(content.get("transient", {}).get("display_id", ""), []).append(shown)
        elif kind == "stream":
            cell.streams += content["text"]
        elif kind == "error":
            cell.error = f"{content['ename']}: {content['evalue']}"
        elif kind == "execute_input":
            cell.number = content["execution_count"]
        elif kind == "status":
            cell.status = content["execution_state"]


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """One kernel for all tests: starting one takes longer than most of them."""
    folder = tmp_path_factory.mktemp("kernel")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "REACTIVE_DB_HOME": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=environment)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=SECONDS_MAX)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture
def page(kernel: tuple[KernelManager, BlockingKernelClient], tmp_path: Path) -> Iterator[Page]:
    """A page on a kernel that has the extension, the program above, and an empty store `db`."""
    page = Page(*kernel)
    ready = page.run(
        "%reset -f\n%reload_ext reactive_db\n" + PROGRAM + f"\ndb = rdb.connect({str(tmp_path / 'test.rdb')!r})"
    )
    assert ready.error == ""
    yield page
    page.run("db.close()")
