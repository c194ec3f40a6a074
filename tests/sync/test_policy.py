"""Row policies over the wire: every way to a document, for everybody who may take it; and what nobody is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import reactive_db as rdb
from reactive_db.engine.store import Store
from reactive_db.errors import DocumentNotFoundError, PermissionDeniedError
from reactive_db.limits import Limits
from reactive_db.model.codec import encoder
from reactive_db.model.defined import defined_document
from reactive_db.model.keys import EVERYTHING
from reactive_db.model.schema import TableSchema, decode_definition
from reactive_db.runtime import SystemRuntime
from reactive_db.storage.sql_result import of_ipc
from reactive_db.sync import messages as m
from reactive_db.sync.definitions import digest_of
from reactive_db.sync.served import Caller, Served
from reactive_db.testing.stores import memory_store
from reactive_db.testing.wire import OWNER, Kernel, Wire
from tests.sync.ear import Client, changed, deleted, inserted, schema_of

WRITER = frozenset({"read", "write"})
BOB, CLEO, EVE = (Caller(name, WRITER) for name in ("bob", "cleo", "eve"))
TESS = Caller("tess", WRITER, frozenset({"teacher"}))
DEAN = Caller("dean", WRITER | {"deploy"})
CALLERS = {caller.name: caller for caller in (BOB, CLEO, EVE, TESS, DEAN)}

POLICY = rdb.policy(read=[rdb.owner("student"), rdb.role("teacher")], write=[rdb.owner("student")])


class Answer(
    rdb.Document, table="policy_answers", indexes={"by_text": ["text"], "by_student": ["student"]}, policy=POLICY
):
    student: str
    text: str = ""


def sheet(**said: Any) -> type[rdb.Document]:
    """A class like `Answer`, but for what is `said` of its definition, which nobody in this process has declared.

    As on a server: in the process of a kernel, a definition that arrives stands behind the class that is there.
    """
    fields = schema_of(Answer, 1).definition_fields | {"name": "policy_sheets"} | said
    return defined_document(decode_definition(encoder.encode(fields)))


class World:
    """A store with an answer of bob's and one of cleo's, and a client for each caller."""

    def __init__(self, served: Served) -> None:
        self.wire = Wire(served)
        self.clients: dict[str, Client] = {}
        self.schema: TableSchema = self.of("dean").define(sheet())
        self.bobs = inserted(self.schema, 1, student="bob", text="b")
        self.cleos = inserted(self.schema, 2, student="cleo", text="c")
        self.of("dean").write(self.schema, self.bobs, self.cleos)

    def of(self, who: str | Caller) -> Client:
        """The client of a caller, given by name or not."""
        caller = CALLERS[who] if isinstance(who, str) else who
        if caller.name not in self.clients:
            self.clients[caller.name] = Client(self.wire, f"{len(self.clients):032x}", caller)
        return self.clients[caller.name]

    def texts(self) -> dict[str, tuple[str, str]]:
        """What there is: student and text, by id."""
        rows = self.of("dean").read(self.schema).documents
        documents = [self.schema.decode(data) for _, data in rows]
        return {str(one.id): (one.student, one.text) for one in documents}  # type: ignore[attr-defined]


def told(world: World, client: Client, act: Callable[[], Any]) -> list[m.Message]:
    """What a client hears while something happens."""
    before = len(client.ear.frames)
    act()
    world.wire.pump()
    return client.heard[before:]


@pytest.fixture
def world(served: Served) -> Iterator[World]:
    made = World(served)
    yield made
    made.wire.close()


@pytest.fixture(scope="module")
def looked_at() -> Iterator[World]:
    """One that nobody changes."""
    served = Served("course", memory_store())
    made = World(served)
    yield made
    made.wire.close()
    served.close()


# --- what they see ---------------------------------------------------------------------------------------------------


def of_rows(world: World, rows: m.Rows) -> set[str]:
    return {world.schema.decode(data).text for _, data in rows.documents}  # type: ignore[attr-defined]


def by_range(world: World, client: Client) -> set[str]:
    return of_rows(world, client.read(world.schema))


def by_range_downwards(world: World, client: Client) -> set[str]:
    asked = m.Range.of((world.schema.number, "by_text"), EVERYTHING)
    return of_rows(world, client.answer(m.Read(client.number(), asked, True, 100), m.Rows))


def one_at_a_time(world: World, client: Client) -> set[str]:
    """The first of what is left, until there is none; where the parts end tells nothing of what is hidden."""
    found: set[str] = set()
    asked = m.Range.of((world.schema.number, "by_text"), EVERYTHING)
    while True:
        rows = client.answer(m.Read(client.number(), asked, False, 1), m.Rows)
        if not rows.documents:
            return found
        found |= of_rows(world, rows)
        assert rows.covered.hi is not None
        (_, data), *_ = rows.documents
        assert rows.covered.hi == world.schema.index("by_text").key(world.schema.decode(data)) + b"\0"
        asked = m.Range(world.schema.number, "by_text", rows.covered.hi, None, 0)


def by_id(world: World, client: Client) -> set[str]:
    found = [client.read_document(world.schema, one.id) for one in (world.bobs, world.cleos)]
    return set().union(*(of_rows(world, rows) for rows in found))


def by_count(world: World, client: Client) -> int:
    asked = m.Range.of((world.schema.number, "by_creation_time"), EVERYTHING)
    return client.answer(m.Count(client.number(), asked), m.Counted).count


def sql(client: Client, statement: str) -> list[Any]:
    parts = [one for one in client.ask(m.Sql(client.number(), statement, None)) if isinstance(one, m.SqlRows)]
    assert parts, client.heard[-1]
    return of_ipc(b"".join(part.part for part in parts), parts[0].ts).fetchall()


def by_sql(world: World, client: Client) -> set[str]:
    return {text for (text,) in sql(client, "SELECT text FROM policy_sheets")}


def by_sql_count(world: World, client: Client) -> int:
    return int(sql(client, "SELECT count(*) FROM POLICY_SHEETS")[0][0])


def by_history(world: World, client: Client) -> set[str]:
    return {text for (text,) in sql(client, "SELECT document->>'text' FROM _history WHERE \"table\" LIKE 'policy%'")}


def by_the_page(world: World, client: Client) -> set[str]:
    browsed = client.answer(m.Browse(client.number(), "policy_sheets"), m.Browsed)
    return {row[-1] for row in browsed.rows}


def by_the_pages_counts(world: World, client: Client) -> int:
    looking = Client(
        world.wire, "f" * 32, client.connection.session.caller
    )  # who has looked once hears of all that moves
    (table,) = looking.answer(m.Overview(1), m.OverviewIs).store.tables
    looking.connection.cut()
    return table.documents


def by_a_transition(world: World, client: Client) -> set[str]:
    client.read(world.schema)
    again = [changed(world.schema, one, student=one_of) for one, one_of in ((world.bobs, "bob"), (world.cleos, "cleo"))]
    moved = told(world, client, lambda: world.of("dean").write(world.schema, *again))
    writes = [written for one in moved if isinstance(one, m.Transition) for written in one.writes]
    return {world.schema.decode(one.document).text for one in writes if one.document}  # type: ignore[attr-defined]


ALL: list[Callable[[World, Client], set[str] | int]] = [
    by_range,
    by_range_downwards,
    one_at_a_time,
    by_id,
    by_count,
    by_sql,
    by_sql_count,
    by_the_page,
    by_the_pages_counts,
    by_a_transition,
]
SEEN = {"bob": {"b"}, "cleo": {"c"}, "eve": set(), "tess": {"b", "c"}, "dean": {"b", "c"}}


@pytest.mark.parametrize("path", ALL)
@pytest.mark.parametrize("name", SEEN)
def test_everybody_sees_what_the_policy_says(
    looked_at: World, path: Callable[[World, Client], set[str] | int], name: str
) -> None:
    found = path(looked_at, looked_at.of(name))
    assert found == (len(SEEN[name]) if isinstance(found, int) else SEEN[name])


@pytest.mark.parametrize("name", SEEN)
def test_the_history_is_for_who_sees_all(looked_at: World, name: str) -> None:
    """It has no columns that a condition could be on."""
    assert by_history(looked_at, looked_at.of(name)) == (SEEN[name] if len(SEEN[name]) == 2 else set())


def test_sql_cannot_get_around_it(looked_at: World) -> None:
    for statement in (
        "SELECT text FROM (SELECT * FROM policy_sheets) WHERE text = 'c'",
        "SELECT 1 FROM policy_sheets WHERE CASE WHEN text = 'c' THEN error(text) END IS NULL AND student <> 'bob'",
        "WITH policy_sheets AS (SELECT * FROM policy_sheets) SELECT * FROM policy_sheets WHERE student <> 'bob'",
        "SELECT * FROM \"POLICY_SHEETS\" WHERE student <> 'bob'",
    ):
        assert sql(looked_at.of("bob"), statement) == []


@pytest.mark.parametrize("name", ["o'brien", "' OR true --", 'a"b', "ü\u0301", "back\\slash", "null\0byte", "bob "])
def test_the_name_of_a_user_is_a_name_and_no_sql(world: World, name: str) -> None:
    client = world.of(Caller(name, WRITER))
    client.write(world.schema, inserted(world.schema, 9, student=name, text="mine"))
    assert by_sql(world, client) == by_range(world, client) == {"mine"}
    assert by_the_pages_counts(world, client) == 1


@pytest.mark.parametrize("mine", ["Student", "student"])
def test_names_that_sql_takes_for_one_are_two(world: World, mine: str) -> None:
    """Of tables and of fields: each has the policy of its own."""
    other, dean, bob = "student" if mine == "Student" else "Student", world.of("dean"), world.of("bob")
    for table, owner in (("Policy_twins", mine), ("policy_twins", other)):
        fields = {"Student": rdb.v.string(), "student": rdb.v.string()}
        made = dean.define(rdb.table(table, policy=rdb.policy(read=[rdb.owner(owner)]), **fields))
        dean.write(made, *(inserted(made, at, **{mine: one, other: "zoe"}) for at, one in enumerate(("bob", "cleo"))))
    tables = {one.name: one.number for one in world.wire.served.store.definitions()}
    column = "Student" if mine == "Student" else "student_2"
    assert sql(bob, f"SELECT {column} FROM Policy_twins") == [("bob",)]
    assert sql(bob, f"SELECT {column} FROM policy_twins_{tables['policy_twins']}") == []


# --- what they write -------------------------------------------------------------------------------------------------

DENIED = "permission-denied"
WRITES: dict[str, tuple[Callable[[World, str], m.Written], str]] = {
    # what                       what comes of it for     bob     cleo    eve     tess    dean
    "insert in one's own name": (
        lambda world, me: inserted(world.schema, 7, student=me),
        "done    done    done    done    done",
    ),
    "insert in another's name": (
        lambda world, me: inserted(world.schema, 7, student="zoe"),
        "denied  denied  denied  denied  done",
    ),
    "change bob's": (
        lambda world, me: changed(world.schema, world.bobs, text="new"),
        "done    denied  denied  denied  done",
    ),
    "give bob's away": (
        lambda world, me: changed(world.schema, world.bobs, student="zoe"),
        "denied  denied  denied  denied  done",
    ),
    "take over cleo's": (
        lambda world, me: changed(world.schema, world.cleos, student=me, text="taken"),
        "denied  done    denied  denied  done",
    ),
    "delete bob's": (
        lambda world, me: deleted(world.bobs),
        "done    nothing nothing denied  done",
    ),
    "delete what is not there": (
        lambda world, me: deleted(inserted(world.schema, 99, student="zoe")),
        "nothing nothing nothing nothing nothing",
    ),
}


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("name", CALLERS)
def test_everybody_writes_what_the_policy_says(world: World, what: str, name: str) -> None:
    make, outcomes = WRITES[what]
    outcome = dict(zip(CALLERS, outcomes.split(), strict=True))[name]
    written, before, client = make(world, name), world.texts(), world.of(name)
    answer = client.ask(client.commit_of(world.schema, [written]))[-1]
    assert getattr(answer, "code", None) == (DENIED if outcome == "denied" else None)
    assert (world.texts() != before) is (outcome == "done")


@pytest.mark.parametrize(
    ("name", "student", "is_let"), [("bob", "bob", True), ("bob", "zoe", False), ("dean", "z", True)]
)
def test_a_load_is_a_write(world: World, name: str, student: str, is_let: bool) -> None:
    loaded = [inserted(world.schema, 30, student=name), inserted(world.schema, 31, student=student)]
    documents = [(one.id, one.document or b"") for one in loaded]
    answer = world.of(name).ask(m.LoadPart(90, 0, world.schema.number, documents, True))[-1]
    assert isinstance(answer, m.Loaded) is is_let
    assert len(world.texts()) == (4 if is_let else 2)


def test_of_a_commit_all_is_written_or_nothing(world: World) -> None:
    bob = world.of("bob")
    writes = [inserted(world.schema, 7, student="bob"), changed(world.schema, world.cleos, text="mine now")]
    before = world.texts()
    assert getattr(bob.ask(bob.commit_of(world.schema, writes))[-1], "code", "") == DENIED
    assert world.texts() == before


def test_who_may_not_read_their_own_may_write_it_all_the_same(world: World) -> None:
    box = rdb.table(
        "policy_box",
        policy=rdb.policy(read=[rdb.role("teacher")], write=[rdb.owner("student")]),
        student=rdb.v.string(),
    )
    schema, bob = world.of("dean").define(box), world.of("bob")
    mine = inserted(schema, 1, student="bob")
    bob.write(schema, mine)
    assert bob.read(schema).documents == []
    assert len(world.of("tess").read(schema).documents) == 1
    bob.write(schema, deleted(mine))
    assert world.of("tess").read(schema).documents == []


# --- what they are not told ------------------------------------------------------------------------------------------


def test_a_hidden_id_is_like_one_that_does_not_exist(world: World) -> None:
    nowhere, eve = inserted(world.schema, 99, student="cleo", text="c"), world.of("eve")

    def said(written: m.Written) -> list[Any]:
        """What comes of all that one can ask about a document, whichever it is."""
        writes = written, changed(world.schema, written, text="x"), deleted(written)
        answers = [eve.read_document(world.schema, written.id)]
        answers += [eve.ask(eve.commit_of(world.schema, [state]))[-1] for state in writes]
        shown = [{name: getattr(one, name, None) for name in ("documents", "code", "message")} for one in answers]
        return [type(one) for one in answers] + [str(one).replace(written.id, "…") for one in shown]

    assert said(world.cleos) == said(nowhere)


def test_it_becomes_visible_and_is_gone_again(world: World) -> None:
    eve = world.of("eve")
    eve.read(world.schema)
    for student, document in (("eve", True), ("bob", False)):
        now = changed(world.schema, world.cleos, student=student)
        (moved,) = told(world, eve, lambda now=now: world.of("dean").write(world.schema, now))  # type: ignore[misc]
        assert isinstance(moved, m.Transition)
        assert [(one.id, one.document is not None) for one in moved.writes] == [(world.cleos.id, document)]


def test_of_what_stays_hidden_nothing_is_said(world: World) -> None:
    eve = world.of("eve")
    eve.read(world.schema)
    by_count(world, eve)
    sql(eve, "SELECT * FROM policy_sheets")
    assert (
        told(world, eve, lambda: world.of("bob").write(world.schema, changed(world.schema, world.bobs, text="z"))) == []
    )
    assert told(world, eve, lambda: world.of("bob").write(world.schema, deleted(world.bobs))) == []
    own = inserted(world.schema, 8, student="eve")
    (moved,) = told(world, eve, lambda: world.of("dean").write(world.schema, own))
    assert isinstance(moved, m.Transition)
    assert moved.touched == [world.schema.number]


def test_sql_with_the_history_hears_of_no_hidden_write_either(world: World) -> None:
    eve = world.of("eve")
    sql(eve, "SELECT count(*) FROM _history, policy_sheets")
    heard = told(world, eve, lambda: world.of("dean").write(world.schema, changed(world.schema, world.bobs, text="z")))
    assert all(world.schema.number not in one.touched for one in heard if isinstance(one, m.Transition))


def test_what_is_hidden_is_in_nobodys_way(world: World) -> None:
    """Also because where two meet would tell what is in a document: a range can be as narrow as one likes."""
    bob, begin_ts = world.of("bob"), world.wire.served.publisher.ts
    reads = [
        m.Range.of((world.schema.number, "by_text"), EVERYTHING),
        m.Range(world.schema.number, "by_id", world.cleos.id.encode(), world.cleos.id.encode() + b"\0", 0),
        *(m.Range(number, "by_creation_time", b"", None, 0) for number in range(10_000, 10_003)),
    ]
    world.of("cleo").write(world.schema, changed(world.schema, world.cleos, text="z"))
    own = inserted(world.schema, 8, student="bob")
    bob.answer(bob.commit_of(world.schema, [own], reads, begin_ts), m.Committed)
    world.of("dean").write(world.schema, changed(world.schema, world.bobs, text="z"))
    late = bob.ask(bob.commit_of(world.schema, [deleted(own)], reads[:1], begin_ts))[-1]
    assert getattr(late, "code", "") == "conflict"


# --- who says what the policy is -------------------------------------------------------------------------------------


def define(client: Client, document: Any) -> m.Message:
    """Ask for the table of a class."""
    fields = msgspec.to_builtins(schema_of(document, 0).definition_fields)
    return client.ask(m.Define(client.number(), fields))[-1]


def with_fields(**fields: Any) -> type[rdb.Document]:
    """A `sheet` with other fields, too."""
    text = rdb.v.optional(rdb.v.string())
    made = rdb.table("policy_other", Answer.__indexes__, **{"student": rdb.v.string(), "text": text} | fields)
    said = schema_of(made, 1).definition_fields
    return sheet(columns=said["columns"], schema=said["schema"])


GUESS = with_fields(text=rdb.v.literal("c"))


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize(
    "document",
    [
        sheet(policy=None),
        sheet(policy=rdb.policy()),
        sheet(policy=rdb.policy(read=[rdb.owner("student")], write=[rdb.owner("student")])),
        with_fields(more=rdb.v.optional(rdb.v.string())),
        GUESS,
    ],
    ids=["removed", "opened", "changed", "another field", "a guess at what is in it"],
)
def test_who_may_not_deploy_changes_nothing_of_a_table_with_a_policy(world: World, name: str, document: Any) -> None:
    answer = define(world.of(name), document)
    if name == "dean":
        assert getattr(answer, "code", None) == ("schema-mismatch" if document is GUESS else None)
        return
    assert isinstance(answer, m.Failed)
    assert answer.code == DENIED
    assert f"{name!r} may not change table 'policy_sheets'" in answer.message
    assert f"The table has policy={POLICY!r}." in answer.message
    assert by_range(world, world.of("eve")) == set()


def test_who_may_write_makes_a_table_with_a_policy_and_gives_none_to_another(world: World) -> None:
    bob, dean, new, plain = (
        world.of("bob"),
        world.of("dean"),
        sheet(name="policy_new"),
        sheet(name="policy_a", policy=None),
    )
    assert isinstance(define(bob, new), m.Defined)
    assert isinstance(define(bob, new), m.Defined)
    assert isinstance(define(bob, plain), m.Defined)
    assert getattr(define(bob, sheet(name="policy_a")), "code", "") == DENIED
    assert isinstance(define(dean, sheet(name="policy_a")), m.Defined)


def test_another_policy_is_in_force_at_once(world: World) -> None:
    eve, dean = world.of("eve"), world.of("dean")
    assert by_range(world, eve) == set()
    for policy, seen in ((None, {"b", "c"}), (rdb.policy(read=[]), set()), (rdb.policy(write=[]), {"b", "c"})):
        heard = told(world, eve, lambda policy=policy: define(dean, sheet(policy=policy)))  # type: ignore[misc]
        whole = [number for one in heard if isinstance(one, m.Transition) for number in one.whole]
        assert whole == [world.schema.number]
        assert by_range(world, eve) == by_sql(world, eve) == by_the_page(world, eve) == seen


CLOSED = sheet(policy=rdb.policy(read=[]))


def closing(world: World, once: Callable[..., Any], *, first: bool = False) -> Callable[..., Any]:
    """What `once` gives; but when it is called, the table is closed to all just after that, or just before."""
    is_open = [True]

    def close() -> None:
        if is_open:
            is_open.clear()
            world.wire.served.define(DEAN, msgspec.to_builtins(schema_of(CLOSED, 0).definition_fields))

    def called(*arguments: Any, **options: Any) -> Any:
        if first:
            close()
        found = once(*arguments, **options)
        close()
        return found

    return called


@pytest.mark.parametrize("path", [by_range, by_id, by_count])
def test_a_policy_that_changes_while_somebody_reads_is_in_force(
    world: World, monkeypatch: pytest.MonkeyPatch, path: Callable[[World, Client], set[str] | int]
) -> None:
    monkeypatch.setattr(world.wire.served, "table", closing(world, world.wire.served.table))
    assert not path(world, world.of("bob"))


@pytest.mark.parametrize("first", [True, False])
def test_a_policy_that_changes_while_sql_runs_is_in_force(
    world: World, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    monkeypatch.setattr(world.wire.served, "sql", closing(world, world.wire.served.sql, first=first))
    assert by_sql(world, world.of("bob")) == set()


def test_a_policy_that_changes_before_a_commit_is_in_force(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever read or built by the old one runs again."""
    monkeypatch.setattr(world.wire.served, "table", closing(world, world.wire.served.table))
    bob = world.of("bob")
    reads = [m.Range.of((world.schema.number, "by_text"), EVERYTHING)]
    answer = bob.ask(bob.commit_of(world.schema, [inserted(world.schema, 8, student="zoe")], reads))[-1]
    assert getattr(answer, "code", "") == "conflict"


