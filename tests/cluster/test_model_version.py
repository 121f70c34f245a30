"""A ModelVersion of the flights bundle, applied beside the user's own InferenceService: verified, warmed, given requests, brought
Live and rolled back while requests come from inside the cluster, of which none may fail.

kubectl and `penstock rollout` are what users have, and all that is used here.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import flights as example
from bed.flights import MODEL, RECORD, Flights
from bed.underway import load

WAIT = "--timeout=300s"
RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}


@pytest.fixture(scope="module")
def next_bundle(served: Flights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as version 8, in the claim: another bundle, since its digest is another."""
    folder = tmp_path_factory.mktemp("next") / "flights-8"
    shutil.copytree(served.bundle, folder)
    text = (folder / "bundle.yaml").read_text()
    changed = re.sub(r"(?m)^version: .*$", 'version: "8"', text)
    assert changed != text
    (folder / "bundle.yaml").write_text(changed)
    served.put_bundle(folder, "flights-8")
    return folder


@pytest.fixture
def version(served: Flights, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a ModelVersion, which is gone after the test, with all that was made for it."""
    name = f"{MODEL}-{request.node.name.split('_')[1]}"
    yield name
    served.kubectl("delete", "modelversion", name, "--ignore-not-found", "--timeout=120s")


def manifest(name: str, bundle: Path, **rollout: Any) -> dict[str, Any]:
    """A ModelVersion of the bundle in the claim."""
    spec = {
        "inferenceService": MODEL,
        "bundle": {"uri": f"pvc://{example.CLAIM}/flights-8", "digest": example.digest(bundle)},
        "runtime": {"replicas": {"min": 1}, "resources": RESOURCES},
        "rollout": rollout,
    }
    return {"apiVersion": "penstock.dev/v1alpha1", "kind": "ModelVersion", "metadata": {"name": name}, "spec": spec}


def penstock_rollout(served: Flights, *arguments: str) -> str:
    """`penstock rollout …` as a user would type it."""
    program = Path(sys.executable).parent / "penstock"
    command = [str(program), "rollout", *arguments, "--namespace", served.namespace]
    done = subprocess.run(
        command, env={**os.environ, **served.cluster.environment}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_for(served: Flights, name: str, field: str, value: str) -> None:
    """Until a field of its status has a value."""
    served.kubectl("wait", f"--for=jsonpath={{.status.{field}}}={value}", f"modelversion/{name}", WAIT, timeout_s=310)


def check_load(served: Flights, bundle: Path, result: dict[str, Any]) -> None:
    """No request failed, and both bundles answered."""
    print(result)
    assert result["failures"] == []
    assert set(result["statuses"]) == {"200"}
    digests = {name.rpartition("@")[2] for name in result["bundles"]}
    assert digests == {example.digest(served.bundle), example.digest(bundle)}


def test_immediate_goes_live_and_back_without_a_failed_request(served: Flights, next_bundle: Path, version: str) -> None:
    with load(served, f"/predict/{RECORD}") as end:
        served.apply(manifest(version, next_bundle, strategy="immediate"))
        served.kubectl("wait", "--for=condition=Live", f"modelversion/{version}", WAIT, timeout_s=310)
        assert version in penstock_rollout(served, "status", MODEL)
        penstock_rollout(served, "rollback", version, "--reason", "a test")
        wait_for(served, version, "phase", "RolledBack")
        served.kubectl("wait", "--for=delete", f"inferenceservice/{version}", WAIT, timeout_s=310)
        result = end()
    check_load(served, next_bundle, result)


def test_manual_takes_its_steps_as_it_is_told(served: Flights, next_bundle: Path, version: str) -> None:
    with load(served, f"/predict/{RECORD}") as end:
        served.apply(manifest(version, next_bundle, strategy="manual", steps=[50, 100]))
        wait_for(served, version, "reason", "AwaitingPromotion")
        penstock_rollout(served, "promote", version)
        wait_for(served, version, "weight", "50")
        wait_for(served, version, "reason", "AwaitingPromotion")
        penstock_rollout(served, "promote", version)
        served.kubectl("wait", "--for=condition=Live", f"modelversion/{version}", WAIT, timeout_s=310)
        penstock_rollout(served, "rollback", version)
        wait_for(served, version, "phase", "RolledBack")
        result = end()
    check_load(served, next_bundle, result)


def test_wrong_digest_never_gets_a_request(served: Flights, next_bundle: Path, version: str) -> None:
    document = manifest(version, next_bundle, strategy="immediate")
    document["spec"]["bundle"]["digest"] = f"sha256:{'1' * 64}"
    served.apply(document)
    wait_for(served, version, "phase", "Failed")
    shown = served.kubectl("get", "modelversion", version, "--output=jsonpath={.status.reason} {.status.weight}")
    assert shown == "DigestDiffers 0"
    assert not served.cluster.succeeds("--namespace", served.namespace, "get", "inferenceservice", version)
