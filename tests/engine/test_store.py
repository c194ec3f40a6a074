"""The life of a store: opened by one process at a time, closed at any moment, left without a word, interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import reactive_db as rdb
from reactive_db import limits
from reactive_db.engine.check import verify
from reactive_db.errors import (
    NotAStoreError,
    StoreClosedError,
    StoreFormatError,
    StoreFullError,
    StoreLockedError,
)
from reactive_db.storage.columns import Columns
from reactive_db.testing import crash_workload as workload
from reactive_db.testing.crash_workload import Progress
from tests.engine.conftest import RunProgram, StartProgram, run_steps

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def content(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def assert_holds(path: Path, least: Progress, most: Progress | None = None) -> None:
    """The store at `path` is sound and holds whole transactions, as many as said."""
    with workload.open_store(path) as db:
        assert workload.content_faults(workload.state_of_documents(db), least, most or least) == []
    assert verify(path).faults == []


def some_store(path: Path, steps: int = 3) -> Progress:
    with workload.open_store(path) as db:
        db.run(workload.begin)
        for number in range(1, steps + 1):
            db.run(workload.step, 0, number)
    return Progress((steps, 0), frozenset(), True)


# --- one process at a time -------------------------------------------------------------------------------------------


def test_a_second_process_is_told_who_has_the_store(path: Path, start_program: StartProgram) -> None:
    holder = start_program(
        'workload.open_store(path).run(workload.begin); print("ready", flush=True); sys.stdin.read()'
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    before = content(path)
    for look in (rdb.connect, verify):
        with pytest.raises(StoreLockedError, match=rf"process {holder.pid} on .*Close it there"):
            look(path)
    assert content(path) == before
    holder.kill()
    holder.wait()
    assert_holds(path, Progress(has_begun=True))


def test_connecting_again_gives_the_same_connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    (path.parent / "link").symlink_to(path.parent, target_is_directory=True)
    with rdb.connect(path) as db:
        assert rdb.connect(str(path)) is db
        assert rdb.connect(f"./{path.name}") is db
        assert rdb.connect(path.parent / "link" / path.name) is db
    assert rdb.connect(path) is not db
    rdb.connect(path).close()


def test_threads_that_connect_at_once_get_the_same_connection(path: Path) -> None:
    barrier = threading.Barrier(4)
    found: list[rdb.Database] = []

    def connect() -> None:
        barrier.wait()
        found.append(rdb.connect(path))

    threads = [threading.Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    found[0].close()


@pytest.mark.parametrize("look", [rdb.connect, verify])
def test_a_newer_format_is_left_alone(path: Path, look: Callable[[Path], object]) -> None:
    some_store(path)
    (path / "format.json").write_text(json.dumps({"format": 2}))
    before = content(path)
    with pytest.raises(StoreFormatError, match=r"format 2.*Upgrade"):
        look(path)
    assert content(path) == before


@pytest.mark.parametrize("look", [rdb.connect, verify])
def test_what_is_no_store_is_left_alone(path: Path, look: Callable[[Path], object]) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("precious")
    for target in (path, path / "thesis.txt"):
        with pytest.raises(NotAStoreError, match=re.escape(str(target))):
            look(target)
    assert content(path) == {"thesis.txt": b"precious"}


# --- forks -----------------------------------------------------------------------------------------------------------

FORK = """
db = workload.open_store(path)
db.run(workload.begin)
memory = rdb.connect()
memory.run(workload.begin)
handle = db.live(workload.everything, "crash_tallies")
db.run(workload.step, 0, 1)
db.sql("SELECT 1")  # so that the parent has nothing left to write while its child lives

def refused(error, use, *args):
    try:
        use(*args)
    except error as raised:
        return str(raised)
    raise AssertionError(f"{use} was not refused")

