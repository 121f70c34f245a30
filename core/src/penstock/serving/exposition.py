"""`/metrics`: this process's counters in Prometheus' text form, or those of all workers together.

A worker asks its parent, which adds up the snapshots of all workers; without a parent the process answers from its own. Counters
of workers that died stay in the sum, so that no counter ever falls while the program runs. Members' own families are added up
sample by sample: counters and histograms as sums, gauges as their source says.
"""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector

from penstock.metrics import Metrics, Snapshot

# Of what a process says of itself, what adds up over processes; the rest (start time, limits) shows the largest.
_SUMMED = ("process_virtual_memory_bytes", "process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds")


async def exposition(state: Any, metrics: Metrics) -> bytes:
    """The text of a scrape. `state.worker_link`, where there is one, asks the parent, and so speaks for all workers."""
    return render(await _snapshots(state, metrics))


async def model_snapshots(state: Any, metrics: Metrics) -> list[Snapshot]:
    """The models' counters of this process, or of all workers: one entry for each model, bundle and process."""
    return [entry for snapshot in await _snapshots(state, metrics) for entry in snapshot["models"]]


async def _snapshots(state: Any, metrics: Metrics) -> list[Snapshot]:
    link = getattr(state, "worker_link", None)
    if link is None:
        return [snapshot(metrics)]
    answer = await link.ask("metrics", timeout_s=3.0)
    found: list[Snapshot] = answer["snapshots"]
    return found


def snapshot(metrics: Metrics) -> Snapshot:
    """Everything that this process counts, as JSON values."""
    families = [_family(family, summed) for family, summed in metrics.families()]
    families += [_family(family, family.name in _SUMMED) for family in ProcessCollector(registry=None).collect()]
    return {"models": metrics.snapshot(), "families": families}


def retired(last: Snapshot) -> Snapshot:
    """What of a dead worker's snapshot stays: its counters, not its gauges."""
    models = [{**entry, "in_flight": 0} for entry in last["models"]]
    return {"models": models, "families": [family for family in last["families"] if family["type"] != "gauge"]}


def combined(snapshots: list[Snapshot]) -> Snapshot:
    """Several snapshots as one."""
    metrics = Metrics()
    for entry in snapshots:
        metrics.merge(entry["models"])
    families = _added(family for entry in snapshots for family in entry["families"])
    return {"models": metrics.snapshot(), "families": [_family(family, False) for family in families]}


def render(snapshots: list[Snapshot]) -> bytes:
    """Snapshots of one or more processes as one text."""
    metrics = Metrics()
    for entry in snapshots:
        metrics.merge(entry["models"])
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    families = _added(family for entry in snapshots for family in entry["families"])
    metrics.add_source(lambda: families)
    return generate_latest(registry)


def _family(family: Metric, summed: bool) -> dict[str, Any]:
    samples = [[sample.name, list(sample.labels.items()), sample.value] for sample in family.samples]
    return {"name": family.name, "type": family.type, "text": family.documentation, "summed": summed, "samples": samples}


def _added(families: Iterable[dict[str, Any]]) -> list[Metric]:
    """Families of several processes, those of the same name made one."""
    found: dict[str, dict[str, Any]] = {}
    samples: dict[str, dict[tuple[Any, ...], float]] = {}
    for family in families:
        found.setdefault(family["name"], family)
        into = samples.setdefault(family["name"], {})
        for name, labels, value in family["samples"]:
            key = (name, tuple((label, text) for label, text in labels))
            if family["type"] == "gauge" and not family["summed"]:
                into[key] = max(into.get(key, value), value)
            else:
                into[key] = into.get(key, 0) + value
    return [_metric(found[name], into) for name, into in samples.items()]


def _metric(family: dict[str, Any], samples: dict[tuple[Any, ...], float]) -> Metric:
    metric = Metric(family["name"], family["text"], family["type"])
    for (name, labels), value in samples.items():
        metric.add_sample(name, dict(labels), value)
    return metric
