"""Two ModelVersions of a model on their way at once: the newer one supersedes the other or waits for it, as the other one says;
no request fails.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from bed.flights import CLAIM, RECORD, Flights
from bed.underway import load
from bed.variants import Variant, own_variant
from bed.versions import manifest, penstock_rollout, told, wait_for, wait_live

STEPS = {"strategy": "manual", "steps": [50, 100]}


@pytest.fixture
def second(served: Flights, version: str) -> Iterator[str]:
    """The name of another ModelVersion, gone after the test."""
    yield f"{version}-2"
    served.kubectl("delete", "modelversion", f"{version}-2", "--ignore-not-found", "--timeout=120s")


def of_variant(name: str, variant: Variant, **rollout: Any) -> dict[str, Any]:
    """A ModelVersion of one of the variants in the claim."""
    return manifest(name, variant.folder, uri=f"pvc://{CLAIM}/{variant.name}", **rollout)


def half_way(served: Flights, name: str) -> None:
    """Until it gets half of the requests."""
    wait_for(served, name, "reason", "AwaitingPromotion")
    penstock_rollout(served, "promote", name, "--to", "50")
    wait_for(served, name, "weight", "50")


def check(result: dict[str, Any]) -> None:
    """No request failed, and several bundles answered."""
    print(told(result))
    assert result["failures"] == []
    assert set(result["statuses"]) == {"200"}
    assert len(result["bundles"]) > 1


def test_a_newer_one_supersedes(served: Flights, variants: list[Variant], version: str, second: str) -> None:
    with load(served, f"/predict/{RECORD}") as end:
        served.apply(of_variant(version, variants[0], **STEPS))
        half_way(served, version)
        served.apply(of_variant(second, variants[1], strategy="immediate"))
        wait_live(served, second)
        wait_for(served, version, "reason", "Superseded")
        wait_for(served, version, "phase", "Retired")
        penstock_rollout(served, "rollback", second)
        wait_for(served, second, "phase", "RolledBack")
        result = end()
    check(result)


def test_a_newer_one_waits_where_the_other_says_so(served: Flights, variants: list[Variant], version: str, second: str) -> None:
    with load(served, f"/predict/{RECORD}") as end:
        served.apply(of_variant(version, variants[0], onNewerVersion="queue", **STEPS))
        half_way(served, version)
        served.apply(of_variant(second, variants[1], strategy="immediate"))
        wait_for(served, second, "reason", "Queued")
        penstock_rollout(served, "promote", version, "--to", "100")
        wait_live(served, version)
        wait_live(served, second)
        penstock_rollout(served, "rollback", second)
        wait_for(served, second, "phase", "RolledBack")
        wait_live(served, version)
        penstock_rollout(served, "rollback", version)
        wait_for(served, version, "phase", "RolledBack")
        result = end()
    check(result)


def test_the_one_before_is_retired_when_it_was_kept_for_long_enough(
    served: Flights, variants: list[Variant], version: str, second: str
) -> None:
    with load(served, f"/predict/{RECORD}") as end:
        served.apply(of_variant(version, variants[0], strategy="immediate"))
        wait_live(served, version)
        served.apply(of_variant(second, variants[1], strategy="immediate", keepForRollback="5s"))
        wait_live(served, second)
        wait_for(served, version, "reason", "Replaced")
        retired_at = time.time()
        served.kubectl("wait", "--for=delete", f"inferenceservice/{version}", "--timeout=120s")
        pods = f"--selector=serving.kserve.io/inferenceservice={version}"
        served.kubectl("wait", "--for=delete", "pods", pods, "--timeout=120s")
        gone_at = time.time()
        assert served.kubectl("get", "modelversion", version, "--output=jsonpath={.status.phase}") == "Retired"
        penstock_rollout(served, "rollback", second)
        wait_for(served, second, "phase", "RolledBack")
        result = end()
    check(result)
    # The newer one answers alone meanwhile; then there is nobody to go back to but the user's own bundle.
    assert {named for at, named, _ in result["answers"] if retired_at < at < gone_at} == {variants[1].label}
    assert result["answers"][-1][1] == own_variant(served).label
