"""Least rights: every verb that the chart gives is written down with who needs it, and nothing else is given."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

RIGHTS: dict[str, dict[str, dict[str, str]]] = yaml.safe_load((Path(__file__).parent / "rights.yaml").read_text())
ASKED_FOR = "autoscaling/horizontalpodautoscalers"
"""What the operator may do with these comes with a value."""

Document = dict[str, Any]
Render = Callable[..., Sequence[Document]]


def given(role: Document) -> set[tuple[str, str]]:
    """Resource and verb of each right of a role; a rule for certain names says so with the resource."""
    found = set()
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                names = "".join(f" {name}" for name in rule.get("resourceNames", []))
                found |= {(f"{group}/{resource}".lstrip("/") + names, verb) for verb in rule["verbs"]}
    return found


def roles(documents: Sequence[Document]) -> list[Document]:
    return [document for document in documents if document["kind"] in ("Role", "ClusterRole")]


@pytest.mark.parametrize("name", ["default", "everything"])
def test_every_right_is_accounted_for(render: Render, name: str) -> None:
    seen = set()
    for role in roles(render({"transformer": {"namespaces": ["shop"]}}, name)):
        expected = dict(RIGHTS[role["metadata"]["name"]])
        if name == "default":
            expected.pop(ASKED_FOR, None)
        assert given(role) == {(resource, verb) for resource, verbs in expected.items() for verb in verbs}, role["metadata"]
        seen.add(role["metadata"]["name"])
    # It has to be asked for.
    assert seen == set(RIGHTS) - ({"penstock-retrain-trigger"} if name == "default" else set())


def test_every_reason_is_one() -> None:
    for resources in RIGHTS.values():
        for resource, verbs in resources.items():
            for verb, reason in verbs.items():
                assert len(reason) > 7, f"{resource} {verb}"


def test_nobody_may_do_everything(rendered: Sequence[Document]) -> None:
    for document in rendered:
        if document["kind"] in ("Role", "ClusterRole"):
            for rule in document["rules"]:
                for key in ("apiGroups", "resources", "verbs"):
                    assert "*" not in rule[key]
                assert "secrets" not in rule["resources"]


def test_namespaces_limit_the_operator_to_themselves(render: Render) -> None:
    documents = render({"operator": {"namespaces": ["ml", "shop"]}})
    cluster_wide = [d["metadata"]["name"] for d in documents if d["kind"] in ("ClusterRole", "ClusterRoleBinding")]
    assert cluster_wide == ["penstock-modelversions-edit", "penstock-modelversions-view"]
    bound = {d["metadata"]["namespace"] for d in documents if d["kind"] == "RoleBinding"}
    assert bound == {"ml", "shop", "penstock"}
    subjects = [subject for d in documents if d["kind"] == "RoleBinding" for subject in d["subjects"]]
    assert {(subject["name"], subject["namespace"]) for subject in subjects} == {("penstock-operator", "penstock")}


def test_transformers_can_be_limited_to_the_routes_of_the_models_listed(render: Render) -> None:
    models = [
        {"name": "flights", "namespace": "ml"},
        {"name": "digits", "namespace": "ml"},
        {"name": "text", "namespace": "shop"},
    ]
    documents = render({"transformer": {"limitToModels": True}, "models": models})
    names = {
        document["metadata"]["namespace"]: document["rules"][0]["resourceNames"]
        for document in documents
        if document["kind"] == "Role" and document["metadata"]["name"] == "penstock-transformer"
    }
    assert names == {"ml": ["penstock-route-flights", "penstock-route-digits"], "shop": ["penstock-route-text"]}


def test_limited_transformers_of_a_namespace_without_models_read_no_configmap(render: Render) -> None:
    """An empty list of names would mean every name."""
    documents = render({"transformer": {"limitToModels": True, "namespaces": ["shop"]}})
    (role,) = [d for d in roles(documents) if d["metadata"]["name"] == "penstock-transformer"]
    assert all("configmaps" not in rule["resources"] for rule in role["rules"])


def test_who_asks_the_api_for_nothing_has_no_token(render: Render) -> None:
    for document in render(None, "everything"):
        if document["kind"] == "Deployment":
            pod = document["spec"]["template"]["spec"]
            assert ("serviceAccountName" in pod) != (pod.get("automountServiceAccountToken") is False), document["metadata"][
                "name"
            ]
