"""What the chart makes of a model: autoscalers, workers and their scalers, as the model's values say over the general ones."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from penstock.settings import variables
from penstock_transformer.settings import TransformerSettings

Document = dict[str, Any]
Render = Callable[..., Sequence[Document]]

KAFKA = {"bootstrap": "kafka:9092"}
DATABASE = {"existingSecret": "predictions"}


def named(documents: Sequence[Document], kind: str) -> dict[str, Document]:
    return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}


def environment_of(pod: Document) -> dict[str, Document]:
    """Variables of a pod's first container, by name."""
    return {variable["name"]: variable for variable in pod["containers"][0]["env"]}


@pytest.mark.parametrize("part", ["transformer", "predictor"])
def test_autoscalers_aim_at_work_in_flight(render: Render, part: str) -> None:
    scaling = {"enabled": True, "minReplicas": 3, "maxReplicas": 12, "inFlight": 40}
    documents = render({"models": [{"name": "flights", "namespace": "ml", part: {"autoscaling": scaling}}]})
    ((name, scaler),) = named(documents, "HorizontalPodAutoscaler").items()
    assert (name, scaler["metadata"]["namespace"]) == (f"penstock-flights-{part}", "ml")
    assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"flights-{part}"}
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (3, 12)
    (metric,) = scaler["spec"]["metrics"]
    assert metric["pods"] == {"metric": {"name": "penstock_in_flight"}, "target": {"type": "AverageValue", "averageValue": "40"}}


def test_a_models_worker_says_only_what_differs(render: Render) -> None:
    general = {"enabled": True, "replicas": 3, "keda": {"enabled": True, "minReplicas": 1, "lagThreshold": 1000000}}
    models = [
        {"name": "flights", "worker": {"keda": {"minReplicas": 0}}},
        {"name": "digits", "worker": {"keda": {"enabled": False}}},
        {"name": "text", "worker": {"enabled": False}},
    ]
    documents = render({"models": models, "async": {"enabled": True, "kafka": KAFKA, "database": DATABASE, "worker": general}})
    workers = {name: document for name, document in named(documents, "Deployment").items() if name.endswith("-worker")}
    assert set(workers) == {"penstock-flights-worker", "penstock-digits-worker"}
    ((name, scaled),) = named(documents, "ScaledObject").items()
    assert name == "penstock-flights-worker"
    assert (scaled["spec"]["minReplicaCount"], scaled["spec"]["triggers"][0]["metadata"]["lagThreshold"]) == (0, "1000000")
    # A Deployment that is scaled says nothing of replicas: an upgrade would put them back.
    assert "replicas" not in workers["penstock-flights-worker"]["spec"]
    assert workers["penstock-digits-worker"]["spec"]["replicas"] == 3


def test_the_scaler_asks_for_the_group_that_the_worker_joins(render: Render) -> None:
    for document in render(None, "everything"):
        if document["kind"] == "ScaledObject":
            metadata = document["spec"]["triggers"][0]["metadata"]
            assert metadata["consumerGroup"] == "flights-workers"
            assert metadata["topic"] == "flights.requests"
            assert (metadata["sasl"], metadata["tls"]) == ("scram_sha512", "enable")
    worker = named(render(None, "everything"), "Deployment")["penstock-flights-worker"]
    assert "--group_id=flights-workers" in worker["spec"]["template"]["spec"]["containers"][0]["args"]


