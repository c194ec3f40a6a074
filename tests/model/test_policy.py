"""Row policies as data: whom a rule lets through, what can be declared, and what a definition keeps of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reactive_db as rdb
from reactive_db import limits
from reactive_db.errors import SchemaError
from reactive_db.model.codec import Converter, encoder
from reactive_db.model.defined import defined_document
from reactive_db.model.documents import declared_document
from reactive_db.model.policy import Policy, Rule
from reactive_db.model.schema import TableDefinition, TableSchema, decode_definition
from reactive_db.sync.served import Caller

CONVERTER = Converter(lambda name: None)
BOB = Caller("bob", frozenset({"read", "write"}), frozenset({"class-a", "helpers"}))
DEAN = Caller("dean", frozenset({"read", "write", "deploy"}))


class Answer(msgspec.Struct):
    student: str
    helper: str = ""


HIS, HELPED, HERS = Answer("bob"), Answer("eve", "bob"), Answer("eve", "cleo")


@pytest.mark.parametrize(
    ("rules", "seen"),
    [
        ([rdb.owner("student")], [HIS]),
        ([rdb.owner("student"), rdb.owner("helper")], [HIS, HELPED]),
        ([rdb.owner("student"), rdb.role("helpers")], [HIS, HELPED, HERS]),
        ([rdb.owner("student"), rdb.role("teacher")], [HIS]),
        ([rdb.role("teacher")], []),
        ([rdb.role("bob")], []),
        ([rdb.anyone], [HIS, HELPED, HERS]),
        ([rdb.owner("student"), rdb.anyone], [HIS, HELPED, HERS]),
        ([], []),
    ],
    ids=repr,
)
def test_one_of_the_rules_has_to_hold(rules: list[Rule], seen: list[Answer]) -> None:
    for scope in (rdb.policy(read=rules).readable(BOB), rdb.policy(write=rules).writable(BOB)):
        assert [one for one in (HIS, HELPED, HERS) if scope is None or scope.has(one)] == seen


def test_what_is_not_given_is_open() -> None:
    assert rdb.policy(read=[]).writable(BOB) is None
    assert rdb.policy(write=[]).readable(BOB) is None


def test_who_may_deploy_is_above_policies() -> None:
    nobody = rdb.policy(read=[], write=[])
    assert (nobody.readable(DEAN), nobody.writable(DEAN)) == (None, None)


def test_a_document_without_the_field_is_nobodys() -> None:
    scope = rdb.policy(read=[rdb.owner("teacher")]).readable(BOB)
    assert scope is not None
    assert not scope.has(HIS, None)


# --- declarations ----------------------------------------------------------------------------------------------------


def declare(policy: Any, annotation: Any = str, table: str = "policy_trial") -> Any:
    namespace = {"__module__": __name__, "__annotations__": {"student": annotation}}
    return type(rdb.Document)("Trial", (rdb.Document,), namespace, table=table, policy=policy)


OWNER = rdb.policy(read=[rdb.owner("student")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rdb.owner(""), "rdb.owner() takes the name of a field, got ''."),
        (lambda: rdb.role(None), "rdb.role() takes the name of a role, got None."),  # type: ignore[arg-type]
        (lambda: rdb.policy(read=rdb.anyone), "rdb.policy(read=…) takes a list of rdb.owner(field), "),  # type: ignore[arg-type]
        (lambda: rdb.policy(write=["bob"]), "rdb.policy(write=…) takes a list of rdb.owner(field), "),  # type: ignore[list-item]
        (lambda: declare(rdb.anyone), "table 'policy_trial' is rdb.anyone. Make one with rdb.policy(read=[…], write"),
        (lambda: declare(rdb.policy(write=[rdb.owner("id")])), "rdb.owner('id'), but there is no such field"),
        (lambda: declare(rdb.policy(read=[rdb.owner("him")])), "there is no such field. Fields: student."),
        (lambda: declare(OWNER, int), "rdb.owner('student'), but that field is no `str`"),
        (lambda: declare(OWNER, str | None), "rdb.owner('student'), but that field is no `str`"),
        (lambda: declare(OWNER, "list[str]"), "rdb.owner('student'), but that field is no `str`"),
        (lambda: declare(OWNER, str, None), "'Trial' has a policy and no table. Pass `table=` too."),  # type: ignore[arg-type]
        (lambda: declare(OWNER, str, "_sessions"), "table name '_sessions'"),
        (
            lambda: declare(rdb.policy(read=[rdb.owner("student")] * (limits.POLICY_RULES_MAX + 1))),
            "has more than 16 rules on one side (POLICY_RULES_MAX)",
        ),
        (
            lambda: rdb.table("policy_trial", policy=rdb.policy(read=[rdb.owner("rank")]), rank=rdb.v.int64()),
            "rdb.owner('rank'), but that field is no `str`",
        ),
    ],
)
def test_bad_use_is_one_error_where_it_is_declared(make: Callable[[], Any], message: str) -> None:
    before = declared_document("policy_trial")
    with pytest.raises(SchemaError, match=re.escape(message)):
        make()
    assert declared_document("policy_trial") is before


@pytest.mark.parametrize("annotation", [str, "str", Annotated[str, msgspec.Meta(max_length=5)], "Later"])
def test_an_owner_is_text_as_far_as_one_can_tell(annotation: Any) -> None:
    assert declare(OWNER, annotation).__policy__ == OWNER


def test_a_table_without_a_class_has_one_too() -> None:
    made = rdb.table("policy_trial", policy=OWNER, student=rdb.v.string())
    assert made.__policy__ == OWNER
    assert rdb.table("policy_trial", student=rdb.v.string()).__policy__ is None


def test_a_subclass_with_a_table_of_its_own_has_its_own() -> None:
    first = declare(OWNER)
    second = type(rdb.Document)("Second", (first,), {"__module__": __name__}, table="policy_second")
    assert second.__policy__ is None


# --- definitions -----------------------------------------------------------------------------------------------------


def definition_of(document: Any) -> TableDefinition:
    fields = TableSchema(document, 200, CONVERTER).definition_fields
    data = encoder.encode({"_id": None, "_creationTime": None, **fields})
    return decode_definition(data)


RULES = [rdb.owner("student"), rdb.role("teacher"), rdb.role("ü'\"\0"), rdb.anyone]
rules = st.lists(st.sampled_from(RULES), max_size=3)


@given(rules, rules)
def test_a_definition_keeps_it(read: list[Rule], write: list[Rule]) -> None:
    declared = declare(rdb.policy(read=read, write=write))
    double = defined_document(definition_of(declared))
    assert double.__policy__ == declared.__policy__
    assert TableSchema(double, 200, CONVERTER).is_defined_by(definition_of(declared))


def test_a_definition_of_a_store_made_before_has_none() -> None:
    plain = declare(None)
    fields = dict(TableSchema(plain, 200, CONVERTER).definition_fields)
    del fields["policy"]
    found = decode_definition(encoder.encode(fields))
    assert found.policy is None
    assert TableSchema(plain, 200, CONVERTER).is_defined_by(found)
    assert not TableSchema(declare(OWNER), 200, CONVERTER).is_defined_by(found)


@pytest.mark.parametrize(
    "policy",
    [
        Policy([rdb.owner("nothing")], []),
        Policy([], [rdb.owner("_id")]),
        Policy([rdb.role("a")] * 17, []),
        Policy([Rule("owner")], []),
    ],
    ids=repr,
)
def test_a_definition_that_nobody_declared_is_refused(policy: Policy) -> None:
    made_up = msgspec.structs.replace(definition_of(declare(OWNER)), policy=policy)
    with pytest.raises(SchemaError, match="the definition of table 'policy_trial' cannot be read: the policy of table"):
        defined_document(made_up)


def test_the_server_looks_again_at_what_could_not_be_told() -> None:
    waiting = declare(OWNER, "Later")
    with pytest.raises(SchemaError, match="Later"):
        definition_of(waiting)
    made_up = msgspec.structs.replace(definition_of(declare(None, int)), policy=OWNER)
    with pytest.raises(SchemaError, match=r"but that field is no `str`"):
        defined_document(made_up)
