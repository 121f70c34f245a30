"""The pod of a verification: what its version's pods will have, where they may run, from the registry that they come from."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.settings import parse
from penstock_operator.inference_service import caller_service
from penstock_operator.model_version import read_model_version
from penstock_operator.policy import Policy
from penstock_operator.runtime_pod import ON_CPU, ON_GPU, RuntimePod, read_runtime_pod, write_runtime_pod
from penstock_operator.seen import Seen
from penstock_operator.settings import OperatorSettings
from penstock_operator.verification_job import verification_job

CPU = RuntimePod(
    resources={"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "3Gi"}},
    node_selector={"pool": "models"},
)
GPU = RuntimePod(
    resources={"requests": {"memory": "4Gi"}, "limits": {"memory": "9Gi", "nvidia.com/gpu": "1"}},
    node_selector={"pool": "gpus"},
    tolerations=({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
    affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
)


def pod_of(runtime: dict[str, Any], **policy: Any) -> dict[str, Any]:
    """The pod's spec of a version that says this of its own."""
    metadata = {"namespace": "n", "name": "flights-7", "uid": "u"}
    bundle = {"uri": "pvc://claim/flights", "digest": "sha256:" + "a" * 64}
    version = read_model_version(
        {"metadata": metadata, "spec": {"inferenceService": "flights", "bundle": bundle, "runtime": runtime}}
    )
    job = verification_job(version, Policy(predictor_pod=CPU, predictor_gpu_pod=GPU, **policy))
    found: dict[str, Any] = job["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize(
    "own, expected",
    [
        ({}, CPU.resources),
        (
            {"resources": {"requests": {"cpu": "50m"}}},
            {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "3Gi"}},
        ),
        (
            {"resources": {"limits": {"memory": "1Gi"}}},
            {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
        ),
        ({"device": "cuda"}, GPU.resources),
        (
            {"device": "cuda", "resources": {"limits": {"cpu": 8}}},
            {"requests": {"memory": "4Gi"}, "limits": {"cpu": 8, "memory": "9Gi", "nvidia.com/gpu": "1"}},
        ),
        (
            {"resources": {"limits": {"nvidia.com/gpu": 2}}},
            {"requests": {"memory": "4Gi"}, "limits": {"memory": "9Gi", "nvidia.com/gpu": 2}},
        ),
    ],
    ids=["nothing", "requests", "limits.memory", "cuda", "cuda, limits.cpu", "auto with two GPUs"],
)
def test_it_has_its_runtimes_resources_with_the_versions_over_them(own: dict[str, Any], expected: dict[str, Any]) -> None:
    """As KServe merges them for the version's pods: amount by amount."""
    assert pod_of(own)["containers"][0]["resources"] == expected


def test_a_runtime_without_resources_leaves_it_the_versions() -> None:
    assert RuntimePod().resources_with(None) == {}
    assert RuntimePod().resources_with({"limits": {"memory": "1Gi"}}) == {"limits": {"memory": "1Gi"}}


def test_it_runs_where_the_pods_of_its_runtime_may() -> None:
    on_cpu, on_gpu = pod_of({}), pod_of({"device": "tensorrt"})
    assert on_cpu["nodeSelector"] == {"pool": "models"}
    assert not {"tolerations", "affinity"} & set(on_cpu)
    assert (on_gpu["nodeSelector"], on_gpu["affinity"]) == ({"pool": "gpus"}, GPU.affinity)
    assert on_gpu["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_what_the_operator_starts_is_pulled_with_the_registrys_secrets() -> None:
    named = [{"name": "registry"}, {"name": "mirror"}]
    secrets = ("registry", "mirror")
    alone = caller_service(Seen("n", "flights", 0.0), Policy(image_pull_secrets=secrets))
    assert pod_of({}, image_pull_secrets=secrets)["imagePullSecrets"] == named
    assert alone["spec"]["predictor"]["imagePullSecrets"] == named
    # The API server drops an empty list: it would be missed at every look.
    assert "imagePullSecrets" not in pod_of({})
    assert "imagePullSecrets" not in caller_service(Seen("n", "flights", 0.0), Policy())["spec"]["predictor"]


def test_settings_tell_of_it() -> None:
    environment = {
        "PENSTOCK_OPERATOR_IMAGE_PULL_SECRETS": "registry,mirror",
        "PENSTOCK_OPERATOR_PREDICTOR_POD": write_runtime_pod(CPU),
        "PENSTOCK_OPERATOR_PREDICTOR_GPU_POD": write_runtime_pod(GPU),
    }
    policy = parse(OperatorSettings, [], environment, "PENSTOCK_OPERATOR").policy()
    assert policy == Policy(image_pull_secrets=("registry", "mirror"), predictor_pod=CPU, predictor_gpu_pod=GPU)
    assert parse(OperatorSettings, [], {}, "PENSTOCK_OPERATOR").policy() == Policy()


@pytest.mark.parametrize("text", ["", "2Gi", "[]", '{"nodeselector": {}}', '{"tolerations": {}}'])
def test_a_pod_that_cannot_be_read_ends_the_program(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(OperatorSettings, [f"--predictor_gpu_pod={text}"], {}, "PENSTOCK_OPERATOR")
    assert "--predictor_gpu_pod: " in capsys.readouterr().err


def test_without_settings_it_has_what_the_chart_gives() -> None:
    values = yaml.safe_load((Path(__file__).parents[3] / "charts/penstock/values.yaml").read_text())["predictor"]
    for device, default in (("cpu", ON_CPU), ("gpu", ON_GPU)):
        given = {name: values[device][name] for name in ("resources", "nodeSelector", "tolerations", "affinity")}
        assert read_runtime_pod(json.dumps(given)) == default
