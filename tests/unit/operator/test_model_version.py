"""The resource's types, and that the schema of the CRD says the same."""

from typing import Any

import msgspec
import pytest

from penstock_operator.model_version import (
    GROUP,
    KIND,
    PLURAL,
    VERSION,
    Spec,
    Status,
    read_model_version,
    status_object,
)

DIGEST = "sha256:" + "a" * 64


def document(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "n", "name": "flights-7", "uid": "u", "resourceVersion": "3", "generation": 2},
        "spec": {"inferenceService": "flights", "bundle": {"uri": "pvc://claim/flights", "digest": DIGEST}, **spec},
    }


def schema(crd: dict[str, Any], part: str) -> dict[str, Any]:
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    return found


def with_defaults(schema: dict[str, Any], value: Any) -> Any:
    """What the API server makes of a value."""
    if schema.get("type") != "object" or not isinstance(value, dict):
        return value
    for name, inner in schema.get("properties", {}).items():
        if name not in value and "default" in inner:
            value[name] = inner["default"] if not isinstance(inner["default"], dict) else dict(inner["default"])
        if name in value:
            value[name] = with_defaults(inner, value[name])
    return value


def names(kind: Any, path: str = "") -> dict[str, Any]:
    """Every property of a type, by path."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        here = f"{path}.{field.encode_name}"
        inner = field.type
        options = [
            one for one in getattr(inner, "__args__", (inner,)) if isinstance(one, type) and issubclass(one, msgspec.Struct)
        ]
        found[here] = field
        for one in options:
            found |= names(one, here)
    return found


def properties(schema: dict[str, Any], path: str = "") -> set[str]:
    found: set[str] = set()
    for name, inner in (schema.get("properties") or schema.get("items", {}).get("properties") or {}).items():
        found |= {f"{path}.{name}"} | properties(inner, f"{path}.{name}")
    return found


def test_the_schema_and_the_types_have_the_same_properties(crd: dict[str, Any]) -> None:
    free = {".runtime.resources.requests", ".runtime.resources.limits"}
    assert properties(schema(crd, "spec")) - free == set(names(Spec))
    assert properties(schema(crd, "status")) == set(names(Status))
    assert (crd["spec"]["group"], crd["spec"]["names"]["kind"], crd["spec"]["names"]["plural"]) == (GROUP, KIND, PLURAL)
    assert crd["spec"]["versions"][0]["name"] == VERSION


def test_the_schema_and_the_types_have_the_same_defaults(crd: dict[str, Any]) -> None:
    ours = read_model_version(document())
    theirs = read_model_version({**document(), "spec": with_defaults(schema(crd, "spec"), document()["spec"])})
    assert ours.spec == theirs.spec
    shadowed = read_model_version(document(rollout={"shadow": {}}))
    served = with_defaults(schema(crd, "spec"), document(rollout={"shadow": {}})["spec"])
    assert shadowed.spec == read_model_version({**document(), "spec": served}).spec


def test_a_status_comes_back_as_it_was_written() -> None:
    status = Status(phase="Canary", stage="Canary", weight=25, digest=DIGEST, live_since="2026-01-01T00:00:00Z")
    again = read_model_version({**document(), "status": status_object(status)}).status
    assert again == status
    assert "keptUntil" not in status_object(status)


def test_a_status_that_cannot_be_read_counts_as_none() -> None:
    assert read_model_version({**document(), "status": {"weight": "many"}}).status == Status()


def test_a_spec_that_cannot_be_read_names_the_field() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.rollout\.steps"):
        read_model_version(document(rollout={"steps": "all"}))


@pytest.mark.parametrize(
    "version, predictor",
    [("flights-7", "flights-7"), ("seven", "flights-seven"), ("flights", "flights-flights"), ("flights7", "flights-flights7")],
)
def test_the_predictor_is_named_after_model_and_version(version: str, predictor: str) -> None:
    made = document()
    made["metadata"]["name"] = version
    assert read_model_version(made).predictor == predictor


def test_versions_of_one_second_are_ordered_by_number() -> None:
    found = []
    for name in ("flights-10", "flights-9"):
        made = document()
        made["metadata"] |= {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}
        found.append(read_model_version(made))
    assert [one.name for one in sorted(found, key=lambda one: one.order)] == ["flights-9", "flights-10"]
