"""Alerts on stored features: reads that fail or are slow, values too old or missing, updates that lag."""

from monitoring.alerts.alert import Alert
from monitoring.terms import quantile, rate

_BY = "namespace, model"
_MODEL = "{{ $labels.namespace }}/{{ $labels.model }}"


def _of_rows(counter: str, by: str, window: str, offset: str = "") -> str:
    part = f"sum by ({_BY}, {by}) (rate({counter}[{window}]{offset}))"
    return f"{part} / on ({_BY}) group_left () (sum by ({_BY}) (rate(penstock_store_rows_total[{window}]{offset})) > 0)"


def alerts() -> list[Alert]:
    """Of the feature store."""
    errors = rate("penstock_transformer_store_errors_total", "", _BY, "5m")
    defaulted = "penstock_feature_defaulted_rows_total"
    now, before = _of_rows(defaulted, "feature", "30m"), _of_rows(defaulted, "feature", "1d", " offset 1h")
    return [
        Alert(
            name="FeatureStoreErrors",
            severity="critical",
            lasting="5m",
            expression=f"{errors} / ({rate('penstock_store_read_seconds_count', '', _BY, '5m')} > 0) > 0.01",
            summary=f"{_MODEL}: {{{{ $value | humanizePercentage }}}} of reads of the feature store fail",
            description="Each fails a batch of requests with 503, or answers it with defaults where the bundle allows that.",
        ),
        Alert(
            name="FeatureStoreSlow",
            severity="warning",
            lasting="10m",
            expression=f"{quantile(0.99, 'penstock_store_read_seconds', '', _BY, '10m')} > 0.25",
            summary=f"{_MODEL}: one read of the feature store in a hundred takes over {{{{ $value | humanizeDuration }}}}",
            description="Every request of a batch waits for its read.",
        ),
        Alert(
            name="FeaturesStale",
            severity="warning",
            lasting="15m",
            expression=f"{_of_rows('penstock_store_stale_rows_total', 'set', '15m')} > 0.05",
            summary=f"{_MODEL}: {{{{ $value | humanizePercentage }}}} of rows have too old values of {{{{ $labels.set }}}}",
            description="What writes this feature set has stopped or lags. Such rows are refused, or predicted with defaults.",
        ),
        Alert(
            name="FeaturesDefaulted",
            severity="warning",
            lasting="30m",
            expression=f"{now} > 0.2\nunless on ({_BY}, feature)\n{now} < 3 * {before}",
            summary=f"{_MODEL}: {{{{ $value | humanizePercentage }}}} of rows are predicted with the default of "
            "{{ $labels.feature }}",
            description="That is over a fifth of the rows, and three times what it was the day before: predictions are worse "
            "than the model can do.",
        ),
        Alert(
            name="FeatureUpdatesBehind",
            severity="warning",
            lasting="10m",
            expression='max by (namespace, pod) (penstock_worker_oldest_seconds{component="updates"}) > 300\n'
            'or max by (namespace, pod) (penstock_updates_behind_seconds{component="updates"}) > 300',
            summary="{{ $labels.namespace }}/{{ $labels.pod }}: feature updates are {{ $value | humanizeDuration }} behind",
            description="The store is written more slowly than updates come, or is away.",
        ),
    ]
