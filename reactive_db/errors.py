"""Every error that reactive_db raises, in one tree.

    ReactiveDBError
    ├── ApplicationError            raised by user functions; its data crosses to every client
    ├── SchemaError                 [invalid-schema]       a document class that cannot be one       (TypeError)
    │   └── SchemaMismatchError     [schema-mismatch]      stored documents do not fit a new class
    ├── DocumentError               [invalid-document]     a value that does not fit its table       (ValueError)
    ├── ArgumentError               [invalid-arguments]    arguments that do not fit a function      (TypeError)
    ├── ReturnError                 [invalid-return]       a result that does not fit its annotation (TypeError)
    ├── IdError                     [invalid-id]           no id, or an id of another table          (ValueError)
    ├── DocumentNotFoundError       [not-found]            patch, replace or delete of nothing       (KeyError)
    ├── QueryError                  [invalid-query]        an index range or cursor that cannot be   (ValueError)
    │   └── NotUniqueError          [not-unique]           `.unique()` met two documents
    ├── SqlError                    [invalid-sql]          a statement that DuckDB or we refuse      (ValueError)
    ├── ReadOnlyError               [read-only]            a query that writes                       (TypeError)
    ├── FunctionError               [function-misused]     a function called where it cannot run     (TypeError)
    ├── LiveCycleError              [live-cycle]           live cells that wait for each other       (RuntimeError)
    ├── LimitError                  [limit-exceeded]       a named limit was passed                  (RuntimeError)
    │   └── FunctionTimeoutError    [function-timeout]     a function ran past its time              (TimeoutError)
    ├── ConflictError               [conflict]             a read set overlaps a later commit; retryable
    └── StoreError                                          the store as a whole                     (OSError)
        ├── StoreLockedError        [store-locked]         another process holds it
        ├── NotAStoreError          [not-a-store]          a directory that is something else
        ├── StoreFormatError        [store-format]         written by a newer reactive_db
        ├── StoreCorruptError       [store-corrupt]        its parts contradict each other
        ├── StoreClosedError        [store-closed]         used after `close()`
        ├── OfflineError            [offline]              the server is out of reach; retryable
        ├── PermissionDeniedError   [permission-denied]    the server does not let this user do that
        ├── ProtocolError           [protocol]             a message that breaks the protocol, or another version
        ├── ServerError             [server-error]         the server met an error of its own
        ├── StoreForkedError        [store-forked]         used in a forked child
        ├── StoreFullError          [store-full]           no room on the disk; nothing was committed
        └── CommitUncertainError    [commit-uncertain]     the journal did not say whether an append landed

Each class inherits the built-in exception a caller would already catch. A message says what happened, to what, and
what to do; its page in `docs/errors/` has an example that raises it.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ReactiveDBError(Exception):
    """The root of the tree.

    Attributes:
        code: stable name of the kind of error, for programs.
        is_retryable: whether running the same thing again can succeed without any change by the caller.
    """

    code: ClassVar[str] = "error"
    is_retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message} docs/errors/{self.code}.md"


class ApplicationError(ReactiveDBError):
    """Raised by a user's function to tell its caller something; `data` is any value and reaches every client.

    The transaction of a mutation that raises it is rolled back.
    """

    code = "application-error"

    def __init__(self, data: Any) -> None:
        self.data = data
        super().__init__(str(data))

    def __str__(self) -> str:
        return self.message


class SchemaError(ReactiveDBError, TypeError):
    """A document class, table or index that cannot be one."""

    code = "invalid-schema"


class SchemaMismatchError(SchemaError):
    """Stored documents do not fit the new definition of their table; the old one stays in force.

    Attributes:
        table: the table's name.
        offenders: `(id, fault)` of the first documents that do not fit.
    """

    code = "schema-mismatch"

    def __init__(self, message: str, *, table: str, offenders: list[tuple[str, str]]) -> None:
        super().__init__(message)
        self.table = table
        self.offenders = offenders


class DocumentError(ReactiveDBError, ValueError):
    """A document that does not fit its table.

    Attributes:
        table: the table's name.
        path: where the fault is, as `$.field[2].name`; `$` for the document as a whole.
    """

    code = "invalid-document"

    def __init__(self, message: str, *, table: str, path: str = "$") -> None:
        super().__init__(message)
        self.table = table
        self.path = path


class ArgumentError(ReactiveDBError, TypeError):
    """Arguments that do not fit the annotations of a function."""

    code = "invalid-arguments"


class ReturnError(ReactiveDBError, TypeError):
    """A function's result that does not fit its return annotation."""

    code = "invalid-return"


