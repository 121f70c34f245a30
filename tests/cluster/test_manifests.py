"""Every file of manifests/ is applied as it stands, but for what a small machine does not have: cores, GPUs.

inferenceservice.yaml is the fixture `served`, with tests of its own, collocated.yaml has test_collocated.py and async-kafka.yaml
test_async.py; here are the others.
"""

from pathlib import Path

import pytest
from bed.flights import RECORD, Flights, digest
from bed.manifests import MANIFESTS, documents
from bed.trouble import BedError
from bed.underway import load
from bed.versions import check_load, penstock_rollout, wait_for, wait_live

COVERED = {"inferenceservice", "collocated", "gpu", "modelversion", "async-kafka"}


def test_each_has_its_test() -> None:
    assert {path.stem for path in MANIFESTS.glob("*.yaml")} == COVERED


def test_gpu_is_understood_by_kserve(flights: Flights) -> None:
    """Without GPUs no pod is scheduled; that KServe's webhook takes it, with our runtime, can be seen."""
    (manifest,) = documents("gpu")
    flights.apply(manifest)
    try:
        shown = flights.kubectl("get", "inferenceservice", "digits", "--output=jsonpath={.spec.predictor.model.runtime}")
        assert shown == "penstock-predictor-gpu"
    finally:
        flights.kubectl("delete", "inferenceservice", "digits", "--timeout=60s")


def test_a_model_version_takes_its_steps_to_live_and_back(served: Flights, next_bundle: Path) -> None:
    """With nothing put in but what its comment asks for: the digest. From then on that cannot be changed."""
    (manifest,) = documents("modelversion")
    name, spec = manifest["metadata"]["name"], manifest["spec"]
    spec["bundle"]["digest"] = digest(next_bundle)
    other = {**manifest, "spec": {**spec, "bundle": {**spec["bundle"], "digest": f"sha256:{'1' * 64}"}}}
    try:
        with load(served, f"/predict/{RECORD}") as end:
            served.apply(manifest)
            with pytest.raises(BedError, match="cannot be changed"):
                served.apply(other)
            wait_for(served, name, "phase", "Shadow")
            for step in spec["rollout"]["steps"][:-1]:
                penstock_rollout(served, "promote", name)
                wait_for(served, name, "weight", str(step))
                wait_for(served, name, "reason", "AwaitingPromotion")
            assert name in served.kubectl("get", "mv")
            penstock_rollout(served, "promote", name)
            wait_live(served, name)
            penstock_rollout(served, "rollback", name)
            wait_for(served, name, "phase", "RolledBack")
            result = end()
    finally:
        served.kubectl("delete", "modelversion", name, "--ignore-not-found", "--timeout=120s")
    check_load(served, next_bundle, result)
