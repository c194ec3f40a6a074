"""Row policies: which documents of a table a user may read, and which they may write.

Theory of operation. A policy is declared with its table, is stored in the table's definition, and is checked where the
data is. It is data and no code, so a server that runs nobody's code can check it. Each side is a list of rules, of
which one must hold. For one user most of them are settled at once; what is left is a `Scope`, the documents that name
the user in one of some fields, or None, all of them. Who may deploy is above policies.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import msgspec

from reactive_db import limits
from reactive_db.errors import SchemaError


class Rule(msgspec.Struct, frozen=True):
    """Whom one line of a policy lets through."""

    kind: Literal["owner", "role", "anyone"]
    name: str = ""
    """Of the field, or of the role."""

    def __repr__(self) -> str:
        return "rdb.anyone" if self.kind == "anyone" else f"rdb.{self.kind}({self.name!r})"


class Policy(msgspec.Struct, frozen=True):
    """Who may read a document, and who may write it; made by `policy`."""

    read: list[Rule]
    write: list[Rule]

    def readable(self, user: User) -> Scope | None:
        """The documents that a user may read; None: all."""
        return _scope(self.read, user)

    def writable(self, user: User) -> Scope | None:
        """The documents that a user may write, be it as they were or as they become; None: all."""
        return _scope(self.write, user)

    def __repr__(self) -> str:
        return f"rdb.policy(read={self.read!r}, write={self.write!r})"


class User(Protocol):
    """Who asks, as the server found out."""

    @property
    def name(self) -> str: ...

    @property
    def roles(self) -> frozenset[str]: ...

    @property
    def is_owner(self) -> bool:
        """Whether they may deploy."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The documents of a table that have a user's name in one of some fields; none without fields."""

    user: str
    fields: tuple[str, ...]

    def has(self, *states: Any) -> bool:
        """Whether one of these is such a document; None is no document."""
        # A document of an earlier definition may lack the field: then it is nobody's.
        for state in states:
            for field in self.fields:
                if getattr(state, field, None) == self.user:
                    return True
        return False


anyone: Final = Rule("anyone")
"""The rule that holds for all who may read the store, or write to it."""


def owner(field: str) -> Rule:
    """The rule that a document has the user's own name in `field`.

    Raises:
        SchemaError: that is no name of a field.
    """
    return Rule("owner", _named("owner", "the name of a field", field))


def role(name: str) -> Rule:
    """The rule that the user has a role; on a JupyterHub, is in the group of that name.

    Raises:
        SchemaError: that is no name of a role.
    """
    return Rule("role", _named("role", "the name of a role", name))


def policy(*, read: Sequence[Rule] = (anyone,), write: Sequence[Rule] = (anyone,)) -> Policy:
    """Who may read the documents of a table, and who may write them: whom one of the rules lets through.

    Without rules, as in `write=[]`, it is only those who may deploy, who are above every policy. A write needs a rule
    to hold for the document as it was and as it becomes, so nobody takes over or gives away what is not theirs.

    Raises:
        SchemaError: something in the lists is no rule.
    """
    return Policy(_rules("read", read), _rules("write", write))


def check_policy(given: Any, document: type[msgspec.Struct], table: str) -> None:
    """Raises SchemaError unless a table with documents of this class can have `given` as its policy."""
    place = f"the policy of table {table!r}"
    if not isinstance(given, Policy):
        raise SchemaError(f"{place} is {given!r}. Make one with rdb.policy(read=[…], write=[…]).")
    if table.startswith("_"):
        raise SchemaError(f"{place}: a table of the store's own has none.")
    if max(len(given.read), len(given.write)) > limits.POLICY_RULES_MAX:
        raise SchemaError(f"{place} has more than {limits.POLICY_RULES_MAX} rules on one side (POLICY_RULES_MAX).")
    for rule in (*given.read, *given.write):
        if rule.kind == "owner":
            _check_field(f"{place}: {rule!r}", document, rule.name)


def _scope(rules: list[Rule], user: User) -> Scope | None:
    if user.is_owner or any(rule.kind == "anyone" or _has_role(rule, user) for rule in rules):
        return None
    return Scope(user.name, tuple(rule.name for rule in rules if rule.kind == "owner"))


def _has_role(rule: Rule, user: User) -> bool:
    return rule.kind == "role" and rule.name in user.roles


def _named(kind: str, what: str, given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise SchemaError(f"rdb.{kind}() takes {what}, got {given!r}.")
    return given


def _rules(side: str, given: Any) -> list[Rule]:
    if not isinstance(given, list | tuple) or not all(isinstance(rule, Rule) for rule in given):
        rules = "rdb.owner(field), rdb.role(name) or rdb.anyone"
        raise SchemaError(f"rdb.policy({side}=…) takes a list of {rules}, got {given!r}.")
    return list(given)


def _check_field(place: str, document: type[msgspec.Struct], field: str) -> None:
    fields = zip(document.__struct_fields__, document.__struct_encode_fields__, strict=True)
    own = [name for name, encoded in fields if not encoded.startswith("_")]
    if field not in own:
        raise SchemaError(f"{place}, but there is no such field. Fields: {', '.join(own)}.")
    try:
        hint = typing.get_type_hints(document, include_extras=True)[field]
    except (NameError, AttributeError, TypeError):
        return  # some annotation waits for a class below; a server, which has them all, looks again
    if not isinstance(msgspec.inspect.type_info(hint), msgspec.inspect.StrType):
        raise SchemaError(f"{place}, but that field is no `str`, as the name of a user is. Annotate it as `str`.")
