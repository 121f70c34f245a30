"""A ModelVersion of the flights bundle, applied beside the user's own InferenceService: verified, warmed, given requests, brought
Live and rolled back while requests come from inside the cluster, of which none may fail.
"""

from pathlib import Path

from bed.flights import MODEL, RECORD, Flights
from bed.underway import load
from bed.versions import check_load, manifest, penstock_rollout, wait_for, wait_live


def test_immediate_goes_live_and_back_without_a_failed_request(served: Flights, next_bundle: Path, version: str) -> None:
    with load(served, f"/predict/{RECORD}") as end:
        served.apply(manifest(version, next_bundle, strategy="immediate"))
        wait_live(served, version)
        assert version in penstock_rollout(served, "status", MODEL)
        penstock_rollout(served, "rollback", version, "--reason", "a test")
        wait_for(served, version, "phase", "RolledBack")
        served.kubectl("wait", "--for=delete", f"inferenceservice/{version}", "--timeout=120s")
        result = end()
    check_load(served, next_bundle, result)


def test_manual_takes_its_steps_as_it_is_told(served: Flights, next_bundle: Path, version: str) -> None:
    with load(served, f"/predict/{RECORD}") as end:
        served.apply(manifest(version, next_bundle, strategy="manual", steps=[50, 100]))
        wait_for(served, version, "reason", "AwaitingPromotion")
        penstock_rollout(served, "promote", version)
        wait_for(served, version, "weight", "50")
        wait_for(served, version, "reason", "AwaitingPromotion")
        penstock_rollout(served, "pause", version)
        wait_for(served, version, "phase", "Paused")
        penstock_rollout(served, "promote", version)
        penstock_rollout(served, "resume", version)
        wait_live(served, version)
        penstock_rollout(served, "rollback", version)
        wait_for(served, version, "phase", "RolledBack")
        result = end()
    check_load(served, next_bundle, result)


def test_a_wrong_digest_never_gets_a_request(served: Flights, next_bundle: Path, version: str) -> None:
    document = manifest(version, next_bundle, strategy="immediate")
    document["spec"]["bundle"]["digest"] = f"sha256:{'1' * 64}"
    served.apply(document)
    wait_for(served, version, "phase", "Failed")
    shown = served.kubectl("get", "modelversion", version, "--output=jsonpath={.status.reason} {.status.weight}")
    assert shown == "DigestDiffers 0"
    assert not served.cluster.succeeds("--namespace", served.namespace, "get", "inferenceservice", version)
