"""The trigger's metrics: each bound beside its value, where the machine stands, and what came of asking."""

import time
from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock_transformer.feedback.trigger.turn import Watcher

STATES = ("quiet", "due", "under_way", "cooling")
OUTCOMES = ("delivered", "failed", "gone", "abandoned")


def families(watchers: Sequence[Watcher]) -> Iterable[Metric]:
    """For `Metrics.add_source`."""
    named = ("model", "kind", "name")
    value = GaugeMetricFamily("penstock_retrain_value", "What has a bound, in the last window that was judged.", labels=named)
    bound = GaugeMetricFamily("penstock_retrain_bound", "The bound.", labels=named)
    passed = GaugeMetricFamily("penstock_retrain_passed", "1: it is passed, beyond what chance explains.", labels=named)
    rows = GaugeMetricFamily("penstock_retrain_rows", "Rows of the judged bundle in the window.", labels=("model",))
    judged = GaugeMetricFamily("penstock_retrain_judged_timestamp", "End of the last window that was judged.", labels=("model",))
    state = GaugeMetricFamily("penstock_retrain_state", "1 for the state of the trigger.", labels=("model", "state"))
    attempts = CounterMetricFamily(
        "penstock_retrain_attempts", "Attempts to ask for a retraining, by outcome.", labels=("model", "outcome")
    )
    for watcher in watchers:
        model, memory = watcher.watch.model, watcher.memory
        now_in = memory.state(time.time(), watcher.watch.cool_down_s)
        for name in STATES:
            state.add_metric((model, name), float(name == now_in))
        for outcome in OUTCOMES:
            attempts.add_metric((model, outcome), watcher.counts[outcome])
        if memory.judged is not None:
            judged.add_metric((model,), memory.judged.until)
        if watcher.look is None:
            continue
        rows.add_metric((model,), watcher.look.rows)
        for one in watcher.look.findings:
            labels = (model, one.kind, one.name)
            value.add_metric(labels, one.value)
            bound.add_metric(labels, one.bound)
            passed.add_metric(labels, float(one.passed))
    return value, bound, passed, rows, judged, state, attempts
