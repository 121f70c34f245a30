"""A rollout: what the operator wants, what the transformers apply, and how the bundles compare on real requests."""

from monitoring.board import MODEL, NAMESPACE, Board
from monitoring.panels import Query, graph
from monitoring.terms import CALLERS, FAILURES, OF_MODEL, quantile, rate, share, short

_ASKED = f"{OF_MODEL}, {CALLERS}"
_BUNDLE = "{{version}}"


def board() -> Board:
    """The chosen models of the namespace."""
    made = Board("rollout", "Rollout", "Versions, routes, and how the bundles of a model compare.", NAMESPACE, MODEL)
    made.row("Bundles on real requests", *_bundles())
    made.row("Routes", *_routes())
    made.row("Shadows", *_shadows())
    return made


def _bundles() -> list[object]:
    asked = rate("penstock_requests_total", _ASKED, "bundle")
    failed = rate("penstock_errors_total", f"{_ASKED}, {FAILURES}", "bundle")
    whole = rate("penstock_requests_total", f'{_ASKED}, bundle!=""')
    answered = rate("penstock_requests_total", f'{_ASKED}, bundle!=""', "bundle")
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
            Query(short(quantile(0.99, "penstock_request_duration_seconds", _ASKED, "bundle")), _BUNDLE),
        ),
        graph(
            "Latency, p50",
            "Half of the requests that a bundle answered took at most this long.",
            "s",
            Query(short(quantile(0.5, "penstock_request_duration_seconds", _ASKED, "bundle")), _BUNDLE),
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
