"""A disk that really fills up: one clear error, nothing acknowledged is lost, and the store opens once there is room.

Each test runs a program on a small disk of its own, where a ballast file takes the room away and gives it back.
"""

from __future__ import annotations

import pytest

from tests.storage.conftest import RunOnSmallDisk

PREAMBLE = """
import logging, os, shutil
import reactive_db as rdb
from reactive_db.engine.check import verify
from reactive_db.testing import crash_workload as workload

logging.disable()
path = disk / "course.rdb"
ballast = disk / "ballast"
numbers = [0, 0]

def fill(left=0):
    with ballast.open("wb") as file:
        room = shutil.disk_usage(disk).free - left
        file.write(bytes(max(0, room)))

def make_room():
    ballast.unlink()

def step(db, writer=0):
    numbers[writer] = db.run(workload.step, writer, numbers[writer] + 1)

def error_of(use):
    try:
        use()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def left():
    # Whatever was acknowledged, and at most one transaction more; the store goes on.
    least = workload.Progress(tuple(numbers), frozenset(), True)
    most = workload.Progress(tuple(n + 1 for n in numbers), frozenset(), True)
    with workload.open_store(path) as db:
        state = workload.state_of_documents(db)
        faults = workload.content_faults(state, least, most)
        faults += [] if workload.state_of_columns(db) == state else ["SQL differs"]
        numbers[:] = workload.progress_of(state).numbers
        step(db)
        step(db, 1)
    return faults + verify(path).faults

db = workload.open_store(path)
db.run(workload.begin)
for _ in range(5):
    step(db)
db.sql("SELECT 1")
"""
DISK_KIBIBYTES = 24 * 1024


def test_a_full_journal_refuses_commits_and_loses_none(run_on_small_disk: RunOnSmallDisk) -> None:
    """Columns that do not follow, so that only the journal asks for room."""
    script = """
handle = db.live(workload.everything, "crash_tallies")
with db._store.flusher.turn:
    fill(100_000)
    answer = {}
    while "first" not in answer:
        if error := error_of(lambda: step(db)):
            answer["first"] = error
    answer["next"] = error_of(lambda: step(db))
    answer["handle"] = [row.number for row in handle.value][0] == numbers[0]
    answer["read"] = [row.number for row in db.run(workload.everything, "crash_tallies")][0] == numbers[0]
answer["connect"] = error_of(lambda: rdb.connect(path)) or "opened"
make_room()
answer["steps"] = numbers[0]
answer["left"] = left()
"""
    answer = run_on_small_disk(PREAMBLE + script, DISK_KIBIBYTES)
    assert answer["first"].startswith("StoreFullError: no room on the disk")
    assert answer["first"].endswith("docs/errors/store-full.md")
    assert "Make room" in answer["first"]
    assert answer["next"].startswith("StoreClosedError: the store is closed (no room on the disk")
    assert "Connect again" in answer["next"]
    assert answer["handle"]
    assert answer["read"]
    assert answer["connect"] == "opened" or answer["connect"].startswith("StoreFullError"), answer["connect"]
    assert answer["steps"] > 5
    assert answer["left"] == []


def test_full_columns_refuse_sql_while_the_journal_goes_on(run_on_small_disk: RunOnSmallDisk) -> None:
    script = """
with db._store.flusher.turn:
    for _ in range(150):
        step(db)
    fill(100_000)  # for some commits, but not for all of these at once
answer = {"sql": error_of(lambda: db.sql("SELECT 1"))}
before = numbers[0]
answer["step"] = error_of(lambda: [step(db) for _ in range(5)])
answer["steps"] = numbers[0] - before
answer["again"] = error_of(lambda: db.sql("SELECT 1"))
answer["close"] = error_of(db.close)
answer["closed"] = error_of(lambda: db.run(workload.everything, "crash_tallies"))
make_room()
answer["left"] = left()
"""
    answer = run_on_small_disk(PREAMBLE + script, DISK_KIBIBYTES)
    assert answer["sql"].startswith("StoreFullError: no room for the columns"), answer
    assert "The journal has every commit" in answer["sql"]
    assert answer["step"] is None
    assert answer["steps"] == 5
    assert answer["again"].startswith("StoreFullError")
    assert answer["close"] is None
    assert answer["closed"].startswith("StoreClosedError")
    assert answer["left"] == []


def test_connecting_again_after_room_was_made(run_on_small_disk: RunOnSmallDisk) -> None:
    """What the error tells people to do, without a word about closing."""
    script = """
fill()
errors = [error_of(lambda: step(db)) for _ in range(2_000)]
make_room()
answer = {"errors": sorted({error.split(":")[0] for error in errors if error})}
again = workload.open_store(path)
answer["is new"] = again is not db
answer["old"] = error_of(lambda: step(db))
numbers[:] = workload.progress_of(workload.state_of_documents(again)).numbers
step(again)
again.close()
answer["left"] = left()
"""
    answer = run_on_small_disk(PREAMBLE + script, DISK_KIBIBYTES)
    assert set(answer["errors"]) <= {"StoreFullError", "StoreClosedError", "CommitUncertainError"}
    assert answer["errors"]
    assert answer["is new"]
    assert answer["old"].startswith("StoreClosedError")
    assert answer["left"] == []


def test_a_load_that_does_not_fit_leaves_nothing(run_on_small_disk: RunOnSmallDisk) -> None:
    script = """
fill(6_000_000)
answer = {"load": error_of(lambda: workload.load(db, 1))}
db.close()
make_room()
answer["left"] = left()
"""
    answer = run_on_small_disk(PREAMBLE + script, DISK_KIBIBYTES)
    assert answer["load"].startswith("StoreFullError"), answer
    assert answer["left"] == []


def test_opening_on_a_full_disk_is_refused_and_harms_nothing(run_on_small_disk: RunOnSmallDisk) -> None:
    script = """
db.close()
with workload.open_store(path) as db:
    with db._store.flusher.turn:
        for _ in range(100):
            step(db)
        dead = shutil.copytree(path, disk / "dead.rdb")
shutil.rmtree(path)
os.rename(dead, path)
answer = []
for room in (0, 20_000, 100_000, 400_000):
    fill(room)
    error = error_of(lambda: workload.open_store(path).close())
    answer.append(error)
    make_room()
answer = {"errors": answer, "left": left()}
"""
    answer = run_on_small_disk(PREAMBLE + script, DISK_KIBIBYTES)
    for error in answer["errors"]:
        assert error is None or error.startswith(("StoreFullError", "StoreError")), error
    assert answer["errors"][0] is not None
    assert answer["left"] == []


@pytest.mark.parametrize("room", [0, 200_000])
def test_a_backup_that_does_not_fit_is_no_store(run_on_small_disk: RunOnSmallDisk, room: int) -> None:
    script = """
workload.load(db, 1)
fill(ROOM)
copy = disk / "copy.rdb"
answer = {"backup": error_of(lambda: db.backup(copy)), "copy": error_of(lambda: verify(copy))}
make_room()
db.backup(copy)
answer["later"] = verify(copy).faults
step(db)
"""
    answer = run_on_small_disk(PREAMBLE + script.replace("ROOM", str(room)), 48 * 1024)
    assert answer["backup"].startswith("StoreFullError"), answer
    assert answer["copy"].startswith("NotAStoreError")
    assert answer["later"] == []
