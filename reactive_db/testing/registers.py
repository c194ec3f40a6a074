"""Registers: documents that hold lists, for transactions to append to and to read, each in many ways.

The checker sees only which values were read and appended. How is varied here, so that every kind of read set and
write set is behind them: documents by id, index ranges, whole tables, filters; patches, replacements, new documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Final, Literal

from reactive_db.errors import ApplicationError
from reactive_db.functions.contexts import DatabaseReader, DatabaseWriter
from reactive_db.model.documents import Document, Object
from reactive_db.model.ids import Id
from reactive_db.query.bounds import between, gte, lt
from reactive_db.testing.history import Append, Read

Operation = Append | Read
Kind = Literal["append", "read", "read all", "fail"]

WAYS: Final = 5
"""How many ways there are to do the same thing."""

_KINDS: Final[tuple[Kind, ...]] = ("append", "read", "read all")

BY_ID: Final = 0
"""The way to read a register by the id of its document, where that is known."""

PAGED: Final = 3
"""The way to read all that a function has only once."""


class Register(Document, table="testing_registers", indexes={"by_name": ["name"]}):
    """A list with a name; a register that has no document is empty."""

    name: str
    values: list[int] = []


class Step(Object):
    """One thing that a transaction does; plain, so that it can be an argument of a function."""

    kind: Kind
    register: str = ""
    all_registers: list[str] = []
    """What `read all` has to find or find absent."""
    value: int = 0
    way: int = 0
    id: str = ""
    """Of the register's document, where it has had one from the beginning and keeps it."""


def create(db: DatabaseWriter, names: Iterable[str]) -> dict[str, str]:
    """Give these registers documents; by name, their ids."""
    return {name: str(db.insert(Register(name=name))) for name in names}


def perform(db: DatabaseWriter, step: Step) -> list[Operation]:
    """Do one step in the transaction of `db`; what a recorder has to write down.

    Raises:
        ApplicationError: it is the step's purpose.
    """
    if step.kind == "append":
        _append(db, step)
        return [Append(step.register, step.value)]
    if step.kind == "fail":
        raise ApplicationError("on purpose")
    return look(db, step)


def look(db: DatabaseReader, step: Step) -> list[Operation]:
    """Do one step that only reads."""
    if step.kind == "read all":
        found = _all(db, step.way)
        return [Read(name, _joined(r for r in found if r.name == name)) for name in step.all_registers]
    return [Read(step.register, _joined(_find(db, step)))]


def attempted(steps: Sequence[Step]) -> tuple[Append, ...]:
    """What a transaction that failed would have appended."""
    return tuple(Append(step.register, step.value) for step in steps if step.kind == "append")


def random_steps(random: Random, names: Sequence[str], ids: Mapping[str, str], values: Iterator[int]) -> list[Step]:
    """One to five steps over some of the registers; each append takes the next of `values`."""
    steps: list[Step] = []
    for _ in range(random.randint(1, 5)):
        kind = random.choices(_KINDS, (5, 5, 1))[0]
        way = random.randrange(WAYS)
        if kind == "read all":
            is_paged = any(step.kind == kind and step.way == PAGED for step in steps)
            steps.append(Step(kind=kind, all_registers=list(names), way=0 if is_paged else way))
            continue
        name = random.choice(names)
        value = next(values) if kind == "append" else 0
        steps.append(Step(kind=kind, register=name, value=value, way=way, id=ids.get(name, "")))
    return steps


def _joined(found: Iterable[Register]) -> tuple[int, ...]:
    """A register's values. In a store that is broken it may have two documents: let the checker tell."""
    return tuple(value for register in found for value in register.values)


def _find(db: DatabaseReader, step: Step) -> list[Register]:
    name, query = step.register, db.query(Register)
    match step.way:
        case _ if step.way == BY_ID and step.id:
            found = db.get(Id[Register](step.id))
            return [] if found is None else [found]
        case 1:
            return query.with_index("by_name", name=between(name, name)).order("desc").take(1)
        case 2:
            return query.filter(lambda register: register.name == name).collect()
        case 3 if not query.with_index("by_name", name=name).count():
            return []
    return query.with_index("by_name", name=name).collect()


def _all(db: DatabaseReader, way: int) -> list[Register]:
    query = db.query(Register)
    match way:
        case 0:
            return query.collect()
        case 1:
            return query.with_index("by_name").order("desc").take(1_000)
        case 2:
            low = query.with_index("by_name", name=lt("r2")).collect()
            return low + query.with_index("by_name", name=gte("r2")).collect()
        case _ if way == PAGED:
            return query.paginate(None, 1_000).items
    return [register for register in query.order("desc") if register.name]


def _append(db: DatabaseWriter, step: Step) -> None:
    found = next(iter(_find(db, step)), None)
    if found is None:
        db.insert(Register(name=step.register, values=[step.value]))
        return
    after = Register(name=step.register, values=[*found.values, step.value])
    match step.way:
        case 0:
            db.replace(found.id, after)
        case 1 if not step.id:
            db.delete(found.id)
            db.insert(after)
        case _:
            db.patch(found.id, values=after.values)
