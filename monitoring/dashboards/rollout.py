"""A rollout: what the operator wants, what the transformers apply, and how the bundles compare on real requests."""

from monitoring.board import MODEL, NAMESPACE, Board
from monitoring.panels import Query, graph, listing
from monitoring.terms import CALLERS, FAILURES, OF_MODEL, greatest, mean, quantile, rate, share, short

_ASKED = f"{OF_MODEL}, {CALLERS}"
_ANSWERED = f'{_ASKED}, bundle!=""'
_BUNDLE = "{{version}}"


def board() -> Board:
    """The chosen models of the namespace."""
    made = Board("rollout", "Rollout", "Versions, routes, and how the bundles of a model compare.", NAMESPACE, MODEL)
    made.row("Versions", *_versions())
    made.row("Bundles on real requests", *_bundles())
    made.row("Routes", *_routes())
    made.row("Shadows", *_shadows())
    made.row("Operator", *_operator())
    return made


def _versions() -> list[object]:
    by = "namespace, model, version"
    return [
        listing(
            "Phases",
            "The phase that each ModelVersion is in.",
            "short",
            Query(f"max by ({by}, phase) (penstock_model_version_phase{{{OF_MODEL}}}) == 1"),
            ("Value",),
            12,
        ),
        graph(
            "Weight",
            "Per cent of requests that the operator gives each ModelVersion.",
            "percent",
            Query(f"max by ({by}) (penstock_model_version_weight{{{OF_MODEL}}})", "{{namespace}} {{model}} {{version}}"),
            width=12,
        ),
        graph(
            "Versions by phase",
            "How many ModelVersions are in each phase.",
            "short",
            Query(
                f"count by (phase) (max by ({by}, phase) (penstock_model_version_phase{{{OF_MODEL}}}) == 1)",
                "{{phase}}",
            ),
            stacked=True,
            width=12,
        ),
        listing(
            "Conditions",
            "What holds of each ModelVersion (1) and what does not, or not yet (0).",
            "short",
            Query(f"max by ({by}, condition) (penstock_model_version_condition{{{OF_MODEL}}})"),
            width=12,
        ),
    ]


def _operator() -> list[object]:
    turn = "penstock_operator_turn_duration_seconds"
    # The operator looks after all namespaces: where it runs itself is not what was chosen.
    return [
        graph(
            "Leader",
            "1 for the operator that holds the lease. There is one.",
            "short",
            Query("max by (namespace, pod) (penstock_operator_leader)", "{{namespace}} {{pod}}"),
        ),
        graph(
            "Looks at models",
            "Looks a second, changes that were made of them, and looks that failed.",
            "ops",
            Query(rate(f"{turn}_count", ""), "looks"),
            Query(rate("penstock_operator_calls_total", ""), "changes"),
            Query(rate("penstock_operator_failures_total", ""), "failed"),
        ),
        graph(
            "Time of a look",
            "Time of a look at a model and of what followed from it.",
            "s",
            Query(mean(turn, ""), "mean"),
            Query(quantile(0.99, turn, ""), "p99"),
        ),
        graph(
            "Models waiting",
            "Models that are to be looked at now. More than a few for long: the operator does not keep up.",
            "short",
            Query("max(penstock_operator_models_waiting)", "waiting"),
        ),
    ]


def _bundles() -> list[object]:
    asked = rate("penstock_requests_total", _ANSWERED, "bundle")
    failed = rate("penstock_errors_total", f"{_ANSWERED}, {FAILURES}", "bundle")
    whole = rate("penstock_requests_total", _ANSWERED)
    answered = rate("penstock_requests_total", _ANSWERED, "bundle")
    return [
        graph(
            "Share that is wanted",
            "Share of requests that the applied routes give each bundle; shadows get copies of that share.",
            "percentunit",
            Query(short(f"avg by (bundle, mode) (penstock_route_share_ratio{{{_ASKED}}})"), "{{version}} {{mode}}"),
        ),
        graph(
            "Share that it gets",
            "Share of requests that each bundle really answered. It follows the share that is wanted.",
            "percentunit",
            Query(short(f"{answered} / scalar({whole} > 0)"), _BUNDLE),
        ),
        graph("Requests", "Requests a second that each bundle answered.", "reqps", Query(short(answered), _BUNDLE), stacked=True),
        graph(
            "Failed requests",
            "Share of a bundle's requests that failed through no fault of the caller.",
            "percentunit",
            Query(short(share(failed, asked)), _BUNDLE),
        ),
        graph(
            "Latency, p99",
            "99 of 100 requests that a bundle answered took at most this long.",
            "s",
            Query(short(quantile(0.99, "penstock_request_duration_seconds", _ANSWERED, "bundle")), _BUNDLE),
        ),
        graph(
            "Latency, p50",
            "Half of the requests that a bundle answered took at most this long.",
            "s",
            Query(short(quantile(0.5, "penstock_request_duration_seconds", _ANSWERED, "bundle")), _BUNDLE),
        ),
        *(
            graph(
                f"{title}, distance from training",
                f"Part of the {title.lower()} that would have to be others to be spread as in the bundle's training, since the "
                "route came to be as it is. It decides nothing.",
                "percentunit",
                Query(short(greatest(f"penstock_evidence_{of}_distance_ratio", OF_MODEL, f"bundle, mode, {of}")), name),
                width=12,
            )
            for title, of, name in (
                ("Answers", "output", "{{version}} {{mode}} {{output}}"),
                ("Features", "feature", "{{version}} {{mode}} {{feature}}"),
            )
        ),
    ]


def _routes() -> list[object]:
    revision = "penstock_transformer_route_revision"
    return [
        graph(
            "Revisions that are applied",
            "The newest and the oldest revision that pods of a model apply. They are one, but for the "
            "second that a change takes.",
            "none",
            Query(f"max by (namespace, model) ({revision}{{{OF_MODEL}}})", "{{namespace}} {{model}} newest"),
            Query(f"min by (namespace, model) ({revision}{{{OF_MODEL}}})", "{{namespace}} {{model}} oldest"),
        ),
        graph(
            "Routes refused",
            "Routes a second that were wrong, so that the one before stayed, and attempts to apply one whose bundles "
            "could not be fetched.",
            "ops",
            Query(rate("penstock_transformer_route_rejected_total", OF_MODEL, "model"), "{{model}} wrong"),
            Query(rate("penstock_transformer_route_failed_total", OF_MODEL, "model"), "{{model}} not to be had"),
        ),
        graph(
            "Calls that met another bundle",
            "Calls a second that a predictor refused because it holds another bundle than the route "
            "says; they went where the route says then.",
            "ops",
            Query(rate("penstock_transformer_refused_calls_total", OF_MODEL, "model"), "{{model}}"),
        ),
    ]


def _shadows() -> list[object]:
    return [
        graph(
            "Copies",
            "Copies of requests a second that were sent to shadow bundles.",
            "reqps",
            Query(rate("penstock_transformer_shadow_copies_total", OF_MODEL, "model"), "{{model}}"),
        ),
        graph(
            "Copies that failed",
            "Copies a second that failed at a shadow bundle. No caller notices.",
            "reqps",
            Query(rate("penstock_transformer_shadow_errors_total", OF_MODEL, "model"), "{{model}}"),
        ),
        graph(
            "Copies left out",
            "Copies a second that were not sent because the shadow's queue was full: it is slower than the live bundles.",
            "reqps",
            Query(rate("penstock_transformer_shadow_dropped_total", OF_MODEL, "model"), "{{model}}"),
        ),
    ]
