"""The stores of a server: opened once, made only by who may, never more than the limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reactive_db import limits
from reactive_db.engine.store import Store
from reactive_db.errors import LimitError, NotAStoreError, PermissionDeniedError
from reactive_db.limits import Limits
from reactive_db.runtime import SystemRuntime
from reactive_db.server.stores import Stores, named_in
from reactive_db.testing.threads import PATIENCE_SECONDS, run_in_threads


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    made = Stores(SystemRuntime(), Limits(), named_in(tmp_path))
    yield made
    made.close()


def test_a_store_is_opened_once(stores: Stores) -> None:
    first = stores.open("course", may_create=True)
    assert stores.open("course", may_create=False) is first
    assert first.name == "course"


def test_who_may_not_write_makes_none(stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(PermissionDeniedError, match="there is no store 'course' on this server yet"):
        stores.open("course", may_create=False)
    assert list(tmp_path.glob("*.rdb")) == []


def test_only_so_many_are_open(stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "STORES_OPEN_MAX", 2)
    for name in ("one", "two", "one"):
        stores.open(name, may_create=True)
    with pytest.raises(LimitError, match="2 stores open") as raised:
        stores.open("three", may_create=True)
    assert raised.value.limit == "STORES_OPEN_MAX"
    assert not (tmp_path / "three.rdb").exists()


def test_while_one_is_opened_others_are_there(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.open("course", may_create=True)
    begun, may_go_on, open_store = threading.Event(), threading.Event(), Store.open

    def slowly(path: Path, *rest: Any) -> Store:
        begun.set()
        assert may_go_on.wait(PATIENCE_SECONDS)
        return open_store(path, *rest)

    monkeypatch.setattr(Store, "open", slowly)
    other = next(name for name in map(str, range(100)) if stores._turn_of(name) is not stores._turn_of("course"))

    def look() -> None:
        assert begun.wait(PATIENCE_SECONDS)
        assert list(stores.all_open()) == ["course"]
        stores.open("course", may_create=False)
        may_go_on.set()

    run_in_threads([lambda: stores.open(other, may_create=True), look])
    assert list(stores.all_open()) == [other, "course"]


def test_one_that_has_failed_is_opened_anew(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stores.open("course", may_create=True)
    monkeypatch.setattr(first.store.flusher, "_failure", OSError("the disk is gone"))
    assert stores.open("course", may_create=False) is not first


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "C:", "a\0b", "a\n", "x.rdb", "-rf", "~ada"])
def test_only_plain_names_name_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotAStoreError, match="Its stores have plain names such as `course`"):
        named_in(tmp_path)(name)


def test_after_the_end_nothing_begins(stores: Stores) -> None:
    done: list[int] = []
    stores.close()
    stores.submit(lambda: done.append(1))
    assert done == []
