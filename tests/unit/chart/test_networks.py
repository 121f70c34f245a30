"""Network policies and disruption budgets, judged as a cluster would: who may open which port of whom, whose pods are whose."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

Document = dict[str, Any]
Labels = dict[str, str]
Render = Callable[..., Sequence[Document]]

# Pods by name: namespace and labels, as KServe, the operator and the chart set them.
PODS: dict[str, tuple[str, Labels]] = {
    "transformer": ("ml", {"serving.kserve.io/inferenceservice": "flights", "component": "transformer"}),
    "predictor": (
        "ml",
        {"serving.kserve.io/inferenceservice": "flights", "component": "predictor", "penstock.dev/component": "predictor"},
    ),
    "version": (
        "ml",
        {
            "serving.kserve.io/inferenceservice": "flights-8",
            "component": "predictor",
            "penstock.dev/component": "predictor",
            "penstock.dev/model": "flights",
            "penstock.dev/model-version": "flights-8",
        },
    ),
    # The operator runs a transformer alone as an InferenceService's predictor.
    "alone": (
        "ml",
        {
            "serving.kserve.io/inferenceservice": "flights",
            "component": "predictor",
            "penstock.dev/component": "transformer",
            "penstock.dev/model": "flights",
            "penstock.dev/route": "flights",
        },
    ),
    "worker": ("ml", {"penstock.dev/component": "worker", "penstock.dev/route": "flights"}),
    "updates": ("ml", {"penstock.dev/component": "updates", "penstock.dev/model": "flights"}),
    "collocated": (
        "ml",
        {"serving.kserve.io/inferenceservice": "digits", "component": "predictor", "penstock.dev/component": "collocated"},
    ),
    "other transformer": (
        "ml",
        {"serving.kserve.io/inferenceservice": "text", "component": "transformer", "penstock.dev/component": "transformer"},
    ),
    "other predictor": (
        "ml",
        {"serving.kserve.io/inferenceservice": "text", "component": "predictor", "penstock.dev/component": "predictor"},
    ),
    "far transformer": (
        "shop",
        {"serving.kserve.io/inferenceservice": "flights", "component": "transformer", "penstock.dev/component": "transformer"},
    ),
    "relay": ("penstock", {"penstock.dev/component": "relay"}),
    "log sink": ("penstock", {"penstock.dev/component": "log-sink"}),
    "retrain trigger": ("penstock", {"penstock.dev/component": "retrain-trigger"}),
    "operator": (
        "penstock",
        {
            "app.kubernetes.io/name": "penstock",
            "app.kubernetes.io/instance": "penstock",
            "app.kubernetes.io/component": "operator",
        },
    ),
    "prometheus": ("monitoring", {"app": "prometheus"}),
    "ingress": ("ingress", {"app": "gateway"}),
    "stranger": ("ml", {"app": "curl"}),
}
CALLED = ("transformer", "alone", "collocated", "other transformer")
MODELS = [
    {"name": "flights", "namespace": "ml", "worker": {"enabled": True}},
    {"name": "digits", "namespace": "ml", "collocated": True},
]
ASYNC = {"enabled": True, "kafka": {"bootstrap": "kafka:9092"}, "database": {"existingSecret": "predictions"}}


def selected(selector: Document, labels: Labels) -> bool:
    """A label selector (k8s.io/api meta/v1: LabelSelector)."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", []):
        value = labels.get(expression["key"])
        operator, values = expression["operator"], expression.get("values", [])
        kept = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[operator]
        if not kept:
            return False
    return True


def is_peer(peer: Document, namespace: str, source: tuple[str, Labels]) -> bool:
    if "ipBlock" in peer:
        return False
    if "namespaceSelector" in peer:
        if not selected(peer["namespaceSelector"], {"kubernetes.io/metadata.name": source[0]}):
            return False
    elif source[0] != namespace:
        return False
    return selected(peer.get("podSelector", {}), source[1])


def admits(documents: Sequence[Document], source: str, target: str, port: int) -> bool:
    """Whether `source` may open `port` of `target`: policies that select a pod close it, and each opens what it names."""
    namespace, labels = PODS[target]
    policies = [
        document["spec"]
        for document in documents
        if document["kind"] == "NetworkPolicy"
        and document["metadata"]["namespace"] == namespace
        and selected(document["spec"]["podSelector"], labels)
    ]
    if not policies:
        return True
    for policy in policies:
        for rule in policy["ingress"]:
            ports = [each["port"] for each in rule.get("ports", [])]
            if ports and port not in ports:
                continue
            if "from" not in rule or any(is_peer(peer, namespace, PODS[source]) for peer in rule["from"]):
                return True
    return False


