"""Every rendering of the chart against helm's own lint, Kubernetes' schemas, and what holds for every pod of ours."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from penstock.testing.kubernetes_schemas import LOCATION
from penstock.testing.programs import ProgramMissing, helm, kubeconform, kubernetes_schemas

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "penstock"
VALUES = [None, *sorted(CHART.glob("values-*.yaml")), *sorted((Path(__file__).parent / "values").glob("*.yaml"))]

Document = dict[str, Any]
Render = Callable[..., Sequence[Document]]


def pods(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """Name and pod specification of whatever makes pods; of runtimes it is KServe that makes them."""
    for document in documents:
        kind, name = document["kind"], document["metadata"]["name"]
        if kind == "Deployment":
            yield name, document["spec"]["template"]["spec"]
        elif kind in ("Pod", "ClusterServingRuntime"):
            yield name, document["spec"]


def conform(text: str) -> subprocess.CompletedProcess[str]:
    try:
        command = [kubeconform(), "-strict", "-summary", "-schema-location", f"{kubernetes_schemas()}/{LOCATION}", "-"]
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_conforms(rendering: str) -> None:
    done = conform(rendering)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Errors: 0, Skipped: 0" in done.stdout


@pytest.mark.parametrize(
    "right, wrong",
    [
        ("readOnlyRootFilesystem:", "readOnlyRootFileSystem:"),
        ("replicas: 1", "replicas: one"),
        ("protocolVersions:", "protocols:"),
    ],
)
def test_what_is_misspelt_does_not_conform(render: Render, right: str, wrong: str) -> None:
    text = yaml.safe_dump_all(render())
    assert right in text
    assert conform(text.replace(right, wrong)).returncode != 0


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem if path else "default")
def test_lint(values: Path | None) -> None:
    try:
        command = [
            helm(),
            "lint",
            "--strict",
            "--kube-version",
            "1.34.4",
            str(CHART),
            *(["--values", str(values)] if values else []),
        ]
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


def test_every_container_is_locked_down(rendered: Sequence[Document]) -> None:
    for name, pod in pods(rendered):
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["runAsNonRoot"] is True, name
            assert security["runAsUser"] == 65532, name
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
            assert "memory" in container["resources"]["limits"], name
            assert container["resources"]["requests"], name


def test_what_runs_for_long_is_probed(rendered: Sequence[Document]) -> None:
    for name, pod in pods(rendered):
        if "test" not in name:
            for container in pod["containers"]:
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), name


def test_the_admin_port_is_on_no_service_of_a_predictor(rendered: Sequence[Document]) -> None:
    """KServe copies a runtime's ports to the Service."""
    for document in rendered:
        if document["kind"] == "ClusterServingRuntime":
            ports = [port["containerPort"] for port in document["spec"]["containers"][0]["ports"]]
            assert ports == [8080, 8081]


def test_nothing_has_a_name_twice(rendered: Sequence[Document]) -> None:
    seen = set()
    for document in rendered:
        metadata = document["metadata"]
        key = (document["kind"], metadata.get("namespace"), metadata["name"])
        assert key not in seen
        seen.add(key)


def test_the_app_version_is_the_programs() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    found = re.search(r'^version = "(.*)"', (ROOT / "core/pyproject.toml").read_text(), re.MULTILINE)
    assert found is not None
    assert chart["appVersion"] == found[1]


def test_defaults_are_what_the_schema_takes() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(values, schema, jsonschema.Draft202012Validator)


def objects(schema: Document, root: Document, path: str = "") -> Iterator[tuple[str, Document]]:
    """Every object that a schema describes, references resolved."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if schema.get("type") == "object":
        yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from objects(inner, root, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from objects(schema["items"], root, f"{path}[]")


def test_the_schema_is_strict_and_explains_itself() -> None:
    """Every key is described, and an object either names its keys or says what they all are."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    for path, found in objects(schema, schema):
        ours = not re.search(r"(?i)affinity|selector|ipBlock|^\.global", path)
        if ours:
            assert "additionalProperties" in found, path
        for name, inner in found.get("properties", {}).items():
            if ours and "tolerations" not in path and "networkPolicy" not in path and path.count("resources") == 0:
                assert inner.get("description"), f"{path}.{name}"


@pytest.mark.parametrize(
    "values, at_fault",
    [
        ({"operatr": {}}, "operatr"),
        ({"operator": {"replicas": 0}}, "replicas"),
        ({"operator": {"replica": 2}}, "replica"),
        ({"models": [{"namespace": "ml"}]}, "name"),
        ({"models": [{"name": "Flights"}]}, "name"),
        ({"models": [{"name": "flights", "worker": {"delivery": "sometimes"}}]}, "delivery"),
        ({"async": {"kafka": {"bootstrap": "kafka"}}}, "bootstrap"),
        ({"async": {"kafka": {"password": "hunter2"}}}, "password"),
        ({"async": {"database": {"url": "postgresql://me:hunter2@db/p"}}}, "url"),
        ({"async": {"relay": {"args": ["--database=postgresql://me:hunter2@db/p"]}}}, "args"),
        ({"async": {"objects": {"url": "s3://me:hunter2@bucket"}}}, "url"),
        ({"featureStore": {"url": "redis://:hunter2@redis"}}, "url"),
        ({"monitoring": {"interval": "often"}}, "interval"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"networkPolicy": {"callers": [{}]}}, "callers"),
    ],
)
def test_wrong_values_are_refused_by_their_key(
    render: Render, chart_error: type[Exception], values: Document, at_fault: str
) -> None:
    with pytest.raises(chart_error, match=at_fault):
        render(values)


@pytest.mark.parametrize(
    "values, at_fault",
    [
        ({"async": {"enabled": True, "database": {"existingSecret": "d"}}}, "async.kafka.bootstrap"),
        ({"async": {"enabled": True, "kafka": {"bootstrap": "kafka:9092"}}}, "async.database.existingSecret"),
        (
            {
                "async": {
                    "enabled": True,
                    "kafka": {"bootstrap": "k:1", "security": "SASL_SSL"},
                    "database": {"existingSecret": "d"},
                }
            },
            "async.kafka.existingSecret",
        ),
    ],
)
def test_what_is_missing_is_asked_for(render: Render, chart_error: type[Exception], values: Document, at_fault: str) -> None:
    with pytest.raises(chart_error, match=at_fault):
        render(values)