class IdError(ReactiveDBError, ValueError):
    """A string that is no id, or an id of another table."""

    code = "invalid-id"


class DocumentNotFoundError(ReactiveDBError, KeyError):
    """Patch, replace or delete of a document that does not exist."""

    code = "not-found"


class QueryError(ReactiveDBError, ValueError):
    """A read that cannot be: an unknown index, a range out of order, a cursor of another query."""

    code = "invalid-query"


class NotUniqueError(QueryError):
    """`.unique()` met more than one document."""

    code = "not-unique"


class SqlError(ReactiveDBError, ValueError):
    """A statement that DuckDB cannot run, or that would write."""

    code = "invalid-sql"


class ReadOnlyError(ReactiveDBError, TypeError):
    """A query that writes."""

    code = "read-only"


class FunctionError(ReactiveDBError, TypeError):
    """A function used where it cannot run: not decorated, or of the wrong kind."""

    code = "function-misused"


class LiveCycleError(ReactiveDBError, RuntimeError):
    """Live cells read names that each other assign, in a circle."""

    code = "live-cycle"


class LimitError(ReactiveDBError, RuntimeError):
    """A named limit of `reactive_db.limits` was passed; the transaction is rolled back.

    Attributes:
        limit: the name of the limit.
    """

    code = "limit-exceeded"

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class FunctionTimeoutError(LimitError, TimeoutError):
    """A query or mutation ran longer than `limits.function_seconds`."""

    code = "function-timeout"

    # Raised from another thread by class, so it must be possible without arguments.
    def __init__(self, message: str = "a function ran past its time limit.", *, limit: str = "function_seconds"):
        super().__init__(message, limit=limit)


class ConflictError(ReactiveDBError):
    """A commit after the transaction began wrote into a key range that the transaction read.

    Attributes:
        table, index: where the two met.
        begin_ts: the transaction's snapshot.
        commit_ts: the timestamp of the commit that won.
    """

    code = "conflict"
    is_retryable = True

    def __init__(self, message: str, *, table: str, index: str, begin_ts: int, commit_ts: int) -> None:
        super().__init__(message)
        self.table = table
        self.index = index
        self.begin_ts = begin_ts
        self.commit_ts = commit_ts


class StoreError(ReactiveDBError, OSError):
    """Something about the store as a whole."""

    code = "store-error"


class StoreLockedError(StoreError):
    """Another process holds the store; the message names it."""

    code = "store-locked"


class NotAStoreError(StoreError):
    """The path exists and is not a store; nothing in it was changed."""

    code = "not-a-store"


class StoreFormatError(StoreError):
    """The store was written by a newer reactive_db; nothing in it was changed."""

    code = "store-format"


class StoreCorruptError(StoreError):
    """The parts of the store contradict each other; restore a backup."""

    code = "store-corrupt"


class StoreClosedError(StoreError):
    """The store was closed, or failed and closed itself; connect again."""

    code = "store-closed"


class OfflineError(StoreError, ConnectionError):
    """The server of the store is out of reach; handles keep their values, and follow again when it is back."""

    code = "offline"
    is_retryable = True


class PermissionDeniedError(StoreError, PermissionError):
    """The server does not let this user do that."""

    code = "permission-denied"


class ProtocolError(StoreError):
    """A message that breaks the protocol between a kernel and its server, or a server of another version."""

    code = "protocol"


class ServerError(StoreError):
    """The server met an error of its own; its log has the traceback."""

    code = "server-error"


class StoreForkedError(StoreError):
    """A forked child used its parent's store; connect in the child instead."""

    code = "store-forked"


class StoreFullError(StoreError):
    """The disk has no room for the journal; nothing of this commit was kept. Make room and connect again."""

    code = "store-full"


class CommitUncertainError(StoreError):
    """Nobody said whether the commit was made. Do not retry; connect again and look."""

    code = "commit-uncertain"
