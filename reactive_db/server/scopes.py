"""The names that JupyterHub has for what people may do with the stores of a service."""

from __future__ import annotations

from typing import Any, Final

SCOPE: Final = "custom:reactive_db:"
"""In front of `read`, `write` and `deploy`; the Hub wants `custom:` there, and small letters."""

SCOPES: Final[dict[str, dict[str, Any]]] = {
    f"{SCOPE}read": {"description": "Read the shared stores of reactive_db"},
    f"{SCOPE}write": {
        "description": "Read and write the shared stores of reactive_db",
        "subscopes": [f"{SCOPE}read"],
    },
    f"{SCOPE}deploy": {
        "description": "Read, write and administer the shared stores of reactive_db",
        "subscopes": [f"{SCOPE}write"],
    },
}
"""As `c.JupyterHub.custom_scopes` has them; each one holds those below it."""
