"""Which kernel this process is, if it is one, and its proof of that to the Jupyter server that started it."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

CONTEXT: Final = b"reactive_db/1|"
"""Part of what is signed: the same key signs a kernel's messages, and no proof may pass for one of those."""

_FILE: Final = re.compile(r"kernel-(?P<id>.+)\.json")


@dataclass(frozen=True, slots=True)
class Kernel:
    """This process as a kernel.

    Attributes:
        id: as its server knows it.
        key: of its connection file, which only it and its server have.
    """

    id: str
    key: bytes = field(repr=False)

    def proof(self, nonce: str) -> str:
        """What shows a server that sent `nonce` which kernel this is."""
        return proof(self.key, self.id, nonce)


def proof(key: bytes, kernel: str, nonce: str) -> str:
    """The HMAC over a nonce and a kernel's id, with the key that the kernel and its server share."""
    return hmac.new(key, CONTEXT + f"{nonce}|{kernel}".encode(), hashlib.sha256).hexdigest()


def this_kernel() -> Kernel | None:
    """This process, None if it is no kernel."""
    # Whoever is a kernel has imported this; nobody else needs to.
    module: Any = sys.modules.get("ipykernel.kernelapp")
    if module is None or not module.IPKernelApp.initialized():
        return None
    app = module.IPKernelApp.instance()
    match = _FILE.fullmatch(Path(app.connection_file).name)
    return None if match is None else Kernel(match["id"], bytes(app.session.key))


def description() -> str:
    """What this process is, for people: the notebook, or the program."""
    notebook = os.environ.get("JPY_SESSION_NAME")
    return notebook or Path(sys.argv[0] or "python").name