before = {file.name: (file.stat().st_size, file.stat().st_mtime_ns) for file in path.iterdir()}
child = os.fork()
if child == 0:
    for use in (
        lambda: db.run(workload.step, 0, 2), lambda: db.run(workload.everything, "crash_notes"),
        lambda: db.live(workload.everything, "crash_notes"), lambda: db.sql("SELECT 1"),
        lambda: db.load(workload.Crate, []), lambda: db.backup(path.with_suffix(".copy")),
    ):
        assert "Connect in the child" in refused(rdb.errors.StoreForkedError, use)
    assert f"process {os.getppid()}" in refused(rdb.errors.StoreLockedError, rdb.connect, path)
    assert len(handle.value) == 2
    with workload.open_store(path.with_name("elsewhere.rdb")) as own:
        own.run(workload.begin)
        own.run(workload.step, 0, 1)
    assert rdb.connect() is not memory
    rdb.connect().run(workload.begin)
    import gc
    del db, memory, handle
    gc.collect()
    END
assert os.waitpid(child, 0)[1] == 0, "the child failed"
assert before == {file.name: (file.stat().st_size, file.stat().st_mtime_ns) for file in path.iterdir()}
db.run(workload.step, 0, 2)
print(len(handle.value), db.sql("SELECT number FROM crash_tallies ORDER BY writer").fetchall())
"""


@needs_fork
@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
def test_a_forked_child_refuses_the_store_and_harms_nothing(path: Path, run_program: RunProgram, end: str) -> None:
    done = run_program(FORK.replace("END", end))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 [(2,), (0,)]\n"
    assert_holds(path, Progress((2, 0), frozenset(), True))
    assert_holds(path.with_name("elsewhere.rdb"), Progress((1, 0), frozenset(), True))


@needs_fork
def test_a_store_is_free_when_only_a_forked_child_of_its_holder_lives(path: Path, start_program: StartProgram) -> None:
    program = start_program("""
workload.open_store(path).run(workload.begin)
child = os.fork()
if child == 0:
    signal.pause()
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
""")
    assert program.stdout is not None
    child = int(program.stdout.readline())
    program.wait()
    try:
        assert_holds(path, Progress(has_begun=True))
    finally:
        os.kill(child, signal.SIGKILL)


# --- closing ---------------------------------------------------------------------------------------------------------


def test_close_waits_for_a_flush(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    applying, may_go_on = threading.Event(), threading.Event()
    apply = Columns.apply

    def slow(self: Columns, commits: object) -> None:
        applying.set()
        may_go_on.wait()
        apply(self, commits)  # type: ignore[arg-type]

    db = workload.open_store(path)
    db.run(workload.begin)
    monkeypatch.setattr(Columns, "apply", slow)
    db.run(workload.step, 0, 1)
    assert applying.wait(30)
    closer = threading.Thread(target=db.close)
    closer.start()
    may_go_on.set()
    closer.join()
    assert not (path / "holder.json").exists()
    assert_holds(path, Progress((1, 0), frozenset(), True))


def test_closing_again_does_nothing(path: Path) -> None:
    db = workload.open_store(path)
    closers = [threading.Thread(target=db.close) for _ in range(3)]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join()
    db.close()
    assert "closed" in repr(db)


def test_a_closed_store_says_so_and_its_handles_keep_what_they_show(path: Path) -> None:
    db = workload.open_store(path)
    db.run(workload.begin)
    handle = db.live(workload.everything, "crash_accounts")
    by_sql = db.live("SELECT count(*) AS n FROM crash_accounts")
    held = db.live(workload.everything, "crash_tallies", debounce=60)
    db.run(workload.step, 0, 1)
    accounts = handle.value
    db.close()
    for use in (
        lambda: db.run(workload.step, 0, 2),
        lambda: db.run(workload.everything, "crash_notes"),
        lambda: db.live(workload.everything, "crash_notes"),
        lambda: db.live("SELECT 1"),
        lambda: db.sql("SELECT 1"),
        lambda: db.load(workload.Crate, [{"load": 1, "part": 1, "weight": 1.0, "label": ""}]),
        lambda: db.backup(path.with_name("copy.rdb")),
    ):
        with pytest.raises(StoreClosedError, match=r"closed.*Connect again"):
            use()
    assert handle.value == accounts
    assert (handle.status, handle.error) == ("current", None)
    assert by_sql.value.fetchall() == [(workload.ACCOUNTS,)]
    assert "crash_accounts" in repr(by_sql)
    for one in (handle, by_sql, held):
        one.close()
    assert not path.with_name("copy.rdb").exists()


@pytest.mark.parametrize("seed", range(8))
def test_closing_while_others_write_loses_nothing_acknowledged(path: Path, seed: int) -> None:
    db = workload.open_store(path)
    db.run(workload.begin)
    acknowledged = [0] * workload.WRITERS
    enough = threading.Event()
    close_at = Random(seed).randrange(1, 40)

    def write(writer: int) -> None:
        try:
            while True:
                acknowledged[writer] = db.run(workload.step, writer, acknowledged[writer] + 1)
                if acknowledged[writer] >= close_at:
                    enough.set()
        except StoreClosedError:
            pass

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(workload.WRITERS)]
    for thread in writers:
        thread.start()
    enough.wait()
    db.close()
    for thread in writers:
        thread.join()
    least = Progress(tuple(acknowledged), frozenset(), True)
    assert_holds(path, least, Progress(tuple(n + 1 for n in acknowledged), frozenset(), True))


def test_writers_are_refused_before_what_the_columns_cannot_take_fills_the_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    db = workload.open_store(path)
    db.run(workload.begin)
    db.sql("SELECT 1")

    def fail(self: Columns, commits: object) -> None:
        raise StoreFullError("no room for the columns.")

    monkeypatch.setattr(Columns, "apply", fail)
    monkeypatch.setattr(limits, "UNFLUSHED_WRITES_MAX", 30)
    with pytest.raises(StoreClosedError, match=r"closed \(no room for the columns"):
        run_steps(db, 1, 30)
    numbers = tuple(tally.number for tally in db.run(workload.everything, "crash_tallies"))
    assert 1 < sum(numbers) < 30
    with pytest.raises(StoreFullError):
        db.sql("SELECT 1")
    monkeypatch.undo()
    again = workload.open_store(path)
    assert again is not db
    again.close()
    assert_holds(path, Progress(numbers, frozenset(), True))


# --- the end of a process --------------------------------------------------------------------------------------------

BUSY = """
db = workload.open_store(path)
db.run(workload.begin)
handles = [db.live(workload.everything, "crash_notes"), db.live("SELECT count(*) FROM crash_entries"),
           db.live(workload.everything, "crash_tallies", debounce=30)]
