"""Judges a recorded history: is there a serial order that explains it, and if not, who is entangled with whom?

An Elle-style list-append checker (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental
Observations", VLDB 2020). Registers hold lists, transactions append unique values and read whole lists, so a read
tells which version it saw and everything that happened before. What the reads say becomes a graph of "must come
before" between transactions; a serial order exists where the graph has no cycle.

    kind       A must come before B, because                               a cycle whose last kind it is
    ww         B appended right after A                                    G0
    wr         B read what A appended                                      G1c
    rw         A read a list without what B appended                       G-single (one rw), G2 (more)
    caller     one caller started A, then B                                … -caller
    realtime   A had ended when B began                                    … -realtime

No `caller` and no `realtime` in a cycle: not serializable. Otherwise: serializable, but not strictly so.

Pure: no I/O, no clock, no database. What goes in is a recorded history (`reactive_db.testing.history`); the more
often, and last of all, every register is read in it, the more can be told.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import chain, islice, pairwise
from typing import Final, NamedTuple

from reactive_db.testing.history import Append, Caller, Outcome, Read, Transaction, Value, Values

STORIES_MAX: Final = 5


class Kind(IntEnum):
    """Why one transaction must come before another; the smaller kind is the stronger reason."""

    WW = 0
    WR = 1
    RW = 2
    CALLER = 3
    REALTIME = 4


class Edge(NamedTuple):
    """`source` must come before `target`; both are positions in the history.

    `value` is what was appended: by the target for `ww` and `rw`, by the source for `wr`. `seen` is the value
    before it for `ww`, and the version that was read for `wr` and `rw`.
    """

    kind: Kind
    source: int
    target: int
    register: str = ""
    value: Value = 0
    seen: Values = ()

    def __str__(self) -> str:
        read = Read(self.register, self.seen)
        match self.kind:
            case Kind.WW:
                return f"T{self.target} appended {self.value!r} to {self.register} after its {self.seen[0]!r}"
            case Kind.WR:
                return f"T{self.target} {read}, and T{self.source} had appended the {self.value!r}"
            case Kind.RW:
                return f"T{self.source} {read}, without the {self.value!r} that T{self.target} appended"
            case Kind.CALLER:
                return "their caller started them in this order"
            case Kind.REALTIME:
                return f"T{self.source} had ended when T{self.target} began"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One thing that no strictly serializable store does, told so that a person can follow it."""

    kind: str
    story: str
    transactions: tuple[int, ...]
    cycle: tuple[Edge, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict. `edges` holds the strongest reason for each ordered pair of transactions that has one."""

    history: tuple[Transaction, ...]
    edges: tuple[Edge, ...]
    anomalies: tuple[Anomaly, ...]

    def raise_if_any(self) -> None:
        """Tell the first anomalies' stories.

        Raises:
            AssertionError: the history is not strictly serializable.
        """
        if self.anomalies:
            stories = [anomaly.story for anomaly in self.anomalies[:STORIES_MAX]]
            more = len(self.anomalies) - len(stories)
            raise AssertionError("\n\n".join([*stories, f"and {more} more"] if more else stories))

    def to_dot(self) -> str:
        """The graph for Graphviz: all of it if it is clean, else the entangled transactions, their cycles in red."""
        shown = {index for anomaly in self.anomalies for index in anomaly.transactions} or set(range(len(self.history)))
        red = {edge for anomaly in self.anomalies for edge in anomaly.cycle}
        edges = red.union(edge for edge in self.edges if edge.source in shown and edge.target in shown)
        lines = ["digraph history {", "  rankdir=LR; node [shape=box];"]
        for index in sorted(shown):
            transaction = self.history[index]
            label = "\n".join([f"T{index} (caller {transaction.caller})", *map(str, transaction.operations)])
            lines.append(f"  T{index} [label={json.dumps(label, ensure_ascii=False)}];")
        for edge in sorted(edges, key=lambda edge: (edge.source, edge.target)):
            label = json.dumps(f"{edge.kind.name.lower()} {edge.register}".strip(), ensure_ascii=False)
            lines.append(f"  T{edge.source} -> T{edge.target} [label={label}{', color=red' if edge in red else ''}];")
        return "\n".join([*lines, "}"])


def check(history: Sequence[Transaction]) -> Report:
    """Find every anomaly of `history`, in any order of its transactions; near-linear if there is none.

    Entangled transactions (a strongly connected component of the graph) give one anomaly: their shortest cycle,
    of the strongest kinds that close one. Aborted transactions matter only where others read what they appended.

    Raises:
        ValueError: a value is appended twice to a register, or a transaction ended before it started.
    """
    evidence = _gather(tuple(history))
    graph = _Graph(evidence)
    anomalies = list(_internal_faults(evidence))
    for register in filter(lambda register: register.reads, evidence.registers.values()):
        anomalies += _version_faults(evidence, register)
        anomalies += _intermediate_reads(evidence, register)
        anomalies += _lost_appends(evidence, register)
    return Report(evidence.history, tuple(graph.edges()), (*anomalies, *graph.anomalies()))


# --- what the history says --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Register:
    """Who appended what, who read what, and the longest version that was read."""

    name: str
    writers: dict[Value, int] = field(default_factory=dict)
    reads: list[tuple[int, Read]] = field(default_factory=list)
    order: Values = ()

    def is_version(self, values: Values) -> bool:
        return self.order[: len(values)] == values


class _Evidence(NamedTuple):
    """The history by register, and the transactions that took effect by position."""

    history: tuple[Transaction, ...]
    registers: dict[str, _Register]
    counted: dict[int, Transaction]

    def admit(self, transactions: Mapping[int, Transaction]) -> None:
        self.counted.update(transactions)
        for index, transaction in transactions.items():
            for operation in transaction.operations:
                if isinstance(operation, Read):
                    register = self.registers[operation.register]
                    register.reads.append((index, operation))
                    register.order = max(register.order, operation.values, key=len)

    def final_read(self, register: _Register) -> tuple[int, Read]:
        return max(register.reads, key=lambda read: self.history[read[0]].started)

    def lost(self, register: _Register) -> dict[Value, int]:
        """Acknowledged appends, with their writers, that the final read does not show though it began afterwards."""
        if not register.reads:
            return {}
        reader, read = self.final_read(register)
        began, kept = self.history[reader].started, set(read.values)
        earlier = {value: writer for value, writer in register.writers.items() if self.history[writer].ended < began}
        return {v: w for v, w in earlier.items() if v not in kept and self.history[w].outcome is Outcome.COMMITTED}

    def name(self, index: int) -> str:
        return f"T{index} (caller {self.history[index].caller})"


def _gather(history: tuple[Transaction, ...]) -> _Evidence:
    evidence = _Evidence(history, {}, {})
    for index, transaction in enumerate(history):
        if transaction.ended < transaction.started:
            raise ValueError(f"{evidence.name(index)} ended before it started.")
        for operation in transaction.operations:
            register = evidence.registers.setdefault(operation.register, _Register(operation.register))
            if isinstance(operation, Append):
                if operation.value in register.writers:
                    raise ValueError(f"{operation.value!r} is appended to {register.name} more than once.")
                register.writers[operation.value] = index
    evidence.admit({i: t for i, t in enumerate(history) if t.outcome is Outcome.COMMITTED})
    landed = {register.writers.get(value) for register in evidence.registers.values() for value in register.order}
    evidence.admit({i: t for i, t in enumerate(history) if t.outcome is Outcome.UNKNOWN and i in landed})
    return evidence


# --- faults that need no graph ----------------------------------------------------------------------------------------


def _fault(kind: str, story: str, *transactions: int) -> Anomaly:
    return Anomaly(kind, f"{kind}: {story}", transactions)


def _version_faults(evidence: _Evidence, register: _Register) -> Iterator[Anomaly]:
    """Versions of which neither continues the other, and values that cannot be in one."""
    longest = max(register.reads, key=lambda read: len(read[1].values))
    others = [(index, read) for index, read in register.reads if not register.is_version(read.values)]
    for index, read in others:
        story = f"{evidence.name(index)} {read}, but {evidence.name(longest[0])} {longest[1]}."
        yield _fault("incompatible-order", story, longest[0], index)
    for index, read in [longest, *others]:
        met: set[Value] = set()
        for value in read.values:
            writer = register.writers.get(value)
            if value in met:
                yield _fault("duplicate", f"{evidence.name(index)} {read}, with {value!r} twice.", index)
            elif writer is None:
                yield _fault("unwritten-read", f"{evidence.name(index)} {read}; nobody appended {value!r}.", index)
            elif evidence.history[writer].outcome is Outcome.ABORTED:
                story = f"{evidence.name(index)} {read}, but {evidence.name(writer)}, who appended {value!r}, aborted."
                yield _fault("aborted-read", story, writer, index)
            met.add(value)


def _intermediate_reads(evidence: _Evidence, register: _Register) -> Iterator[Anomaly]:
    """Versions that end amid the appends of another transaction."""
    last = {writer: value for value, writer in register.writers.items()}
    for index, read in register.reads:
        others = ((w, v) for v in reversed(read.values) if (w := register.writers.get(v, index)) != index)
        for writer, value in islice(others, 1):
            if value != last[writer]:
                story = f"{evidence.name(index)} {read}, but then {evidence.name(writer)} appended {last[writer]!r}."
                yield _fault("intermediate-read", story, writer, index)


def _lost_appends(evidence: _Evidence, register: _Register) -> Iterator[Anomaly]:
    reader, read = evidence.final_read(register)
    for value, writer in evidence.lost(register).items():
        story = f"{evidence.name(writer)} committed {value!r}, but finally {evidence.name(reader)} {read}."
        yield _fault("lost-append", story, writer, reader)


def _internal_faults(evidence: _Evidence) -> Iterator[Anomaly]:
    """Reads that contradict what the same transaction read or appended before."""
    for index, transaction in evidence.counted.items():
        base: dict[str, Values] = {}
        own: dict[str, Values] = {}
        for operation in transaction.operations:
            name = operation.register
            if isinstance(operation, Append):
                own[name] = (*own.get(name, ()), operation.value)
            else:
                others = operation.values
                while others and evidence.registers[name].writers.get(others[-1]) == index:
                    others = others[:-1]
                expected = Read(name, base.setdefault(name, others) + own.get(name, ()))
                if operation != expected:
                    story = f"{evidence.name(index)} {operation}; by what it had done before, it should {expected}."
                    yield _fault("internal", story, index)


# --- the graph --------------------------------------------------------------------------------------------------------


def _data_edges(evidence: _Evidence, register: _Register) -> Iterator[Edge]:
    """Who followed whom in one register. An append that nobody read, unless lost, comes after all that was read."""
    name, appends, reached = register.name, dict[Value, int](), [0]
    counted, lost = evidence.counted, evidence.lost(register)
    for value in register.order:
        if (writer := register.writers.get(value, -1)) in counted:
            appends[value] = writer
        reached.append(len(appends))
    ordered = list(appends.items())
    unread = [(v, w) for v, w in register.writers.items() if w in counted and v not in appends and v not in lost]
    for (before, source), (after, target) in pairwise(ordered):
        yield Edge(Kind.WW, source, target, name, after, (before,))
    for reader, read in register.reads:
        if register.is_version(read.values):
            count = reached[len(read.values)]
            for value, writer in ordered[max(count - 1, 0) : count]:
                yield Edge(Kind.WR, writer, reader, name, value, read.values)
            for value, writer in ordered[count : count + 1] or unread:
                yield Edge(Kind.RW, reader, writer, name, value, read.values)


def _caller_edges(counted: Mapping[int, Transaction]) -> Iterator[Edge]:
    """From each transaction to its caller's next. One of unknown outcome may land later: it precedes nothing."""
    latest: dict[Caller, int] = {}
    for index, transaction in sorted(counted.items(), key=lambda item: item[1].started):
        if transaction.caller in latest:
            yield Edge(Kind.CALLER, latest[transaction.caller], index)
        if transaction.outcome is Outcome.COMMITTED:
            latest[transaction.caller] = index


def _realtime_edges(counted: Mapping[int, Transaction]) -> Iterator[Edge]:
    """Their transitive reduction: at most as many for each transaction as there were callers at once."""
    began = [(transaction.started, False, index) for index, transaction in counted.items()]
    ended = [(t.ended, True, index) for index, t in counted.items() if t.outcome is Outcome.COMMITTED]
    frontier: set[int] = set()
    before: dict[int, frozenset[int]] = {}
    for _, is_end, index in sorted(began + ended):
        if is_end:
            frontier = (frontier - before[index]) | {index}
        else:
            before[index] = frozenset(frontier)
            for source in before[index]:
                yield Edge(Kind.REALTIME, source, index)


class _Graph:
    """Every "must come before", and the cycles in it."""

    def __init__(self, evidence: _Evidence) -> None:
        self._evidence = evidence
        self._out: dict[int, dict[int, Edge]] = {index: {} for index in evidence.counted}
        by_register = (_data_edges(evidence, register) for register in evidence.registers.values())
        for edge in chain(*by_register, _caller_edges(evidence.counted), _realtime_edges(evidence.counted)):
            known = self._out[edge.source].get(edge.target)
            if edge.source != edge.target and (known is None or edge.kind < known.kind):
                self._out[edge.source][edge.target] = edge

    def edges(self) -> Iterator[Edge]:
        return chain.from_iterable(targets.values() for targets in self._out.values())

    def anomalies(self) -> Iterator[Anomaly]:
        """One cycle per component, by the strongest kinds that close one; a component that holds one is done."""
        suspects = set[int]().union(*self._components(set(self._out), Kind.REALTIME))
        explained: set[int] = set()
        for kind in Kind:
            for component in self._components(suspects, kind):
                if explained.isdisjoint(component):
                    explained |= component
                    yield _cycle_anomaly(self._evidence, self._shortest_cycle(component, kind), len(component))

    def _components(self, nodes: set[int], kind: Kind) -> list[set[int]]:
        return _components(
            {n: [t for t, e in self._out[n].items() if e.kind <= kind and t in nodes] for n in sorted(nodes)}
        )

    def _shortest_cycle(self, component: set[int], kind: Kind) -> list[Edge]:
        """Search around every member, to a depth that doubles until there is one; of equals, that with fewest rw."""
        best: list[Edge] = []
        length_max = 2
        while not best:
            for start in sorted(component):
                if cycle := self._cycle_through(start, component, kind, length_max):
                    best = min(best or cycle, cycle, key=lambda c: (len(c), sum(e.kind is Kind.RW for e in c)))
                    length_max = len(best)
            length_max *= 2
        return best

    def _cycle_through(self, start: int, component: set[int], kind: Kind, length_max: int) -> list[Edge]:
        """A shortest cycle through `start`, breadth first; empty if it would need more than `length_max` edges."""
        reached: dict[int, Edge] = {}
        frontier = [start]
        for _ in range(length_max):
            beyond: list[int] = []
            for node in frontier:
                if closing := self._closing(node, start, kind):
                    cycle = [closing]
                    while cycle[0].source != start:
                        cycle.insert(0, reached[cycle[0].source])
                    return cycle
                for target, edge in self._out[node].items():
                    if edge.kind <= min(kind, Kind.CALLER) and target in component and target not in reached:
                        reached[target] = edge
                        beyond.append(target)
            frontier = beyond
        return []

    def _closing(self, node: int, start: int, kind: Kind) -> Edge | None:
        """The edge from `node` that closes a cycle at `start`.

        One real-time edge is enough for a cycle: if A ended before B began and C before D, then A ended before D
        began or C before B, so of two such edges one can always be cut out together with what lies beyond it.
        """
        if kind is not Kind.REALTIME:
            edge = self._out[node].get(start)
            return edge if edge and edge.kind <= kind else None
        source, target = self._evidence.counted[node], self._evidence.counted[start]
        is_before = source.outcome is Outcome.COMMITTED and source.ended < target.started
        return Edge(kind, node, start) if is_before else None


def _components(successors: Mapping[int, Sequence[int]]) -> list[set[int]]:
    """Tarjan's strongly connected components of two nodes or more, without recursion."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    components: list[set[int]] = []
    for root in successors:
        path = [] if root in number else [(root, iter(successors[root]))]
        while path:
            node, targets = path[-1]
            if node not in number:
                number[node] = low[node] = len(number)
                stack.append(node)
            for target in targets:
                if target not in number:
                    path.append((target, iter(successors[target])))
                    break
                low[node] = min(low[node], low[target])
            else:
                path.pop()
                if low[node] == number[node]:
                    start = bisect_left(stack, number[node], key=number.__getitem__)
                    components.append(set(stack[start:]))
                    low |= dict.fromkeys(stack[start:], len(successors))  # done: no longer lower than anything
                    del stack[start:]
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
    return [component for component in components if len(component) > 1]


def _classify(cycle: Sequence[Edge]) -> tuple[str, str]:
    """Adya's name for the cycle, and the everyday one."""
    kinds = [edge.kind for edge in cycle]
    match kinds.count(Kind.RW):
        case 0:
            kind, title = ("G1c", "circular information flow") if Kind.WR in kinds else ("G0", "dirty write")
        case 1:
            is_lost_update = Kind.WW in kinds and len({edge.register for edge in cycle}) == 1
            kind, title = "G-single", "lost update" if is_lost_update else "read skew"
        case _:
            is_adjacent = any(a is b is Kind.RW for a, b in zip(kinds, [*kinds[1:], kinds[0]], strict=True))
            kind, title = "G2", "write skew" if is_adjacent else "long fork"
    for order, broken in ((Kind.REALTIME, "against real time"), (Kind.CALLER, "against the caller's order")):
        if order in kinds:
            return f"{kind}-{order.name.lower()}", f"{title} {broken}"
    return kind, title


def _cycle_anomaly(evidence: _Evidence, cycle: Sequence[Edge], entangled: int) -> Anomaly:
    kind, title = _classify(cycle)
    members = tuple(edge.source for edge in cycle)
    more = f" (the shortest cycle among {entangled} entangled transactions)" if entangled > len(cycle) else ""
    did = [f"  {evidence.name(i)}: {'; '.join(map(str, evidence.history[i].operations))}" for i in sorted(members)]
    why = [f"  T{edge.source} must come before T{edge.target}: {edge}" for edge in cycle]
    return Anomaly(kind, "\n".join([f"{kind}, {title}{more}:", *did, *why]), members, tuple(cycle))
