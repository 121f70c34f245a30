"""From the release before to this one: its values still render, what it made is still there, and what cannot change has not."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

RELEASES = sorted((Path(__file__).parent / "releases").iterdir())

Document = dict[str, Any]
Render = Callable[..., Sequence[Document]]


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_its_runtimes_are_still_there(render: Render, release: Path) -> None:
    """InferenceServices name them; one whose runtime is gone is not reconciled any more."""
    runtimes = {
        d["metadata"]["name"]: d["spec"] for d in render(None, f"release-{release.name}") if d["kind"] == "ClusterServingRuntime"
    }
    assert {"penstock", "penstock-predictor"} <= set(runtimes)
    old, new = runtimes["penstock"], runtimes["penstock-predictor"]
    assert old["containers"] == new["containers"]
    # Only one of them offers itself.
    assert [each.get("autoSelect") for each in old["supportedModelFormats"]] == [False, False]
    assert [each.get("autoSelect") for each in new["supportedModelFormats"]] == [True, False]


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_its_runtime_and_ours_differ_in_priority(render: Render, release: Path) -> None:
    """While helm upgrades there are both for a moment, and KServe's webhook refuses a second one of the same priority."""
    before = (release / "templates" / "servingruntimes.yaml").read_text()
    (ours,) = [
        each["priority"]
        for d in render(None, f"release-{release.name}")
        if d["kind"] == "ClusterServingRuntime"
        for each in d["spec"]["supportedModelFormats"]
        if each.get("autoSelect")
    ]
    theirs = {int(found) for found in re.findall(r"priority: (\d+)", before)}
    assert theirs
    assert ours not in theirs


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_every_key_of_its_values_is_still_there(release: Path) -> None:
    def keys(node: Any, path: str = "") -> set[str]:
        if not isinstance(node, dict) or path.endswith("resources"):
            return {path}
        return {found for name, value in node.items() for found in keys(value, f"{path}.{name}")}

    root = Path(__file__).resolve().parents[3]
    now = yaml.safe_load((root / "charts/penstock/values.yaml").read_text())
    assert keys(yaml.safe_load((release / "values.yaml").read_text())) <= keys(now)


def test_it_can_be_done_without_them(render: Render) -> None:
    documents = render({"predictor": {"previousNames": False}})
    assert [d["metadata"]["name"] for d in documents if d["kind"] == "ClusterServingRuntime"] == ["penstock-predictor"]


def test_selectors_hold_nothing_that_a_release_changes(render: Render) -> None:
    """A Deployment's selector cannot be changed: an upgrade that tried would fail half-way."""
    for document in render(None, "everything"):
        if document["kind"] == "Deployment":
            selector = document["spec"]["selector"]["matchLabels"]
            assert not {"helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"} & set(selector)
            assert selector.items() <= document["spec"]["template"]["metadata"]["labels"].items()


def test_model_versions_are_kept(render: Render) -> None:
    (crd,) = [d for d in render() if d["kind"] == "CustomResourceDefinition"]
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
