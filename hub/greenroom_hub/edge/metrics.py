"""Figures for Prometheus, read from the machine when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from greenroom_hub.core.replica import ReplicaState
from greenroom_hub.core.state import State

_COUNTERS = {
    "calls_finished": "Calls whose outcome was recorded",
    "calls_cached": "Calls whose outputs came from an earlier execution",
    "calls_lost": "Attempts lost with their replica",
    "results_repeated": "Results that came twice and were recorded once",
    "results_refused": "Late results of superseded attempts",
    "results_late": "Results of executions that had ended",
    "executions_submitted": "Executions that were taken",
    "executions_ended": "Executions that have ended",
}
_CACHE = {
    "hits": "Calls that found an entry of the actor cache",
    "misses": "Calls that loaded an entry",
    "waits": "Calls that waited for another's load",
    "evictions": "Entries that went",
    "load_seconds": "Seconds spent loading entries",
}


class HubCollector(Collector):
    """Turns the machine's state into metrics.

    Args:
        state: The machine's.
        watchers: How many follow the log.
        commits: Commits of the store so far.
    """

    def __init__(self, state: State, watchers: Callable[[], int], commits: Callable[[], int]) -> None:
        self._state, self._watchers, self._commits = state, watchers, commits

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""
        yield from self._counted()
        yield from self._cache()
        yield from self._replicas()
        yield _gauge("greenroom_executions_live", "Executions that have not ended", len(self._state.runs))
        yield _gauge("greenroom_watchers", "Readers that follow the log", self._watchers())
        commits = CounterMetricFamily("greenroom_commits", "Commits of the log")
        commits.add_metric([], self._commits())
        yield commits

    def _counted(self) -> Iterator[Metric]:
        for name, text in _COUNTERS.items():
            family = CounterMetricFamily(f"greenroom_{name}", text)
            family.add_metric([], self._state.counters.get(name, 0))
            yield family

    def _cache(self) -> Iterator[Metric]:
        figures = self._state.cache_figures
        for name, text in _CACHE.items():
            family = CounterMetricFamily(f"greenroom_cache_{name}", text, labels=["environment"])
            for environment, told in figures.items():
                family.add_metric([environment], told.get(name, 0.0))
            yield family
        ratio = GaugeMetricFamily("greenroom_cache_hit_ratio", "Share of look-ups that hit", labels=["environment"])
        for environment, told in figures.items():
            asked = told.get("hits", 0.0) + told.get("misses", 0.0) + told.get("waits", 0.0)
            if asked:
                ratio.add_metric([environment], told.get("hits", 0.0) / asked)
        yield ratio
        sizes = GaugeMetricFamily("greenroom_cache_bytes", "Bytes of entries held", labels=["environment"])
        held: dict[str, int] = {}
        for pool in self._state.pools.values():
            size = sum(entry.bytes for one in pool.replicas.values() for entry in one.entries.values())
            held[pool.environment.name] = held.get(pool.environment.name, 0) + size
        for environment, size in held.items():
            sizes.add_metric([environment], size)
        yield sizes

    def _replicas(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("greenroom_replicas", "Replicas by state", labels=["environment", "state"])
        waiting = GaugeMetricFamily("greenroom_calls_in_flight", "Calls that replicas hold", labels=["environment"])
        for pool in self._state.pools.values():
            for state in ReplicaState:
                count = sum(1 for one in pool.replicas.values() if one.state is state)
                if count:
                    family.add_metric([pool.key, str(state)], count)
            waiting.add_metric([pool.key], pool.in_flight())
        yield family
        yield waiting


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family


def registry(state: State, watchers: Callable[[], int], commits: Callable[[], int]) -> CollectorRegistry:
    """A registry with the hub's metrics alone."""
    made = CollectorRegistry(auto_describe=False)
    made.register(HubCollector(state, watchers, commits))
    return made
