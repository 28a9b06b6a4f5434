"""What each figure must reach on a machine of two cores, and what is chased beyond."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """One line of the table."""

    workload: str
    replicas: int | None
    """Which run is meant, where a workload is run with several numbers of replicas."""
    figure: str
    words: str
    unit: str
    least: bool
    """Whether `bound` is the least that will do; else the most."""
    bound: float
    chase: float | None = None

    def met(self, value: float) -> bool:
        """Whether a figure reaches the bound."""
        return value >= self.bound if self.least else value <= self.bound


TARGETS = (
    Target("A", 2, "node_calls_s", "hello map, 2 replicas, as a `map` node", "calls/s", True, 25_000, 44_000),
    Target("A", 25, "node_calls_s", "hello map, 25 replicas, as a `map` node", "calls/s", True, 25_000, 44_000),
    Target("A", 2, "map_calls_s", "hello map, 2 replicas, by `Client.map`", "calls/s", True, 20_000, 44_000),
    Target("A", 25, "map_calls_s", "hello map, 25 replicas, by `Client.map`", "calls/s", True, 20_000, 44_000),
    Target("B", None, "hello_s", "1,000 hellos over 25 cold replicas", "s", False, 0.9, 0.5),
    Target("B", None, "sleep_s", "1,000 sleeps of 5 s over 100 cold replicas", "s", False, 50.8, 50.3),
    Target("C", None, "p50_ms", "one call at a time, p50", "ms", False, 1.0, 0.75),
    Target("C", None, "p99_ms", "one call at a time, p99", "ms", False, 4.0),
    Target("D", None, "one_replica_ms", "first result, cold pool of one replica", "ms", False, 60, 30),
    Target("D", None, "all_connected_ms", "25 replicas connected, cold pool", "ms", False, 350, 200),
    Target("D", None, "run_from_nothing_ms", "`greenroom run`, no hub", "ms", False, 1500, 800),
    Target("D", None, "run_warm_ms", "`greenroom run`, warm", "ms", False, 350, 200),
    Target("D", None, "run_pandas_ms", "`greenroom run`, warm, pandas and scikit-learn", "ms", False, 600),
    Target("E", None, "ms_per_step", "chain of 200 nodes", "ms a step", False, 0.9, 0.6),
    Target("F", None, "mb_s", "1 MiB in, 1 MiB out, both ways counted", "MB/s", True, 200, 400),
    Target("G", None, "ms_each", "a fresh runner each, two at a time", "ms each", False, 8, 4),
    Target("H", None, "node_items_s", "a million items, as a `map` node", "items/s", True, 20_000, 40_000),
    Target("H", None, "node_cost_ratio", "cost of an item at 1,000,000 over 10,000, node", "", False, 1.2),
    Target("H", None, "node_hub_grew_mb", "growth of the hub's RSS, node", "MB", False, 120),
    Target("H", None, "map_items_s", "a million items, by `Client.map`", "items/s", True, 20_000, 40_000),
    Target("H", None, "map_cost_ratio", "cost of an item at 1,000,000 over 10,000, `Client.map`", "", False, 1.2),
    Target("H", None, "map_hub_grew_mb", "growth of the hub's RSS, `Client.map`", "MB", False, 120),
    Target("H", None, "map_first_s", "first result, `Client.map`", "s", False, 1.0),
    Target("I", None, "nodes_s", "1,000 executions of 5 nodes at once", "nodes/s", True, 2_000, 8_000),
    Target("I", None, "watchers_cost", "what 50 watchers cost of that", "", False, 0.2),
    Target("J", None, "replica_mb", "PSS of a warm process replica, of 100", "MB", False, 10, 8),
    Target("J", None, "hub_idle_mb", "PSS of an idle hub", "MB", False, 90, 60),
    Target("K", None, "first_placement_s", "restart with 100,000 open items: first item", "s", False, 3.0, 1.0),
    Target("L", None, "calls_s", "1,000 simulated replicas", "calls/s", True, 10_000, 20_000),
    Target("L", None, "gap_p99_ms", "p99 of a replica's wait for its next call", "ms", False, 50),
)
