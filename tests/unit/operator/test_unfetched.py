"""A verification whose bundle could not be fetched: no container of ours ran, and what the place said is all that there is."""

import pytest

from penstock_operator.desired import decide
from penstock_operator.model_version import read_model_version
from penstock_operator.plan import Verb
from penstock_operator.policy import Policy
from penstock_operator.seen import Seen
from penstock_operator.verification_job import ATTEMPT, read_job

SAID = "storage.initializer ERROR Storage initialization failed: S3 error [403]: Forbidden\n"
LOG = "storage.initializer INFO Initializing\n" * 40 + SAID


@pytest.mark.parametrize("attempt, phase, reason", [(0, "Verifying", "Verifying"), (4, "Failed", "VerificationBroken")])
def test_the_message_has_what_the_place_said(attempt: int, phase: str, reason: str) -> None:
    bundle = {"uri": "s3://bundles/flights", "digest": f"sha256:{'a' * 64}"}
    metadata = {"namespace": "n", "name": "flights-7", "uid": "u", "resourceVersion": "3", "generation": 1}
    status = {"phase": "Verifying", "stage": "Verifying", "verifyAttempts": attempt}
    version = read_model_version({
        "metadata": metadata, "spec": {"inferenceService": "flights", "bundle": bundle}, "status": status,
    })  # fmt: skip
    made = {
        "name": version.job,
        "ownerReferences": [{"kind": "ModelVersion", "uid": "u"}],
        "annotations": {ATTEMPT: str(attempt)},
    }
    failed = {"conditions": [{"type": "Failed", "status": "True"}]}
    ended = {"exitCode": 1, "reason": "Error", "message": LOG}
    fetching = {"name": "storage-initializer", "state": {"terminated": ended}}
    waiting = {"name": "kserve-container", "state": {"waiting": {"reason": "PodInitializing"}}}
    pod = {"status": {"phase": "Failed", "initContainerStatuses": [fetching], "containerStatuses": [waiting]}}
    job = read_job({"metadata": made, "status": failed}, [pod])
    plan = decide(Seen("n", "flights", 0.0, versions=(version,), jobs={version.job: job}), Policy())
    (written,) = [one.status for one in plan.operations if one.verb is Verb.STATUS]
    assert written is not None
    assert (written.phase, written.reason) == (phase, reason)
    assert "without a verdict" in written.message
    assert "storage-initializer: " in written.message
    assert SAID.strip() in written.message
    assert "storage-initializer: storage.initializer " in written.message, "begins with a whole line"