handles[0].observe(lambda change: None, "value")
for number in range(1, 21):
    db.run(workload.step, 0, number)
"""
ENDS = {
    "the last line": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an exception": ('raise ValueError("its own fault")', 1),
    "forgotten": ("del db, handles", 0),
    "a daemon thread that writes": (
        """
import contextlib
going = threading.Event()
def write():
    with contextlib.suppress(rdb.errors.StoreClosedError):
        for number in range(1, 10_000):
            db.run(workload.step, 1, number)
            going.set()
threading.Thread(target=write, daemon=True).start()
going.wait()
""",
        0,
    ),
    "a daemon thread in SQL": (
        """
import contextlib
going = threading.Event()
def ask():
    with contextlib.suppress(rdb.errors.StoreClosedError):
        going.set()
        db.sql("SELECT sum(a.range * b.range) FROM range(100_000) a, range(100_000) b")
threading.Thread(target=ask, daemon=True).start()
going.wait()
""",
        0,
    ),
    "a thread that goes on": (
        """
def write():
    for number in range(1, 101):
        db.run(workload.step, 1, number)
threading.Thread(target=write).start()
""",
        0,
    ),
    "a store in memory": ('rdb.connect().run(workload.begin); print(rdb.connect().sql("SELECT 1"))', 0),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_process_that_ends_without_close_ends_well(path: Path, run_program: RunProgram, end: str) -> None:
    code, returncode = ENDS[end]
    done = run_program(BUSY + code)
    assert done.returncode == returncode, done.stderr
    expected = "ValueError: its own fault" if end == "an exception" else ""
    unexpected = [line for line in done.stderr.splitlines() if re.search("nanobind|leak|terminate|Fatal|Error", line)]
    assert unexpected in ([], [expected]), done.stderr
    with workload.open_store(path) as db:
        state = workload.state_of_documents(db)
        progress = workload.progress_of(state)
        assert workload.content_faults(state, Progress((20, 0), frozenset(), True), progress) == []
        if end == "a thread that goes on":
            assert progress.numbers == (20, 100)
    assert verify(path).faults == []


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------

PRESSED_AGAIN = """
def lost(unraisable):
    # Python drops what is raised in the callback of a weak reference; people press the keys once more then.
    if unraisable.exc_type is KeyboardInterrupt:
        threading.Timer(0.01, os.kill, [os.getpid(), signal.SIGINT]).start()
    else:
        sys.__unraisablehook__(unraisable)

