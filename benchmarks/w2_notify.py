"""W2, write to subscriber in one process: insert a message, until the callback holds the new result set.

100,000 messages in 1,000 channels; live query: the newest 20 of channel 7. Latency is from the call of the insert to
the callback. Inserts into a channel nobody watches alternate with it: that is the durable commit alone, measured in
the same second, and the goal is the ratio of the two. Redis and PostgreSQL send an event over loopback and the
client fetches the result again; both are in their latency.

The checks: every value handed to the callback equals the query run once more at that moment and begins with the
message just inserted; nothing fired for the other channel; the number of messages is exact.
"""

from __future__ import annotations

import gc
from time import perf_counter_ns

from benchmarks import fresh, systems
from benchmarks.measure import latency_figures, percentile
from benchmarks.notifications import Mailbox
from benchmarks.results import Check, Column, Goal, Measurement, figure, ratio
from benchmarks.systems import OURS, Messages, Options

TITLE = "W2 write to subscriber, same process"
ABOUT = "100,000 messages in 1,000 channels; live query: newest 20 of one channel; insert to callback, durable."
SYSTEMS = (OURS, "sqlite", "redis", "postgresql")
COLUMNS = (
    Column("commit_p50_us", "commit alone p50 us"),
    Column("p50_us", "to callback p50 us"),
    Column("p99_us", "p99 us"),
    Column("ratio", "callback / commit", "{:.2f}"),
)
CASE = "channel 7"
GOALS = (
    Goal("at most 1.3 x the durable commit alone", figure(OURS, CASE, "ratio"), at_most=1.3),
    Goal(
        "(no goal) beside SQLite's update_hook and re-query by hand",
        ratio((OURS, CASE, "p50_us"), ("sqlite", CASE, "p50_us")),
    ),
)
MESSAGES, CHANNELS = 100_000, 1_000
WATCHED, UNWATCHED = 7, 8
INSERTS, WARM_UP_INSERTS = 500, 50


def run(system: str, options: Options) -> list[Measurement]:
    """One fresh process per system."""
    return fresh.call(measure, system, options)


def measure(system: str, options: Options) -> list[Measurement]:
    directory = options.directory / f"w2-{system}"
    directory.mkdir()
    messages: Messages = systems.role(system, "Messages")(directory, MESSAGES, CHANNELS)
    try:
        mailbox = Mailbox()
        messages.watch(WATCHED, mailbox.callback(WATCHED))
        messages.start()
        commits, notified, wrong = _alternate(messages, mailbox)
        count = messages.count()
    finally:
        messages.close()
    commit_p50_us = percentile(commits, 0.5) / 1e3
    figures = {"commit_p50_us": commit_p50_us, **latency_figures(notified)}
    figures["ratio"] = figures["p50_us"] / commit_p50_us
    inserted = 2 * (INSERTS + WARM_UP_INSERTS)
    checks = [
        Check("every value equals a re-run and holds the message", not wrong, "; ".join(wrong[:2])),
        Check("fired once per insert", mailbox.fired == inserted // 2, f"{mailbox.fired:,} of {inserted // 2:,}"),
        Check("nothing lost", count == MESSAGES + inserted, f"{count:,} of {MESSAGES + inserted:,}"),
    ]
    return [Measurement(system, CASE, figures, checks)]


def _alternate(messages: Messages, mailbox: Mailbox) -> tuple[list[int], list[int], list[str]]:
    commits: list[int] = []
    notified: list[int] = []
    wrong: list[str] = []
    gc.collect()
    for turn in range(-WARM_UP_INSERTS, INSERTS):
        number = MESSAGES + 2 * (turn + WARM_UP_INSERTS)
        before = perf_counter_ns()
        messages.insert(UNWATCHED, number)
        commit = perf_counter_ns() - before
        before = perf_counter_ns()
        messages.insert(WATCHED, number + 1)
        delivery = mailbox.take()
        # The comparison is outside the timing: the delivery carries the moment of the callback.
        got, expected = messages.numbers(delivery.value), messages.numbers(messages.query(WATCHED))
        if got != expected or got[0] != number + 1:
            wrong.append(f"{got[:3]} instead of {expected[:3]}")
        if turn >= 0:
            commits.append(commit)
            notified.append(delivery.at_ns - before)
    return commits, notified, wrong
