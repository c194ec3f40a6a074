"""`reactive-db serve`: stores for other processes and other machines, without a Jupyter server."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from reactive_db.database import stores_folder
from reactive_db.limits import HUB_RECHECK_SECONDS, Limits
from reactive_db.remote.address import ENDPOINT
from reactive_db.runtime import SystemRuntime

_PORT: Final = 8910
_TOKEN_BYTES: Final = 24
_SECRET_BYTES: Final = 32
_EVERY_ADDRESS: Final = {"", "0.0.0.0", "::"}


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Which of this machine's addresses to listen on.")
@click.option(
    "--port",
    default=_PORT,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="Where to listen; 0: any free port.",
)
@click.option(
    "--token",
    envvar="REACTIVE_DB_TOKEN",
    metavar="TOKEN",
    help="What clients have to show. Better set in $REACTIVE_DB_TOKEN, as others on this machine can read command "
    "lines. Else one is made up and shown.",
)
@click.option(
    "--stores",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The folder of the stores; else $REACTIVE_DB_HOME, or the stores folder of the user.",
)
@click.option(
    "--recheck",
    default=HUB_RECHECK_SECONDS,
    show_default=True,
    type=click.FloatRange(0.1),
    metavar="SECONDS",
    help="As a service of JupyterHub: how often to ask what those who are connected may.",
)
def serve(host: str, port: int, token: str | None, stores: Path | None, recheck: float) -> None:
    """Serve the stores of a folder over the network, until Ctrl-C or SIGTERM.

    Clients say `rdb.connect("http://HOST:PORT/reactive-db/NAME", token="…")`. Whoever has the token may read and write
    every store of the folder, and make new ones.

    The connection is not encrypted: where others can listen, put a proxy with TLS in front, or use an SSH tunnel.

    Started by JupyterHub as a service, it listens where the Hub says, and the Hub says who is there and what they may;
    `reactive_db.hub.config` sets that up.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    for name in ("tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    folder = (stores or stores_folder()).expanduser().resolve()
    is_of_hub = "JUPYTERHUB_SERVICE_PREFIX" in os.environ
    try:
        if is_of_hub:
            _serve_hub(folder, recheck)
        else:
            _serve_token(folder, host, port, token)
    except ImportError as error:
        extra = "hub" if is_of_hub else "serve"
        raise click.ClickException(f"{error}. Install it for this Python: pip install 'reactive-db[{extra}]'") from None


# What only this command needs is imported here: others need not wait for it.


def _serve_token(folder: Path, host: str, port: int, given: str | None) -> None:
    from reactive_db.server.service import TokenIdentity

    runtime = SystemRuntime()
    token = given or runtime.random_bytes(_TOKEN_BYTES).hex()
    identity = TokenIdentity(token, secret=runtime.random_bytes(_SECRET_BYTES))
    shown = "…" if given else token  # one that was given is a secret that whoever needs it has

    def announce(port: int) -> None:
        name = socket.gethostname() if host in _EVERY_ADDRESS else host
        address = f"http://{name}:{port}/{ENDPOINT}/course"
        click.echo(f"Serving the stores of {folder}. To stop, press Ctrl-C. In Python elsewhere:\n")
        click.echo(f"    import reactive_db as rdb\n    db = rdb.connect({address!r}, token={shown!r})\n")

    _run(identity, folder, host, port, HUB_RECHECK_SECONDS, announce)


def _serve_hub(folder: Path, recheck: float) -> None:
    from reactive_db.server.hub_identity import HubIdentity

    address = urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL", ""))
    if not address.hostname or not address.port:
        raise click.ClickException(
            "the Hub does not say where to listen. Give the service a `url` with a port, such as "
            f"`http://127.0.0.1:{_PORT}`; `reactive_db.hub.config` does."
        )

    def announce(port: int) -> None:
        click.echo(f"Serving the stores of {folder} to the users of JupyterHub, on port {port}.")

    _run(HubIdentity(), folder, address.hostname, address.port, recheck, announce)


def _run(identity: Any, folder: Path, host: str, port: int, recheck: float, announce: Callable[[int], None]) -> None:
    from reactive_db.server.service import Service, without_tokens
    from reactive_db.server.stores import Stores, named_in

    for handler in logging.getLogger().handlers:
        handler.addFilter(without_tokens)
    runtime = SystemRuntime()
    service = Service(identity, Stores(runtime, Limits(), named_in(folder)), runtime, recheck)
    try:
        asyncio.run(service.run(host, port, announce))
    except KeyboardInterrupt:  # where a signal cannot be waited for
        pass
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host}:{port}: {error.strerror or error}. Pass another --port, or end what is there."
        ) from None
