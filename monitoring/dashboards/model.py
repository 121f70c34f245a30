"""One model: what its callers see, and where in transformer and predictor the time goes."""

from monitoring.board import MODEL, NAMESPACE, Board
from monitoring.panels import Level, Query, graph, heat, listing, number
from monitoring.terms import (
    CALLERS,
    FAILURES,
    HERE,
    OF_MODEL,
    PREDICTORS,
    RATE,
    greatest,
    mean,
    quantile,
    rate,
    share,
    short,
    total,
)

_ASKED = f"{OF_MODEL}, {CALLERS}"
# A predictor calls a model by the name it serves it under; the bundle is the same on both sides.
_PREDICTED = f"{HERE}, {PREDICTORS}"
_DURATION = "penstock_request_duration_seconds"
_BUNDLE = "{{version}}"


def board() -> Board:
    """The chosen models; the predictors' panels show those of the namespace, those of quality the log sink's namespace."""
    made = Board("model", "Model", "What callers of a model see, and where the time goes.", NAMESPACE, MODEL)
    made.row("Callers", *_numbers(), *_callers())
    made.row("Where the time goes", *_time())
    made.row("Predictors", *_predictors())
    made.row("Quality, by outcomes that were told", *_quality(), *_outcomes())
    return made


def _numbers() -> list[object]:
    failed = share(rate("penstock_errors_total", f"{_ASKED}, {FAILURES}"), rate("penstock_requests_total", _ASKED))
    return [
        number("Requests", "Requests a second.", "reqps", Query(rate("penstock_requests_total", _ASKED))),
        number(
            "Failed",
            "Share of requests that failed through no fault of the caller.",
            "percentunit",
            Query(failed),
            Level(0.001, "orange"),
            Level(0.01, "red"),
            decimals=2,
        ),
        number("p50", "Half of the requests are answered within this time.", "s", Query(quantile(0.5, _DURATION, _ASKED))),
        number("p99", "99 of 100 requests are answered within this time.", "s", Query(quantile(0.99, _DURATION, _ASKED))),
        number(
            "In progress",
            "Requests that were taken and are not answered yet.",
            "short",
            Query(total("penstock_in_flight", _ASKED)),
        ),
        number(
            "Addresses of predictors",
            "Addresses that the transformers of the route's bundles call, those set aside left out.",
            "short",
            Query(total("penstock_route_predictor_pods", f'{_ASKED}, state="used"')),
        ),
    ]


def _callers() -> list[object]:
    return [
        graph(
            "Requests by bundle",
            "Requests a second, by the bundle that answered; without one: none was reached.",
            "reqps",
            Query(short(rate("penstock_requests_total", _ASKED, "bundle")), _BUNDLE),
            stacked=True,
        ),
        graph(
            "Errors by kind",
            "Errors a second, by kind.",
            "reqps",
            Query(rate("penstock_errors_total", _ASKED, "kind"), "{{kind}}"),
            stacked=True,
        ),
        graph(
            "Latency",
            "Half, 95 and 99 of 100 requests are answered within these times.",
            "s",
            *(Query(quantile(q, _DURATION, _ASKED), f"p{round(q * 100)}") for q in (0.5, 0.95, 0.99)),
        ),
        graph(
            "Latency by bundle, p99",
            "99 of 100 requests of a bundle are answered within this time.",
            "s",
            Query(short(quantile(0.99, _DURATION, _ASKED, "bundle")), _BUNDLE),
        ),
        heat(
            "Latency, spread",
            "How many requests took how long.",
            "s",
            Query(f"sum by (le) (increase({_DURATION}_bucket{{{_ASKED}}}[{RATE}]))", "{{le}}"),
        ),
        graph(
            "Bytes",
            "Bytes a second of request and response bodies.",
            "Bps",
            Query(rate("penstock_request_bytes_total", _ASKED), "in"),
            Query(rate("penstock_response_bytes_total", _ASKED), "out"),
        ),
    ]


