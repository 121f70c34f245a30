"""What must never get a request: bundles that fail a check of their verification, and specs that the schema refuses.

That a bundle of another digest than the one that was named gets none either: test_model_version.py.
"""

from pathlib import Path
from typing import Any

import pytest
from bed import flights as example
from bed.broken import make_broken
from bed.flights import CLAIM, RECORD, Flights
from bed.trouble import BedError
from bed.underway import load
from bed.versions import manifest, told, wait_for

REASONS = {"unloadable": "LoadFailed", "forgetful": "GoldenExamplesFailed", "greedy": "OutOfMemory"}


@pytest.fixture(scope="module")
def broken(flights: Flights, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_broken(flights, tmp_path_factory.mktemp("broken"))


@pytest.mark.parametrize("name", REASONS)
def test_a_bundle_that_fails_its_verification_answers_nobody(
    served: Flights, broken: dict[str, Path], version: str, name: str
) -> None:
    with load(served, f"/predict/{RECORD}") as end:
        served.apply(manifest(version, broken[name], uri=f"pvc://{CLAIM}/{name}", strategy="immediate"))
        wait_for(served, version, "phase", "Failed")
        result = end()
    shown = served.kubectl("get", "modelversion", version, "--output=jsonpath={.status.reason} {.status.weight}")
    assert shown == f"{REASONS[name]} 0"
    print(served.kubectl("get", "modelversion", version, "--output=jsonpath={.status.message}"))
    verified = "--output=jsonpath={.status.conditions[?(@.type=='Verified')].reason}"
    assert served.kubectl("get", "modelversion", version, verified) == REASONS[name]
    assert REASONS[name] in served.kubectl("get", "events", f"--field-selector=involvedObject.name={version}")
    assert not served.cluster.succeeds("--namespace", served.namespace, "get", "inferenceservice", version)
    print(told(result))
    assert result["failures"] == []
    assert set(result["statuses"]) == {"200"}
    assert {label.rpartition("@")[2] for label in result["bundles"]} == {example.digest(served.bundle)}


@pytest.mark.parametrize(
    "part, wrong, words",
    [
        ("bundle", {"digest": "sha256:abc"}, "spec.bundle.digest"),
        ("bundle", {"uri": "/mnt/models"}, "spec.bundle.uri"),
        ("rollout", {"steps": [50, 25, 100]}, "expected rising numbers"),
        ("rollout", {"steps": [5, 50]}, "expected 100 as the last step"),
        ("rollout", {"strategy": "fast"}, "spec.rollout.strategy"),
        ("runtime", {"replicas": {"min": 3, "max": 2}}, "expected at least min"),
    ],
)
def test_a_spec_that_is_wrong_is_refused_by_its_field(
    flights: Flights, version: str, part: str, wrong: dict[str, Any], words: str
) -> None:
    document = manifest(version, flights.bundle)
    document["spec"][part] = {**document["spec"][part], **wrong}
    with pytest.raises(BedError, match=words):
        flights.apply(document)
    assert not flights.cluster.succeeds("--namespace", flights.namespace, "get", "modelversion", version)
