"""Figures of stores for Prometheus, gathered when somebody asks: counting them costs an integer each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from reactive_db.sync.activity import LATENCIES, Latencies
from reactive_db.sync.served import Served

_PREFIX: Final = "reactive_db_"
_BOUNDS: Final = [*map(str, LATENCIES), "+Inf"]


class StoresCollector(Collector):
    """Every figure of some stores, each with the store's name as a label."""

    def __init__(self, stores: Mapping[str, Served]) -> None:
        self._stores = stores

    def collect(self) -> Iterator[Metric]:
        yield from self._of_data()
        yield from self._of_sessions()
        yield from self._of_requests()

    def _of_data(self) -> Iterator[Metric]:
        commits = _counter("commits", "Commits since the store was opened.")
        conflicts = _counter("conflicts", "Races that were lost since the store was opened.")
        published = _gauge("published_ts", "The newest timestamp that is durable: commits since the store was made.")
        lag = _gauge("applied_lag", "By how many commits the columns, which SQL reads, are behind.")
        pending = _gauge("pending_commits", "Commits that wait for the disk.")
        for target, served in self._stores.items():
            store, labels = served.store, [target]
            commits.add_metric(labels, served.activity.commits_total)
            conflicts.add_metric(labels, store.conflicts)
            published.add_metric(labels, store.published_ts)
            lag.add_metric(labels, max(store.published_ts - store.columns.applied_ts, 0))
            pending.add_metric(labels, store.pending)
        yield from (commits, conflicts, published, lag, pending)

    def _of_sessions(self) -> Iterator[Metric]:
        sessions = _gauge("sessions", "Sessions that are connected.")
        ranges = _gauge("watched_ranges", "Key ranges that sessions watch.")
        transitions = _counter("transitions_sent", "Transitions that were sent to sessions.")
        sent = _counter("sent_bytes", "Bytes of frames that were sent to sessions.")
        for target, served in self._stores.items():
            connected, labels = served.connected(), [target]
            sessions.add_metric(labels, len(connected))
            ranges.add_metric(labels, sum(one.load().ranges for one, _ in connected))
            transitions.add_metric(labels, served.activity.transitions)
            sent.add_metric(labels, served.activity.bytes_out)
        yield from (sessions, ranges, transitions, sent)

    def _of_requests(self) -> Iterator[Metric]:
        seconds = HistogramMetricFamily(
            f"{_PREFIX}request_seconds", "How long requests took, those that failed too.", labels=["store", "kind"]
        )
        failed = _counter("request_errors", "Requests that failed, lost races too.", "kind", "code")
        for target, served in self._stores.items():
            for kind, latencies in list(served.activity.requests.items()):
                seconds.add_metric([target, kind], _buckets(latencies), latencies.seconds)
            for (kind, code), count in list(served.activity.failed.items()):
                failed.add_metric([target, kind, code], count)
        yield from (seconds, failed)


def _buckets(latencies: Latencies) -> list[tuple[str, float]]:
    """As Prometheus wants them: how many were at most so long."""
    return list(zip(_BOUNDS, accumulate(latencies.counts), strict=True))


def _counter(name: str, help_: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}{name}", help_, labels=["store", *labels])


def _gauge(name: str, help_: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}{name}", help_, labels=["store"])