def _time() -> list[object]:
    wait, read, call = "penstock_queue_wait_seconds", "penstock_store_read_seconds", "penstock_transformer_call_seconds"
    return [
        graph(
            "Mean time of a step",
            "What a request waits for its batch, and how long a batch's read of the feature store and its "
            "call of the predictor take.",
            "s",
            Query(mean(wait, _ASKED), "wait for a batch"),
            Query(mean(read, _ASKED), "feature store"),
            Query(mean(call, _ASKED), "predictor"),
        ),
        graph(
            "p99 of a step",
            "The same, for 99 of 100.",
            "s",
            Query(quantile(0.99, wait, _ASKED), "wait for a batch"),
            Query(quantile(0.99, read, _ASKED), "feature store"),
            Query(quantile(0.99, call, _ASKED), "predictor"),
        ),
        graph(
            "Batches",
            "Rows of a batch, and requests that share one, on average.",
            "short",
            Query(mean("penstock_batch_rows", _ASKED), "rows"),
            Query(
                f"{rate('penstock_batched_requests_total', _ASKED)} / ({rate('penstock_batch_rows_count', _ASKED)} > 0)",
                "requests",
            ),
        ),
        graph(
            "Failed calls of predictors",
            "Calls a second that failed after all tries, by kind.",
            "ops",
            Query(rate("penstock_transformer_call_errors_total", OF_MODEL, "kind"), "{{kind}}"),
        ),
        graph(
            "Calls sent again",
            "Calls refused because the predictor held another bundle, requests that another bundle answered because theirs had "
            "no pod, and batches run again request by request because one was at fault.",
            "ops",
            Query(rate("penstock_transformer_refused_calls_total", OF_MODEL), "another bundle"),
            Query(rate("penstock_transformer_moved_requests_total", OF_MODEL), "no pod"),
            Query(rate("penstock_transformer_split_batches_total", OF_MODEL), "batches split"),
        ),
        graph(
            "Addresses of predictors",
            "What a transformer knows of, by whether it is used or set aside after it refused.",
            "short",
            Query(short(greatest("penstock_route_predictor_pods", OF_MODEL, "bundle, state")), "{{version}} {{state}}"),
        ),
    ]


def _predictors() -> list[object]:
    name = "{{model}} {{version}}"
    return [
        graph(
            "Calls",
            "Calls a second that predictors answered, by bundle.",
            "reqps",
            Query(short(rate("penstock_requests_total", _PREDICTED, "model, bundle")), name),
            stacked=True,
        ),
        graph(
            "Latency, p99",
            "99 of 100 calls are answered by the predictor within this time.",
            "s",
            Query(short(quantile(0.99, _DURATION, _PREDICTED, "model, bundle")), name),
        ),
        graph(
            "Wait for a run, p99",
            "99 of 100 calls wait this long for the model to be free; what it takes beyond that is the run.",
            "s",
            Query(short(quantile(0.99, "penstock_queue_wait_seconds", _PREDICTED, "model, bundle")), name),
        ),
        graph(
            "Queued and running",
            "Calls that wait for a run, and that are in one.",
            "short",
            Query(total("penstock_queued_requests", _PREDICTED, "model"), "{{model}} queued"),
            Query(total("penstock_running_requests", _PREDICTED, "model"), "{{model}} running"),
        ),
        graph(
            "Bytes queued and running",
            "Bytes of tensors of these.",
            "bytes",
            Query(total("penstock_queued_bytes", _PREDICTED, "model"), "{{model}} queued"),
            Query(total("penstock_running_bytes", _PREDICTED, "model"), "{{model}} running"),
        ),
        graph(
            "Rows of a run",
            "Rows that share a run of the model, on average.",
            "short",
            Query(short(mean("penstock_batch_rows", _PREDICTED, "model, bundle")), name),
        ),
        listing(
            "Cost of a run",
            "Time of one run by its rows, as measured when the model was loaded.",
            "s",
            Query(short(greatest("penstock_run_cost_seconds", _PREDICTED, "model, bundle, rows"))),
            ("bundle",),
            12,
        ),
        listing(
            "Memory of a run",
            "Memory that one run added, as measured when the model was loaded.",
            "bytes",
            Query(short(greatest("penstock_run_cost_bytes", _PREDICTED, "model, bundle, rows"))),
            ("bundle",),
            12,
        ),
    ]


