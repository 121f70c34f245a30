"""Alerts on quality: what turned out to be true of predictions, as the log's sink works it out.

Several sinks of one folder tell the same: the greatest counts.
"""

from monitoring.alerts.alert import Alert


def alerts() -> list[Alert]:
    """Of the bounds that the sink was given."""
    return [
        Alert(
            name="QualityLow",
            severity="warning",
            lasting="15m",
            expression="max by (namespace, model, bundle, measure) (penstock_quality_beyond_bound) == 1",
            summary="{{ $labels.model }}: the {{ $labels.measure }} of {{ $labels.bundle }} has passed its bound",
            description="Its predictions turn out worse than is allowed, by more than chance explains. It goes on answering.",
        ),
    ]
