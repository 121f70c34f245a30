"""What Prometheus is told of the route that is applied: the share of each bundle, and the pods behind its predictor.

    RouteTable.route --families, when scraped--> Metrics.add_source

Invariant: only what is in the route of the moment is told, so the number of label sets is that of its bundles.
"""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from penstock_transformer.active import ActiveBundle
from penstock_transformer.predictor_client import PredictorClient
from penstock_transformer.routing_table import RouteTable


def route_families(table: RouteTable) -> Iterable[Metric]:
    """For `Metrics.add_source`; nothing is told before there is a route."""
    route = table.route
    if route is None:
        return
    share = GaugeMetricFamily(
        "penstock_route_share_ratio",
        "Share of requests that a bundle of the route answers, or of which it gets a copy as a shadow.",
        labels=("bundle", "mode"),
    )
    total = sum(target.weight for target in route.live)
    for target in route.live:
        share.add_metric((_name(target.bundle), target.arm or "live"), target.weight / total if total else 0.0)
    for target in route.shadows:
        share.add_metric((_name(target.bundle), "shadow"), target.fraction)
    yield share
    pods = GaugeMetricFamily(
        "penstock_route_predictor_pods",
        "Addresses that a bundle's predictor has; aside are those not asked at present because they refused or were away.",
        labels=("bundle", "state"),
    )
    found: dict[tuple[str, str], int] = {}
    for bundle in route.bundles:
        if isinstance(bundle.predictor, PredictorClient):
            known, aside = bundle.predictor.pods()
            # Arms of a bundle have pods of their own, and its name.
            for state, count in (("used", known - aside), ("aside", aside)):
                found[_name(bundle), state] = found.get((_name(bundle), state), 0) + count
    for labels, count in found.items():
        pods.add_metric(labels, count)
    yield pods


def _name(bundle: ActiveBundle) -> str:
    return bundle.label or bundle.identity
