"""`hub.config` adds to a Hub's configuration and keeps what is there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.spawner import Spawner
from traitlets.config import Config

from reactive_db import hub
from reactive_db.server.scopes import SCOPES

ACCESS = "access:services!service=rdb"
READ, WRITE, DEPLOY = SCOPES


def read(c: Config) -> tuple[JupyterHub, Spawner]:
    """The Hub, and a spawner, as they understand the configuration."""
    return JupyterHub(config=c), Spawner(config=c)


def roles(app: JupyterHub) -> dict[str, Any]:
    return {role["name"]: role for role in app.load_roles}


def test_on_an_empty_configuration(tmp_path: Path) -> None:
    c = Config()
    hub.config(c, writers=["ada"], readers="group:class-a", stores=tmp_path, port=8999)
    app, spawner = read(c)
    (service,) = app.services
    assert service["name"] == "rdb"
    assert service["url"] == "http://127.0.0.1:8999"
    assert service["command"][-3:] == ["serve", "--stores", str(tmp_path)]
    assert service["oauth_client_allowed_scopes"] == list(SCOPES)
    assert app.custom_scopes == SCOPES
    assert roles(app) == {
        "reactive-db-read": {
            "name": "reactive-db-read",
            "scopes": [ACCESS, READ],
            "users": [],
            "groups": ["class-a"],
        },
        "reactive-db-write": {
            "name": "reactive-db-write",
            "scopes": [ACCESS, WRITE],
            "users": ["ada"],
            "groups": [],
        },
    }
    assert spawner.environment == {"REACTIVE_DB_HUB_URL": "http://127.0.0.1:8999/reactive-db"}
    assert set(spawner.server_token_scopes) == {"users:activity!user", "access:servers!server", ACCESS, *SCOPES}


def test_what_is_set_stays() -> None:
    c = Config()
    c.JupyterHub.services = [{"name": "idle"}]
    c.JupyterHub.custom_scopes = {"custom:mine:read": {"description": "mine"}}
    c.JupyterHub.load_roles = [{"name": "mine", "scopes": ["self"]}]
    c.Spawner.environment = {"X": "1"}
    c.Spawner.server_token_scopes = ["users:activity!user", "custom:mine:read"]
    hub.config(c, admins=["dean"])
    app, spawner = read(c)
    assert [service["name"] for service in app.services] == ["idle", "rdb"]
    assert app.custom_scopes.keys() == {"custom:mine:read", *SCOPES}
    assert list(roles(app)) == ["mine", "reactive-db-deploy"]
    assert spawner.environment.keys() == {"X", "REACTIVE_DB_HUB_URL"}
    assert spawner.server_token_scopes == ["users:activity!user", "custom:mine:read", ACCESS, *SCOPES]


def test_token_scopes_that_are_made_for_each_server_stay() -> None:
    c = Config()
    c.Spawner.server_token_scopes = lambda spawner: ["users:activity!user", f"of {spawner.name}"]
    hub.config(c)
    _, spawner = read(c)
    made = spawner.server_token_scopes(SimpleNamespace(name="lab"))
    assert made == ["users:activity!user", "of lab", ACCESS, *SCOPES]


def test_what_was_only_added_to_stays_too() -> None:
    c = Config()
    c.JupyterHub.services.append({"name": "idle"})
    c.Spawner.environment.update({"X": "1"})
    c.Spawner.server_token_scopes.append("users:activity!user")
    hub.config(c)
    c.JupyterHub.services.append({"name": "later"})
    app, spawner = read(c)
    assert [service["name"] for service in app.services] == ["idle", "rdb", "later"]
    assert spawner.environment.keys() == {"X", "REACTIVE_DB_HUB_URL"}
    assert spawner.server_token_scopes == ["users:activity!user", ACCESS, *SCOPES]


@pytest.mark.parametrize("given", [[], [{"name": "user", "scopes": ["self", "shares!user"]}]], ids=["unset", "set"])
def test_everybody_has_the_role_that_all_users_have(given: list[dict[str, Any]]) -> None:
    c = Config()
    if given:
        c.JupyterHub.load_roles = given
    hub.config(c, readers=hub.EVERYBODY, writers=[hub.EVERYBODY, "ada"])
    app, _ = read(c)
    found = roles(app)
    before = ["self", "shares!user"] if given else ["self"]
    assert found["user"]["scopes"] == [*before, ACCESS, READ, ACCESS, WRITE]
    assert "users" not in found["user"]
    assert found["reactive-db-write"]["users"] == ["ada"]
    assert "reactive-db-read" not in found


def test_every_address_is_none_to_be_told() -> None:
    c = Config()
    with pytest.raises(ValueError, match=r'such as url="http://hub\.internal:8910"'):
        hub.config(c, host="0.0.0.0")
    assert c == Config()


def test_servers_elsewhere_are_told_another_address() -> None:
    c = Config()
    hub.config(c, host="0.0.0.0", url="http://hub.internal:8910/")
    app, spawner = read(c)
    assert app.services[0]["url"] == "http://0.0.0.0:8910"
    assert spawner.environment == {"REACTIVE_DB_HUB_URL": "http://hub.internal:8910/reactive-db"}
