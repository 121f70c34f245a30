"""Alerts on quality: what turned out to be true of predictions, as the log's sink works it out, and how far what is served is
from what was trained.

Several sinks of one folder tell the same: the greatest counts.
"""

from monitoring.alerts.alert import Alert

FAR = 0.25
"""Of 1. A profile of 300 rows in twenty bins is 0.12 away from what it was drawn from, on average."""


def alerts() -> list[Alert]:
    """Of the bounds that the sink was given, and of bundles that answer callers."""
    answers, features = (
        f'label_replace(max by (namespace, model, bundle, {of}) (penstock_evidence_{of}_distance_ratio{{mode="live"}}),'
        f' "what", "{of} $1", "{of}", "(.*)") > {FAR}'
        for of in ("output", "feature")
    )
    return [
        Alert(
            name="FarFromTraining",
            severity="warning",
            lasting="30m",
            expression=f"{answers} or {features}",
            summary="{{ $labels.model }}: {{ $labels.what }} of {{ $labels.bundle }} is {{ $value | humanizePercentage }} away "
            "from its training",
            description="So many rows would have to be others for it to look as in training. Outcomes tell if that does harm.",
        ),
        Alert(
            name="QualityLow",
            severity="warning",
            lasting="15m",
            expression="max by (namespace, model, bundle, measure) (penstock_quality_beyond_bound) == 1",
            summary="{{ $labels.model }}: the {{ $labels.measure }} of {{ $labels.bundle }} has passed its bound",
            description="Its predictions turn out worse than is allowed, by more than chance explains. It goes on answering.",
        ),
    ]
