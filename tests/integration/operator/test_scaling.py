"""Autoscalers by work in flight, on a real API server: it takes them as they are, and finds nothing to change in them later."""

from collections.abc import Callable
from typing import Any

Wait = Callable[..., Any]
FAST = {"strategy": "immediate"}
OPTIONS = ("--predictor_in_flight=8", "--transformer_in_flight=1000", "--transformer_most=5", "--idle_s=1")
NAME = "flights-1-in-flight"


def bounds(bed: Any) -> dict[str, tuple[int, int, str]]:
    """Fewest and most pods of each Deployment that is scaled, and how much in flight a pod is meant to have."""
    specs = [one["spec"] for one in bed.all("horizontalpodautoscalers")]
    return {
        spec["scaleTargetRef"]["name"]: (
            spec["minReplicas"],
            spec["maxReplicas"],
            spec["metrics"][0]["pods"]["target"]["averageValue"],
        )
        for spec in specs
    }


def class_of(bed: Any, service: str) -> str | None:
    found: str | None = bed.get("inferenceservices", service)["metadata"]["annotations"].get("serving.kserve.io/autoscalerClass")
    return found


def calls(bed: Any) -> int:
    """Calls of the operator's that changed an autoscaler."""
    return sum("HorizontalPodAutoscaler" in line and "called" in line for line in bed.log().splitlines())


def test_what_the_operator_runs_scales_by_its_work_in_flight(bed: Any, wait: Wait) -> None:
    bed.operator(*OPTIONS)
    bed.add_version("flights-1", "1", replicas={"min": 2, "max": 4}, **FAST)
    bed.wait_phase("flights-1", "Live")
    # The API server has its own words for a thousand.
    expected = {"flights-predictor": (2, 5, "1k"), "flights-1-predictor": (2, 4, "8")}
    wait(lambda: bounds(bed) == expected, lambda: f"{bounds(bed)}")
    service = bed.get("inferenceservices", "flights-1")
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "external"
    scaler = bed.get("horizontalpodautoscalers", NAME)
    assert [owner["uid"] for owner in scaler["metadata"]["ownerReferences"]] == [service["metadata"]["uid"]]
    assert {entry["manager"] for entry in scaler["metadata"]["managedFields"]} == {"penstock-operator"}


def test_at_rest_it_is_not_written_again(bed: Any, wait: Wait) -> None:
    """Defaults and other words for the same amounts are no difference."""
    bed.operator(*OPTIONS)
    bed.add_version("flights-1", "1", replicas={"min": 2, "max": 4}, **FAST)
    bed.wait_phase("flights-1", "Live")
    wait(lambda: calls(bed) == 2, bed.log)
    # A version more is many looks at the model more.
    bed.add_version("flights-2", "2", **FAST)
    bed.wait_phase("flights-2", "Live")
    wait(lambda: bed.status("flights-1").get("stage") == "Kept", lambda: f"{bed.status('flights-1')}")
    assert calls(bed) == 2, bed.log()


def test_it_follows_the_version_and_what_others_do_to_it_is_set_back(bed: Any, wait: Wait) -> None:
    bed.operator(*OPTIONS)
    bed.add_version("flights-1", "1", replicas={"min": 2, "max": 4}, **FAST)
    bed.wait_phase("flights-1", "Live")
    wait(lambda: bed.get("horizontalpodautoscalers", NAME), "it is made")
    bed.merge("horizontalpodautoscalers", NAME, {"spec": {"maxReplicas": 100}})
    wait(lambda: bounds(bed)["flights-1-predictor"] == (2, 4, "8"), lambda: f"edited: {bounds(bed)}")
    bed.server.request("DELETE", bed.path("horizontalpodautoscalers", NAME))
    wait(lambda: "flights-1-predictor" in bounds(bed), lambda: f"deleted: {bounds(bed)}")
    replicas: dict[str, Any] = {"min": 1, "max": 9}
    bed.merge("modelversions", "flights-1", {"spec": {"runtime": {"replicas": replicas}}})
    wait(lambda: bounds(bed).get("flights-1-predictor") == (1, 9, "8"), lambda: f"rescaled: {bounds(bed)}")
    replicas = {"min": 2, "max": None}
    bed.merge("modelversions", "flights-1", {"spec": {"runtime": {"replicas": replicas}}})
    wait(lambda: "flights-1-predictor" not in bounds(bed), lambda: f"fixed: {bounds(bed)}")
    wait(lambda: class_of(bed, "flights-1") == "none", "KServe sets its replicas, once nothing else does")
