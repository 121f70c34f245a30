"""`/metrics`: this process's counters in Prometheus' text form, or those of all workers together.

A worker asks its parent, which adds up the snapshots of all workers, dead ones included; without a parent the process answers
from its own counters. Families of members (`Metrics.add_source`) come from the worker that was asked.
"""

from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector

from penstock.metrics import Metrics


async def exposition(state: Any, metrics: Metrics) -> bytes:
    """The text of a scrape. `state.worker_link`, where there is one, knows the other workers."""
    link = getattr(state, "worker_link", None)
    return render(metrics) if link is None else await link.merged_metrics(metrics)


def render(metrics: Metrics) -> bytes:
    """The counters of one `Metrics`, and this process's own (memory, CPU, file descriptors)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    ProcessCollector(registry=registry)
    return generate_latest(registry)
