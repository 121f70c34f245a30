"""The pieces of PromQL that dashboards and alerts share: who is looked at, what counts as a failure, quantiles and shares.

Labels of a target, as the chart's monitors set them: `namespace`, `pod`, `component` (transformer, predictor, collocated, worker,
relay, sink, updates, operator; serve where everything is one process), `inferenceservice`, `model_version`.
"""

RATE = "$__rate_interval"
HERE = 'namespace=~"$namespace"'
OF_MODEL = f'{HERE}, model=~"$model"'
CALLERS = 'component=~"transformer|collocated|serve"'
"""Programs that callers reach: a request is counted there once, and again where it goes on to."""
PREDICTORS = 'component="predictor"'
# What the platform owes its callers an answer for; the other kinds are faults of the request.
FAILURES = 'kind=~"overloaded|deadline_exceeded|not_ready|upstream_unavailable|internal"'


def rate(metric: str, labels: str, by: str = "", window: str = RATE) -> str:
    """A counter's increase a second, added up, by these labels."""
    return f"sum{_by(by)} (rate({metric}{{{labels}}}[{window}]))"


def total(metric: str, labels: str, by: str = "") -> str:
    """A gauge, added up, by these labels."""
    return f"sum{_by(by)} ({metric}{{{labels}}})"


def greatest(metric: str, labels: str, by: str = "") -> str:
    """A gauge's greatest value, by these labels."""
    return f"max{_by(by)} ({metric}{{{labels}}})"


def quantile(q: float, histogram: str, labels: str, by: str = "", window: str = RATE) -> str:
    """A quantile of a histogram, estimated from its buckets; NaN, which is not drawn, where nothing was observed."""
    inner = ", ".join(filter(None, ("le", by)))
    return f"histogram_quantile({q}, sum by ({inner}) (rate({histogram}_bucket{{{labels}}}[{window}])))"


def mean(histogram: str, labels: str, by: str = "", window: str = RATE) -> str:
    """The mean of a histogram; nothing where nothing was observed."""
    return f"{rate(f'{histogram}_sum', labels, by, window)} / ({rate(f'{histogram}_count', labels, by, window)} > 0)"


def share(part: str, whole: str) -> str:
    """`part` of `whole`; nothing where there is no whole, nought where there is no part."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def short(expression: str) -> str:
    """The same series with the bundle in the label `version`, its digest cut to what a legend has room for."""
    return f'label_replace({expression}, "version", "$1", "bundle", "(.*@sha256:.{{8}}).*")'


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