def test_a_kernel_that_does_not_know_the_policy_is_told_when_it_writes(world: World) -> None:
    eve = world.of("eve")
    commit = eve.commit_of(world.schema, [inserted(world.schema, 8, student="eve")])
    stale = msgspec.structs.replace(
        commit, definitions={world.schema.number: digest_of(schema_of(sheet(policy=None), 1))}
    )
    assert getattr(eve.ask(stale)[-1], "code", "") == "invalid-schema"


def test_a_policy_outlives_the_process_that_declared_it(tmp_path: Path) -> None:
    with rdb.connect(tmp_path / "course") as database:
        database.load(Answer, [{"student": name, "text": name[0]} for name in ("bob", "cleo")], progress=False)
    served = Served("course", Store.open(tmp_path / "course", SystemRuntime(), Limits()))
    bob = Client(Wire(served), caller=BOB)
    (table,) = served.store.definitions()
    schema = schema_of(Answer, table.number)
    found = [schema.plain(schema.decode(data)) for _, data in bob.read(schema).documents]
    assert found == [{"student": "bob", "text": "b"}]
    served.close()


# --- in a kernel -----------------------------------------------------------------------------------------------------


@rdb.query
def texts(ctx: rdb.QueryCtx) -> list[str]:
    return [answer.text for answer in ctx.db.query(Answer)]


