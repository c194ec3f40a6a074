"""Who is there, as JupyterHub knows them: for `reactive-db serve` as a service of a Hub."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Final

from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from tornado.web import RequestHandler

from reactive_db.server.scopes import SCOPE
from reactive_db.server.sync_socket import EVERYTHING
from reactive_db.sync.served import Caller

_PAGE: Final = """<!doctype html>
<meta charset="utf-8">
<title>Shared stores</title>
<h1>Shared stores</h1>
<p>You are <b>{name}</b>. You may: {may}.</p>
<p>In a notebook of this Hub: <code>rdb.connect("course")</code></p>
<p><a href="reactive-db/">Look at the stores</a></p>
"""


class HubIdentity:
    """Users, their groups and their scopes.

    Nothing the Hub says is kept: whoever connects again after a role was taken away must not find it here still.
    """

    def __init__(self, **settings: Any) -> None:
        """`settings` are those of HubOAuth; the Hub gives them to a service of its own in the environment."""
        self._auth: Any = HubOAuth(**settings)

    def credential(self, handler: RequestHandler) -> str:
        """The token of a kernel's request, or the one in the cookie that a browser was given after its login."""
        return str(self._auth.get_token(handler) or "")

    async def caller(self, credential: str) -> Caller | None:
        found = await self._auth.user_for_token(credential, use_cache=False, sync=False)
        return None if found is None else self._caller_of(found)

    def pages(self) -> Sequence[Any]:
        base = self._auth.base_url
        return [
            (rf"{base}oauth_callback", _Callback, {"auth": self._auth}),
            (rf"{base}?", _Home, {"auth": self._auth, "identity": self}),
        ]

    def _caller_of(self, found: dict[str, Any]) -> Caller:
        """A user or service by what their scopes say. Who has no access to the service itself may nothing."""
        has_access = self._auth.check_scopes(self._auth.access_scopes, found)
        may = {word for word in EVERYTHING if has_access and self._auth.check_scopes({SCOPE + word}, found)}
        kind, name = found["kind"], found["name"]
        # A service may have the name of a user; it is not that user.
        return Caller(name if kind == "user" else f"{kind}:{name}", frozenset(may), frozenset(found.get("groups", ())))


class _Callback(HubOAuthCallbackHandler):  # type: ignore[misc]  # it ships no types
    """Where the Hub sends a browser after the login."""

    def initialize(self, auth: HubOAuth) -> None:
        self.hub_auth = auth

    async def prepare(self) -> None:
        await self.hub_auth.get_user(self, sync=False)  # its own way of asking for the user would block the loop


class _Home(HubOAuthenticated, RequestHandler):  # type: ignore[misc]
    """What a person sees who follows the Hub's link to the service: who they are here."""

    def initialize(self, auth: HubOAuth, identity: HubIdentity) -> None:
        self.hub_auth = auth
        self._identity = identity

    async def get(self) -> None:
        credential = self._identity.credential(self)
        caller = await self._identity.caller(credential) if credential else None
        if caller is None:
            self.redirect(self.get_login_url())
            return
        may = ", ".join(sorted(caller.may)) or "nothing; ask whoever runs this Hub for a role"
        self.finish(_PAGE.format(name=html.escape(caller.name), may=html.escape(may)))
