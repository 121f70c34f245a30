"""Two models in one namespace, each with an InferenceService and a bundle of its own: what happens to a version of one touches
neither the requests nor the route nor the InferenceService of the other.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from bed import flights as example
from bed.flights import CLAIM, RECORD, Flights
from bed.serving import PARTS, await_answers
from bed.underway import load
from bed.variants import Variant, own_variant
from bed.versions import manifest, penstock_rollout, told, wait_for, wait_live

OTHER = "departures"


@pytest.fixture
def other(served: Flights, variants: list[Variant]) -> Iterator[Variant]:
    """A second model in the example's namespace, which answers by the first variant."""
    service = example.inference_service()
    service["metadata"]["name"] = OTHER
    service["spec"]["predictor"]["model"]["storageUri"] = f"pvc://{CLAIM}/{variants[0].name}"
    for part in PARTS:
        service["spec"][part]["minReplicas"] = 1
    served.apply(service)
    try:
        served.kubectl("wait", "--for=condition=Ready", f"inferenceservice/{OTHER}", "--timeout=180s", timeout_s=200)
        served.kubectl("rollout", "status", f"deployment/{OTHER}-transformer", "--timeout=60s")
        await_answers(served, f"{OTHER}-transformer")
        yield variants[0]
    finally:
        served.kubectl("delete", "inferenceservice", OTHER, "--timeout=60s")


def generation(served: Flights) -> str:
    """How often somebody has changed what the other model's InferenceService asks for."""
    return served.kubectl("get", "inferenceservice", OTHER, "--output=jsonpath={.metadata.generation}")


def check(result: dict[str, Any], *bundles: Variant) -> None:
    """No request failed, and these bundles answered and no other."""
    print(told(result))
    assert result["failures"] == []
    assert set(result["statuses"]) == {"200"}
    assert {named.rpartition("@")[2] for named in result["bundles"]} == {one.digest for one in bundles}


def test_a_version_of_one_leaves_the_other_alone(served: Flights, other: Variant, variants: list[Variant], version: str) -> None:
    path, coming, before = f"/predict/{RECORD}", variants[1], generation(served)
    with load(served, path) as end, load(served, path, f"{OTHER}-transformer") as end_other:
        uri = f"pvc://{CLAIM}/{coming.name}"
        served.apply(manifest(version, coming.folder, uri=uri, strategy="immediate"))
        wait_live(served, version)
        penstock_rollout(served, "rollback", version)
        wait_for(served, version, "phase", "RolledBack")
        result, result_other = end(), end_other()
    check(result, own_variant(served), coming)
    check(result_other, other)
    assert generation(served) == before
    assert not served.cluster.succeeds("--namespace", served.namespace, "get", "configmap", f"penstock-route-{OTHER}")
