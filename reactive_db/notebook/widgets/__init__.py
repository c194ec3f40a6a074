"""Widgets that stay right by themselves: each shows a handle, or runs a mutation."""

from reactive_db.notebook.widgets.value import Value

__all__ = ["Value"]
