"""What is done to a model's pods in the middle of a change of version, by the words of `changes.DISTURBANCES`.

Transformers are ended, not killed: whoever holds a connection to one that is killed sees that, whatever the other pods do. What
is behind them (predictors), beside them (workers) and above them (the operator) is killed at once.
"""

import json
from collections.abc import Callable

from bed import chart
from bed.broker import WORKER
from bed.flights import MODEL, Flights

AT_ONCE = ("--grace-period=0", "--force")
_SERVICE = "serving.kserve.io/inferenceservice={},component={}"


def disturb(served: Flights, version: str, what: str) -> None:
    """Do it; returns when it has begun. `version`: the one that is on its way."""
    _DEEDS[what](served, version)


def settle(served: Flights) -> None:
    """Take back what scaled up, and wait until the user's own pods and the operator are as they were."""
    _scale_own(served, 2)
    for name in (f"{MODEL}-predictor", f"{MODEL}-transformer"):
        served.kubectl("rollout", "status", f"deployment/{name}", "--timeout=180s", timeout_s=200)


def delete_one(served: Flights, selector: str, *how: str) -> None:
    """Delete the first pod that a selector finds and that is not already on its way out."""
    pods = json.loads(served.kubectl("get", "pods", f"--selector={selector}", "--output=json"))["items"]
    there = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    served.kubectl("delete", "pod", there[0], *how)


def _nothing(_: Flights, __: str) -> None:
    return


def _scale_own(served: Flights, replicas: int) -> None:
    patch = json.dumps({"spec": {"predictor": {"minReplicas": replicas}}})
    served.kubectl("patch", "inferenceservice", MODEL, "--type=merge", f"--patch={patch}")


def _old_scales(served: Flights, _: str) -> None:
    _scale_own(served, 3)


def _new_scales(served: Flights, version: str) -> None:
    patch = json.dumps({"spec": {"runtime": {"replicas": {"min": 3}}}})
    served.kubectl("patch", "modelversion", version, "--type=merge", f"--patch={patch}")


def _old_is_killed(served: Flights, _: str) -> None:
    delete_one(served, _SERVICE.format(MODEL, "predictor"), *AT_ONCE)


def _new_is_killed(served: Flights, version: str) -> None:
    delete_one(served, _SERVICE.format(version, "predictor"), *AT_ONCE)


def _transformer_ends(served: Flights, _: str) -> None:
    delete_one(served, _SERVICE.format(MODEL, "transformer"), "--wait=false")


def _worker_is_killed(served: Flights, _: str) -> None:
    if served.kubectl("get", "deployment", WORKER, "--ignore-not-found", "--output=name"):
        delete_one(served, "app.kubernetes.io/component=worker", *AT_ONCE)


def _operator_is_killed(served: Flights, _: str) -> None:
    selector = "--selector=app.kubernetes.io/component=operator"
    served.cluster.kubectl("--namespace", chart.NAMESPACE, "delete", "pods", selector, *AT_ONCE)


_DEEDS: dict[str, Callable[[Flights, str], None]] = {
    "nothing": _nothing,
    "the old predictor scales up": _old_scales,
    "the new predictor scales up": _new_scales,
    "an old predictor pod is killed": _old_is_killed,
    "a new predictor pod is killed": _new_is_killed,
    "a transformer pod is ended": _transformer_ends,
    "a worker pod is killed": _worker_is_killed,
    "the operator is killed": _operator_is_killed,
}
