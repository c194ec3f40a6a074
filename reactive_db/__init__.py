"""A reactive database for notebooks: documents as Python classes, queries that stay right by themselves.

import reactive_db as rdb

class Message(rdb.Document, table="messages", indexes={"by_channel": ["channel"]}):
    channel: str
    body: str

@rdb.query
def messages(ctx: rdb.QueryCtx, channel: str) -> list[Message]:
    return ctx.db.query(Message).with_index("by_channel", channel=channel).collect()

@rdb.mutation
def send(ctx: rdb.MutationCtx, channel: str, body: str) -> rdb.Id[Message]:
    return ctx.db.insert(Message(channel=channel, body=body))

db = rdb.connect("course")
handle = db.live(messages, "general")
db.run(send, "general", "hello")  # handle.value has it when this returns
"""

from typing import Any as _Any

from reactive_db import errors
from reactive_db.database import Database, connect
from reactive_db.engine.access import Presence
from reactive_db.errors import ApplicationError
from reactive_db.functions.contexts import ActionCtx, DatabaseReader, DatabaseWriter, MutationCtx, QueryCtx
from reactive_db.functions.definitions import Action, Mutation, Query, action, mutation, query
from reactive_db.functions.table_query import Page, TableQuery
from reactive_db.handles import QueryHandle
from reactive_db.inspection import Inspection
from reactive_db.limits import Limits
from reactive_db.model import validators as v
from reactive_db.model.documents import Document, Object
from reactive_db.model.ids import Id
from reactive_db.model.policy import anyone, owner, policy, role
from reactive_db.model.validators import table
from reactive_db.model.values import MISSING
from reactive_db.query.bounds import Bound, between, gt, gte, lt, lte
from reactive_db.storage.sql_result import SqlResult

__all__ = [
    "Action",
    "ActionCtx",
    "ApplicationError",
    "Bound",
    "Database",
    "DatabaseReader",
    "DatabaseWriter",
    "Document",
    "Id",
    "Inspection",
    "Limits",
    "MISSING",
    "Mutation",
    "MutationCtx",
    "Object",
    "Page",
    "Presence",
    "Query",
    "QueryCtx",
    "QueryHandle",
    "SqlResult",
    "TableQuery",
    "action",
    "anyone",
    "between",
    "connect",
    "errors",
    "gt",
    "gte",
    "lt",
    "lte",
    "mutation",
    "owner",
    "policy",
    "query",
    "role",
    "table",
    "v",
]


def load_ipython_extension(shell: _Any) -> None:
    """`%load_ext reactive_db`: live cells, and handles that stay live where they are shown."""
    from reactive_db.notebook.extension import load

    load(shell)


def unload_ipython_extension(shell: _Any) -> None:
    """`%unload_ext reactive_db`: what is shown stays as it is."""
    from reactive_db.notebook.extension import unload

    unload(shell)
