"""Scripts of labels decide the order of real threads, and say who waits where when they cannot."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactive_db.testing.interleave import InterleavingError, Meanwhile, Steps

SOON = 0.5  # seconds until a script that is meant to get stuck says so: more than a busy machine holds a thread up


def walk(steps: Steps, trace: list[str], *labels: str) -> Callable[[], None]:
    """A function that reaches each label and writes it down once it has gone."""

    def function() -> None:
        for label in labels:
            steps.reach(label)
            trace.append(label)

    return function


@given(st.permutations(["a"] * 3 + ["b"] * 3 + ["c"] * 3))
def test_threads_run_in_the_order_of_the_script(turns: list[str]) -> None:
    script = [f"{name}{turns[:i].count(name)}" for i, name in enumerate(turns)]
    trace: list[str] = []
    steps = Steps(script)
    steps.run(**{name: walk(steps, trace, *(f"{name}{i}" for i in range(3))) for name in "abc"})
    assert trace == script


@given(st.booleans())
def test_what_follows_a_label_is_done_before_the_next_one_goes(is_interleaved: bool) -> None:
    """Two counters that race: their sum tells the interleaving."""
    script = ["one reads", "one writes", "two reads", "two writes"]
    steps = Steps(["one reads", "two reads", "one writes", "two writes"] if is_interleaved else script)
    counter = 0

    def add(name: str) -> None:
        nonlocal counter
        steps.reach(f"{name} reads")
        seen = counter
        steps.reach(f"{name} writes")
        counter = seen + 1

    steps.run(one=lambda: add("one"), two=lambda: add("two"))
    assert counter == (1 if is_interleaved else 2)


def test_results_come_by_name() -> None:
    steps = Steps([])
    assert steps.run(one=lambda: 1, two=lambda: 2) == {"one": 1, "two": 2}


def test_a_label_may_come_again() -> None:
    trace: list[str] = []
    steps = Steps(["try", "other", "try"])
    steps.run(retrying=walk(steps, trace, "try", "try"), other=walk(steps, trace, "other"))
    assert trace == ["try", "other", "try"]


def test_the_script_goes_on_meanwhile_a_thread_blocks() -> None:
    lock, trace = threading.Lock(), list[str]()
    steps = Steps(["holder locks", Meanwhile("waiter locks"), "holder leaves", "waiter leaves"])

    def enter(name: str) -> None:
        steps.reach(f"{name} locks")
        with lock:
            trace.append(f"{name} is in")
            steps.reach(f"{name} leaves")
            trace.append(f"{name} leaves")

    steps.run(holder=lambda: enter("holder"), waiter=lambda: enter("waiter"))
    assert trace == ["holder is in", "holder leaves", "waiter is in", "waiter leaves"]


def test_a_thread_of_somebody_else_is_held_but_not_waited_for() -> None:
    trace: list[str] = []
    steps = Steps(["commit", "flush", "look"])
    flushed = threading.Event()

    def flush() -> None:
        steps.reach("flush")
        trace.append("flush")
        flushed.set()

    def writer() -> None:
        steps.reach("commit")
        trace.append("commit")
        steps.reach("look")
        flushed.wait()
        trace.append("look")

    flusher = threading.Thread(target=flush, name="flusher")
    flusher.start()
    steps.run(writer=writer)
    flusher.join()
    assert trace == ["commit", "flush", "look"]


# --- scripts that cannot be followed ---------------------------------------------------------------------------------


def failure(steps: Steps, **functions: Callable[[], object]) -> str:
    with pytest.raises(InterleavingError) as caught:
        steps.run(**functions)
    return str(caught.value)


def test_a_deadlock_says_who_waits_where() -> None:
    trace: list[str] = []
    steps = Steps(["a1", "b2", "b1", "a2"], stuck_seconds=SOON)
    message = failure(steps, a=walk(steps, trace, "a1", "a2"), b=walk(steps, trace, "b1", "b2"), c=walk(steps, trace))
    assert message == "Stuck. Step 2 of 4 is 'b2': a waits at 'a2'; b waits at 'b1'; c has finished."
    assert trace == ["a1"]


def test_a_thread_that_blocks_elsewhere_is_named() -> None:
    steps = Steps(["a", Meanwhile("b"), "c"], stuck_seconds=SOON)
    released = threading.Event()

    def block_after(label: str) -> None:
        steps.reach(label)
        released.wait()

    message = failure(
        steps, a=lambda: block_after("a"), b=lambda: steps.reach("b"), c=lambda: steps.reach("c"), d=released.wait
    )
    released.set()
    assert message.startswith("Stuck. Step 1 of 3 is 'a': a waits at 'a'; b waits at 'b'; c waits at 'c'; d runs")


def test_a_thread_that_blocks_after_its_label_is_named() -> None:
    steps = Steps([Meanwhile("a"), "b", "c"], stuck_seconds=SOON)
    released = threading.Event()

    def block_after(label: str) -> None:
        steps.reach(label)
        released.wait()

    message = failure(steps, a=lambda: block_after("a"), b=lambda: block_after("b"), c=lambda: steps.reach("c"))
    released.set()
    assert message == "Stuck. Step 3 of 3 is 'c': a runs meanwhile since 'a'; b runs since 'b'; c waits at 'c'."


def test_a_label_the_script_does_not_know_ends_the_run_at_once() -> None:
    steps = Steps(["a", "b"])
    message = failure(steps, a=walk(steps, [], "a", "typo"), b=walk(steps, [], "b"))
    assert re.match(r"a waits at 'typo', which is not a step that is still to come\. Step 2 of 2 is 'b'", message)


def test_a_label_that_has_gone_does_not_go_again() -> None:
    steps = Steps(["a"])
    assert "a waits at 'a', which is not a step that is still to come" in failure(steps, a=walk(steps, [], "a", "a"))


def test_a_script_that_is_longer_than_its_threads_fails() -> None:
    steps = Steps(["a", "b"])
    message = failure(steps, a=walk(steps, [], "a"))
    assert message == "The threads ended before their script. Step 2 of 2 is 'b': a has finished."


def test_an_error_in_a_thread_stops_the_others_and_is_the_one_raised() -> None:
    steps = Steps(["bad", "good", "never"])
    stopped: list[str] = []

    def bad() -> None:
        steps.reach("bad")
        raise ZeroDivisionError("too bad")

    def good() -> None:
        try:
            steps.reach("never")
        except InterleavingError as error:
            stopped.append(str(error))

    with pytest.raises(ZeroDivisionError):
        steps.run(bad=bad, good=good)
    assert stopped == ["good was stopped at 'never': too bad"]


def test_outcomes_of_pytest_pass_through() -> None:
    steps = Steps([])
    with pytest.raises(pytest.fail.Exception, match="as told"):
        steps.run(one=lambda: pytest.fail("as told"))
