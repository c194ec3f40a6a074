"""`Form`: the arguments of a mutation to be filled in, checked where they are entered, and run."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import traitlets

from reactive_db import limits
from reactive_db.database import Database
from reactive_db.errors import ApplicationError, ArgumentError, DocumentError, ReactiveDBError
from reactive_db.functions.definitions import Mutation, check_kind, current, on_redefined
from reactive_db.handles import QueryHandle, unfollowed
from reactive_db.notebook.widgets.fields import Faults, Fields, arguments_in, fields_of, place_of, summary_of
from reactive_db.notebook.widgets.rows import records
from reactive_db.notebook.widgets.widget import LiveWidget, Message, page_code, page_style
from reactive_db.presentation import as_html, as_text, cell_text

_FAULT: Final = re.compile(r"(?P<what>.*) at `(?P<path>\$.+)`(?P<table> \(table '\w+'\))?\.", re.DOTALL)
"""How a signature ends what it says about an argument, and a table what it says about a document."""
_NAMES: Final = ("name", "title", "label")
"""Fields that people know a document by."""


class Form(LiveWidget):
    """A form for a mutation, made from its signature.

        Form(db, add_task, author="ada", choices={"assignee": db.live(people)}, multiline=["text"])

    Every parameter becomes a field of its type, with its default filled in; what nothing else fits is entered as JSON.
    The first line of the mutation's docstring stands above the fields, and what its "Args:" say under each.

    Args:
        db: a connection.
        mutation: what is run; once its cell was run again, the newest one.
        choices: for parameters that are ids, handles whose documents are there to choose from. A field of an object is
            named by its path, as in `"member.user"`.
        multiline: the texts that may have several lines, named in the same way.
        fixed: arguments that are not asked for.

    Attributes:
        result: what the mutation returned the last time; a trait, as the next two are.
        error: why the last try failed; None if it did not.
        submitted: how often the mutation has run without an error.

    Raises:
        ArgumentError: a name is none of the mutation's, or `choices` gives no documents.
        FunctionError: it is no mutation, or has an annotation that cannot be used.
    """

    _esm = page_code("form")
    _css = page_style("form")

    if TYPE_CHECKING:
        result: Any
        error: BaseException | None
        submitted: int
    else:
        result = traitlets.Any()
        error = traitlets.Any()
        submitted = traitlets.Int()

    def __init__(
        self,
        db: Database,
        mutation: Mutation[..., Any],
        /,
        choices: Mapping[str, QueryHandle[Any]] | None = None,
        multiline: Collection[str] = (),
        **fixed: Any,
    ) -> None:
        check_kind(mutation, Mutation)
        self._db = db
        self._mutation = mutation
        self._choices = dict(choices or {})
        self._multiline = multiline
        self._fixed = fixed
        self._problem: ReactiveDBError | None = None
        self._state: Message = {}
        self._submitting = threading.Lock()
        self._made_for: Any = current(mutation)
        self._fields = self._fields_of(self._made_for)
        with unfollowed():
            for name, handle in self._choices.items():
                if handle.error is None:
                    _options(handle.value, name)
            super().__init__(*self._choices.values())
        on_redefined.append(self._wake)

    def close(self) -> None:
        """Take it off every page."""
        if getattr(self, "_is_open", False):
            on_redefined.remove(self._wake)
        super().close()

    # --- what the page is told ---------------------------------------------------------------------------------------

    def _draw(self) -> Message:
        self._state = self._described()
        return self._state

    def _change(self) -> Message | None:
        before, self._state = self._state, self._described()
        return {name: value for name, value in self._state.items() if before.get(name) != value} or None

    def _static(self) -> tuple[str, str]:
        self._update()
        rows = [{"field": field.label, "type": field.entry.words} for field in self._fields.fields]
        return f"{self._fields.label}\n{as_text(rows)}", as_html(rows, caption=self._fields.label, error=self._error())

    def _described(self) -> Message:
        self._update()
        error = self._error()
        return {
            "title": self._fields.label,
            "summary": summary_of(self._made_for),
            "fields": [field.described() for field in self._fields.fields],
            "choices": {name: self._shown_options(name) for name in self._choices},
            "file_bytes_max": limits.FORM_FILE_BYTES_MAX,
            "problem": None if error is None else _text_of(error),
        }

    def _shown_options(self, name: str) -> Message:
        handle = self._choices[name]
        try:
            options = _options(handle.value, name)
        except ArgumentError:
            options = []
        return {"options": options[: limits.FORM_CHOICES_MAX], "total": len(options)}

    def _update(self) -> None:
        """Follow the mutation to its latest definition. Called with the lock held."""
        function = current(self._mutation)
        if function is self._made_for:
            return
        self._made_for = function
        try:
            self._fields = self._fields_of(function)
            self._problem = None
        except ReactiveDBError as error:
            self._problem = error

    def _error(self) -> Exception | None:
        errors = [handle.error for handle in self._choices.values() if handle.error is not None]
        return self._problem or next(iter(errors), None)

    def _fields_of(self, function: Any) -> Fields:
        check_kind(function, Mutation)
        return fields_of(function, fixed=self._fixed, choices=self._choices, multiline=self._multiline)

    # --- what the page says ------------------------------------------------------------------------------------------

    def _hear(self, message: Message) -> None:
        if message.get("type") != "submit":
            return
        entered, answer = message.get("values"), partial(self._answer, message.get("submit"))
        with self._lock:
            self._update()
            fields = self._fields
        arguments, faults = arguments_in(fields, entered)
        if faults:
            answer(_Outcome(error=ArgumentError(_in_one_line(faults)), faults=faults))
            return
        future: Future[Any] | None = None
        failure: Exception = ApplicationError("It was stopped before its end.")
        try:
            with unfollowed():
                future = self._db.submit(self._mutation, **arguments, **self._fixed)
        except Exception as error:
            failure = error
        finally:
            if future is None:  # after Ctrl-C too: the page waits
                answer(_failed(failure, fields, entered))
        if future is not None:
            future.add_done_callback(lambda done: answer(_outcome(done, fields, entered)))

    def _answer(self, submit: Any, outcome: _Outcome) -> None:
        """Keep how it went, and tell the page, also where an observer of a trait raises."""
        with self._submitting:
            try:
                self.error = outcome.error
                if outcome.error is None:
                    self.result = outcome.result
                    self.submitted += 1
            finally:
                self._tell({"type": "answer", "submit": submit, **outcome.told()})


@dataclass(frozen=True)
class _Outcome:
    """How a try has ended."""

    result: Any = None
    error: BaseException | None = None
    faults: Faults = field(default_factory=dict)

    def told(self) -> Message:
        """What the page is told of it: faults at their fields, any other error as a whole."""
        faults = [{"place": place, "text": text} for place, text in self.faults.items()]
        return {"faults": faults, "error": None if faults or self.error is None else _text_of(self.error)}


def _outcome(done: Future[Any], fields: Fields, entered: Any) -> _Outcome:
    error = done.exception()
    return _Outcome(done.result()) if error is None else _failed(error, fields, entered)


def _failed(error: BaseException, fields: Fields, entered: Any) -> _Outcome:
    faults = _faults_of(error, fields, entered) if isinstance(error, ArgumentError | DocumentError) else {}
    return _Outcome(error=error, faults=faults)


def _faults_of(error: ArgumentError | DocumentError, fields: Fields, entered: Any) -> Faults:
    """What is said of an argument, or of a document's field of that name, at its field; nothing if it has none."""
    said = error.message if isinstance(error, DocumentError) else error.message.partition(": ")[2]
    match = _FAULT.fullmatch(said)
    if match is None:
        return {}
    place = place_of(fields, entered, match["path"])
    return {place: match["what"] + (match["table"] or "")} if place else {}


