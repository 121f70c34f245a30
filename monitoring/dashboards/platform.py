"""The platform at a glance: does everybody get answers, is every pod well. The page that one opens first."""

from monitoring.board import MODEL, NAMESPACE, Board
from monitoring.panels import Level, Query, graph, number
from monitoring.terms import CALLERS, FAILURES, HERE, OF_MODEL, greatest, quantile, rate, share, total

_ASKED = f"{OF_MODEL}, {CALLERS}"
_WHO = "{{namespace}} {{component}}"


def board() -> Board:
    """Every namespace and model that is chosen, together."""
    made = Board("platform", "Platform", "Requests, failures and pods of all models.", NAMESPACE, MODEL)
    made.row("Now", *_numbers())
    made.row("Requests by model", *_requests())
    made.row("Pods", *_pods())
    return made


def _numbers() -> list[object]:
    failed = share(rate("penstock_errors_total", f"{_ASKED}, {FAILURES}"), rate("penstock_requests_total", _ASKED))
    days = f"(min(penstock_certificate_expiry_timestamp_seconds{{{HERE}}}) - time()) / 86400"
    return [
        number("Requests", "Requests a second that callers made.", "reqps", Query(rate("penstock_requests_total", _ASKED))),
        number(
            "Failed",
            "Share of requests that failed through no fault of the caller: overloaded, too late, not ready, away, internal.",
            "percentunit",
            Query(failed),
            Level(0.001, "orange"),
            Level(0.01, "red"),
            decimals=2,
        ),
        number(
            "p99",
            "99 of 100 requests are answered within this time.",
            "s",
            Query(quantile(0.99, "penstock_request_duration_seconds", _ASKED)),
            Level(0.5, "orange"),
            Level(2, "red"),
        ),
        number(
            "Pods not ready",
            "Pods of Penstock that report themselves not ready; also those that start or stop.",
            "short",
            Query(f"count(max by (namespace, pod) (penstock_unready{{{HERE}}}) > 0) or vector(0)"),
            Level(1, "orange"),
        ),
        number(
            "Alerts",
            "Alerts of Penstock that are firing. Each has a page in docs/runbooks.",
            "short",
            Query('count(ALERTS{alertname=~"Penstock.*", alertstate="firing"}) or vector(0)'),
            Level(1, "red"),
        ),
        number("Certificate", "Days until the first certificate of any pod ends.", "d", Query(days), decimals=0),
    ]


def _requests() -> list[object]:
    by = "namespace, model"
    name = "{{namespace}} {{model}}"
    failures = rate("penstock_errors_total", f"{_ASKED}, {FAILURES}", by)
    return [
        graph(
            "Requests",
            "Requests a second, by model; no name: they named no model that there is.",
            "reqps",
            Query(rate("penstock_requests_total", _ASKED, by), name),
            stacked=True,
        ),
        graph(
            "Failed requests",
            "Share of a model's requests that failed through no fault of the caller.",
            "percentunit",
            Query(share(failures, rate("penstock_requests_total", _ASKED, by)), name),
        ),
        graph(
            "Errors by kind",
            "Errors a second by kind, faults of requests (invalid_input, not_found, …) included.",
            "reqps",
            Query(rate("penstock_errors_total", _ASKED, "kind"), "{{kind}}"),
            stacked=True,
        ),
        graph(
            "Latency, p99",
            "99 of 100 requests of a model are answered within this time.",
            "s",
            Query(quantile(0.99, "penstock_request_duration_seconds", _ASKED, by), name),
        ),
        graph(
            "In progress",
            "Requests that were taken and are not answered yet.",
            "short",
            Query(total("penstock_in_flight", _ASKED, by), name),
        ),
        graph(
            "Bytes",
            "Bytes a second of request and response bodies.",
            "Bps",
            Query(rate("penstock_request_bytes_total", _ASKED), "in"),
            Query(rate("penstock_response_bytes_total", _ASKED), "out"),
        ),
    ]


def _pods() -> list[object]:
    who = "namespace, component"
    held = f"sum by (namespace, pod) (process_resident_memory_bytes{{{HERE}}})"
    return [
        graph(
            "Pods scraped",
            "Programs that Prometheus reaches, by component. A fall that nobody asked for is an outage.",
            "short",
            Query(f"count by ({who}) (penstock_build_info{{{HERE}}})", _WHO),
            stacked=True,
        ),
        graph(
            "Not ready",
            "Pods that are not ready, by the check that holds them.",
            "short",
            Query(f"sum by (namespace, component, check) (penstock_unready{{{HERE}}})", f"{_WHO}: {{{{check}}}}"),
        ),
        graph(
            "Age of the youngest process",
            "Time since a pod's process started. A fall to nought is a restart.",
            "s",
            Query(f"time() - max by ({who}) (process_start_time_seconds{{{HERE}}})", _WHO),
        ),
        graph(
            "Memory of the limit",
            "Resident memory of a pod's programs as a share of what the container may use; at 1 it is killed.",
            "percentunit",
            Query(f"{held} / {greatest('penstock_memory_limit_bytes', HERE, 'namespace, pod')}", "{{namespace}} {{pod}}"),
        ),
        graph(
            "CPU",
            "Processors in use, by component.",
            "short",
            Query(rate("process_cpu_seconds_total", HERE, who), _WHO),
            stacked=True,
        ),
        graph(
            "Open files of the limit",
            "Open files and connections as a share of the limit.",
            "percentunit",
            Query(f"max by (namespace, pod) (process_open_fds{{{HERE}}} / process_max_fds{{{HERE}}})", "{{namespace}} {{pod}}"),
        ),
        graph(
            "Releases",
            "Programs by release: during an upgrade two of them, apart by one release at most.",
            "short",
            Query(f"count by (component, version) (penstock_build_info{{{HERE}}})", "{{component}} {{version}}"),
        ),
        graph(
            "Large bodies held",
            "Bytes of large request bodies that pods hold; at the limit further ones get 429.",
            "bytes",
            Query(total("penstock_large_body_bytes", HERE, who), _WHO),
        ),
    ]