@pytest.fixture
def guarded(render: Render) -> Sequence[Document]:
    return render({"networkPolicy": {"enabled": True}, "models": MODELS, "async": ASYNC})


def who(documents: Sequence[Document], target: str, port: int) -> set[str]:
    return {source for source in PODS if source != target and admits(documents, source, target, port)}


@pytest.mark.parametrize("port", [8080, 8081])
@pytest.mark.parametrize("target", ["predictor", "version"])
def test_predictors_answer_only_their_own(guarded: Sequence[Document], target: str, port: int) -> None:
    extra = {"operator"} if port == 8080 else set()
    assert who(guarded, target, port) == {"transformer", "alone", "worker"} | extra


def test_predictors_of_models_that_are_not_listed_answer_the_transformers_of_their_namespace(guarded: Sequence[Document]) -> None:
    expected = {"transformer", "alone", "worker", "collocated", "other transformer", "operator"}
    assert who(guarded, "other predictor", 8080) == expected


@pytest.mark.parametrize("target", CALLED)
def test_callers_reach_transformers(guarded: Sequence[Document], target: str) -> None:
    assert who(guarded, target, 8080) == set(PODS) - {target}
    assert who(guarded, target, 8081) == set(PODS) - {target}


@pytest.mark.parametrize("target", sorted(set(PODS) - {"operator", "prometheus", "ingress", "stranger", "far transformer"}))
def test_admin_ports_answer_the_operator_and_prometheus(guarded: Sequence[Document], target: str) -> None:
    assert who(guarded, target, 9090) == {"operator", "prometheus"}


@pytest.mark.parametrize("target", ["worker", "relay", "updates", "log sink", "retrain trigger"])
def test_queues_answer_nobody(guarded: Sequence[Document], target: str) -> None:
    assert who(guarded, target, 8080) == {"operator"}


def test_the_operator_answers_prometheus(guarded: Sequence[Document]) -> None:
    assert who(guarded, "operator", 9090) == {"prometheus"}
    assert who(guarded, "operator", 8080) == set()


def test_callers_can_be_named(render: Render) -> None:
    callers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}]
    documents = render({"networkPolicy": {"enabled": True, "callers": callers, "prometheus": []}, "models": MODELS})
    for target in CALLED:
        assert who(documents, target, 8080) == {"ingress", "operator"}
        assert who(documents, target, 9090) == {"operator"}


def test_without_policies_all_is_open(render: Render) -> None:
    documents = render({"models": MODELS})
    assert admits(documents, "stranger", "predictor", 9090)


def test_no_pod_has_two_budgets(render: Render) -> None:
    """The eviction API refuses a pod that is in two of them."""
    documents = render({"models": MODELS, "async": ASYNC, "operator": {"replicas": 2}})
    budgets = [document for document in documents if document["kind"] == "PodDisruptionBudget"]
    found = {}
    for name, (namespace, labels) in PODS.items():
        found[name] = [
            budget["metadata"]["name"]
            for budget in budgets
            if budget["metadata"]["namespace"] == namespace and selected(budget["spec"]["selector"], labels)
        ]
    assert {name: len(names) for name, names in found.items() if len(names) > 1} == {}
    assert found["transformer"] == found["alone"] == ["penstock-flights-transformer"]
    assert found["predictor"] == ["penstock-flights-predictor"]
    assert found["version"] == ["penstock-flights-versions"]
    assert found["collocated"] == ["penstock-digits-predictor"]
    assert found["operator"] == ["penstock-operator"]
    assert found["stranger"] == []


def test_the_labels_are_those_that_the_runtime_and_the_worker_have(render: Render) -> None:
    """What the pods above are said to have is what makes them has."""
    documents = render({"models": MODELS, "async": {**ASYNC}})
    runtime = next(d for d in documents if d["kind"] == "ClusterServingRuntime")
    assert runtime["spec"]["labels"].items() <= PODS["predictor"][1].items()
    labels = {d["metadata"]["name"]: d["spec"]["template"]["metadata"]["labels"] for d in documents if d["kind"] == "Deployment"}
    assert PODS["worker"][1].items() <= labels["penstock-flights-worker"].items()
    assert PODS["relay"][1].items() <= labels["penstock-relay"].items()
    assert PODS["operator"][1].items() <= labels["penstock-operator"].items()
