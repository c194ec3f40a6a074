"""One call in `jupyterhub_config.py` gives all users of a JupyterHub shared stores, with roles."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from reactive_db.remote.address import ENDPOINT, HUB_VARIABLE
from reactive_db.server.scopes import SCOPE, SCOPES

__all__ = ["EVERYBODY", "config"]

EVERYBODY: Final = "everybody"
"""Instead of names: every user of the Hub."""

SERVICE: Final = "rdb"
"""The name of the service, which the Hub has at `/services/rdb/`."""

_GROUP: Final = "group:"
_ACCESS: Final = f"access:services!service={SERVICE}"
_OWN_SERVER: Final = ("users:activity!user", "access:servers!server")
"""What a user's server may do at the Hub where nobody has set anything else; the Hub wants it said again."""

_EVERY_ADDRESS: Final = {"", "0.0.0.0", "::"}

Names = str | Iterable[str]


def config(
    c: Any,
    *,
    writers: Names = (),
    readers: Names = (),
    admins: Names = (),
    stores: str | os.PathLike[str] = "stores",
    port: int = 8910,
    host: str = "127.0.0.1",
    url: str | None = None,
) -> None:
    """Add the service, its scopes and roles, and what users' servers need, to the configuration of a JupyterHub.

    Call it at the end of `jupyterhub_config.py`: it adds to what is set there, and what is set later replaces it.

    Args:
        c: the configuration, as `jupyterhub_config.py` has it.
        writers: who may read and write: names of users, `"group:…"` for the members of a group of the Hub, or
            `hub.EVERYBODY`.
        readers: who may only read.
        admins: who may do that and run SQL in the server itself, besides reading and writing.
        stores: the folder of the stores, made if there is none.
        port: where the service listens.
        host: on which of the machine's addresses; `"0.0.0.0"` if users' servers are on other machines or in containers.
        url: how users' servers reach the service, `"http://hub:8910"`, if not at `host` and `port`.

    Raises:
        ValueError: `host` stands for every address, and `url` does not say which one users' servers are to take.
    """
    if url is None and host in _EVERY_ADDRESS:
        raise ValueError(
            f"host={host!r} is every address of this machine. Say which one users' servers reach, such as "
            f'url="http://hub.internal:{port}".'
        )
    _setting(c.JupyterHub, "services", []).append(_service(Path(stores).expanduser().resolve(), host, port))
    _setting(c.JupyterHub, "custom_scopes", {}).update(SCOPES)
    roles = _setting(c.JupyterHub, "load_roles", [])
    for word, names in (("read", readers), ("write", writers), ("deploy", admins)):
        _add_role(roles, word, [names] if isinstance(names, str) else list(names))
    _add_token_scopes(c.Spawner, [_ACCESS, *SCOPES])
    address = (url or f"http://{host}:{port}").rstrip("/")
    _setting(c.Spawner, "environment", {})[HUB_VARIABLE] = f"{address}/{ENDPOINT}"


def _setting(section: Any, name: str, empty: Any) -> Any:
    """What a setting holds by now, for us to add to."""
    found = section.get(name, empty)
    # What was only ever added to is a promise; kept now, it can be looked at.
    section[name] = found.get_value(empty) if hasattr(found, "get_value") else found
    return section[name]


def _service(stores: Path, host: str, port: int) -> dict[str, Any]:
    return {
        "name": SERVICE,
        "url": f"http://{host}:{port}",
        "command": [sys.executable, "-m", "reactive_db.cli", "serve", "--stores", str(stores)],
        "oauth_client_allowed_scopes": list(SCOPES),
        "oauth_no_confirm": True,  # it is the Hub's own
    }


def _add_role(roles: list[dict[str, Any]], word: str, names: list[str]) -> None:
    """Give those named the scope of that word, and access to the service."""
    scopes = [_ACCESS, SCOPE + word]
    if EVERYBODY in names:
        _everybodys(roles)["scopes"].extend(scopes)
        names = [name for name in names if name != EVERYBODY]
    if names:
        roles.append(
            {
                "name": f"reactive-db-{word}",
                "scopes": scopes,
                "users": [name for name in names if not name.startswith(_GROUP)],
                "groups": [name.removeprefix(_GROUP) for name in names if name.startswith(_GROUP)],
            }
        )


def _everybodys(roles: list[dict[str, Any]]) -> dict[str, Any]:
    """The role that the Hub gives every user; to extend it is to state it in full."""
    found = next((role for role in roles if role["name"] == "user"), None)
    if found is None:
        found = {"name": "user", "scopes": ["self"]}
        roles.append(found)
    return found


def _add_token_scopes(spawner: Any, scopes: list[str]) -> None:
    """Let the token of a user's server carry these scopes, as far as its user has them."""
    given = _setting(spawner, "server_token_scopes", [])
    if callable(given):
        spawner.server_token_scopes = _both(given, scopes)
    else:
        spawner.server_token_scopes = [*(given or _OWN_SERVER), *scopes]


def _both(given: Callable[[Any], Any], scopes: list[str]) -> Callable[[Any], Any]:
    return lambda spawner: [*(given(spawner) or _OWN_SERVER), *scopes]
