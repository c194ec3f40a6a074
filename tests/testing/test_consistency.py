"""The consistency checker finds every anomaly it names, and nothing where a serial order exists.

Three attacks: tables of hand-written histories; a brute-force search for a serial order as the oracle of small random
histories; and simulated stores, one serial and one with snapshot isolation, which is not serializable.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from itertools import chain, combinations, count, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactive_db.testing.consistency import Kind, Report, check
from reactive_db.testing.history import Append, Caller, Outcome, Read, Transaction, Values

COMMITTED, ABORTED, UNKNOWN = Outcome

# --- hand-written histories ------------------------------------------------------------------------------------------


def operation(text: str) -> Append | Read:
    """`x+1` appends 1 to x; `x=12` reads x as [1, 2]."""
    register, sign, rest = text[0], text[1], text[2:]
    return Append(register, int(rest)) if sign == "+" else Read(register, tuple(map(int, rest)))


def T(caller: Caller, operations: str, at: tuple[int, int] = (0, 99), outcome: Outcome = COMMITTED) -> Transaction:
    """A transaction that, unless `at` says otherwise, overlaps all others."""
    return Transaction(caller, *at, outcome, tuple(map(operation, operations.split())))


def kinds(report: Report) -> list[str]:
    return [anomaly.kind for anomaly in report.anomalies]


CLEAN = {
    "nothing": [],
    "an empty transaction": [T(1, "")],
    "reads of registers nobody wrote": [T(1, "x= y="), T(2, "x=")],
    "appends nobody read": [T(1, "x+1"), T(2, "x+2 y+1"), T(3, "y+2")],
    "the own append": [T(1, "x+1 x=1 x+2 x=12"), T(2, "x=12")],
    "an append between two reads": [T(1, "x= x+1 x=1"), T(2, "x=")],
    "one after the other": [T(1, "x= x+1", (1, 2)), T(2, "x=1 x+2", (3, 4)), T(1, "x=12", (5, 6))],
    "started first, took effect last": [T(1, "x=1 x+2", (1, 9)), T(2, "x= x+1", (2, 5)), T(3, "x=12", (10, 11))],
    "an old version, while the append still runs": [T(1, "x+1", (1, 5)), T(2, "x=", (2, 9)), T(3, "x=1", (3, 4))],
    "an abort that nobody saw": [T(1, "x= x+1", (1, 2), ABORTED), T(2, "x=", (3, 4))],
    "an aborted transaction may have read anything": [T(1, "x=1"), T(2, "x+1"), T(3, "x=7", (4, 5), ABORTED)],
    "unknown, and lost": [T(1, "x+1 y=8", (1, 2), UNKNOWN), T(1, "x=", (3, 4))],
    "unknown, and there": [T(1, "x+1", (1, 2), UNKNOWN), T(1, "x=1", (3, 4))],
    "unknown, and there later": [
        T(1, "x+1", (1, 2), UNKNOWN),
        T(1, "x=", (3, 4)),
        T(2, "x=1", (5, 6)),
    ],
    "write skew of which one half aborted": [T(1, "x= y+1"), T(2, "y= x+1", (0, 99), ABORTED), T(3, "y=1 x=")],
}  # fmt: skip

NOT_SERIALIZABLE = {
    "dirty write": ("G0", [T(1, "x+1 y+1"), T(2, "x+2 y+2"), T(3, "x=12 y=21")]),
    "interleaved appends": ("G0", [T(1, "x+1 x+3"), T(2, "x+2"), T(3, "x=123")]),
    "circular information flow": ("G1c", [T(1, "x+1 y=1"), T(2, "y+1 x=1")]),
    "an append seen before the one it follows": ("G1c", [T(1, "x+1 y=1"), T(2, "x+2 y+1"), T(3, "x=12")]),
    "lost update": ("G-single", [T(1, "x= x+1"), T(2, "x= x+2"), T(3, "x=12")]),
    "lost update that nobody read": ("G2", [T(1, "x= x+1"), T(2, "x= x+2")]),
    "read skew": ("G-single", [T(1, "x= y=1"), T(2, "x+1 y+1")]),
    "dirty write of one, read of the other": ("G-single", [T(1, "x+1 y="), T(2, "x+2 y+1"), T(3, "x=21")]),
    "read skew over a third": ("G-single", [T(1, "x= y=1"), T(2, "x+1"), T(3, "x=1 y+1")]),
    "write skew": ("G2", [T(1, "x= y= x+1"), T(2, "x= y= y+1"), T(3, "x=1 y=1")]),
    "write skew that nobody read": ("G2", [T(1, "x= y+1"), T(2, "y= x+1")]),
    # p lists the rows that a predicate matches; each checks it and adds a row, once an empty and once a full one
    "phantom": ("G2", [T(1, "p= q= p+1"), T(2, "p= q= q+1"), T(3, "p=1"), T(4, "q=1")]),
    "phantom, with a total": ("G-single", [T(1, "p= t=1"), T(2, "p+1 t+1")]),
    # Fekete et al. 2004: without the read of T2, T1 and T0 would have a serial order
    "read-only anomaly": ("G2", [T(1, "x= y= x+1"), T(2, "y= y+1"), T(3, "x= y=1"), T(4, "x=1 y=1")]),
    "long fork": ("G2", [T(1, "x+1"), T(2, "y+1"), T(3, "x=1 y="), T(4, "x= y=1")]),
    "a ring of three": ("G2", [T(1, "x= y+1"), T(2, "y= z+1"), T(3, "z= x+1")]),
    # everything leads into the cycle or out of it, and T0 has no way to it at all
    "a cycle no source leads to": ("G-single", [T(0, "z+1"), T(1, "x= x+1"), T(2, "x= x+2"), T(3, "x=12 y+1")]),
}  # fmt: skip

BREAKS_AN_ORDER = {
    "does not see its own write": ("G-single-caller", [T(1, "x+1", (1, 2)), T(1, "x=", (3, 4)), T(2, "x=1")]),
    "reads go back": ("G-single-caller", [T(2, "x+1"), T(1, "x=1", (1, 2)), T(1, "x=", (3, 4))]),
    "writes in another order": ("G0-caller", [T(1, "x+1", (1, 2)), T(1, "x+2", (3, 4)), T(2, "x=21")]),
    "overlapping writes in another order": ("G0-caller", [T(1, "x+1", (1, 9)), T(1, "x+2", (2, 8)), T(2, "x=21")]),
    "a read from the caller's future": ("G1c-caller", [T(1, "x=1", (1, 2)), T(1, "x+1", (3, 4))]),
    "stale read": ("G-single-realtime", [T(1, "x+1", (1, 2)), T(2, "x=", (3, 4)), T(3, "x=1")]),
    "stale read, long after": (
        "G-single-realtime",
        [T(1, "x+1", (1, 2)), T(3, "y+1", (3, 4)), T(4, "y+2", (5, 6)), T(2, "x=", (7, 8)), T(3, "x=1 y=12", (6, 9))],
    ),
    "a read from the future": ("G1c-realtime", [T(1, "x=1", (1, 2)), T(2, "x+1", (3, 4))]),
    "appends against real time": ("G0-realtime", [T(1, "x+1", (1, 2)), T(2, "x+2", (3, 4)), T(3, "x=21")]),
    "seen, then not": ("G-single-realtime", [T(1, "x+1", (1, 9)), T(2, "x=1", (2, 3)), T(3, "x=", (4, 5))]),
    # T0 ended before T2 began, but T2 comes before T1, and T1 before T0
    "stale through a third": ("G2-realtime", [T(1, "y+1", (1, 2)), T(2, "y= x+1", (0, 9)), T(3, "x=", (3, 4))]),
}  # fmt: skip

IMPOSSIBLE_READS = {
    "aborted": ("aborted-read", [T(1, "x+1", (0, 99), ABORTED), T(2, "x=1")]),
    "aborted, below others": ("aborted-read", [T(1, "x+1", (0, 99), ABORTED), T(2, "x+2"), T(3, "x=12")]),
    "intermediate": ("intermediate-read", [T(1, "x+1 x+2"), T(2, "x=1"), T(3, "x=12")]),
    "intermediate, below an own append": ("intermediate-read", [T(1, "x+1 x+2"), T(2, "x+3 x=13"), T(3, "x=1")]),
    "unwritten": ("unwritten-read", [T(1, "x+1"), T(2, "x=17")]),
    "done twice": ("duplicate", [T(1, "x+1"), T(2, "x=11")]),
    "two orders": ("incompatible-order", [T(1, "x+1"), T(2, "x+2"), T(3, "x=12"), T(4, "x=2")]),
    "unread": ("lost-append", [T(1, "x+1", (1, 2)), T(2, "x+2", (3, 4)), T(3, "x=2", (5, 6))]),
    "unread, though its transaction's other append is there": (
        "lost-append",
        [T(1, "x+1 y+1", (1, 2)), T(2, "x= y=1", (5, 6))],
    ),
    "non-repeatable": ("internal", [T(1, "x= x=1"), T(2, "x+1")]),
    "not the own append": ("internal", [T(1, "x+1 x=")]),
    "not the own append after a read": ("internal", [T(1, "x= x+1 x=")]),
    "the own append before it": ("internal", [T(1, "x=1 x+1")]),
    "something between two own appends": ("internal", [T(1, "x+1 x+2 x=132"), T(2, "x+3")]),
}  # fmt: skip


@pytest.mark.parametrize("history", CLEAN.values(), ids=CLEAN)
def test_a_serial_order_is_found(history: list[Transaction]) -> None:
    report = check(history)
    report.raise_if_any()
    assert report.anomalies == ()


@pytest.mark.parametrize(("kind", "history"), NOT_SERIALIZABLE.values(), ids=NOT_SERIALIZABLE)
def test_a_cycle_is_found_and_named(kind: str, history: list[Transaction]) -> None:
    apart = [Transaction(f"{t.caller}/{i}", t.started, t.ended, t.outcome, t.operations) for i, t in enumerate(history)]
    assert kinds(check(apart)) == [kind]


@pytest.mark.parametrize(("kind", "history"), BREAKS_AN_ORDER.values(), ids=BREAKS_AN_ORDER)
def test_an_order_that_callers_could_see_is_kept(kind: str, history: list[Transaction]) -> None:
    assert set(kinds(check(history))) - {"lost-append"} == {kind}
    apart = [Transaction(i, 0, 99, t.outcome, t.operations) for i, t in enumerate(history)]
    assert kinds(check(apart)) == [], "all at once, each by another caller, it has a serial order"


@pytest.mark.parametrize(("kind", "history"), IMPOSSIBLE_READS.values(), ids=IMPOSSIBLE_READS)
def test_an_impossible_read_is_found(kind: str, history: list[Transaction]) -> None:
    assert kind in kinds(check(history))


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("dirty write", "G0, dirty write"),
        ("circular information flow", "G1c, circular information flow"),
        ("lost update", "G-single, lost update"),
        ("dirty write of one, read of the other", "G-single, read skew"),
        ("read skew", "G-single, read skew"),
        ("write skew", "G2, write skew"),
        ("read-only anomaly", "G2, write skew"),
        ("long fork", "G2, long fork"),
    ],
)
def test_a_cycle_has_its_everyday_name_too(name: str, title: str) -> None:
    [anomaly] = check(NOT_SERIALIZABLE[name][1]).anomalies
    assert anomaly.story.startswith(f"{title}:")


def test_the_order_of_the_recording_does_not_matter() -> None:
    for _, history in chain(NOT_SERIALIZABLE.values(), BREAKS_AN_ORDER.values(), IMPOSSIBLE_READS.values()):
        assert sorted(kinds(check(history))) == sorted(kinds(check(history[::-1])))


def test_each_component_gives_one_cycle_and_the_shortest() -> None:
    long = [T(1, "a= b+1 p="), T(2, "b= c+1"), T(3, "c= a+1"), T(4, "p+1 q="), T(5, "q+1 c=")]
    short = [T(6, "x= x+1"), T(7, "x= x+2"), T(8, "x=12")]
    report = check(long + short)
    assert kinds(report) == ["G2", "G-single"]
    assert [set(anomaly.transactions) for anomaly in report.anomalies] == [{0, 1, 2}, {5, 6}]
    assert "the shortest cycle among 5 entangled transactions" in report.anomalies[0].story


def test_of_two_shortest_cycles_the_one_with_fewer_rw_is_told() -> None:
    report = check([T(1, "a= b+1"), T(2, "b= a+1 x= x+1"), T(3, "x= x+2"), T(4, "x=12")])
    assert kinds(report) == ["G-single"]


def test_a_transaction_of_unknown_outcome_may_end_long_after_it_was_given_up() -> None:
    gone_again = [T(1, "x+1", (1, 2), UNKNOWN), T(2, "x=1", (3, 4)), T(3, "x=", (5, 6))]
    [anomaly] = check(gone_again).anomalies
    assert set(anomaly.transactions) == {0, 1, 2}, "T0 and T2 alone could be in the order T2, T0"


def test_an_aborted_append_does_not_hide_a_cycle() -> None:
    report = check([T(1, "x+1", (0, 99), ABORTED), T(2, "x=1 y+1"), T(3, "y= x+2"), T(4, "x=12 y=1")])
    assert kinds(report) == ["aborted-read", "G2"]


def test_a_stronger_cycle_hides_the_weaker_ones_around_it() -> None:
    report = check([T(1, "x+1 y+1 a="), T(2, "x+2 y+2 b= a+1"), T(3, "x=12 y=21 b+1 a=")])
    assert kinds(report) == ["G0"]


# --- what a person gets to see ---------------------------------------------------------------------------------------


def test_a_story_says_who_did_what_and_why_that_cannot_be() -> None:
    report = check([T("anna", "x= y+1"), T("ben", "y= x+1")])
    with pytest.raises(AssertionError) as caught:
        report.raise_if_any()
    assert str(caught.value).splitlines() == [
        "G2, write skew:",
        "  T0 (caller anna): read x=[]; append y 1",
        "  T1 (caller ben): read y=[]; append x 1",
        "  T0 must come before T1: T0 read x=[], without the 1 that T1 appended",
        "  T1 must come before T0: T1 read y=[], without the 1 that T0 appended",
    ]


def test_a_story_names_every_kind_of_reason() -> None:
    ring = [
        T(1, "x+1 x+2", (1, 2)),
        T(2, "x+3", (1, 2)),
        T(3, "x=123 y=", (1, 9)),
        T(4, "y+1", (0, 1)),
        T(4, "x=", (5, 6)),
    ]
    told = "\n".join(map(str, check(ring).edges))
    for reason in (
        "T1 appended 3 to x after its 2",
        "T2 read x=[1, 2, 3], and T1 had appended the 3",
        "T4 read x=[], without the 1 that T0 appended",
        "their caller started them in this order",
        "T0 had ended when T4 began",
    ):
        assert reason in told


def test_long_versions_are_cut_in_stories() -> None:
    assert str(Read("x", tuple(range(100)))) == "read x=[… 94 more, 94, 95, 96, 97, 98, 99]"


def test_many_anomalies_are_counted_not_told() -> None:
    report = check([T(1, "x+1")] + [T(i, f"x={i}") for i in range(2, 10)])
    with pytest.raises(AssertionError, match=rf"and {len(report.anomalies) - 5} more$"):
        report.raise_if_any()


def test_dot_draws_a_clean_history_in_full() -> None:
    dot = check([T("a", "x+1", (1, 2)), T("b", "x=1", (3, 4))]).to_dot()
    assert 'T0 [label="T0 (caller a)\\nappend x 1"];' in dot
    assert 'T0 -> T1 [label="wr x"];' in dot


def test_dot_draws_only_the_entangled_of_an_unclean_one() -> None:
    dot = check([T(1, "x= y+1"), T(2, "y= x+1"), T(3, "z+1", (3, 4))]).to_dot()
    assert 'T0 -> T1 [label="rw x", color=red];' in dot
    assert "T2" not in dot


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([T(1, "x+1"), T(2, "x+1")], "1 is appended to x more than once"),
        ([T(1, "x+1 x+1")], "1 is appended to x more than once"),
        ([T(1, "x+1", (2, 1))], r"T0 \(caller 1\) ended before it started"),
    ],
)
def test_a_history_that_is_none_is_refused(history: list[Transaction], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(history)


# --- the oracle: try every serial order ------------------------------------------------------------------------------


def has_a_serial_order(history: Sequence[Transaction]) -> bool:
    """Whether any order of the committed, and of any of the unknown, explains all reads, callers and real time."""
    unknown = [t for t in history if t.outcome is UNKNOWN]
    committed = [t for t in history if t.outcome is COMMITTED]
    landed = chain.from_iterable(combinations(unknown, n) for n in range(len(unknown) + 1))
    return any(may_run_in(order) and explains(order) for some in landed for order in permutations([*committed, *some]))


def may_run_in(order: Sequence[Transaction]) -> bool:
    return not any(
        later.outcome is COMMITTED
        and (later.ended < earlier.started or (later.caller == earlier.caller and later.started < earlier.started))
        for earlier, later in combinations(order, 2)
    )


def explains(order: Iterable[Transaction]) -> bool:
    registers: dict[str, Values] = {}
    for transaction in order:
        for op in transaction.operations:
            held = registers.get(op.register, ())
            if isinstance(op, Append):
                registers[op.register] = (*held, op.value)
            elif op.values != held:
                return False
    return True


@st.composite
def small_histories(draw: st.DrawFn) -> list[Transaction]:
    """Up to four transactions on two registers, run in some order by a store that may serve any older version.

    A last transaction reads everything, so that the checker can know every order and must be exact.
    """
    ids, history = count(1), list[Transaction]()
    registers: dict[str, Values] = {"x": (), "y": ()}
    events = draw(st.permutations(range(8)))
    for first, second in zip(*[iter(events[: 2 * draw(st.integers(1, 4))])] * 2, strict=True):
        outcome = draw(st.sampled_from([COMMITTED, COMMITTED, COMMITTED, ABORTED, UNKNOWN]))
        lands = outcome is COMMITTED or (outcome is UNKNOWN and draw(st.booleans()))
        mine, operations = dict(registers), list[Append | Read]()
        staleness = draw(st.sampled_from([0, 0, 0, 1, 2]))
        for register in draw(st.lists(st.sampled_from("xy"), min_size=1, max_size=3)):
            if draw(st.booleans()):
                mine[register] = (*mine[register], value := next(ids))
                operations.append(Append(register, value))
            else:
                held = mine[register]
                operations.append(Read(register, held[: max(0, len(held) - staleness)]))
        registers = mine if lands else registers
        started, ended = sorted([first, second])
        history.append(Transaction(draw(st.integers(1, 3)), started, ended, outcome, tuple(operations)))
    final = tuple(Read(register, values) for register, values in registers.items())
    return draw(st.permutations([*history, Transaction("final", 10, 11, COMMITTED, final)]))


@given(small_histories())
def test_the_checker_agrees_with_brute_force(history: list[Transaction]) -> None:
    assert (check(history).anomalies == ()) is has_a_serial_order(history)


@given(small_histories())
def test_every_cycle_is_one(history: list[Transaction]) -> None:
    for anomaly in check(history).anomalies:
        sources = [edge.source for edge in anomaly.cycle]
        assert [edge.target for edge in anomaly.cycle] == sources[1:] + sources[:1]
        assert len(set(sources)) == len(sources)
        in_time = [edge for edge in anomaly.cycle if edge.kind is Kind.REALTIME]
        assert len(in_time) <= 1
        for edge in in_time:
            assert history[edge.source].ended < history[edge.target].started
            assert history[edge.source].outcome is COMMITTED


# --- simulated stores ------------------------------------------------------------------------------------------------


class SnapshotStore:
    """Snapshot isolation, first committer wins: what a committer does that checks writes but not reads.

    With `is_serializable` it checks reads too.
    """

    def __init__(self, is_serializable: bool) -> None:
        self.is_serializable = is_serializable
        self.versions: dict[str, list[tuple[int, Values]]] = {}
        self.clock = 0
        self.ids = count(1)

    def read(self, register: str, at: int) -> Values:
        return next((v for ts, v in reversed(self.versions.get(register, ())) if ts <= at), ())

    def commit(self, read: set[str], appended: dict[str, Values], begin: int) -> bool:
        checked = set(appended) | (read if self.is_serializable else set())
        if any(self.versions.get(register, [(0, ())])[-1][0] > begin for register in checked):
            return False
        self.clock += 1
        for register, values in appended.items():
            held = self.read(register, self.clock)
            self.versions.setdefault(register, []).append((self.clock, held + values))
        return True


class Client:
    """One transaction at a time, an operation per step."""

    def __init__(self, caller: int, store: SnapshotStore) -> None:
        self.caller, self.store = caller, store

    def begin(self, event: int) -> None:
        self.started, self.begin_ts = event, self.store.clock
        self.operations: list[Append | Read] = []
        self.own: dict[str, Values] = {}

    def step(self, register: str, is_append: bool) -> None:
        own = self.own.get(register, ())
        if is_append:
            value = next(self.store.ids)
            self.own[register] = (*own, value)
            self.operations.append(Append(register, value))
        else:
            self.operations.append(Read(register, self.store.read(register, self.begin_ts) + own))

    def end(self, event: int) -> Transaction:
        read = {op.register for op in self.operations if isinstance(op, Read)}
        is_committed = self.store.commit(read, self.own, self.begin_ts)
        outcome = COMMITTED if is_committed else ABORTED
        return Transaction(self.caller, self.started, event, outcome, tuple(self.operations))


def simulate(seed: int, transactions: int, *, is_serializable: bool, registers: int = 3) -> list[Transaction]:
    """Eight clients on one store, stepped in an order that `seed` decides; a last read of everything."""
    dice, events, history = random.Random(seed), count(), list[Transaction]()
    store = SnapshotStore(is_serializable)
    clients = [Client(caller, store) for caller in range(8)]
    for client in clients:
        client.begin(next(events))
    names = [f"r{i}" for i in range(registers)]
    while len(history) < transactions:
        client = dice.choice(clients)
        if len(client.operations) < 4 and dice.random() < 0.8:
            client.step(dice.choice(names), dice.random() < 0.4)
        else:
            history.append(client.end(next(events)))
            client.begin(next(events))
    last = Client(99, store)
    last.begin(next(events))
    for name in names:
        last.step(name, is_append=False)
    return [*history, last.end(next(events))]


def write_skew(history: list[Transaction]) -> list[Transaction]:
    """`history`, after which two transactions at once each read what the other appends."""
    now = max(t.ended for t in history) + 1
    return [
        *history,
        Transaction("left", now, now + 3, COMMITTED, (Read("on call", ()), Read("off", ()), Append("off", 1))),
        Transaction("right", now + 1, now + 2, COMMITTED, (Read("on call", ()), Read("off", ()), Append("on call", 1))),
    ]


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_a_serializable_store_is_clean_under_any_schedule(seed: int, transactions: int) -> None:
    check(simulate(seed, transactions, is_serializable=True)).raise_if_any()


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_snapshot_isolation_only_ever_gives_write_skew(seed: int, transactions: int) -> None:
    report = check(simulate(seed, transactions, is_serializable=False))
    assert set(kinds(report)) <= {"G2", "G2-caller", "G2-realtime"}


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_an_injected_write_skew_is_caught(seed: int, transactions: int) -> None:
    history = simulate(seed, transactions, is_serializable=True)
    assert kinds(check(write_skew(history))) == ["G2"]


@given(st.integers(0, 2**32))
def test_a_committer_that_does_not_check_reads_is_caught(seed: int) -> None:
    assert "G2" in kinds(check(simulate(seed, 200, is_serializable=False)))


@st.composite
def serial_histories(draw: st.DrawFn) -> list[Transaction]:
    """A serial execution, recorded as if every transaction had run as long as its draw says around its instant."""
    ids, registers, history = count(1), dict[str, Values](), list[Transaction]()
    callers: dict[int, int] = {}  # when the caller's previous transaction ended
    for instant in range(0, 20 * draw(st.integers(1, 12)), 20):
        operations: list[Append | Read] = []
        for register, is_append in draw(st.lists(st.tuples(st.sampled_from("xyz"), st.booleans()), max_size=4)):
            if is_append:
                registers[register] = (*registers.get(register, ()), value := next(ids))
                operations.append(Append(register, value))
            else:
                operations.append(Read(register, registers.get(register, ())))
        started, ended = instant - draw(st.integers(0, 90)), instant + draw(st.integers(0, 90))
        caller = next((c for c, free in callers.items() if free < started), len(callers))
        callers[caller] = ended
        outcome = draw(st.sampled_from([COMMITTED, COMMITTED, UNKNOWN]))
        history.append(Transaction(caller, started, ended, outcome, tuple(operations)))
    return draw(st.permutations(history))


@given(serial_histories())
def test_a_serial_execution_is_clean_however_it_overlapped(history: list[Transaction]) -> None:
    check(history).raise_if_any()


# --- speed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (simulate(1, 6_000, is_serializable=True, registers=100), set()),
        (simulate(1, 6_000, is_serializable=False, registers=100), {"G2", "G2-caller", "G2-realtime"}),
        ([T(i % 8, f"x= x+{i}", (2 * i, 2 * i + 1)) for i in range(5_000)], {"lost-append"}),
    ],
    ids=["clean", "entangled", "every read empty"],
)
def test_five_thousand_transactions_take_less_than_two_seconds(history: list[Transaction], expected: set[str]) -> None:
    assert sum(t.outcome is COMMITTED for t in history) >= 5_000
    begun = time.process_time()
    report = check(history)
    assert time.process_time() - begun < 2
    assert set(kinds(report)) == expected