@rdb.query
def total(ctx: rdb.QueryCtx) -> int:
    return ctx.db.query(Answer).count()


@rdb.mutation
def answer(ctx: rdb.MutationCtx, student: str, text: str) -> rdb.Id[Answer]:
    """One at most."""
    for one in ctx.db.query(Answer).collect():
        if one.student == student:
            ctx.db.delete(one.id)
    return ctx.db.insert(Answer(student=student, text=text))


@rdb.mutation
def correct(ctx: rdb.MutationCtx, id: rdb.Id[Answer], text: str) -> None:
    ctx.db.patch(id, text=text)


@pytest.fixture
def people(automatic: Wire) -> Iterator[dict[str, Kernel]]:
    made = {caller.name: Kernel(automatic, caller=caller) for caller in (BOB, CLEO, TESS, OWNER)}
    yield made
    for kernel in made.values():
        kernel.database.close()


def test_kernels_show_what_their_users_may_see(people: dict[str, Kernel]) -> None:
    handles = {name: kernel.database.live(texts) for name, kernel in people.items()}
    counts = {name: kernel.database.live(total) for name, kernel in people.items()}
    rows = {name: kernel.database.live("SELECT count(*) FROM policy_answers") for name, kernel in people.items()}
    for name in ("bob", "cleo"):
        db = people[name].database
        db.run(answer, db.user, "first")
        db.run(answer, db.user, f"of {name}")
    for kernel in people.values():
        kernel.settle()
    assert {name: sorted(handle.value) for name, handle in handles.items()} == {
        "bob": ["of bob"],
        "cleo": ["of cleo"],
        "tess": ["of bob", "of cleo"],
        "ada": ["of bob", "of cleo"],
    }
    assert [handle.value for handle in counts.values()] == [1, 1, 2, 2]
    assert [handle.value.fetchone() for handle in rows.values()] == [(1,), (1,), (2,), (2,)]
    inspected = {name: kernel.database.inspect() for name, kernel in people.items()}
    assert [one.tables[0].documents for one in inspected.values()] == [1, 1, 2, 2]
    assert [len(one.documents("policy_answers").value) for one in inspected.values()] == [1, 1, 2, 2]
    assert [kernel.store.conflicts for kernel in people.values()] == [0] * 4


def test_what_is_not_theirs_is_not_there_to_be_changed(people: dict[str, Kernel]) -> None:
    id = people["cleo"].database.run(answer, "cleo", "mine")
    with pytest.raises(DocumentNotFoundError):
        people["bob"].database.run(correct, id, "no")
    with pytest.raises(PermissionDeniedError, match="'tess' may not write document"):
        people["tess"].database.run(correct, id, "no")
    with pytest.raises(PermissionDeniedError, match=r"Its policy is rdb\.policy\(read=\[rdb\.owner\('student'\), "):
        people["bob"].database.run(answer, "cleo", "in her name")
    people["ada"].database.run(correct, id, "by the owner of the server")
    people["cleo"].settle()
    assert people["cleo"].database.run(texts) == ["by the owner of the server"]


def test_two_who_see_only_their_own_do_not_race(people: dict[str, Kernel]) -> None:
    bob, cleo = people["bob"], people["cleo"]
    bob.database.live(texts)
    held = bob.link.connection
    held.is_held = True  # it does not hear of hers
    cleo.database.run(answer, "cleo", "hers")
    held.is_held = False
    bob.database.run(answer, "bob", "his")
    assert bob.store.conflicts == 0
