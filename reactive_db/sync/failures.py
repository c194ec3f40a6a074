"""Errors on the wire: one of ours arrives as what it was; of any other only that there was one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final

from reactive_db.errors import ReactiveDBError, ServerError
from reactive_db.sync.messages import Failed

_log = logging.getLogger(__name__)


def failure(request: int, error: Exception) -> Failed:
    """What the other side is told of `error`."""
    if isinstance(error, ReactiveDBError):
        details = {name: value for name, value in vars(error).items() if name != "message" and _is_plain(value)}
        return Failed(request, error.code, error.message, details)
    _log.error("a request failed", exc_info=error)
    return Failed(request, ServerError.code, "the server met an error of its own; its log has the traceback.", {})


def error_of(failed: Failed) -> ReactiveDBError:
    """The error that the other side was told of."""
    kind = _KINDS.get(failed.code, ServerError)
    try:
        return kind(failed.message, **failed.details)
    except TypeError:  # of another version of ours
        return ServerError(f"{failed.code}: {failed.message}")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


def _kinds(kind: type[ReactiveDBError]) -> Iterator[type[ReactiveDBError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


_KINDS: Final = {kind.code: kind for kind in _kinds(ReactiveDBError)}
