"""The Jupyter Server extension. Nothing else here knows the server; `import reactive_db` does not load it."""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """What the server asks of the module that `jupyter_server_config.json` names."""
    from reactive_db.server.extension import ReactiveDB

    return [{"module": "reactive_db.server", "app": ReactiveDB}]
