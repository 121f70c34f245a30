"""Alerts on routes and rollouts: a route that is refused or not applied everywhere, an operator that does not lead."""

from monitoring.alerts.alert import Alert

_MODEL = "{{ $labels.namespace }}/{{ $labels.model }}"
_REVISION = "penstock_transformer_route_revision"


def alerts() -> list[Alert]:
    """Of routes and the operator."""
    return [
        Alert(
            name="RouteRefused",
            severity="warning",
            lasting="1m",
            expression="sum by (namespace, model) (increase(penstock_transformer_route_rejected_total[15m])) > 0",
            summary=f"{_MODEL}: a route is wrong and was refused whole",
            description="The route before stays in force. It was edited by hand, or operator and transformer are too far apart.",
        ),
        Alert(
            name="RouteNotApplied",
            severity="warning",
            lasting="5m",
            expression="sum by (namespace, model) (increase(penstock_transformer_route_failed_total[5m])) > 0",
            summary=f"{_MODEL}: a route cannot be applied",
            description="A bundle that it names cannot be fetched from its predictor. The route before stays in force.",
        ),
        Alert(
            name="RouteLags",
            severity="critical",
            lasting="2m",
            expression=f"max by (namespace, model) ({_REVISION}) - min by (namespace, model) ({_REVISION}) > 0",
            summary=f"{_MODEL}: pods apply different revisions of the route",
            description="A change takes a second. Pods that lag send requests by an older route; a rollout waits for them.",
        ),
    ]