def _in_one_line(faults: Faults) -> str:
    texts = [f"{'.'.join(map(str, place)) or 'form'}: {text}" for place, text in faults.items()]
    return f"{'; '.join(texts)}."


def _text_of(error: BaseException) -> str:
    """What a failure says to people who fill in a form."""
    if isinstance(error, ApplicationError) and isinstance(error.data, Mapping):
        rest = {name: value for name, value in error.data.items() if name != "message"}
        lines = [str(error.data["message"])] if "message" in error.data else []
        return "\n".join([*lines, *(f"{name}: {cell_text(value)}" for name, value in rest.items())])
    return error.message if isinstance(error, ReactiveDBError) else f"{type(error).__name__}: {error}"


def _options(value: Any, name: str) -> list[tuple[str, str]]:
    """The id and the name of every document.

    Raises:
        ArgumentError: they are none.
    """
    rows = records(value)
    if rows is None or not all(isinstance(row.get("id"), str) for row in rows):
        raise ArgumentError(
            f"choices={{{name!r}: …}} needs a handle whose value is a list of documents, got `{type(value).__name__}`."
        )
    return [(str(row["id"]), _name_of(row)) for row in rows]


def _name_of(row: Mapping[str, Any]) -> str:
    """What people know a document by: its name, its first text, or failing that its id."""
    named = [row[name] for name in _NAMES if name in row]
    texts = [value for name, value in row.items() if isinstance(value, str) and name != "id"]
    return cell_text(next(iter([*named, *texts]), row["id"]))
