"""Widgets that stay right by themselves: each shows a handle, or runs a mutation."""

from reactive_db.notebook.widgets.chart import Chart
from reactive_db.notebook.widgets.form import Form
from reactive_db.notebook.widgets.metric import Metric
from reactive_db.notebook.widgets.pager import Pager
from reactive_db.notebook.widgets.presence import PresenceList
from reactive_db.notebook.widgets.status import Status
from reactive_db.notebook.widgets.table import Table
from reactive_db.notebook.widgets.value import Value

__all__ = ["Chart", "Form", "Metric", "Pager", "PresenceList", "Status", "Table", "Value"]