def _measured(measure: str, mode: str = "", metric: str = "penstock_quality") -> list[Query]:
    """A measure of each bundle, those that answer and shadows apart."""
    several = []
    for shadow, name in (("false", "{{model}} {{version}}"), ("true", "{{model}} {{version}} shadow")):
        labels = f'{OF_MODEL}, measure="{measure}", shadow="{shadow}"'
        several.append(Query(short(greatest(metric, labels, "model, bundle")), f"{name}{mode}"))
    return several


def _quality() -> list[object]:
    numbers = (("mean_absolute_error", " mean"), ("root_mean_squared_error", " root of the mean square"))
    return [
        graph("Accuracy", "Share of answers whose label turned out right.", "percentunit", *_measured("accuracy")),
        graph(
            "Area under the ROC curve",
            "The chance that what turned out true had the higher score of two; a half is no better than a coin.",
            "none",
            *_measured("auc"),
        ),
        graph(
            "Cost of a prediction",
            "What an answer cost on average, by the table in the bundle's card; below nought is a gain.",
            "none",
            *_measured("cost"),
            signed=True,
        ),
        graph(
            "Error of numbers",
            "How far predicted numbers were from what turned out true.",
            "none",
            *(query for measure, name in numbers for query in _measured(measure, name)),
        ),
        graph(
            "Bias of numbers",
            "What predicted numbers were too large on average; below nought they were too small.",
            "none",
            *_measured("bias"),
            signed=True,
        ),
        graph(
            "Twice the standard error of the accuracy",
            "How far the accuracy may be off by chance: two bundles that differ by less are not known to differ.",
            "percentunit",
            *(Query(f"2 * {query.expression}", query.legend) for query in _measured("accuracy", metric="penstock_quality_error")),
        ),
    ]


def _outcomes() -> list[object]:
    live = f'{OF_MODEL}, shadow="false"'
    tenth, ratio = "{{model}} {{tenth}}", "penstock_quality_calibration_ratio"
    true, said = (greatest(ratio, f'{live}, of="{of}"', "model, tenth") for of in ("true", "said"))
    return [
        graph(
            "Outcomes known",
            "Predictions whose outcome is known, in the sink's window; all else of this row rests on these.",
            "short",
            Query(
                short(greatest("penstock_quality_rows", OF_MODEL, "model, bundle, shadow")), "{{model}} {{version}} {{shadow}}"
            ),
        ),
        graph(
            "Calibration error",
            "How far scores are from how often they were right, on average over tenths of the score.",
            "percentunit",
            *_measured("calibration_error"),
        ),
        graph(
            "Calibration",
            "By tenths of the score: how often what was said came true, less how likely it was said to be. Nought is best.",
            "percentunit",
            Query(f"{true} - {said}", tenth),
            signed=True,
        ),
        graph(
            "Outcomes that name no label",
            "Outcomes whose label the bundle lacks: whoever tells them spells it otherwise. They count for nothing.",
            "short",
            Query(short(greatest("penstock_quality_strange", OF_MODEL, "model, bundle")), "{{model}} {{version}}"),
        ),
        graph(
            "Beyond its bound",
            "1 while a measure of a bundle that answers has passed the bound that the sink was given.",
            "none",
            Query(greatest("penstock_quality_beyond_bound", OF_MODEL, "model, measure"), "{{model}} {{measure}}"),
        ),
        graph(
            "Log records",
            "Records a second that the log's sink has read: predictions, outcomes, and what it could not read.",
            "ops",
            Query(rate("penstock_log_sink_records_total", HERE, "kind"), "{{kind}}"),
        ),
    ]