def test_secrets_are_mounted_for_the_one_user_that_reads_them(render: Render) -> None:
    for name, deployment in named(render(None, "everything"), "Deployment").items():
        pod = deployment["spec"]["template"]["spec"]
        mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}, name
        for volume in pod["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o440
        assert pod["securityContext"]["fsGroup"] == 65532


def test_the_transformer_with_feast_is_used_where_it_is_asked_for(render: Render) -> None:
    values: Document = {"models": [{"name": "flights", "worker": {"enabled": True}}]}
    values["async"] = {"enabled": True, "kafka": KAFKA, "database": DATABASE}
    for feast, tag in ((False, "1.2"), (True, "1.2-feast")):
        documents = render({**values, "image": {"tag": "1.2"}, "transformer": {"feast": feast}})
        deployments = named(documents, "Deployment")
        (container,) = deployments["penstock-flights-worker"]["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"penstock/transformer:{tag}"
        (operator,) = deployments["penstock-operator"]["spec"]["template"]["spec"]["containers"]
        environment = {variable["name"]: variable["value"] for variable in operator["env"]}
        assert environment["PENSTOCK_OPERATOR_TRANSFORMER_IMAGE"] == f"penstock/transformer:{tag}"
        assert operator["image"] == "penstock/operator:1.2"


def test_feature_updates_go_where_the_models_worker_reads(render: Render) -> None:
    deployments = named(render(None, "everything"), "Deployment")
    updates, worker = (deployments[f"penstock-flights-{part}"]["spec"]["template"]["spec"] for part in ("updates", "worker"))
    assert updates["containers"][0]["args"][:3] == [
        "updates", "--feature_sets=planes,weather", "--features=/etc/penstock/features/features.yaml",
    ]  # fmt: skip
    assert environment_of(updates)["PENSTOCK_TRANSFORMER_FEATURE_STORE_FILE"]["value"] == "/secrets/feature-store/address"
    volumes = {volume["name"]: volume for volume in updates["volumes"]}
    assert volumes["features"]["configMap"] == {"name": "flights-features"}
    assert volumes["feature-store"] in worker["volumes"]
    assert updates["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("updates", "missing"),
    [
        ({"features": {"configMap": "flights-features"}}, "featureSets"),
        ({"featureSets": ["planes"]}, "features.configMap"),
        ({"featureSets": ["planes"], "features": {"configMap": "flights-features"}}, "featureStore.existingSecret"),
    ],
)
def test_feature_updates_say_what_they_lack(
    render: Render, chart_error: type[Exception], updates: Document, missing: str
) -> None:
    store = {} if "featureStore" in missing else {"featureStore": {"existingSecret": "store"}}
    models = [{"name": "flights", "updates": {"enabled": True, **updates}, **store}]
    with pytest.raises(chart_error, match=re.escape(missing)):
        render({"models": models, "async": {"enabled": True, "kafka": KAFKA, "database": DATABASE}})


def test_every_pod_that_speaks_to_kafka_does_so_under_its_own_name(render: Render) -> None:
    """The host's name, which it would take else, is cut at 63 characters: then two pods may have the same."""
    pods = {
        name: environment_of(document["spec"]["template"]["spec"])
        for name, document in named(render(None, "everything"), "Deployment").items()
        if name not in ("penstock-operator", "penstock-retrain-trigger")
    }
    assert {name.rpartition("-")[2] for name in pods} == {"worker", "relay", "sink", "updates"}
    for name, environment in pods.items():
        source = environment["PENSTOCK_TRANSFORMER_KAFKA_INSTANCE"]["valueFrom"]
        assert source == {"fieldRef": {"fieldPath": "metadata.name"}}, name


def test_a_worker_keeps_its_route(render: Render) -> None:
    pod = named(render(None, "everything"), "Deployment")["penstock-flights-worker"]["spec"]["template"]["spec"]
    (mount,) = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "route"]
    assert environment_of(pod)["PENSTOCK_TRANSFORMER_ROUTE_CACHE"]["value"] == mount["mountPath"]
    assert "emptyDir" in next(volume for volume in pod["volumes"] if volume["name"] == "route")


@pytest.mark.parametrize("part", ["relay", "sink"])
def test_relay_and_sink_can_be_left_out(render: Render, part: str) -> None:
    documents = render({"async": {"enabled": True, "kafka": KAFKA, "database": DATABASE, part: {"enabled": False}}})
    assert {"penstock-relay", "penstock-sink"} - set(named(documents, "Deployment")) == {f"penstock-{part}"}


def test_the_log_sink_is_where_the_operator_asks_and_has_what_parquet_needs(render: Render) -> None:
    documents = render(None, "everything")
    deployments, services = named(documents, "Deployment"), named(documents, "Service")
    pod = deployments["penstock-log-sink"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"].endswith("-feast")
    assert "--quality_bounds=accuracy=0.7,cost=12" in container["args"]
    assert {"name": "log", "mountPath": "/log"} in container["volumeMounts"]
    assert {"name": "log", "persistentVolumeClaim": {"claimName": "log"}} in pod["volumes"]
    service = services["penstock-log-sink"]
    labels = deployments["penstock-log-sink"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    asked = environment_of(deployments["penstock-operator"]["spec"]["template"]["spec"])["PENSTOCK_OPERATOR_LOG_SINKS"]["value"]
    metadata, (port,) = service["metadata"], service["spec"]["ports"]
    assert asked == f"http://{metadata['name']}.{metadata['namespace']}.svc:{port['port']}"


def test_predictions_are_logged_into_a_claim_or_to_kafka_and_by_no_worker_that_was_not_asked(render: Render) -> None:
    documents = render(None, "everything")
    pod = named(documents, "Deployment")["penstock-flights-worker"]["spec"]["template"]["spec"]
    given = environment_of(pod)
    assert given["PENSTOCK_TRANSFORMER_LOG_RATE"]["value"] == "0.1"
    (mount,) = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "log"]
    assert given["PENSTOCK_TRANSFORMER_LOG_DIR"]["value"] == mount["mountPath"]
    other = environment_of(named(documents, "Deployment")["penstock-digits-worker"]["spec"]["template"]["spec"])
    assert {name for name in other if "_LOG_" in name} == {"PENSTOCK_TRANSFORMER_LOG_RATE", "PENSTOCK_TRANSFORMER_LOG_RARITY"}
    # What the operator's transformers read, for the one model that asked.
    ((name, settings),) = [pair for pair in named(documents, "ConfigMap").items() if pair[0].startswith("penstock-transformer")]
    assert (name, settings["data"]["PENSTOCK_TRANSFORMER_LOG_RATE"]) == ("penstock-transformer-digits", "1")
    assert set(settings["data"]) <= set(variables_of_transformers())
    values = {
        "models": [{"name": "flights", "worker": {"enabled": True}}],
        "async": {"enabled": True, "kafka": KAFKA, "database": DATABASE},
    }
    plain = named(render(values), "Deployment")["penstock-flights-worker"]["spec"]["template"]["spec"]
    assert not [name for name in environment_of(plain) if "_LOG_" in name]


def variables_of_transformers() -> list[str]:
    return list(variables(TransformerSettings, "PENSTOCK_TRANSFORMER"))


def test_the_log_sink_says_what_it_lacks(render: Render, chart_error: type[Exception]) -> None:
    with pytest.raises(chart_error, match="existingClaim"):
        render({"feedback": {"sink": {"enabled": True}}, "async": {"kafka": KAFKA}})
    with pytest.raises(chart_error, match="bootstrap"):
        render({"feedback": {"sink": {"enabled": True, "existingClaim": "log"}}})


def test_the_retrain_trigger_has_the_log_and_may_make_jobs_only_if_it_was_allowed_to(render: Render) -> None:
    documents = render(None, "everything")
    pod = named(documents, "Deployment")["penstock-retrain-trigger"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"].endswith("-feast")
    assert "--watch=/watches/flights.yaml,/watches/digits.yaml" in container["args"]
    assert {"name": "log", "persistentVolumeClaim": {"claimName": "log"}} in pod["volumes"]
    assert {"name": "bundles", "mountPath": "/bundles", "readOnly": True} in container["volumeMounts"]
    assert pod["automountServiceAccountToken"] is True
    (subject,) = named(documents, "RoleBinding")["penstock-retrain-trigger"]["subjects"]
    assert subject["name"] == pod["serviceAccountName"]
    values = {"retrainTrigger": {"enabled": True, "existingClaim": "log", "watches": {"configMap": "watches"}}}
    documents = render({"feedback": values})
    pod = named(documents, "Deployment")["penstock-retrain-trigger"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert "penstock-retrain-trigger" not in named(documents, "Role")
    assert "env" not in pod["containers"][0]


def test_the_retrain_trigger_says_what_it_lacks(render: Render, chart_error: type[Exception]) -> None:
    for lacking, values in (("existingClaim", {"watches": {"configMap": "watches"}}), ("configMap", {"existingClaim": "log"})):
        with pytest.raises(chart_error, match=lacking):
            render({"feedback": {"retrainTrigger": {"enabled": True, **values}}})
