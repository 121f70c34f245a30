"""Two namespaces in which everything has the same names, each with a bundle of its own, and a ModelVersion in each at one time:
neither model's requests, route or versions are touched by what happens to the other's.
"""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from bed import chart as penstock_chart
from bed import flights as example
from bed.flights import CLAIM, MODEL, RECORD, Flights
from bed.serving import await_answers
from bed.underway import SERVICE, load
from bed.variants import Variant, own_variant
from bed.versions import manifest, penstock_rollout, told, wait_for, wait_live


@pytest.fixture
def beside(served: Flights, variants: list[Variant], version: str, own_images: dict[str, str]) -> Iterator[Flights]:
    """Another namespace that serves the first variant under the model's name; a ModelVersion of that name may be there, too."""
    cluster, name = served.cluster, f"flights-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    try:
        penstock_chart.admit(cluster, name)
        place = example.install_beside(served, name, variants[0].folder, own_images["transformer"])
        place.apply(example.inference_service())
        place.kubectl("wait", "--for=condition=Ready", f"inferenceservice/{MODEL}", "--timeout=180s", timeout_s=200)
        place.kubectl("rollout", "status", f"deployment/{MODEL}-transformer", "--timeout=60s")
        await_answers(place, SERVICE)
        yield place
        place.kubectl("delete", "modelversion", version, "--ignore-not-found", "--timeout=120s")
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


def apply(place: Flights, name: str, variant: Variant) -> None:
    """A ModelVersion of a variant, which lies in the place's claim from now on."""
    place.put_bundle(variant.folder, variant.name)
    rollout: dict[str, Any] = {"strategy": "manual", "steps": [50, 100]}
    place.apply(manifest(name, variant.folder, uri=f"pvc://{CLAIM}/{variant.name}", **rollout))


def route(place: Flights) -> str:
    return place.kubectl("get", "configmap", f"penstock-route-{MODEL}", r"--output=jsonpath={.data.route\.yaml}")


def check(result: dict[str, Any], *bundles: Variant) -> None:
    """No request failed, and these bundles answered and no other."""
    print(told(result))
    assert result["failures"] == []
    assert set(result["statuses"]) == {"200"}
    assert set(result["bundles"]) == {one.label for one in bundles}


def test_rolled_out_at_one_time_neither_touches_the_other(
    served: Flights, beside: Flights, variants: list[Variant], version: str
) -> None:
    path, coming = f"/predict/{RECORD}", {served.namespace: variants[1], beside.namespace: variants[2]}
    with load(served, path) as end, load(beside, path) as end_beside:
        for place in (served, beside):
            apply(place, version, coming[place.namespace])
        for place in (served, beside):
            wait_for(place, version, "reason", "AwaitingPromotion")
            penstock_rollout(place, "promote", version, "--to", "50")
        for place in (served, beside):
            wait_for(place, version, "weight", "50")
        for place in (served, beside):
            penstock_rollout(place, "promote", version, "--to", "100")
        for place in (served, beside):
            wait_live(place, version)
        other = route(beside)
        penstock_rollout(served, "rollback", version)
        wait_for(served, version, "phase", "RolledBack")
        served.kubectl("delete", "modelversion", version, "--timeout=180s")
        assert beside.kubectl("get", "modelversion", version, "--output=jsonpath={.status.phase} {.status.weight}") == "Live 100"
        assert route(beside) == other
        result, result_beside = end(), end_beside()
    check(result, own_variant(served), variants[1])
    check(result_beside, variants[0], variants[2])
