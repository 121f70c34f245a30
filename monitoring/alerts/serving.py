"""Alerts on what callers see: failures, latency, refusals, and the predictors behind the transformers."""

from monitoring.alerts.alert import Alert
from monitoring.terms import CALLERS, FAILURES, quantile, rate, share

_BY = "namespace, model"
_MODEL = "{{ $labels.namespace }}/{{ $labels.model }}"
_ALLOWED = 0.001
"""Of the requests that may fail over a month: an objective of 99.9 %."""
_AWAY = 'kind=~"upstream_unavailable|not_ready|deadline_exceeded"'


def _failed(window: str) -> str:
    named = f'{CALLERS}, model!=""'
    part = rate("penstock_errors_total", f"{named}, {FAILURES}", _BY, window)
    return share(part, rate("penstock_requests_total", named, _BY, window))


def _burn(speed: float, long: str, short: str) -> str:
    limit = f"{speed * _ALLOWED:g}"
    return f"({_failed(long)}) > {limit}\nand\n({_failed(short)}) > {limit}"


def _p99(window: str) -> str:
    return quantile(0.99, "penstock_request_duration_seconds", f'{CALLERS}, model!=""', _BY, window)


def alerts() -> list[Alert]:
    """Of callers and predictors."""
    calls = rate("penstock_transformer_call_seconds_count", "", _BY, "5m")
    refused = rate("penstock_transformer_refused_calls_total", "", _BY, "15m")
    overloaded = rate("penstock_errors_total", f'{CALLERS}, kind="overloaded"', _BY, "10m")
    return [
        Alert(
            name="ErrorBudgetBurnsFast",
            severity="critical",
            lasting="2m",
            expression=_burn(14.4, "1h", "5m"),
            summary=f"{_MODEL}: {{{{ $value | humanizePercentage }}}} of requests fail",
            description="At this rate the errors allowed in a month (0.1 %) are used up in two days. It has lasted for an hour, "
            "and goes on.",
        ),
        Alert(
            name="ErrorBudgetBurns",
            severity="warning",
            lasting="15m",
            expression=_burn(3, "6h", "30m"),
            summary=f"{_MODEL}: {{{{ $value | humanizePercentage }}}} of requests fail",
            description="At this rate the errors allowed in a month (0.1 %) are used up in ten days.",
        ),
        Alert(
            name="LatencyHigh",
            severity="warning",
            lasting="10m",
            expression=f"{_p99('10m')} > 1\nor\n({_p99('10m')} > 0.1 and {_p99('10m')} > 3 * {_p99('1d')})",
            summary=f"{_MODEL}: one request in a hundred takes over {{{{ $value | humanizeDuration }}}}",
            description="The 99th percentile is over 1 s, or over 100 ms and three times what it was over the last day.",
        ),
        Alert(
            name="Overloaded",
            severity="warning",
            lasting="10m",
            expression=f"{share(overloaded, rate('penstock_requests_total', CALLERS, _BY, '10m'))} > 0.01",
            summary=f"{_MODEL}: {{{{ $value | humanizePercentage }}}} of requests are refused with 429",
            description="More is asked than the pods can answer; what is refused costs nothing and may be sent again.",
        ),
        Alert(
            name="PredictorAway",
            severity="critical",
            lasting="2m",
            expression=f"{rate('penstock_transformer_call_errors_total', _AWAY, _BY, '5m')} / ({calls} > 0) > 0.05",
            summary=f"{_MODEL}: {{{{ $value | humanizePercentage }}}} of the calls of its predictors fail",
            description="Transformers do not reach predictors, or not in time. Each failed call fails a batch of requests.",
        ),
        Alert(
            name="PredictorPodsSetAside",
            severity="warning",
            lasting="10m",
            expression='max by (namespace, model, bundle) (penstock_route_predictor_pods{state="aside"}) > 0',
            summary=f"{_MODEL}: {{{{ $value }}}} addresses of a predictor are not used",
            description="Transformers set these pods aside because they refuse connections. The others carry their load.",
        ),
        Alert(
            name="WrongBundleRefused",
            severity="warning",
            lasting="15m",
            expression=f"{refused} / ({rate('penstock_transformer_call_seconds_count', '', _BY, '15m')} > 0) > 0.01",
            summary=f"{_MODEL}: {{{{ $value | humanizePercentage }}}} of calls meet another bundle",
            description="Predictors hold another bundle than the route says. No caller gets a wrong answer, but requests take "
            "longer and some fail with 412.",
        ),
    ]
