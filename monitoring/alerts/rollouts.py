"""Alerts on routes and rollouts: a route that is refused or not applied everywhere, versions that failed or stand still, an
operator that does not lead.

Every operator tells of every ModelVersion, the standby too: the greatest counts.
"""

from monitoring.alerts.alert import Alert

_MODEL = "{{ $labels.namespace }}/{{ $labels.model }}"
_VERSION = "{{ $labels.namespace }}/{{ $labels.version }}"
_REVISION = "penstock_transformer_route_revision"
_PHASE = "max by (namespace, model, version, phase) (penstock_model_version_phase"
_LEADER = "penstock_operator_leader"


def alerts() -> list[Alert]:
    """Of routes, versions and the operator."""
    return [*_of_routes(), *_of_versions(), *_of_operator()]


def _of_versions() -> list[Alert]:
    verified = 'max by (namespace, model, version) (penstock_model_version_condition{condition="Verified"})'
    failed = f'{_PHASE}{{phase="Failed"}}) == 1'
    return [
        Alert(
            name="VerificationFailed",
            severity="warning",
            lasting="1m",
            expression=f"{failed}\nunless on (namespace, model, version) {verified} == 1",
            summary=f"{_VERSION}: the bundle failed its verification",
            description="It gets no request. The version before goes on answering.",
        ),
        Alert(
            name="RolloutFailed",
            severity="warning",
            lasting="1m",
            expression=f"{failed}\nand on (namespace, model, version) {verified} == 1",
            summary=f"{_VERSION}: the rollout failed after the bundle had passed verification",
            description="Its pods did not come up, or its route was refused. The version before goes on answering.",
        ),
        Alert(
            name="RolloutStandsStill",
            severity="warning",
            lasting="30m",
            expression=f'{_PHASE}{{phase=~"Verifying|Warming|Promoting"}}) == 1',
            summary=f"{_VERSION} has been {{{{ $labels.phase }}}} for half an hour",
            description="These phases take minutes at most. The reason of the ModelVersion says what it waits for.",
        ),
        Alert(
            name="RolloutPaused",
            severity="warning",
            lasting="6h",
            expression=f'{_PHASE}{{phase="Paused"}}) == 1',
            summary=f"{_VERSION} has been paused for six hours",
            description="Somebody paused it, and it goes on when told to; or transformers are silent, and it goes on "
            "when they answer. The ModelVersion says which.",
        ),
    ]


def _of_operator() -> list[Alert]:
    turns = "sum by (namespace) (increase(penstock_operator_turn_duration_seconds_count[15m]))"
    return [
        Alert(
            name="OperatorNotLeading",
            severity="critical",
            lasting="2m",
            expression=f"group by (namespace) (max_over_time({_LEADER}[1h]))\n"
            f"unless on (namespace) max by (namespace) ({_LEADER}) == 1",
            summary="{{ $labels.namespace }}: no operator leads",
            description="Rollouts stand still, and a roll-back that is asked for is not made. Requests are answered as before.",
        ),
        Alert(
            name="OperatorsBothLead",
            severity="critical",
            lasting="1m",
            expression=f"sum by (namespace) ({_LEADER}) > 1",
            summary="{{ $labels.namespace }}: {{ $value }} operators lead at once",
            description="The lease is there to keep this from happening; their steps may contradict each other.",
        ),
        Alert(
            name="OperatorFails",
            severity="warning",
            lasting="10m",
            expression=f"sum by (namespace) (increase(penstock_operator_failures_total[15m])) / ({turns} > 0) > 0.2",
            summary="{{ $labels.namespace }}: {{ $value | humanizePercentage }} of the operator's looks at a model fail",
            description="It cannot read or write what it needs: rights, the API server, an object that somebody else holds.",
        ),
        Alert(
            name="OperatorBehind",
            severity="warning",
            lasting="10m",
            expression="max by (namespace) (penstock_operator_models_waiting) > 20",
            summary="{{ $labels.namespace }}: {{ $value }} models wait for the operator",
            description="Changes are acted on late.",
        ),
    ]


def _of_routes() -> list[Alert]:
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
