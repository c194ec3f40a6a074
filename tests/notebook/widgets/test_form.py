"""`Form`: what its pages are told, what happens to what they send, and what Python sees of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

import reactive_db as rdb
from reactive_db import limits
from reactive_db.errors import ApplicationError, ArgumentError, DocumentError, FunctionError
from reactive_db.functions.definitions import on_redefined
from reactive_db.notebook.widgets import Form
from tests.notebook.widgets.conftest import Message, Sent


class Member(rdb.Document, table="form_members"):
    name: str


class Job(rdb.Document, table="form_jobs"):
    text: str
    due: date | None = None
    author: str = ""


class Contact(rdb.Object):
    email: str
    user: rdb.Id[Member] | None = None


@rdb.query
def members(ctx: rdb.QueryCtx) -> list[Member]:
    found = ctx.db.query(Member).collect()
    if any(member.name == "poison" for member in found):
        raise ApplicationError("it is poisoned")
    return found


@rdb.query
def member_count(ctx: rdb.QueryCtx) -> int:
    return ctx.db.query(Member).count()


@rdb.mutation
def enrol(ctx: rdb.MutationCtx, name: str) -> rdb.Id[Member]:
    return ctx.db.insert(Member(name))


@rdb.mutation
def leave(ctx: rdb.MutationCtx, id: rdb.Id[Member]) -> None:
    ctx.db.delete(id)


@rdb.mutation
def add_job(
    ctx: rdb.MutationCtx,
    text: str,
    due: date | None = None,
    author: str = "",
    contacts: list[Contact] = [],  # noqa: B006  # as a notebook would have it
) -> rdb.Id[Job]:
    """Add a job."""
    if text == "bad":
        raise ApplicationError({"message": "no job is bad", "text": text})
    if text == "worse":
        raise ValueError("much worse")
    if text == "nested":
        raise ArgumentError("mutation 'other': expected `int`, got `str` at `$.nothing`.")
    return ctx.db.insert(Job(text, due, author))


WHOLE = {"text": "wash", "due": "2026-03-01", "author": "ada", "contacts": []}


@pytest.fixture
def db() -> Iterator[rdb.Database]:
    with rdb.connect() as db:
        yield db


def submit(sent: Sent, form: Form, **values: Any) -> Message:
    """What the page is told of a try."""
    told = sent.say(form, {"type": "submit", "submit": "s1", "values": WHOLE | values})
    (answer,) = [message for message in told if message["type"] == "answer"]
    assert answer["submit"] == "s1"
    return answer


def jobs(db: rdb.Database) -> list[tuple[str, str]]:
    return [(row["text"], row["author"]) for row in db.sql("SELECT text, author FROM form_jobs").rows()]


# --- what the page is told -------------------------------------------------------------------------------------------


def test_a_page_is_told_the_fields(db: rdb.Database, sent: Sent) -> None:
    form = Form(db, add_job, author="ada", multiline=["text"])
    whole = sent.hello(form)
    assert (whole["title"], whole["summary"], whole["problem"]) == ("Add job", "Add a job.", None)
    assert [(field["name"], field["kind"]) for field in whole["fields"]] == [
        ("text", "lines"),
        ("due", "date"),
        ("contacts", "list"),
    ]


def test_the_static_form_lists_the_fields(db: rdb.Database, sent: Sent) -> None:
    bundle = Form(db, add_job, author="ada").static_bundle()
    assert "Add job" in bundle["text/plain"]
    assert "a date, or nothing" in bundle["text/plain"]
    assert "<td>Due</td><td>a date, or nothing</td>" in bundle["text/html"]


def test_choices_stay_live(db: rdb.Database, sent: Sent) -> None:
    ada = db.run(enrol, "Ada")
    handle = db.live(members)
    form = Form(db, add_job, choices={"contacts.user": handle})
    assert sent.hello(form)["choices"] == {"contacts.user": {"options": [(ada, "Ada")], "total": 1}}
    bob = db.run(enrol, "Bob")
    (change,) = sent.pushed()
    assert change["choices"]["contacts.user"]["options"] == [(ada, "Ada"), (bob, "Bob")]
    assert "fields" not in change
    db.run(enrol, "poison")
    (change,) = sent.pushed()
    assert change["problem"] == "it is poisoned"
    assert "choices" not in change


def test_there_are_only_so_many_choices(db: rdb.Database, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FORM_CHOICES_MAX", 2)
    for name in "abc":
        db.run(enrol, name)
    told = sent.hello(Form(db, add_job, choices={"contacts.user": db.live(members)}))["choices"]["contacts.user"]
    assert (len(told["options"]), told["total"]) == (2, 3)


# --- submitting ------------------------------------------------------------------------------------------------------


def test_what_is_submitted_is_run(db: rdb.Database, sent: Sent) -> None:
    form = Form(db, add_job)
    sent.hello(form)
    assert submit(sent, form) == {"type": "answer", "submit": "s1", "faults": [], "error": None}
    assert jobs(db) == [("wash", "ada")]
    (row,) = db.sql("SELECT _id FROM form_jobs").rows()
    assert (form.result, form.error, form.submitted) == (row["_id"], None, 1)


def test_fixed_arguments_are_passed_and_cannot_be_entered(db: rdb.Database, sent: Sent) -> None:
    form = Form(db, add_job, author="bob")
    submit(sent, form, author="eve")
    assert jobs(db) == [("wash", "bob")]


def test_what_does_not_fit_is_told_at_its_field(db: rdb.Database, sent: Sent) -> None:
    form = Form(db, add_job)
    answer = submit(sent, form, due="tomorrow", contacts=[{"email": None}])
    assert answer["error"] is None
    assert answer["faults"] == [
        {"place": ("due",), "text": "expected a date"},
        {"place": ("contacts", 0, "email"), "text": "expected text"},
    ]
    assert isinstance(form.error, ArgumentError)
    assert str(form.error).startswith("due: expected a date; contacts.0.email: expected text.")
    assert (form.submitted, jobs(db)) == (0, [])


def test_what_the_signature_refuses_is_told_at_its_field(db: rdb.Database, sent: Sent) -> None:
    form = Form(db, add_job)
    answer = submit(sent, form, contacts=[{"email": "a"}, {"email": "b", "user": "nobody"}])
    (fault,) = answer["faults"]
    assert fault["place"] == ("contacts", 1, "user")
    assert fault["text"].startswith("'nobody' is no id")
    assert answer["error"] is None
    assert isinstance(form.error, ArgumentError)


def test_a_fixed_argument_that_is_refused_is_told_above(db: rdb.Database, sent: Sent) -> None:
    form = Form(db, add_job, author=5)
    answer = submit(sent, form)
    assert answer["faults"] == []
    assert "expected `str`, got `int` at `$.author`" in answer["error"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bad", "no job is bad\ntext: bad"),
        ("worse", "ValueError: much worse"),
        ("nested", "mutation 'other': expected `int`, got `str` at `$.nothing`."),
    ],
)
def test_an_error_of_the_mutation_is_told_above(db: rdb.Database, sent: Sent, text: str, told: str) -> None:
    form = Form(db, add_job)
    assert submit(sent, form, text=text)["error"] == told
    assert form.error is not None
    submit(sent, form)
    assert (form.error, form.submitted) == (None, 1)


def test_what_a_table_refuses_is_told_at_the_field_of_that_name(db: rdb.Database, sent: Sent) -> None:
    @rdb.mutation
    def put(ctx: rdb.MutationCtx, text: Any, other: Any = None) -> None:
        ctx.db.insert(Job(text=text, due=other))

    form = Form(db, put)
    answer = submit(sent, form, text="5")
    assert answer["faults"] == [{"place": ("text",), "text": "expected `str`, got `int` (table 'form_jobs')"}]
    assert answer["error"] is None
    assert isinstance(form.error, DocumentError)
    answer = submit(sent, form, text='"a"', other="5")
    assert answer["error"] == "expected `date | null`, got `int` at `$.due` (table 'form_jobs')."
    assert answer["faults"] == []


def test_the_mutation_runs_outside_the_lock(db: rdb.Database, sent: Sent) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @rdb.mutation
    def slow(ctx: rdb.MutationCtx) -> None:
        begun.set()
        assert go_on.wait(10)

    form = Form(db, slow)
    thread = threading.Thread(target=form._hear, args=[{"type": "submit", "submit": "s1", "values": {}}])
    thread.start()
    assert begun.wait(10)
    assert sent.hello(form)["title"] == "Slow"  # takes the lock
    go_on.set()
    thread.join()
    assert form.submitted == 1


def test_an_observer_that_raises_leaves_no_page_waiting(
    db: rdb.Database, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    form = Form(db, add_job)

    def fail(change: Any) -> None:
        raise RuntimeError("an observer")

    form.observe(fail, "result")
    form._hear({"type": "submit", "submit": "s1", "values": WHOLE})
    assert "RuntimeError: an observer" in caplog.text
    assert sent[-1]["error"] is None


def test_ctrl_c_leaves_no_page_waiting(db: rdb.Database, sent: Sent) -> None:
    @rdb.mutation
    def stopped(ctx: rdb.MutationCtx) -> None:
        raise KeyboardInterrupt

    form = Form(db, stopped)
    with pytest.raises(KeyboardInterrupt):
        form._hear({"type": "submit", "submit": "s1", "values": {}})
    assert sent[-1]["error"] == "It was stopped before its end."


@pytest.mark.parametrize("message", [{"type": "submit"}, {"type": "submit", "values": []}, {"type": "other"}, {}])
def test_other_messages_do_no_harm(db: rdb.Database, sent: Sent, message: Message) -> None:
    form = Form(db, add_job)
    sent.hello(form)
    told = sent.say(form, message)
    assert [answer["faults"] for answer in told] in ([], [[{"place": (), "text": "expected fields"}]])
    assert form.submitted == 0


# --- a mutation declared anew ----------------------------------------------------------------------------------------


def declare(source: str) -> Any:
    """A cell that declares the mutation `renewed`."""
    names: dict[str, Any] = {"rdb": rdb, "__name__": __name__}
    exec(source, names)
    return names["renewed"]


def test_a_mutation_declared_anew_is_drawn_and_run(db: rdb.Database, sent: Sent) -> None:
    form = Form(db, declare("@rdb.mutation\ndef renewed(ctx, a: int = 1) -> int: return a"))
    assert [field["name"] for field in sent.hello(form)["fields"]] == ["a"]
    declare("@rdb.mutation\ndef renewed(ctx, a: int = 1) -> int: return a + 1")
    assert sent.pushed() == []
    submit(sent, form, a="5")
    assert form.result == 6
    declare("@rdb.mutation\ndef renewed(ctx, b: str = '') -> str: return b")
    (change,) = sent.pushed()
    assert [field["name"] for field in change["fields"]] == ["b"]
    submit(sent, form, b="x")
    assert form.result == "x"


def test_one_that_cannot_be_drawn_is_told_of(db: rdb.Database, sent: Sent) -> None:
    form = Form(db, declare("@rdb.mutation\ndef renewed(ctx, a: int = 1) -> int: return a"), a=1)
    sent.hello(form)
    declare("@rdb.mutation\ndef renewed(ctx, b: int = 1) -> int: return b")
    (change,) = sent.pushed()
    assert "has no parameter 'a'" in change["problem"]
    declare("@rdb.mutation\ndef renewed(ctx, a: int = 1) -> int: return a")
    (change,) = sent.pushed()
    assert change["problem"] is None


def test_a_closed_form_hears_of_nothing(db: rdb.Database, sent: Sent) -> None:
    before = len(on_redefined)
    form = Form(db, add_job)
    assert len(on_redefined) == before + 1
    form.close()
    form.close()
    assert len(on_redefined) == before


# --- wrong use -------------------------------------------------------------------------------------------------------


def test_what_is_no_mutation_is_refused(db: rdb.Database) -> None:
    with pytest.raises(FunctionError, match=r"expected a function made by @rdb\.mutation, got a query"):
        Form(db, members)  # type: ignore[arg-type]


def test_choices_are_documents(db: rdb.Database, sent: Sent) -> None:
    with pytest.raises(ArgumentError, match=r"choices=\{'contacts.user': …\} needs a handle .* got `int`"):
        Form(db, add_job, choices={"contacts.user": db.live(member_count)})
    with pytest.raises(ArgumentError, match="choices= names 'text'"):
        Form(db, add_job, choices={"text": db.live(members)})
