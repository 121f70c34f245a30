"""The manifests: each conforms to Kubernetes', KServe's and our own schemas, and runs as nobody on a read-only root."""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from penstock.testing.kubernetes_schemas import LOCATION, schemas_of_crd, write_schemas
from penstock.testing.programs import ProgramMissing, kubeconform, kubernetes_schemas

ROOT = Path(__file__).resolve().parents[3]
MANIFESTS = sorted((ROOT / "manifests").glob("*.yaml"))

Document = dict[str, Any]
Render = Callable[..., Sequence[Document]]


def documents(path: Path) -> list[Document]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def containers(node: Any) -> Iterator[Document]:
    if isinstance(node, dict):
        yield from node.get("containers", [])
        for value in node.values():
            yield from containers(value)
    elif isinstance(node, list):
        for value in node:
            yield from containers(value)


@pytest.fixture
def own_schemas(render: Render, tmp_path: Path) -> Path:
    """Of the chart's own CRD."""
    crd = next(document for document in render() if document["kind"] == "CustomResourceDefinition")
    write_schemas(schemas_of_crd(crd), tmp_path)
    return tmp_path


def conform(text: str, own: Path) -> subprocess.CompletedProcess[str]:
    try:
        locations = [option for folder in (kubernetes_schemas(), own) for option in ("-schema-location", f"{folder}/{LOCATION}")]
        command = [kubeconform(), "-strict", "-summary", *locations, "-"]
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_there_is_one_of_each() -> None:
    assert {path.stem for path in MANIFESTS} >= {"inferenceservice", "collocated", "gpu", "async-kafka", "modelversion"}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_conforms(path: Path, own_schemas: Path) -> None:
    done = conform(path.read_text(), own_schemas)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Errors: 0, Skipped: 0" in done.stdout


def test_a_misspelt_field_does_not_conform(own_schemas: Path) -> None:
    text = (ROOT / "manifests/modelversion.yaml").read_text()
    assert conform(text.replace("keepForRollback", "keepForRollBack"), own_schemas).returncode != 0


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["bundle"].update(digest="sha256:abc"),
        lambda spec: spec["rollout"].update(strategy="hope"),
        lambda spec: spec["rollout"]["shadow"].update(fraction=0),
        lambda spec: spec.pop("inferenceService"),
    ],
)
def test_a_wrong_model_version_does_not_conform(own_schemas: Path, change: Callable[[Document], object]) -> None:
    schema = json.loads((own_schemas / "modelversion_penstock.dev_v1alpha1.json").read_text())
    (document,) = documents(ROOT / "manifests/modelversion.yaml")
    jsonschema.validate(document, schema)
    change(document["spec"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_runs_as_nobody_on_a_read_only_root(path: Path) -> None:
    for document in documents(path):
        for container in containers(document):
            security = container["securityContext"]
            assert security["runAsNonRoot"] is True
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_names_a_runtime_that_the_chart_installs(path: Path, render: Render) -> None:
    installed = {
        document["metadata"]["name"]
        for document in render({"predictor": {"gpu": {"enabled": True}}})
        if document["kind"] == "ClusterServingRuntime"
    }
    for document in documents(path):
        if document["kind"] == "InferenceService":
            assert document["spec"]["predictor"]["model"]["runtime"] in installed


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_begins_with_what_it_is_for(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    assert sum(line.strip().startswith("#") for line in lines) >= 5