sys.unraisablehook = lost
"""
INTERRUPTED = f"""{PRESSED_AGAIN}
db = workload.open_store(path)
db.run(workload.begin)
handle = db.live(workload.everything, "crash_tallies")
stop, numbers = threading.Event(), [0, 0]

@rdb.mutation
def where(ctx: rdb.MutationCtx) -> int:
    return ctx.db.query(workload.Tally).with_index("by_writer", writer=0).unique().number

def write():
    while not stop.is_set():
        numbers[1] = db.run(workload.step, 1, numbers[1] + 1)

other = threading.Thread(target=write)
other.start()
for _ in range(TIMES):
    try:
        print("ready", flush=True)
        while True:
            WORK
    except KeyboardInterrupt:
        # It may have been committed, or be on its way, for which a mutation waits.
        found = db.run(where)
        assert found in (numbers[0], numbers[0] + 1), (found, numbers)
        numbers[0] = found
        assert workload.progress_of(workload.state_of_documents(db)).numbers[0] == found
signal.signal(signal.SIGINT, signal.SIG_IGN)
stop.set()
other.join()
numbers[0] = db.run(workload.step, 0, numbers[0] + 1)
assert [row.number for row in sorted(handle.value, key=lambda row: row.writer)] == numbers, (handle.value, numbers)
assert len(db._store.snapshots) == 0, "a snapshot was left open"
print(*numbers, flush=True)
"""
WORK = {
    "mutations": "numbers[0] = db.run(workload.step, 0, numbers[0] + 1)",
    "mutations and SQL": 'numbers[0] = db.run(workload.step, 0, numbers[0] + 1); db.sql("SELECT * FROM crash_notes")',
}


OPENED_AND_CLOSED = f"""{PRESSED_AGAIN}
number = 0
for _ in range(TIMES):
    try:
        print("ready", flush=True)
        while True:
            with workload.open_store(path) as db:
                db.run(workload.begin)
                number = db.run(workload.step, 0, number + 1)
    except KeyboardInterrupt as interrupt:
        kept = interrupt  # as a notebook does: with every frame that it went through
        with workload.open_store(path) as db:
            found = workload.progress_of(workload.state_of_documents(db)).numbers[0]
        assert found in (number, number + 1), (found, number)
        number = found
signal.signal(signal.SIGINT, signal.SIG_IGN)
print(number, 0, flush=True)
"""


def test_ctrl_c_while_opening_or_closing_keeps_no_lock(path: Path, start_program: StartProgram) -> None:
    times, random = 25, Random(1)
    process = start_program(OPENED_AND_CLOSED.replace("TIMES", str(times)))
    interrupt(process, times, random, 0.15)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert_holds(path, Progress(tuple(map(int, stdout.split())), frozenset(), True))


def interrupt(process: subprocess.Popen[str], times: int, random: Random, seconds: float) -> None:
    """Send Ctrl-C once after each "ready", at a random moment."""
    assert process.stdout is not None
    for _ in range(times):
        if process.stdout.readline() != "ready\n":
            break
        threading.Event().wait(random.uniform(0, seconds))
        process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("work", WORK)
def test_ctrl_c_at_random_moments_leaves_the_store_usable(path: Path, start_program: StartProgram, work: str) -> None:
    times, random = 60, Random(work)
    process = start_program(INTERRUPTED.replace("TIMES", str(times)).replace("WORK", WORK[work]))
    interrupt(process, times, random, 0.02)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert_holds(path, Progress(tuple(map(int, stdout.split())), frozenset(), True))
